"""Performances made of others: a part of one, faster or slower, repeated without a seam; several at once, each for its AUs; over a camera.

Each is a Performance again. Knows nothing of files or of how a mix is written: that is cast.py's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from engines.face.action_units import sides
from engines.face.au_estimator import ESTIMATED
from realtime.messages import DriverExpression
from realtime.performance.curve import Performance

SEAM_S = 0.3  # of crossfade where a loop begins anew: an expression's own pace
MOST_SEAM = 0.25  # of a loop
MEETS = 0.02  # largest difference of an AU between end and beginning that needs no crossfade: below what the puppet answers to


@dataclass(frozen=True)
class Excerpt:
    """A performance from start_s to end_s, `speed` times as fast, once or for ever."""

    whole: Performance
    start_s: float = 0.0
    end_s: float = float("inf")  # or where the whole ends
    speed: float = 1.0
    loop: bool = False
    seam_s: float | None = (
        None  # a loop's crossfade; by default SEAM_S, and none where the end meets the beginning by itself
    )
    note = ""

    @property
    def duration_s(self) -> float:
        return float("inf") if self.loop else self.once_s

    @cached_property
    def once_s(self) -> float:
        """How long it takes once."""
        return (min(self.end_s, self.whole.duration_s) - self.start_s) / self.speed

    @cached_property
    def fade_s(self) -> float:
        """The crossfade; a turn of the loop is shorter by it."""
        if self.seam_s is None:
            meet = np.abs(self._once(0.0) - self._once(self.once_s)).max() <= MEETS
            wanted_s = 0.0 if meet else SEAM_S
        else:
            wanted_s = self.seam_s
        return min(wanted_s, MOST_SEAM * self.once_s)

    def at(self, time_s: float) -> np.ndarray:
        """(41,) float32; at speed 1 and from the start, the very values of the whole."""
        if not self.loop or time_s <= 0:
            return self._once(time_s)
        turn_s = self.once_s - self.fade_s
        if turn_s <= 0:
            return self._once(0.0)
        turn, passed_s = divmod(time_s, turn_s)
        now = self._once(passed_s)
        if turn == 0 or passed_s >= self.fade_s:
            return now
        x = passed_s / self.fade_s
        return now + np.float32((1 - x) ** 2 * (1 + 2 * x)) * (self._once(turn_s + passed_s) - now)

    def _once(self, time_s: float) -> np.ndarray:
        return self.whole.at(self.start_s + min(max(time_s, 0.0), self.once_s) * self.speed)


def endless(performance: Performance) -> Performance:
    """The same for ever: what does not repeat itself begins anew, without a jump. For live runs."""
    return performance if np.isinf(performance.duration_s) else Excerpt(performance, loop=True)


@dataclass(frozen=True, eq=False)
class Layer:
    """A performance for some AUs."""

    performance: Performance
    heard: np.ndarray  # (41,) bool, in the order of ESTIMATED


def layer(performance: Performance, aus: Iterable[str]) -> Layer:
    """aus: names, whole or by side."""
    named = {side for au in aus for side in sides(au)}
    return Layer(performance, np.array([au in named for au in ESTIMATED]))


@dataclass(frozen=True)
class Mix:
    """Several performances at once: later ones win for their AUs. What none is heard for stays at 0; what is over is held."""

    layers: Sequence[Layer]
    note = ""

    @cached_property
    def duration_s(self) -> float:
        """Of the longest that ends; infinite where none does."""
        ending = [
            one.performance.duration_s for one in self.layers if np.isfinite(one.performance.duration_s)
        ]
        return max(ending, default=float("inf"))

    def at(self, time_s: float) -> np.ndarray:
        return _laid_over(np.zeros(len(ESTIMATED), np.float32), self.layers, time_s)


class Overlay:
    """Performances over what a camera or a clip tells: call it with each word of that driver. Its first word is their beginning."""

    def __init__(self, layers: Sequence[Layer]):
        self.layers = layers
        self._first_s: float | None = None

    def __call__(self, told: DriverExpression) -> DriverExpression:
        """A new word; whether the driver is seen is not changed, so the puppet rests when he leaves."""
        self._first_s = told.captured_s if self._first_s is None else self._first_s
        return replace(
            told, expression=_laid_over(told.expression.copy(), self.layers, told.captured_s - self._first_s)
        )


def _laid_over(expression: np.ndarray, layers: Sequence[Layer], time_s: float) -> np.ndarray:
    for one in layers:
        np.copyto(expression, one.performance.at(time_s), where=one.heard)
    return expression
