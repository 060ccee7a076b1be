"""Fits how the AU estimator reads lids and brows, and what resting faces read (engines/face/expression.json).

From photos alone: what pose and gaze do to resting faces by least squares, where rest and full lie by
percentiles. Knows nothing of pictures: landmarks in, numbers out.
"""

import numpy as np

from engines.face import au_estimator
from engines.face.action_units import SIDED, WIDE, sides, whole
from engines.face.mesh import align
from train.estimator.fit_scales import (
    CALM,
    FULL_PERCENTILE,
    REST_PERCENTILE,
    pose_coefficients,
    resting_photos,
    whole_features,
)

# Shut eyes that were labelled by eye (tests/data/driver_labels.json) read 0.03 to 0.15 of an eye width, half
# of them less than 0.08: the mesh keeps a gap between lids that touch. Half-open ones begin at 0.12.
SHUT = 0.10
MOST_YAW_DEG = 25.0  # beyond, the far eye is a guess
PRIOR_PERCENTILE = 90.0


def fit_brows(mesh: np.ndarray, shapes: np.ndarray) -> dict[str, dict[str, float]]:
    """Meshes (N, 478, 3) and blendshapes (N, 52) of photos -> MeshScale fields of the mesh's part in each
    brow AU."""
    aligned, pose = align(mesh)
    angles = np.clip(pose.angles_deg, -45, 45)
    # Brows themselves must not decide which faces rest, or half of their range would count as none.
    resting = resting_photos(shapes, [au for au in CALM if au not in au_estimator.BROW_BLENDSHAPES])
    of_sides = au_estimator.brow_features(aligned)
    scales = {}
    for au, features in whole_features(of_sides).items():
        slopes = dict(
            zip(
                ("pitch", "pitch2", "yaw2"),
                pose_coefficients(features[resting], angles[resting]),
                strict=True,
            )
        )
        scale = au_estimator.MeshScale(**slopes, smile=0.0, jaw=0.0, rest=0.0, full=1.0)
        freed = features - au_estimator.explained(scale, angles, np.zeros(len(mesh)), np.zeros(len(mesh)))
        values = slopes | {"smile": 0.0, "jaw": 0.0}
        values["rest"] = np.percentile(freed[resting], REST_PERCENTILE)
        values["full"] = np.percentile(freed, FULL_PERCENTILE)
        if au in SIDED:
            right, left = (of_sides[name][resting] for name in sides(au))
            values["yaw"] = np.polyfit(angles[resting, 1], (right - left) / 2, 1)[0]
        scales[au] = _rounded(values)
    return scales


def fit_lids(mesh: np.ndarray, shapes: np.ndarray) -> dict[str, float]:
    """Meshes (N, 478, 3) and blendshapes (N, 52) of photos -> the fields of LidScale."""
    aligned, pose = align(mesh)
    angles = np.clip(pose.angles_deg, -45, 45)
    resting = resting_photos(shapes) & (np.abs(angles[:, 1]) < MOST_YAW_DEG)
    openings = au_estimator.lid_apertures(aligned).mean(axis=1)
    heights = au_estimator.iris_offsets(aligned)[..., 1].mean(axis=1)
    pitch, gaze = angles[:, 0], np.median(heights[resting])
    design = np.stack([heights - gaze, pitch, pitch**2, np.ones_like(pitch)], axis=1)
    follow, slope, curve, _ = np.linalg.lstsq(design[resting], openings[resting], rcond=None)[0]
    freed = openings - design[:, :3] @ (follow, slope, curve)
    return _rounded(
        {
            "shut": SHUT,
            "rest": np.median(freed[resting]),
            "full": np.percentile(freed, FULL_PERCENTILE),
            "follow": follow,
            "gaze": gaze,
            "pitch": slope,
            "pitch2": curve,
        }
    )


def fit_resting(mesh: np.ndarray, shapes: np.ndarray) -> dict[str, dict[str, float]]:
    """Meshes (N, 478, 3) and blendshapes (N, 52) of photos -> what each AU of WIDE reads on resting faces.

    "median", and "p90": a face that reads more is not at rest, where an AU rests near 0 on every face. Which
    faces rest is not decided by what is measured: brows that rest high and eyes that are narrow by nature
    are among them. Smiles and open mouths are not, since half of all photos show them.
    """
    values = np.clip(au_estimator.measure_meshes(mesh, shapes), 0, 1)
    calm = [au for au in CALM if au not in au_estimator.BROW_BLENDSHAPES]
    usual = values[resting_photos(shapes, calm)]
    any_lids = values[resting_photos(shapes, [au for au in calm if au not in au_estimator.FROM_LIDS])]
    found = {}
    for place, au in enumerate(WIDE):
        column = (any_lids if whole(au) in au_estimator.FROM_LIDS else usual)[:, place]
        found[au] = _rounded({"median": np.median(column), "p90": np.percentile(column, PRIOR_PERCENTILE)})
    return found


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.5g}") for name, value in values.items()}
