"""py-feat's AUs of a face: a ConvNeXt in PyTorch that looks at the skin, where MediaPipe knows its shape. The one file that imports feat.

It is the second estimator, slower than a frame on most machines: realtime/tracking/background_estimator.py gives it a thread, realtime/tracking/estimator_fusion.py takes from it
what it does better. It labels no training set, and bundles know nothing of it.

What py-feat calls probabilities are cosines between what the network sees and what it has learnt for each AU, cut at 0: they rise evenly,
so two points, a resting face and the full AU, make a straight scale of intensities (`Scale`).

The tracker's own box is cut as py-feat cuts its detector's: longer side times 1.2, square, mirrored at the frame's edge. Neither its face
detector nor its identity model is loaded.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from engines.errors import EngineError
from engines.face.action_units import PAPER_17
from engines.face.landmarks import Face

TRIED = "2.1.5"  # inner parts are used, which another release may name otherwise
THEIRS: dict[str, str] = {"AU45": "AU43"}  # it counts shut eyes; a blink is shut for a moment
AUS: tuple[str, ...] = (
    PAPER_17  # what it tells, of both sides together: not AU18, not AU22; its AU11, AU24 and AU28 have no place here
)
# Until a driver's own are known. Its authors count an AU of FACS intensity B and more as there from .5 on; that lies at .43 here.
REST, FULL = 0.2, 0.9
LEAST_RANGE = 0.15  # between rest and full: a driver who hardly moved must not make noise an expression


@dataclass(frozen=True)
class Scale:
    """Two points for each AU between which a probability becomes an intensity, rising, straight."""

    rest: np.ndarray  # (17,) probabilities of a face at rest
    full: np.ndarray  # (17,) of the full AU

    @classmethod
    def default(cls) -> "Scale":
        return cls(np.full(len(AUS), REST, np.float32), np.full(len(AUS), FULL, np.float32))

    @classmethod
    def of_driver(cls, rest: np.ndarray, full: np.ndarray | None = None) -> "Scale":
        """One driver's points. full: None, or no more than noise above rest, keeps the default's strength."""
        rest = np.asarray(rest, np.float32)
        wanted = np.full(len(AUS), FULL, np.float32) if full is None else np.asarray(full, np.float32)
        return cls(
            rest,
            np.where(wanted - rest >= LEAST_RANGE, wanted, np.maximum(FULL, rest + LEAST_RANGE)).astype(
                np.float32
            ),
        )

    def intensities(self, probabilities: np.ndarray) -> np.ndarray:
        """(..., 17) probabilities -> (..., 17) float32, 0..1: 0 at rest and below."""
        return np.clip((probabilities - self.rest) / (self.full - self.rest), 0, 1).astype(np.float32)

    def change(self, probabilities: np.ndarray) -> np.ndarray:
        """The same as a change from rest, (..., 17) float32: below it as far as there was something at rest to lose."""
        lowest = -Scale.default().intensities(self.rest)
        return np.clip((probabilities - self.rest) / (self.full - self.rest), lowest, 1).astype(np.float32)


class PyFeat:
    """The network, ready. Call it with a frame and the tracker's face."""

    aus = AUS

    def __init__(self, weights: Path, device: str = "auto"):
        """weights: a checked .safetensors (pyfeat_weights.find_weights); device: auto, cuda or cpu. Takes seconds. Raises EngineError."""
        torch = _torch()
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            torch.set_num_threads(1)  # the other cores draw
        multitask, self._cut, _ = _feat()
        try:
            self._network = multitask.MultitaskModel(device=device, weights_path=str(weights))
        except (
            Exception
        ) as error:  # a file that somebody else wrote: its reader, json, and the network raise what they like
            reason = " ".join(str(error).split())[:160]
            raise EngineError(
                f"{weights} does not fit py-feat's network ({type(error).__name__}: {reason}): give the weights of py-feat {TRIED}."
            ) from error
        named = {theirs: place for place, theirs in enumerate(self._network.au_names)}
        self._places = [named[THEIRS.get(au, au)] for au in AUS]
        # Its gaze head is of no use here, and compiles a kernel of its own where torchvision's operators are missing.
        self._network.model._gaze_forward = lambda unified, *_: unified.new_zeros((len(unified), 2))
        self._torch, self.device = torch, device
        self.name = f"py-feat {version('py-feat')} on {torch.cuda.get_device_name() if device == 'cuda' else 'the CPU'}"

    def __call__(self, frame_bgr: np.ndarray, face: Face) -> np.ndarray:
        """(H, W, 3) uint8 BGR and the face in it -> (17,) float32 probabilities 0..1 in the order of AUS. Raises EngineError."""
        try:
            return self._estimate(frame_bgr, face)
        except RuntimeError as error:  # a GPU that is lost or out of memory
            reason = " ".join(str(error).split())[:160]  # it may be empty
            raise EngineError(
                f"py-feat failed on {self.device} ({reason}): choose --aus mediapipe."
            ) from error

    def _estimate(self, frame_bgr: np.ndarray, face: Face) -> np.ndarray:
        torch = self._torch
        with torch.inference_mode():
            rgb = torch.from_numpy(np.ascontiguousarray(frame_bgr[..., ::-1])).to(self.device)
            picture = rgb.permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
            box = torch.tensor([face.box_px], dtype=torch.float32, device=self.device)
            chips, _ = self._cut(picture, box, face_size=256, expand_bbox=1.2)
            return self._network(chips).au[0, self._places].astype(np.float32)


def usable() -> bool:
    """Whether py-feat is there, and a GPU for it: what `auto` wants. Imports PyTorch only where there is NVIDIA's driver."""
    if find_spec("feat") is None or not _nvidia():
        return False
    with suppress(EngineError):
        return bool(_torch().cuda.is_available())
    return False


def _nvidia() -> bool:
    """Whether NVIDIA's driver is on this machine, by looking alone."""
    import ctypes.util

    return (
        os.path.exists("/proc/driver/nvidia/version")
        or ctypes.util.find_library("nvcuda" if os.name == "nt" else "cuda") is not None
    )


def _torch():
    try:
        import torch
    except (ImportError, OSError) as error:
        raise EngineError(
            f"py-feat needs PyTorch, which does not start ({error}): pip install -e '.[pyfeat]'."
        ) from error
    return torch


@lru_cache(maxsize=1)
def _feat():
    """py-feat's network, its way of cutting faces, and what must live as long as they do. Raises EngineError.

    torchvision's wheel for CUDA beside a PyTorch for CPUs cannot load its operators, and then fails at import over two that it describes:
    they are declared first, and never called.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # the weights are here; nothing else is fetched
    torch = _torch()
    declared = torch.library.Library("torchvision", "FRAGMENT")
    if not _operators_load(torch):
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    try:
        from feat.multitask import inference
        from feat.utils.image_operations import extract_face_square_pad_torch
    except (ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        ffmpeg = (
            "; its torchcodec wants FFmpeg's libraries (sudo apt install ffmpeg)"
            if "torchcodec" in str(error)
            else ""
        )
        raise EngineError(
            f"py-feat does not start ({reason}){ffmpeg}: pip install -e '.[pyfeat]'."
        ) from error
    return inference, extract_face_square_pad_torch, declared


def _operators_load(torch) -> bool:
    """Whether torchvision's compiled operators fit this PyTorch."""
    spec = find_spec("torchvision")
    folder = Path(spec.submodule_search_locations[0]) if spec else Path()
    try:
        for library in folder.glob("_C.*"):
            torch.ops.load_library(str(library))
            return True
    except OSError:  # of another PyTorch
        pass
    return False
