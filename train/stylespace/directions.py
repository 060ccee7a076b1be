"""Where in StyleSpace expressions lie: `directions.npz`, which ships beside this file.

Each edit is a vector over the channels of all 23 styles, in the order that graph.py leaves them in; strength
1.0 is the full expression on most faces. They were found by gradients through the generator and networks that
read faces (MediaPipe's landmarks and blendshapes, MobileFaceNet), at 16 people (mouths that open: 22): of the
Jacobian of 19 AUs, head pose, gaze, identity, ten distances of the mesh, and the brightness and contrast of
patches of skin, hair and background, the wanted rows move and the others are held at 0 (ridge .02), within
styles s3-s13 for mouths, s7-s14 for eyes, s4-s12 for brows. Turns of the head are a regression in w.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Directions:
    """Edits of styles by name, and turns of the head."""

    edits: dict[str, np.ndarray]  # name -> (C,) float32
    pitch: np.ndarray  # (512,) float32, added to w for a degree downwards
    yaw: np.ndarray  # (512,) float32, added to w for a degree


@lru_cache(maxsize=1)
def load_directions() -> Directions:
    """The directions that ship with this package."""
    with np.load(Path(__file__).with_name("directions.npz")) as stored:
        edits = {name.removeprefix("edit_"): stored[name].astype(np.float32) for name in stored.files}
    pitch, yaw = edits.pop("pitch"), edits.pop("yaw")
    return Directions(edits, pitch, yaw)
