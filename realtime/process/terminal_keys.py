"""Keys typed into the terminal of the program, so that the panic key works without a window."""

import os
import sys
from collections.abc import Iterator


class TerminalKeys:
    """Keys as they are typed, without Enter. Use as a context manager; without a terminal it does nothing."""

    def __init__(self) -> None:
        self._saved: list | None = None

    def __enter__(self) -> "TerminalKeys":
        if (
            sys.platform != "win32"
            and sys.stdin is not None
            and not sys.stdin.closed
            and sys.stdin.isatty()
            and in_foreground()
        ):
            import termios
            import tty

            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)  # Ctrl-C still ends the program
        return self

    @property
    def listens(self) -> bool:
        """Whether keys can be typed."""
        return sys.platform == "win32" or self._saved is not None

    def __exit__(self, *_exc: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Sets the terminal's mode back to what it was."""
        if self._saved and in_foreground():  # in the background the shell has done so
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)
        self._saved = None

    def keys(self) -> Iterator[str]:
        """What was typed since the last call."""
        if sys.platform == "win32":
            import msvcrt

            while msvcrt.kbhit():
                yield msvcrt.getwch()
            return
        if not self._saved or not in_foreground():
            return
        import select

        if select.select([sys.stdin], [], [], 0)[0]:
            typed = os.read(sys.stdin.fileno(), 64).decode(errors="ignore")
            # Arrows begin with Esc: no panic.
            yield from [typed] if len(typed) == 1 else [key for key in typed if key != "\x1b"]


def in_foreground() -> bool:
    """Whether this process owns the terminal: the system stops one in the background that reads from it."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False
