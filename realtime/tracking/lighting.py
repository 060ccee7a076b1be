"""How dark the driver's face is, as the tracker feels it: the sensor's noise beside the light that is left."""

import numpy as np

from engines.face.landmarks import Face

SAMPLES = 4000  # pixels looked at: enough for a figure that stands still, few enough to cost nothing
PLAIN_SHARE = 0.7  # of them, the smoothest: skin; the rest has lashes and edges in it
FAST_S = 0.5  # over which it is averaged: light changes slowly


class LightingMonitor:
    """Measures darkness through time: 0 where there is no noise, 1 where the noise is as strong as the picture."""

    def __init__(self) -> None:
        self.darkness: float = 0.0
        self._time_s: float | None = None

    def measure(self, image: np.ndarray, face: Face, time_s: float) -> float:
        """The darkness of the face in a (H, W, 3) uint8 BGR picture, averaged over half a second."""
        now = darkness(image, face)
        share = 1.0 if self._time_s is None else 1 - float(np.exp(-max(0.0, time_s - self._time_s) / FAST_S))
        self.darkness += share * (now - self.darkness)
        self._time_s = time_s
        return self.darkness


def darkness(image: np.ndarray, face: Face) -> float:
    """Noise over light in the middle of a face: mean absolute second difference along the rows, of green, over its mean."""
    left, top, right, bottom = face.box_px
    height, width = image.shape[:2]
    inset_x, inset_y = (right - left) / 5, (bottom - top) / 5
    rows = slice(max(0, int(top + inset_y)), min(height, int(bottom - inset_y)))
    columns = slice(max(0, int(left + inset_x)), min(width, int(right - inset_x)))
    count = max(0, rows.stop - rows.start) * max(0, columns.stop - columns.start)
    step = max(1, round(count / SAMPLES))
    green = image[rows, columns, 1][::step].astype(np.int16)
    if green.shape[0] < 1 or green.shape[1] < 8:
        return 0.0
    rough = np.abs(green[:, :-2] - 2 * green[:, 1:-1] + green[:, 2:]).ravel()
    plain = int(PLAIN_SHARE * rough.size)
    return float(np.partition(rough, plain)[:plain].mean() / (1 + green.mean()))
