"""AU curves as plain CSV files.

    time_s,AU12,AU25,AU45L
    0.0,0,0,0
    0.5,0.8,0.3,1

One row a moment, seconds rising; the first row is the beginning, whatever its time. Any AUs in any order,
those not named stay at 0. AU45 moves both sides of the face, AU45L and AU45R the person's left or right
alone; an AU is named whole or by its sides, never both. Values are -1 to 1. Between rows they are
interpolated by monotone cubics, which never overshoot; before the first row and after the last that row is
held. Spreadsheets may save it with semicolons or tabs in place of commas, and with decimal commas; a first
line `sep=;`, as Excel writes it, names the mark. OpenFace's tables are read, too (openface.py).

A recording (curve_writer.py) is exact: `curve.at(t)` returns the same (41,) float32 for each t at which a row
was recorded, counted from the first, and for each t as it is written (times are rounded to a microsecond,
values are not). So a replay at the rate at which it was recorded gives the same pictures.
"""

import csv
import math
import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from engines.errors import CurveError
from realtime.performance.curve import KNOWN_AUS, MAX_DURATION_S, TIME, Curve, fault_of_name
from realtime.performance.openface import OpenFaceColumns, openface_columns

SEPARATOR = re.compile(r'"?sep=([,;\t])"?\s*', re.IGNORECASE)  # Excel's first line


def load_csv(path: Path) -> Curve:
    """Raises CurveError naming file, line and column of what is wrong."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return _read(path, file)
    except OSError as error:
        raise CurveError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CurveError(
            f"{path} is not a text file with comma-separated values ({error}): save it as CSV in UTF-8."
        ) from error


def _read(path: Path, file: TextIO) -> Curve:
    first_line, first = next(
        ((number, line) for number, line in enumerate(file, 2) if line.strip(" ,;\t\r\n")), (1, "")
    )
    if named := SEPARATOR.fullmatch(first):
        delimiter = named[1]
    else:
        delimiter = next((mark for mark in ",;\t" if mark in first), ",")
        file.seek(0)
    before = 1 if named is None else first_line
    header: list[str] = []
    openface: OpenFaceColumns | None = None
    # Hours of rows as Python objects would fill the memory.
    numbers = array("d")
    lines = array("q")
    for line, row in enumerate(csv.reader(file, delimiter=delimiter), before):
        if not (row and row[0]) and not any(cell.strip() for cell in row):
            continue
        if not header:
            openface = openface_columns(row)
            header = openface.header if openface else _header(path, line, row)
            continue
        cells: list[str] | None = _cells(row, openface.width if openface else len(header), delimiter)
        if openface and cells is not None and len(cells) == openface.width:
            cells = openface.row(cells)
        if cells is not None:
            numbers.extend(_numbers(path, line, header, cells))
            lines.append(line)
    if not header:
        raise CurveError(
            f"{path} is empty: its first line must be {TIME} and AU names, as in {TIME},AU12,AU25."
        )
    if not lines:
        raise CurveError(f"{path} has no rows under its header: add at least one line of numbers.")
    table = np.frombuffer(numbers).reshape(len(lines), len(header))
    return Curve(tuple(header[1:]), _times(path, lines, table[:, 0]), table[:, 1:].astype(np.float32))


def _header(path: Path, line: int, row: Sequence[str]) -> list[str]:
    header = [cell.strip() for cell in row]
    while header and not header[-1]:  # spreadsheets append empty cells
        header.pop()
    if header[:1] != [TIME]:
        first = header[0] if header else ""
        raise CurveError(f"{path}, line {line}, column 1: the first column must be {TIME}, not {first!r}.")
    if len(header) < 2:
        raise CurveError(f"{path}, line {line}: no AU is named after {TIME}; {KNOWN_AUS}.")
    for column, name in enumerate(header[1:], 2):
        if fault := fault_of_name(name, header[1 : column - 1]):
            raise CurveError(f"{path}, line {line}, column {column}: {fault}.")
    return header


def _cells(row: list[str], count: int, delimiter: str) -> list[str]:
    """A row without what spreadsheets add: decimal commas, and empty cells behind the last column."""
    if delimiter != ",":
        row = [cell.replace(",", ".") for cell in row]
    return row if any(cell.strip() for cell in row[count:]) else row[:count]


def _numbers(path: Path, line: int, header: Sequence[str], row: Sequence[str]) -> list[float]:
    if len(row) != len(header):
        raise CurveError(
            f"{path}, line {line}: {len(row)} values stand under {len(header)} column names; "
            "fill or remove the difference."
        )
    try:
        numbers = list(map(float, row))
        if all(map(math.isfinite, numbers)) and min(numbers[1:]) >= -1 and max(numbers[1:]) <= 1:
            return numbers
    except ValueError:
        pass
    for name, cell in zip(header, row, strict=True):
        _check_cell(f"{path}, line {line}, column {name}", name, cell)
    raise AssertionError("a row that is refused has a cell that is refused")


def _check_cell(where: str, name: str, cell: str) -> None:
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


def _times(path: Path, lines: Sequence[int], column: np.ndarray) -> np.ndarray:
    """(T,) seconds as they are written -> counted from the first."""
    with np.errstate(over="ignore", invalid="ignore"):  # such times are refused below
        times_s = column - column[0]
        late = np.flatnonzero(np.diff(times_s) <= 0)
    if len(late):
        row = late[0]
        raise CurveError(
            f"{path}, line {lines[row + 1]}, column {TIME}: {column[row + 1]:g} does not come after "
            f"the {column[row]:g} above it; sort the rows by time."
        )
    if times_s[-1] > MAX_DURATION_S:
        raise CurveError(
            f"{path}, column {TIME}: the curve lasts {times_s[-1] / 3600:.0f} hours; "
            "are its times in seconds?"
        )
    return times_s
