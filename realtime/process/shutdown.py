"""How a run ends.

Ctrl-C, SIGTERM or a terminal that is closed: once finishes files and releases devices; twice, or when a
device does not let go, ends the process at once.

Python runs a signal's handler on the main thread, and only between two of its steps: a main thread that hangs
in a driver would never run it. So a thread of its own listens as well, also for the panic signal: a window
that hangs must not keep the still photo away.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from realtime.process import worker
from realtime.process.worker import Worker

STOPPED = 130  # exit status after Ctrl-C, as shells expect
RELEASE_S = 3.0  # after the first signal, when a live run is ended at once; closing takes two at most
# The terminal is closed; shell and system may both report it, which counts once.
HANGUP = getattr(signal, "SIGHUP", None)
SIGNALS = tuple(filter(None, (signal.SIGINT, signal.SIGTERM, HANGUP)))
PANIC = getattr(signal, "SIGUSR1", None)


class ShutdownHandler:
    """Use as a context manager around a run, on the main thread; elsewhere it does nothing."""

    def __init__(self, end_at_once: Callable[[int], object] = os._exit):
        """end_at_once: ends the process with an exit status."""
        self._end_at_once = end_at_once
        self._count = 0  # of signals to end, as the main thread got them
        self._closing = False
        self._deferring = False
        self._live = False
        self.panic = False  # whether it was asked for before there was a picture
        self.on_panic: Callable[[], None] = self._keep_panic  # called in the listening thread
        self.at_last: list[Callable[[], None]] = []  # done even when it ends at once: the terminal's mode

    def __enter__(self) -> "ShutdownHandler":
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            self._receiver, self._sender = socket.socketpair()
            self._sender.setblocking(False)
            self._earlier_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
            # Under nohup the terminal may be closed.
            handled = [n for n in SIGNALS if n != HANGUP or signal.getsignal(n) != signal.SIG_IGN]
            self._earlier = {number: signal.signal(number, self._handle) for number in handled}
            if PANIC:  # which would end a program that is only about to start, or draws a file
                self._earlier[PANIC] = signal.signal(PANIC, lambda *_signal: None)
            self._listener = Worker(self._listen, "signals")
            self._listener.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._active:
            for number, handler in self._earlier.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._earlier_fd)
            self._sender.close()  # ends the thread
            self._listener.join()

    def live(self) -> None:
        """From now on a device that does not let go within RELEASE_S is left to the system.

        Drawing a file may take longer to finish, and is waited for.
        """
        self._live = True

    def released(self) -> None:
        """The devices are closed: what is left to do, as signing a long recording, is waited for."""
        self._live = False

    def close(self) -> None:
        """Closing has begun: a first Ctrl-C would only disturb it."""
        self._closing = True

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A first Ctrl-C within the block is raised at its end.

        For what must not stop half way: a file is made, and whoever deletes or finishes it is told. Keep it
        short, as only a second Ctrl-C ends it.
        """
        before = self._count
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if not before and self._count and not self._closing:
            raise KeyboardInterrupt

    def _keep_panic(self) -> None:
        self.panic = not self.panic

    def _handle(self, number: int, _frame: object) -> None:
        """On the main thread."""
        if number == HANGUP and self._count:
            return
        self._count += 1
        # A second one is the listening thread's
        if self._count == 1 and not (self._closing or self._deferring):
            raise KeyboardInterrupt

    def _listen(self) -> None:
        received = 0  # signals to end
        with self._receiver:
            while True:
                self._receiver.settimeout(RELEASE_S if received and self._live else None)
                try:
                    data = self._receiver.recv(1)
                except TimeoutError:
                    if self._live:
                        return self._end_now()
                    continue
                except OSError:
                    return
                if not data:
                    return
                number = data[0]
                if number == PANIC:
                    self.on_panic()
                received += number in SIGNALS and not (number == HANGUP and received)
                if received > 1:
                    return self._end_now()

    def _end_now(self) -> None:
        for do in self.at_last:
            with suppress(Exception):  # whatever it is, the end comes first
                do()
        self._end_at_once(STOPPED)


def leave(status: int) -> NoReturn:
    """Ends the process.

    Everything is closed by now. A worker that is still running hangs in a device, and would make the
    interpreter abort while it is finalised: then the process ends without that.
    """
    if worker.running():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
