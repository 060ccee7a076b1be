"""Landmarks -> the parts of a face that are edited on their own, as soft masks.

Where an eye is, no other part is. An eye by itself is a real wink. Half a mouth does not work: the generator
draws lips as a whole, so the two sides of the lower face are one for most edits.
"""

import cv2
import numpy as np

MASK_PX = 128  # side: the largest feature map that is edited locally
LOWER_RIGHT, LOWER_LEFT, EYE_RIGHT, EYE_LEFT, BROWS = range(5)
REGIONS = 5
# Landmarks of MediaPipe's mesh
EYES = ((33, 133), (362, 263))
NOSE_TIP, NOSE_BRIDGE, UNDER_NOSE = 4, 6, 2
BETWEEN_BROWS = (9, 8)


class _FaceAxes:
    """Coordinates along the eyes and down the face, in outer eye distances."""

    def __init__(self, landmarks: np.ndarray):
        along = landmarks[263] - landmarks[33]
        self.scale = float(np.linalg.norm(along))
        self._across = along / self.scale
        self._down = np.array([-self._across[1], self._across[0]])
        self._points = (
            np.stack(np.meshgrid(np.arange(MASK_PX), np.arange(MASK_PX)), axis=-1).astype(np.float32) + 0.5
        )

    def at(self, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(MASK_PX, MASK_PX) each: how far every pixel lies across and down from there."""
        offsets = self._points - centre
        return offsets @ self._across / self.scale, offsets @ self._down / self.scale

    def ellipse(self, centre: np.ndarray, width: float, height: float, lift: float = 0.0) -> np.ndarray:
        """1 inside, 0 outside, with a soft edge."""
        across, down = self.at(centre)
        return _step((1 - np.hypot(across / width, (down + lift) / height)) / 0.15)


def _step(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def region_masks(landmarks_px: np.ndarray, picture_px: int) -> np.ndarray:
    """(478, 2 or 3) landmarks in a square picture -> (REGIONS, MASK_PX, MASK_PX) float32, 0..1."""
    landmarks = landmarks_px[:, :2] * (MASK_PX / picture_px)
    axes = _FaceAxes(landmarks)
    hull = np.zeros((MASK_PX, MASK_PX), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(landmarks.astype(np.int32)), 1)
    face = cv2.GaussianBlur(cv2.dilate(hull, np.ones((9, 9))).astype(np.float32), (0, 0), 4)
    nose_middle = (landmarks[NOSE_TIP] + landmarks[NOSE_BRIDGE]) / 2
    lower = _step((axes.at(nose_middle)[1] - 0.05) / 0.05) * face
    left = _step(axes.at(landmarks[UNDER_NOSE])[0] / 0.06)
    right_eye, left_eye = (
        axes.ellipse(landmarks[list(corners)].mean(axis=0), 0.36, 0.26) for corners in EYES
    )
    apart = 1 - np.maximum(right_eye, left_eye)
    brows = axes.ellipse(landmarks[list(BETWEEN_BROWS)].mean(axis=0), 0.85, 0.42, 0.12) * face * apart
    lower = lower * apart
    return np.stack([lower * (1 - left), lower * left, right_eye, left_eye, brows]).astype(np.float32)
