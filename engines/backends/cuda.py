"""CUDA by cuda-python: which GPU is here, its memory, one stream, one captured graph.

The only file that imports cuda.

It knows nothing of engines. Every failure becomes an EngineError, EngineLost once work has begun. Memory and
streams free themselves when nothing refers to them any more; at exit the driver does it.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cuda.bindings import runtime

from engines.errors import EngineError, EngineLost
from engines.foreign_errors import CPU, cuda_error

CAPTURE_ERRORS = range(
    900, 909
)  # cudaErrorStreamCapture*: the work cannot be captured, and nothing is broken


@dataclass(frozen=True)
class Gpu:
    """The GPU that engines run on: the first that CUDA_VISIBLE_DEVICES leaves in view."""

    name: str  # "NVIDIA GeForce RTX 4090"
    capability: tuple[int, int]  # (8, 9)
    driver: str  # the newest CUDA that the driver knows, "13.0"


def find_gpu() -> Gpu:
    """The GPU. Raises EngineError when there is none, no driver, or one that is too old."""
    (driver,) = check(runtime.cudaDriverGetVersion())
    error, count = runtime.cudaGetDeviceCount()
    if error.name == "cudaErrorInsufficientDriver":
        (needed,) = check(runtime.cudaRuntimeGetVersion())
        if not driver:
            raise cuda_error("cudaErrorStubLibrary")
        raise EngineError(
            f"The NVIDIA driver is too old: it knows CUDA {_version(driver)} and this program needs "
            f"CUDA {needed // 1000}",
            "update the driver",
            CPU,
        )
    check((error,))
    if not count:
        raise cuda_error("cudaErrorNoDevice")
    (properties,) = check(runtime.cudaGetDeviceProperties(0))
    name = properties.name.split(b"\0")[0].decode(errors="replace")
    return Gpu(name, (properties.major, properties.minor), _version(driver))


def check(answer: tuple, running: bool = False) -> tuple:
    """What a CUDA call returned besides its error.

    Raises EngineError when it failed, EngineLost when work was running.
    """
    error, *values = answer
    if int(error):
        raise cuda_error(error.name, running)
    return tuple(values)


class Memory:
    """Memory of the GPU, or pinned memory of the host, which the GPU copies by itself."""

    def __init__(self, size_bytes: int, pinned: bool = False):
        """pinned: of the host. Raises EngineError when there is too little."""
        if pinned:
            (address,) = check(runtime.cudaMallocHost(size_bytes))
            free = runtime.cudaFreeHost
        else:
            (address,) = check(runtime.cudaMalloc(size_bytes))
            free = runtime.cudaFree
        self.size_bytes = size_bytes
        self.address = int(address)
        weakref.finalize(self, free, self.address).atexit = False

    def array(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """Pinned memory as an array, which keeps the memory alive."""
        self.__array_interface__ = {
            "shape": (self.size_bytes,),
            "typestr": "|u1",
            "data": (self.address, False),
            "version": 3,
        }
        return np.asarray(self).view(dtype).reshape(shape)


class Stream:
    """Work for the GPU, done in order.

    Its methods raise EngineLost when work failed, of an earlier call perhaps.
    """

    def __init__(self) -> None:
        (self._stream,) = check(runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking))
        self.handle = int(self._stream)
        weakref.finalize(self, runtime.cudaStreamDestroy, self._stream).atexit = False

    def upload(self, gpu: Memory, pinned: Memory) -> None:
        """Queues a copy from the host to the GPU."""
        kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        check(
            runtime.cudaMemcpyAsync(gpu.address, pinned.address, gpu.size_bytes, kind, self._stream),
            running=True,
        )

    def download(self, pinned: Memory, gpu: Memory) -> None:
        """Queues a copy from the GPU to the host."""
        kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        check(
            runtime.cudaMemcpyAsync(pinned.address, gpu.address, gpu.size_bytes, kind, self._stream),
            running=True,
        )

    def wait(self) -> None:
        """Returns when all work is done."""
        check(runtime.cudaStreamSynchronize(self._stream), running=True)

    def capture(self, work: Callable[[], None]) -> "Graph | None":
        """Records what `work` would do, without doing it; None when that cannot be recorded."""
        # Of this thread alone, as others may use CUDA meanwhile.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        check(runtime.cudaStreamBeginCapture(self._stream, mode), running=True)
        try:
            work()
        except EngineLost:
            self._end_capture()
            return None
        error, graph = self._end_capture()
        if int(error) in CAPTURE_ERRORS:
            return None
        check((error,), running=True)
        return Graph(graph)

    def _end_capture(self) -> tuple:
        answer = runtime.cudaStreamEndCapture(self._stream)
        runtime.cudaGetLastError()  # cleared: a failed capture is no failure of the calls that follow
        return answer

    def launch(self, graph: "Graph") -> None:
        """Queues the work of a graph."""
        check(runtime.cudaGraphLaunch(graph.executable, self._stream), running=True)


class Graph:
    """Recorded work that one call starts."""

    def __init__(self, recorded: object):
        (self.executable,) = check(runtime.cudaGraphInstantiate(recorded, 0))
        check(runtime.cudaGraphDestroy(recorded))
        weakref.finalize(self, runtime.cudaGraphExecDestroy, self.executable).atexit = False


def _version(number: int) -> str:
    """13050 -> "13.5"."""
    return f"{number // 1000}.{number % 1000 // 10}"
