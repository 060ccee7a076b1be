"""Performances made of others: a part of one, faster or slower, looped; several at once, each for some AUs.

How they are written after --driver is driver_spec.py's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from engines.face.action_units import EXPRESSION, sides
from realtime.messages import DriverExpression
from realtime.performance.curve import Performance

CROSSFADE_S = 0.3  # where a loop starts again: an expression's own pace
MAX_CROSSFADE = 0.25  # of a loop
# Largest difference of an AU between end and beginning that needs no crossfade: the puppet does not visibly
# react to less.
SEAMLESS = 0.02


@dataclass(frozen=True)
class Excerpt:
    """A performance from start_s to end_s, `speed` times as fast, once or for ever."""

    whole: Performance
    start_s: float = 0.0
    end_s: float = float("inf")  # or where the whole ends
    speed: float = 1.0
    loop: bool = False
    # A loop's crossfade; by default CROSSFADE_S, and none where the end meets the beginning.
    seam_s: float | None = None
    note = ""

    @property
    def duration_s(self) -> float:
        """As Performance's."""
        return float("inf") if self.loop else self.once_s

    @cached_property
    def once_s(self) -> float:
        """How long it takes once."""
        return (min(self.end_s, self.whole.duration_s) - self.start_s) / self.speed

    @cached_property
    def fade_s(self) -> float:
        """The crossfade; a turn of the loop is shorter by it."""
        if self.seam_s is None:
            difference = np.abs(self._once(0.0) - self._once(self.once_s)).max()
            wanted_s = 0.0 if difference <= SEAMLESS else CROSSFADE_S
        else:
            wanted_s = self.seam_s
        return min(wanted_s, MAX_CROSSFADE * self.once_s)

    def at(self, time_s: float) -> np.ndarray:
        """As Performance's; at speed 1 and from the start, the values of the whole bit for bit."""
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
    """The same for ever: one that ends is looped without a jump. For live runs."""
    return performance if np.isinf(performance.duration_s) else Excerpt(performance, loop=True)


@dataclass(frozen=True, eq=False)
class Layer:
    """A performance for some AUs."""

    performance: Performance
    au_mask: np.ndarray  # (41,) bool, in the order of EXPRESSION


def layer(performance: Performance, aus: Iterable[str]) -> Layer:
    """A performance for the AUs of these names, whole or by side."""
    named = {side for au in aus for side in sides(au)}
    return Layer(performance, np.array([au in named for au in EXPRESSION]))


@dataclass(frozen=True)
class Mix:
    """Several performances at once: the last one that has an AU sets it.

    AUs that none has stay at 0; what has ended is held.
    """

    layers: Sequence[Layer]
    note = ""

    @cached_property
    def duration_s(self) -> float:
        """Of the longest that ends; infinite where none does."""
        durations_s = [each.performance.duration_s for each in self.layers]
        return max(filter(np.isfinite, durations_s), default=float("inf"))

    def at(self, time_s: float) -> np.ndarray:
        """As Performance's."""
        return _overlaid(np.zeros(len(EXPRESSION), np.float32), self.layers, time_s)


class Overlay:
    """Performances over the expressions of a camera or clip; they begin with its first expression."""

    def __init__(self, layers: Sequence[Layer]):
        self.layers = layers
        self._first_s: float | None = None

    def __call__(self, driver: DriverExpression) -> DriverExpression:
        """A new expression. `seen` is not changed, so the puppet rests when the driver is out of view."""
        self._first_s = driver.captured_s if self._first_s is None else self._first_s
        time_s = driver.captured_s - self._first_s
        return replace(driver, expression=_overlaid(driver.expression.copy(), self.layers, time_s))


def _overlaid(expression: np.ndarray, layers: Sequence[Layer], time_s: float) -> np.ndarray:
    for each in layers:
        np.copyto(expression, each.performance.at(time_s), where=each.au_mask)
    return expression
