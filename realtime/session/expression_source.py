"""Where the expressions of a live run come from: the frames of a driver, a tracker, or a curve."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from engines.face.arkit import reading
from realtime.latest_value import Latest
from realtime.messages import NOT_YET, DriverExpression, Frame, NotYet
from realtime.performance.curve import Performance
from realtime.process.log import LOG
from realtime.sources.frame_source import LiveFrames
from realtime.sources.network_tracker import TrackedFace
from realtime.timing import Ticks, Timings
from realtime.tracking.reading_tracker import ReadingTracker

IDLE_S = 1 / 30  # the longest wait for a value, and so for noticing `stop`


class ExpressionSource(Protocol):
    """Puts expressions into a slot, in threads of its own."""

    @property
    def notes(self) -> list[str]:
        """What is wrong with the driver, in two words each."""
        ...

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced before they were tracked."""
        ...

    def stages(self, expressions: Latest[DriverExpression]) -> dict[str, Callable[[], None]]:
        """What it does, by name: work for a thread each.

        A stage fills the slot, and returns after `stop` or the driver's end.

        Raises in these threads: DriverError when the driver fails.
        """
        ...

    def stop(self) -> None:
        """Asks the stages to return; waits for nothing. For any thread."""
        ...


class FrameExpressions:
    """Expressions of a driver's frames: one thread captures, another tracks the newest frame."""

    def __init__(
        self,
        frames: LiveFrames,
        track: Callable[[Frame], DriverExpression],
        timings: Timings,
        overlay: Callable[[DriverExpression], DriverExpression] | None = None,
        back_pressure: bool = False,
    ):
        """
        Args:
            frames: the driver.
            track: a frame -> the driver's expression in it.
            timings: gets "capture", the duration of each read.
            overlay: changes each expression, such as curves over some groups of AUs.
            back_pressure: each stage waits until its last value was taken. For a benchmark of pictures:
                tracking what is never drawn would only take its cores away.
        """
        self._frames = frames
        self._track_frame = track
        self._timings = timings
        self._overlay = overlay
        self._back_pressure = back_pressure
        self._newest: Latest[Frame] = Latest()
        self._stopping = threading.Event()
        self._note = ""  # of the newest expression

    @property
    def notes(self) -> list[str]:
        return [note for note in (self._frames.note, self._note) if note]

    @property
    def dropped(self) -> int:
        return self._newest.dropped

    def stages(self, expressions: Latest[DriverExpression]) -> dict[str, Callable[[], None]]:
        return {"capture": self._capture, "track": lambda: self._track(expressions)}

    def stop(self) -> None:
        self._stopping.set()
        self._newest.close()

    def _capture(self) -> None:
        while not self._stopping.is_set():
            if self._back_pressure:
                self._newest.wait_empty(IDLE_S)
            started_s = time.perf_counter()
            frame = self._frames.read()
            if frame is None:
                return
            if frame is NOT_YET:  # drawing goes on without: hold, ease to neutral, the still photo
                continue
            self._timings.add("capture", time.perf_counter() - started_s)
            self._newest.put(frame)

    def _track(self, expressions: Latest[DriverExpression]) -> None:
        while not self._stopping.is_set():
            if (frame := self._newest.take(IDLE_S)) is None:
                continue
            expression = self._track_frame(frame)
            if self._overlay:
                expression = self._overlay(expression)
            if expression.note != self._note:
                LOG.debug("driver: %s", expression.note or "well")
                self._note = expression.note
            if self._back_pressure:
                expressions.wait_empty(IDLE_S)
            expressions.put(expression)


class TrackedFaces(Protocol):
    """A NetworkTracker, or one of a test."""

    @property
    def note(self) -> str:
        """What is wrong with it, in two words; "" for nothing."""
        ...

    def read(self) -> TrackedFace | NotYet | None:
        """The newest face; NOT_YET when there is none after a short wait, None once there will be no more."""
        ...


class TrackerExpressions:
    """Expressions of faces that a tracker on the network has measured: one thread receives them."""

    def __init__(
        self,
        faces: TrackedFaces,
        track: ReadingTracker,
        timings: Timings,
        overlay: Callable[[DriverExpression], DriverExpression] | None = None,
    ):
        """
        Args:
            timings: gets "track", how long each face took from its datagram to its expression.
            overlay: as FrameExpressions'.
        """
        self._faces = faces
        self._track = track
        self._timings = timings
        self._overlay = overlay
        self._stopping = threading.Event()
        self._note = ""  # of the newest expression

    @property
    def notes(self) -> list[str]:
        return list(filter(None, [self._faces.note or self._note]))

    @property
    def dropped(self) -> int:
        return 0

    def stages(self, expressions: Latest[DriverExpression]) -> dict[str, Callable[[], None]]:
        return {"tracker": lambda: self._receive(expressions)}

    def stop(self) -> None:
        self._stopping.set()

    def _receive(self, expressions: Latest[DriverExpression]) -> None:
        while not self._stopping.is_set():
            tracked = self._faces.read()
            if tracked is None:
                return
            if isinstance(tracked, NotYet):  # drawing goes on without: hold, ease to neutral, the still photo
                continue
            expression = self._expression(tracked)
            self._note = expression.note
            self._timings.add("track", time.perf_counter() - tracked.received_s)
            expressions.put(self._overlay(expression) if self._overlay else expression)

    def _expression(self, tracked: TrackedFace) -> DriverExpression:
        if tracked.face is None:
            return self._track.missing(tracked.received_s, tracked.note)
        return self._track(reading(tracked.face), tracked.received_s)


class CurveExpressions:
    """Expressions of a curve, sampled at a fixed rate until its end."""

    def __init__(self, curve: Performance, fps: float):
        self._curve = curve
        self._fps = fps
        self._stopping = threading.Event()

    @property
    def notes(self) -> list[str]:
        return []

    @property
    def dropped(self) -> int:
        return 0

    def stages(self, expressions: Latest[DriverExpression]) -> dict[str, Callable[[], None]]:
        return {"curve": lambda: self._sample(expressions)}

    def stop(self) -> None:
        self._stopping.set()

    def _sample(self, expressions: Latest[DriverExpression]) -> None:
        start_s = time.perf_counter()
        ticks = Ticks(self._fps, start_s)
        while not self._stopping.wait(max(0.0, ticks.due_s - time.perf_counter())):
            now_s = time.perf_counter()
            if now_s - start_s > self._curve.duration_s:
                return
            expressions.put(DriverExpression(self._curve.at(now_s - start_s), now_s, seen=True))
            ticks.advance(now_s)
