"""What the errors of other libraries mean for the user: one table, by what was tried.

with mapped("openvino.run", bundle.name):
    request.infer(...)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from engines.errors import Choice, EngineError, EngineLost, PuppetError

MAX_REASON_CHARACTERS = 160  # of another library's message, which may go on for a page
CPU = Choice("device", "cpu")
FP32_ON_CPU = Choice("device", "cpu-fp32")
MEDIAPIPE = Choice("estimator", "mediapipe")
DOWNLOADED_WEIGHTS = Choice("py-feat weights", "download")
WEIGHTS_FILE = Choice("py-feat weights", "FILE.safetensors")


def first_line(error: Exception) -> str:
    """The first line of an error's text; its class's name where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:MAX_REASON_CHARACTERS]


def last_line(error: Exception) -> str:
    """The last line of an error's text, where OpenVINO says what happened after where it happened."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1][:MAX_REASON_CHARACTERS]


def one_line(error: Exception) -> str:
    """The class's name and the whole text of an error in one line, cut to a length that can be read."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:MAX_REASON_CHARACTERS]}"


@dataclass(frozen=True)
class Meaning:
    """What an error of another library means."""

    caught: tuple[type[Exception], ...]
    what: str  # {subject}: what was worked on; {reason}: the library's own words
    remedies: tuple[str | Choice, ...]
    raised: type[EngineError] = EngineError
    reason: Callable[[Exception], str] = first_line


# Where `caught` is Exception, the library's exceptions share no public base class.
MEANINGS: dict[str, Meaning] = {
    "onnxruntime.import": Meaning(
        (ImportError,), "The reference backend needs ONNX Runtime", ("pip install -e '.[reference]'",)
    ),
    "onnxruntime.load": Meaning(
        (Exception,), "ONNX Runtime cannot load {subject} ({reason})", ("get the bundle again",)
    ),
    "onnxruntime.run": Meaning(
        (Exception,), "ONNX Runtime failed while it ran {subject} ({reason})", (FP32_ON_CPU,), EngineLost
    ),
    "openvino.load": Meaning(
        (RuntimeError,),
        "OpenVINO cannot load {subject} ({reason})",
        ("get the bundle again",),
        reason=last_line,
    ),
    "openvino.accelerator": Meaning(
        (RuntimeError,),
        "OpenVINO cannot compile an engine for the {subject} ({reason})",
        (CPU,),
        reason=last_line,
    ),
    "openvino.open": Meaning(
        (RuntimeError,),
        "OpenVINO cannot open the compiled engine of {subject} ({reason})",
        ("compile it again",),
        reason=last_line,
    ),
    "openvino.run": Meaning(
        (RuntimeError,),
        "OpenVINO failed while it ran {subject} ({reason})",
        ("start again", FP32_ON_CPU),
        EngineLost,
        last_line,
    ),
    "onnx.import": Meaning((ImportError,), "Compiling for {subject} needs onnx", ("pip install onnx", CPU)),
    "onnx.load": Meaning(
        (Exception,), "{subject} is not an ONNX graph ({reason})", ("get the bundle again",)
    ),
    "cuda.import": Meaning(
        (ImportError,), "TensorRT needs cuda-bindings ({reason})", ("pip install cuda-bindings", CPU)
    ),
    "torch.import": Meaning(
        (ImportError, OSError),
        "py-feat needs PyTorch, which does not start ({reason})",
        ("pip install -e '.[pyfeat]'",),
    ),
    "pyfeat.load": Meaning(
        (Exception,),
        "{subject} does not fit py-feat's network ({reason})",
        ("give the weights of the py-feat that is installed",),
        reason=one_line,
    ),
    "pyfeat.run": Meaning(  # a GPU that is lost or out of memory
        (RuntimeError,), "py-feat failed on {subject} ({reason})", (MEDIAPIPE,), reason=one_line
    ),
    "pyfeat.download": Meaning(  # errors of several HTTP libraries and of the disk
        (Exception,),
        "py-feat's weights could not be fetched ({reason})",
        (DOWNLOADED_WEIGHTS, WEIGHTS_FILE),
        reason=one_line,
    ),
}

# cudaError_t -> what happened, and what to do besides running on the CPU.
CUDA_MEANINGS: dict[str, tuple[str, str]] = {
    "cudaErrorStubLibrary": ("There is no NVIDIA driver on this machine", "install one"),
    "cudaErrorNoDevice": (
        "CUDA sees no NVIDIA GPU on this machine",
        "check that it is plugged in and that CUDA_VISIBLE_DEVICES names it",
    ),
    "cudaErrorMemoryAllocation": ("The GPU is out of memory", "close other programs that use it"),
    "cudaErrorDevicesUnavailable": ("Another program has the GPU to itself", "close that program"),
    "cudaErrorSystemDriverMismatch": (
        "The NVIDIA driver and its libraries are of different versions",
        "restart the machine",
    ),
    "cudaErrorCompatNotSupportedOnDevice": (
        "The NVIDIA driver is too old for the CUDA libraries on this machine",
        "update the driver",
    ),
    "cudaErrorSystemNotReady": (
        "The NVIDIA driver is not ready",
        "wait a moment or restart the machine",
    ),
    "cudaErrorNoKernelImageForDevice": (
        "The CUDA libraries hold no code for this GPU",
        "update them",
    ),
    "cudaErrorECCUncorrectable": (
        "The GPU's memory is faulty (cudaErrorECCUncorrectable)",
        "restart the machine and have the card checked",
    ),
}


@contextmanager
def mapped(tried: str, subject: object = "") -> Iterator[None]:
    """Raises the library's errors in the block as what they mean.

    Args:
        tried: a key of MEANINGS.
        subject: what was worked on, for the message.

    Raises:
        EngineError: EngineLost where the library failed while it ran.
    """
    meaning = MEANINGS[tried]
    try:
        yield
    except PuppetError:
        raise
    except meaning.caught as error:
        what = meaning.what.format(subject=subject, reason=meaning.reason(error))
        raise meaning.raised(what, *meaning.remedies) from error


def cuda_error(name: str, running: bool = False) -> EngineError:
    """The error to raise for a CUDA call that failed.

    Args:
        name: of the cudaError_t.
        running: whether work had begun on the GPU, which is then lost.
    """
    what, remedy = CUDA_MEANINGS.get(
        name,
        (f"The GPU failed ({name})", "start the program again, update the NVIDIA driver if it happens often"),
    )
    return (EngineLost if running else EngineError)(what, remedy, CPU)
