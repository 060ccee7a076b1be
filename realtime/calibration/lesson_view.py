"""What the driver sees of a calibration: what to do, how long, and their own landmarks on a plain ground.

No picture of them is drawn.
"""

import cv2
import numpy as np

from engines.face.au_estimator import index
from engines.face.landmarks import Face
from realtime.calibration.lesson_state import LessonState
from realtime.overlay import AMBER, WHITE, write

SIZE = (960, 600)
GROUND, GREY, GREEN = (40, 34, 30), (110, 105, 100), (130, 220, 120)  # BGR
FACE_SHARE = 0.62  # of the picture's height, from brow to chin


def draw(state: LessonState, face: Face | None, reading: np.ndarray | None) -> np.ndarray:
    """A new (600, 960, 3) uint8 BGR picture."""
    width, height = SIZE
    image = np.full((height, width, 3), GROUND, np.uint8)
    write(image, state.prompt, (40, 60), 26, WHITE, 600)
    if state.note:
        write(image, state.note, (40, 100), 20, AMBER, 400)
    if face is not None:
        _draw_face(image, face, WHITE if state.holding else GREY)
    _draw_bar(image, 540, state.progress, GREY)
    _draw_bar(image, 556, state.holding, GREEN)
    if reading is not None:
        for row, au in enumerate(state.step.aus):
            value, top = float(np.clip(reading[index([au])].mean(), 0, 1)), 480 + 24 * row
            cv2.rectangle(image, (40, top), (40 + round(240 * value), top + 14), GREEN, -1)
            cv2.rectangle(image, (40, top), (280, top + 14), GREY, 1)
    write(image, "q ends it without a profile. Your picture is neither shown nor kept.", (40, 590), 14, GREY)
    return image


def _draw_bar(image: np.ndarray, top: int, share: float, colour: tuple[int, int, int]) -> None:
    left, right = 40, image.shape[1] - 40
    cv2.rectangle(image, (left, top), (left + round((right - left) * share), top + 10), colour, -1)
    cv2.rectangle(image, (left, top), (right, top + 10), GREY, 1)


def _draw_face(image: np.ndarray, face: Face, colour: tuple[int, int, int]) -> None:
    """The landmarks as a mirror would show them, always as large, in the middle."""
    left, top, right, bottom = face.box_px
    scale = image.shape[0] * FACE_SHARE / max(1.0, bottom - top)
    points = (face.landmarks_px - ((left + right) / 2, (top + bottom) / 2)) * (-scale, scale) + (
        image.shape[1] / 2,
        310,
    )
    for x, y in points.round().astype(int):
        cv2.circle(image, (int(x), int(y)), 1, colour, -1)
