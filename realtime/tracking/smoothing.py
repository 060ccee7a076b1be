"""One-Euro filter by elapsed time: still when the face is still, quick when it moves. And a way back from what was not to be believed.

Source: Casiez, Roussel, Vogel, "1 € Filter", CHI 2012. Frames do not come evenly, so every step uses the seconds that
passed, not a frame rate.
"""

import math
from collections import deque

import numpy as np

MIN_CUTOFF_HZ = 1.7  # at rest; 1.0 lags visibly behind speech, 3.0 lets the tracker's tremble through
SPEED_GAIN = (
    2.5  # cutoff per unit of AU a second: a 0.15 s blink (speed ~7) passes at 19 Hz, nearly unfiltered
)
SPEED_CUTOFF_HZ = 3.0
LONGEST_STEP_S = 0.5  # after a longer gap the past says nothing
# What is left of both when all calm is asked for (a dark room, a mesh that begins to slip): the tremble of a still driver in the dark
# shrinks to a third from picture to picture, and a smile takes a fifth of a second longer.
CALM_CUTOFF, CALM_GAIN = 0.4, 0.05

DECEIVED_S = 0.15  # a hand bends the mesh for so long before it is found out: two to four pictures
UNDO_S = 0.1  # to go back to what was shown before that: no jump, and too short to be seen as an expression


class OneEuro:
    """Filters a vector, each component by its own speed."""

    def __init__(self, min_cutoff_hz: float = MIN_CUTOFF_HZ, speed_gain: float = SPEED_GAIN):
        self._min_cutoff_hz, self._speed_gain = min_cutoff_hz, speed_gain
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None
        self._time_s = 0.0

    def __call__(self, value: np.ndarray, time_s: float, calm: float = 0.0) -> np.ndarray:
        """(N,) at time_s -> (N,) float32, smoothed; calm: 0..1. Time must not run backwards; a gap of over 0.5 s starts afresh."""
        value = np.asarray(value, np.float32)
        elapsed_s = time_s - self._time_s
        if self._value is None or elapsed_s > LONGEST_STEP_S:
            self._value, self._speed = value, np.zeros_like(value)
        elif elapsed_s > 0:
            speed = (value - self._value) / elapsed_s
            self._speed = self._speed + _share(elapsed_s, SPEED_CUTOFF_HZ) * (speed - self._speed)
            cutoff_hz = self._min_cutoff_hz * (1 - calm * (1 - CALM_CUTOFF)) + self._speed_gain * (
                1 - calm * (1 - CALM_GAIN)
            ) * np.abs(self._speed)
            self._value = (self._value + _share(elapsed_s, cutoff_hz) * (value - self._value)).astype(
                np.float32
            )
        self._time_s = time_s
        return self._value

    def start_from(self, value: np.ndarray, time_s: float) -> None:
        """Goes on from a value at time_s, as if it had been there at rest."""
        self._value, self._speed, self._time_s = value, np.zeros_like(value), time_s


class OcclusionRollback:
    """Keeps what was shown lately, and leads back to what was shown before a face deceived the tracker."""

    def __init__(self) -> None:
        self._shown: deque[tuple[float, np.ndarray]] = deque()
        self._from: tuple[float, np.ndarray] | None = None

    def keep(self, shown: np.ndarray, time_s: float) -> None:
        """What was believed and shown at time_s."""
        self._from = None
        self._shown.append((time_s, shown))
        while len(self._shown) > 1 and self._shown[1][0] <= time_s - DECEIVED_S:
            self._shown.popleft()

    def back(self, time_s: float) -> tuple[np.ndarray, bool] | None:
        """What to show at time_s, now that the face is not believed, and whether that is still under way; None when nothing was shown yet."""
        if not self._shown:
            return None
        if self._from is None:
            self._from = self._shown[-1]
        began_s, last = self._from
        share = min(1.0, (time_s - began_s) / UNDO_S)
        return (last + share * (self._shown[0][1] - last)).astype(np.float32), share < 1


def _share(elapsed_s: float, cutoff_hz: float | np.ndarray) -> float | np.ndarray:
    """How much of a step a low-pass filter follows in elapsed_s."""
    r = 2 * math.pi * np.asarray(cutoff_hz) * elapsed_s
    return r / (r + 1)
