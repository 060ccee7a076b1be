"""Compiles and runs bundles by OpenVINO: on the CPU in INT8, BF16 or FP32, on Intel's GPUs and NPUs in FP16.

The only file of engines that imports openvino.

A compiled engine is OpenVINO's exported model: the optimised graph and its weights. Opening it takes about a
third of the time that compiling takes, and its outputs are the same bit for bit. An INT8 engine computes what
its graph leaves in FP32 in BF16 where the CPU has it.

On the CPU it is two graphs: what depends on the photo alone is computed once for each photo, which is a tenth
of the generator, and the rest for every picture. Both together answer as the whole does, bit for bit.
"""

import io
import os
import platform
import time
from functools import cache, lru_cache
from math import prod
from pathlib import Path

import numpy as np

from engines.absent import absent
from engines.backends.interface import Edit, Notify, check_inputs, check_signature, ignore
from engines.bundle import Bundle
from engines.errors import Choice, EngineError
from engines.foreign_errors import mapped

# Its converter of other libraries' networks, which nothing here needs: two fifths of the time of its import
with absent(["openvino.tools.ovc"]):
    import openvino as ov
    from openvino import opset13 as opset

CPUINFO = Path("/proc/cpuinfo")  # Linux only; elsewhere OpenVINO's own list of capabilities decides alone
# What makes 8-bit products faster than FP32. Without one of these, OpenVINO runs INT8, too, in three
# instructions for one.
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
# What OpenVINO chooses its kernels by.
INSTRUCTIONS = DOT_PRODUCTS | {
    "sse4_1",
    "avx",
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_fp16",
    "fma",
    "f16c",
    "asimdhp",
    "fphp",
    "bf16",
    "sve",
    "sve2",
}
PORTS = ("image", "aus", "colour", "attention", "flow")
OTHER_DEVICES = {"openvino_gpu": "GPU", "openvino_npu": "NPU"}  # names of backends -> OpenVINO's devices
LENGTH_BYTES = 8  # before both parts of a compiled engine: how long the first is
ACCELERATED = {"INFERENCE_PRECISION_HINT": "f16", "PERFORMANCE_HINT": "LATENCY"}
TRIALS_OF_PEAK = 12  # the fastest counts: the first ones warm up, and other programs slow down some


class OpenVino:
    """A Backend: OpenVINO on this machine's CPU."""

    name = "openvino"

    def precisions(self, bundle: Bundle) -> tuple[str, ...]:
        """What the CPU computes, fastest first.

        INT8 where the bundle has that variant and the CPU has 8-bit dot products; BF16 where the CPU has it;
        FP32.
        """
        capabilities = _capabilities(_core())
        instructions = _instructions()
        int8 = (
            "INT8" in capabilities
            and "int8" in bundle.variants
            and (not instructions or bool(instructions & DOT_PRODUCTS))
        )
        return (*(["int8"] if int8 else []), *(["bf16"] if "BF16" in capabilities else []), "fp32")

    def depends_on(self) -> dict[str, str]:
        """What a compiled engine is valid for. Raises EngineError where OpenVINO knows no CPU here."""
        core = _core()
        return {
            "library": f"openvino {ov.__version__}",
            "device": str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip(),
            "settings": " ".join(
                f"{precision} {_settings(core, precision, None)}" for precision in ("int8", "bf16")
            ),
            "parts": "photo, picture",
            "capabilities": " ".join(sorted(_capabilities(core))),
            "instructions": " ".join(sorted(_instructions() & INSTRUCTIONS)),
            "machine": platform.machine(),
            "system": platform.system(),
        }

    def compile(self, bundle: Bundle, precision: str, notify: Notify = ignore) -> bytes:
        """Both exported parts, about twice as large as the bundle's ONNX; well under a second.

        Raises EngineError.
        """
        notify(f"OpenVINO compiles {bundle.name} for the CPU in {precision.upper()}")
        core = _core()
        with mapped("openvino.load", bundle.graph(precision)):
            model = core.read_model(bundle.graph(precision))
            check_signature(bundle, _ports(model))
            settings = _settings(core, precision, None)
            photo, picture = (
                _exported(core.compile_model(part, "CPU", settings)) for part in _taken_apart(model)
            )
        return len(photo).to_bytes(LENGTH_BYTES, "little") + photo + picture

    def open(
        self, bundle: Bundle, precision: str, compiled: bytes, threads: int | None = None
    ) -> "OpenVinoEngine":
        """Raises EngineError when the bytes are no engine of this OpenVINO, or one of another bundle."""
        core = _core()
        end = LENGTH_BYTES + int.from_bytes(compiled[:LENGTH_BYTES], "little")
        with mapped("openvino.open", bundle.name):
            photo, picture = (
                core.import_model(part, "CPU", _settings(core, precision, threads))
                for part in (compiled[LENGTH_BYTES:end], compiled[end:])
            )
        between = _ports(photo).keys() & _ports(picture).keys()
        ports = {**_ports(photo), **_ports(picture)}
        check_signature(bundle, {name: shape for name, shape in ports.items() if name not in between})
        return OpenVinoEngine(bundle, picture, precision, photo=photo)


class OpenVinoAccelerator:
    """A Backend: OpenVINO on Intel's GPU or NPU, in FP16."""

    def __init__(self, name: str):
        """name: of OTHER_DEVICES."""
        self.name = name
        self._device = OTHER_DEVICES[name]

    def precisions(self, _bundle: Bundle) -> tuple[str, ...]:
        return ("fp16",)

    def depends_on(self) -> dict[str, str]:
        """What a compiled engine is valid for. Raises EngineError where there is no such device."""
        core = self._core()
        plugin = core.get_versions(self._device)[self._device]
        return {
            "library": f"openvino {ov.__version__}",
            "plugin": f"{plugin.description} {plugin.build_number}",
            "device": str(core.get_property(self._device, "FULL_DEVICE_NAME")).strip(),
            "driver": self._driver(core),
            "machine": platform.machine(),
            "system": f"{platform.system()} {platform.release()}",  # its driver comes with the system
        }

    def compile(self, bundle: Bundle, precision: str, notify: Notify = ignore) -> bytes:
        """The exported model: seconds on a GPU, up to a minute on an NPU. Raises EngineError."""
        notify(f"OpenVINO compiles {bundle.name} for the {self._device} in {precision.upper()}")
        core = self._core()
        with mapped("openvino.load", bundle.onnx):
            model = core.read_model(bundle.onnx)
        check_signature(bundle, _ports(model))
        with mapped("openvino.accelerator", self._device):
            return _exported(core.compile_model(model, self._device, ACCELERATED))

    def open(
        self, bundle: Bundle, precision: str, compiled: bytes, threads: int | None = None
    ) -> "OpenVinoEngine":
        """threads: of the CPU, which computes nothing here. Raises EngineError."""
        core = self._core()
        with mapped("openvino.open", bundle.name):
            model = core.import_model(compiled, self._device, ACCELERATED)
        check_signature(bundle, _ports(model))
        return OpenVinoEngine(bundle, model, precision, self._device)

    def _core(self) -> ov.Core:
        core = _core_of(os.getpid())
        # A machine with two GPUs has GPU.0 and GPU.1, and GPU stands for the first
        if not any(device.split(".")[0] == self._device for device in core.available_devices):
            raise EngineError(
                f"OpenVINO finds no {self._device} here",
                "install Intel's driver for it",
                Choice("device", "cpu"),
            )
        return core

    def _driver(self, core: ov.Core) -> str:
        """The driver's version, where the plugin tells it."""
        try:
            return str(core.get_property(self._device, f"{self._device}_DRIVER_VERSION"))
        except RuntimeError:
            return "unknown"


class OpenVinoEngine:
    """An Engine of OpenVINO. Its outputs are views that the next `run` overwrites."""

    def __init__(
        self,
        bundle: Bundle,
        model: ov.CompiledModel,
        precision: str,
        device: str = "CPU",
        photo: ov.CompiledModel | None = None,
    ):
        """
        Args:
            model: the whole generator, or what is left of it for every picture.
            photo: what depends on the photo alone; its outputs are inputs of the model.
        """
        self._request = model.create_infer_request()
        self._photo = photo.create_infer_request() if photo else None
        self._crop: np.ndarray | None = None  # that the photo's part has seen
        if photo and self._photo:
            for port in photo.outputs:
                self._request.set_tensor(port.any_name, self._photo.get_tensor(port.any_name))
        self.bundle = bundle
        self.name = f"OpenVINO {ov.__version__.split('-')[0]} {device} {precision.upper()}"

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        check_inputs(self.bundle, crop, aus)
        inputs = {"aus": np.asarray(aus, np.float32)[None]}
        with mapped("openvino.run", self.bundle.name):
            if self._photo is None:
                inputs["image"] = crop[None]
            elif crop is not self._crop:
                self._crop = None
                self._photo.infer({"image": crop[None]}, share_inputs=True)
                self._crop = None if crop.flags.writeable else crop
            self._request.infer(inputs, share_inputs=True, share_outputs=True)
        return Edit(
            self._request.get_tensor("colour").data[0],
            self._request.get_tensor("attention").data[0],
            self._request.get_tensor("flow").data[0] if self.bundle.flow_px else None,
            self.bundle.shade,
        )


def _core() -> ov.Core:
    """OpenVINO of this process. Raises EngineError where it has no CPU plugin for this machine."""
    core = _core_of(os.getpid())
    if "CPU" not in core.available_devices:
        raise EngineError("OpenVINO does not know this machine's CPU", Choice("device", "reference"))
    return core


@cache
def _core_of(_process: int) -> ov.Core:
    """OpenVINO of one process, never freed.

    The CPU plugin gives the thread that loads it another signal stack, and frees that with the last engine
    and core: the next signal, such as Ctrl-C, would then end the program by a segmentation fault. A forked
    process needs threads of its own.
    """
    return ov.Core()


def _exported(model: ov.CompiledModel) -> bytes:
    """A compiled model as it is kept."""
    exported = model.export_model()
    return exported.getvalue() if isinstance(exported, io.BytesIO) else bytes(exported)


def _taken_apart(model: ov.Model) -> tuple[ov.Model, ov.Model]:
    """A generator's graph as two: image -> what depends on it alone; that and AUs -> the outputs.

    The model is changed and must not be used any more.
    """
    ports = {_name(port): port.get_node() for port in model.inputs}
    sources: dict[str, set[str]] = {ports[name].get_friendly_name(): {name} for name in ports}
    nodes = model.get_ordered_ops()
    for node in nodes:
        found = sources.setdefault(node.get_friendly_name(), set())
        for port in node.inputs():
            found |= sources[port.get_source_output().get_node().get_friendly_name()]
    of_photo = [node for node in nodes if sources[node.get_friendly_name()] == {"image"}]
    results: list[ov.Node] = []
    parameters: list[ov.Node] = []
    for output in [output for node in of_photo for output in node.outputs()]:
        used = [port for port in output.get_target_inputs() if _leaves(port.get_node(), sources)]
        if not used:
            continue
        name = f"photo {len(results)}"
        parameter = opset.parameter(output.get_shape(), output.get_element_type(), name=name)
        parameter.output(0).set_names({name})
        for port in used:
            port.replace_source_output(parameter.output(0))
        result = opset.result(output)
        result.output(0).set_names({name})
        results.append(result)
        parameters.append(parameter)
    return (
        ov.Model(results, [ports["image"]], "photo"),
        ov.Model(model.get_results(), [ports["aus"], *parameters], "picture"),
    )


def _leaves(node: ov.Node, sources: dict[str, set[str]]) -> bool:
    """Whether a node that uses what depends on the photo alone belongs to every picture."""
    return "aus" in sources[node.get_friendly_name()] or node.get_type_name() == "Result"


def _settings(core: ov.Core, precision: str, threads: int | None) -> dict[str, object]:
    bf16 = precision != "fp32" and "BF16" in _capabilities(core)
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # pinned threads fight with the tracker's for the same core
        **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
    }


def _capabilities(core: ov.Core) -> set[str]:
    return set(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _instructions() -> set[str]:
    """The CPU's instruction sets as Linux names them; empty on other systems."""
    if not CPUINFO.is_file():
        return set()
    for line in CPUINFO.read_text().splitlines():
        name, _, listed = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86, ARM
            return set(listed.split())
    return set()


def _ports(model: ov.Model | ov.CompiledModel) -> dict[str, tuple[int, ...]]:
    return {_name(port): tuple(port.shape) for port in [*model.inputs, *model.outputs]}


def _name(port: ov.ConstOutput | ov.Output) -> str:
    """The contract's name of a port, which may have others, as that of what it is cast to."""
    return next((name for name in PORTS if name in port.names), port.any_name)


def work(bundle: Bundle) -> tuple[int, int, int]:
    """What a generator costs by its graph.

    Returns:
        multiply-adds of its convolutions and matrix products; the values that these read and write; its
            weights.
    """
    return _work_of(bundle.onnx, bundle.sha256)


@lru_cache(maxsize=8)  # a benchmark asks for each figure of each engine
def _work_of(onnx: Path, _sha256: str) -> tuple[int, int, int]:
    products = 0
    values = 0
    weights = 0
    for node in _core().read_model(onnx).get_ordered_ops():
        if node.get_type_name() not in ("Convolution", "MatMul"):
            continue
        first, second, out = (
            list(port.get_shape()) for port in (node.input(0), node.input(1), node.output(0))
        )
        depth = prod(second[1:]) if node.get_type_name() == "Convolution" else first[-1]
        products += prod(out) * depth
        values += prod(first) + prod(out)
        weights += prod(second)
    return products, values, weights


def peak(precision: str, threads: int | None = None) -> float:
    """Multiply-adds a second that OpenVINO reaches on this CPU.

    Measured on what it does best: dense 3x3 convolutions of 256 channels at 64 x 64.
    """
    channels = 256
    side = 64
    layers = 4
    rng = np.random.default_rng(0)
    port = opset.parameter([1, channels, side, side], np.float32)
    x = port
    for _ in range(layers):
        weights = opset.constant(rng.uniform(-0.02, 0.02, (channels, channels, 3, 3)).astype(np.float32))
        if precision == "int8":
            x = opset.fake_quantize(x, *map(np.float32, (-4, 4, -4, 4)), levels=256)
            weights = opset.fake_quantize(weights, *map(np.float32, (-0.02, 0.02, -0.02, 0.02)), levels=255)
        x = opset.convolution(x, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    core = _core()
    request = core.compile_model(
        ov.Model([x], [port]), "CPU", _settings(core, precision, threads)
    ).create_infer_request()
    photo = rng.uniform(-1, 1, (1, channels, side, side)).astype(np.float32)
    seconds = []
    for _ in range(TRIALS_OF_PEAK):
        started_s = time.perf_counter()
        request.infer([photo], share_inputs=True)
        seconds.append(time.perf_counter() - started_s)
    return layers * channels * channels * 9 * side * side / min(seconds)
