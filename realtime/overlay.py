"""What is written over pictures: the badge that marks them as animated, the slate of a pause, the preview's figures and keys.

Pictures are (H, W, 3) uint8 BGR. Only `Badge` and `slate` reach an output; the rest is for the preview.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

BADGE = "ANIMATED"
BADGE_SHARE = (
    1 / 40
)  # letters' height, of the picture's; 18 px at 720p: read at a glance, overlooked in a talk
SMALLEST_LETTERS_PX = 9
SLATE = "Paused"
WHITE, AMBER = (255, 255, 255), (80, 190, 255)
SHADE = 0.45  # of a picture's brightness that a panel lets through


class Badge:
    """A small plate in the upper left corner, where call programs put nothing of their own, drawn anew on every picture."""

    def __init__(self, size: tuple[int, int], text: str = BADGE):
        """size: (width, height) of the pictures."""
        letters = max(SMALLEST_LETTERS_PX, round(size[1] * BADGE_SHARE))
        width, pad = _width(text, letters, 600), letters // 2
        height = min(letters + pad, size[1])
        left = top = min(letters, max(0, size[0] - width - 2 * pad))
        self.box = (slice(top, top + height), slice(left, min(size[0], left + width + 2 * pad)))
        self._ink = np.zeros((height, self.box[1].stop - left, 3), np.uint8)
        write(self._ink, text, (pad, (height + letters * 3 // 4) // 2), letters, WHITE, 600)
        self._light = (256 * SHADE * (1 - self._ink / 255.0)).astype(
            np.uint16
        )  # of the picture, in 256ths: none where there is ink

    def draw(self, image: np.ndarray) -> np.ndarray:
        """Marks a picture in place, and returns it. The same picture gives the same mark."""
        under = image[self.box]
        under[:] = ((under * self._light) >> 8).astype(np.uint8) + self._ink
        return image


def slate(still: np.ndarray) -> np.ndarray:
    """What is shown in a pause: the still photo, out of focus and dim, with a word on it."""
    height, width = still.shape[:2]
    small = cv2.resize(still, (max(1, width // 16), max(1, height // 16)), interpolation=cv2.INTER_AREA)
    image = (
        cv2.GaussianBlur(
            cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), height / 60
        )
        * SHADE
    ).astype(np.uint8)
    letters = max(SMALLEST_LETTERS_PX, height // 12)
    write(
        image,
        SLATE,
        ((width - _width(SLATE, letters, 400)) // 2, (height + letters * 3 // 4) // 2),
        letters,
        WHITE,
        400,
    )
    return image


def mirrored(image: np.ndarray, badge: Badge | None) -> np.ndarray:
    """A copy as a mirror shows it, but with a badge that can be read."""
    turned = cv2.flip(image, 1)
    if badge:
        rows, columns = badge.box
        width = image.shape[1]
        plate = turned[rows, width - columns.stop : width - columns.start]
        plate[:] = plate[:, ::-1].copy()
    return turned


def write_lines(image: np.ndarray, lines: Sequence[tuple[str, bool]], at_top: bool = False) -> None:
    """Lines of text on a shaded panel along the picture's lower (or upper) edge, in place; true marks those that want attention."""
    if not lines:
        return
    height = len(image)
    letters = max(SMALLEST_LETTERS_PX, height // 36)
    pitch = letters * 3 // 2
    deep = min(height, pitch * len(lines) + letters)
    top = 0 if at_top else height - deep
    panel = image[top : top + deep]
    panel[:] = (panel * SHADE).astype(np.uint8)
    for number, (text, wants_attention) in enumerate(lines):
        write(
            image,
            text,
            (letters, top + letters // 2 + pitch * number + letters),
            letters,
            AMBER if wants_attention else WHITE,
            400,
        )


@cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")


def _width(text: str, letters_px: int, weight: int) -> int:
    return cv2.getTextSize((0, 0), text, (0, 0), _font(), letters_px, weight)[2]


def write(
    image: np.ndarray,
    text: str,
    at: tuple[int, int],
    letters_px: int,
    colour: tuple[int, int, int],
    weight: int = 400,
) -> None:
    """Text whose first letter stands at `at`, in place."""
    cv2.putText(image, text, at, colour, _font(), letters_px, weight)
