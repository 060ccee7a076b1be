"""Records a performance as a CSV of action units."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engines.errors import OutputError
from engines.face.action_units import EXPRESSION
from realtime.partial_file import PartialFile
from realtime.performance.curve import CSV_SUFFIX, MAX_DURATION_S, TIME
from realtime.performance.interpolation import TICK_S
from realtime.process.exit_status import close_after

_HEADER = ",".join([TIME, *EXPRESSION]) + "\n"
STORE_S = 1.0  # of a recording that a killed program may lose


class CurveWriter:
    """Records the puppet's expressions, row by row, as a CSV that `load_curve` reads. Use as a context
    manager.

    Written beside its name and renamed by `close`, so that an older recording is replaced by a whole one
    only. Rows are stored every second, so a killed program leaves a part that can be read; the next recording
    of that name keeps it, and says so. A full disk ends the recording, not the run: that is reported at once,
    what was stored gets the name, and `close` raises OutputError.
    """

    def __init__(
        self,
        path: str | Path,
        notify: Callable[[str], None] = lambda _sentence: None,
        open_file: Callable[[Path], BinaryIO] | None = None,
    ):
        """
        Args:
            notify: called with one sentence for the user at each fault.
            open_file: as PartialFile's.

        Raises: OutputError when the file cannot be written.
        """
        self._path = Path(path)
        self._notify = notify
        if self._path.suffix.lower() != CSV_SUFFIX and not self._path.is_dir():
            raise OutputError(f"--record {path} is not a curve's name: end it with {CSV_SUFFIX}.")
        self._file = PartialFile(self._path, notify, open_file, "--record")
        self._rows = [_HEADER]  # that are not stored yet
        self._first_s: float | None = None
        self._last_tick = -1
        self._stored_s = 0.0
        self._complete = False  # a longer recording could not be read
        self._discarded = False
        self._fault: OutputError | None = None

    def add(self, expression: np.ndarray, time_s: float) -> None:
        """Adds one row.

        Args:
            expression: (41,) changes in the order of EXPRESSION, -1 to 1.
            time_s: rows that do not come after the last are left out.
        """
        if self._fault or self._complete or self._discarded:
            return
        self._first_s = time_s if self._first_s is None else self._first_s
        passed_s = time_s - self._first_s
        if passed_s > MAX_DURATION_S:
            self._complete = True
            self._notify(
                f"The recording {self._path} is complete after {MAX_DURATION_S / 3600:g} hours. "
                "The puppet goes on."
            )
            return
        tick = round(passed_s / TICK_S)
        if tick <= self._last_tick:
            return
        self._last_tick = tick
        self._rows.append(f"{_seconds(tick)},{','.join(_shortest(expression))}\n")
        if passed_s - self._stored_s >= STORE_S:
            self._stored_s = passed_s
            self._store()

    def discard(self) -> None:
        """Makes `close` delete what was recorded, and leave what was at the name before."""
        self._discarded = True

    def close(self) -> None:
        """Gives the recording its name; without a row there is none.

        Raises OutputError where it ended early.
        """
        if not self._fault and (self._first_s is None or self._discarded):
            self._file.discard()
            return
        if not self._fault:
            self._store()
        if not self._fault:
            try:
                self._file.finish()
            except OSError as error:
                self._end(error)
        if self._fault:
            raise self._fault

    def _store(self) -> None:
        """Writes all waiting rows at once: what is stored always ends with a whole row."""
        rows = "".join(self._rows)
        self._rows.clear()
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
                f"{ended} and could not be given its name ({other.strerror or other}): "
                f"look for {self._file.part}."
            )
        self._notify(f"{self._fault} The puppet goes on.")
        self._fault.told = True

    def __enter__(self) -> "CurveWriter":
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        close_after(error, self.close)


def rows_of(times_s: np.ndarray, values: np.ndarray) -> str:
    """A whole CSV.

    Args:
        times_s: (T,) rising.
        values: (T, 41) in the order of EXPRESSION, -1 to 1.
    """
    rows = zip(times_s, values, strict=True)
    lines = [f"{_seconds(round(float(t) / TICK_S))},{','.join(_shortest(row))}\n" for t, row in rows]
    return "".join([_HEADER, *lines])


def _seconds(ticks: int) -> str:
    """Seconds without trailing zeros: 0.033333, 2."""
    return f"{ticks // 1_000_000}.{ticks % 1_000_000:06d}".rstrip("0").rstrip(".")


def _shortest(expression: np.ndarray) -> list[str]:
    """The fewest digits that give back the same float32."""
    return [text.removesuffix(".0") for text in map(str, np.clip(expression, -1, 1).astype(np.float32))]
