"""Where the photo stands in the output picture: cropped when the face allows it, letterboxed when not, never
stretched.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from engines.blend import Box
from engines.errors import PuppetError
from engines.face.crop import Crop

FACE_MARGIN = 0.06  # of the aligned crop's side that must stay visible around it when the photo is cropped
HEAD_MOVES = 0.15  # of the head's width and height: how much of it can come into view from beyond the canvas
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
    # What a moving head can bring into view: the canvas, and more of the photo around it where cropping left
    # some out.
    wide: np.ndarray  # (H', W', 3) uint8 BGR
    window: Box  # of `wide`: the canvas
    photo: Box  # of `wide`: where it shows the photo

    @property
    def wide_from_canvas(self) -> np.ndarray:
        """(2, 3) float64: canvas pixels -> pixels of `wide`."""
        return np.array([[1.0, 0, self.window[1].start], [0, 1.0, self.window[0].start]])


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
            f"--size {text} is not a size: write WIDTHxHEIGHT, both 64 to 4096, as in 1280x720, or"
            f" {', '.join(NAMED)}."
        )
    return int(parts[0]) // 2 * 2, int(parts[1]) // 2 * 2  # video wants even sides


def own_size(photo: np.ndarray) -> tuple[int, int]:
    """The photo's (width, height), made even and at most MAX_SIDE_PX."""
    height, width = photo.shape[:2]
    shrink = min(1.0, MAX_SIDE_PX / max(height, width))
    return max(64, int(width * shrink) // 2 * 2), max(64, int(height * shrink) // 2 * 2)


def lay_out(photo: np.ndarray, face: Crop, size: tuple[int, int], fit: str = "auto") -> Canvas:
    """The (H, W, 3) photo on a canvas of (width, height). `face`: its aligned crop, which cropping must not
    cut.
    """
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
        # The whole head stands in the middle as far as the face allows it, so that a turn does not meet the
        # frame.
        head_low, head_high = _head(face)
        start = (np.maximum(head_low, 0) + np.minimum(head_high, [width, height]) - visible) / 2
        start = np.clip(start, np.minimum(high - visible, low), np.maximum(high - visible, low))
        start = np.clip(start, 0, np.array([width, height]) - visible)
        around = HEAD_MOVES * (head_high - head_low) * cover
        return _cropped(photo, cover, start, size, around)
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
    place = slice(int(top), int(top + shown.shape[0])), slice(int(left), int(left + shown.shape[1]))
    image[place] = shown
    return Canvas(image, _centred(matrix), image, (slice(0, size[1]), slice(0, size[0])), place)


def _head(face: Crop) -> tuple[np.ndarray, np.ndarray]:
    """Left and top, right and bottom of the whole head, hair included, by its aligned crop; photo pixels."""
    corners = face.to_frame(
        np.array([[-0.05, -0.32], [1.05, -0.32], [1.05, 1.0], [-0.05, 1.0]]) * face.size_px
    )
    return corners.min(axis=0), corners.max(axis=0)


def _cropped(
    photo: np.ndarray, scale: float, start: np.ndarray, size: tuple[int, int], around: np.ndarray
) -> Canvas:
    """The part of a photo from `start` (x, y photo pixels) on, scaled; with so many pixels around it (x, y)
    as it has.
    """
    scaled = _scaled(photo, scale)
    left, top = np.round(start * scale).astype(int)
    below = max(0, top + size[1] - scaled.shape[0])  # a pixel may be missing by rounding
    right = max(0, left + size[0] - scaled.shape[1])
    if below or right:
        scaled = cv2.copyMakeBorder(scaled, 0, below, 0, right, cv2.BORDER_REPLICATE)
    height, width = scaled.shape[:2]
    across, down = np.ceil(around).astype(int)
    first = max(0, top - down), max(0, left - across)
    last = min(height, top + size[1] + down), min(width, left + size[0] + across)
    wide = scaled[first[0] : last[0], first[1] : last[1]].copy()
    window = (
        slice(int(top - first[0]), int(top - first[0] + size[1])),
        slice(int(left - first[1]), int(left - first[1] + size[0])),
    )
    matrix = _centred(np.array([[scale, 0, -left], [0, scale, -top]], np.float64))
    return Canvas(
        wide[window].copy(), matrix, wide, window, (slice(0, wide.shape[0]), slice(0, wide.shape[1]))
    )


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
