"""The driver's side of a frame's life where a tracker has measured their face already: reading -> change from
neutral -> smoothed. What a picture takes besides is expression_tracker.py's."""

from collections.abc import Callable

import numpy as np

from engines.face.action_units import EXPRESSION
from realtime.messages import DriverExpression
from realtime.tracking.neutral import Neutral, at_general_strength
from realtime.tracking.smoothing import expression_filter, paired, signed


class ReadingTracker:
    """Follows one driver through time. Call it with each reading; its first second is their neutral."""

    has_rest = True

    def __init__(self, say: Callable[[str], None] = lambda _sentence: None):
        """say: called with sentences that the driver should know."""
        self._say = say
        self._smooth = expression_filter()
        self.neutral = Neutral()

    def __call__(self, reading: np.ndarray, time_s: float) -> DriverExpression:
        """A reading (41,) in the order of EXPRESSION -> the expression; zero while the neutral is learnt."""
        neutral = self.neutral  # another thread may begin a new one
        neutral.learn_and_advise(reading, time_s, self._say)
        change = at_general_strength(neutral.change(reading))
        return DriverExpression(paired(self._smooth(signed(change), time_s)), time_s, seen=True)

    def missing(self, time_s: float, note: str) -> DriverExpression:
        """For a moment at which the tracker sees no face; note: why, in two words."""
        return DriverExpression(np.zeros(len(EXPRESSION), np.float32), time_s, seen=False, note=note)

    def recalibrate(self) -> None:
        """Learns the driver's neutral again, from the next readings. For any thread."""
        self.neutral = Neutral()
