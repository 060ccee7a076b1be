"""The driver's side of a frame's life: picture -> face -> valid? -> AUs -> change from neutral ->
smoothed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.face import au_estimator
from engines.face.action_units import EXPRESSION, GAZE
from engines.face.landmarks import Face, FaceReader
from realtime.messages import DriverExpression, Frame
from realtime.timing import Timings
from realtime.tracking.driver_profile import Profile
from realtime.tracking.face_validator import FaceValidator, Validation
from realtime.tracking.neutral import Neutral, at_general_strength
from realtime.tracking.secondary_estimator import SecondaryEstimator
from realtime.tracking.smoothing import OcclusionRollback, expression_filter, paired, signed

SHUT = 0.6  # of AU45 on both sides: from here on the irises are a guess, and the gaze is as it was before
_LIDS = au_estimator.index(["AU45"])
_GAZE = slice(len(EXPRESSION) - len(GAZE), len(EXPRESSION))


class ExpressionTracker:
    """Follows one driver through time. Call it with each frame; close it at the end."""

    def __init__(
        self,
        timings: Timings,
        neutral: Neutral | None = None,
        second: SecondaryEstimator | None = None,
        profile: Profile | None = None,
        say: Callable[[str], None] = lambda _sentence: None,
        face_model: Path | None = None,
    ):
        """neutral: one that was learnt before, or Neutral.absent() for drivers that have no rest; default:
        the profile's, or learn it.

        second: closed with it. profile: the driver's own, whose ranges stay whenever the neutral is learnt
        again.
        say: called with sentences that the driver should know. face_model: as in FaceReader.
        """
        self._say = say
        self._reader = FaceReader(video=True, model=face_model)
        self._timings = timings
        self._profile = profile
        self.neutral = neutral or Neutral(profile)
        self.has_rest = (
            neutral is None or neutral.neutral is None or bool(neutral.neutral.any())
        )  # of zeros: Neutral.absent()
        self._trust, self._second, self._smooth, self._undo = (
            FaceValidator(),
            second,
            expression_filter(),
            OcclusionRollback(),
        )
        self.face: Face | None = None  # the last valid one
        self.reading: np.ndarray | None = None  # (41,) of it, with its rest in it

    def __call__(self, frame: Frame) -> DriverExpression:
        """A driver frame -> the expression in it. Zero change while the neutral is being learnt; `seen`
        is false without a face to believe."""
        with self._timings.measure("track"):
            face = self._reader.follow(self._trust.view(frame), frame.captured_s)
        with self._timings.measure("estimate"):
            verdict = self._trust.validate(face, frame)
            if face is None or not verdict.valid:
                return self._take_back(frame.captured_s, verdict)
            if self._trust.newcomer and self.has_rest:
                self.recalibrate()
            self.face, self.reading = face, self._with_gaze_held(au_estimator.read(face))
            self.neutral.learn_and_advise(self.reading, frame.captured_s, self._say)
            change = self.neutral.change(self.reading)
            if self._profile is None and self.has_rest:
                change = at_general_strength(change)
            if self._second:
                change = self._second(change, frame, face)
            smoothed = self._smooth(signed(change), frame.captured_s, verdict.extra_smoothing)
            self._undo.keep(smoothed, frame.captured_s)
        return DriverExpression(paired(smoothed), frame.captured_s, seen=True, note=verdict.note)

    def recalibrate(self) -> None:
        """Learns the driver's neutral again, from the next frames. For any thread."""
        self.neutral = Neutral(self._profile, relearn=True)
        if self._second:
            self._second.relearn()

    def _with_gaze_held(self, reading: np.ndarray) -> np.ndarray:
        """The reading (41,), with the gaze of the one before while the eyes are shut."""
        if self.reading is not None and reading[_LIDS].min() > SHUT:
            reading[_GAZE] = self.reading[_GAZE]
        return reading

    def _take_back(self, time_s: float, verdict: Validation) -> DriverExpression:
        """A tenth of a second leads back to before the face gave way; after that there is no expression."""
        undone = self._undo.roll_back(time_s)
        if undone is None:
            return DriverExpression(
                np.zeros(len(EXPRESSION), np.float32), time_s, seen=False, note=verdict.note
            )
        shown, under_way = undone
        self._smooth.start_from(shown, time_s)
        return DriverExpression(paired(shown), time_s, seen=under_way, note=verdict.note)

    def __enter__(self) -> "ExpressionTracker":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        if self._second:
            self._second.close()
