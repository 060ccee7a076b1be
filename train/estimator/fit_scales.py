"""Fits the straight scales of the AU estimator (engines/expression.json) to a corpus of measured faces.

For each AU that is read from the mesh: what head pose does to its feature (photos: least squares over resting faces), what
a smile and an open jaw do to it (clips: least squares within a person, so that identity drops out), and where rest and
full intensity lie (percentiles). Knows nothing of pictures: landmarks in, numbers out.
"""

import numpy as np

from engines.face import au_estimator
from engines.face.action_units import SIDED, sides, wholes
from engines.face.mesh import align
from train.estimator.grouping import within_groups

REST_PERCENTILE = 30.0  # of resting faces; low, so that a change from rest is not lost below 0
FULL_PERCENTILE = 99.7  # of all faces; the strongest shown, less the broken detections
# Of these AUs a smile or an open jaw is a part, not a disturbance; they keep what it does.
KEEPS_SMILE = ("AU06", "AU25", "AU05")
KEEPS_JAW = ("AU25", "AU05", "AU06")


def fit_scales(photo_mesh, photo_shapes, clip_mesh, clip_shapes, clip_id) -> dict[str, dict[str, float]]:
    """Meshes (N, 478, 3), blendshapes (N, 52) of photos and clips, clip numbers (M,) -> MeshScale fields by AU."""
    aligned, pose = align(photo_mesh)
    clip_aligned, _ = align(clip_mesh)
    angles = np.clip(pose.angles_deg, -45, 45)
    shapes = _whole(au_estimator.blendshape_intensities(photo_shapes))
    resting = np.max([shapes[au] for au in ("AU01", "AU02", "AU12", "AU26", "AU45")], axis=0) < 0.3
    within = within_groups(clip_id)
    clip_intensities = _whole(au_estimator.blendshape_intensities(clip_shapes))
    smile_jaw = within(
        np.stack([np.clip(clip_intensities["AU12"], 0, 1), np.clip(clip_intensities["AU26"], 0, 1)], axis=1)
    )
    of_sides = au_estimator.mesh_features(aligned)
    photo_features, clip_features = _whole(of_sides), _whole(au_estimator.mesh_features(clip_aligned))
    scales = {}
    for au in au_estimator.FROM_MESH:
        pitch, yaw = angles[resting, 0], angles[resting, 1]
        design = np.stack([pitch, pitch**2, yaw**2, np.ones_like(pitch)], axis=1)
        coefficients = np.linalg.lstsq(design, photo_features[au][resting], rcond=None)[0]
        smile, jaw = np.linalg.lstsq(smile_jaw, within(clip_features[au][:, None])[:, 0], rcond=None)[0]
        smile = 0.0 if au in KEEPS_SMILE else smile
        jaw = 0.0 if au in KEEPS_JAW else jaw
        scale = au_estimator.MeshScale(*coefficients[:3].tolist(), float(smile), float(jaw), 0.0, 1.0)
        freed = photo_features[au] - au_estimator.explained(
            scale, angles, np.clip(shapes["AU12"], 0, 1), np.clip(shapes["AU26"], 0, 1)
        )
        rest = np.percentile(freed[resting], REST_PERCENTILE)
        full = np.percentile(freed, FULL_PERCENTILE)
        values = {
            "pitch": coefficients[0],
            "pitch2": coefficients[1],
            "yaw2": coefficients[2],
            "smile": smile,
            "jaw": jaw,
        }
        values |= {"rest": rest, "full": full}
        if au in SIDED:
            right, left = (of_sides[name][resting] for name in sides(au))
            values["yaw"] = np.polyfit(yaw, (right - left) / 2, 1)[0]
        scales[au] = {name: float(f"{value:.5g}") for name, value in values.items()}
    return scales


def _whole(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values by AU or by side -> by AU alone: the means of the sides."""
    return {au: np.mean([values[name] for name in sides(au)], axis=0) for au in wholes(list(values))}
