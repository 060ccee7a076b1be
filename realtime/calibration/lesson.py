"""The guided lesson, from a camera, and a profile from a clip."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engines.errors import DriverError
from realtime.calibration.clip_report import open_clip, readings_of
from realtime.calibration.lesson_state import LESSON_S, LessonState
from realtime.calibration.lesson_view import SIZE, draw
from realtime.calibration.profile_fit import of_clip
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
from realtime.tracking.resting_face import resting

SHORTEST_S = 2.0  # of a clip: less shows no range
LONGEST_S = 600.0  # of a clip: more than ten minutes add nothing
NO_FACE_S = 20.0  # without a face, after which a lesson gives up

Watch = Callable[[LessonState, np.ndarray | None, np.ndarray | None], bool]
OpenRecorder = Callable[[], PyFeatRecorder | None]


def open_recorder(wanted: str, weights: str | None, live: bool) -> PyFeatRecorder | None:
    """py-feat's estimates during a calibration; None where they are not wanted or not to be had.

    Args:
        wanted, weights: as in estimator_fusion.open_network.
        live: whether frames come at their own time; else every frame is estimated.
    """
    network = open_network(wanted, weights, say)
    if network is None:
        return None
    return PyFeatRecorder(BackgroundEstimator(network, say) if live else EveryFrame(network), say)


def from_clip(
    path: str, open_recorder: OpenRecorder = lambda: None, face_model: Path | None = None
) -> driver_profile.Profile:
    """A profile from a clip in which the driver does as they like.

    Raises:
        DriverError: the clip does not show a face for long enough.
        EngineError: `open_recorder` failed.
    """
    open_clip(path).close()  # what cannot be played is reported before a network is loaded for it
    recorder = open_recorder()
    readings, times_s = readings_of(path, LONGEST_S, recorder, face_model)
    seen_s = len(readings) * float(np.median(np.diff(times_s))) if len(readings) > 1 else 0.0
    if seen_s < SHORTEST_S:
        raise DriverError(
            f"{path} shows a face for {seen_s:.1f} s only: give a clip with at least {SHORTEST_S:g} s of "
            "you, from the front."
        )
    profile = of_clip(readings)
    if recorder is None:
        return profile
    return replace(profile, pyfeat=recorder.of_clip(times_s[resting(readings)]))


def from_camera(
    text: str, open_recorder: OpenRecorder, face_model: Path | None = None
) -> driver_profile.Profile:
    """A profile from a lesson before a camera, in a window where there is a screen. Raises DriverError.

    Raises KeyboardInterrupt when the driver ends it.
    """
    with ExitStack() as stack:
        camera = ReconnectingCamera(text, say)
        stack.callback(camera.close)
        recorder = open_recorder()  # a download needs the network that MediaPipe is cut off from
        if recorder:
            stack.callback(recorder.close)
        window = Window(SIZE) if has_screen() else None
        if window:
            stack.callback(window.close)
        return lesson(camera, window, recorder=recorder, face_model=face_model)


def ring() -> None:
    """The terminal's bell: eyes are shut."""
    print("\a", end="", file=sys.stderr, flush=True)


def lesson(
    frames: LiveFrames,
    window: Window | None,
    ring: Callable[[], None] = ring,
    clock: Callable[[], float] = time.perf_counter,
    recorder: PyFeatRecorder | None = None,
    face_model: Path | None = None,
    watch: Watch | None = None,
) -> driver_profile.Profile:
    """Guides the driver through the steps of a lesson.

    Args:
        frames: the driver.
        window: shows what to do; None: the terminal does, with a progress bar.
        ring: called at the end of a step that cannot be seen.
        clock: seconds.
        recorder: is given the same frames, and is closed.
        face_model: as in FaceReader.
        watch: instead of a window: called with the state, the driver's picture (H, W, 3) uint8 BGR and their
            reading (41,), or None for what there is not now; returns whether the driver ends it.

    Raises:
        DriverError: no face is seen for NO_FACE_S, or the frames end early.
        KeyboardInterrupt: the driver ends it.
    """
    controls = Controls(hud=False, mirror=False)
    if window:
        window.serve(controls)
    bar = tqdm(
        total=round(LESSON_S, 1),
        desc="lesson",
        bar_format="{l_bar}{bar}|",
        leave=False,
        disable=True if window or watch else None,
    )
    tracker = ExpressionTracker(Timings(), Neutral.absent(), recorder, face_model=face_model)
    with tracker, bar:
        state = LessonState(partial(_say_above, bar), ring)
        seen_s = clock()
        while not state.done:
            reading, image = _feed(state, frames, tracker)
            if reading is not None:
                seen_s = clock()
            if clock() - seen_s > NO_FACE_S:
                raise DriverError(
                    f"No face was seen for {NO_FACE_S:g} s: sit before the camera, in light, and run it "
                    "again."
                )
            bar.update(state.progress * LESSON_S - bar.n)
            if watch and watch(state, image, reading):
                raise KeyboardInterrupt
            if window:
                face = None if reading is None else tracker.face
                window.send(draw(state, face, reading), 0.0)
                if window.closed or controls.ending or controls.panic:
                    raise KeyboardInterrupt
    if state.missing:
        say(f"Not learnt: {', '.join(state.missing)}.")
    profile = state.profile()
    return replace(profile, pyfeat=recorder.of_steps(state.shown_s)) if recorder else profile


def _feed(
    state: LessonState, frames: LiveFrames, tracker: ExpressionTracker
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Gives the next frame to a lesson; returns its reading, None without a face, and its picture.

    Raises DriverError at the end.
    """
    frame = frames.read()
    if frame is None:
        raise DriverError("The driver ended before the lesson did: give a camera, or a clip of at least 2 s.")
    if frame is NOT_YET:
        state.note = frames.note or state.note
        return None, None
    expression = tracker(frame)
    reading = expression.expression if expression.seen else None
    state.feed(reading, frame.captured_s, expression.note or frames.note)
    return reading, frame.image


def _say_above(bar: tqdm, sentence: str) -> None:
    """A sentence above a progress bar."""
    bar.clear()
    say(sentence)
