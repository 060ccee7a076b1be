"""CUDA by cuda-python: which GPU is here, its memory, one stream, one captured graph. The one file of this room that imports cuda.

It knows nothing of engines. Every failure becomes an EngineError (EngineLost once work has begun) with one sentence for people.
Memory and streams free themselves when nothing refers to them any more; at exit the driver does it.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cuda.bindings import runtime

from engines.errors import EngineError, EngineLost

ELSE = "or choose --device cpu"
# cudaError_t -> what is wrong and what to do; {error} is its name.
SENTENCES = {
    "cudaErrorStubLibrary": f"There is no NVIDIA driver on this machine: install one, {ELSE}.",
    "cudaErrorNoDevice": f"CUDA sees no NVIDIA GPU on this machine: check that it is plugged in and that CUDA_VISIBLE_DEVICES names it, {ELSE}.",
    "cudaErrorMemoryAllocation": f"The GPU is out of memory: close other programs that use it, {ELSE}.",
    "cudaErrorDevicesUnavailable": f"Another program holds the GPU for itself: close that program, {ELSE}.",
    "cudaErrorSystemDriverMismatch": f"The NVIDIA driver and its libraries are of different versions: restart the machine, {ELSE}.",
    "cudaErrorCompatNotSupportedOnDevice": f"The NVIDIA driver is too old for the CUDA libraries on this machine: update the driver, {ELSE}.",
    "cudaErrorSystemNotReady": f"The NVIDIA driver is not ready: wait a moment or restart the machine, {ELSE}.",
    "cudaErrorNoKernelImageForDevice": f"The CUDA libraries hold no code for this GPU: update them, {ELSE}.",
    "cudaErrorECCUncorrectable": f"The GPU's memory is faulty (cudaErrorECCUncorrectable): restart the machine and have the card checked, {ELSE}.",
}
UNKNOWN = f"The GPU failed ({{error}}): start the program again, update the NVIDIA driver if it happens often, {ELSE}."
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
        raise EngineError(
            f"The NVIDIA driver is too old: it knows CUDA {_version(driver)} and this program needs CUDA {needed // 1000}: update the driver, {ELSE}."
            if driver
            else SENTENCES["cudaErrorStubLibrary"]
        )
    check((error,))
    if not count:
        raise EngineError(SENTENCES["cudaErrorNoDevice"])
    (facts,) = check(runtime.cudaGetDeviceProperties(0))
    return Gpu(
        facts.name.split(b"\0")[0].decode(errors="replace"), (facts.major, facts.minor), _version(driver)
    )


def check(answer: tuple, running: bool = False) -> tuple:
    """What a CUDA call returned besides its error. Raises EngineError when that is one, EngineLost when work was `running`."""
    error, *values = answer
    if int(error):
        raise (EngineLost if running else EngineError)(
            SENTENCES.get(error.name, UNKNOWN).format(error=error.name)
        )
    return tuple(values)


class Memory:
    """Bytes of the GPU, or of this side, pinned so that the GPU copies them by itself. Raises EngineError when there are too few."""

    def __init__(self, size_bytes: int, pinned: bool = False):
        allocate, free = (
            (runtime.cudaMallocHost, runtime.cudaFreeHost)
            if pinned
            else (runtime.cudaMalloc, runtime.cudaFree)
        )
        (address,) = check(allocate(size_bytes))
        self.size_bytes, self.address = size_bytes, int(address)
        weakref.finalize(self, free, self.address).atexit = False

    def array(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """Pinned memory as an array, which keeps it from being freed."""
        self.__array_interface__ = {
            "shape": (self.size_bytes,),
            "typestr": "|u1",
            "data": (self.address, False),
            "version": 3,
        }
        return np.asarray(self).view(dtype).reshape(shape)


class Stream:
    """Work for the GPU, done in order. Raises EngineLost when it fails, which may show at a later call."""

    def __init__(self) -> None:
        (self._stream,) = check(runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking))
        self.handle = int(self._stream)
        weakref.finalize(self, runtime.cudaStreamDestroy, self._stream).atexit = False

    def upload(self, gpu: Memory, pinned: Memory) -> None:
        kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        check(
            runtime.cudaMemcpyAsync(gpu.address, pinned.address, gpu.size_bytes, kind, self._stream),
            running=True,
        )

    def download(self, pinned: Memory, gpu: Memory) -> None:
        kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        check(
            runtime.cudaMemcpyAsync(pinned.address, gpu.address, gpu.size_bytes, kind, self._stream),
            running=True,
        )

    def wait(self) -> None:
        """Until all work is done."""
        check(runtime.cudaStreamSynchronize(self._stream), running=True)

    def capture(self, work: Callable[[], None]) -> "Graph | None":
        """Records what `work` would do, without doing it; None when it does something that cannot be recorded."""
        mode = (
            runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        )  # the threads beside this one may use CUDA, too
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
        runtime.cudaGetLastError()  # a failed capture is no failure of the calls that follow
        return answer

    def launch(self, graph: "Graph") -> None:
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
