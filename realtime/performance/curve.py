"""AU curves: a performance as a plain CSV, read, interpolated and written.

    time_s,AU12,AU25,AU45L
    0.0,0,0,0
    0.5,0.8,0.3,1

One row a moment, seconds rising; the first row is the beginning, whatever its time. Any AUs in any order, those not named stay at 0. AU45
moves both sides of the face, AU45L and AU45R the person's left or right alone; an AU is named whole or by its sides, never both. A
value is how far the puppet is asked to go from the photo's own expression: 0 leaves it, 1 is full, and below 0 (to -1) it goes the
other way: brows that are lower than at rest. Between rows values are joined by monotone cubics, which never overshoot; before the first
row and after the last that row is held. Spreadsheets may save it with semicolons or tabs in place of commas, and with decimal commas.

What is recorded is what the puppet was told, to the last bit: `curve.at(t)` gives the same (29,) float32 for each t at which a row was
recorded, counted from the first, and for each t as it is written (times are rounded to a microsecond, values are not). So a replay
at the rate at which it was recorded gives the same pictures. JSON is keyframes.py's.
"""

import csv
import math
import os
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from engines.errors import CurveError, OutputError
from engines.face.action_units import MEANING, SIDED, sides, translate
from engines.face.au_estimator import ESTIMATED
from realtime.partial_file import PartialFile
from realtime.performance.interpolation import TICK_S, Segments, monotone

TIME = "time_s"
CSV_SUFFIX, JSON_SUFFIX = ".csv", ".json"
LONGEST_S = 6 * 3600.0  # longer ones are milliseconds by mistake
KNOWN = f"known are {' '.join(au for au in MEANING if au[-1].isdigit())}, and with R or L for one side {' '.join(SIDED)}"
STORE_S = 1.0  # of a recording that a killed program may lose


@runtime_checkable
class Performance(Protocol):
    """Something that tells the puppet what to do at every moment: a curve, a part of one, several of them."""

    duration_s: float  # infinite for one that is repeated for ever
    note: str  # as Told's

    def at(self, time_s: float) -> np.ndarray:
        """(29,) float32 in the order of ESTIMATED, a new array, at a moment counted from the beginning."""
        ...


@dataclass(frozen=True, eq=False)
class Curve:
    """A performance by knots."""

    aus: tuple[str, ...]
    times_s: np.ndarray  # (T,) float64, rising, from 0
    values: np.ndarray  # (T, len(aus)) float32, -1..1
    way: Segments | None = None  # between the knots; monotone cubics where it is not given
    note = ""  # nothing goes wrong with a curve

    @property
    def duration_s(self) -> float:
        return float(self.times_s[-1])

    def at(self, time_s: float) -> np.ndarray:
        """(29,) float32 in the order of ESTIMATED at a moment; before the first knot and after the last, that knot."""
        return translate(self._way.at(time_s), self.aus, ESTIMATED)

    @cached_property
    def _way(self) -> Segments:
        return self.way or monotone(self.times_s, self.values)


def load_curve(path: str | Path) -> Curve:
    """Reads a CSV, or keyframes as JSON. Raises CurveError naming file, line and column for anything that does not belong in its place."""
    path = Path(path)
    if not os.path.isfile(path):
        raise CurveError(f"There is no AU curve at {path}: check the path.")
    if path.suffix.lower() == JSON_SUFFIX:
        from realtime.performance.keyframes import load_keyframes

        return load_keyframes(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return _read(path, file)
    except OSError as error:
        raise CurveError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CurveError(f"{path} is not a text file with comma-separated values ({error}): save it as CSV in UTF-8.") from error


def _read(path: Path, file) -> Curve:
    first = next((line for line in file if line.strip(" ,;\t\r\n")), "")
    comma = next((mark for mark in ",;\t" if mark in first), ",")
    file.seek(0)
    header: list[str] = []
    numbers, lines = array("d"), array("q")  # hours of rows as objects would fill the memory
    for line, row in enumerate(csv.reader(file, delimiter=comma), 1):
        if not (row and row[0]) and not any(cell.strip() for cell in row):
            continue
        if not header:
            header = [cell.strip() for cell in row]
            while header and not header[-1]:  # spreadsheets fill up with empty cells
                header.pop()
            _check_header(path, line, header)
            continue
        if comma != ",":
            row = [cell.replace(",", ".") for cell in row]
        if len(row) > len(header) and not any(cell.strip() for cell in row[len(header) :]):
            row = row[: len(header)]
        numbers.extend(_numbers(path, line, header, row))
        lines.append(line)
    if not header:
        raise CurveError(f"{path} is empty: its first line must be {TIME} and AU names, as in {TIME},AU12,AU25.")
    if not lines:
        raise CurveError(f"{path} has no rows under its header: add at least one line of numbers.")
    table = np.frombuffer(numbers).reshape(len(lines), len(header))
    with np.errstate(over="ignore", invalid="ignore"):  # such times are told below
        times_s = table[:, 0] - table[0, 0]
        late = np.flatnonzero(np.diff(times_s) <= 0)
    if len(late):
        raise CurveError(
            f"{path}, line {lines[late[0] + 1]}, column {TIME}: {table[late[0] + 1, 0]:g} does not come after the {table[late[0], 0]:g} above it; sort the rows by time."
        )
    if times_s[-1] > LONGEST_S:
        raise CurveError(f"{path}, column {TIME}: the curve lasts {times_s[-1] / 3600:.0f} hours; are its times in seconds?")
    return Curve(tuple(header[1:]), times_s, table[:, 1:].astype(np.float32))


def _check_header(path: Path, line: int, header: Sequence[str]) -> None:
    if header[0] != TIME:
        raise CurveError(f"{path}, line {line}, column 1: the first column must be {TIME}, not {header[0]!r}.")
    if len(header) < 2:
        raise CurveError(f"{path}, line {line}: no AU is named after {TIME}; {KNOWN}.")
    for column, name in enumerate(header[1:], 2):
        if fault := fault_of_name(name, header[1 : column - 1]):
            raise CurveError(f"{path}, line {line}, column {column}: {fault}.")


def fault_of_name(name: str, others: Sequence[str]) -> str:
    """What is wrong with naming an AU beside others; "" where nothing is."""
    if name not in MEANING:
        return f"{name!r} is not a known AU; {KNOWN}"
    if name in others:
        return f"{name} is named twice; keep one of them"
    for other in others:
        if name in sides(other) or other in sides(name):
            whole = min(name, other, key=len)
            return f"{name} stands beside {other}, but {whole} is both sides; name either {whole}, or {' and '.join(sides(whole))}"
    return ""


def _numbers(path: Path, line: int, header: Sequence[str], row: Sequence[str]) -> list[float]:
    if len(row) != len(header):
        raise CurveError(f"{path}, line {line}: {len(row)} values stand under {len(header)} column names; fill or remove the difference.")
    try:
        numbers = list(map(float, row))
        if all(map(math.isfinite, numbers)) and min(numbers[1:]) >= -1 and max(numbers[1:]) <= 1:
            return numbers
    except ValueError:
        pass
    for name, cell in zip(header, row, strict=True):
        where = f"{path}, line {line}, column {name}"
        if not cell.strip():
            raise CurveError(f"{where}: the value is missing; write a number, 0 for none.")
        try:
            number = float(cell)
        except ValueError as error:
            raise CurveError(f"{where}: {cell.strip()!r} is not a number.") from error
        if not math.isfinite(number):
            raise CurveError(f"{where}: {cell.strip()} is not a usable number; write one from -1 to 1.")
        if name != TIME and not -1 <= number <= 1:
            raise CurveError(f"{where}: {number:g} is outside -1 to 1; 1 is full strength.")
    raise AssertionError("a row that is refused has a cell that is refused")


class CurveWriter:
    """Records what the puppet is told, row by row, as a CSV that `load_curve` reads. Use as a context manager.

    Written beside its name and renamed at `close`, so that an older take is replaced by a whole one only. Rows are stored every second, so
    a program that is killed leaves a part that can be read; the next recording of that name keeps it, and says so. A disk that is full ends
    the recording, not the run: that is said at once, what was stored gets the name, and `close` raises OutputError.
    """

    def __init__(
        self, path: str | Path, say: Callable[[str], None] = lambda _sentence: None,
        open_file: Callable[[Path], object] | None = None,
    ):  # fmt: skip
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
        """One moment: (29,) changes in the order of ESTIMATED, -1..1. Moments that do not come after the last are left out."""
        if self._fault or self._complete:
            return
        self._first_s = time_s if self._first_s is None else self._first_s
        moment_s = time_s - self._first_s
        if moment_s > LONGEST_S:
            self._complete = True
            return self._say(f"The recording {self._path} is complete after {LONGEST_S / 3600:g} hours. The puppet goes on.")
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
            self._fault = OutputError(f"{ended}: it holds what came before; free some space before the next one.")
        except OSError as other:
            self._fault = OutputError(f"{ended} and could not be given its name ({other.strerror or other}): look for {self._file.part}.")
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
