"""Fits the straight scales of the AU estimator (engines/face/expression.json) to a corpus of measured faces.

For each AU that is read from the mesh: what head pose does to its feature (photos: least squares over resting
faces), what a smile and an open jaw do to it (clips: least squares within a person, so that identity drops
out), and where rest and full intensity lie (percentiles). Knows nothing of pictures: landmarks in, numbers
out.
"""

from collections.abc import Iterable

import numpy as np

from engines.face import au_estimator
from engines.face.action_units import SIDED, sides, wholes
from engines.face.landmarks import BLENDSHAPES
from engines.face.mesh import align
from train.estimator.grouping import within_groups

REST_PERCENTILE = 30.0  # of resting faces; low, so that a change from rest is not lost below 0
FULL_PERCENTILE = 99.7  # of all faces; the strongest shown, less the broken detections
# Of these AUs a smile or an open jaw is a part, not a disturbance; they keep what it does.
KEEPS_SMILE = ("AU06", "AU25")
KEEPS_JAW = ("AU25", "AU06")
# A photo in which none of these scores exceeds RESTING of what counts as full is of a resting face.
CALM: dict[str, tuple[tuple[str, ...], float]] = {
    "AU01": (("browInnerUp",), 0.95),
    "AU02": (("browOuterUpRight", "browOuterUpLeft"), 0.95),
    "AU12": (("mouthSmileRight", "mouthSmileLeft"), 1.0),
    "AU26": (("jawOpen",), 0.8),
    "AU45": (("eyeBlinkRight", "eyeBlinkLeft"), 0.8),
}
RESTING = 0.3


def resting_photos(shapes: np.ndarray, calm: Iterable[str] = CALM) -> np.ndarray:
    """Blendshapes (N, 52) -> (N,) bool: which faces rest, as far as the AUs of `calm` say."""
    columns = {au: [BLENDSHAPES.index(name) for name in CALM[au][0]] for au in calm}
    return np.all(
        [shapes[:, places].mean(axis=1) < RESTING * CALM[au][1] for au, places in columns.items()], axis=0
    )


def fit_scales(photo_mesh, photo_shapes, clip_mesh, clip_shapes, clip_id) -> dict[str, dict[str, float]]:
    """Meshes (N, 478, 3), blendshapes (N, 52) of photos and clips, clip numbers (M,) -> MeshScale fields by
    AU.
    """
    aligned, pose = align(photo_mesh)
    clip_aligned, _ = align(clip_mesh)
    angles = np.clip(pose.angles_deg, -45, 45)
    shapes = whole_features(au_estimator.blendshape_intensities(photo_shapes))
    resting = resting_photos(photo_shapes)
    within = within_groups(clip_id)
    clip_intensities = whole_features(au_estimator.blendshape_intensities(clip_shapes))
    smile_jaw = within(
        np.stack([np.clip(clip_intensities["AU12"], 0, 1), np.clip(clip_intensities["AU26"], 0, 1)], axis=1)
    )
    of_sides = au_estimator.mesh_features(aligned)
    photo_features, clip_features = (
        whole_features(of_sides),
        whole_features(au_estimator.mesh_features(clip_aligned)),
    )
    scales = {}
    for au in au_estimator.FROM_MESH:
        yaw = angles[resting, 1]
        coefficients = pose_coefficients(photo_features[au][resting], angles[resting])
        smile, jaw = np.linalg.lstsq(smile_jaw, within(clip_features[au][:, None])[:, 0], rcond=None)[0]
        smile = 0.0 if au in KEEPS_SMILE else smile
        jaw = 0.0 if au in KEEPS_JAW else jaw
        pitch, pitch2, yaw2 = coefficients.tolist()
        scale = au_estimator.MeshScale(pitch, pitch2, yaw2, float(smile), float(jaw), rest=0.0, full=1.0)
        freed = photo_features[au] - au_estimator.explained(
            scale, angles, np.clip(shapes["AU12"], 0, 1), np.clip(shapes["AU26"], 0, 1)
        )
        rest = np.percentile(freed[resting], REST_PERCENTILE)
        full = np.percentile(freed, FULL_PERCENTILE)
        values = {
            **dict(zip(("pitch", "pitch2", "yaw2"), coefficients, strict=True)),
            "smile": smile,
            "jaw": jaw,
        }
        values |= {"rest": rest, "full": full}
        if au in SIDED:
            right, left = (of_sides[name][resting] for name in sides(au))
            values["yaw"] = np.polyfit(yaw, (right - left) / 2, 1)[0]
        scales[au] = {name: float(f"{value:.5g}") for name, value in values.items()}
    return scales


def pose_coefficients(features: np.ndarray, angles_deg: np.ndarray) -> np.ndarray:
    """Features (N,) of resting faces at angles (N, 3) -> (3,): per degree of pitch, of its square, of yaw's
    square.
    """
    pitch, yaw = angles_deg[:, 0], angles_deg[:, 1]
    design = np.stack([pitch, pitch**2, yaw**2, np.ones_like(pitch)], axis=1)
    return np.linalg.lstsq(design, features, rcond=None)[0][:3]


def whole_features(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values by AU or by side -> by AU alone: the means of the sides."""
    return {au: np.mean([values[name] for name in sides(au)], axis=0) for au in wholes(list(values))}
