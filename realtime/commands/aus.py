"""`run.py aus`: the AUs of clips and pictures as a CSV, and of one of them as a picture.

Nothing is animated and no neutral is subtracted: values are the estimator's intensities, 0..1, which at rest
are not 0 for every face. A moment without a face has empty cells.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

from engines.errors import DriverError, OutputError
from realtime.commands.command_parser import CommandParser
from realtime.commands.options import OPTIONS, add_face_model, add_verbose, face_model
from realtime.output.contact_sheet import write_picture
from realtime.partial_file import check_writable
from realtime.performance.driver_spec import is_curve
from realtime.process.exit_status import outcome
from realtime.process.log import say
from realtime.session.au_export import STANDARD_OUTPUT, Estimate, Reading, Table, open_estimator, readings
from realtime.sources.camera import is_camera

MANUAL = """\
The action units (AUs) of clips and pictures, from 0 to 1, one row a frame.

  python run.py aus clip.mp4                                  a table on standard output
  python run.py aus clip.mp4 --csv clip.csv --plot clip.png   into files
  python run.py aus faces/*.jpg --csv faces.csv               a row for each picture, with its name
  python run.py aus clip.mp4 --aus py-feat                    by another estimator; needs '.[pyfeat]'

mediapipe has 29 (ten AUs by sides, AU18, AU22), and where the head (AU51-58, 1 is 30 degrees) and the eyes
(AU61-64) point; py-feat has the paper's 17. Rows without a face have empty cells. Rest is not 0 for every
face: a neutral is subtracted only where a puppet is driven, and `--record` writes what drives it.
"""
STATUSES = (
    "exit status  0 done   2 wrong command line   4 driver   6 estimator   7 output   130 stopped by Ctrl-C"
)


def configure(parser: CommandParser) -> None:
    parser.explain(MANUAL, STATUSES)
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
    add_face_model(parser)
    add_verbose(parser)
    parser.set_defaults(run=lambda options: run(parser, options))


def run(parser: CommandParser, options: argparse.Namespace) -> int:
    """What the options ask for; returns the exit status. Raises SystemExit(2) for a wrong command line."""
    if options.plot and len(options.drivers) > 1:
        parser.error("--plot draws one driver: name one, or leave it out")
    if options.seconds is not None and not options.seconds > 0:
        parser.error(f"--seconds {options.seconds:g} is no usable duration")
    csv = options.csv or (None if options.plot else STANDARD_OUTPUT)
    return outcome(lambda _shutdown: export(options, csv), parser.prog, options.verbose, OPTIONS)


def export(options: argparse.Namespace, csv: str | None) -> int:
    """Writes the table to csv, and the plot; returns the exit status. Raises PuppetError, BrokenPipeError."""
    model = face_model(options.face_model)
    _check_paths(options.drivers, csv, options.plot)
    names, estimate = open_estimator(options.aus, options.pyfeat_weights)
    with Table(csv, names, several=len(options.drivers) > 1) if csv else nullcontext() as table:
        kept, fault = _read(options, model, estimate, table)
    if options.plot:
        from realtime.commands.aus_plot import draw

        times_s = [reading.time_s for reading in kept]
        title = f"{options.drivers[0]}, {options.aus}"
        picture = draw(names, times_s, [reading.aus for reading in kept], title)
        write_picture(Path(options.plot), picture, "--plot")
    for name in (csv, options.plot):
        if name and name != STANDARD_OUTPUT:
            say(f"wrote {name}")
    return fault.exit_status if fault else 0


def _read(
    options: argparse.Namespace, model: Path | None, estimate: Estimate, table: Table | None
) -> tuple[list[Reading], DriverError | None]:
    """Fills the table.

    Returns: the readings where they are to be plotted, and the first fault of one of several drivers.

    Raises: DriverError where the only driver cannot be read.
    """
    kept: list[Reading] = []
    fault: DriverError | None = None
    for driver in options.drivers:
        frames = missing = 0
        try:
            for reading in readings(driver, estimate, options.seconds, model):
                frames += 1
                missing += reading.aus is None
                if table:
                    table.add(reading)
                if options.plot:
                    kept.append(reading)
        except DriverError as error:
            if len(options.drivers) == 1:
                raise
            fault = fault or error
            say(f"{error} Going on with the others.")
        if missing == frames and len(options.drivers) == 1:
            raise DriverError(
                f"No face was found in {driver}: give one that shows a face from the front; nothing was "
                "written."
            )
        if missing:
            say(f"{driver}: no face in {missing} of {frames} frames; their cells are empty")
    return kept, fault


def _check_paths(drivers: list[str], csv: str | None, plot: str | None) -> None:
    """Raises DriverError for what is no clip or picture, OutputError for what cannot be written."""
    for driver in drivers:
        if is_camera(driver) or is_curve(driver):
            raise DriverError(f"{driver} has no frames to be read from: give a clip or a picture.")
    if plot:
        check_writable(plot, "--plot")
        if Path(plot).suffix.lower() != ".png":
            raise OutputError(f"{plot} is no PNG: choose a name that ends in .png.")
    written = [Path(name).resolve() for name in (csv, plot) if name and name != STANDARD_OUTPUT]
    read = [Path(driver).resolve() for driver in drivers]
    for path in written:
        if path in read:
            raise OutputError(f"{path} would be written over what is read: choose another name.")
    if len(set(written)) < len(written):
        raise OutputError(f"{written[0]} is named twice: give every output a name of its own.")
