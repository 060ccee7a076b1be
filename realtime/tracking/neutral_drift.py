"""Makes the neutral follow a driver's resting face slowly: posture, light, a start with a grin.

Knows no pictures, only AUs and time.

A face is quiet when it has hardly moved for a second (blinks do not count). A quiet face is not necessarily
at rest: it may hold a smile. So its activity, a sum of AUs, decides. Less than the neutral's: the neutral was
measured on a busier face, and comes down at once. About the same, and every AU near: posture and light; the
neutral follows in minutes.
More: an expression, however long it is held, up to HELD_S of nothing else; a driver who looks so for that
long rests so, as far as a resting face can (resting_face.py). A neutral that was only estimated is replaced
by the first quiet face that can be one.

Lips that come nearer than they rested are shut, or as shut as this driver's get: AU25 begins there.

Where head and eyes rest is followed for each of them separately: a little way off in minutes, further once it
was held for HELD_S.
"""

import numpy as np

from engines.face.action_units import WIDE, from_opposites, opposites
from engines.face.au_estimator import index
from realtime.timing import ema_weight
from realtime.tracking.resting_face import LIPS, activity, limits, plausible_rest

# Root mean square distance of the AUs from their mean over MEAN_S. Of 12 clips of talkers no second stays
# below, of a held smile one in ten does; jitter is 0.03.
QUIET = 0.12
MEAN_S = 0.3
QUIET_S = 1.0  # pauses between sentences are shorter
# A blink bends lids and brows, until the eye is open and the tracker has let go.
BLINK = 0.25  # of AU45 above its mean
AFTER_BLINK_S = 0.2
SHUT_S = 2.0  # time constant of the mean meanwhile: eyes that stay shut are no blink
LESS = 0.3  # of `activity`: a grin is 1 to 4, a frown 0.4; while a still head nods and turns it varies by 0.2
DONE = 0.03  # what is left when it has come down
NEAR = 0.15  # of every AU: a smile that is meant to be seen is more
# Of head turn, nod, tilt (5 degrees), nearness (a twentieth), gaze: a look that is meant to be seen is more.
POSE_NEAR = np.array([0.17, 0.17, 0.17, 0.25, 0.25, 0.3], np.float32)
# Time constants. A faint smile of 0.1 for a minute costs 0.04 of it.
DOWN_S = 0.7
FOLLOW_S = 120.0
HELD_S = 180.0  # if it was a smile after all, the way down is quick
ACCEPT_S = 20.0  # time constant of following what was held for HELD_S
SHUT_LIPS_S = 0.06  # time constant: of a p or a b lips are shut for two to four frames
LONGEST_STEP_S = 0.5  # after a longer gap the driver was not observed

_LIDS = index(["AU45"])
_OTHERS = [i for i in range(len(WIDE)) if i not in _LIDS]


class NeutralDrift:
    """Follows one driver."""

    def __init__(self, estimated: bool = False, known: np.ndarray | None = None) -> None:
        """
        Args:
            estimated: whether the neutral that is followed was estimated, not measured.
            known: AUs (29,) of a rest that the driver showed on purpose, which may be higher than other faces
                rest.
        """
        self._highest = limits() if known is None else np.fmax(limits(), known)
        self._lips_are_known = known is not None
        self._mean: np.ndarray | None = None  # (29,) AUs over the last MEAN_S
        self._time_s = 0.0
        self._moved_s = 0.0  # when the face last moved
        self._blink_s = 0.0  # when it last blinked
        self._lowering = False
        self._estimated = estimated
        self._held_s = 0.0  # quiet and not at rest, since it was at rest
        self._observed_s = 0.0  # without a gap
        self._pose_held_s = np.zeros(len(POSE_NEAR), np.float32)

    def follow(self, neutral: np.ndarray, reading: np.ndarray, time_s: float) -> np.ndarray:
        """Returns the neutral after one more reading: itself, or a little nearer to how the driver rests.

        Args:
            neutral: (41,) in the order of EXPRESSION.
            reading: (41,) at time_s.
            time_s: of the reading's frame.
        """
        elapsed_s = time_s - self._time_s
        self._time_s = time_s
        aus = reading[: len(WIDE)]
        if self._mean is None or not 0 < elapsed_s < LONGEST_STEP_S:
            self._mean = aus
            self._moved_s = time_s
            self._blink_s = time_s - AFTER_BLINK_S
            self._observed_s = 0.0
            return neutral
        self._observed_s += elapsed_s
        pose = self._follow_pose(opposites(neutral), opposites(reading), elapsed_s)
        rest = neutral[: len(WIDE)]
        if (aus[_LIDS] - self._mean[_LIDS]).max() > BLINK:
            self._blink_s = time_s
        blinking = time_s - self._blink_s < AFTER_BLINK_S
        weight = ema_weight(elapsed_s, SHUT_S if blinking else MEAN_S)
        self._mean = self._mean + weight * (aus - self._mean)
        if not blinking and self._is_quiet(aus - self._mean):
            rest = self._approach(rest, self._mean, elapsed_s)
        if not self._lips_are_known:
            nearer = np.minimum(np.maximum(aus[LIPS], 0) - rest[LIPS], 0)
            rest = rest.copy()
            rest[LIPS] += ema_weight(elapsed_s, SHUT_LIPS_S) * nearer
        return np.concatenate([rest, from_opposites(pose)])

    def _is_quiet(self, from_mean: np.ndarray) -> bool:
        """Whether the face has been quiet for QUIET_S; from_mean: (29,) AUs minus their mean."""
        if float(np.sqrt(np.mean(from_mean[_OTHERS] ** 2))) > QUIET:
            self._moved_s = self._time_s
        return self._time_s - self._moved_s >= QUIET_S

    def _approach(self, neutral: np.ndarray, quiet: np.ndarray, elapsed_s: float) -> np.ndarray:
        """The neutral (29,) after one more frame of a quiet face.

        Args:
            neutral: (29,) until now.
            quiet: (29,) mean AUs of the quiet face.
            elapsed_s: since the frame before.
        """
        away = np.minimum(quiet, self._highest) - neutral
        furthest = float(np.abs(away).max())
        if furthest < NEAR / 2:
            self._held_s = 0.0
        elif furthest > NEAR:
            self._held_s += elapsed_s
        busier = float(activity(away))
        can_be_rest = self._estimated and not plausible_rest(quiet)[1]
        if busier < -LESS or can_be_rest:
            self._lowering = True
        elif busier > DONE or furthest < DONE:
            self._lowering = False
        if self._lowering:
            self._estimated = self._estimated and furthest > DONE
            return neutral + ema_weight(elapsed_s, DOWN_S) * away
        if self._held_s > HELD_S:
            return neutral + ema_weight(elapsed_s, ACCEPT_S) * away
        return neutral + ema_weight(elapsed_s, FOLLOW_S) * away if furthest < NEAR else neutral

    def _follow_pose(self, rest: np.ndarray, pose: np.ndarray, elapsed_s: float) -> np.ndarray:
        """Where head and eyes rest after one more frame, (6,) signed.

        Args:
            rest: (6,) until now.
            pose: (6,) in this frame.
            elapsed_s: since the frame before.
        """
        if self._observed_s < QUIET_S:
            return rest
        away = pose - rest
        near = np.abs(away) < POSE_NEAR
        self._pose_held_s = np.where(near, 0.0, self._pose_held_s + elapsed_s)
        held = self._pose_held_s > HELD_S
        if_far = np.where(held, ema_weight(elapsed_s, ACCEPT_S), 0.0)
        weight = np.where(near, ema_weight(elapsed_s, FOLLOW_S), if_far)
        return (rest + weight * away).astype(np.float32)
