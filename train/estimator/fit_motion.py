"""Fits how a mesh moves with AUs (basis.npy): first among people's own faces, then by looking at what the
motion draws.

A motion learnt from meshes is too weak when it is drawn: the estimator knows a raised brow by its wrinkles,
too, and a warped photo has none. So each AU's displacement is mixed and scaled until the estimator, shown the
moved photos of many people, answers about what was wanted, and little else.
"""

import cv2
import numpy as np
from tqdm import tqdm

from engines.face import au_estimator
from engines.face.action_units import WIDE, translate
from engines.face.landmarks import FaceReader
from engines.face.mesh import (
    LIPS_INNER_BOTTOM,
    LIPS_INNER_TOP,
    LIPS_OUTER,
    RIGID,
    align,
    mean_face,
    mirror_index,
)
from train.data.corpus import Corpus
from train.data.labels import opening
from train.estimator.grouping import within_groups
from train.synthesis.blendshape_net import BlendshapeNet
from train.synthesis.deform import LIPS_OUTER_BOTTOM, LIPS_OUTER_TOP, WHOLE, moved, of_sides
from train.synthesis.lids import close_lids
from train.synthesis.mouths import needs_mouth, paint_mouth
from train.synthesis.warp import flow_between, warp_picture

BLINK = WHOLE.index("AU45")
BY_GEOMETRY = ("AU45", "AU18", "AU22")  # not learnt among people: never mixed
RIDGE = 40.0  # about a hundredth of the rows: keeps rare AUs from borrowing the motion of frequent ones
CLIP_ROW_WEIGHT = 0.5  # a clip's frames repeat each other
# Answers of another AU that belong to the motion, and how much of them: a smile lifts cheeks, a dropped jaw
# parts lips.
NATURAL = {
    ("AU12", "AU06"): 0.4,
    ("AU06", "AU12"): 0.2,
    ("AU06", "AU07"): 0.4,
    ("AU07", "AU06"): 0.3,
    ("AU25", "AU26"): 0.3,
    ("AU26", "AU25"): 0.5,
    ("AU01", "AU02"): 0.2,
    ("AU02", "AU01"): 0.2,
    ("AU09", "AU06"): 0.4,
    ("AU07", "AU05"): 0.4,
    ("AU22", "AU25"): 0.4,
    ("AU22", "AU18"): 0.5,
    ("AU18", "AU22"): 0.3,
}
ANSWER = 0.9  # of a full unit that the calibration aims at; the last tenth costs twice the motion
# The furthest that one AU may move a landmark, outer eye distances: beyond, faces stop looking like faces.
MAX_DISPLACEMENT = {
    "AU01": 0.165,
    "AU02": 0.155,
    "AU04": 0.16,
    "AU05": 0.10,
    "AU06": 0.14,
    "AU07": 0.12,
    "AU14": 0.13,
    "AU12": 0.24,
    "AU22": 0.10,
    "AU25": 0.28,
    "AU26": 0.40,
}
MAX_DISPLACEMENT_ELSE = 0.20
MAX_GAIN = 2.6  # of what was learnt from people, while mixing
MESH_ROUNDS, MESH_AMOUNT = 6, 0.7
ROUNDS, UNMIX_AT = (
    8,
    4,
)  # on pictures; once, what makes other AUs answer is taken off: more than once, nothing is left of some
# AUs that answer to nothing at first and then to much: mixing a little of them in changes nothing that is
# measured.
THRESHOLDS = ("AU01", "AU02", "AU04", "AU07", "AU14", "AU18", "AU22", "AU45")
CALIBRATION_FACES = {"utk": 20, "lfw": 14, "nobody_adults": 14}
# Shares of the mouth's width and height, and outer eye distances between the lips, before they are
# calibrated.
PUCKER = {"narrower": 0.35, "taller": 0.15, "apart": 0.0}
FUNNEL = {"narrower": 0.28, "taller": 0.25, "apart": 0.06}
AMOUNT = 0.85  # of a full unit, at which answers are compared


def fit_basis(
    mesh: np.ndarray, blendshapes: np.ndarray, person: np.ndarray, is_clip: np.ndarray
) -> np.ndarray:
    """Meshes (N, 478, 3) of people seen more than once -> displacements (19, 478, 3) of WHOLE for a unit,
    mirror-symmetric, not calibrated.
    """
    aligned, pose = align(mesh)
    within = within_groups(person)
    turn = pose.angles_deg / 20
    nuisance = np.column_stack([turn, turn**2, turn[:, 0] * turn[:, 1]])  # the mesh is not quite free of pose
    measures = translate(np.clip(au_estimator.measure_meshes(mesh, blendshapes), -1, 1.3), WIDE, WHOLE)
    rows = within(np.column_stack([measures, nuisance]))
    weight = np.where(is_clip, CLIP_ROW_WEIGHT, 1.0)[:, None]
    gram = (rows * weight).T @ rows + RIDGE * np.eye(rows.shape[1])
    solved = np.linalg.solve(gram, (rows * weight).T @ within(aligned.reshape(len(mesh), -1)))
    found = solved[: len(WHOLE)].reshape(-1, 478, 3)
    found = (found + found[:, mirror_index()] * np.array([-1, 1, 1])) / 2
    found[:, list(RIGID)] *= 0.3  # what is left there is noise of the alignment
    found[BLINK] = 0
    found[WHOLE.index("AU18")], found[WHOLE.index("AU22")] = _drawn_in(**PUCKER), _drawn_in(**FUNNEL)
    return found.astype(np.float32)


def _drawn_in(narrower: float, taller: float, apart: float) -> np.ndarray:
    """(478, 3): lips drawn together from the sides; few people pucker in a photo, so this is geometry, not
    learnt.
    """
    mean, lips = mean_face(), list(LIPS_OUTER)
    middle = mean[lips, :2].mean(axis=0)
    place = mean[:, :2] - middle
    half_width = np.abs(place[lips, 0]).max()
    near = np.exp(
        -((np.abs(place[:, 0]) / (1.7 * half_width)) ** 4 + (np.abs(place[:, 1]) / (1.2 * half_width)) ** 4)
    )
    found = np.zeros((478, 3), np.float32)
    found[:, 0] = -narrower * place[:, 0] * near
    found[:, 1] = taller * place[:, 1] * near
    across = 1 - np.clip(np.abs(mean[:, 0]) / half_width, 0, 1) ** 2
    for rim, sign in (
        (LIPS_INNER_TOP, -1),
        (LIPS_INNER_BOTTOM, 1),
        (LIPS_OUTER_TOP, -0.9),
        (LIPS_OUTER_BOTTOM, 0.9),
    ):
        found[list(rim), 1] += sign * apart / 2 * across[list(rim)]
    return found


def calibration_faces(corpus: Corpus) -> np.ndarray:
    """Numbers of training people's resting faces that look at the camera, the same ones every time."""
    resting = ~corpus.held_out & ~corpus.is_clip & (np.abs(corpus.angles_deg[:, :2]).max(axis=1) < 15)
    calm = au_estimator.index(["AU01", "AU02", "AU12", "AU26", "AU45"])
    resting &= corpus.aus[:, calm].max(axis=1) < 0.35
    rng = np.random.default_rng(3)
    chosen = [
        rng.permutation(np.flatnonzero(resting & corpus.is_from(name)))[:count]
        for name, count in CALIBRATION_FACES.items()
    ]
    return np.concatenate(chosen)


def calibrated(found: np.ndarray, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Mixes and scales displacements (19, 478, 3) so that the estimator, shown what they draw, answers what
    was wanted.

    First on imagined meshes, which is quick and linear enough to mix; then, on pictures, each by a factor.
    Returns them and the last answers (19, 19): row = asked, column = answered, per unit. Some minutes.
    """
    faces = calibration_faces(corpus)
    rows = _mixed(found, corpus.meshes(faces))
    with FaceReader() as reader:
        for number in tqdm(range(ROUNDS), desc="calibrating", unit="round", disable=None):
            answer = answers(limited(rows), corpus, faces, reader)
            rows = _scaled(rows, np.diag(answer))
            if number == UNMIX_AT:
                rows = _unmixed(rows, answer)
        return limited(rows), answers(limited(rows), corpus, faces, reader)


def _scaled(rows: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Each displacement times what its own answer (19,) lacks, within bounds."""
    return limited(rows) * np.clip(ANSWER / np.maximum(answer, 0.1), 0.75, 1.35)[:, None, None]


def _unmixed(rows: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Takes off from each displacement what makes another AU answer that should not, but for AUs that do not
    answer to a little.
    """
    share = np.clip(
        0.4 * _of_others(answer, THRESHOLDS) / np.maximum(np.diag(answer), 0.4)[None, :], -0.15, 0.15
    )
    return rows - np.tensordot(share, rows, axes=1)


def _of_others(answer: np.ndarray, left_out: tuple[str, ...]) -> np.ndarray:
    """(19, 19) answers -> what of them other AUs should not have answered; 0 on the diagonal, and for AUs
    that are left out.
    """
    natural = np.array([[NATURAL.get((a, b), 0.0) for b in WHOLE] for a in WHOLE])
    taken = np.array([au not in left_out for au in WHOLE])
    wrong = np.where(answer > 0, np.maximum(answer - natural, 0), answer)
    return wrong * (taken[:, None] & taken[None, :] & ~np.eye(len(WHOLE), dtype=bool))


def _mixed(found: np.ndarray, resting: np.ndarray) -> np.ndarray:
    """Displacements that the estimator, asked about meshes that were only imagined, answers one by one:
    others' answers stay small.
    """
    net, mix = BlendshapeNet(), np.eye(len(WHOLE))
    for _ in range(MESH_ROUNDS):
        answer = _on_meshes(limited(np.tensordot(mix, found, axes=1)), resting, net)
        own = np.diag(answer)
        wrong = _of_others(answer, BY_GEOMETRY) + np.diag(own - 1)
        mix -= 0.7 * wrong @ np.diag(1 / np.maximum(own, 0.3))
        mix = np.clip(mix, -1.0, MAX_GAIN)
    return limited(np.tensordot(mix, found, axes=1))


def _on_meshes(whole: np.ndarray, resting: np.ndarray, net: BlendshapeNet) -> np.ndarray:
    """(19, 19): what the estimator answers, on average and per unit, to meshes in which each AU in turn was
    moved by MESH_AMOUNT.
    """
    displacements, before = of_sides(whole), au_estimator.measure_meshes(resting, net(resting))
    rows = []
    for only in np.eye(len(WHOLE), dtype=np.float32):
        change = translate(MESH_AMOUNT * only, WHOLE, WIDE)
        after = np.stack(
            [
                moved(mesh, np.clip(own, 0, 1), change, displacements)
                for mesh, own in zip(resting, before, strict=True)
            ]
        )
        rows.append(
            translate(
                (au_estimator.measure_meshes(after, net(after)) - before).mean(axis=0) / MESH_AMOUNT,
                WIDE,
                WHOLE,
            )
        )
    return np.array(rows)


def limited(rows: np.ndarray) -> np.ndarray:
    """Displacements (19, 478, 3) float32, scaled down where they go further than faces do."""
    reach = np.linalg.norm(rows, axis=-1).max(axis=-1)
    limit = np.array([MAX_DISPLACEMENT.get(au, MAX_DISPLACEMENT_ELSE) for au in WHOLE])
    return (rows * np.minimum(1, limit / np.maximum(reach, 1e-6))[:, None, None]).astype(np.float32)


def answers(whole: np.ndarray, corpus: Corpus, faces: np.ndarray, reader: FaceReader) -> np.ndarray:
    """(19, 19): what the estimator answers, on average and per unit, to pictures in which each AU in turn was
    moved by AMOUNT.
    """
    displacements, sums, counts = of_sides(whole), np.zeros((len(WHOLE),) * 2), np.zeros(len(WHOLE))
    for number in faces:
        picture = corpus.picture(int(number))
        found = reader.read(picture)
        if not found:
            continue
        before, mesh = au_estimator.measure(found[0]), found[0].mesh_px
        own = np.clip(before, 0, 1)
        rest = moved(mesh, own, -own, displacements)
        for row, only in enumerate(np.eye(len(WHOLE), dtype=np.float32)):
            change = translate(AMOUNT * only, WHOLE, WIDE)
            again = reader.read(drawn(picture, mesh, rest, moved(mesh, own, change, displacements)))
            if again:
                sums[row] += translate(au_estimator.measure(again[0]) - before, WIDE, WHOLE) / AMOUNT
                counts[row] += 1
    return sums / np.maximum(counts, 1)[:, None]


def drawn(picture: np.ndarray, mesh: np.ndarray, rest: np.ndarray, target_mesh: np.ndarray) -> np.ndarray:
    """The (S, S, 3) picture with its mesh moved, a mouth painted where lips part."""
    cv2.setNumThreads(1)
    flow = flow_between(target_mesh, mesh, len(picture))
    target, *_ = close_lids(warp_picture(picture, flow), flow, picture, mesh, target_mesh)
    if needs_mouth(float(opening(mesh)[0]), float(opening(target_mesh)[0])):
        target, *_ = paint_mouth(target, rest, target_mesh)
    return target
