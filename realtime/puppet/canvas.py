"""Where the photo stands in the output picture: cropped when the face allows it, letterboxed when not, never stretched."""

from dataclasses import dataclass

import cv2
import numpy as np

from engines.errors import PuppetError
from engines.face.crop import Crop

FACE_MARGIN = 0.06  # of the aligned crop's side that must stay visible around it when the photo is cropped
MAX_SIDE_PX = 1920  # of a canvas that takes the photo's own size
BACKDROP_DIM = 0.35  # brightness of the blurred photo that fills letterbox bars
FITS = ("auto", "crop", "letterbox")
NAMED = {
    f"{height}p": f"{(height * 16 // 9 + 1) // 2 * 2}x{height}" for height in (360, 480, 540, 720, 1080)
}  # as call programs call them


@dataclass(frozen=True)
class Canvas:
    """The still picture that the puppet is drawn on."""

    image: np.ndarray  # (H, W, 3) uint8 BGR
    canvas_from_photo: np.ndarray  # (2, 3) float64: photo pixels -> canvas pixels; one scale, no turn


def parse_size(text: str) -> tuple[int, int]:
    """ "1280x720" or "720p" -> (1280, 720). Raises PuppetError."""
    text = NAMED.get(text.lower(), text)
    parts = text.lower().split("x")
    if (
        len(parts) != 2
        or not all(p.isdecimal() for p in parts)
        or not all(64 <= int(p) <= 4096 for p in parts)
    ):
        raise PuppetError(
            f"--size {text} is not a size: write WIDTHxHEIGHT, both 64 to 4096, as in 1280x720, or {', '.join(NAMED)}."
        )
    return int(parts[0]) // 2 * 2, int(parts[1]) // 2 * 2  # video wants even sides


def own_size(photo: np.ndarray) -> tuple[int, int]:
    """The photo's (width, height), made even and at most MAX_SIDE_PX."""
    height, width = photo.shape[:2]
    shrink = min(1.0, MAX_SIDE_PX / max(height, width))
    return max(64, int(width * shrink) // 2 * 2), max(64, int(height * shrink) // 2 * 2)


def lay_out(photo: np.ndarray, face: Crop, size: tuple[int, int], fit: str = "auto") -> Canvas:
    """The (H, W, 3) photo on a canvas of (width, height). `face`: its aligned crop, which cropping must not cut."""
    height, width = photo.shape[:2]
    cover = max(size[0] / width, size[1] / height)
    if (
        abs(cover - 1) * max(width, height) <= 1
    ):  # an odd side: leave a row out rather than soften the whole picture
        cover = 1.0
    corners = face.to_frame(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (face.size_px - 1.0))
    margin = FACE_MARGIN * face.size_px * face.frame_px_per_crop_px
    low, high = (
        np.maximum(corners.min(axis=0) - margin, 0),
        np.minimum(corners.max(axis=0) + margin, [width, height]),
    )
    visible = np.array(size) / cover  # photo pixels
    if fit == "crop" or (fit == "auto" and np.all(high - low <= visible + 1)):
        start = np.clip((low + high - visible) / 2, 0, np.array([width, height]) - visible)
        matrix = np.array([[cover, 0, -start[0] * cover], [0, cover, -start[1] * cover]])
        return Canvas(_place(photo, matrix, size), _centred(matrix))
    contain = min(size[0] / width, size[1] / height)
    matrix = np.array(
        [[contain, 0, (size[0] - width * contain) / 2], [0, contain, (size[1] - height * contain) / 2]]
    )
    backdrop = cv2.resize(photo, (32, 18), interpolation=cv2.INTER_AREA)
    backdrop = cv2.GaussianBlur(cv2.resize(backdrop, size, interpolation=cv2.INTER_CUBIC), (0, 0), 12)
    image = (backdrop * BACKDROP_DIM).astype(np.uint8)
    left, top = np.round(matrix[:, 2]).astype(int)
    matrix[:, 2] = left, top
    shown = _scaled(photo, contain)[: size[1] - top, : size[0] - left]
    image[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return Canvas(image, _centred(matrix))


def _place(photo: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    scaled = _scaled(photo, matrix[0, 0])
    left, top = np.round(-matrix[:, 2]).astype(int)
    matrix[:, 2] = -left, -top
    cut = scaled[top : top + size[1], left : left + size[0]]
    below, right = size[1] - cut.shape[0], size[0] - cut.shape[1]  # a pixel may be missing by rounding
    return cv2.copyMakeBorder(cut, 0, below, 0, right, cv2.BORDER_REPLICATE) if below or right else cut.copy()


def _scaled(photo: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return photo
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _centred(matrix: np.ndarray) -> np.ndarray:
    """Scaling by edges -> the same between pixel centres."""
    moved = matrix.astype(np.float64).copy()
    moved[:, 2] += (matrix[0, 0] - 1) / 2
    return moved
