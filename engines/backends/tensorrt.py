"""Compiles and runs bundles by TensorRT on an NVIDIA GPU.

The only file that imports tensorrt and tensorrt_rtx.

`tensorrt` (10 or 11) and `tensorrt_rtx` have the same Python API; either will do. An engine holds fixed
memory on both sides, one stream and one captured graph. The photo's crop goes up once; a frame sends its AUs
and fetches what the generator answers. No PyTorch.
"""

import ctypes
import platform
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from types import ModuleType
from typing import Any

import numpy as np

from engines.backends.interface import Edit, Notify, check_inputs, check_signature
from engines.bundle import Bundle
from engines.errors import Choice, EngineError, EngineLost
from engines.foreign_errors import CPU, first_line, mapped

# Objects of the two libraries, which ship no types; TensorRT's own names for their classes.
ILogger = Any
IProgressMonitor = Any
IBuilder = Any
IBuilderConfig = Any
INetworkDefinition = Any
ICudaEngine = Any
IExecutionContext = Any

# In the order in which they are looked for
LIBRARIES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"  # NVIDIA's, as the system finds it
# What every GPU that TensorRT knows is fast at. INT8 variants are made for CPUs, and TensorRT refuses them.
PRECISION = "fp16"
# Version of what engines.backends.fp16_graph and _configure ask for: raise it with them, so that engines
# compiled before are compiled again.
TYPING = "1"
# Of a phase of compiling that reports its progress: on a GPU kernels are timed in hundreds
LONG_PHASE_STEPS = 50
POLL_S = 0.2  # between two looks for Ctrl-C, which Windows does not bring to a thread that waits
INPUTS = ("image", "aus")
OUTPUTS = ("colour", "attention", "flow")


def find_library(name: str | None = None) -> ModuleType:
    """The module tensorrt or tensorrt_rtx, whichever is installed. name: one of them. Raises EngineError."""
    faults = []
    for wanted in (name,) if name else LIBRARIES:
        try:
            if wanted == "tensorrt":
                import tensorrt as library
            else:
                import tensorrt_rtx as library
            return library
        except (ImportError, OSError, RuntimeError) as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == wanted
            if not missing:  # installed, but its own libraries are not found
                faults.append(f"{wanted} cannot be loaded ({first_line(error)})")
    if faults:
        raise EngineError("; ".join(faults), "install it again", CPU)
    raise EngineError(
        "TensorRT is not installed",
        "pip install -e '.[tensorrt-rtx]' for a GeForce or RTX card, '.[tensorrt]' for others",
        CPU,
    )


def has_driver() -> bool:
    """Whether NVIDIA's driver is installed: asked before the libraries are imported, which takes .1 s."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


class TensorRt:
    """A Backend on the first NVIDIA GPU."""

    def __init__(self, library: str | None = None):
        """library: "tensorrt", "tensorrt_rtx", or None for whichever is installed. Raises EngineError."""
        self._trt = find_library(library)
        # torch_tensorrt lets tensorrt_rtx pass for tensorrt: then its own name is here.
        self.name: str = getattr(self._trt, "_package_name", "") or self._trt.__name__
        self.version: str = self._trt.__version__
        self._rtx = self.name == "tensorrt_rtx"

    def precisions(self, bundle: Bundle) -> tuple[str, ...]:
        return (PRECISION,)

    def depends_on(self) -> dict[str, str]:
        gpu = _cuda().find_gpu()
        capability = "{}.{}".format(*gpu.capability)
        return {
            "library": f"{self.name} {self.version}",
            "typing": TYPING,
            "device": gpu.name,
            "capability": capability,
            "driver": f"CUDA {gpu.driver}",
            "system": f"{platform.system()} {platform.machine()}",
        }

    def compile(self, bundle: Bundle, precision: str, notify: Notify) -> bytes:
        """The engine as bytes. Raises EngineError.

        tensorrt_rtx needs no GPU for this and takes seconds; tensorrt needs one and tries kernels for
        minutes.
        """
        if precision != PRECISION:
            raise EngineError(
                f"{LIBRARIES[self.name]} computes in FP16 here, not in {precision.upper()}",
                Choice("device", "gpu"),
            )
        notify(f"{LIBRARIES[self.name]} compiles {bundle.name} for the GPU in FP16")
        log = error_log(self._trt)
        monitor = _monitor(self._trt, notify)
        # In a thread of its own: Ctrl-C that arrives in one of TensorRT's callbacks would be lost.
        with ThreadPoolExecutor(1, "compile") as executor:
            building = executor.submit(self._build, bundle, log, monitor)
            try:
                while not wait([building], POLL_S).done:
                    pass
            except BaseException as error:
                # Ends the build at its next step; leaving the block waits for that
                monitor.stopped_by = error
                raise
        return building.result()

    def _build(self, bundle: Bundle, log: ILogger, monitor: IProgressMonitor) -> bytes:
        builder, network = self.read(bundle, log)
        config = builder.create_builder_config()
        self._configure(config)
        config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
        if monitor.stopped_by:
            raise monitor.stopped_by
        if plan is None:
            raise self._fault("cannot compile", bundle, log)
        return bytes(plan)

    def read(self, bundle: Bundle, log: ILogger) -> tuple[IBuilder, INetworkDefinition]:
        """A builder and the network that it would build: TensorRT's reading of the to_fp16 graph.

        Raises EngineError.
        """
        with mapped("onnx.import", LIBRARIES[self.name]):
            from engines.backends.fp16_graph import to_fp16
        graph = to_fp16(bundle.graph(PRECISION)).SerializeToString()
        trt = self._trt
        try:
            builder = trt.Builder(log)
            network = builder.create_network(_strongly_typed(trt))
            parser = trt.OnnxParser(network, log)
        # What the bindings raise where the library gave them nothing
        except (TypeError, RuntimeError) as error:
            _cuda().find_gpu()  # raises what is wrong where that is the GPU
            raise self._fault("cannot start to compile", bundle, log) from error
        if not parser.parse(graph):
            raise self._fault("cannot read", bundle, log)
        return builder, network

    def open(
        self, bundle: Bundle, precision: str, compiled: bytes, threads: int | None = None
    ) -> "TensorRtEngine":
        gpu = _cuda().find_gpu()
        log = error_log(self._trt)
        runtime = self._trt.Runtime(log)
        engine = runtime.deserialize_cuda_engine(compiled)
        context, memory = self._context(engine) if engine is not None else (None, None)
        if context is None:
            major, minor = gpu.capability
            known = not self._rtx or hasattr(self._trt.ComputeCapability, f"SM{major}{minor}")
            raise self._fault(
                f"cannot open its engine on {gpu.name} (compute capability {major}.{minor}) for",
                bundle,
                log,
                "" if known else "pip install -e '.[tensorrt]', which is made for such a GPU",
            )
        version = ".".join(self.version.split(".")[:3])
        name = f"{LIBRARIES[self.name]} {version} {gpu.name} {precision.upper()}"
        return TensorRtEngine(bundle, name, self._trt, engine, context, (runtime, log, memory))

    def _configure(self, config: IBuilderConfig) -> None:
        flags = self._trt.BuilderFlag
        # TF32 is on by default: what the graph wants in FP32 would have FP16's 10-bit mantissas.
        config.clear_flag(flags.TF32)
        if not self._rtx:
            return
        # Nothing is allocated while it runs, or no graph could be captured.
        config.set_flag(flags.REQUIRE_USER_ALLOCATION)
        try:
            turing = _cuda().find_gpu().capability == (7, 5)
        except EngineError:
            turing = False
        if turing:  # else it builds for Ampere and all later cards
            config.num_compute_capabilities = 1
            config.set_compute_capability(self._trt.ComputeCapability.SM75, 0)

    def _context(self, engine: ICudaEngine) -> tuple[IExecutionContext | None, object]:
        """What runs an engine, None when it cannot; and its scratch memory, for tensorrt_rtx alone."""
        if not self._rtx:
            return engine.create_execution_context(), None
        memory = _cuda().Memory(max(engine.device_memory_size_v2, 1))
        context = engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is not None:
            context.set_device_memory(memory.address, memory.size_bytes)
        return context, memory

    def _fault(self, what: str, bundle: Bundle, log: ILogger, advice: str = "") -> EngineError:
        """The error to raise when the library fails, with what it logged last."""
        library = LIBRARIES[self.name]
        return EngineError(
            f"{library} {self.version} {what} {bundle.name}{_reason(log)}",
            advice or f"install another version of {library}",
            CPU,
        )


class TensorRtEngine:
    """An Engine on the GPU. Its outputs are views that the next `run` overwrites."""

    def __init__(
        self,
        bundle: Bundle,
        name: str,
        trt: ModuleType,
        engine: ICudaEngine,
        context: IExecutionContext,
        kept_alive: tuple[object, ILogger, object],
    ):
        """
        Args:
            kept_alive: the context works only as long as these live: TensorRT's runtime, its logger, its
                scratch memory.
        """
        cuda = _cuda()
        self.bundle = bundle
        self.name = name
        self._engine = engine
        self._context = context
        self._kept_alive = kept_alive
        self._log = kept_alive[1]
        # Memory of the GPU, pinned memory of the host and a view of that, for each input and output
        self._gpu = {}
        self._pinned = {}
        self._arrays: dict[str, np.ndarray] = {}
        ports = _ports(bundle, trt, engine)
        for port, tensor in ports.items():
            shape = tuple(engine.get_tensor_shape(tensor))
            dtype = np.uint8 if port in ("image", "colour") else np.float32
            size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            self._gpu[port] = cuda.Memory(size_bytes)
            self._pinned[port] = cuda.Memory(size_bytes, pinned=True)
            self._arrays[port] = self._pinned[port].array(shape, dtype)
            context.set_tensor_address(tensor, self._gpu[port].address)
        self._outputs = [port for port in OUTPUTS if port in ports]
        # The crop that is on the GPU, as long as it cannot have changed
        self._uploaded: np.ndarray | None = None
        self._stream = cuda.Stream()
        self._frame()  # the first run loads or compiles kernels, which no graph can hold
        self._stream.wait()
        self._graph = self._stream.capture(self._frame)

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        check_inputs(self.bundle, crop, aus)
        if crop is not self._uploaded:
            self._uploaded = None
            self._arrays["image"][0] = crop
            self._stream.upload(self._gpu["image"], self._pinned["image"])
        self._arrays["aus"][0] = aus
        if self._graph is None:
            self._frame()
        else:
            self._stream.launch(self._graph)
        self._stream.wait()
        self._uploaded = None if crop.flags.writeable else crop  # not before: an upload may fail
        flow = self._arrays["flow"][0] if "flow" in self._arrays else None
        return Edit(self._arrays["colour"][0], self._arrays["attention"][0], flow, self.bundle.shade)

    def _frame(self) -> None:
        """Queues one frame: AUs up, the generator, its outputs down."""
        self._stream.upload(self._gpu["aus"], self._pinned["aus"])
        if not self._context.execute_async_v3(self._stream.handle):
            raise EngineLost(f"The GPU refused to go on{_reason(self._log)}", "start the program again", CPU)
        for port in self._outputs:
            self._stream.download(self._pinned[port], self._gpu[port])


def _ports(bundle: Bundle, trt: ModuleType, engine: ICudaEngine) -> dict[str, str]:
    """The contract's name -> the engine's, for each input and output.

    Engines of torch-tensorrt number theirs: then the order counts. Raises EngineError when shapes or types
    are not the bundle's.
    """
    tensors = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    ports: dict[str, str] = {}
    for mode, contract in ((trt.TensorIOMode.INPUT, INPUTS), (trt.TensorIOMode.OUTPUT, OUTPUTS)):
        found = [tensor for tensor in tensors if engine.get_tensor_mode(tensor) == mode]
        named = set(found) <= set(contract)
        ports |= dict(zip(found if named else contract, found, strict=False))
    check_signature(bundle, {port: tuple(engine.get_tensor_shape(tensor)) for port, tensor in ports.items()})
    for port, tensor in ports.items():
        expected = trt.uint8 if port in ("image", "colour") else trt.float32
        dtype = engine.get_tensor_dtype(tensor)
        if dtype != expected:
            raise EngineError(
                f"The engine compiled from {bundle.name} has {port} as {dtype} instead of {expected}",
                "compile it again",
            )
    return ports


def _cuda() -> ModuleType:
    """engines.backends.cuda. Raises EngineError when cuda-bindings is missing."""
    with mapped("cuda.import"):
        from engines.backends import cuda
    return cuda


def _strongly_typed(trt: ModuleType) -> int:
    """Creation flags that make the graph's types count: needed by TensorRT 10, ignored or gone since 11."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _reason(log: ILogger) -> str:
    """The last error that was logged, in brackets; "" where there is none."""
    return f" ({log.last})" if log.last else ""


def error_log(trt: ModuleType) -> ILogger:
    """A logger that prints nothing and keeps the last error, as `last`."""

    class Log(trt.ILogger):  # type: ignore[name-defined,misc]  # a class of whichever library is installed
        last = ""

        def log(self, severity: object, message: str) -> None:
            errors = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)
            if severity in errors and message.strip():
                self.last = message.strip().splitlines()[0]

    return Log()


def _monitor(trt: ModuleType, notify: Notify) -> IProgressMonitor:
    """Reports each phase of a build, and each tenth of a long one.

    What `notify` raises stops the build and is kept in `stopped_by`.
    """

    # A class of whichever library is installed
    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined,misc]
        stopped_by: BaseException | None = None

        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            self._report(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            pass

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self._steps.get(phase_name, 0)
            if steps >= LONG_PHASE_STEPS and (step + 1) * 10 // steps > step * 10 // steps:
                self._report(f"{phase_name}, {(step + 1) * 100 // steps} %")
            return self.stopped_by is None

        def _report(self, message: str) -> None:
            if self.stopped_by is None:
                try:
                    notify(message)
                except BaseException as error:
                    self.stopped_by = error

    return Monitor()
