"""One-Euro filter by elapsed time, and the rollback after an occlusion.

The filter is steady when the face is still and fast when it moves.

Source: Casiez, Roussel, Vogel, "1 € Filter", CHI 2012. Frames do not come evenly, so every step uses the
seconds that passed, not a frame rate.
"""

import math
from collections import deque

import numpy as np

from engines.face.action_units import EXPRESSION, HEAD, WIDE, from_opposites, opposites

# At rest, and by how many Hz it rises with each unit of AU a second: of twelve clips eight AUs come out .15
# frames late (r with what goes in .995). With 1.7 and 2.5 it was .4 frames (.989), and a still face trembled
# a little more; with a gain of 8 it is .1, and noise of a bad camera gets through.
MIN_CUTOFF_HZ = 1.2
SPEED_GAIN = 6.0
# The same gain of the head, whose unit is 30 degrees. With 2.5 it came two frames late: r of turn, nod and
# tilt with the driver's was .97, .96 and .96 instead of .99, .98 and .98. At rest it trembles by .03 degrees
# instead of .02.
HEAD_SPEED_GAIN = 20.0
SPEED_CUTOFF_HZ = 3.0
LONGEST_STEP_S = 0.5  # after a longer gap the past is of no use
# What is left of MIN_CUTOFF_HZ and SPEED_GAIN at full extra smoothing (a dark room, a mesh that begins to
# slip): the jitter of a still driver in the dark shrinks to a third from frame to frame, and a smile takes a
# fifth of a second longer.
SMOOTHED_CUTOFF = 0.55
SMOOTHED_GAIN = 0.02

DETECTION_S = 0.15  # a hand bends the mesh for so long before it is detected: two to four frames
ROLLBACK_S = 0.1  # back to what was shown before that: no jump, and too short to be seen as an expression


class OneEuro:
    """Filters a vector, each component by its own speed."""

    def __init__(self, min_cutoff_hz: float = MIN_CUTOFF_HZ, speed_gain: float | np.ndarray = SPEED_GAIN):
        """
        Args:
            min_cutoff_hz: of the low-pass filter at rest.
            speed_gain: by how many Hz the cutoff rises with each unit a second; (N,) for a gain of each.
        """
        self._min_cutoff_hz = min_cutoff_hz
        self._speed_gain = speed_gain
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None
        self._time_s = 0.0

    def __call__(self, value: np.ndarray, time_s: float, extra_smoothing: float = 0.0) -> np.ndarray:
        """Filters the next value; a gap of more than LONGEST_STEP_S starts over.

        Args:
            value: (N,).
            time_s: when it was measured; must not run backwards.
            extra_smoothing: 0..1, how much steadier than usual.

        Returns: (N,) float32.
        """
        value = np.asarray(value, np.float32)
        elapsed_s = time_s - self._time_s
        if self._value is None or self._speed is None or elapsed_s > LONGEST_STEP_S:
            self._value = value
            self._speed = np.zeros_like(value)
        elif elapsed_s > 0:
            speed = (value - self._value) / elapsed_s
            self._speed = self._speed + _low_pass_weight(elapsed_s, SPEED_CUTOFF_HZ) * (speed - self._speed)
            min_cutoff_hz = self._min_cutoff_hz * (1 - extra_smoothing * (1 - SMOOTHED_CUTOFF))
            speed_gain = self._speed_gain * (1 - extra_smoothing * (1 - SMOOTHED_GAIN))
            cutoff_hz = min_cutoff_hz + speed_gain * np.abs(self._speed)
            filtered = self._value + _low_pass_weight(elapsed_s, cutoff_hz) * (value - self._value)
            self._value = filtered.astype(np.float32)
        self._time_s = time_s
        return self._value

    def start_from(self, value: np.ndarray, time_s: float) -> None:
        """Continues from a value (N,) at time_s, as if it had been there at rest."""
        self._value = value
        self._speed = np.zeros_like(value)
        self._time_s = time_s


class OcclusionRollback:
    """Keeps what was shown lately, and leads back to what was shown before an occlusion bent the mesh."""

    def __init__(self) -> None:
        self._shown: deque[tuple[float, np.ndarray]] = deque()
        self._from: tuple[float, np.ndarray] | None = None

    def keep(self, shown: np.ndarray, time_s: float) -> None:
        """Records what was shown (N,) of a valid face at time_s."""
        self._from = None
        self._shown.append((time_s, shown))
        while len(self._shown) > 1 and self._shown[1][0] <= time_s - DETECTION_S:
            self._shown.popleft()

    def roll_back(self, time_s: float) -> tuple[np.ndarray, bool] | None:
        """What to show at time_s while the face is not valid.

        Returns: (N,) float32, and whether the rollback is still under way; None when nothing was shown yet.
        """
        if not self._shown:
            return None
        if self._from is None:
            self._from = self._shown[-1]
        began_s, last = self._from
        share = min(1.0, (time_s - began_s) / ROLLBACK_S)
        return (last + share * (self._shown[0][1] - last)).astype(np.float32), share < 1


def signed(expression: np.ndarray) -> np.ndarray:
    """(41,) -> (35,): head and gaze as signed values, which can be smoothed through 0."""
    return np.concatenate([expression[: len(WIDE)], opposites(expression)])


def expression_filter() -> OneEuro:
    """For what `signed` returns: the head follows faster than the face."""
    gains = np.full(len(signed(np.zeros(len(EXPRESSION)))), SPEED_GAIN)
    gains[len(WIDE) : len(WIDE) + len(HEAD) // 2] = HEAD_SPEED_GAIN
    return OneEuro(speed_gain=gains)


def paired(values: np.ndarray) -> np.ndarray:
    """The way back from `signed`."""
    return np.concatenate([values[: len(WIDE)], from_opposites(values[len(WIDE) :])]).astype(np.float32)


def _low_pass_weight(elapsed_s: float, cutoff_hz: float | np.ndarray) -> np.ndarray:
    """The share of a step, 0..1, that a first-order low-pass filter follows in elapsed_s, as in the paper."""
    r = 2 * math.pi * np.asarray(cutoff_hz) * elapsed_s
    return r / (r + 1)
