"""How dark the driver's face is: the sensor's noise, which disturbs the tracker, relative to the light."""

import numpy as np

from engines.face.landmarks import Face
from realtime.timing import ema_weight

SAMPLES = 4000  # pixels looked at: enough for a stable figure, few enough to cost nothing
SMOOTH_SHARE = 0.7  # of them, the smoothest: skin; the rest has lashes and edges in it
AVERAGE_S = 0.5  # over which it is averaged: light changes slowly


class LightingMonitor:
    """Measures darkness over time: 0 without noise, 1 where the noise is as strong as the picture."""

    def __init__(self) -> None:
        self.darkness: float = 0.0
        self._time_s: float | None = None

    def measure(self, image: np.ndarray, face: Face, time_s: float) -> float:
        """Returns the darkness of the face, averaged over half a second.

        Args:
            image: (H, W, 3) uint8 BGR.
            face: the face in it.
            time_s: when it was captured.
        """
        weight = 1.0 if self._time_s is None else ema_weight(time_s - self._time_s, AVERAGE_S)
        self.darkness += weight * (darkness(image, face) - self.darkness)
        self._time_s = time_s
        return self.darkness


def darkness(image: np.ndarray, face: Face) -> float:
    """Noise over light in the middle of a face.

    The mean absolute second difference of green along the rows, over the mean of green.

    Args:
        image: (H, W, 3) uint8 BGR.
        face: the face in it.

    Returns: 0 or more; 0 where too little of the face is inside the picture.
    """
    left, top, right, bottom = face.box_px
    height, width = image.shape[:2]
    inset_x = (right - left) / 5
    inset_y = (bottom - top) / 5
    rows = slice(max(0, int(top + inset_y)), min(height, int(bottom - inset_y)))
    columns = slice(max(0, int(left + inset_x)), min(width, int(right - inset_x)))
    count = max(0, rows.stop - rows.start) * max(0, columns.stop - columns.start)
    step = max(1, round(count / SAMPLES))
    green = image[rows, columns, 1][::step].astype(np.int16)
    if green.shape[0] < 1 or green.shape[1] < 8:
        return 0.0
    differences = np.abs(green[:, :-2] - 2 * green[:, 1:-1] + green[:, 2:]).ravel()
    smooth = int(SMOOTH_SHARE * differences.size)
    return float(np.partition(differences, smooth)[:smooth].mean() / (1 + green.mean()))
