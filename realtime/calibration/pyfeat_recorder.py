"""py-feat's estimates of a driver during a calibration.

What it estimates at rest, and how far it goes, make its two points: a Scale. Estimates may come late: each is
kept with the time of its frame, and a step of the lesson is a span of such times. Knows no files.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from engines.face.landmarks import Face
from engines.face.pyfeat import AUS, LEAST_RANGE, Scale
from realtime.calibration.lesson_state import STEPS
from realtime.calibration.profile_fit import FULL_PERCENTILE, STEP_PERCENTILE
from realtime.messages import Frame
from realtime.tracking.background_estimator import BackgroundEstimator, Estimate, EveryFrame
from realtime.tracking.estimator_fusion import HIGHEST_REST, REST_PERCENTILE

MOST = 50_000  # estimates that are kept, 3 MB: more than the longest clip has pictures
FEWEST = 3  # estimates of one step; a CPU gives five or six of two seconds
# Of the estimates at rest: "clearly moved" is LEAST_RANGE above that, so that noise is not amplified.
RESTLESS_PERCENTILE = 95.0
ALONG = {"smile": ("AU06",)}  # a big smile raises the cheeks, too
# Of every other AU a step shows what leaks into it, not how far it goes: a frown would become a full nose
# wrinkle.


class PyFeatRecorder:
    """A SecondaryEstimator that changes nothing: it records. Closed with the ExpressionTracker."""

    def __init__(self, estimator: BackgroundEstimator | EveryFrame, say: Callable[[str], None]):
        """say: called with a sentence where there were too few estimates."""
        self._estimator = estimator
        self._say = say
        self._estimates: deque[Estimate] = deque(maxlen=MOST)

    def __call__(self, change: np.ndarray, frame: Frame, face: Face) -> np.ndarray:
        self._estimator.offer(frame, face)
        self._keep()
        return change

    def relearn(self) -> None:
        """Does nothing: a lesson learns the rest."""

    def close(self) -> None:
        self._estimator.close()
        self._keep()

    def of_steps(self, shown_s: Mapping[str, tuple[float, float]]) -> Scale | None:
        """From a guided lesson. None, with a sentence, where there were too few estimates.

        Args:
            shown_s: by the name of each step that was done, its first and last time in seconds.
        """
        reached = np.zeros(len(AUS), np.float32)  # not asked for: keeps the default's strength
        for step in STEPS[1:]:
            if step.name not in shown_s:
                continue
            shown = self._between(*shown_s[step.name])
            if len(shown) >= FEWEST:
                places = [AUS.index(au) for au in (*step.aus, *ALONG.get(step.name, ())) if au in AUS]
                reached[places] = np.maximum(reached, np.percentile(shown, STEP_PERCENTILE, axis=0))[places]
        return self._scale(self._between(*shown_s[STEPS[0].name]), reached)

    def of_clip(self, rest_s: np.ndarray) -> Scale | None:
        """From a clip in which the driver does as they like. None as above.

        Args:
            rest_s: (N,) the times of the pictures at rest, in seconds.
        """
        everything = self._between(-np.inf, np.inf)
        reached = np.zeros(len(AUS))
        if len(everything):
            reached = np.percentile(everything, FULL_PERCENTILE, axis=0)
        resting_s = set(rest_s.tolist())
        resting = [estimate for estimate in self._estimates if estimate.captured_s in resting_s]
        return self._scale(_probabilities(resting), reached)

    def _keep(self) -> None:
        newest = self._estimator.newest
        if newest is not None and (not self._estimates or newest is not self._estimates[-1]):
            self._estimates.append(newest)

    def _between(self, first_s: float, last_s: float) -> np.ndarray:
        """(T, 17) probabilities of the frames of these times."""
        return _probabilities([each for each in self._estimates if first_s <= each.captured_s <= last_s])

    def _scale(self, resting: np.ndarray, reached: np.ndarray) -> Scale | None:
        if len(resting) < FEWEST:
            if not self._estimator.ended:  # else it has said why
                self._say(
                    f"{self._estimator.name} answered too seldom to learn your range: the profile is of "
                    "MediaPipe's AUs alone."
                )
            return None
        rest = np.minimum(np.percentile(resting, REST_PERCENTILE, axis=0), HIGHEST_REST)
        moved = reached - np.percentile(resting, RESTLESS_PERCENTILE, axis=0) >= LEAST_RANGE
        return Scale.of_driver(rest, np.where(moved, reached, rest))


def _probabilities(estimates: Sequence[Estimate]) -> np.ndarray:
    """(T, 17) float32."""
    return np.array([estimate.values for estimate in estimates], np.float32).reshape(-1, len(AUS))
