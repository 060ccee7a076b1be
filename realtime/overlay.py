"""What is written over pictures: the badge that marks them as animated, the slate of a pause, figures and
keys.

Pictures are (H, W, 3) uint8 BGR. Only `Badge` and `slate` reach an output; the rest is for the preview.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

BADGE = "ANIMATED"
BADGE_SHARE = 1 / 40  # letters' height, of the picture's: 18 px at 720p can be read and does not distract
MIN_LETTERS_PX = 9
SLATE = "Paused"
WHITE, AMBER = (255, 255, 255), (80, 190, 255)
SHADE = 0.45  # of a picture's brightness that is left under a panel
BOLD, REGULAR = 600, 400  # weights of the font


class Badge:
    """A small plate in the upper left corner, where call programs put nothing of their own, drawn on every
    picture."""

    def __init__(self, size: tuple[int, int], text: str = BADGE):
        """
        Args:
            size: (width, height) of the pictures in pixels.
        """
        letters_px = max(MIN_LETTERS_PX, round(size[1] * BADGE_SHARE))
        pad_px = letters_px // 2
        width_px = _text_width(text, letters_px, BOLD) + 2 * pad_px
        height_px = min(letters_px + pad_px, size[1])
        corner_px = min(letters_px, max(0, size[0] - width_px))
        rows = slice(corner_px, corner_px + height_px)
        columns = slice(corner_px, min(size[0], corner_px + width_px))
        self.box = (rows, columns)
        self._ink = np.zeros((height_px, columns.stop - columns.start, 3), np.uint8)
        write(self._ink, text, (pad_px, (height_px + letters_px * 3 // 4) // 2), letters_px, WHITE, BOLD)
        # How much of the picture is left, in 256ths: none under ink.
        self._transparency = (256 * SHADE * (1 - self._ink / 255.0)).astype(np.uint16)

    def draw(self, image: np.ndarray) -> np.ndarray:
        """Marks a picture in place, and returns it."""
        under = image[self.box]
        under[:] = ((under * self._transparency) >> 8).astype(np.uint8) + self._ink
        return image


def slate(still: np.ndarray) -> np.ndarray:
    """What is shown in a pause: the still photo, blurred and dim, with a word on it."""
    height, width = still.shape[:2]
    small = cv2.resize(still, (max(1, width // 16), max(1, height // 16)), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    image = (cv2.GaussianBlur(large, (0, 0), height / 60) * SHADE).astype(np.uint8)
    letters_px = max(MIN_LETTERS_PX, height // 12)
    left = (width - _text_width(SLATE, letters_px, REGULAR)) // 2
    write(image, SLATE, (left, (height + letters_px * 3 // 4) // 2), letters_px, WHITE)
    return image


def mirrored(image: np.ndarray, badge: Badge | None) -> np.ndarray:
    """A copy as a mirror shows it, on which the badge can still be read."""
    flipped = cv2.flip(image, 1)
    if badge:
        rows, columns = badge.box
        width = image.shape[1]
        plate = flipped[rows, width - columns.stop : width - columns.start]
        plate[:] = plate[:, ::-1].copy()
    return flipped


def write_lines(image: np.ndarray, lines: Sequence[tuple[str, bool]], at_top: bool = False) -> None:
    """Writes lines of text on a shaded panel along the picture's lower (or upper) edge, in place.

    Args:
        lines: (text, whether it is a warning).
    """
    if not lines:
        return
    height = len(image)
    letters_px = max(MIN_LETTERS_PX, height // 36)
    pitch_px = letters_px * 3 // 2
    panel_px = min(height, pitch_px * len(lines) + letters_px)
    top = 0 if at_top else height - panel_px
    panel = image[top : top + panel_px]
    panel[:] = (panel * SHADE).astype(np.uint8)
    for number, (text, is_warning) in enumerate(lines):
        baseline = top + letters_px // 2 + pitch_px * number + letters_px
        write(image, text, (letters_px, baseline), letters_px, AMBER if is_warning else WHITE)


@cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")


def _text_width(text: str, letters_px: int, weight: int) -> int:
    return cv2.getTextSize((0, 0), text, (0, 0), _font(), letters_px, weight)[2]


def write(
    image: np.ndarray,
    text: str,
    at: tuple[int, int],
    letters_px: int,
    colour: tuple[int, int, int],
    weight: int = REGULAR,
) -> None:
    """Writes text in place.

    Args:
        at: (x, y) of the first letter's baseline, in pixels.
        colour: BGR.
    """
    cv2.putText(image, text, at, colour, _font(), letters_px, weight)
