"""Performances: the AUs that drive the puppet at every moment, without a camera; and Curve, which
interpolates between knots.

A value is how far the puppet goes from the photo's own expression: 0 leaves it, 1 is full strength, and below
0 (to -1) it goes the other way: brows that are lower than at rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from engines.face.action_units import EXPRESSION, MEANING, SIDED, sides, translate
from realtime.performance.interpolation import Segments, monotone

TIME = "time_s"
CSV_SUFFIX, JSON_SUFFIX = ".csv", ".json"
MAX_DURATION_S = 6 * 3600.0  # longer ones are milliseconds by mistake
_WHOLE_AUS = " ".join(au for au in MEANING if au[-1].isdigit())
KNOWN_AUS = f"known are {_WHOLE_AUS}, and with R or L for one side {' '.join(SIDED)}"  # a clause of messages


@runtime_checkable
class Performance(Protocol):
    """The driver's expression at every moment: a curve, a part of one, several of them."""

    @property
    def duration_s(self) -> float:
        """Infinite for one that is repeated for ever."""
        ...

    @property
    def note(self) -> str:
        """As DriverExpression's."""
        ...

    def at(self, time_s: float) -> np.ndarray:
        """(41,) float32 in the order of EXPRESSION, -1 to 1, a new array, time_s after the beginning."""
        ...


@dataclass(frozen=True, eq=False)
class Curve:
    """A performance by knots."""

    aus: tuple[str, ...]
    times_s: np.ndarray  # (T,) float64, rising, from 0
    values: np.ndarray  # (T, len(aus)) float32, -1 to 1
    segments: Segments | None = None  # between the knots; monotone cubics by default
    note = ""  # nothing can go wrong with a curve

    @property
    def duration_s(self) -> float:
        return float(self.times_s[-1])

    def at(self, time_s: float) -> np.ndarray:
        """As Performance's; before the first knot and after the last, that knot's values."""
        return translate(self._interpolation.at(time_s), self.aus, EXPRESSION)

    @cached_property
    def _interpolation(self) -> Segments:
        return self.segments or monotone(self.times_s, self.values)


def fault_of_name(name: str, others: Sequence[str]) -> str:
    """What is wrong with naming an AU beside others, as a clause of a message; "" for nothing."""
    if name not in MEANING:
        return f"{name!r} is not a known AU; {KNOWN_AUS}"
    if name in others:
        return f"{name} is named twice; keep one of them"
    for other in others:
        if name in sides(other) or other in sides(name):
            whole = min(name, other, key=len)
            both = " and ".join(sides(whole))
            return f"{name} stands beside {other}, but {whole} is both sides; name either {whole}, or {both}"
    return ""
