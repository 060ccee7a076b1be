"""The life of a frame, and the threads it passes through.

    driver frame -> track -> estimate AUs -> calibrate -> smooth -> retarget -> puppet.render -> output

Live, four threads are joined by newest-wins slots: capture | track + estimate | render | output. The output keeps its own
clock, so a virtual camera never stops, whatever the driver or the generator does. Offline (offline.py) the same stages run in turn.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np

from engines.backends.interface import Say, quiet
from engines.errors import OutputError
from realtime.controls import Controls
from realtime.latest_value import Latest
from realtime.messages import NOT_YET, DriverExpression, Frame, RenderedFrame
from realtime.output.contact_sheet import ContactSheet
from realtime.output.outputs import Output
from realtime.performance.curve import Performance
from realtime.process.log import LOG
from realtime.puppet.animator import Animator
from realtime.sources.frame_source import LiveFrames
from realtime.timing import Rate, Timings
from realtime.tracking.expression_tracker import ExpressionTracker

IDLE_S = 1 / 30  # how often the puppet is drawn anew while the driver says nothing: easing to neutral goes on
LEAVE_S = 1.0  # for all threads to end; one that hangs in a device is left behind


class LiveLoop:
    """Runs a driver into outputs until `stop`, an error in any thread, or the end of the driver."""

    def __init__(
        self,
        driver: LiveFrames | Performance,
        performer: ExpressionTracker | None,
        stage: Animator,
        outputs: list[Output],
        timings: Timings,
        fps: float = 30.0,
        clocked: bool = True,
        controls: Controls | None = None,
        say: Say = quiet,
        over: Callable[[DriverExpression], DriverExpression] = lambda told: told,
    ):
        """clocked: the output keeps its own clock of `fps`; without, every picture is sent as soon as it is drawn (benchmarks).

        controls: what the user switches; say: told, in a sentence, when an output is left out; over: changes each word of the driver.
        """
        self._driver, self._performer, self.stage, self._timings = driver, performer, stage, timings
        self._fps, self._clocked = fps, clocked
        self._threaded = [o for o in outputs if not o.main_thread]
        self._on_main = [o for o in outputs if o.main_thread]
        self.frames: Latest[Frame] = Latest()
        self.words: Latest[DriverExpression] = Latest()
        self.pictures: Latest[RenderedFrame] = Latest()
        self._preview: Latest[RenderedFrame] = Latest()
        self.shown = RenderedFrame(stage.still, 0.0)  # on the main thread's outputs
        self._controls, self._say, self._over = controls or Controls(), say, over
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self.failed: OutputError | None = None  # the first output that was left out
        self.note = ""  # what is wrong with the driver's picture, in two words
        self.rate = Rate()  # of fresh pictures
        self.sent = 0
        self.fresh = 0  # sent pictures that were not sent before

    def run(self, duration_s: float = float("inf")) -> None:
        """Blocks until the end. Re-raises the first error of any thread, after all have left."""
        with self.running():
            self.wait(duration_s)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Threads started on entry, all gone on exit; then the first error of any of them is raised."""
        stages = [self._recite] if isinstance(self._driver, Performance) else [self._capture, self._track]
        threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"puppet{work.__name__}", daemon=True)
            for work in (*stages, self._render, self._send)
        ]
        try:
            for thread in threads:  # Ctrl-C may come between them
                thread.start()
            yield
        finally:
            self.stop()
            end_s = time.perf_counter() + LEAVE_S
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, end_s - time.perf_counter()))
        if self._error:
            raise self._error

    def wait(self, duration_s: float = float("inf"), each_turn: Callable[[], None] = lambda: None) -> None:
        """Serves the outputs of the main thread until duration_s is over, the user ends it, or the loop has stopped."""
        start_s = time.perf_counter()
        while (
            not (self._stopping.is_set() or self._controls.ending)
            and (left_s := start_s + duration_s - time.perf_counter()) > 0
        ):
            self._show_on_main(min(IDLE_S, left_s), time.perf_counter() - start_s)
            each_turn()

    def stop(self) -> None:
        self._stopping.set()
        for slot in (self.frames, self.words, self.pictures, self._preview):
            slot.close()

    @property
    def dropped(self) -> dict[str, int]:
        """Values that a newer one replaced, by slot."""
        return {
            "frames": self.frames.dropped,
            "expressions": self.words.dropped,
            "pictures": self.pictures.dropped,
        }

    @property
    def notes(self) -> list[str]:
        """What is not as it should be, in two words each."""
        switched = (
            ["panic: still photo"] if self._controls.panic else ["paused"] if self._controls.paused else []
        )
        return [*switched, *filter(None, (self._driver.note, self.note, self.stage.note))]

    def add(self, output: Output) -> None:
        """Another output, from the next picture on."""
        self._threaded.append(output)

    def remove(self, output: Output) -> None:
        """No more pictures for an output, but for one that may be on its way."""
        with suppress(ValueError):  # it was left out already, by whichever thread
            self._threaded.remove(output)

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
                told = self._over(self._performer(frame))
                if told.note != self.note:
                    LOG.debug("driver: %s", told.note or "well")
                    self.note = told.note
                if (
                    not self._clocked
                ):  # a benchmark of pictures: tracking what is never drawn would only take the cores away
                    self.words.wait_empty(IDLE_S)
                self.words.put(told)

    def _recite(self) -> None:
        start_s, number = time.perf_counter(), 0
        while not self._stopping.wait(max(0.0, start_s + number / self._fps - time.perf_counter())):
            now_s = time.perf_counter()
            self.words.put(DriverExpression(self._driver.at(now_s - start_s), now_s, seen=True))
            number = max(
                number + 1, int((now_s - start_s) * self._fps)
            )  # after a computer's sleep nothing is made up for

    def _render(self) -> None:
        last = self.stage.show(None, time.perf_counter())  # the still photo, which the output has already
        while not self._stopping.is_set():
            told, now_s = self.words.take(IDLE_S), time.perf_counter()
            picture = self.stage.rest(now_s) if self._controls.covered else self.stage.show(told, now_s)
            if picture is not last:
                self.pictures.put(picture)
                last = picture

    def _send(self) -> None:
        start_s, tick = time.perf_counter(), 0
        picture, newest_s = RenderedFrame(self.stage.still, start_s), 0.0
        while not self._stopping.is_set():
            if self._clocked:
                tick = max(
                    tick + 1, int((time.perf_counter() - start_s) * self._fps)
                )  # a late tick is left out, not made up for
                due_s = start_s + tick / self._fps
                if self._stopping.wait(max(0.0, due_s - time.perf_counter())):
                    return
                self._timings.add("output clock late", time.perf_counter() - due_s)
                new = self.pictures.take(0)
            else:
                tick += 1
                new = self.pictures.take(IDLE_S)
                if new is None:
                    continue
            picture = new or picture
            with self._timings.measure("send"):
                self._send_to_all(self._covered(picture), tick / self._fps)
            self.sent += 1
            if new is not None:
                self.fresh += 1
                self.rate.add(time.perf_counter())
                if (
                    picture.captured_s > newest_s
                ):  # easing and idle life draw an old frame anew: that is no delay
                    newest_s = picture.captured_s
                    self._timings.add("capture to output", time.perf_counter() - newest_s)
                self._preview.put(picture)

    def _covered(self, picture: RenderedFrame) -> np.ndarray:
        """The puppet, or what stands in its place."""
        return (
            self.stage.still
            if self._controls.panic
            else self.stage.slate
            if self._controls.paused
            else picture.image
        )

    def _send_to_all(self, image: np.ndarray, time_s: float) -> None:
        for output in tuple(self._threaded):
            try:
                output.send(image, time_s)
            except OutputError as error:  # a full disk must not end the call
                self.remove(output)
                self._leave_out(error)

    def _leave_out(self, error: OutputError) -> None:
        if not self._has_outputs():
            raise error
        self.failed = self.failed or error
        self._say(f"{error} The other outputs go on.")

    def _has_outputs(self) -> bool:
        """Whether there is anything left to play for: a contact sheet only goes with others."""
        return not all(isinstance(output, ContactSheet) for output in (*self._threaded, *self._on_main))

    def _show_on_main(self, timeout_s: float, time_s: float) -> None:
        self.shown = self._preview.take(timeout_s) or self.shown
        for output in tuple(
            self._on_main
        ):  # also without a new picture: a window that is never served counts as hung
            output.send(self._covered(self.shown), time_s)
            if output.closed:
                self._on_main.remove(output)
                if not self._has_outputs():
                    return self.stop()
                self._say(f"The {output.name} was closed; the other outputs go on, Ctrl-C ends them.")
