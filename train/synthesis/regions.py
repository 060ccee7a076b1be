"""Weights of errors in a pair of pictures: eyes, brows and lips most, the background least."""

import cv2
import numpy as np

from engines.face.mesh import (
    FACE_OVAL,
    LEFT_LID_BOTTOM,
    LEFT_LID_TOP,
    LIPS_INNER_BOTTOM,
    LIPS_INNER_TOP,
    LIPS_OUTER,
    RIGHT_LID_BOTTOM,
    RIGHT_LID_TOP,
)
from train.synthesis.deform import LIPS_OUTER_BOTTOM, LIPS_OUTER_TOP
from train.synthesis.warp import polygon_mask

# Outer eye distances by which shut lips overlap their detected inner rim, so that no teeth are left between
SHUT_LIPS = 0.014
RIGHT_BROW = [70, 63, 105, 66, 107, 55, 65, 52, 53, 46]
LEFT_BROW = [300, 293, 334, 296, 336, 285, 295, 282, 283, 276]
# Weight of a real mouth's inside that the other picture does not show: every mouth is another one, their mean
# is a blur
UNKNOWN = 0.15
_LIDS = [
    list(top) + list(bottom[-2:0:-1])
    for top, bottom in ((RIGHT_LID_TOP, RIGHT_LID_BOTTOM), (LEFT_LID_TOP, LEFT_LID_BOTTOM))
]


def face_mask(mesh: np.ndarray, size_px: int) -> np.ndarray:
    """(S, S) float32, 1 inside the face's outline."""
    return polygon_mask(mesh[list(FACE_OVAL), :2], size_px, blur_px=9)


def brows_mask(before: np.ndarray, after: np.ndarray, size_px: int) -> np.ndarray:
    """(S, S) float32, 1 on the brows of either of two meshes (478, 3)."""
    right, left = (
        polygon_mask(_around(before, after, brow, 1.3), size_px, blur_px=5)
        for brow in (RIGHT_BROW, LEFT_BROW)
    )
    return right + left


def loss_weights(
    before: np.ndarray, after: np.ndarray, painted: np.ndarray, unknown: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a pair's errors.

    Args:
        before: (478, 3) mesh of the picture.
        after: (478, 3) mesh of the target.
        painted: (S, S) mask of what was painted.
        unknown: (S, S) mask of what cannot be known.

    Returns:
        (S, S) of pixels and (S/2, S/2) of the flow, float32.

    Eyes, brows and lips count where they are in either picture, or a shut eye would count for nothing.
    """
    size = len(painted)
    face = face_mask(after, size)
    eyes = sum(polygon_mask(_around(before, after, lids, 1.5), size, blur_px=5) for lids in _LIDS)
    lips = polygon_mask(_around(before, after, list(LIPS_OUTER), 1.15), size, blur_px=5)
    brows = brows_mask(before, after, size)
    weight = (0.4 + 0.6 * face + 4.0 * eyes + 2.5 * brows + 1.5 * lips + 3.0 * painted) * (
        1 - (1 - UNKNOWN) * unknown
    )
    flow_weight = (0.3 + 0.7 * face + 5.0 * eyes + 4.0 * brows + 2.0 * lips) * (
        1 - np.maximum(painted, unknown)
    )
    return weight.astype(np.float32), cv2.resize(
        flow_weight.astype(np.float32), (size // 2, size // 2), interpolation=cv2.INTER_AREA
    )


def shut_lips(mesh: np.ndarray, gap_before: float, gap_after: float) -> np.ndarray:
    """A source mesh with its inner lips drawn together as far as the target shuts them.

    So no teeth are left between them.

    Gaps between the inner lips, outer eye distances.
    """
    closing = np.clip(1 - gap_after / 0.04, 0, 1) * np.clip((gap_before - gap_after) / 0.02, 0, 1)
    if closing == 0:
        return mesh
    mesh = mesh.copy()
    unit = np.linalg.norm(mesh[33, :2] - mesh[263, :2])
    for inner, outer in ((LIPS_INNER_TOP, LIPS_OUTER_TOP), (LIPS_INNER_BOTTOM, LIPS_OUTER_BOTTOM)):
        rim, contour = list(inner)[1:-1], list(outer)
        way = mesh[contour, :2] - mesh[rim, :2]
        length = np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-3)
        mesh[rim, :2] += way / length * np.minimum(SHUT_LIPS * unit * closing, 0.5 * length)
    return mesh


def _around(before: np.ndarray, after: np.ndarray, points: list[int], factor: float) -> np.ndarray:
    """The hull of some landmarks of both meshes, grown by `factor`, mostly upwards and downwards."""
    hull = cv2.convexHull(np.concatenate([before[points, :2], after[points, :2]]).astype(np.float32))[:, 0]
    centre = hull.mean(axis=0)
    return centre + (hull - centre) * np.array([1 + (factor - 1) / 3, factor])
