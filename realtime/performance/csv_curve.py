"""CSV of action units over time -> Curve."""

import csv
import math
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engines.errors import CurveError
from realtime.performance.curve import KNOWN, LONGEST_S, TIME, Curve, fault_of_name


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
        raise CurveError(
            f"{path} is empty: its first line must be {TIME} and AU names, as in {TIME},AU12,AU25."
        )
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
        raise CurveError(
            f"{path}, column {TIME}: the curve lasts {times_s[-1] / 3600:.0f} hours; are its times in seconds?"
        )
    return Curve(tuple(header[1:]), times_s, table[:, 1:].astype(np.float32))


def _check_header(path: Path, line: int, header: Sequence[str]) -> None:
    if header[0] != TIME:
        raise CurveError(
            f"{path}, line {line}, column 1: the first column must be {TIME}, not {header[0]!r}."
        )
    if len(header) < 2:
        raise CurveError(f"{path}, line {line}: no AU is named after {TIME}; {KNOWN}.")
    for column, name in enumerate(header[1:], 2):
        if fault := fault_of_name(name, header[1 : column - 1]):
            raise CurveError(f"{path}, line {line}, column {column}: {fault}.")


def _numbers(path: Path, line: int, header: Sequence[str], row: Sequence[str]) -> list[float]:
    if len(row) != len(header):
        raise CurveError(
            f"{path}, line {line}: {len(row)} values stand under {len(header)} column names; fill or remove the difference."
        )
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
