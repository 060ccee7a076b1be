"""train export --via torch-tensorrt, from a checkpoint to a cached engine, by fakes of both libraries."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="torch-tensorrt needs PyTorch: pip install -e '.[torch-tensorrt]'"
)
pytest.importorskip(
    "cuda.bindings.runtime", reason="the GPU is driven through cuda-python: pip install cuda-bindings"
)

from engines.backends.fp16_graph import to_fp16  # noqa: E402
from engines.errors import DataError  # noqa: E402
from engines.runtime.load import load  # noqa: E402
from tests.support.fake_cuda import install  # noqa: E402
from tests.support.small_runs import TINY  # noqa: E402
from train import __main__ as command  # noqa: E402
from train.export import torch_tensorrt as via  # noqa: E402
from train.export.onnx_export import ExportedGenerator  # noqa: E402
from train.networks.compact import CompactGenerator  # noqa: E402
from train.networks.paper import PaperGenerator, PaperShape  # noqa: E402


def small(kind):
    torch.manual_seed(0)
    generator = (
        CompactGenerator(TINY)
        if kind == "compact"
        else PaperGenerator(PaperShape(size_px=64, width=8, blocks=1))
    )
    for parameter in generator.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return generator.eval()


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "cache"))
    return install(monkeypatch)


@pytest.fixture
def torch_tensorrt(monkeypatch):
    """Keeps the programs that it is to compile, and gives `engine`, or raises it."""
    kept = SimpleNamespace(programs=[], options=[], converters=[], engine=b"engine")

    def convert_exported_program_to_serialized_trt_engine(program, arg_inputs, **options):
        if isinstance(kept.engine, Exception):
            raise kept.engine
        program.module()(*arg_inputs)  # what cannot run cannot be compiled
        kept.programs.append(program)
        kept.options.append(options)
        return kept.engine

    def dynamo_tensorrt_converter(target, capability_validator, priority):
        kept.converters.append((target, capability_validator, priority))
        return lambda function: function

    library, dynamo, conversion = (
        ModuleType(f"torch_tensorrt{end}") for end in ("", ".dynamo", ".dynamo.conversion")
    )
    library.__version__, library.dynamo, dynamo.conversion = "2.13.0", dynamo, conversion
    dynamo.convert_exported_program_to_serialized_trt_engine = (
        convert_exported_program_to_serialized_trt_engine
    )
    conversion.dynamo_tensorrt_converter, conversion.ConverterPriority = (
        dynamo_tensorrt_converter,
        SimpleNamespace(HIGH="high"),
    )
    for module in (library, dynamo, conversion):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return kept


@pytest.fixture(scope="module")
def checkpoint(corpus_folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    fit = [
        "fit",
        "--corpus",
        str(corpus_folder),
        "--out",
        str(run),
        "--images",
        "8",
        "--batch",
        "4",
        "--fp32",
    ]
    assert command.main([*fit, "--channels", "8", "16", "16", "--workers", "0"]) == 0
    return run


@pytest.mark.parametrize("kind", ["compact", "paper"])
def test_the_mixed_precision_module_agrees_with_the_network(kind):
    network, rng = small(kind), np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (1, 64, 64, 3), np.uint8))
    aus = torch.from_numpy(rng.uniform(0, 1, (1, network.shape.au_count)).astype(np.float32))
    with torch.no_grad():
        exact, half = ExportedGenerator(network)(image, aus), via.MixedPrecisionGenerator(network)(image, aus)
    assert [(a.dtype, a.shape) for a in exact] == [(b.dtype, b.shape) for b in half]
    assert 0 < (exact[1] - half[1]).abs().max() < 5e-3
    assert (exact[0].int() - half[0].int()).abs().float().mean() < 0.3


@pytest.mark.parametrize("kind", ["compact", "paper"])
def test_its_convolutions_are_fp16_and_its_normalisations_fp32(kind, torch_tensorrt):
    network = small(kind)
    assert via.compile_with_torch_tensorrt(network) == (b"engine", "torch-tensorrt 2.13.0")
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters()), (
        "the network itself is left as it was"
    )
    types = {}
    for node in torch_tensorrt.programs[0].graph.nodes:
        if node.op == "call_function" and "val" in node.meta and hasattr(node.meta["val"], "dtype"):
            types.setdefault(node.target.__name__.split(".")[0], set()).add(node.meta["val"].dtype)
    convolutions = [types[name] for name in types if "conv" in name]
    assert convolutions and all(found == {torch.float16} for found in convolutions)
    assert types.get("group_norm", {torch.float32}) == {torch.float32}
    assert types["sigmoid"] == {torch.float32}
    assert torch_tensorrt.options[0]["require_full_compilation"]


def test_uint8_is_cast_before_all_else_and_made_after_all_else(torch_tensorrt):
    via.compile_with_torch_tensorrt(small("compact"))
    nodes = [
        node
        for node in torch_tensorrt.programs[0].graph.nodes
        if getattr(node.meta.get("val"), "dtype", None) == torch.uint8
    ]
    image, colour = nodes
    read = [user.meta["val"].dtype for user in image.users if user.meta.get("val") is not None]
    assert image.op == "placeholder" and read == [torch.float32]
    assert {user.op for user in colour.users} == {"output"}


def test_torch_tensorrt_is_taught_to_cast_to_uint8_and_nothing_else(torch_tensorrt):
    via.compile_with_torch_tensorrt(small("compact"))
    ((target, applies, priority),) = torch_tensorrt.converters
    assert target == torch.ops.aten._to_copy.default and priority == "high"
    assert applies(SimpleNamespace(kwargs={"dtype": torch.uint8}))
    assert not applies(SimpleNamespace(kwargs={"dtype": torch.float16})) and not applies(
        SimpleNamespace(kwargs={})
    )


def export(checkpoint, out):
    return command.main(["export", str(checkpoint), "--out", str(out), "--via", "torch-tensorrt"])


def test_the_engine_goes_into_the_cache_and_the_live_program_takes_it(
    gpu, torch_tensorrt, checkpoint, tmp_path, capsys
):
    assert command.main(["export", str(checkpoint), "--out", str(tmp_path / "onnx")]) == 0
    # What the fake of TensorRT runs
    torch_tensorrt.engine = to_fp16(tmp_path / "onnx" / "generator.onnx").SerializeToString()
    gpu.trt.renamed = {"colour": "output0", "attention": "output1", "flow": "output2"}
    assert export(checkpoint, tmp_path / "mine") == 0
    output = capsys.readouterr().out
    assert "wrote" in output and "by torch-tensorrt 2.13.0 is in the cache" in output
    # The fake cannot compile: this one can only be the one from the cache
    engine = load(tmp_path / "mine", "gpu")
    assert engine.name.startswith("TensorRT 11.0.0 NVIDIA GeForce RTX 4090")
    assert engine.run(np.zeros((64, 64, 3), np.uint8), np.zeros(29, np.float32)).attention.shape == (64, 64)


def test_an_engine_that_does_something_else_is_not_taken(gpu, torch_tensorrt, checkpoint, tmp_path, capsys):
    import onnx

    assert command.main(["export", str(checkpoint), "--out", str(tmp_path / "onnx")]) == 0
    other = onnx.load(tmp_path / "onnx" / "generator.onnx")
    last = next(node for node in other.graph.node if "attention" in node.output)
    last.output[0] = "kept"
    other.graph.node.append(onnx.helper.make_node("Mul", ["kept", "kept"], ["changed"]))
    other.graph.node.append(onnx.helper.make_node("Mul", ["changed", "half"], ["attention"]))
    other.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0.5), "half"))
    torch_tensorrt.engine = other.SerializeToString()
    assert export(checkpoint, tmp_path / "mine") == 6
    assert "does not do what" in capsys.readouterr().err
    assert (tmp_path / "mine" / "bundle.json").is_file(), "the bundle itself is good"


def test_what_torch_tensorrt_cannot_compile_is_refused_and_nothing_is_written(
    torch_tensorrt, checkpoint, tmp_path, capsys
):
    torch_tensorrt.engine = RuntimeError(
        "Conversion of function aten::odd not currently supported!\nmore\nlines"
    )
    assert export(checkpoint, tmp_path / "mine") == 8
    output = capsys.readouterr().err
    assert (
        "cannot compile this generator (Conversion of function aten::odd" in output
        and "without --via" in output
    )
    assert len(output.splitlines()) == 1 and not (tmp_path / "mine").exists()


def test_without_torch_tensorrt_or_a_gpu_the_message_names_what_is_needed(
    monkeypatch, checkpoint, tmp_path, capsys
):
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    assert export(checkpoint, tmp_path / "mine") == 8
    assert (
        "needs an NVIDIA GPU, a PyTorch for CUDA and pip install -e '.[torch-tensorrt]'"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "mine").exists()


def test_the_real_torch_tensorrt_compiles_or_reports_what_it_lacks():
    import subprocess

    code = (
        "from tests.train.export.test_torch_tensorrt import small, via; "
        "print(len(via.compile_with_torch_tensorrt(small('compact'))[0]))"
    )
    # Apart: it changes what `import tensorrt` means
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        assert f"{DataError.__name__}: {via.NEEDS}" in done.stderr.strip().splitlines()[-1], done.stderr
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert int(done.stdout.split()[-1]) > 50_000
