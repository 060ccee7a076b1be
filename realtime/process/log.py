"""What the program says on standard error while it runs: few sentences, each once, and figures only when asked for.

A fault that comes and goes for hours must not fill a disk or a terminal, so what repeats is counted instead of said. What answers
a key is said each time: the last line must not be that the puppet moves while it does not.
"""

import logging
import os
import sys
import time
from collections import OrderedDict
from functools import cache
from typing import TextIO

LOG = logging.getLogger("puppet")
REPEAT_S = 60.0  # before the same sentence is said again
BURST, BURST_S = 30, 60.0  # sentences within so many seconds; a start says a handful
REMEMBERED = 64  # sentences; older ones count as new


def say(sentence: str) -> None:
    """One sentence for the user."""
    LOG.info(sentence)


def answer(sentence: str) -> None:
    """One sentence to a user who has just pressed a key: however often they do."""
    LOG.info(sentence, extra={"answers": True})


class RepeatFilter(logging.Filter):
    """Lets a sentence through once in REPEAT_S, then with the number of times it was kept back, BURST sentences in BURST_S, all answers."""

    def __init__(self, clock=time.monotonic):
        super().__init__()
        self._clock = clock
        self._said: OrderedDict[str, list] = OrderedDict()  # sentence -> [when, times kept back]
        self._burst_s, self._in_burst = -BURST_S, 0

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "answers", False):
            return True
        sentence, now_s = record.getMessage(), self._clock()
        last = self._said.setdefault(sentence, [-REPEAT_S, 0])
        self._said.move_to_end(sentence)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        if now_s - self._burst_s >= BURST_S:
            self._burst_s, self._in_burst = now_s, 0
        repeats = now_s - last[0] < REPEAT_S
        self._in_burst += not repeats  # what is kept back for itself is in nobody's way
        if repeats or self._in_burst > BURST:
            last[1] += 1
            return False
        if last[1]:
            record.msg, record.args = f"{sentence} (and {last[1]} times since it was said)", ()
        last[:] = [now_s, 0]
        return True


def start(verbose: bool = False) -> None:
    """Speaks on standard error from now on; verbose: with the time, and figures every few seconds."""
    handler = logging.StreamHandler(_standard_error())
    handler.addFilter(RepeatFilter())
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03d %(message)s" if verbose else "%(message)s", "%H:%M:%S")
    )
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.DEBUG if verbose else logging.INFO)
    LOG.propagate = False


def _standard_error() -> TextIO | None:
    """Where sentences go; if that is file descriptor 2, another one for it: libraries that start in a thread have that one shut for a second."""
    try:
        return sys.stderr if sys.stderr is None or sys.stderr.fileno() != 2 else _second_descriptor()
    except OSError:  # no file: a test's
        return sys.stderr


@cache
def _second_descriptor() -> TextIO:
    return open(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
