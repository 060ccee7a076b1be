"""A face -> AU intensities. The one estimator: it labels the training set and it reads the driver.

Four AUs are read from MediaPipe's blendshapes, nine from the pose-free mesh, because MediaPipe's own scores
for them are dead (AU06, AU09: cheekSquint and noseSneer are ~0 on every photo) or nearly so (AU10, AU14,
AU15, AU17, AU20, AU23). A mesh measure is a few distances, freed from what head pose, smile and jaw do to
it, on a straight scale from a resting face to the strongest that a corpus shows. The brows (AU01, AU02,
AU04) are read from both, since the blendshapes follow the head's pitch and the mesh trembles.

The lids are read as one aperture. It is freed from pitch and from the lid's way after the eyes as they look
up or down, and shared out so that each part of it counts once: wider than at rest is AU05; narrower is AU07
as far as the lower lid tightens, and else AU45 (`lid_shares`).

The scales stand in expression.json, fitted by `python -m train estimator`. Ten AUs are read for each side of
the face; the paper's 17 are the means of their sides (`paper_17`).

Intensities are 0..1, but rest is not 0 for everybody: a face with low mouth corners rests at AU15 0.3. So
the live loop subtracts the driver's neutral, and a relative generator takes changes. `measure` is the same
without the clip at 0 and 1, for differences; `read` adds where head and eyes point. Raise VERSION whenever a
number that comes out of here can change: bundles and profiles record it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from engines.face.action_units import (
    EXPRESSION,
    GAZE_FULL_SIDEWAYS,
    GAZE_FULL_UPWARDS,
    HEAD_FULL_DEG,
    LEFT,
    NEARNESS_FULL,
    PAPER_17,
    RIGHT,
    WIDE,
    from_opposites,
    sides,
    translate,
)
from engines.face.landmarks import BLENDSHAPES, Face
from engines.face.mesh import Pose, align

VERSION = "mediapipe-mesh-3"
# Estimators whose bundles and corpora this one goes with: an AU of 1 is as strong. The first knew no sides,
# AU18 and AU22; the second read brows from blendshapes alone, and lids thrice (AU05, AU07, AU45), mixed with
# the gaze.
COMPATIBLE = ("mediapipe-mesh-1", "mediapipe-mesh-2", VERSION)
# What a driver's reading and all that is made of it hold; `measure` and `estimate` give its first 29, which
# are WIDE.
ESTIMATED: tuple[str, ...] = EXPRESSION

# AU -> the blendshapes of its sides, right then left, or its only one; and the score that counts as full
# intensity.
FROM_BLENDSHAPES: dict[str, tuple[tuple[str, ...], float]] = {
    "AU12": (("mouthSmileRight", "mouthSmileLeft"), 1.00),
    "AU18": (("mouthPucker",), 0.97),
    "AU22": (("mouthFunnel",), 0.45),
    "AU26": (("jawOpen",), 0.80),
}
# The same for the brows, and how much the blendshape counts beside the mesh. Of AU04 it counts more: lowered
# and drawn together brows wrinkle, which MediaPipe's network was shown and its mesh hardly moves for. Chosen
# on 200 frames that were labelled by eye (tests/data/driver_labels.json).
BROW_BLENDSHAPES: dict[str, tuple[tuple[str, ...], float, float]] = {
    "AU01": (("browInnerUp",), 0.95, 0.5),
    "AU02": (("browOuterUpRight", "browOuterUpLeft"), 0.95, 0.5),
    "AU04": (("browDownRight", "browDownLeft"), 0.90, 0.75),
}
FROM_LIDS = ("AU05", "AU07", "AU45")
SQUINT = ("eyeSquintRight", "eyeSquintLeft")
SQUINT_FULL = 0.85  # of that score counts as full
TIGHTENED = 0.45  # of the way to shut, that AU07 of 1 narrows the opening
BOUNDS = (-1.0, 1.5)  # of a reading: beyond them it is the mesh's mistake
REFERENCE_PX = (
    100.0  # between the outer eye corners: nearness is 0 there, and only its changes mean something
)
OPEN_ENOUGH = 0.06  # eye widths above shut, from which on an iris is seen
SIGN = {RIGHT: 1, LEFT: -1, "": 0}  # of a side, for what yaw does to it
FROM_MESH: tuple[str, ...] = tuple(
    au for au in PAPER_17 if au not in (*FROM_BLENDSHAPES, *BROW_BLENDSHAPES, *FROM_LIDS)
)
# Of each eye, the person's right first: lid margins above and below in columns, outer and inner corner, iris.
LID_COLUMNS = (((159, 145), (158, 153), (160, 144)), ((386, 374), (385, 380), (387, 373)))
EYE_CORNERS = ((33, 133), (263, 362))
IRISES = (468, 473)
INNER_BROW, NASAL_BRIDGE = (107, 66, 336, 296, 55, 285), (6, 168, 197)
OUTER_BROWS = ((70, 63, 105), (300, 293, 334))
BROWS = ((105, 66, 52, 65), (334, 296, 282, 295))
BROW_ENDS = ((107, 336), (55, 285))
TOGETHER = 1.5  # of the gap between the brows beside their height, for AU04: both shrink as they are knit


def _height(mesh: np.ndarray, *points: int) -> np.ndarray:
    """Mean y of points of aligned meshes (..., 478, 3), upwards, in outer eye distances."""
    return -mesh[..., list(points), 1].mean(axis=-1)


def _gap(mesh: np.ndarray, *pairs: tuple[int, int]) -> np.ndarray:
    """Mean distance between pairs of points."""
    a, b = np.array(pairs).T
    return np.linalg.norm(mesh[..., a, :] - mesh[..., b, :], axis=-1).mean(axis=-1)


def mesh_features(aligned: np.ndarray) -> dict[str, np.ndarray]:
    """Aligned meshes (..., 478, 3) -> one length for each AU of FROM_MESH, or for each side of it, growing
    with the AU; outer eye distances.

    The numbers are landmarks of MediaPipe's mesh; the distances follow FACS's description of each AU. Of a
    sided AU, what both sides share is in both, so that the mean of the sides is the measure of the whole.
    """
    eye_corners = _height(aligned, 33, 133, 362, 263)
    width = _gap(aligned, (61, 291))
    lips, under_nose = _height(aligned, 13, 14, 0, 17), _height(aligned, 2, 97, 326)
    return {
        "AU06R": _height(aligned, 50, 117, 118, 101) - eye_corners,  # cheek towards the eye
        "AU06L": _height(aligned, 280, 346, 347, 330) - eye_corners,
        "AU09": _height(aligned, 129, 358, 48, 278, 98, 327)
        - _height(aligned, 133, 362, 168),  # nose wings up
        "AU10R": _height(aligned, 37, 0, 37) - under_nose,  # red of the upper lip towards the nose
        "AU10L": _height(aligned, 267, 0, 267) - under_nose,
        "AU14R": 0.3 * width - _gap(aligned, (40, 91)),  # lips pressed thin beside the corners
        "AU14L": 0.3 * width - _gap(aligned, (270, 321)),
        "AU15R": lips - _height(aligned, 61),  # corners below the lips' middle
        "AU15L": lips - _height(aligned, 291),
        "AU17": _height(aligned, 17, 84, 314)
        - _height(aligned, 152, 148, 377),  # lower lip away from the chin's edge
        "AU20": width,
        "AU23": -_gap(aligned, (0, 13), (14, 17))
        - 0.5 * _gap(aligned, (37, 82), (267, 312), (84, 87), (314, 317)),
        "AU25": _gap(aligned, (13, 14), (82, 87), (312, 317)),
    }


def brow_features(aligned: np.ndarray) -> dict[str, np.ndarray]:
    """Aligned meshes (..., 478, 3) -> as `mesh_features`, for each AU of BROW_BLENDSHAPES, or for each side
    of it."""
    corners = _height(aligned, 33, 133, 362, 263)
    apart = _gap(aligned, *BROW_ENDS)
    features = {"AU01": _height(aligned, *INNER_BROW) - (corners + _height(aligned, *NASAL_BRIDGE)) / 2}
    for side, outer, whole in zip((RIGHT, LEFT), OUTER_BROWS, BROWS, strict=True):
        features["AU02" + side] = _height(aligned, *outer) - corners
        features["AU04" + side] = -(_height(aligned, *whole) - corners) - TOGETHER * apart
    return features


def lid_apertures(aligned: np.ndarray) -> np.ndarray:
    """Aligned meshes (..., 478, 3) -> (..., 2): how far each eye is open, the right one first; eye widths."""
    gaps = [_gap(aligned, *columns) for columns in LID_COLUMNS]
    return np.stack([gap / _gap(aligned, eye) for gap, eye in zip(gaps, EYE_CORNERS, strict=True)], axis=-1)


def iris_offsets(aligned: np.ndarray) -> np.ndarray:
    """Aligned meshes (..., 478, 3) -> (..., 2, 2): of each eye, the right one first, its iris from the
    middle of the corners to the person's left and upwards; eye widths."""
    offsets = []
    for iris, (outer, inner) in zip(IRISES, EYE_CORNERS, strict=True):
        middle = (aligned[..., outer, :2] + aligned[..., inner, :2]) / 2
        offsets.append((aligned[..., iris, :2] - middle) / _gap(aligned, (outer, inner))[..., None] * (1, -1))
    return np.stack(offsets, axis=-2)


@dataclass(frozen=True)
class MeshScale:
    """How a mesh feature becomes an intensity: (feature - what pose, smile and jaw explain - rest) / (full -
    rest)."""

    pitch: float  # per degree
    pitch2: float  # per degree²
    yaw2: float  # per degree²
    smile: float  # per unit of AU12
    jaw: float  # per unit of AU26
    rest: float
    full: float
    yaw: float = 0.0  # per degree, of the right side; the left side's is its opposite


@dataclass(frozen=True)
class LidScale:
    """How apertures become AUs. Eye widths, but for what is per degree."""

    shut: float
    rest: float
    full: float  # the widest
    follow: float  # per eye width that the iris stands higher: lids go with the eyes
    gaze: float  # height of the iris at rest
    pitch: float  # per degree
    pitch2: float  # per degree²


@lru_cache(maxsize=1)
def _stored() -> dict:
    return json.loads(Path(__file__).with_name("expression.json").read_text())


@lru_cache(maxsize=1)
def mesh_scales() -> dict[str, MeshScale]:
    """The scales of the AUs of FROM_MESH."""
    return {au: MeshScale(**scale) for au, scale in _stored()["scales"].items()}


@lru_cache(maxsize=1)
def brow_scales() -> dict[str, MeshScale]:
    """The scales of the mesh's part in the AUs of BROW_BLENDSHAPES."""
    return {au: MeshScale(**scale) for au, scale in _stored()["brows"].items()}


@lru_cache(maxsize=1)
def lid_scale() -> LidScale:
    """The scale of the lids."""
    return LidScale(**_stored()["lids"])


@lru_cache(maxsize=1)
def resting_faces() -> dict[str, np.ndarray]:
    """What each AU of WIDE reads on the resting faces of a corpus: "median" and "p90", (29,) float32 each."""
    stored = _stored()["resting"]
    return {name: np.array([stored[au][name] for au in WIDE], np.float32) for name in ("median", "p90")}


def forget_scales() -> None:
    """Makes the next call read expression.json again."""
    for cached in (_stored, mesh_scales, brow_scales, lid_scale, resting_faces):
        cached.cache_clear()


def blendshape_intensities(blendshapes: np.ndarray) -> dict[str, np.ndarray]:
    """Blendshapes (..., 52) -> intensity (...,) for each AU of FROM_BLENDSHAPES, or for each side of it, not
    clipped above."""
    return {
        name: blendshapes[..., BLENDSHAPES.index(source)] / full
        for au, (sources, full) in FROM_BLENDSHAPES.items()
        for name, source in zip(sides(au), sources, strict=True)
    }


def explained(
    scale: MeshScale, angles_deg: np.ndarray, smile: np.ndarray, jaw: np.ndarray, side: int = 0
) -> np.ndarray:
    """What head pose (..., 3), smile and jaw (...,) do to a mesh feature on average. side: 1 right, -1 left,
    0 both."""
    pitch, yaw = angles_deg[..., 0], angles_deg[..., 1]
    return (
        scale.pitch * pitch
        + scale.pitch2 * pitch**2
        + scale.yaw2 * yaw**2
        + side * scale.yaw * yaw
        + scale.smile * smile
        + scale.jaw * jaw
    )


def lid_shares(aligned: np.ndarray, angles_deg: np.ndarray, blendshapes: np.ndarray) -> dict[str, np.ndarray]:
    """The AUs of FROM_LIDS by side, (...,) each, AU05 not clipped.

    The opening that is usual for where the eyes look, less this one's, is how far the eye is closed: 1 is
    shut, whatever the gaze. Of it, AU07 takes what the lower lid does, TIGHTENED at most and none of a shut
    eye; AU45 the rest: 1 - closed = (1 - TIGHTENED * AU07) * (1 - AU45).
    """
    scale, pitch = lid_scale(), angles_deg[..., 0]
    opening = lid_apertures(aligned) - (scale.pitch * pitch + scale.pitch2 * pitch**2)[..., None]
    up = np.clip(
        iris_offsets(aligned)[..., 1].mean(axis=-1) - scale.gaze, -GAZE_FULL_UPWARDS, GAZE_FULL_UPWARDS
    )
    usual = (scale.rest + scale.follow * up)[..., None]
    closed = np.clip((usual - opening) / (usual - scale.shut), 0, 1)
    squint = np.stack([blendshapes[..., BLENDSHAPES.index(name)] for name in SQUINT], axis=-1) / SQUINT_FULL
    tightened = np.minimum(np.clip(squint, 0, 1) * (1 - closed), closed / TIGHTENED)
    blink = 1 - (1 - closed) / (1 - TIGHTENED * tightened)
    wide = (opening - usual) / (scale.full - scale.rest)
    return {
        au + side: values[..., place]
        for au, values in zip(FROM_LIDS, (wide, tightened, blink), strict=True)
        for place, side in enumerate((RIGHT, LEFT))
    }


def measure_meshes(mesh: np.ndarray, blendshapes: np.ndarray) -> np.ndarray:
    """Meshes (..., 478, 3) in pixels and blendshapes (..., 52) -> (..., 29) float32 in the order of WIDE,
    not clipped."""
    return _measure(*align(mesh), blendshapes)


def _measure(aligned: np.ndarray, pose: Pose, blendshapes: np.ndarray) -> np.ndarray:
    values = blendshape_intensities(blendshapes)
    angles = np.clip(pose.angles_deg, -45, 45)
    jaw = np.clip(values["AU26"], 0, 1)
    smiles = {RIGHT: np.clip(values["AU12R"], 0, 1), LEFT: np.clip(values["AU12L"], 0, 1)}
    smiles[""] = (smiles[RIGHT] + smiles[LEFT]) / 2

    def scaled(features: dict[str, np.ndarray], scales: dict[str, MeshScale]) -> dict[str, np.ndarray]:
        found = {}
        for au, scale in scales.items():
            for name in sides(au):
                side = name.removeprefix(au)
                freed = features[name] - explained(scale, angles, smiles[side], jaw, SIGN[side])
                found[name] = (freed - scale.rest) / (scale.full - scale.rest)
        return found

    values |= scaled(mesh_features(aligned), mesh_scales())
    values |= scaled(brow_features(aligned), brow_scales())
    for au, (sources, full, share) in BROW_BLENDSHAPES.items():
        for name, source in zip(sides(au), sources, strict=True):
            score = blendshapes[..., BLENDSHAPES.index(source)] / full
            values[name] = share * score + (1 - share) * values[name]
    values |= lid_shares(aligned, angles, blendshapes)
    return np.stack([values[name] for name in WIDE], axis=-1).astype(np.float32)


def measure(face: Face) -> np.ndarray:
    """(29,) float32 in the order of WIDE; may leave 0..1 where a face rests below or exceeds the corpus."""
    return _measure(*face.aligned, face.blendshapes)


def estimate(face: Face) -> np.ndarray:
    """(29,) float32 AU intensities 0..1 in the order of WIDE."""
    return np.clip(measure(face), 0, 1)


def read(face: Face) -> np.ndarray:
    """A driver's face -> (41,) float32 in the order of EXPRESSION, of which a rest can be taken off.

    The first 29 are `measure`'s, within BOUNDS, and AU05 not below 0, since AU45 and AU07 say how far an eye
    is closed. Head and gaze are where they point, not clipped: turn and tilt against the camera, nearness
    against a face of REFERENCE_PX, the eyes against the head.
    """
    aligned, pose = face.aligned
    values = np.clip(_measure(aligned, pose, face.blendshapes), *BOUNDS)
    values[_WIDENED] = np.maximum(values[_WIDENED], 0)
    return np.concatenate([values, from_opposites(_pose_units(aligned, pose))])


def _pose_units(aligned: np.ndarray, pose: Pose) -> np.ndarray:
    """(6,) head and gaze in the units of their AUs, as `action_units.opposites` has them."""
    pitch, yaw, roll = pose.angles_deg
    nearness = np.log(pose.scale / REFERENCE_PX) / np.log(NEARNESS_FULL)
    # An eye that is nearly shut shows no iris, and what the mesh says of it is a guess: in a wink the other
    # eye counts.
    weights = np.clip((lid_apertures(aligned) - lid_scale().shut) / OPEN_ENOUGH, 0.02, 1)
    iris = np.average(iris_offsets(aligned), axis=0, weights=weights)
    sideways = iris[0] / GAZE_FULL_SIDEWAYS
    upwards = (iris[1] - lid_scale().gaze) / GAZE_FULL_UPWARDS
    head = yaw / HEAD_FULL_DEG, -pitch / HEAD_FULL_DEG, roll / HEAD_FULL_DEG, nearness
    return np.array([*head, sideways, upwards], np.float32)


def paper_17(values: np.ndarray) -> np.ndarray:
    """(..., 29 or 41) in the order of EXPRESSION -> (..., 17) float32 in that of PAPER_17: means of the
    sides."""
    return translate(values[..., : len(WIDE)], WIDE, PAPER_17)


def index(names: Sequence[str]) -> list[int]:
    """Places of AU names in what `read` and `estimate` return; of both sides for a sided AU that is named
    without one."""
    return [ESTIMATED.index(side) for name in names for side in sides(name)]


_WIDENED = index(["AU05"])
