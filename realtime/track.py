"""The driver's side of a frame's life: picture -> face -> AUs -> change from neutral -> smoothed."""

import numpy as np

from engines import expression
from engines.face import Face, FaceReader
from realtime.calibrate import Neutral
from realtime.frame import Frame, Told
from realtime.smooth import OneEuro
from realtime.timing import Timings

SMALLEST_FACE_PX = 40.0  # between the landmarks' left and right edge; smaller ones give noise for AUs


class Performer:
    """Follows one driver through time. Call it with each frame; close it at the end."""

    def __init__(self, timings: Timings, neutral: Neutral | None = None):
        """neutral: one that was learnt before, or Neutral.absent() for drivers that have no rest; default: learn it."""
        self._reader = FaceReader(video=True)
        self._timings = timings
        self.neutral = neutral or Neutral()
        self._smooth = OneEuro()

    def __call__(self, frame: Frame) -> Told:
        """A driver frame -> what the puppet is told. Zero change while the neutral is being learnt; `seen` is false without a face."""
        with self._timings.measure("track"):
            face = self._follow(frame)
        if face is None:
            return Told(np.zeros(len(expression.ESTIMATED), np.float32), frame.captured_s, seen=False)
        with self._timings.measure("estimate"):
            aus = expression.estimate(face)
            self.neutral.learn(aus, frame.captured_s)
            change = self._smooth(self.neutral.change(aus), frame.captured_s)
        return Told(change, frame.captured_s, seen=True)

    def recalibrate(self) -> None:
        """Learns the driver's neutral anew, from the next frames. For any thread."""
        self.neutral = Neutral()

    def _follow(self, frame: Frame) -> Face | None:
        face = self._reader.follow(frame.image, frame.captured_s)
        if face is None:
            return None
        left, _, right, _ = face.box_px
        return face if right - left >= SMALLEST_FACE_PX else None

    def __enter__(self) -> "Performer":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
