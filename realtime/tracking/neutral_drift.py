"""The neutral's slow way after a driver's resting face: posture, light, a start with a grin. Knows no pictures, only AUs and time.

A face is quiet when it has hardly moved for a second (blinks do not count). A quiet face is not yet at rest: it may hold a smile. So
what it does in all, a sum of AUs, decides. Less than the neutral's: the neutral was taken from a busier face, and comes
down at once. About the same, and every AU near: posture and light; it follows in minutes. More: an expression, however
long it is held, up to HELD_S of nothing else; who looks so for that long rests so, as far as a resting face can
(resting_face.py). A neutral that was only estimated is replaced by the first quiet face that can be one.

Where head and eyes rest is followed each for itself: a little way off in minutes, further once it was held for HELD_S.
"""

import numpy as np

from engines.face.action_units import WIDE, from_opposites, opposites
from engines.face.au_estimator import index
from realtime.tracking.resting_face import activity, limits, plausible_rest

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
# Of head turn, nod, tilt (5 degrees), nearness (a twentieth), gaze: a look that is meant to be seen is more.
POSE_NEAR = np.array([0.17, 0.17, 0.17, 0.25, 0.25, 0.3], np.float32)
DOWN_S, FOLLOW_S = 0.7, 120.0  # time constants; a faint smile of 0.1 for a minute costs 0.04 of it
HELD_S, TAKE_S = 180.0, 20.0  # and if it was a smile after all, the way down is quick
LONGEST_STEP_S = 0.5  # after a longer gap nothing was watched

_LIDS = index(["AU45"])
_OTHERS = [i for i in range(len(WIDE)) if i not in _LIDS]


class NeutralDrift:
    """Follows one driver."""

    def __init__(self, estimated: bool = False, known: np.ndarray | None = None) -> None:
        """estimated: the neutral that is followed was not seen, only guessed.

        known: AUs (29,) of a rest that the driver showed on purpose, which may be higher than other faces rest.
        """
        self._highest = limits() if known is None else np.fmax(limits(), known)
        self._mean: np.ndarray | None = None
        self._time_s = self._moved_s = self._blink_s = 0.0
        self._lowering = False
        self._estimated = estimated
        self._held_s = 0.0  # quiet and not at rest, since it was at rest
        self._watched_s = 0.0  # without a gap
        self._pose_held_s = np.zeros(len(POSE_NEAR), np.float32)

    def follow(self, neutral: np.ndarray, reading: np.ndarray, time_s: float) -> np.ndarray:
        """The neutral (41,) after one more reading (41,) at time_s: itself, or a little nearer to how the driver rests."""
        elapsed_s, self._time_s = time_s - self._time_s, time_s
        aus = reading[: len(WIDE)]
        if self._mean is None or not 0 < elapsed_s < LONGEST_STEP_S:
            self._mean, self._moved_s, self._blink_s = aus, time_s, time_s - AFTER_BLINK_S
            self._watched_s = 0.0
            return neutral
        self._watched_s += elapsed_s
        rest, pose = (
            neutral[: len(WIDE)],
            self._follow_pose(opposites(neutral), opposites(reading), elapsed_s),
        )
        return np.concatenate([self._follow_aus(rest, aus, elapsed_s), from_opposites(pose)])

    def _follow_aus(self, neutral: np.ndarray, aus: np.ndarray, elapsed_s: float) -> np.ndarray:
        time_s = self._time_s
        if (aus[_LIDS] - self._mean[_LIDS]).max() > BLINK:
            self._blink_s = time_s
        if time_s - self._blink_s < AFTER_BLINK_S:
            # Eyes that stay shut are no blink.
            self._mean = self._mean + _share(elapsed_s, SHUT_S) * (aus - self._mean)
            return neutral
        self._mean = self._mean + _share(elapsed_s, MEAN_S) * (aus - self._mean)
        if float(np.sqrt(np.mean((aus - self._mean)[_OTHERS] ** 2))) > QUIET:
            self._moved_s = time_s
        return neutral if time_s - self._moved_s < QUIET_S else self._approach(neutral, elapsed_s)

    def _approach(self, neutral: np.ndarray, elapsed_s: float) -> np.ndarray:
        away = np.minimum(self._mean, self._highest) - neutral
        furthest = float(np.abs(away).max())
        if furthest < NEAR / 2:
            self._held_s = 0.0
        elif furthest > NEAR:
            self._held_s += elapsed_s
        busier = float(activity(away))
        can_be_rest = self._estimated and not plausible_rest(self._mean)[1]
        if busier < -LESS or can_be_rest:
            self._lowering = True
        elif busier > DONE or furthest < DONE:
            self._lowering = False
        if self._lowering:
            self._estimated = self._estimated and furthest > DONE
            return neutral + _share(elapsed_s, DOWN_S) * away
        if self._held_s > HELD_S:
            return neutral + _share(elapsed_s, TAKE_S) * away
        return neutral + _share(elapsed_s, FOLLOW_S) * away if furthest < NEAR else neutral

    def _follow_pose(self, rest: np.ndarray, pose: np.ndarray, elapsed_s: float) -> np.ndarray:
        """Where head and eyes rest (6,) and are (6,), signed -> where they rest now."""
        if self._watched_s < QUIET_S:
            return rest
        away = pose - rest
        near = np.abs(away) < POSE_NEAR
        self._pose_held_s = np.where(near, 0.0, self._pose_held_s + elapsed_s)
        held = self._pose_held_s > HELD_S
        step = np.where(near, _share(elapsed_s, FOLLOW_S), np.where(held, _share(elapsed_s, TAKE_S), 0.0))
        return (rest + step * away).astype(np.float32)


def _share(elapsed_s: float, time_s: float) -> float:
    """How much of a step a mean over time_s follows in elapsed_s."""
    return 1 - float(np.exp(-elapsed_s / time_s))
