"""AU curves: a performance as a plain CSV, read, interpolated and written.

    time_s,AU12,AU25,AU45L
    0.0,0,0,0
    0.5,0.8,0.3,1

One row a moment, seconds rising; the first row is the beginning, whatever its time. Any AUs in any order, those not named stay at 0. AU45
moves both sides of the face, AU45L and AU45R the person's left or right alone; an AU is named whole or by its sides, never both. A
value is how far the puppet is asked to go from the photo's own expression: 0 leaves it, 1 is full, and below 0 (to -1) it goes the
other way: brows that are lower than at rest. Between rows values are joined by monotone cubics, which never overshoot; before the first
row and after the last that row is held. Spreadsheets may save it with semicolons or tabs in place of commas, and with decimal commas.

What is recorded is what the puppet was told, to the last bit: `curve.at(t)` gives the same (41,) float32 for each t at which a row was
recorded, counted from the first, and for each t as it is written (times are rounded to a microsecond, values are not). So a replay
at the rate at which it was recorded gives the same pictures. JSON is keyframes.py's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from engines.face.action_units import MEANING, SIDED, sides, translate
from engines.face.au_estimator import ESTIMATED
from realtime.performance.interpolation import Segments, monotone

TIME = "time_s"
CSV_SUFFIX, JSON_SUFFIX = ".csv", ".json"
LONGEST_S = 6 * 3600.0  # longer ones are milliseconds by mistake
KNOWN = f"known are {' '.join(au for au in MEANING if au[-1].isdigit())}, and with R or L for one side {' '.join(SIDED)}"


@runtime_checkable
class Performance(Protocol):
    """Something that tells the puppet what to do at every moment: a curve, a part of one, several of them."""

    @property
    def duration_s(self) -> float:
        """Infinite for one that is repeated for ever."""
        ...

    @property
    def note(self) -> str:
        """As DriverExpression's."""
        ...

    def at(self, time_s: float) -> np.ndarray:
        """(41,) float32 in the order of ESTIMATED, a new array, at a moment counted from the beginning."""
        ...


@dataclass(frozen=True, eq=False)
class Curve:
    """A performance by knots."""

    aus: tuple[str, ...]
    times_s: np.ndarray  # (T,) float64, rising, from 0
    values: np.ndarray  # (T, len(aus)) float32, -1..1
    way: Segments | None = None  # between the knots; monotone cubics where it is not given
    note = ""  # nothing goes wrong with a curve

    @property
    def duration_s(self) -> float:
        return float(self.times_s[-1])

    def at(self, time_s: float) -> np.ndarray:
        """(41,) float32 in the order of ESTIMATED at a moment; before the first knot and after the last, that knot."""
        return translate(self._way.at(time_s), self.aus, ESTIMATED)

    @cached_property
    def _way(self) -> Segments:
        return self.way or monotone(self.times_s, self.values)


def fault_of_name(name: str, others: Sequence[str]) -> str:
    """What is wrong with naming an AU beside others; "" where nothing is."""
    if name not in MEANING:
        return f"{name!r} is not a known AU; {KNOWN}"
    if name in others:
        return f"{name} is named twice; keep one of them"
    for other in others:
        if name in sides(other) or other in sides(name):
            whole = min(name, other, key=len)
            return f"{name} stands beside {other}, but {whole} is both sides; name either {whole}, or {' and '.join(sides(whole))}"
    return ""
