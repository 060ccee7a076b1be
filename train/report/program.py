"""run.py in a process of its own: reports show what people see, by the program that they use."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from engines.errors import DataError

PROGRAM = Path(__file__).parents[2] / "run.py"


def animate(photo: Path, drivers: Sequence[str], film: Path, options: Sequence[str] = ()) -> Path:
    """Draws a photo, driven as --driver says, into a film; returns the film.

    Args:
        photo: with a face.
        drivers: values of --driver.
        film: MP4, MOV or MKV.
        options: more of the command line.

    Raises: DataError with the program's last line.
    """
    command = [sys.executable, str(PROGRAM), "--source", str(photo), "--output", str(film), *options]
    for driver in drivers:
        command += ["--driver", driver]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise DataError(
            f"{' and '.join(drivers)} could not be drawn on {photo}: "
            f"{said[-1] if said else 'run.py ended early'}"
        )
    return film
