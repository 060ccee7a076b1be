"""How a mesh moves with AUs: the wanted change of 17 AUs -> where every landmark goes.

Each AU but the blink is a displacement of the pose-free mesh, learnt within people (clips and several photos of one
person), so that identity drops out, and scaled so that the estimator, asked about the moved mesh, answers the change that
was wanted. The blink is geometry: lids meet when AU45 is full, from whatever opening the photo has. Knows no pictures.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from engines import expression
from engines.expression import ESTIMATED
from engines.mesh import (
    LEFT_LID_BOTTOM,
    LEFT_LID_TOP,
    LIPS_INNER_BOTTOM,
    LIPS_INNER_TOP,
    RIGHT_LID_BOTTOM,
    RIGHT_LID_TOP,
    RIGID,
    align,
    mirror_index,
    unalign,
)
from train.data.estimator import within_groups
from train.data.shapes import BlendshapeNet

BASIS = Path(__file__).with_name("basis.npy")
BLINK = ESTIMATED.index("AU45")
RIDGE = 40.0  # about a hundredth of the rows: keeps rare AUs from borrowing the motion of frequent ones
CLIP_ROW_WEIGHT = 0.5  # a clip's frames repeat each other
# Answers of another AU that belong to the motion, and how much of them: a smile lifts cheeks, a dropped jaw parts lips.
NATURAL = {
    ("AU12", "AU06"): 0.6, ("AU06", "AU12"): 0.2, ("AU06", "AU07"): 0.5, ("AU07", "AU06"): 0.4, ("AU25", "AU26"): 0.4,
    ("AU26", "AU25"): 0.7, ("AU01", "AU02"): 0.2, ("AU02", "AU01"): 0.2, ("AU09", "AU06"): 0.5, ("AU07", "AU05"): 0.6,
}  # fmt: skip
# The furthest that one AU may move a landmark, outer eye distances: lips and jaw add up to the widest mouths in the clips.
MAX_DISPLACEMENT = {"AU25": 0.17, "AU26": 0.25}
MAX_DISPLACEMENT_ELSE = 0.20
MAX_GAIN = 2.6

# Skin above the right upper lid, column by column over RIGHT_LID_TOP[1:-1], and the share of the lid's way it goes.
CREASE = ((247, 30, 29, 27, 28, 56, 190), 0.45)
FOLD = ((113, 225, 224, 223, 222, 221, 189), 0.15)
LOWER_LID_SHARE = 0.12  # of a blink's way; the rest is the upper lid's


# What training asks beyond the calibrated motion: a generator answers small, local AUs with a share of what it is shown (LOG, run 1).
OVERDRIVE = {
    "AU01": 1.5,
    "AU02": 1.5,
    "AU04": 1.15,
    "AU05": 1.2,
    "AU07": 1.1,
    "AU09": 1.15,
    "AU10": 1.15,
    "AU15": 1.4,
    "AU20": 1.25,
    "AU23": 1.3,
}


@lru_cache(maxsize=1)
def basis() -> np.ndarray:
    """(17, 478, 3) float32: displacement of the aligned mesh for a full unit of each AU; the blink's row is zero."""
    gains = np.array([OVERDRIVE.get(au, 1.0) for au in ESTIMATED], np.float32)
    return np.load(BASIS, allow_pickle=False) * gains[:, None, None]


def moved(mesh_px: np.ndarray, own: np.ndarray, change: np.ndarray, displacements: np.ndarray | None = None) -> np.ndarray:
    """A (478, 3) mesh in pixels with its own AUs (17,), 0..1 -> the mesh after a change of AUs (17,), -1..1."""
    aligned, pose = align(mesh_px)
    displacements = basis() if displacements is None else displacements
    aligned = aligned + np.tensordot(change, displacements, axes=1)
    _blink(aligned, float(own[BLINK]), float(change[BLINK]))
    _part(aligned, LIPS_INNER_TOP, LIPS_INNER_BOTTOM)
    return unalign(aligned, pose)


def _blink(aligned: np.ndarray, own: float, change: float) -> None:
    """Moves both lids of an aligned mesh, in place: the gap shrinks to 0 as AU45 reaches 1."""
    left = mirror_index()
    open_share = np.clip(1 - change / max(1 - own, 0.35), 0, 1.6)
    for top, bottom, mirrored in ((RIGHT_LID_TOP, RIGHT_LID_BOTTOM, False), (LEFT_LID_TOP, LEFT_LID_BOTTOM, True)):
        top, bottom = list(top[1:-1]), list(bottom[1:-1])
        _part(aligned, top, bottom)
        way = (1 - open_share) * (aligned[bottom] - aligned[top])
        for row, share in (CREASE, FOLD):
            aligned[left[list(row)] if mirrored else list(row)] += share * way
        aligned[top] += (1 - LOWER_LID_SHARE) * way
        aligned[bottom] -= LOWER_LID_SHARE * way


def _part(aligned: np.ndarray, top, bottom) -> None:
    """Keeps an upper rim above its lower rim, in place: where they would cross, both meet in the middle."""
    top, bottom = list(top), list(bottom)
    crossed = np.maximum(aligned[top, 1] - aligned[bottom, 1], 0)
    aligned[top, 1] -= crossed / 2
    aligned[bottom, 1] += crossed / 2


def fit_basis(
    mesh: np.ndarray, blendshapes: np.ndarray, person: np.ndarray, is_clip: np.ndarray, resting: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Meshes (N, 478, 3) of people seen more than once -> basis (17, 478, 3), and the response (17, 17) of the estimator.

    `resting` (M, 478, 3) are neutral faces of many people: the ground on which gains are measured.
    """
    aligned, pose = align(mesh)
    within = within_groups(person)
    turn = pose.angles_deg / 20
    nuisance = np.column_stack([turn, turn**2, turn[:, 0] * turn[:, 1]])  # the mesh is not quite free of pose
    measures = np.clip(expression.measure_meshes(mesh, blendshapes), -1, 1.3)
    rows = within(np.column_stack([measures, nuisance]))
    weight = np.where(is_clip, CLIP_ROW_WEIGHT, 1.0)[:, None]
    gram = (rows * weight).T @ rows + RIDGE * np.eye(rows.shape[1])
    solved = np.linalg.solve(gram, (rows * weight).T @ within(aligned.reshape(len(mesh), -1)))
    found = solved[: len(ESTIMATED)].reshape(-1, 478, 3)
    found = (found + found[:, mirror_index()] * np.array([-1, 1, 1])) / 2
    found[:, list(RIGID)] *= 0.3  # what is left there is noise of the alignment
    found[BLINK] = 0
    return _calibrated(found.astype(np.float32), resting)


def response(displacements: np.ndarray, resting: np.ndarray, net: BlendshapeNet, amount: float = 1.0) -> np.ndarray:
    """(17, 17): what the estimator answers, on average, to `amount` of each AU in turn, per unit."""
    before = expression.measure_meshes(resting, net(resting))
    rows = []
    for i in range(len(ESTIMATED)):
        change = np.zeros(len(ESTIMATED), np.float32)
        change[i] = amount
        after = np.stack([moved(mesh, np.clip(own, 0, 1), change, displacements) for mesh, own in zip(resting, before, strict=True)])
        rows.append((expression.measure_meshes(after, net(after)) - before).mean(axis=0) / amount)
    return np.array(rows)


def _calibrated(found: np.ndarray, resting: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mixes the displacements so that each AU's own answer is ~1 and others' stay small, but for what faces do anyway."""
    net, mix = BlendshapeNet(), np.eye(len(ESTIMATED))
    for _ in range(6):
        answer = response(np.tensordot(mix, found, axes=1).astype(np.float32), resting, net, amount=0.7)
        wrong = answer - np.eye(len(ESTIMATED))
        for i, a in enumerate(ESTIMATED):
            for j, b in enumerate(ESTIMATED):
                limit = NATURAL.get((a, b), 0.0)
                if i != j and (0 <= answer[i, j] <= limit or BLINK in (i, j)):
                    wrong[i, j] = 0
                elif i != j and answer[i, j] > limit:
                    wrong[i, j] -= limit
        mix -= 0.7 * (wrong @ np.diag(1 / np.maximum(np.diag(answer), 0.3)))
        mix = np.clip(mix, -1.0, MAX_GAIN)
    final = np.tensordot(mix, found, axes=1).astype(np.float32)
    reach = np.linalg.norm(final, axis=-1).max(axis=-1)
    limit = np.array([MAX_DISPLACEMENT.get(au, MAX_DISPLACEMENT_ELSE) for au in ESTIMATED])
    final *= np.minimum(1, limit / np.maximum(reach, 1e-6))[:, None, None].astype(np.float32)
    return final, response(final, resting, net)
