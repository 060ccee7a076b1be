"""Acts of the page, carried out where keys are: on the main thread, between two of its turns."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from realtime.page.http_messages import Refused, Request
from realtime.session.live_run import LiveRun

T = TypeVar("T")
# What answers a request about a run; it asks the main thread itself where it has to be there
Handler = Callable[[LiveRun, Request], object]
MAX_WAITING = 16
ANSWER_S = 5.0  # opening a device takes a second; a main thread that takes longer hangs


@dataclass
class _Act(Generic[T]):
    do: Callable[[], T]
    done: threading.Event = field(default_factory=threading.Event)
    result: T | None = None
    error: Exception | None = None


class MainThread:
    """Takes acts of any thread to the main one."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[_Act] = queue.Queue(MAX_WAITING)

    def ask(self, do: Callable[[], T]) -> T:
        """What `do` returns on the main thread.

        Raises: what `do` raises; Refused where the main thread does not answer.
        """
        act = _Act(do)
        try:
            self._waiting.put_nowait(act)
        except queue.Full:
            raise Refused(503, "The program is busy: try it again in a moment.") from None
        if not act.done.wait(ANSWER_S):
            raise Refused(503, "The program does not answer: try it again in a moment.")
        if act.error:
            raise act.error
        return cast(T, act.result)

    def turn(self) -> None:
        """On the main thread: does what waits."""
        while True:
            try:
                act = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                act.result = act.do()
            except Exception as error:  # raised where it was asked for; the main thread goes on
                act.error = error
            act.done.set()
