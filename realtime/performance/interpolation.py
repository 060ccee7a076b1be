"""Interpolation between the knots of a curve: cubics that keep each knot bit for bit and never overshoot.

Slopes are Fritsch and Butland's ("A method for constructing local monotone piecewise cubic interpolants",
1984), as in SciPy's PCHIP, but for the two ends: a performance is held before its first knot and after its
last, so its slope is 0 there.
"""

from dataclasses import dataclass

import numpy as np

TICK_S = 1e-6  # resolution of written times; so a time within half of it is the knot's own
SAME_S = 0.6 * TICK_S  # half a tick, and what sums of seconds lose


@dataclass(frozen=True, eq=False)
class Segments:
    """Cubics for N values between T knots."""

    times_s: np.ndarray  # (T,) float64, rising
    values: np.ndarray  # (T, N) float32
    ends: (
        np.ndarray
    )  # (T - 1, N) values at a segment's end: the next knot's, or another one where it jumps there
    start_slopes: np.ndarray  # (T - 1, N) slopes per second at a segment's beginning ...
    end_slopes: np.ndarray  # (T - 1, N) ... and end

    def at(self, time_s: float) -> np.ndarray:
        """(N,) float32, a new array; before the first knot and after the last, that knot's values."""
        knot = max(0, int(self.times_s.searchsorted(time_s + SAME_S, "right")) - 1)
        passed_s = time_s - self.times_s[knot]
        if passed_s <= SAME_S or knot == len(self.times_s) - 1:
            return self.values[knot].copy()
        length_s = self.times_s[knot + 1] - self.times_s[knot]
        x = passed_s / length_s
        start = self.values[knot]
        end = self.ends[knot]
        # Hermite's basis.
        blend = x * x * (3 - 2 * x)
        rise = (x * (1 - x) * (1 - x) * length_s) * self.start_slopes[knot] - (
            x * x * (1 - x) * length_s
        ) * self.end_slopes[knot]
        value = start + blend * (end.astype(np.float64) - start) + rise
        # Rounding may not overshoot.
        low = np.minimum(start, end)
        high = np.maximum(start, end)
        return np.minimum(np.maximum(value, low), high).astype(np.float32)


def monotone(times_s: np.ndarray, values: np.ndarray) -> Segments:
    """The smooth interpolation of (T, N) float32 values at (T,) rising seconds."""
    slope = slopes(times_s, values)
    return Segments(times_s, values, values[1:], slope[:-1], slope[1:])


def slopes(times_s: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(T, N) float32 slopes per second at the knots; 0 at both ends and wherever values turn or rest."""
    found = np.zeros(values.shape, np.float32)
    step = np.diff(times_s)
    before = step[:-1]
    after = step[1:]
    for column in range(
        values.shape[1]
    ):  # one at a time: the intermediates of hours of 29 AUs would fill the memory
        secant = np.diff(values[:, column].astype(np.float64)) / step
        same_sign = secant[:-1] * secant[1:] > 0
        first, second = (np.where(same_sign, side, 1.0) for side in (secant[:-1], secant[1:]))
        weighted = (2 * after + before) / first + (after + 2 * before) / second
        found[1:-1, column] = np.where(same_sign, 3 * (before + after) / weighted, 0)
    return found
