"""The guided lesson, from a camera or a clip."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import numpy as np
from tqdm import tqdm

from engines.errors import DriverError
from realtime.calibration.clip_report import open_clip, readings_of
from realtime.calibration.lesson_state import LESSON_S, LessonState
from realtime.calibration.lesson_view import SIZE, draw
from realtime.calibration.profile_fit import of_clip, resting
from realtime.calibration.pyfeat_recorder import PyFeatRecorder
from realtime.controls import Controls
from realtime.messages import NOT_YET
from realtime.output.window import Window, has_screen
from realtime.process.log import say
from realtime.sources.frame_source import LiveFrames
from realtime.sources.reconnecting_camera import ReconnectingCamera
from realtime.timing import Timings
from realtime.tracking import driver_profile
from realtime.tracking.background_estimator import BackgroundEstimator, EveryFrame
from realtime.tracking.estimator_fusion import open_network
from realtime.tracking.expression_tracker import ExpressionTracker
from realtime.tracking.neutral import Neutral

SHORTEST_S, LONGEST_S = 2.0, 600.0  # of a clip: less shows no range; more than ten minutes add none
NOBODY_S = 20.0  # without a face, after which a lesson gives up


def open_onlooker(wanted: str, weights: str | None, live: bool) -> PyFeatRecorder | None:
    """py-feat, where --aus asks for it and it is there."""
    network = open_network(wanted, weights, say)
    return network and PyFeatRecorder(BackgroundEstimator(network, say) if live else EveryFrame(network), say)


def from_clip(
    path: str, look_on: Callable[[], PyFeatRecorder | None] = lambda: None
) -> driver_profile.Profile:
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
    driver: LiveFrames,
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
        ExpressionTracker(Timings(), Neutral.absent(), onlooker) as performer,
        tqdm(
            total=round(LESSON_S, 1),
            desc="lesson",
            bar_format="{l_bar}{bar}|",
            leave=False,
            disable=True if window else None,
        ) as bar,
    ):
        guide = LessonState(partial(_tell, bar), ring)
        while not guide.done:
            frame, reading, face = driver.read(), None, None
            if frame is None:
                raise DriverError(
                    "The driver ended before the lesson did: give a camera, or a clip of at least 2 s."
                )
            if frame is NOT_YET:
                guide.note = driver.note or guide.note
            else:
                told = performer(frame)
                if told.seen:
                    reading, face, seen_s = told.expression, performer.face, clock()
                guide.feed(reading, frame.captured_s, told.note or driver.note)
            if clock() - seen_s > NOBODY_S:
                raise DriverError(
                    f"No face was seen for {NOBODY_S:g} s: sit before the camera, in light, and run it again."
                )
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
