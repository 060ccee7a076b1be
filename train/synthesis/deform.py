"""How a mesh moves with AUs: the wanted change of 29 AUs -> where every landmark goes.

Each AU but the blink is a displacement of the pose-free mesh, learnt within people (clips and several photos
of one person), so that identity drops out, and scaled so that the estimator, shown the picture that was moved
so, answers the change that was wanted (fit_motion.py). A side's displacement is the whole's, faded out across
the middle of the face. The blink is geometry: lids meet when AU45 is full, from whatever opening the photo
has.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from engines.face.action_units import LEFT, RIGHT, SIDED, WIDE, sides, whole, wholes
from engines.face.mesh import (
    LEFT_LID_BOTTOM,
    LEFT_LID_TOP,
    LIPS_INNER_BOTTOM,
    LIPS_INNER_TOP,
    RIGHT_LID_BOTTOM,
    RIGHT_LID_TOP,
    align,
    mean_face,
    mirror_index,
    unalign,
)

BASIS = Path(__file__).with_name("basis.npy")
WHOLE: tuple[str, ...] = wholes(WIDE)  # rows of the basis: both sides move alike
BLINK_RIGHT, BLINK_LEFT = (WIDE.index(name) for name in sides("AU45"))
RIGHTS, LEFTS = ([WIDE.index(sides(au)[side]) for au in SIDED] for side in (0, 1))
MORE_TOGETHER = 0.1  # raised inner and outer brows go this share further together than the stronger one alone
MIDDLE = 0.12  # outer eye distances from the face's middle over which a side's displacement fades out

# Skin above the right upper lid, column by column over RIGHT_LID_TOP[1:-1], and the share of the lid's way it
# goes.
CREASE = ((247, 30, 29, 27, 28, 56, 190), 0.30)
FOLD = ((113, 225, 224, 223, 222, 221, 189), 0.10)
LOWER_LID_SHARE = 0.12  # of a blink's way; the rest is the upper lid's
# The lips' outer contour, column by column over the inner one without its corners: red that presses together,
# but never turns inside out.
LIPS_OUTER_TOP = (185, 40, 39, 37, 0, 267, 269, 270, 409)
LIPS_OUTER_BOTTOM = (146, 91, 181, 84, 17, 314, 405, 321, 375)
THINNEST = 0.2  # of a lip's own thickness


@lru_cache(maxsize=1)
def basis() -> np.ndarray:
    """(29, 478, 3) float32: displacement of the aligned mesh for a full unit of each AU; 0 for the blink."""
    return of_sides(np.load(BASIS, allow_pickle=False))


def of_sides(both: np.ndarray) -> np.ndarray:
    """Displacements of WHOLE (19, 478, 3) -> of WIDE (29, 478, 3); both sides add up to the whole."""
    across = np.clip(mean_face()[:, 0] / MIDDLE, -1, 1)  # the person's right is at negative x
    share = {RIGHT: (1 - across) / 2, LEFT: (1 + across) / 2, "": np.ones_like(across)}
    rows = []
    for name in WIDE:
        au = whole(name)
        rows.append(both[WHOLE.index(au)] * share[name.removeprefix(au)][:, None])
    return np.array(rows, np.float32)


def moved(
    mesh_px: np.ndarray, own: np.ndarray, change: np.ndarray, displacements: np.ndarray | None = None
) -> np.ndarray:
    """The mesh after a change of AUs.

    Args:
        mesh_px: (478, 3) landmarks in pixels.
        own: (29,) intensities of the mesh, 0..1.
        change: (29,) wanted change, -1..1.
        displacements: (29, 478, 3) of each AU; None: `basis`.

    Returns:
        (478, 3) landmarks in pixels.
    """
    aligned, pose = align(mesh_px)
    displacements = basis() if displacements is None else displacements
    after = aligned + _limit_sum(np.tensordot(change, displacements, axes=1), displacements)
    left = mirror_index()
    _close_lids(
        after,
        RIGHT_LID_TOP,
        RIGHT_LID_BOTTOM,
        (CREASE, FOLD),
        float(own[BLINK_RIGHT]),
        float(change[BLINK_RIGHT]),
    )
    mirrored = tuple((left[list(row)], share) for row, share in (CREASE, FOLD))
    _close_lids(
        after, LEFT_LID_TOP, LEFT_LID_BOTTOM, mirrored, float(own[BLINK_LEFT]), float(change[BLINK_LEFT])
    )
    _separate_rims(after, LIPS_INNER_TOP, LIPS_INNER_BOTTOM)
    _keep_thickness(after, aligned)
    return unalign(after, pose)


def _limit_sum(sum_of_all: np.ndarray, displacements: np.ndarray) -> np.ndarray:
    """Bends down a sum (478, 3) of displacements smoothly where it far exceeds the strongest alone."""
    both = displacements[RIGHTS] + displacements[LEFTS]
    strongest = np.linalg.norm(np.concatenate([displacements, both]), axis=-1).max(axis=0)
    length = np.linalg.norm(sum_of_all, axis=-1)
    over = np.maximum(length - strongest, 0)
    room = MORE_TOGETHER * strongest + 1e-6
    allowed = np.minimum(length, strongest) + room * np.tanh(over / room)
    return sum_of_all * (allowed / np.maximum(length, 1e-6))[:, None]


def _close_lids(aligned: np.ndarray, top, bottom, skin, own: float, change: float) -> None:
    """Moves one eye's lids of an aligned mesh, in place: the gap shrinks to 0 as AU45 reaches 1."""
    open_share = np.clip(1 - change / max(1 - own, 0.35), 0, 1.6)
    top, bottom = list(top[1:-1]), list(bottom[1:-1])
    _separate_rims(aligned, top, bottom)
    way = (1 - open_share) * (aligned[bottom] - aligned[top])
    for row, share in skin:
        aligned[list(row)] += share * way
    aligned[top] += (1 - LOWER_LID_SHARE) * way
    aligned[bottom] -= LOWER_LID_SHARE * way


def _separate_rims(aligned: np.ndarray, top, bottom) -> None:
    """Keeps an upper rim above its lower rim, in place: where they would cross, both meet in the middle."""
    top, bottom = list(top), list(bottom)
    crossed = np.maximum(aligned[top, 1] - aligned[bottom, 1], 0)
    aligned[top, 1] -= crossed / 2
    aligned[bottom, 1] += crossed / 2


def _keep_thickness(after: np.ndarray, before: np.ndarray) -> None:
    """Keeps the red of both lips at least THINNEST of what it was, in place, by moving the outer contour."""
    for inner, outer, sign in (
        (LIPS_INNER_TOP, LIPS_OUTER_TOP, 1),
        (LIPS_INNER_BOTTOM, LIPS_OUTER_BOTTOM, -1),
    ):
        rim, contour = list(inner[1:-1]), list(outer)
        least = THINNEST * np.maximum(sign * (before[rim, 1] - before[contour, 1]), 0)
        missing = np.maximum(least - sign * (after[rim, 1] - after[contour, 1]), 0)
        after[contour, 1] -= sign * missing
