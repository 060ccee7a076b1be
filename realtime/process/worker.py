"""Background threads: one class for all of them."""

import threading
from collections.abc import Callable

_running: set["Worker"] = set()  # whose threads are at work; adding and discarding are atomic


class Worker:
    """A background thread that can be asked to stop, and is waited for no longer than a limit.

    The thread is a daemon: one that hangs in a device's driver is left behind.
    """

    def __init__(
        self,
        work: Callable[[], object],
        name: str,
        on_error: Callable[[BaseException], object] | None = None,
    ):
        """
        Args:
            work: what the thread does. It has to return soon after `stopping` turns true.
            name: of the thread, as messages and debuggers show it.
            on_error: called in the thread with what `work` raises; without it `threading.excepthook` reports
                that.
        """
        self.name = name
        self._work = work
        self._on_error = on_error
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Starts the thread, again if it has ended. Returns False, and does nothing, while it is alive.

        For one thread.
        """
        if self.alive:
            return False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()
        return True

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopping.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits up to timeout_s for `stop`; returns whether it was called. The work's own way to sleep."""
        return self._stopping.wait(timeout_s)

    def stop(self) -> None:
        """Asks the work to return; waits for nothing.

        For any thread, and for good: a later start finds it stopping.
        """
        self._stopping.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Waits up to timeout_s (None: without a limit) for the thread's end.

        Returns whether it has ended.
        """
        if self.alive and self._thread is not None:
            self._thread.join(timeout_s)
        return not self.alive

    def close(self, timeout_s: float) -> bool:
        """`stop` and `join`; returns whether the thread has ended, False for one that is left behind."""
        self.stop()
        return self.join(timeout_s)

    def _run(self) -> None:
        _running.add(self)
        try:
            self._work()
        except BaseException as error:
            if self._on_error is None:
                raise
            self._on_error(error)
        finally:
            _running.discard(self)


def running() -> list[str]:
    """The names of all workers at work; once all are closed, of those that hang."""
    return sorted(worker.name for worker in tuple(_running))
