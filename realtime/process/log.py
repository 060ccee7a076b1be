"""The log, on standard error: few sentences, each once, and figures only with --verbose.

A fault that comes and goes for hours must not fill a disk or a terminal, so what repeats is counted instead.
What answers a key is logged each time: the last line must not be that the puppet moves while it does not.
"""

import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TextIO

from tqdm import tqdm

LOG = logging.getLogger("puppet")
REPEAT_S = 60.0  # before the same sentence is logged again
BURST = 30  # sentences in BURST_S; a start logs a handful
BURST_S = 60.0
REMEMBERED = 64  # sentences; older ones count as new


def say(sentence: str) -> None:
    """One sentence for the user."""
    LOG.info(sentence)


def warn(sentence: str) -> None:
    """One sentence about something that went wrong while the rest goes on."""
    LOG.warning(sentence)


def answer(sentence: str) -> None:
    """One sentence to a user who has just pressed a key: however often they do."""
    LOG.info(sentence, extra={"answers": True})


@dataclass
class _Logged:
    """When a sentence was logged last, and how often it was held back since."""

    time_s: float = -REPEAT_S
    held_back: int = 0


class RepeatFilter(logging.Filter):
    """Passes a sentence once in REPEAT_S, then with the number of times it was held back.

    Of all sentences together BURST in BURST_S pass, and every answer to a key.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        super().__init__()
        self._clock = clock
        self._logged: OrderedDict[str, _Logged] = OrderedDict()
        self._burst_s = -BURST_S  # when the burst began
        self._in_burst = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "answers", False):
            return True
        sentence = record.getMessage()
        now_s = self._clock()
        last = self._logged.setdefault(sentence, _Logged())
        self._logged.move_to_end(sentence)
        if len(self._logged) > REMEMBERED:
            self._logged.popitem(last=False)
        if now_s - self._burst_s >= BURST_S:
            self._burst_s = now_s
            self._in_burst = 0
        repeats = now_s - last.time_s < REPEAT_S
        self._in_burst += not repeats  # what repeats takes no other sentence's place
        if repeats or self._in_burst > BURST:
            last.held_back += 1
            return False
        if last.held_back:
            record.msg = f"{sentence} (and {last.held_back} times since it was said)"
            record.args = ()
        last.time_s = now_s
        last.held_back = 0
        return True


class _BesideBars(logging.StreamHandler):
    """Writes above the progress bars of standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            super().emit(record)


def start(verbose: bool = False) -> None:
    """Logs to standard error from now on; verbose: with the time, and figures every few seconds."""
    handler = _BesideBars(_standard_error())
    handler.addFilter(RepeatFilter())
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03d %(message)s" if verbose else "%(message)s", "%H:%M:%S")
    )
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.DEBUG if verbose else logging.INFO)
    LOG.propagate = False


def _standard_error() -> TextIO | None:
    """Where sentences go: a copy of file descriptor 2, which is closed for a second when a library starts."""
    try:
        return sys.stderr if sys.stderr is None or sys.stderr.fileno() != 2 else _second_descriptor()
    except OSError:  # no file: a test's
        return sys.stderr


@cache
def _second_descriptor() -> TextIO:
    return open(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
