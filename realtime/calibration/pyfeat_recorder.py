"""py-feat looks on while a driver is calibrated: what it reads of them at rest and how far it goes make its two points, a Scale.

It stands in a Performer where Joined stands in a call, is shown the same believed faces, and changes nothing of what MediaPipe tells.
Answers may come late: each is kept with the time of its frame, and a step of the lesson is a span of such times. Knows no files.
"""

from collections import deque
from collections.abc import Callable, Mapping

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
RESTLESS_PERCENTILE = 95.0  # of the estimates at rest: "clearly moved" is LEAST_RANGE above that, so that tremble makes no strength
ALONG = {"smile": ("AU06",)}  # a big smile raises the cheeks, too
# Of every other AU a step shows what leaks into it, not how far it goes: a frown would become a full nose
# wrinkle.


class PyFeatRecorder:
    """Called with MediaPipe's change and the frame that it is of, as Joined is; returns that change.

    Closed with the Performer.
    """

    def __init__(self, slow: BackgroundEstimator | EveryFrame, say: Callable[[str], None]):
        self._slow, self._say = slow, say
        self._estimates: deque[Estimate] = deque(maxlen=MOST)

    def __call__(self, change: np.ndarray, frame: Frame, face: Face) -> np.ndarray:
        self._slow.offer(frame, face)
        self._keep()
        return change

    def relearn(self) -> None:
        """A lesson is what learns the rest: nothing else does."""

    def close(self) -> None:
        self._slow.close()
        self._keep()

    def of_steps(self, shown_s: Mapping[str, tuple[float, float]]) -> Scale | None:
        """From a guided lesson: the first and last time of each step that was done.

        None, which is told, where there were too few answers.
        """
        reached = np.zeros(len(AUS), np.float32)  # not asked for: keeps the default's strength
        for step in STEPS[1:]:
            seen = self._of(
                lambda time_s, span=shown_s.get(step.name, (np.inf, -np.inf)): span[0] <= time_s <= span[1]
            )
            if len(seen) >= FEWEST:
                places = [AUS.index(au) for au in (*step.aus, *ALONG.get(step.name, ())) if au in AUS]
                reached[places] = np.maximum(reached, np.percentile(seen, STEP_PERCENTILE, axis=0))[places]
        first_s, last_s = shown_s[STEPS[0].name]
        return self._scale(self._of(lambda time_s: first_s <= time_s <= last_s), reached)

    def of_clip(self, rest_s: np.ndarray) -> Scale | None:
        """From a clip in which the driver does as they like: times of the pictures at rest. None as above."""
        everything, resting_s = self._of(lambda _: True), set(rest_s.tolist())
        reached = (
            np.percentile(everything, FULL_PERCENTILE, axis=0) if len(everything) else np.zeros(len(AUS))
        )
        return self._scale(self._of(resting_s.__contains__), reached)

    def _keep(self) -> None:
        newest = self._slow.newest
        if newest is not None and (not self._estimates or newest is not self._estimates[-1]):
            self._estimates.append(newest)

    def _of(self, wanted: Callable[[float], bool]) -> np.ndarray:
        """(T, 17) probabilities of frames by their times."""
        found = [estimate.values for estimate in self._estimates if wanted(estimate.captured_s)]
        return np.array(found, np.float32).reshape(-1, len(AUS))

    def _scale(self, resting: np.ndarray, reached: np.ndarray) -> Scale | None:
        if len(resting) < FEWEST:
            if not self._slow.ended:  # else it has told
                self._say(
                    f"{self._slow.name} answered too seldom to learn your range: the profile is of MediaPipe's AUs alone."
                )
            return None
        rest = np.minimum(np.percentile(resting, REST_PERCENTILE, axis=0), HIGHEST_REST)
        moved = reached - np.percentile(resting, RESTLESS_PERCENTILE, axis=0) >= LEAST_RANGE
        return Scale.of_driver(rest, np.where(moved, reached, rest))
