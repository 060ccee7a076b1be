"""AU curves: a performance as a plain CSV, read, interpolated and written.

    time_s,AU12,AU25,AU45L
    0.0,0,0,0
    0.5,0.8,0.3,1

One row a moment, seconds rising; any AUs in any order, those not named stay at 0. AU45 moves both sides of the face, AU45L
and AU45R the person's left or right alone; an AU is named whole or by its sides, never both. A value is how far the puppet is asked to
go from the photo's own expression: 0 leaves it, 1 is full. Between rows values are joined by straight lines.
"""

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.aus import MEANING, SIDED, sides, translate
from engines.errors import CurveError, OutputError
from engines.expression import ESTIMATED
from realtime.output import check_writable

TIME = "time_s"
LONGEST_S = 6 * 3600.0  # longer ones are milliseconds by mistake
KNOWN = f"known are {' '.join(au for au in MEANING if au[-1].isdigit())}, and with R or L for one side {' '.join(SIDED)}"


@dataclass(frozen=True)
class Curve:
    """A performance."""

    aus: tuple[str, ...]
    times_s: np.ndarray  # (T,) float64, rising, from 0
    values: np.ndarray  # (T, len(aus)) float32, 0..1
    note = ""  # nothing goes wrong with a curve

    @property
    def duration_s(self) -> float:
        return float(self.times_s[-1])

    def at(self, time_s: float) -> np.ndarray:
        """(29,) float32 in the order of ESTIMATED at a moment; before the first row and after the last, that row."""
        values = np.array([np.interp(time_s, self.times_s, column) for column in self.values.T], np.float32)
        return translate(values, self.aus, ESTIMATED)


def load_curve(path: str | Path) -> Curve:
    """Reads a CSV. Raises CurveError naming file, line and column for anything that is not a number from 0 to 1 in its place."""
    path = Path(path)
    if not os.path.isfile(path):
        raise CurveError(f"There is no AU curve at {path}: check the path given to --driver.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if any(cell.strip() for cell in row)]
    except OSError as error:
        raise CurveError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CurveError(f"{path} is not a text file with comma-separated values ({error}): save it as CSV in UTF-8.") from error
    if not rows:
        raise CurveError(f"{path} is empty: its first line must be {TIME} and AU names, as in {TIME},AU12,AU25.")
    header = [cell.strip() for cell in rows[0][1]]
    _check_header(path, header)
    if len(rows) < 2:
        raise CurveError(f"{path} has no rows under its header: add at least one line of numbers.")
    table = np.array([_numbers(path, number, header, row) for number, row in rows[1:]])
    late = np.flatnonzero(np.diff(table[:, 0]) <= 0)
    if len(late):
        raise CurveError(
            f"{path}, line {rows[late[0] + 2][0]}, column {TIME}: {table[late[0] + 1, 0]:g} does not come after the {table[late[0], 0]:g} above it; sort the rows by time."
        )
    if table[-1, 0] - table[0, 0] > LONGEST_S:
        raise CurveError(
            f"{path}, column {TIME}: the curve lasts {(table[-1, 0] - table[0, 0]) / 3600:.0f} hours; are its times in seconds?"
        )
    return Curve(tuple(header[1:]), table[:, 0] - table[0, 0], table[:, 1:].astype(np.float32))


def _check_header(path: Path, header: Sequence[str]) -> None:
    if header[0] != TIME:
        raise CurveError(f"{path}, line 1, column 1: the first column must be {TIME}, not {header[0]!r}.")
    if len(header) < 2:
        raise CurveError(f"{path}, line 1: no AU is named after {TIME}; {KNOWN}.")
    for column, name in enumerate(header[1:], 2):
        if name not in MEANING:
            raise CurveError(f"{path}, line 1, column {column}: {name!r} is not a known AU; {KNOWN}.")
        if header.index(name) + 1 != column:
            raise CurveError(f"{path}, line 1, column {column}: {name} is named twice; keep one of the columns.")
        for other in header[1 : column - 1]:
            if name in sides(other) or other in sides(name):
                whole = min(name, other, key=len)
                raise CurveError(
                    f"{path}, line 1, column {column}: {name} stands beside {other}, but {whole} is both sides; name either {whole}, or {' and '.join(sides(whole))}."
                )


def _numbers(path: Path, line: int, header: Sequence[str], row: Sequence[str]) -> list[float]:
    if len(row) != len(header):
        raise CurveError(f"{path}, line {line}: {len(row)} values stand under {len(header)} column names; fill or remove the difference.")
    numbers = []
    for name, cell in zip(header, row, strict=True):
        where = f"{path}, line {line}, column {name}"
        if not cell.strip():
            raise CurveError(f"{where}: the value is missing; write a number, 0 for none.")
        try:
            number = float(cell)
        except ValueError as error:
            raise CurveError(f"{where}: {cell.strip()!r} is not a number.") from error
        if not math.isfinite(number):
            raise CurveError(f"{where}: {cell.strip()} is not a usable number; write one from 0 to 1.")
        if name != TIME and not 0 <= number <= 1:
            raise CurveError(f"{where}: {number:g} is outside 0 to 1.")
        numbers.append(number)
    return numbers


class CurveWriter:
    """Records what the puppet is told, row by row, as a CSV that `load_curve` reads. Use as a context manager.

    Written beside its name and renamed at `close`, so that an older take is replaced by a whole one only. Raises OutputError.
    """

    def __init__(self, path: str | Path):
        check_writable(path, "--record")
        self._path = Path(path)
        self._partial = self._path.with_name(f".{self._path.name}.part")
        try:
            self._file = open(self._partial, "w", newline="", encoding="utf-8")
        except OSError as error:
            raise self._fault(error) from error
        self._writer = csv.writer(self._file)
        self._writer.writerow([TIME, *ESTIMATED])
        self._first_s: float | None = None
        self._last_s = -math.inf

    def add(self, expression: np.ndarray, time_s: float) -> None:
        """One moment: (29,) changes in the order of ESTIMATED; what lies below 0 is written as 0."""
        self._first_s = time_s if self._first_s is None else self._first_s
        moment_s = round(time_s - self._first_s, 3)
        if moment_s > self._last_s:
            try:
                self._writer.writerow([f"{moment_s:g}", *(f"{v + 0.0:.3g}" for v in np.clip(expression, 0, 1).round(3))])
            except OSError as error:
                raise self._fault(error) from error
            self._last_s = moment_s

    def close(self) -> None:
        try:
            self._file.close()
            if self._first_s is None:
                self._partial.unlink()
            else:
                self._partial.replace(self._path)
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> OutputError:
        return OutputError(f"The recording {self._path} cannot be written ({error.strerror}): free some space or choose another --record.")

    def __enter__(self) -> "CurveWriter":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
