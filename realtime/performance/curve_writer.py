"""Records a performance as a CSV of action units."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.errors import OutputError
from engines.face.au_estimator import ESTIMATED
from realtime.partial_file import PartialFile
from realtime.performance.curve import CSV_SUFFIX, LONGEST_S, TIME
from realtime.performance.interpolation import TICK_S

STORE_S = 1.0  # of a recording that a killed program may lose


class CurveWriter:
    """Records what the puppet is told, row by row, as a CSV that `load_curve` reads. Use as a context manager.

    Written beside its name and renamed at `close`, so that an older take is replaced by a whole one only. Rows are stored every second, so
    a program that is killed leaves a part that can be read; the next recording of that name keeps it, and says so. A disk that is full ends
    the recording, not the run: that is said at once, what was stored gets the name, and `close` raises OutputError.
    """

    def __init__(
        self,
        path: str | Path,
        say: Callable[[str], None] = lambda _sentence: None,
        open_file: Callable[[Path], object] | None = None,
    ):
        """say: told what a person should know, in sentences; open_file: as PartialFile's. Raises OutputError."""
        self._path, self._say = Path(path), say
        if self._path.suffix.lower() != CSV_SUFFIX and not self._path.is_dir():
            raise OutputError(f"--record {path} is not a curve's name: end it with {CSV_SUFFIX}.")
        self._file = PartialFile(self._path, say, open_file, "--record")
        self._waiting = [",".join([TIME, *ESTIMATED]) + "\n"]
        self._first_s: float | None = None
        self._last = -1  # ticks
        self._stored_s = 0.0
        self._complete = self._discarded = False  # complete: a longer one could not be read
        self._fault: OutputError | None = None

    def add(self, expression: np.ndarray, time_s: float) -> None:
        """One moment: (41,) changes in the order of ESTIMATED, -1..1. Moments that do not come after the last are left out."""
        if self._fault or self._complete:
            return
        self._first_s = time_s if self._first_s is None else self._first_s
        moment_s = time_s - self._first_s
        if moment_s > LONGEST_S:
            self._complete = True
            return self._say(
                f"The recording {self._path} is complete after {LONGEST_S / 3600:g} hours. The puppet goes on."
            )
        tick = round(moment_s / TICK_S)
        if tick <= self._last:
            return
        self._last = tick
        self._waiting.append(f"{_plain(tick)},{','.join(_shortest(expression))}\n")
        if moment_s - self._stored_s >= STORE_S:
            self._stored_s = moment_s
            self._store()

    def discard(self) -> None:
        """Makes `close` throw away what was recorded, and leave what stood there before."""
        self._complete = self._discarded = True

    def close(self) -> None:
        """Gives the recording its name; without a moment there is none. Raises OutputError where it ended early."""
        if not self._fault and (self._first_s is None or self._discarded):
            return self._file.discard()
        if not self._fault:
            self._store()
        if not self._fault:
            try:
                return self._file.finish()
            except OSError as error:
                self._end(error)
        raise self._fault

    def _store(self) -> None:
        """All rows that wait, in one go: what is there ends with a whole row, whenever the program dies."""
        rows = "".join(self._waiting)
        self._waiting.clear()
        try:
            self._file.write(rows.encode())
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        ended = f"The recording {self._path} ended early ({error.strerror or error})"
        try:
            self._file.salvage()
            self._fault = OutputError(
                f"{ended}: it holds what came before; free some space before the next one."
            )
        except OSError as other:
            self._fault = OutputError(
                f"{ended} and could not be given its name ({other.strerror or other}): look for {self._file.part}."
            )
        self._say(f"{self._fault} The puppet goes on.")

    def __enter__(self) -> "CurveWriter":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _plain(ticks: int) -> str:
    """Seconds without zeros that say nothing: 0.033333, 2."""
    return f"{ticks // 1_000_000}.{ticks % 1_000_000:06d}".rstrip("0").rstrip(".")


def _shortest(expression: np.ndarray) -> list[str]:
    """The fewest digits that give back the same float32."""
    return [text.removesuffix(".0") for text in map(str, np.clip(expression, -1, 1).astype(np.float32))]
