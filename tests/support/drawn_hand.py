"""A hand that is drawn: no photo of one is free to ship."""

import cv2
import numpy as np

SKIN, EDGE, WALL = (140, 170, 220), (112, 136, 176), (120, 90, 70)
# Root and tip of each finger, and its width
FINGERS = (
    (102, 150, 88, 80, 17),
    (119, 140, 115, 62, 18),
    (137, 140, 141, 66, 18),
    (154, 150, 166, 86, 15),
    (100, 185, 55, 140, 19),
)
FINE = 4  # it is drawn so many times as large


def drawn_hand(size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """An open hand that points up.

    Returns:
        (size, size, 3) uint8 BGR, and (size, size) bool: where in it the hand is.
    """
    scale = FINE * size_px / 256
    picture = np.full((FINE * size_px, FINE * size_px, 3), WALL, np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return int(x * scale), int(y * scale)

    cv2.line(picture, at(128, 300), at(128, 190), SKIN, int(52 * scale))
    cv2.ellipse(picture, at(128, 165), at(38, 40), 0, 0, 360, SKIN, -1)
    for x0, y0, x1, y1, width in FINGERS:
        cv2.line(picture, at(x0, y0), at(x1, y1), EDGE, int((width + 4) * scale))
        cv2.line(picture, at(x0, y0), at(x1, y1), SKIN, int(width * scale))
    picture = cv2.resize(picture, (size_px, size_px), interpolation=cv2.INTER_AREA)
    there = np.abs(picture.astype(int) - WALL).max(axis=2) > 8
    return cv2.GaussianBlur(picture, (0, 0), 1.2), there
