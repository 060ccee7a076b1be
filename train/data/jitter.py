"""A face turned, scaled, shifted and mirrored a little, as crops are never aligned perfectly."""

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
    """Draws how a crop of `size` px moves.

    Returns:
        Whether it is mirrored, and how it moves after that: (2, 3) float64, new pixels from old ones.
    """
    mirror = bool(rng.random() < 0.5)
    centre, scale = (size - 1) / 2, 1 + rng.uniform(-JITTER_SCALE, JITTER_SCALE)
    matrix = np.asarray(
        cv2.getRotationMatrix2D((centre, centre), rng.uniform(-JITTER_DEG, JITTER_DEG), scale), np.float64
    )
    matrix[:, 2] += rng.uniform(-JITTER_SHARE * size, JITTER_SHARE * size, 2)
    return mirror, matrix


def apply_jitter(picture: np.ndarray, mirror: bool, matrix: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 moved by what `draw_jitter` drew."""
    size = len(picture)
    return cv2.warpAffine(
        picture[:, ::-1] if mirror else picture,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def apply_jitter_to_mesh(mesh: np.ndarray, size_px: int, mirror: bool, matrix: np.ndarray) -> np.ndarray:
    """(478, 3) crop pixels moved as `apply_jitter` moves the picture of side size_px, float32."""
    mesh = mirrored(mesh, size_px) if mirror else mesh
    scale = np.hypot(*matrix[0, :2])
    moved = [mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2], mesh[:, 2] * scale]
    return np.column_stack(moved).astype(np.float32)


def mirrored(mesh: np.ndarray, size_px: int) -> np.ndarray:
    """(478, 3) crop pixels -> the mesh of the mirrored picture."""
    flipped = mesh[mirror_index()] * np.array([-1, 1, 1], np.float32)
    flipped[:, 0] += size_px - 1
    return flipped


def mirrored_aus(aus: np.ndarray) -> np.ndarray:
    """(..., 29) in the order of WIDE -> those of the mirrored face: left and right change places."""
    return aus[..., _MIRRORED]


def draw_light(rng: np.random.Generator) -> np.ndarray:
    """Another light, and other colours of it: (256, 1, 3) uint8, what each level of a BGR picture becomes."""
    gamma, gains = np.exp(rng.uniform(-0.25, 0.25)), rng.uniform(0.92, 1.08, 3)
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    table = np.clip(255 * levels**gamma * gains * rng.uniform(0.85, 1.12) + 0.5, 0, 255).astype(np.uint8)
    return table[:, None, :]


def relit(picture: np.ndarray, light: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 BGR in a light of `draw_light`."""
    return cv2.LUT(np.ascontiguousarray(picture), light)
