"""py-feat's AUs of a face: a ConvNeXt in PyTorch that sees the skin, where MediaPipe measures its shape.

The only file that imports feat.

It is the second estimator, slower than a frame on most machines: the live loop gives it a thread of its own
and takes from it what it does better. It labels no training set, and bundles know nothing of it.

What py-feat calls probabilities are cosines between what the network sees and what it has learnt for each AU,
cut at 0: they rise evenly, so two points, a resting face and the full AU, make a straight scale of
intensities (`Scale`).

The tracker's own box is cut as py-feat cuts its detector's: longer side times 1.2, square, mirrored at the
frame's edge. Neither its face detector nor its identity model is loaded.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np

from engines.errors import EngineError
from engines.face.action_units import PAPER_17
from engines.face.landmarks import Face
from engines.foreign_errors import mapped, one_line

TRIED = "2.1.5"  # inner parts are used, which another release may name otherwise
PYFEAT_NAMES: dict[str, str] = {"AU45": "AU43"}  # it measures shut eyes; a blink is shut for a moment
# What it measures, both sides together: not AU18, not AU22; its AU11, AU24 and AU28 are not used.
AUS: tuple[str, ...] = PAPER_17
# Probabilities at rest and in full, until a driver's own are known. Its authors count an AU of FACS intensity
# B or more as present from .5 on; that is .43 on this scale.
REST = 0.2
FULL = 0.9
LEAST_RANGE = 0.15  # between rest and full: a driver who hardly moved must not make noise an expression
CHIP_PX = 256  # side of the picture that the network takes
BOX_SCALE = 1.2  # by which py-feat widens its detector's box


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
        """One driver's points.

        Args:
            rest: (17,) probabilities of the driver's resting face.
            full: (17,) of each full AU. None, or one that is no more than noise above rest, keeps the
                default's range.
        """
        rest = np.asarray(rest, np.float32)
        full = np.full(len(AUS), FULL, np.float32) if full is None else np.asarray(full, np.float32)
        default = np.maximum(FULL, rest + LEAST_RANGE)
        return cls(rest, np.where(full - rest >= LEAST_RANGE, full, default).astype(np.float32))

    def intensities(self, probabilities: np.ndarray) -> np.ndarray:
        """(..., 17) probabilities -> (..., 17) float32 intensities, 0..1: 0 at rest and below."""
        return np.clip((probabilities - self.rest) / (self.full - self.rest), 0, 1).astype(np.float32)

    def change(self, probabilities: np.ndarray) -> np.ndarray:
        """(..., 17) probabilities -> (..., 17) float32 changes from rest.

        Negative as far as the resting face shows something that can be lost.
        """
        lowest = -Scale.default().intensities(self.rest)
        return np.clip((probabilities - self.rest) / (self.full - self.rest), lowest, 1).astype(np.float32)


class PyFeat:
    """The network, loaded. Call it with a frame and the tracker's face."""

    aus = AUS

    def __init__(self, weights: Path, device: str = "auto"):
        """Takes seconds.

        Args:
            weights: a checked .safetensors (pyfeat_weights.find_weights).
            device: "auto", "cuda" or "cpu".

        Raises:
            EngineError: PyTorch or py-feat does not start, or the weights are not its network's.
        """
        torch = _torch()
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            torch.set_num_threads(1)  # the other cores animate the puppet
        multitask, self._cut, _ = _feat()
        with mapped("pyfeat.load", weights):
            self._network = multitask.MultitaskModel(device=device, weights_path=str(weights))
        places = {name: place for place, name in enumerate(self._network.au_names)}
        self._places = [places[PYFEAT_NAMES.get(au, au)] for au in AUS]
        # Its gaze head is of no use here, and compiles a kernel of its own where torchvision's operators are
        # missing.
        self._network.model._gaze_forward = lambda unified, *_: unified.new_zeros((len(unified), 2))
        self._torch = torch
        self.device = device
        processor = torch.cuda.get_device_name() if device == "cuda" else "the CPU"
        self.name = f"py-feat {version('py-feat')} on {processor}"

    def __call__(self, frame_bgr: np.ndarray, face: Face) -> np.ndarray:
        """(H, W, 3) uint8 BGR and the face in it -> (17,) float32 probabilities 0..1 in the order of AUS.

        Raises:
            EngineError: the device failed or is out of memory.
        """
        with mapped("pyfeat.run", self.device):
            return self._estimate(frame_bgr, face)

    def _estimate(self, frame_bgr: np.ndarray, face: Face) -> np.ndarray:
        torch = self._torch
        with torch.inference_mode():
            rgb = torch.from_numpy(np.ascontiguousarray(frame_bgr[..., ::-1])).to(self.device)
            picture = rgb.permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
            box = torch.tensor([face.box_px], dtype=torch.float32, device=self.device)
            chips, _ = self._cut(picture, box, face_size=CHIP_PX, expand_bbox=BOX_SCALE)
            return self._network(chips).au[0, self._places].astype(np.float32)


def usable() -> bool:
    """Whether py-feat is installed and has a GPU. Imports PyTorch only where there is NVIDIA's driver."""
    if find_spec("feat") is None or not _nvidia():
        return False
    with suppress(EngineError):
        return bool(_torch().cuda.is_available())
    return False


def _nvidia() -> bool:
    """Whether NVIDIA's driver is on this machine, without loading it."""
    import ctypes.util

    library = "nvcuda" if os.name == "nt" else "cuda"
    return os.path.exists("/proc/driver/nvidia/version") or ctypes.util.find_library(library) is not None


def _torch() -> ModuleType:
    with mapped("torch.import"):
        import torch
    return torch


@lru_cache(maxsize=1)
def _feat() -> tuple[ModuleType, Callable, object]:
    """py-feat's network, its way of cutting faces, and what must live as long as they do. Raises EngineError.

    torchvision's wheel for CUDA beside a PyTorch for CPUs cannot load its operators, and then fails at import
    over two that it describes: they are declared first, and never called.
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
        remedies = ["pip install -e '.[pyfeat]'"]
        if "torchcodec" in str(error):
            remedies.insert(0, "install FFmpeg's libraries (sudo apt install ffmpeg)")
        raise EngineError(f"py-feat does not start ({one_line(error)})", *remedies) from error
    return inference, extract_face_square_pad_torch, declared


def _operators_load(torch: ModuleType) -> bool:
    """Whether torchvision's compiled operators fit this PyTorch."""
    spec = find_spec("torchvision")
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
    try:
        for library in folder.glob("_C.*"):
            torch.ops.load_library(str(library))
            return True
    except OSError:  # of another PyTorch
        pass
    return False
