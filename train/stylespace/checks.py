"""What an edit must not change: who it is, a beard, glasses. Each is measured on two pictures."""

from typing import Protocol

import cv2
import numpy as np

from engines.face.mesh import RIGID, align

MIN_LIKENESS = 0.65  # cosine; two people of this generator have .22, one in twenty such pairs .62
# `skull_change` beyond which an edit made another person. Of 170 edits without a check, this leaves out 85 %
# of those whose cosine is below .55 and 8 % of those above .75, and needs no network
MAX_SKULL_CHANGE = 0.022
NO_GLASSES = 0.16
SURELY_GLASSES = 0.32
BEARD_SEEN = 6.0  # grey levels: by so much that may change before it is mended
BEARD_LIMIT = 15.0  # beyond it a beard came or went
# Landmarks of MediaPipe's mesh
CHEEKS = ((50,), (280,))
BEARDED = ((17, 152), (172, 61), (397, 291), (165,), (391,))  # chin, jaws, beside the philtrum
PATCH = 0.07  # half a patch's side, in outer eye distances


class Likeness(Protocol):
    """A network that embeds faces (train/identity.py)."""

    def __call__(self, picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 BGR and (478, 2) -> unit vector."""


def beard(picture: np.ndarray, landmarks_px: np.ndarray) -> float:
    """How much brighter the cheeks are than chin, jaws and upper lip, in grey levels.

    Args:
        picture: (H, W, 3) uint8 BGR.
        landmarks_px: (478, 2).
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    half = max(1, int(PATCH * np.linalg.norm(landmarks_px[263] - landmarks_px[33])))

    def brightness(groups: tuple[tuple[int, ...], ...]) -> float:
        return float(
            np.mean([_patch(grey, landmarks_px[list(group)].mean(axis=0), half) for group in groups])
        )

    return brightness(CHEEKS) - brightness(BEARDED)


def glasses(picture: np.ndarray, landmarks_px: np.ndarray) -> float:
    """How sharp a bar there is between the eyes: the bridge of glasses.

    Below .16 on 21 bare faces, above .2 on 21 with glasses. Args as of `beard`.
    """
    eyes = np.array([landmarks_px[33], landmarks_px[263]], np.float32)
    to_strip, _ = cv2.estimateAffinePartial2D(eyes, np.array([[16, 40], [112, 40]], np.float32))
    strip = cv2.warpAffine(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), to_strip, (128, 112)).astype(np.float32)
    smooth = cv2.GaussianBlur(strip, (0, 0), 1)
    contrast = smooth[20:100, 16:112].std() + 5
    return float(np.abs(np.diff(smooth, axis=0))[26:60, 58:70].mean(axis=1).max() / contrast)


def glasses_changed(before: float, after: float) -> bool:
    """Whether glasses came or went between two values of `glasses`; furrows of a sneer reach .3."""
    return min(before, after) < NO_GLASSES and max(before, after) > SURELY_GLASSES


def skull_change(mesh_px: np.ndarray, other_px: np.ndarray) -> float:
    """Mean way, in outer eye distances, of what no expression moves: eye corners, forehead, temples, bridge.

    Args:
        mesh_px, other_px: (478, 3) landmarks in pixels of two faces, however the heads are turned.
    """
    rigid = list(RIGID)
    apart = align(mesh_px)[0][rigid, :2] - align(other_px)[0][rigid, :2]
    return float(np.linalg.norm(apart, axis=1).mean())


def _patch(grey: np.ndarray, centre: np.ndarray, half: int) -> float:
    """Mean of a square, as far as it lies in the picture."""
    height, width = grey.shape
    x, y = np.clip(centre.astype(int), 0, (width - 1, height - 1))
    return float(grey[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1].mean())
