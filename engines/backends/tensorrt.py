"""Compiles and runs bundles by TensorRT on an NVIDIA GPU. The one file of this room that imports tensorrt and tensorrt_rtx.

`tensorrt` (10 or 11) and `tensorrt_rtx` have the same Python API; either will do. An engine holds fixed memory on both sides, one
stream and one captured graph. The photo's crop goes up once; a frame sends its AUs and fetches what the generator says. No PyTorch.
"""

import platform
from concurrent.futures import ThreadPoolExecutor, wait
from types import ModuleType

import numpy as np

from engines.backends.interface import Edit, Say, check_inputs, check_signature
from engines.bundle import Bundle
from engines.errors import EngineError, EngineLost

LIBRARIES = {
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
}  # in the order in which they are looked for
PRECISION = "fp16"  # what every GPU that TensorRT knows is fast at; INT8 variants are of the CPU's kind, which TensorRT refuses
TYPING = "1"  # of engines.backends.fp16_graph and _configure: raised when they ask for something else, so that older engines are compiled anew
LONG_STEPS = 50  # of a phase of compiling that tells how far it is: on a GPU it times its kernels in hundreds
LISTEN_S = 0.2  # between two looks for Ctrl-C, which Windows does not bring to a thread that waits
INPUTS, OUTPUTS = ("image", "aus"), ("colour", "attention", "flow")


def find_library(name: str | None = None) -> ModuleType:
    """The module tensorrt or tensorrt_rtx, whichever is installed. Raises EngineError."""
    faults = []
    for wanted in (name,) if name else LIBRARIES:
        try:
            if wanted == "tensorrt":
                import tensorrt as library
            else:
                import tensorrt_rtx as library
            return library
        except (ImportError, OSError, RuntimeError) as error:
            if (
                not isinstance(error, ModuleNotFoundError) or error.name != wanted
            ):  # installed, but its own libraries are not found
                faults.append(f"{wanted} cannot be loaded ({str(error).splitlines()[0]})")
    if faults:
        raise EngineError(f"{'; '.join(faults)}: install it again, or choose --device cpu.")
    raise EngineError(
        "TensorRT is not installed: pip install -e '.[tensorrt-rtx]' for a GeForce or RTX card, '.[tensorrt]' for others, or choose --device cpu."
    )


class TensorRt:
    """Backend on the first NVIDIA GPU. `library`: "tensorrt", "tensorrt_rtx", or None for whichever is installed. Raises EngineError."""

    def __init__(self, library: str | None = None):
        self._trt = find_library(library)
        self.name = (
            getattr(self._trt, "_package_name", "") or self._trt.__name__
        )  # torch_tensorrt lets tensorrt_rtx pass for tensorrt
        self.version = self._trt.__version__
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

    def compile(self, bundle: Bundle, precision: str, say: Say) -> bytes:
        """tensorrt_rtx needs no GPU for this and takes seconds; tensorrt needs one and tries kernels for minutes."""
        if precision != PRECISION:
            raise EngineError(
                f"{LIBRARIES[self.name]} computes in FP16 here, not in {precision.upper()}: take --device gpu."
            )
        say(f"{LIBRARIES[self.name]} compiles {bundle.name} for the GPU in FP16")
        log, monitor = error_log(self._trt), _monitor(self._trt, say)
        with ThreadPoolExecutor(
            1, "compile"
        ) as aside:  # Ctrl-C that arrives in one of TensorRT's calls back would be lost: none do there
            building = aside.submit(self._build, bundle, log, monitor)
            try:
                while not wait([building], LISTEN_S).done:
                    pass
            except BaseException as error:
                monitor.stopped_by = error  # ends the build at its next step, for which the thread is waited
                raise
        return building.result()

    def _build(self, bundle: Bundle, log: object, monitor: object) -> bytes:
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

    def read(self, bundle: Bundle, log: object) -> tuple[object, object]:
        """A builder and the network that it would build: TensorRT's reading of the to_fp16 graph. Raises EngineError."""
        try:
            from engines.backends.fp16_graph import to_fp16
        except ImportError as error:
            raise EngineError(
                f"Compiling for {LIBRARIES[self.name]} needs onnx: pip install onnx, or choose --device cpu."
            ) from error
        graph = to_fp16(bundle.graph(PRECISION)).SerializeToString()
        trt = self._trt
        try:
            builder = trt.Builder(log)
            network = builder.create_network(_strongly_typed(trt))
            parser = trt.OnnxParser(network, log)
        except (
            TypeError,
            RuntimeError,
        ) as error:  # what the bindings raise where the library gave them nothing
            _cuda().find_gpu()  # says so if that is what is missing
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
            capability = "{}.{}".format(*gpu.capability)
            unknown = self._rtx and not hasattr(
                self._trt.ComputeCapability, f"SM{capability.replace('.', '')}"
            )
            advice = "pip install -e '.[tensorrt]', which is made for such a GPU" if unknown else ""
            raise self._fault(
                f"cannot open its engine on {gpu.name} (compute capability {capability}) for",
                bundle,
                log,
                advice,
            )
        name = (
            f"{LIBRARIES[self.name]} {'.'.join(self.version.split('.')[:3])} {gpu.name} {precision.upper()}"
        )
        return TensorRtEngine(bundle, name, self._trt, engine, context, (runtime, log, memory))

    def _configure(self, config: object) -> None:
        flags = self._trt.BuilderFlag
        config.clear_flag(
            flags.TF32
        )  # on by default: what the graph wants in FP32 would have FP16's 10-bit mantissas
        if not self._rtx:
            return
        config.set_flag(
            flags.REQUIRE_USER_ALLOCATION
        )  # nothing is allocated while it runs, or no graph could be captured
        try:
            turing = _cuda().find_gpu().capability == (7, 5)
        except EngineError:
            turing = False
        if turing:  # else it builds for Ampere and all later cards
            config.num_compute_capabilities = 1
            config.set_compute_capability(self._trt.ComputeCapability.SM75, 0)

    def _context(self, engine: object) -> tuple[object, object]:
        """What runs an engine, None when it cannot; and the memory that it computes in, which tensorrt_rtx wants from outside."""
        if not self._rtx:
            return engine.create_execution_context(), None
        memory = _cuda().Memory(max(engine.device_memory_size_v2, 1))
        context = engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is not None:
            context.set_device_memory(memory.address, memory.size_bytes)
        return context, memory

    def _fault(self, what: str, bundle: Bundle, log: object, advice: str = "") -> EngineError:
        library = LIBRARIES[self.name]
        said = f" ({log.last})" if log.last else ""
        advice = advice or f"install another version of {library}"
        return EngineError(
            f"{library} {self.version} {what} {bundle.name}{said}: {advice}, or choose --device cpu."
        )


class TensorRtEngine:
    """An Engine on the GPU. Its outputs are views that the next `run` overwrites."""

    def __init__(
        self, bundle: Bundle, name: str, trt: ModuleType, engine: object, context: object, needed: tuple
    ):
        """needed: the context works only as long as these live: TensorRT's runtime, its logger, the memory that it computes in."""
        cuda = _cuda()
        self.bundle, self.name = bundle, name
        self._engine, self._context, self._needed = engine, context, needed
        ports = _ports(bundle, trt, engine)
        self._gpu, self._pinned, self._arrays = {}, {}, {}
        for mine, theirs in ports.items():
            shape, dtype = (
                tuple(engine.get_tensor_shape(theirs)),
                np.uint8 if mine in ("image", "colour") else np.float32,
            )
            size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            self._gpu[mine], self._pinned[mine] = (
                cuda.Memory(size_bytes),
                cuda.Memory(size_bytes, pinned=True),
            )
            self._arrays[mine] = self._pinned[mine].array(shape, dtype)
            context.set_tensor_address(theirs, self._gpu[mine].address)
        self._outputs = [port for port in OUTPUTS if port in ports]
        self._uploaded: np.ndarray | None = (
            None  # the crop that is on the GPU, as long as it cannot have changed
        )
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
        return Edit(*(self._arrays[port][0] if port in self._arrays else None for port in OUTPUTS))

    def _frame(self) -> None:
        """AUs up, the generator, its outputs down."""
        self._stream.upload(self._gpu["aus"], self._pinned["aus"])
        if not self._context.execute_async_v3(self._stream.handle):
            _, log, _ = self._needed
            said = f" ({log.last})" if log.last else ""
            raise EngineLost(
                f"The GPU refused to go on{said}: start the program again, or choose --device cpu."
            )
        for port in self._outputs:
            self._stream.download(self._pinned[port], self._gpu[port])


def _ports(bundle: Bundle, trt: ModuleType, engine: object) -> dict[str, str]:
    """The contract's name -> the engine's, for each input and output. Engines of torch-tensorrt number theirs: then the order counts.

    Raises EngineError when shapes or types are not the bundle's.
    """
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    ports: dict[str, str] = {}
    for mode, wanted in ((trt.TensorIOMode.INPUT, INPUTS), (trt.TensorIOMode.OUTPUT, OUTPUTS)):
        there = [name for name in names if engine.get_tensor_mode(name) == mode]
        ports |= (
            {name: name for name in there}
            if set(there) <= set(wanted)
            else dict(zip(wanted, there, strict=False))
        )
    check_signature(bundle, {mine: tuple(engine.get_tensor_shape(theirs)) for mine, theirs in ports.items()})
    for mine, theirs in ports.items():
        wanted, found = (
            trt.uint8 if mine in ("image", "colour") else trt.float32,
            engine.get_tensor_dtype(theirs),
        )
        if found != wanted:
            raise EngineError(
                f"The engine compiled from {bundle.name} has {mine} as {found} instead of {wanted}: compile it again."
            )
    return ports


def _cuda() -> ModuleType:
    """engines.backends.cuda. Raises EngineError when cuda-python is missing."""
    try:
        from engines.backends import cuda
    except ImportError as error:
        raise EngineError(
            "TensorRT is driven through cuda-python: pip install cuda-bindings, or choose --device cpu."
        ) from error
    return cuda


def _strongly_typed(trt: ModuleType) -> int:
    """Creation flags that make the graph's types count: wanted by TensorRT 10, ignored or gone since 11."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def error_log(trt: ModuleType) -> object:
    """A logger that prints nothing and keeps the last error."""

    class Log(trt.ILogger):
        last = ""

        def log(self, severity: object, message: str) -> None:
            if (
                severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)
                and message.strip()
            ):
                self.last = message.strip().splitlines()[0]

    return Log()


def _monitor(trt: ModuleType, say: Say) -> object:
    """Tells `say` of each phase of a build, and of each tenth of a long one; what `say` raises stops the build and is kept in `stopped_by`."""

    class Monitor(trt.IProgressMonitor):
        stopped_by: BaseException | None = None

        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            self._tell(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            pass

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self._steps.get(phase_name, 0)
            if steps >= LONG_STEPS and (step + 1) * 10 // steps > step * 10 // steps:
                self._tell(f"{phase_name}, {(step + 1) * 100 // steps} %")
            return self.stopped_by is None

        def _tell(self, sentence: str) -> None:
            if self.stopped_by is None:
                try:
                    say(sentence)
                except BaseException as error:
                    self.stopped_by = error

    return Monitor()
