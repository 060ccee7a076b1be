"""The action units of clips and pictures, as readings and tables."""

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engines import atomic_file
from engines.errors import OutputError
from engines.face import au_estimator, pyfeat
from engines.face.action_units import EXPRESSION
from engines.face.landmarks import Face, FaceReader
from engines.face.pyfeat_weights import find_weights
from realtime.messages import Frame
from realtime.partial_file import check_writable
from realtime.process.exit_status import close_standard_output
from realtime.process.log import say
from realtime.sources.clip import Clip, StillImage, is_still

STANDARD_OUTPUT = "-"
TIME_COLUMN = "time_s"
DRIVER_COLUMN = "driver"
NEARNESS = [EXPRESSION.index("AU57"), EXPRESSION.index("AU58")]

Estimate = Callable[[Frame, Face], np.ndarray]


@dataclass(frozen=True)
class Reading:
    """The AUs of one frame; None without a face."""

    driver: str
    time_s: float
    aus: np.ndarray | None  # (N,) float32, 0..1


def readings(
    driver: str, estimate: Estimate, seconds: float | None = None, face_model: Path | None = None
) -> Iterator[Reading]:
    """Every frame of a clip, tracked through time, or the one of a picture, with a progress bar.

    Raises DriverError.
    """
    is_picture = is_still(driver)
    source = StillImage(driver, 1.0, 1.0, face_model) if is_picture else Clip(driver, say)
    total = int(min(source.length or 0, (seconds or np.inf) * source.fps)) or None
    with (
        closing(source),
        FaceReader(video=not is_picture, model=face_model) as reader,
        tqdm(total=total, unit="frame", desc=Path(driver).name, disable=None) as bar,
    ):
        while (frame := source.read()) is not None and (seconds is None or frame.captured_s < seconds):
            if is_picture:
                face = next(iter(reader.read(frame.image)), None)
            else:
                face = reader.follow(frame.image, frame.captured_s)
            yield Reading(driver, frame.captured_s, None if face is None else estimate(frame, face))
            bar.update()


class Table:
    """The CSV. A file gets its name when it is whole. Use as a context manager. Raises OutputError."""

    def __init__(self, path: str, names: Sequence[str], several: bool):
        """
        Args:
            path: of the file; "-" is standard output.
            names: of the AUs.
            several: whether each row names its driver.
        """
        self._path = None if path == STANDARD_OUTPUT else atomic_file.followed(path)
        self._several = several
        self._width = len(names)
        self._header: list[str] = [*([DRIVER_COLUMN] if several else []), TIME_COLUMN, *names]
        self._has_header = False
        if self._path:
            check_writable(path, "--csv")
            self._temporary = atomic_file.temporary_path(self._path)
        with self._output_errors():
            self._file = (
                open(self._temporary, "w", newline="", encoding="utf-8", errors="surrogateescape")
                if self._path
                else sys.stdout
            )
            self._writer = csv.writer(self._file, lineterminator="\n")

    def add(self, reading: Reading) -> None:
        """A row: empty cells without a face."""
        cells = [""] * self._width
        if reading.aus is not None:
            cells = [f"{value + 0.0:.3g}" for value in reading.aus.round(3)]
        driver = [reading.driver] if self._several else []
        with self._output_errors():
            if not self._has_header:
                self._writer.writerow(self._header)
                self._has_header = True
            self._writer.writerow([*driver, f"{reading.time_s:.3f}", *cells])

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, fault: type | None, *_: object) -> None:
        with self._output_errors():
            if not self._path:
                self._file.flush()
                return
            self._file.close()
            if fault:
                self._temporary.unlink()
            else:
                atomic_file.commit(self._temporary, self._path)

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        """Raises OSError as OutputError."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            if not self._path:
                close_standard_output()
            name = self._path or "Standard output"
            raise OutputError(
                f"{name} cannot be written ({error.strerror}): free some space or choose another --csv."
            ) from error


def _intensities(face: Face) -> np.ndarray:
    """(41,) intensities 0..1 in the order of EXPRESSION.

    Nearness is 0, as there is no rest to compare it with.
    """
    values = np.clip(au_estimator.read(face), 0, 1)
    values[NEARNESS] = 0
    return values


def open_estimator(name: str, pyfeat_weights: str | None) -> tuple[tuple[str, ...], Estimate]:
    """The names of an estimator's AUs, and the estimator. Raises EngineError.

    Args:
        name: "mediapipe" or "py-feat".
        pyfeat_weights: as engines.face.pyfeat_weights.find_weights reads it.
    """
    if name == "mediapipe":
        return EXPRESSION, lambda _frame, face: _intensities(face)
    network = pyfeat.PyFeat(find_weights(pyfeat_weights))
    scale = pyfeat.Scale.default()
    ends = f"{pyfeat.REST:g} and {pyfeat.FULL:g}"
    say(f"{network.name}; an intensity is where its probability lies between {ends}")
    return pyfeat.AUS, lambda frame, face: scale.intensities(network(frame.image, face))
