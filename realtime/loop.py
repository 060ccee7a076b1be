"""The life of a frame, and the threads it passes through.

    driver frame -> track -> estimate AUs -> calibrate -> smooth -> retarget -> puppet.render -> output

Live, four threads are joined by newest-wins slots: capture | track + estimate | render | output. The output keeps its own
clock, so a virtual camera never stops, whatever the driver does. Offline, the same stages run in turn on every frame.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from engines.expression import ESTIMATED
from realtime.calibrate import Neutral
from realtime.capture import FrameDriver
from realtime.frame import NOT_YET, Frame, Picture, Told
from realtime.latest import Latest
from realtime.output import Output
from realtime.presence import Presence
from realtime.puppet import Puppet
from realtime.retarget import Retarget
from realtime.script import Curve, CurveWriter
from realtime.timing import Timings
from realtime.track import Performer

LONGEST_LESSON = 90  # frames kept while the neutral is learnt offline: 250 MB of 720p pictures at most
IDLE_S = 1 / 30  # how often the puppet is drawn anew while the driver says nothing: easing to neutral goes on
LEAVE_S = 5.0  # for a thread to end; a picture in the encoder takes a tenth of that on a slow machine
LONGEST_GAP_S = 5.0  # between two words of a file; a longer one is a broken time stamp and is cut short


class Stage:
    """The puppet's side of a frame's life: what it is told -> a picture."""

    def __init__(self, puppet: Puppet, retarget: Retarget, timings: Timings, record: CurveWriter | None = None):
        self.puppet = puppet
        self._retarget, self._timings, self._record = retarget, timings, record
        self._presence = Presence()
        self.seen = False  # whether the driver's face was ever in view
        self._aus: np.ndarray | None = None  # of the picture that was drawn last
        self._picture = Picture(puppet.still, 0.0)

    def show(self, told: Told | None, now_s: float) -> Picture:
        """The newest word of the driver, or None when there is none -> the picture for now_s; the same one while nothing changes."""
        shown = self._presence.at(told, now_s)
        if self._record:
            self._record.add(np.zeros(len(ESTIMATED)) if shown is None else shown.expression, now_s)
        if shown is None:  # nobody was seen yet
            return self._picture
        self.seen = True
        aus = self._retarget(shown.expression)
        if self._aus is None or not np.array_equal(aus, self._aus):
            with self._timings.measure("render"):
                self._picture = Picture(self.puppet.render(aus), shown.captured_s)
            self._aus = aus
        elif told is not None:
            self._picture = replace(self._picture, captured_s=shown.captured_s)
        return self._picture


# --- offline: every frame, in turn -------------------------------------------------------------------------------------


def perform_frames(driver: FrameDriver, timings: Timings) -> Iterator[Told]:
    """Every frame of a file driver. Its first second is looked at twice: once for the driver's neutral, then for the puppet."""
    waiting: list[Frame] = []
    neutral = None if driver.has_rest else Neutral.absent(len(ESTIMATED))
    if neutral is None:
        with Performer(timings) as scout:
            while scout.neutral.neutral is None and len(waiting) < LONGEST_LESSON and (frame := driver.read()):
                scout(frame)
                waiting.append(frame)
            scout.neutral.finish()
            neutral = scout.neutral
    with Performer(timings, neutral) as performer:
        for frame in waiting:
            yield performer(frame)
        while (frame := driver.read()) is not None:
            yield performer(frame)


def at_rate(performance: Iterator[Told], fps: float) -> Iterator[Told]:
    """A performance with times of its own -> one word for every 1/fps: the newest at that moment."""
    newest, number, late_s = None, 0, 0.0
    for told in performance:
        told = replace(told, captured_s=told.captured_s - late_s)
        if newest is not None and told.captured_s - newest.captured_s > LONGEST_GAP_S:
            late_s += told.captured_s - newest.captured_s - 1 / fps
            told = replace(told, captured_s=newest.captured_s + 1 / fps)
        while newest is not None and number / fps < told.captured_s - 1e-4:
            yield replace(newest, captured_s=number / fps)
            number += 1
        newest = told
    if newest is not None:
        yield replace(newest, captured_s=number / fps)


def perform_curve(curve: Curve, fps: float) -> Iterator[Told]:
    """A curve, sampled evenly."""
    for number in range(max(1, int(curve.duration_s * fps) + 1)):
        yield Told(curve.at(number / fps), number / fps, seen=True)


def play_offline(performance: Iterator[Told], stage: Stage, outputs: list[Output], on_frame: Callable[[], None] = lambda: None) -> int:
    """Draws a performance frame by frame; returns how many. Nothing is dropped, nothing waits."""
    count = 0
    for told in performance:
        picture = stage.show(told, told.captured_s)
        for output in outputs:
            output.send(picture.image, told.captured_s)
        count += 1
        on_frame()
    return count


# --- live: threads -----------------------------------------------------------------------------------------------------


class LiveLoop:
    """Runs a driver into outputs until `stop`, an error in any thread, or the end of the driver."""

    def __init__(
        self, driver: FrameDriver | Curve, performer: Performer | None, stage: Stage, outputs: list[Output], timings: Timings,
        fps: float = 30.0, clocked: bool = True,
    ):  # fmt: skip
        """clocked: the output keeps its own clock of `fps`; without, every picture is sent as soon as it is drawn (benchmarks)."""
        self._driver, self._performer, self._stage, self._timings = driver, performer, stage, timings
        self._fps, self._clocked = fps, clocked
        self._threaded = [o for o in outputs if not o.main_thread]
        self._on_main = [o for o in outputs if o.main_thread]
        self.frames: Latest[Frame] = Latest()
        self.words: Latest[Told] = Latest()
        self.pictures: Latest[Picture] = Latest()
        self._preview: Latest[Picture] = Latest()
        self._shown = Picture(stage.puppet.still, 0.0)  # on the main thread's outputs
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self.sent = 0
        self.fresh = 0  # sent pictures that were not sent before

    def run(self, duration_s: float = float("inf")) -> None:
        """Blocks until the end. Re-raises the first error of any thread, after all have left."""
        with self.running():
            self.wait(duration_s)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Threads started on entry, all gone on exit; then the first error of any of them is raised."""
        stages = [self._recite] if isinstance(self._driver, Curve) else [self._capture, self._track]
        threads = [
            threading.Thread(target=self._guarded, args=(work,), name=work.__name__, daemon=True)
            for work in (*stages, self._render, self._send)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop()
            for thread in threads:
                thread.join(LEAVE_S)
        if self._error:
            raise self._error

    def wait(self, duration_s: float = float("inf")) -> None:
        """Serves the outputs of the main thread until duration_s is over or the loop has stopped."""
        start_s = time.perf_counter()
        while not self._stopping.is_set() and (left_s := start_s + duration_s - time.perf_counter()) > 0:
            self._show_on_main(min(0.1, left_s), time.perf_counter() - start_s)

    def stop(self) -> None:
        self._stopping.set()
        for slot in (self.frames, self.words, self.pictures, self._preview):
            slot.close()

    @property
    def dropped(self) -> dict[str, int]:
        """Values that a newer one replaced, by slot."""
        return {"frames": self.frames.dropped, "expressions": self.words.dropped, "pictures": self.pictures.dropped}

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = self._error or error
            self.stop()

    def _capture(self) -> None:
        while not self._stopping.is_set():
            if not self._clocked:
                self.frames.wait_empty(IDLE_S)
            started_s = time.perf_counter()
            frame = self._driver.read()
            if frame is None:
                return self.stop()
            if frame is NOT_YET:  # render goes on without: hold, ease, the still photo
                continue
            self._timings.add("capture", time.perf_counter() - started_s)
            self.frames.put(frame)

    def _track(self) -> None:
        while not self._stopping.is_set():
            if frame := self.frames.take(IDLE_S):
                told = self._performer(frame)
                if not self._clocked:  # a benchmark of pictures: tracking what is never drawn would only take the cores away
                    self.words.wait_empty(IDLE_S)
                self.words.put(told)

    def _recite(self) -> None:
        start_s, number = time.perf_counter(), 0
        while not self._stopping.wait(max(0.0, start_s + number / self._fps - time.perf_counter())):
            now_s = time.perf_counter()
            self.words.put(Told(self._driver.at((now_s - start_s) % max(self._driver.duration_s, 1e-3)), now_s, seen=True))
            number += 1

    def _render(self) -> None:
        last = self._stage.show(None, time.perf_counter())  # the still photo, which the output has already
        while not self._stopping.is_set():
            picture = self._stage.show(self.words.take(IDLE_S), time.perf_counter())
            if picture is not last:
                self.pictures.put(picture)
                last = picture

    def _send(self) -> None:
        start_s, tick = time.perf_counter(), 0
        picture = Picture(self._stage.puppet.still, start_s)
        while not self._stopping.is_set():
            if self._clocked:
                tick = max(tick + 1, int((time.perf_counter() - start_s) * self._fps))  # a late tick is left out, not made up for
                if self._stopping.wait(max(0.0, start_s + tick / self._fps - time.perf_counter())):
                    return
                new = self.pictures.take(0)
            else:
                tick += 1
                new = self.pictures.take(IDLE_S)
                if new is None:
                    continue
            picture = new or picture
            with self._timings.measure("send"):
                for output in self._threaded:
                    output.send(picture.image, tick / self._fps)
            self.sent += 1
            if new is not None:
                self.fresh += 1
                self._timings.add("capture to output", time.perf_counter() - picture.captured_s)
                self._preview.put(picture)

    def _show_on_main(self, timeout_s: float, time_s: float) -> None:
        self._shown = self._preview.take(timeout_s) or self._shown
        for output in self._on_main:  # also without a new picture: a window that is never served counts as hung
            output.send(self._shown.image, time_s)
            if output.closed:
                self.stop()
