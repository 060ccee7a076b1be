"""The neutral's slow way after a driver's resting face: posture, light, a start with a grin. Knows no pictures, only AUs and time.

A face is quiet when it has hardly moved for a second (blinks do not count). A quiet face is not yet at rest: it may hold a smile. So
what it does in all, a sum of AUs, decides. Less than the neutral's: the neutral was taken from a busier face, and comes
down at once. About the same, and every AU near: posture and light; it follows in minutes. More: an expression, however
long it is held, up to HELD_S of nothing else; who looks so for that long rests so.
"""

import numpy as np

from engines.face.action_units import sides, whole
from engines.face.au_estimator import ESTIMATED, index

QUIET = 0.12  # from an AU's mean over MEAN_S: of 12 clips of talkers no second stays below, of a held smile one in ten does; tremble is 0.03
MEAN_S = 0.3
QUIET_S = 1.0  # pauses between sentences are shorter
BLINK, AFTER_BLINK_S, SHUT_S = (
    0.25,
    0.2,
    2.0,
)  # a blink bends lids and brows, until the eye is open and the tracker has let go
LESS = 0.3  # of `activity`: a grin is 1 to 4, a frown 0.4; while a still head nods and turns it comes and goes by 0.2
DONE = 0.03  # what is left when it has come down
NEAR = 0.15  # of every AU: a smile that is meant to be seen is more
DOWN_S, FOLLOW_S = 0.7, 120.0  # time constants; a faint smile of 0.1 for a minute costs 0.04 of it
HELD_S, TAKE_S = 180.0, 20.0  # and if it was a smile after all, the way down is quick
LONGEST_STEP_S = 0.5  # after a longer gap nothing was watched

_LIDS = index(["AU45"])
_OTHERS = [i for i in range(len(ESTIMATED)) if i not in _LIDS]
# What says how busy a face is: AUs that rest near 0 on every face and that an expression raises. Lids follow the gaze; AU14, AU15,
# AU17, AU20 and AU23 rest anywhere, and a smile takes them away. A smile counts twice: nothing else is held as long.
_BUSY = {
    "AU01": 1,
    "AU02": 1,
    "AU04": 1,
    "AU06": 1,
    "AU09": 1,
    "AU10": 1,
    "AU12": 2,
    "AU18": 1,
    "AU22": 1,
    "AU25": 1,
    "AU26": 1,
}
_WEIGHT = np.array([_BUSY.get(whole(au), 0) / len(sides(whole(au))) for au in ESTIMATED], np.float32)


def activity(aus: np.ndarray) -> np.ndarray:
    """How much a face does: (..., 29) intensities, or differences of them, -> (...,); 0 to 12."""
    return aus @ _WEIGHT


class NeutralDrift:
    """Follows one driver."""

    def __init__(self) -> None:
        self._mean: np.ndarray | None = None
        self._time_s = self._moved_s = self._blink_s = 0.0
        self._lowering = False
        self._held_s = 0.0  # quiet and not at rest, since it was at rest

    def follow(self, neutral: np.ndarray, aus: np.ndarray, time_s: float) -> np.ndarray:
        """The neutral (29,) after one more reading (29,) at time_s: itself, or a little nearer to how the driver rests."""
        elapsed_s, self._time_s = time_s - self._time_s, time_s
        if self._mean is None or not 0 < elapsed_s < LONGEST_STEP_S:
            self._mean, self._moved_s, self._blink_s = aus, time_s, time_s - AFTER_BLINK_S
            return neutral
        if (aus[_LIDS] - self._mean[_LIDS]).max() > BLINK:
            self._blink_s = time_s
        if time_s - self._blink_s < AFTER_BLINK_S:
            self._mean = self._mean + _share(elapsed_s, SHUT_S) * (
                aus - self._mean
            )  # eyes that stay shut are no blink
            return neutral
        self._mean = self._mean + _share(elapsed_s, MEAN_S) * (aus - self._mean)
        if float(np.sqrt(np.mean((aus - self._mean)[_OTHERS] ** 2))) > QUIET:
            self._moved_s = time_s
        return neutral if time_s - self._moved_s < QUIET_S else self._approach(neutral, elapsed_s)

    def _approach(self, neutral: np.ndarray, elapsed_s: float) -> np.ndarray:
        away = self._mean - neutral
        furthest = float(np.abs(away).max())
        if furthest < NEAR / 2:
            self._held_s = 0.0
        elif furthest > NEAR:
            self._held_s += elapsed_s
        busier = float(activity(away))
        if busier < -LESS:
            self._lowering = True
        elif busier > DONE or furthest < DONE:
            self._lowering = False
        if self._lowering:
            return neutral + _share(elapsed_s, DOWN_S) * away
        if self._held_s > HELD_S:
            return neutral + _share(elapsed_s, TAKE_S) * away
        return neutral + _share(elapsed_s, FOLLOW_S) * away if furthest < NEAR else neutral


def _share(elapsed_s: float, time_s: float) -> float:
    """How much of a step a mean over time_s follows in elapsed_s."""
    return 1 - float(np.exp(-elapsed_s / time_s))
