"""A face -> AU intensities. The one estimator: it labels the training set and it reads the driver.

Nine AUs are read from MediaPipe's blendshapes, ten from the pose-free mesh, because MediaPipe's own scores for them are
dead (AU06, AU09: cheekSquint and noseSneer are ~0 on every photo) or nearly so (AU10, AU14, AU15, AU17, AU20, AU23). A
mesh measure is a few distances, freed from what head pose, smile and jaw do to it, on a straight scale from a resting
face to the strongest that a corpus shows. The scales stand in expression.json, fitted by `python -m train estimator`.
Ten AUs are read for each side of the face; the paper's 17 are the means of their sides (`paper_17`).

Intensities are 0..1, but rest is not 0 for everybody: a face with low mouth corners rests at AU15 0.3. So the live loop
subtracts the driver's neutral, and a relative generator is told changes. `measure` is the same without the clip at 0
and 1, for differences. Raise VERSION whenever a number that comes out of here can change: bundles record it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from engines.face.action_units import LEFT, PAPER_17, RIGHT, WIDE, sides, translate
from engines.face.landmarks import BLENDSHAPES, Face
from engines.face.mesh import align

VERSION = "mediapipe-mesh-2"
# Estimators whose bundles can be driven by this one: their AUs are on the same scales. The first knew no sides, AU18 and AU22.
COMPATIBLE = ("mediapipe-mesh-1", VERSION)
ESTIMATED: tuple[str, ...] = WIDE

# AU -> the blendshapes of its sides, right then left, or its only one; and the score that counts as full intensity.
FROM_BLENDSHAPES: dict[str, tuple[tuple[str, ...], float]] = {
    "AU01": (("browInnerUp",), 0.95),
    "AU02": (("browOuterUpRight", "browOuterUpLeft"), 0.95),
    "AU04": (("browDownRight", "browDownLeft"), 0.90),
    "AU07": (("eyeSquintRight", "eyeSquintLeft"), 0.85),
    "AU12": (("mouthSmileRight", "mouthSmileLeft"), 1.00),
    "AU18": (("mouthPucker",), 0.97),
    "AU22": (("mouthFunnel",), 0.45),
    "AU26": (("jawOpen",), 0.80),
    "AU45": (("eyeBlinkRight", "eyeBlinkLeft"), 0.80),
}
SIGN = {RIGHT: 1, LEFT: -1, "": 0}  # of a side, for what yaw does to it
FROM_MESH: tuple[str, ...] = tuple(au for au in PAPER_17 if au not in FROM_BLENDSHAPES)


def _height(mesh: np.ndarray, *points: int) -> np.ndarray:
    """Mean y of points of aligned meshes (..., 478, 3), upwards, in outer eye distances."""
    return -mesh[..., list(points), 1].mean(axis=-1)


def _gap(mesh: np.ndarray, *pairs: tuple[int, int]) -> np.ndarray:
    """Mean distance between pairs of points."""
    a, b = np.array(pairs).T
    return np.linalg.norm(mesh[..., a, :] - mesh[..., b, :], axis=-1).mean(axis=-1)


def mesh_features(aligned: np.ndarray) -> dict[str, np.ndarray]:
    """Aligned meshes (..., 478, 3) -> one length for each AU of FROM_MESH, or for each side of it, growing with the AU; outer eye distances.

    The numbers are landmarks of MediaPipe's mesh; the distances follow FACS's description of each AU. Of a sided AU, what both
    sides share is in both, so that the mean of the sides is the measure of the whole.
    """
    eye_corners = _height(aligned, 33, 133, 362, 263)
    width = _gap(aligned, (61, 291))
    lips, under_nose = _height(aligned, 13, 14, 0, 17), _height(aligned, 2, 97, 326)
    return {
        "AU05R": _height(aligned, 159, 158) - eye_corners,  # upper lid above the corners
        "AU05L": _height(aligned, 386, 385) - eye_corners,
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


@dataclass(frozen=True)
class MeshScale:
    """How a mesh feature becomes an intensity: (feature - what pose, smile and jaw explain - rest) / (full - rest)."""

    pitch: float  # per degree
    pitch2: float  # per degree²
    yaw2: float  # per degree²
    smile: float  # per unit of AU12
    jaw: float  # per unit of AU26
    rest: float
    full: float
    yaw: float = 0.0  # per degree, of the right side; the left side's is its opposite


@lru_cache(maxsize=1)
def mesh_scales() -> dict[str, MeshScale]:
    stored = json.loads(Path(__file__).with_name("expression.json").read_text())
    return {au: MeshScale(**scale) for au, scale in stored["scales"].items()}


def blendshape_intensities(blendshapes: np.ndarray) -> dict[str, np.ndarray]:
    """Blendshapes (..., 52) -> intensity (...,) for each AU of FROM_BLENDSHAPES, or for each side of it, not clipped above."""
    return {
        name: blendshapes[..., BLENDSHAPES.index(source)] / full
        for au, (sources, full) in FROM_BLENDSHAPES.items()
        for name, source in zip(sides(au), sources, strict=True)
    }


def explained(
    scale: MeshScale, angles_deg: np.ndarray, smile: np.ndarray, jaw: np.ndarray, side: int = 0
) -> np.ndarray:
    """What head pose (..., 3), smile and jaw (...,) do to a mesh feature on average. side: 1 right, -1 left, 0 both."""
    pitch, yaw = angles_deg[..., 0], angles_deg[..., 1]
    return (
        scale.pitch * pitch
        + scale.pitch2 * pitch**2
        + scale.yaw2 * yaw**2
        + side * scale.yaw * yaw
        + scale.smile * smile
        + scale.jaw * jaw
    )


def measure_meshes(mesh: np.ndarray, blendshapes: np.ndarray) -> np.ndarray:
    """Meshes (..., 478, 3) in pixels and blendshapes (..., 52) -> (..., 29) float32 in the order of ESTIMATED, not clipped."""
    aligned, pose = align(mesh)
    values = blendshape_intensities(blendshapes)
    features, angles = mesh_features(aligned), np.clip(pose.angles_deg, -45, 45)
    jaw = np.clip(values["AU26"], 0, 1)
    smiles = {RIGHT: np.clip(values["AU12R"], 0, 1), LEFT: np.clip(values["AU12L"], 0, 1)}
    smiles[""] = (smiles[RIGHT] + smiles[LEFT]) / 2
    for au, scale in mesh_scales().items():
        for name in sides(au):
            side = name.removeprefix(au)
            freed = features[name] - explained(scale, angles, smiles[side], jaw, SIGN[side])
            values[name] = (freed - scale.rest) / (scale.full - scale.rest)
    return np.stack([values[name] for name in ESTIMATED], axis=-1).astype(np.float32)


def measure(face: Face) -> np.ndarray:
    """(29,) float32 in the order of ESTIMATED; may leave 0..1 where a face rests below or exceeds the corpus."""
    return measure_meshes(face.mesh_px, face.blendshapes)


def estimate(face: Face) -> np.ndarray:
    """(29,) float32 AU intensities 0..1 in the order of ESTIMATED."""
    return np.clip(measure(face), 0, 1)


def paper_17(values: np.ndarray) -> np.ndarray:
    """(..., 29) in the order of ESTIMATED -> (..., 17) float32 in the order of PAPER_17: means of the sides."""
    return translate(values, ESTIMATED, PAPER_17)


def index(names: Sequence[str]) -> list[int]:
    """Places of AU names in what `estimate` returns; of both sides for a sided AU that is named without one."""
    return [ESTIMATED.index(side) for name in names for side in sides(name)]
