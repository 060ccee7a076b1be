"""Between the knots of a curve: cubics that keep each knot bit for bit, never overshoot, and come to rest at both ends.

Slopes are Fritsch and Butland's ("A method for constructing local monotone piecewise cubic interpolants", 1984), as in SciPy's
PCHIP, but for the two ends: a performance is held before its first row and after its last, so it leaves and arrives at rest.
Knows nothing of AUs or files.
"""

from dataclasses import dataclass

import numpy as np

TICK_S = 1e-6  # times are written to this; so a moment within half of it is the knot's own
SAME_S = 0.6 * TICK_S  # half a tick, and what sums of seconds lose


@dataclass(frozen=True, eq=False)
class Segments:
    """N values from each of T knots to the next."""

    times_s: np.ndarray  # (T,) float64, rising
    values: np.ndarray  # (T, N) float32
    ends: (
        np.ndarray
    )  # (T - 1, N) what a segment comes to: the next knot's value, or another one where it jumps there
    leaving: np.ndarray  # (T - 1, N) slopes a second at a segment's beginning ...
    arriving: np.ndarray  # (T - 1, N) ... and end

    def at(self, time_s: float) -> np.ndarray:
        """(N,) float32 at a moment; before the first knot and after the last, that knot. A new array."""
        knot = max(0, int(self.times_s.searchsorted(time_s + SAME_S, "right")) - 1)
        passed_s = time_s - self.times_s[knot]
        if passed_s <= SAME_S or knot == len(self.times_s) - 1:
            return self.values[knot].copy()
        length_s = self.times_s[knot + 1] - self.times_s[knot]
        x = passed_s / length_s
        start, end = self.values[knot], self.ends[knot]
        came = x * x * (3 - 2 * x)  # Hermite's basis
        rise = (x * (1 - x) * (1 - x) * length_s) * self.leaving[knot] - (
            x * x * (1 - x) * length_s
        ) * self.arriving[knot]
        value = start + came * (end.astype(np.float64) - start) + rise
        return np.minimum(np.maximum(value, np.minimum(start, end)), np.maximum(start, end)).astype(
            np.float32
        )  # rounding may not overshoot


def monotone(times_s: np.ndarray, values: np.ndarray) -> Segments:
    """(T,) rising seconds and (T, N) float32 values -> the smooth way through them."""
    slope = slopes(times_s, values)
    return Segments(times_s, values, values[1:], slope[:-1], slope[1:])


def slopes(times_s: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(T, N) float32: slopes a second at the knots; 0 at both ends and wherever values turn or rest."""
    found = np.zeros(values.shape, np.float32)
    step = np.diff(times_s)
    before, after = step[:-1], step[1:]
    for column in range(
        values.shape[1]
    ):  # one at a time: hours of 29 AUs would fill the memory with what is in between
        secant = np.diff(values[:, column].astype(np.float64)) / step
        same_way = secant[:-1] * secant[1:] > 0
        first, second = (np.where(same_way, side, 1.0) for side in (secant[:-1], secant[1:]))
        weighted = (2 * after + before) / first + (after + 2 * before) / second
        found[1:-1, column] = np.where(same_way, 3 * (before + after) / weighted, 0)
    return found
