"""A generator -> a TensorRT engine by torch-tensorrt: from PyTorch itself, without ONNX.

The one file that imports torch_tensorrt.

For researchers whose layers ONNX cannot express. What comes out is a serialised engine that
engines.backends.tensorrt opens like its own. It is typed as that one is: convolutions in FP16, the statistics
of normalisations and all else in FP32. torch-tensorrt itself runs nothing here.
"""

import copy

import torch
from torch import Tensor, nn

from engines.backends.interface import Target
from engines.bundle import Bundle
from engines.errors import DataError
from engines.runtime.load import gpu_backend, store_checked
from train.networks.from_shape import Generator

NEEDS = "--via torch-tensorrt needs an NVIDIA GPU, a PyTorch for CUDA and pip install -e '.[torch-tensorrt]'"


def compile_with_torch_tensorrt(generator: Generator) -> tuple[bytes, str]:
    """A generator -> a serialised engine for this machine's GPU, and who made it, "torch-tensorrt 2.13.0".

    Raises DataError where torch-tensorrt cannot be loaded, or cannot compile this generator.
    """
    library = _library()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = MixedPrecisionGenerator(generator).eval().to(device)
    size, aus = generator.shape.size_px, generator.shape.au_count
    example = (
        torch.zeros(1, size, size, 3, dtype=torch.uint8, device=device),
        torch.zeros(1, aus, device=device),
    )
    try:
        with torch.no_grad():
            program = torch.export.export(module, example, strict=False)
        engine = library.dynamo.convert_exported_program_to_serialized_trt_engine(
            program, arg_inputs=example, require_full_compilation=True, disable_tf32=True
        )
    except (
        RuntimeError,
        AssertionError,
        ValueError,
    ) as error:  # torch-tensorrt has no exception of its own for what it cannot compile
        raise DataError(
            f"torch-tensorrt cannot compile this generator ({_first_line(error)}): nothing was written; "
            "export it without --via."
        ) from error
    return engine, f"torch-tensorrt {library.__version__}"


def keep_for_gpu(bundle: Bundle, engine: bytes, made_by: str) -> str:
    """Puts an engine into the cache of the live program, if it passes the same check.

    Returns a message for the user. Raises EngineError when it fails, or when there is no GPU to try it on.
    """
    backend = gpu_backend()
    verdict = store_checked(bundle, Target(backend, backend.precisions(bundle)[0]), engine, print, made_by)
    verdict.require()
    return (
        f"{verdict.engine} by {made_by} is in the cache: python run.py --engine {bundle.folder} --device gpu "
        "takes it"
    )


class MixedPrecisionGenerator(nn.Module):
    """The engine's contract around a copy of a generator that computes its convolutions in FP16.

    uint8 is cast before all else and made after all else, as TensorRT wants it.
    """

    def __init__(self, generator: nn.Module):
        super().__init__()
        self.generator = _set_precision(copy.deepcopy(generator))

    def forward(self, image: Tensor, aus: Tensor) -> tuple[Tensor, ...]:
        """The outputs of an edit.

        Args:
            image: (1, S, S, 3) uint8 BGR.
            aus: (1, N) float32.

        Returns:
            Colour (1, S, S, 3) uint8, attention (1, S, S), and flow (1, s, s, 2) where there is one.
        """
        colour, attention, flow = self.generator(image.float().permute(0, 3, 1, 2) / 255, aus)
        grey_levels = (colour.clamp(0, 1) * 255 + 0.5).floor()
        outputs = (grey_levels.permute(0, 2, 3, 1).to(torch.uint8), attention[:, 0])
        return outputs if flow is None else (*outputs, flow.permute(0, 2, 3, 1))


class HalfLayer(nn.Module):
    """A layer that computes in FP16, whatever it is given."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer.half()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.half())


class FullLayer(nn.Module):
    """A layer that computes in FP32, whatever it is given."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.float())


def _set_precision(module: nn.Module) -> nn.Module:
    """Wraps the convolutions and the normalisations in a module, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
            setattr(module, name, HalfLayer(child))
        elif isinstance(child, nn.GroupNorm):
            setattr(module, name, FullLayer(child))
        else:
            _set_precision(child)
    return module


def _library():
    """torch_tensorrt, with a converter that it lacks. Raises DataError."""
    try:
        import torch_tensorrt
        from torch_tensorrt.dynamo.conversion import ConverterPriority, dynamo_tensorrt_converter
    except Exception as error:
        # An AssertionError without CUDA, an OSError or a plain Exception where its own libraries are missing
        raise DataError(f"{NEEDS} ({_first_line(error)}).") from error

    # torch-tensorrt refuses to cast to uint8, which TensorRT does (github.com/pytorch/TensorRT/issues/3247).
    @dynamo_tensorrt_converter(
        torch.ops.aten._to_copy.default,
        capability_validator=lambda node, _settings=None: node.kwargs.get("dtype") == torch.uint8,
        priority=ConverterPriority.HIGH,
    )
    def to_uint8(context, _target, arguments, _keywords, name):
        import tensorrt  # the one that torch_tensorrt has chosen, under this name

        layer = context.net.add_cast(arguments[0], tensorrt.uint8)
        layer.name = name
        return layer.get_output(0)

    return torch_tensorrt


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
