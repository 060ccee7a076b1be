"""The one row of teeth that puppets show where their photo has none: a picture, and what a place in it means.

Training targets are drawn with it (train/synthesis/mouths.py), and the compact generator keeps it as a
constant that it lays into mouths (train/networks/compact.py): teeth that a network paints from memory are a
white band; teeth that it only has to place are sharp.

teeth.png: the upper teeth of the right half of a synthetic face (seed 291), cut out and mirrored; BGR and
alpha.
"""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

# Outer eye distances, in the picture as `teeth` gives it; crops show a unit on about 100 px
PX_PER_UNIT = 200.0
EDGE_PX = (55.0, 35.0)  # x of the midline, y of the incisors' edge


@lru_cache(maxsize=1)
def teeth() -> np.ndarray:
    """(h, w, 4) float32: BGR 0..255 times alpha, and alpha 0..1; with a clear border."""
    path = Path(__file__).with_name("teeth.png")
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if read is None:
        raise FileNotFoundError(path)
    stored = read.astype(np.float32)
    alpha = stored[..., 3:] / 255
    half = cv2.resize(
        np.concatenate([stored[..., :3] * alpha, alpha], axis=-1),
        None,
        fx=0.5,
        fy=0.5,
        interpolation=cv2.INTER_AREA,
    )
    half[[0, -1]] = 0
    half[:, [0, -1]] = 0
    half.setflags(write=False)
    return half


def places(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in the row of teeth -> x and y pixels of `teeth`, float32.

    Args:
        units: (..., 2) right of the midline and below the incisors' edge, outer eye distances.
    """
    x, y = ((units[..., axis] * PX_PER_UNIT + EDGE_PX[axis]).astype(np.float32) for axis in (0, 1))
    return x, y
