"""Ctrl-C and SIGTERM end a run after the step in hand, with its loader still alive."""

import signal


def ignore_ctrl_c(_worker: int) -> None:
    """Ctrl-C reaches the loader's processes, too; they must live until the step in hand is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class StopOnSignal:
    """Turns Ctrl-C and SIGTERM into a clean end after the step in hand."""

    requested = False

    def __enter__(self) -> "StopOnSignal":
        self._old = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, *_args: object) -> None:
        self.requested = True

    def __exit__(self, *_exc: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
