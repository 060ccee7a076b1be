"""A face turned, scaled, shifted and mirrored a little, so that a generator does not rely on perfect
alignment.
"""

import cv2
import numpy as np

from engines.face.action_units import LEFT, RIGHT, WIDE
from engines.face.mesh import mirror_index

JITTER_DEG, JITTER_SCALE = 7.0, 0.05
JITTER_SHARE = 5 / 256  # of the crop's side: how far it shifts
_OTHER_SIDE = {RIGHT: LEFT, LEFT: RIGHT}
_MIRRORED = [
    WIDE.index(name[:-1] + _OTHER_SIDE[name[-1]]) if name[-1] in _OTHER_SIDE else i
    for i, name in enumerate(WIDE)
]


def draw_jitter(size: int, rng: np.random.Generator) -> tuple[bool, np.ndarray]:
    """Whether a crop of `size` px is mirrored, and then how it is moved: (2, 3) float64, new pixels from old
    ones.
    """
    mirror = bool(rng.random() < 0.5)
    centre, scale = (size - 1) / 2, 1 + rng.uniform(-JITTER_SCALE, JITTER_SCALE)
    matrix = cv2.getRotationMatrix2D((centre, centre), rng.uniform(-JITTER_DEG, JITTER_DEG), scale)
    matrix[:, 2] += rng.uniform(-JITTER_SHARE * size, JITTER_SHARE * size, 2)
    return mirror, matrix


def jittered(
    picture: np.ndarray, mesh: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """(S, S, 3) uint8 and its mesh (478, 3) in crop pixels, or None -> both moved the same way; mirrored half
    the time.
    """
    return apply_jitter(picture, mesh, *draw_jitter(len(picture), rng))


def apply_jitter(
    picture: np.ndarray, mesh: np.ndarray | None, mirror: bool, matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """What `jittered` does, when it has been drawn whether to mirror and how to move: (2, 3)."""
    size = len(picture)
    if mirror:
        picture, mesh = picture[:, ::-1], None if mesh is None else mirrored(mesh, size)
    picture = cv2.warpAffine(
        picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if mesh is not None:
        scale = np.hypot(*matrix[0, :2])
        mesh = np.column_stack([mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2], mesh[:, 2] * scale]).astype(
            np.float32
        )
    return picture, mesh


def mirrored(mesh: np.ndarray, size_px: int) -> np.ndarray:
    """(478, 3) crop pixels -> the mesh of the mirrored picture."""
    flipped = mesh[mirror_index()] * np.array([-1, 1, 1], np.float32)
    flipped[:, 0] += size_px - 1
    return flipped


def mirrored_aus(aus: np.ndarray) -> np.ndarray:
    """(..., 29) in the order of WIDE -> those of the mirrored face: left and right change places."""
    return aus[..., _MIRRORED]
