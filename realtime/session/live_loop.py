"""The life of a frame in a live run, and the threads it passes through.

    capture   frame = camera.read()                       one thread
    track     expression = overlay(tracker(frame))        one thread: face, AUs, neutral, smoothing
    render    picture = animator.show(expression, now)    one thread: retargeting, engine, blending
    send      outputs.send(picture)                       one thread, by the output's own clock
    preview   window.send(picture)                        the main thread

Each passes its newest value on through a slot (Latest): a value that was not taken is replaced, and nothing
queues. The output keeps its own clock, so a virtual camera never stops, whatever the driver or the generator
does. Offline (offline.py) the same stages run in turn, in one thread.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from realtime.controls import Controls
from realtime.latest_value import Latest
from realtime.messages import DriverExpression, RenderedFrame
from realtime.process.worker import Worker
from realtime.puppet.animator import Animator
from realtime.session.expression_source import ExpressionSource
from realtime.session.output_fanout import OutputFanout
from realtime.timing import FollowingTicks, Rate, Timings

IDLE_S = 1 / 30  # how often the puppet is drawn while no expression comes: easing to neutral goes on
LEAVE_S = 1.0  # for all threads to end; one that hangs in a device is left behind


class LiveLoop:
    """Runs expressions into outputs until `stop`, an error in any thread, or the end of the driver."""

    def __init__(
        self,
        source: ExpressionSource,
        animator: Animator,
        outputs: OutputFanout,
        timings: Timings,
        fps: float = 30.0,
        clocked: bool = True,
        controls: Controls | None = None,
    ):
        """
        Args:
            source: where expressions come from.
            animator: draws them.
            outputs: where the pictures go.
            timings: gets "send", "output clock late" and "capture to output".
            fps: of the output's clock.
            clocked: whether the output keeps that clock; without, every picture is sent when it is drawn
                (benchmarks).
            controls: what the user switches.
        """
        self.animator = animator
        self.expressions: Latest[DriverExpression] = Latest()
        self.pictures: Latest[RenderedFrame] = Latest()
        self.shown = RenderedFrame(animator.still, 0.0)  # by the outputs of the main thread
        self.rate = Rate()  # of fresh pictures
        self.sent = 0
        self.fresh = 0  # sent pictures that were not sent before
        self._source = source
        self.outputs = outputs
        self.timings = timings
        self._fps = fps
        self._clocked = clocked
        self.controls = controls or Controls()
        self._preview: Latest[RenderedFrame] = Latest()
        self._drawn_s = 0.0  # when the newest picture was put into its slot
        self._newest_s = 0.0  # when the newest driver frame that was sent had been captured
        self._stopping = threading.Event()
        self._error: BaseException | None = None

    def run(self, duration_s: float = float("inf")) -> None:
        """Blocks until the end. Re-raises the first error of any thread, after all have left."""
        with self.running():
            self.wait(duration_s)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Threads started on entry, all gone on exit; then the first error of any of them is raised."""
        stages = {**self._source.stages(self.expressions), "render": self._render, "send": self._send}
        workers = [
            Worker(partial(self._run_stage, stage), f"puppet {name}", self._fail)
            for name, stage in stages.items()
        ]
        try:
            for worker in workers:  # Ctrl-C may come between them
                worker.start()
            yield
        finally:
            self.stop()
            end_s = time.perf_counter() + LEAVE_S
            for worker in workers:
                worker.join(max(0.0, end_s - time.perf_counter()))
        if self._error:
            raise self._error

    def wait(self, duration_s: float = float("inf"), each_turn: Callable[[], None] = lambda: None) -> None:
        """Serves the main thread's outputs until duration_s is over, the user ends it, or the loop stops."""
        start_s = time.perf_counter()
        while (
            not (self.stopped or self.controls.ending)
            and (left_s := start_s + duration_s - time.perf_counter()) > 0
        ):
            self.shown = self._preview.take(min(IDLE_S, left_s)) or self.shown
            # Also without a new picture: a window that is never served counts as hung.
            if not self.outputs.send_on_main(self._covered(self.shown), time.perf_counter() - start_s):
                self.stop()
            each_turn()

    def stop(self) -> None:
        """Asks every thread to return. For any thread."""
        self._stopping.set()
        self._source.stop()
        for slot in (self.expressions, self.pictures, self._preview):
            slot.close()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called, by whichever thread."""
        return self._stopping.is_set()

    @property
    def dropped(self) -> dict[str, int]:
        """Values that a newer one replaced, by slot."""
        return {
            "frames": self._source.dropped,
            "expressions": self.expressions.dropped,
            "pictures": self.pictures.dropped,
        }

    @property
    def notes(self) -> list[str]:
        """What is not as it should be, in two words each."""
        switched = []
        if self.controls.panic:
            switched = ["panic: still photo"]
        elif self.controls.paused:
            switched = ["paused"]
        return [*switched, *self._source.notes, *filter(None, [self.animator.note])]

    def _run_stage(self, stage: Callable[[], None]) -> None:
        stage()
        self.stop()  # one that returns has nothing more to do, and the others nothing to wait for

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self.stop()

    def _render(self) -> None:
        """Expressions -> pictures. What the outputs have already is not drawn again."""
        last = self.animator.show(None, time.perf_counter())
        while not self.stopped:
            expression = self.expressions.take(IDLE_S)
            now_s = time.perf_counter()
            if self.controls.covered:
                picture = self.animator.rest(now_s)
            else:
                picture = self.animator.show(expression, now_s)
            if picture is not last:
                self._drawn_s = time.perf_counter()
                self.pictures.put(picture)
                last = picture

    def _send(self) -> None:
        """Pictures -> outputs."""
        picture = RenderedFrame(self.animator.still, time.perf_counter())
        for time_s, new in self._at_each_tick() if self._clocked else self._as_drawn():
            picture = new or picture
            with self.timings.measure("send"):
                self.outputs.send(self._covered(picture), time_s)
            self.sent += 1
            if new is not None:
                self._count_fresh(new)
                self._preview.put(new)

    def _at_each_tick(self) -> Iterator[tuple[float, RenderedFrame | None]]:
        """Yields at every tick of the output's clock, which moves so that pictures wait only a moment.

        Yields: the tick's time in seconds, and the newest picture where there is a new one.
        """
        ticks = FollowingTicks(self._fps, time.perf_counter())
        while True:
            ticks.advance(time.perf_counter())
            if self._stopping.wait(max(0.0, ticks.due_s - time.perf_counter())):
                return
            now_s = time.perf_counter()
            self.timings.add("output clock late", now_s - ticks.due_s)
            if new := self.pictures.take(0):
                waited_s = now_s - self._drawn_s
            yield ticks.time_s, new
            if new:
                ticks.follow(waited_s)

    def _as_drawn(self) -> Iterator[tuple[float, RenderedFrame]]:
        """The same without a clock: every picture when it is drawn."""
        number = 0
        while not self.stopped:
            if picture := self.pictures.take(IDLE_S):
                number += 1
                yield number / self._fps, picture

    def _count_fresh(self, picture: RenderedFrame) -> None:
        now_s = time.perf_counter()
        self.fresh += 1
        self.rate.add(now_s)
        if (
            picture.captured_s > self._newest_s
        ):  # easing and idle motion draw an old frame again: that is no delay
            self._newest_s = picture.captured_s
            self.timings.add("capture to output", now_s - picture.captured_s)

    def _covered(self, picture: RenderedFrame) -> np.ndarray:
        """The picture, or what the user shows in its place."""
        if self.controls.panic:
            return self.animator.still
        return self.animator.slate if self.controls.paused else picture.image
