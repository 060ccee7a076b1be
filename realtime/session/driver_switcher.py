"""A driver that can be exchanged while the puppet is live: none, a camera, a clip, a tracker, a curve."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from engines.errors import PuppetError
from realtime.latest_value import Latest
from realtime.messages import DriverExpression
from realtime.process.worker import Worker
from realtime.session.expression_source import IDLE_S, ExpressionSource
from realtime.session.key_actions import Recalibrated

LEAVE_S = 2.5  # for the threads of a driver that is exchanged: a read of a camera takes up to two seconds


@dataclass(frozen=True)
class DriverChoice:
    """What is to drive."""

    drivers: tuple[str, ...] = ()  # as --driver gives them; none: nobody
    once: bool = False  # whether a performance ends, and does not begin again
    profile: str | None = None  # of the driver, as --profile gives it
    name: str = ""  # for people, where the drivers say nothing to them


NOBODY = DriverChoice()


@dataclass(frozen=True)
class OpenDriver:
    """A driver, open."""

    source: ExpressionSource
    tracker: Recalibrated | None  # what follows a face; None where a curve drives
    close: Callable[[], None]


class DriverSwitcher:
    """An ExpressionSource of whatever driver was chosen last, by the values of --driver.

    One that cannot be opened is reported, and the one before goes on. While there is none, no expressions
    come: the puppet holds, eases to neutral and shows the still photo.
    """

    has_rest = True

    def __init__(
        self,
        open_driver: Callable[[DriverChoice, ExitStack], tuple[ExpressionSource, Recalibrated | None]],
        say: Callable[[str], None],
    ):
        """
        Args:
            open_driver: a choice -> where expressions come from, and what follows the driver;
                the stack closes what it opened. Called in a background thread. Raises PuppetError.
            say: called with a sentence about every fault.
        """
        self._open_driver = open_driver
        self._say = say
        self._choice = threading.Condition()
        self._wanted: DriverChoice | None = None  # that is not open yet
        self.chosen = NOBODY  # that was asked for last
        self._before = NOBODY  # and before it
        self.fault = ""  # why it does not drive, a sentence
        self._open: OpenDriver | None = None
        self._workers: list[Worker] = []
        self._stopping = threading.Event()
        self._failed = threading.Event()
        self._dropped = 0  # by drivers before this one

    def choose(self, choice: DriverChoice) -> None:
        """Exchanges the driver. Waits for nothing. For any thread."""
        with self._choice:
            if not self.chosen.once:  # one that ends is nothing to go back to
                self._before = self.chosen
            self.chosen = self._wanted = choice
            self.fault = ""
            self._choice.notify_all()

    def back(self) -> None:
        """To the driver before this one."""
        self.choose(self._before)

    @property
    def opening(self) -> bool:
        """Whether the driver that was chosen is not open yet."""
        return self._wanted is not None

    @property
    def is_open(self) -> bool:
        """Whether a device or a file of a driver is open, or being opened."""
        return self.opening or self._open is not None

    @property
    def ended(self) -> bool:
        """Whether a performance that was to be played once is over."""
        opened = self._open
        return self.chosen.once and not self.opening and not (opened and any(w.alive for w in self._workers))

    @property
    def notes(self) -> list[str]:
        opened = self._open
        return opened.source.notes if opened else []

    @property
    def dropped(self) -> int:
        opened = self._open
        return self._dropped + (opened.source.dropped if opened else 0)

    @property
    def has_face(self) -> bool:
        """Whether a face is followed: a curve has none."""
        opened = self._open
        return opened is None or opened.tracker is not None

    def recalibrate(self) -> None:
        """Learns the driver's rest again, where they have one. For any thread."""
        opened = self._open
        if opened and opened.tracker and opened.tracker.has_rest:
            opened.tracker.recalibrate()

    def stages(self, expressions: Latest[DriverExpression]) -> dict[str, Callable[[], None]]:
        return {"driver": lambda: self._run(expressions)}

    def stop(self) -> None:
        self._stopping.set()
        opened = self._open
        if opened:
            opened.source.stop()
        with self._choice:
            self._choice.notify_all()

    def _run(self, expressions: Latest[DriverExpression]) -> None:
        try:
            while not self._stopping.is_set():
                with self._choice:
                    self._choice.wait_for(
                        lambda: self._wanted is not None or self._stopping.is_set() or self._failed.is_set(),
                        IDLE_S * 10,
                    )
                    wanted = self._wanted
                if self._failed.is_set():
                    self._close()
                if wanted is not None and not self._stopping.is_set():
                    self._exchange(wanted, expressions)
        finally:
            self._close()

    def _exchange(self, wanted: DriverChoice, expressions: Latest[DriverExpression]) -> None:
        self._close()  # first: both may be the same camera
        fault = ""
        if wanted.drivers:
            try:
                self._start(wanted, expressions)
            except PuppetError as error:
                fault = str(error)
        with self._choice:
            if self._wanted is wanted:
                self._wanted = None
                self.fault = fault
        if fault:
            self._say(fault)

    def _start(self, wanted: DriverChoice, expressions: Latest[DriverExpression]) -> None:
        """Raises PuppetError."""
        stack = ExitStack()
        try:
            source, tracker = self._open_driver(wanted, stack)
        except BaseException:
            stack.close()
            raise
        self._failed.clear()
        self._workers = [
            Worker(stage, f"puppet {name}", partial(self._fail, source))
            for name, stage in source.stages(expressions).items()
        ]
        self._open = OpenDriver(source, tracker, stack.close)
        for worker in self._workers:
            worker.start()
        if self._stopping.is_set():
            source.stop()

    def _fail(self, source: ExpressionSource, error: BaseException) -> None:
        """In a thread of a driver: the call goes on without it."""
        opened = self._open
        if opened is None or opened.source is not source:  # it is being closed already
            return
        if not isinstance(error, PuppetError):
            report = (type(error), error, error.__traceback__, threading.current_thread())
            threading.excepthook(threading.ExceptHookArgs(report))
        else:
            self.fault = str(error)
            self._say(self.fault)
        self._failed.set()
        with self._choice:
            self._choice.notify_all()

    def _close(self) -> None:
        opened, self._open = self._open, None
        self._failed.clear()
        if opened is None:
            return
        self._dropped += opened.source.dropped
        opened.source.stop()
        end_s = time.perf_counter() + LEAVE_S
        for worker in self._workers:
            worker.join(max(0.0, end_s - time.perf_counter()))
        try:
            opened.close()
        except PuppetError as error:  # the call goes on
            self._say(str(error))
