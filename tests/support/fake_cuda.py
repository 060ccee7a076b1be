"""Fakes of CUDA and of TensorRT's runtime: this side's memory for the GPU's, a stream that works when it is
waited for, ONNX for engines.

As on a GPU, nothing that a stream was given has happened before something waits for it, and an allocation
that is freed is gone.
"""

import ctypes
from collections.abc import Callable
from enum import Enum, IntEnum
from types import SimpleNamespace

import numpy as np


class Error(IntEnum):
    """The few of CUDA's errors that tests need, by their real numbers."""

    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorStubLibrary = 34
    cudaErrorInsufficientDriver = 35
    cudaErrorDevicesUnavailable = 46
    cudaErrorNoDevice = 100
    cudaErrorECCUncorrectable = 214
    cudaErrorIllegalAddress = 700
    cudaErrorLaunchFailure = 719
    cudaErrorSystemDriverMismatch = 803
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901
    cudaErrorUnknown = 999


class FakeCuda:
    """cuda.bindings.runtime, as far as engines.backends.cuda uses it. `fail(name, error)` makes every call of
    that name fail from now on.
    """

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(
        self, name: str = "NVIDIA GeForce RTX 4090", capability: tuple[int, int] = (8, 9), driver: int = 13000
    ):
        self.calls: list[str] = []  # names, in order
        self.memory: dict[int, ctypes.Array] = {}  # what is allocated now, by address
        self.handles: set[int] = set()  # streams and graphs that are alive
        self.copied_bytes: list[int] = []  # of every copy that was done
        self._facts = SimpleNamespace(name=name.encode(), major=capability[0], minor=capability[1])
        self._driver, self._failing = driver, {}
        self._queue: list[Callable[[], None]] = []
        self._recording: list[Callable[[], None]] | None = None
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._last_handle = 0

    def fail(self, name: str, error: Error, after: int = 0) -> None:
        """`after`: calls of that name that still succeed."""
        self._failing[name] = (error, after)

    def enqueue(self, work: Callable[[], None]) -> None:
        """What a kernel launch does."""
        (self._queue if self._recording is None else self._recording).append(work)

    def _answer(self, name: str, *values: object) -> tuple:
        self.calls.append(name)
        error, after = self._failing.get(name, (Error.cudaSuccess, 0))
        if after:
            self._failing[name] = (error, after - 1)
            error = Error.cudaSuccess
        return (error, *(values if error == 0 else [None] * len(values)))

    def _new_handle(self) -> int:
        self._last_handle += 1
        self.handles.add(self._last_handle)
        return self._last_handle

    def _allocate(self, name: str, size_bytes: int) -> tuple:
        answer = self._answer(name, 0)
        if answer[0]:
            return answer
        block = (ctypes.c_uint8 * size_bytes)()
        self.memory[ctypes.addressof(block)] = block
        return answer[0], ctypes.addressof(block)

    def _free(self, name: str, address: int) -> tuple:
        del self.memory[address]
        return self._answer(name)

    def _end(self, name: str, handle: int) -> tuple:
        self.handles.remove(handle)
        return self._answer(name)

    def cudaDriverGetVersion(self) -> tuple:
        return self._answer("cudaDriverGetVersion", self._driver)

    def cudaRuntimeGetVersion(self) -> tuple:
        return self._answer("cudaRuntimeGetVersion", 13050)

    def cudaGetDeviceCount(self) -> tuple:
        return self._answer("cudaGetDeviceCount", 1)

    def cudaGetDeviceProperties(self, _number: int) -> tuple:
        return self._answer("cudaGetDeviceProperties", self._facts)

    def cudaMalloc(self, size_bytes: int) -> tuple:
        return self._allocate("cudaMalloc", size_bytes)

    def cudaMallocHost(self, size_bytes: int) -> tuple:
        return self._allocate("cudaMallocHost", size_bytes)

    def cudaFree(self, address: int) -> tuple:
        return self._free("cudaFree", address)

    def cudaFreeHost(self, address: int) -> tuple:
        return self._free("cudaFreeHost", address)

    def cudaStreamCreateWithFlags(self, _flags: int) -> tuple:
        return self._answer("cudaStreamCreateWithFlags", self._new_handle())

    def cudaStreamDestroy(self, stream: int) -> tuple:
        return self._end("cudaStreamDestroy", stream)

    def cudaMemcpyAsync(self, to: int, source: int, size_bytes: int, _kind: int, _stream: int) -> tuple:
        def copy() -> None:
            assert len(self.memory[to]) == len(self.memory[source]) == size_bytes
            ctypes.memmove(to, source, size_bytes)
            self.copied_bytes.append(size_bytes)

        answer = self._answer("cudaMemcpyAsync")
        if not answer[0]:
            self.enqueue(copy)
        return answer

    def cudaStreamSynchronize(self, _stream: int) -> tuple:
        assert self._recording is None, "a captured stream must not be waited for"
        work, self._queue = self._queue, []
        answer = self._answer("cudaStreamSynchronize")
        for step in work if not answer[0] else ():
            step()
        return answer

    def cudaStreamBeginCapture(self, _stream: int, _mode: int) -> tuple:
        self._recording = []
        return self._answer("cudaStreamBeginCapture")

    def cudaStreamEndCapture(self, _stream: int) -> tuple:
        graph = self._new_handle()
        self._graphs[graph], self._recording = self._recording, None
        return self._answer("cudaStreamEndCapture", graph)

    def cudaGetLastError(self) -> tuple:
        return self._answer("cudaGetLastError")

    def cudaGraphInstantiate(self, graph: int, _flags: int) -> tuple:
        executable = self._new_handle()
        self._graphs[executable] = self._graphs[graph]
        return self._answer("cudaGraphInstantiate", executable)

    def cudaGraphDestroy(self, graph: int) -> tuple:
        return self._end("cudaGraphDestroy", graph)

    def cudaGraphExecDestroy(self, executable: int) -> tuple:
        return self._end("cudaGraphExecDestroy", executable)

    def cudaGraphLaunch(self, executable: int, _stream: int) -> tuple:
        answer = self._answer("cudaGraphLaunch")
        if not answer[0]:
            for step in self._graphs[executable]:
                self.enqueue(step)
        return answer


class FakeTensorRt:
    """The module tensorrt, as far as opening and running need it.

    A compiled engine is ONNX, which onnxruntime runs.
    """

    __name__, __version__ = "tensorrt", "11.0.0.42"
    uint8, float32 = "uint8", "float32"
    TensorIOMode = Enum("TensorIOMode", ("INPUT", "OUTPUT"))
    ExecutionContextAllocationStrategy = Enum(
        "ExecutionContextAllocationStrategy", ("STATIC", "USER_MANAGED")
    )
    ComputeCapability = SimpleNamespace(SM75=75, SM80=80, SM86=86, SM89=89, SM120=120)

    class ILogger:
        Severity = Enum("Severity", ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"))

    def __init__(self, cuda: FakeCuda, renamed: dict[str, str] | None = None):
        """renamed: other names for some tensors."""
        self.cuda, self.renamed = cuda, renamed or {}
        self.refuses_to_run = False

    def as_rtx(self) -> None:
        """From now on tensorrt_rtx, whose engines compute in memory that they are given."""
        self.__name__, self.__version__ = "tensorrt_rtx", "1.5.0.114"

    @property
    def rtx(self) -> bool:
        return self.__name__ == "tensorrt_rtx"

    def Runtime(self, log: object) -> SimpleNamespace:
        def deserialize_cuda_engine(compiled: bytes) -> "FakeTensorRtEngine | None":
            if not compiled.startswith(b"\x08"):  # no ONNX
                log.log(self.ILogger.Severity.WARNING, "a warning")
                log.log(
                    self.ILogger.Severity.ERROR,
                    "IRuntime::deserializeCudaEngine: magic tag does not match\nmore",
                )
                return None
            return FakeTensorRtEngine(self, compiled)

        return SimpleNamespace(deserialize_cuda_engine=deserialize_cuda_engine)


class FakeTensorRtEngine:
    """An ICudaEngine, and its own IExecutionContext."""

    device_memory_size_v2 = 1 << 20
    device_memory = 0

    def __init__(self, trt: FakeTensorRt, onnx: bytes):
        import onnxruntime

        self._trt = trt
        self._session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._own = {trt.renamed.get(port.name, port.name): port for port in [*inputs, *outputs]}
        self._inputs = {trt.renamed.get(port.name, port.name) for port in inputs}
        self._addresses: dict[str, int] = {}
        self.num_io_tensors = len(self._own)
        self.runs = 0

    def get_tensor_name(self, number: int) -> str:
        return list(self._own)[number]

    def get_tensor_mode(self, name: str) -> Enum:
        return self._trt.TensorIOMode.INPUT if name in self._inputs else self._trt.TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> list[int]:
        return self._own[name].shape

    def get_tensor_dtype(self, name: str) -> str:
        return {"tensor(uint8)": "uint8", "tensor(float)": "float32"}.get(
            self._own[name].type, self._own[name].type
        )

    def create_execution_context(self, strategy: Enum | None = None) -> "FakeTensorRtEngine | None":
        """None for an engine of tensorrt_rtx that is to find its memory itself, as the real one does."""
        managed = strategy == self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        return self if managed == self._trt.rtx else None

    def set_device_memory(self, address: int, size_bytes: int) -> None:
        assert len(self._trt.cuda.memory[address]) == size_bytes >= self.device_memory_size_v2
        self.device_memory = address

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, _stream: int) -> bool:
        given = self.device_memory in self._trt.cuda.memory
        if self._trt.refuses_to_run or given != self._trt.rtx:
            return False
        self._trt.cuda.enqueue(self._run)
        return True

    def _run(self) -> None:
        self.runs += 1
        arrays = {
            name: np.frombuffer(
                self._trt.cuda.memory[self._addresses[name]], self.get_tensor_dtype(name)
            ).reshape(port.shape)
            for name, port in self._own.items()
        }
        outputs = {name: port for name, port in self._own.items() if name not in self._inputs}
        results = self._session.run(
            [port.name for port in outputs.values()],
            {self._own[name].name: arrays[name] for name in self._inputs},
        )
        for name, result in zip(outputs, results, strict=True):
            arrays[name][...] = result


def install(monkeypatch) -> SimpleNamespace:
    """A GPU (`cuda`) and TensorRT's runtime (`trt`) that engines.backends.tensorrt finds instead of real
    ones.
    """
    from engines.backends import cuda, tensorrt

    fake = FakeCuda()
    library = FakeTensorRt(fake)
    monkeypatch.setattr(cuda, "runtime", fake)
    monkeypatch.setattr(tensorrt, "find_library", lambda _name=None: library)
    return SimpleNamespace(cuda=fake, trt=library)
