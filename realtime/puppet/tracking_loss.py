"""What the puppet does while the driver's face is out of view: hold, ease to neutral, show the still photo.

Nothing else.
"""

from dataclasses import replace

import numpy as np

from engines.face.action_units import EXPRESSION, WIDE
from realtime.messages import DriverExpression

HOLD_S = 0.5  # a hand that passes, a missed detection: nobody notices
EASE_S = 0.7  # slow enough not to look like an expression, quick enough not to linger
# A tracker that takes longer for one picture is out of order, and a face held for so long looks it too
LONGEST_LATENCY_S = 2.0
HEAD_EASE_S = 1.4  # a head is slower than a face: a turn of 20 degrees goes back at 15 a second
HEAD_RETURN_S = 0.5
RETURN_S = 0.25  # back from the still photo to the driver, without a jump


class TrackingLossFallback:
    """Follows the driver's expression through losses of the face. Zero change means the still photo.

    A face counts as missing from when the next result was due: where tracking is slow, a result may take as
    long as the one before.
    """

    def __init__(self, shown: float = 1.0) -> None:
        """shown: share of the driver's expression to begin with, 0..1; it eases to 1."""
        self._last: DriverExpression | None = None  # the last with a face
        self._due_s = 0.0  # when the result after it was
        self._captured_s = 0.0  # of the newest result, with a face or without
        self._latency_s = 0.0  # how long it took
        self._face, self._head = _Share(EASE_S, RETURN_S, shown), _Share(HEAD_EASE_S, HEAD_RETURN_S, shown)

    @property
    def note(self) -> str:
        """That the driver is tracked too slowly, in two words; "" where they are not."""
        return "tracking slow" if self._latency_s > HOLD_S else ""

    def at(self, driver: DriverExpression | None, now_s: float) -> DriverExpression | None:
        """What to show now; None before a face was seen.

        driver: the newest result of tracking; None when there is none since the last call.
        """
        if driver is not None:
            self._captured_s, self._latency_s = driver.captured_s, now_s - driver.captured_s
            if driver.seen:
                self._last, self._due_s = driver, now_s + min(self._latency_s, LONGEST_LATENCY_S)
        if self._last is None:
            return None
        missing_s = now_s - self._due_s
        face, head = self._face.at(missing_s, now_s), self._head.at(missing_s, now_s)
        expression = self._last.expression * np.float32(face)
        expression[_POSE] = self._last.expression[_POSE] * np.float32(head)
        return replace(self._last, expression=expression, captured_s=self._captured_s, seen=face > 0)


class _Share:
    """How much of what a driver asked is shown: all, then less while they are missing, and again all when
    they are back.
    """

    def __init__(self, ease_s: float, return_s: float, shown: float):
        self._ease_s, self._return_s, self._shown = ease_s, return_s, shown
        self._shown_s: float | None = None

    def at(self, missing_s: float, now_s: float) -> float:
        """0..1, for a face that has been missing for so long."""
        elapsed_s = 0.0 if self._shown_s is None else max(0.0, now_s - self._shown_s)
        self._shown_s = now_s
        if missing_s <= HOLD_S:
            returns = self._shown < 1 and elapsed_s < HOLD_S
            self._shown = min(1.0, self._shown + elapsed_s / self._return_s) if returns else 1.0
        else:
            self._shown = min(self._shown, _smooth_step(1 - (missing_s - HOLD_S) / self._ease_s))
        return self._shown


_POSE = slice(len(WIDE), len(EXPRESSION))  # head and gaze of an expression


def _smooth_step(x: float) -> float:
    x = min(1.0, max(0.0, x))
    return x * x * (3 - 2 * x)
