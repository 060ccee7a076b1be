"""Which face of a photo is animated, and the photo with its faces numbered."""

from collections.abc import Sequence

import cv2
import numpy as np

from engines.errors import PuppetError, SourceError
from engines.face.landmarks import Face

LARGEST, LEFT, RIGHT = "largest", "left", "right"
MAX_FACES = 32  # of one photo
MAX_SHEET_PX = 1600  # longer side of the numbered photo
LABEL_SHARE = 0.15  # height of a number, of its face
MIN_LABEL_PX, MAX_LABEL_PX = 16, 60
FACE_COLOUR, INK, PAPER = (0, 255, 255), (0, 0, 0), (255, 255, 255)  # BGR


def check_choice(text: str) -> str:
    """The value of --face as it stands. Raises PuppetError."""
    if text in (LARGEST, LEFT, RIGHT) or (text.isdecimal() and 1 <= int(text) <= MAX_FACES):
        return text
    raise PuppetError(
        f"--face {text} is no choice: write {LARGEST}, {LEFT}, {RIGHT}, or a number, counted from the left."
    )


def from_left(faces: Sequence[Face]) -> list[Face]:
    """Faces in the order of their numbers: as they stand in the picture, from its left to its right."""
    return sorted(faces, key=lambda face: face.box_px[0] + face.box_px[2])


def choose(faces: Sequence[Face], choice: str) -> Face:
    """The face that is meant.

    Args:
        faces: one at least, the largest first.
        choice: as `check_choice` lets it pass; left and right are those of the picture.

    Raises: SourceError for a number that is too large.
    """
    ordered = from_left(faces)
    if choice == LARGEST:
        return faces[0]
    if choice in (LEFT, RIGHT):
        return ordered[0 if choice == LEFT else -1]
    if int(choice) > len(faces):
        shown = "one face" if len(faces) == 1 else f"{len(faces)} faces"
        raise SourceError(
            f"The photo shows {shown}, so that there is no face {choice}: --face-sheet FILE.png numbers them."
        )
    return ordered[int(choice) - 1]


def numbered(photo: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """The (H, W, 3) uint8 BGR photo, at most MAX_SHEET_PX, its faces framed and numbered from the left."""
    scale = min(1.0, MAX_SHEET_PX / max(photo.shape[:2]))
    sheet = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for number, face in enumerate(from_left(faces), 1):
        left, top, right, bottom = (round(side * scale) for side in face.box_px)
        height_px = int(np.clip((bottom - top) * LABEL_SHARE, MIN_LABEL_PX, MAX_LABEL_PX))
        cv2.rectangle(sheet, (left, top), (right, bottom), FACE_COLOUR, max(2, height_px // 12))
        _label(sheet, str(number), (left, top - height_px), height_px)
    return sheet


def _label(sheet: np.ndarray, text: str, corner: tuple[int, int], height_px: int) -> None:
    """Writes dark text on white at a corner of a face, within the picture."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    thickness = max(2, height_px // 10)
    (width, height), _ = cv2.getTextSize(text, font, height_px / 22, thickness)  # the font is 22 px high
    pad = height_px // 4
    left = int(np.clip(corner[0], 0, max(0, sheet.shape[1] - width - 2 * pad)))
    top = int(np.clip(corner[1], 0, max(0, sheet.shape[0] - height - 2 * pad)))
    cv2.rectangle(sheet, (left, top), (left + width + 2 * pad, top + height + 2 * pad), PAPER, -1)
    cv2.putText(
        sheet, text, (left + pad, top + pad + height), font, height_px / 22, INK, thickness, cv2.LINE_AA
    )
