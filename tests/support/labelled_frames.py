"""Frames of drivers that were labelled by eye (driver_labels.json), with their recorded landmarks
(driver_frames.npz).

Labels and landmarks are independent of each other: nobody looked at an estimator's answer to label a frame.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from engines.face import au_estimator
from engines.face.landmarks import Face

_DATA = Path(__file__).parents[1] / "data"

MESH_UNIT = 8000.0  # of the stored integers in an outer eye distance
BLENDSHAPE_UNIT = 60000.0


@dataclass(frozen=True)
class LabelledFrame:
    """One frame: what a person saw in it, and what the estimator reads."""

    clip: str
    number: int
    label: dict | None  # None: recorded as a part of a sequence, not labelled
    face: Face
    reading: np.ndarray  # (41,)


@cache
def labelled_frames() -> tuple[LabelledFrame, ...]:
    """All of them, by clip and number."""
    labels = {
        (clip, row["frame"]): row
        for clip, rows in json.loads((_DATA / "driver_labels.json").read_text())["clips"].items()
        for row in rows
    }
    frames = []
    with np.load(_DATA / "driver_frames.npz") as stored:
        columns = (stored[name] for name in ("clip", "frame", "mesh", "blendshapes", "scale_px"))
        for clip, number, mesh, blendshapes, scale_px in zip(*columns, strict=True):
            mesh_px = (mesh / MESH_UNIT * scale_px).astype(np.float32)
            face = Face(mesh_px[:, :2], mesh_px[:, 2], (blendshapes / BLENDSHAPE_UNIT).astype(np.float32))
            key = str(stored["clips"][clip]), int(number)
            frames.append(LabelledFrame(*key, labels.get(key), face, au_estimator.read(face)))
    return tuple(frames)


def chosen(condition: Callable[[dict], bool]) -> list[LabelledFrame]:
    """The frames whose label fulfils a condition."""
    return [frame for frame in labelled_frames() if frame.label is not None and condition(frame.label)]


def separation(
    score: Callable[[LabelledFrame], float], more: list[LabelledFrame], less: list[LabelledFrame]
) -> float:
    """Share of pairs of one clip in which the first scores higher (the area under the ROC curve, within
    people).
    """
    wins = [
        (score(one) > score(other)) + (score(one) == score(other)) / 2
        for one in more
        for other in less
        if one.clip == other.clip
    ]
    return float(np.mean(wins))
