"""A file that drives the puppet -> a performance, by its suffix."""

import csv
import os
from pathlib import Path

from engines.errors import CurveError
from realtime.performance.csv_curve import _read
from realtime.performance.curve import JSON_SUFFIX, Curve


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
        raise CurveError(
            f"{path} is not a text file with comma-separated values ({error}): save it as CSV in UTF-8."
        ) from error
