"""Loads a performance from a file, whose suffix names the format."""

import os
from pathlib import Path

from engines.errors import CurveError
from realtime.performance.csv_curve import load_csv
from realtime.performance.curve import JSON_SUFFIX, Curve
from realtime.performance.keyframes import load_keyframes


def load_curve(path: str | Path) -> Curve:
    """Reads a CSV, or keyframes as JSON.

    Raises CurveError naming the file and the place of what is wrong in it.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise CurveError(f"There is no AU curve at {path}: check the path.")
    return load_keyframes(path) if path.suffix.lower() == JSON_SUFFIX else load_csv(path)
