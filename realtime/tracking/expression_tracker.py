"""The driver's side of a frame's life: picture -> face -> believed? -> AUs -> change from neutral -> smoothed."""

import numpy as np

from engines.face import au_estimator
from engines.face.landmarks import Face, FaceReader
from realtime.messages import DriverExpression, Frame
from realtime.timing import Timings
from realtime.tracking.driver_profile import Profile
from realtime.tracking.face_validator import FaceValidator, Validation
from realtime.tracking.neutral import Neutral
from realtime.tracking.secondary_estimator import SecondaryEstimator
from realtime.tracking.smoothing import OcclusionRollback, OneEuro


class ExpressionTracker:
    """Follows one driver through time. Call it with each frame; close it at the end."""

    def __init__(
        self,
        timings: Timings,
        neutral: Neutral | None = None,
        second: SecondaryEstimator | None = None,
        profile: Profile | None = None,
    ):
        """neutral: one that was learnt before, or Neutral.absent() for drivers that have no rest; default: the profile's, or learn it.

        second: closed with it. profile: the driver's own, whose ranges stay whenever the neutral is learnt anew.
        """
        self._reader = FaceReader(video=True)
        self._timings = timings
        self._profile = profile
        self.neutral = neutral or Neutral(profile)
        self.has_rest = (
            neutral is None or neutral.neutral is None or bool(neutral.neutral.any())
        )  # of zeros: Neutral.absent()
        self._trust, self._second, self._smooth, self._undo = (
            FaceValidator(),
            second,
            OneEuro(),
            OcclusionRollback(),
        )
        self.face: Face | None = None  # as it was last believed

    def __call__(self, frame: Frame) -> DriverExpression:
        """A driver frame -> what the puppet is told. Zero change while the neutral is being learnt; `seen` is false without a face to believe."""
        with self._timings.measure("track"):
            face = self._reader.follow(self._trust.view(frame), frame.captured_s)
        with self._timings.measure("estimate"):
            verdict = self._trust.judge(face, frame)
            if not verdict.believed:
                return self._take_back(frame.captured_s, verdict)
            if self._trust.newcomer and self.has_rest:
                self.recalibrate()
            self.face, aus = face, au_estimator.estimate(face)
            self.neutral.learn(aus, frame.captured_s)
            change = self.neutral.change(aus)
            if self._second:
                change = self._second(change, frame, face)
            change = self._smooth(change, frame.captured_s, verdict.calm)
            self._undo.keep(change, frame.captured_s)
        return DriverExpression(change, frame.captured_s, seen=True, note=verdict.note)

    def recalibrate(self) -> None:
        """Learns the driver's neutral anew, from the next frames. For any thread."""
        self.neutral = Neutral(self._profile, anew=True)
        if self._second:
            self._second.relearn()

    def _take_back(self, time_s: float, verdict: Validation) -> DriverExpression:
        """A tenth of a second leads back to before the face gave way; then there is nothing to be told."""
        undone = self._undo.back(time_s)
        if undone is None:
            return DriverExpression(
                np.zeros(len(au_estimator.ESTIMATED), np.float32), time_s, seen=False, note=verdict.note
            )
        change, under_way = undone
        self._smooth.start_from(change, time_s)
        return DriverExpression(change, time_s, seen=under_way, note=verdict.note)

    def __enter__(self) -> "ExpressionTracker":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        if self._second:
            self._second.close()
