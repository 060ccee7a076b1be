"""How a run ends: Ctrl-C, SIGTERM or a terminal that is closed, once, finishes files and lets devices go; twice, or when a device does not let go, at once.

Python runs a signal's handler on the main thread, and only between two of its steps: a main thread that hangs in a driver would
never hear of it. So a thread of its own listens as well, and to the panic signal: a window that hangs must not keep the still photo away.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

STOPPED = 130  # exit status after Ctrl-C, as shells expect
NET_S = 3.0  # after the first signal, when a live run is ended at once; closing takes two at most
# How the names of threads begin that may hang in a device or a library.
OURS = ("puppet", "camera", "virtual camera", "microphone", "recording", "album", "open engines")
HANGUP = getattr(
    signal, "SIGHUP", None
)  # the terminal is closed; shell and system may both say so, which is once
SIGNALS = tuple(filter(None, (signal.SIGINT, signal.SIGTERM, HANGUP)))
PANIC = getattr(signal, "SIGUSR1", None)


class ShutdownHandler:
    """Use as a context manager around a run, on the main thread; elsewhere it does nothing."""

    def __init__(self, end_at_once: Callable[[int], object] = os._exit):
        self._end_at_once = end_at_once
        self._count, self._closing, self._live = 0, False, False
        self.panic = False  # whether it was asked for before there was anybody to hear it
        self.on_panic: Callable[[], None] = self._keep_panic  # called in the listening thread
        self.at_last: list[
            Callable[[], None]
        ] = []  # what must not be left undone even then: the terminal's mode

    def __enter__(self) -> "ShutdownHandler":
        self._mine = threading.current_thread() is threading.main_thread()
        if self._mine:
            self._ear, self._mouth = socket.socketpair()
            self._mouth.setblocking(False)
            self._fd = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
            heard = [
                number for number in SIGNALS if number != HANGUP or signal.getsignal(number) != signal.SIG_IGN
            ]  # nohup
            self._before = {number: signal.signal(number, self._handle) for number in heard}
            if PANIC:  # which would end a program that is only about to start, or draws a file
                self._before[PANIC] = signal.signal(PANIC, lambda *_signal: None)
            self._thread = threading.Thread(target=self._listen, name="ending", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._mine:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._fd)
            self._mouth.close()  # ends the thread
            self._thread.join()

    def live(self) -> bool:
        """From now on a device that does not let go is left to the system after NET_S; drawing a file may take longer to finish.

        Whether signals are heard at all.
        """
        self._live = True
        return self._mine

    def close(self) -> None:
        """Closing has begun: a first Ctrl-C would only disturb it."""
        self._closing = True

    def _keep_panic(self) -> None:
        self.panic = not self.panic

    def _handle(self, number: int, _frame: object) -> None:
        if number == HANGUP and self._count:
            return
        self._count += 1
        if self._count == 1 and not self._closing:  # a second one is the listening thread's
            raise KeyboardInterrupt

    def _listen(self) -> None:
        heard = 0
        with self._ear:
            while True:
                self._ear.settimeout(NET_S if heard and self._live else None)
                try:
                    told = self._ear.recv(1)
                except TimeoutError:
                    return self._now()
                except OSError:
                    return
                if not told:
                    return
                if told[0] == PANIC:
                    self.on_panic()
                heard += told[0] in SIGNALS and not (told[0] == HANGUP and heard)
                if heard > 1:
                    return self._now()

    def _now(self) -> None:
        for do in self.at_last:
            with suppress(Exception):  # whatever it is, the end comes first
                do()
        self._end_at_once(STOPPED)


def leave(status: int) -> NoReturn:
    """Ends the process; at once where a thread hangs in a device, since all is closed by now and the interpreter would abort."""
    if any(thread.name.startswith(OURS) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
