"""`run.py calibrate`: a driver's profile, from twenty guided seconds before a camera or from a clip."""

import argparse
import os
from functools import partial
from pathlib import Path

from engines.errors import SettingsError
from engines.face.action_units import WIDE, whole
from engines.face.au_estimator import index
from engines.face.pyfeat import AUS
from realtime.calibration.clip_report import report
from realtime.calibration.lesson import from_camera, from_clip, open_recorder
from realtime.calibration.lesson_state import STEPS
from realtime.commands.command_parser import CommandParser
from realtime.commands.options import OPTIONS, add_aus, add_face_model, add_verbose, face_model
from realtime.process.exit_status import outcome
from realtime.process.log import say
from realtime.process.shutdown import ShutdownHandler
from realtime.sources.camera import is_camera
from realtime.tracking import driver_profile
from realtime.tracking.estimator_fusion import FROM_SLOW

MANUAL = """\
Learns how your face rests and how far it goes, so that your own range fills the puppet's. You are shown what
to do, for 20 seconds: rest, smile, brows up, frown, eyes shut, mouth wide, "oo". The result is a small file
of numbers, no picture.

  python run.py calibrate                                   before the first camera; kept as `me`
  python run.py calibrate --driver webcam:1 --name desk     kept as `desk`
  python run.py calibrate --driver clip.mp4 --name me.json  from a clip of you at rest and lively, into a file
  python run.py calibrate --aus py-feat                     keeps py-feat's range of you as well
  python run.py calibrate --report clips/*.mp4              what a profile of each clip makes of it
"""
STATUSES = """\
Use it with `run.py --profile me`. In a call the key c learns your resting face again, for a second; the
ranges stay.

exit status  0 the profile was written   1 a defect of this program
             2 wrong command line, or a place that cannot be written   4 the driver   6 py-feat, in a clip
             130 stopped: nothing was written
"""


def configure(parser: CommandParser) -> None:
    parser.explain(MANUAL, STATUSES)
    parser.add_argument(
        "--driver",
        default="webcam",
        metavar="WHO",
        help="webcam, webcam:1, webcam:NAME, or a clip; default webcam",
    )
    parser.add_argument(
        "--name", default="me", metavar="NAME", help="the profile's name, or FILE.json; default me"
    )
    parser.add_argument(
        "--report",
        nargs="+",
        metavar="CLIP",
        help="print ranges, rest and blinks of clips instead; writes nothing",
    )
    parser.add_argument(
        "--blinks",
        metavar="FILE.json",
        help="with --report: the pictures in which eyes are shut, by a clip's name",
    )
    add_aus(parser)
    add_face_model(parser)
    add_verbose(parser)
    parser.set_defaults(run=lambda options: run(parser, options))


def run(parser: CommandParser, options: argparse.Namespace) -> int:
    """What the options ask for; returns the exit status. Raises SystemExit(2) for a wrong command line."""
    if options.blinks and not options.report:
        parser.error("--blinks belongs to --report")
    if options.report and (options.aus == "py-feat" or options.pyfeat_weights):
        parser.error("--report is of MediaPipe's AUs: leave out --aus and --pyfeat-weights")
    return outcome(lambda shutdown: calibrate(options, shutdown), parser.prog, options.verbose, OPTIONS)


def calibrate(options: argparse.Namespace, shutdown: ShutdownHandler) -> int:
    """Writes a profile; returns the exit status. Raises PuppetError, KeyboardInterrupt."""
    model = face_model(options.face_model)
    if options.report:
        print(report(options.report, options.blinks, model))
        return 0
    path = driver_profile.path_of(options.name)
    check_writable(path)
    live = is_camera(options.driver)
    open_pyfeat = partial(open_recorder, options.aus, options.pyfeat_weights, live)
    profile = (from_camera if live else from_clip)(options.driver, open_pyfeat, model)
    shutdown.close()
    profile.save(path)
    say(summary(profile))
    if profile.pyfeat:
        points = zip(AUS, profile.pyfeat.rest, profile.pyfeat.full, strict=True)
        ranges = [f"{au} {rest:.2f} {full:.2f}" for au, rest, full in points if au in FROM_SLOW]
        say(f"py-feat's, at rest and in full: {', '.join(ranges)}")
    say(f"wrote {path}; use it with --profile {options.name}")
    return 0


def check_writable(path: Path) -> None:
    """Raises SettingsError where a profile cannot be written: before the lesson, not after it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"The folder {path.parent} cannot be made ({error.strerror}): choose another place with "
            "--name FILE.json."
        ) from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise SettingsError(
            f"The profile {path} cannot be written: choose another place with --name FILE.json."
        )


def summary(profile: driver_profile.Profile) -> str:
    """What was learnt of the AUs that a lesson asks for, in a line."""
    shown = {whole(au) for au, full in zip(WIDE, profile.full, strict=True) if full < 1}
    asked = [au for step in STEPS for au in step.aus if au in shown]
    gains = [f"{au} x{profile.gain[index([au])].mean():.1f}" for au in asked]
    return f"your own range: {', '.join(gains)}" if gains else "nothing but your resting face was learnt"
