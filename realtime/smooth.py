"""One-Euro filter by elapsed time: still when the face is still, quick when it moves.

Source: Casiez, Roussel, Vogel, "1 € Filter", CHI 2012. Frames do not come evenly, so every step uses the seconds that
passed, not a frame rate.
"""

import math

import numpy as np

MIN_CUTOFF_HZ = 1.7  # at rest; 1.0 lags visibly behind speech, 3.0 lets the tracker's tremble through
SPEED_GAIN = 2.5  # cutoff per unit of AU a second: a 0.15 s blink (speed ~7) passes at 19 Hz, nearly unfiltered
SPEED_CUTOFF_HZ = 3.0
LONGEST_STEP_S = 0.5  # after a longer gap the past says nothing


class OneEuro:
    """Filters a vector, each component by its own speed."""

    def __init__(self, min_cutoff_hz: float = MIN_CUTOFF_HZ, speed_gain: float = SPEED_GAIN):
        self._min_cutoff_hz, self._speed_gain = min_cutoff_hz, speed_gain
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None
        self._time_s = 0.0

    def __call__(self, value: np.ndarray, time_s: float) -> np.ndarray:
        """(N,) at time_s -> (N,) float32, smoothed. Time must not run backwards; a gap of over 0.5 s starts afresh."""
        value = np.asarray(value, np.float32)
        elapsed_s = time_s - self._time_s
        if self._value is None or elapsed_s > LONGEST_STEP_S:
            self._value, self._speed = value, np.zeros_like(value)
        elif elapsed_s > 0:
            speed = (value - self._value) / elapsed_s
            self._speed = self._speed + _share(elapsed_s, SPEED_CUTOFF_HZ) * (speed - self._speed)
            share = _share(elapsed_s, self._min_cutoff_hz + self._speed_gain * np.abs(self._speed))
            self._value = (self._value + share * (value - self._value)).astype(np.float32)
        self._time_s = time_s
        return self._value


def _share(elapsed_s: float, cutoff_hz: float | np.ndarray) -> float | np.ndarray:
    """How much of a step a low-pass filter follows in elapsed_s."""
    r = 2 * math.pi * np.asarray(cutoff_hz) * elapsed_s
    return r / (r + 1)
