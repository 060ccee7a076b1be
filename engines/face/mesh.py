"""The geometry of the 478-point face mesh: contours, mirror image, and a mesh freed from head pose.

`align` turns and scales a mesh onto the mean face by points that no expression moves, so that what is left is
identity and expression. Lengths of an aligned mesh are in units of the mean face's outer eye distance (1.0).
Knows no AUs. The mean face is measured by `python -m train estimator --mean-face` and stored beside this
file.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

# Eye corners, nose bridge, forehead, temples: what stays on the skull when the face moves.
RIGID = (
    33,
    133,
    362,
    263,
    168,
    6,
    197,
    195,
    10,
    109,
    338,
    67,
    297,
    103,
    332,
    54,
    284,
    21,
    251,
    162,
    389,
    127,
    356,
    234,
    454,
)
EYE_OUTER = (33, 263)  # the person's right, left
# Inner lip contour from the person's right corner to the left, above and below.
LIPS_INNER_TOP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIPS_INNER_BOTTOM = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
# Lid margins from outer to inner corner (right eye), mirrored for the left.
RIGHT_LID_TOP = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_LID_BOTTOM = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_LID_TOP = (263, 466, 388, 387, 386, 385, 384, 398, 362)
LEFT_LID_BOTTOM = (263, 249, 390, 373, 374, 380, 381, 382, 362)
FACE_OVAL = (
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    356,
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
    136,
    172,
    58,
    132,
    93,
    234,
    127,
    162,
    21,
    54,
    103,
    67,
    109,
)


@dataclass(frozen=True)
class Pose:
    """Where a head is: picture = scale * (aligned @ rotation.T) + translation."""

    rotation: np.ndarray  # (..., 3, 3)
    scale: np.ndarray  # (...,) pixels per unit
    translation: np.ndarray  # (..., 3) pixels

    @property
    def angles_deg(self) -> np.ndarray:
        """(..., 3) degrees: pitch, yaw, roll.

        Positive are chin down, towards the picture's right, and clockwise.
        """
        r = self.rotation
        yaw = np.arcsin(np.clip(r[..., 2, 0], -1, 1))
        pitch = np.arctan2(r[..., 2, 1], r[..., 2, 2])
        roll = np.arctan2(r[..., 1, 0], r[..., 0, 0])
        return np.degrees(np.stack([pitch, yaw, roll], axis=-1))


@lru_cache(maxsize=1)
def mean_face() -> np.ndarray:
    """(478, 3) float32: the mean neutral face, mirror-symmetric.

    The outer eye corners are 1 apart; the origin lies between them.
    """
    mean = np.load(Path(__file__).with_name("mean_face.npy"), allow_pickle=False)
    mean.setflags(write=False)
    return mean


def align(mesh: np.ndarray, target: np.ndarray | None = None) -> tuple[np.ndarray, Pose]:
    """Frees meshes from head pose: similarity Procrustes on RIGID. Source: Umeyama, PAMI 1991.

    Args:
        mesh: (..., 478, 3), pixels.
        target: (478, 3) to turn and scale it onto; None for the mean face.

    Returns:
        the aligned meshes, (..., 478, 3) float32, and the pose that was taken off.
    """
    target = mean_face() if target is None else target
    mesh = np.asarray(mesh, np.float64)
    goal = target[list(RIGID)].astype(np.float64)
    points = mesh[..., list(RIGID), :]
    goal_centre, centre = goal.mean(axis=0), points.mean(axis=-2, keepdims=True)
    goal, points = goal - goal_centre, points - centre
    u, s, vt = np.linalg.svd(np.swapaxes(points, -1, -2) @ goal)  # points.T @ goal = u s vt
    sign = np.ones(s.shape)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    to_aligned = (u * sign[..., None, :]) @ vt  # row vectors: aligned = points @ to_aligned
    scale = np.sum(points**2, axis=(-1, -2)) / np.sum(s * sign, axis=-1)  # pixels per unit
    aligned = (mesh - centre) @ to_aligned / scale[..., None, None] + goal_centre
    rotation = to_aligned  # picture column = to_aligned @ aligned column, as to_aligned is orthogonal
    translation = centre[..., 0, :] - scale[..., None] * (goal_centre @ np.swapaxes(to_aligned, -1, -2))
    return aligned.astype(np.float32), Pose(rotation, scale, translation)


def unalign(aligned: np.ndarray, pose: Pose) -> np.ndarray:
    """Undoes `align`: (..., 478, 3) in units -> pixels, float32."""
    turned = np.asarray(aligned, np.float64) @ np.swapaxes(pose.rotation, -1, -2)
    return (turned * np.asarray(pose.scale)[..., None, None] + pose.translation[..., None, :]).astype(
        np.float32
    )


@lru_cache(maxsize=1)
def mirror_index() -> np.ndarray:
    """(478,) int: which landmark is this one's mirror image."""
    mean = mean_face()
    flipped = mean * np.array([-1, 1, 1], np.float32)
    return np.argmin(np.linalg.norm(mean[:, None] - flipped[None], axis=-1), axis=1)
