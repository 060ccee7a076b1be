"""One run: from what the command line asks for to a photo that is animated, live or frame by frame. Knows nothing of how options are written."""

import argparse
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from tqdm import tqdm

from engines.backends.interface import Engine
from engines.errors import DriverError, OutputError, SettingsError
from engines.face.au_estimator import VERSION
from engines.face.pyfeat import Scale
from engines.runtime.failover import load_live
from engines.runtime.load import LoadOptions
from realtime.audio.microphone import Microphone
from realtime.controls import Controls
from realtime.output.contact_sheet import ContactSheet
from realtime.output.live_recording import LiveRecording
from realtime.output.outputs import VIDEO_SUFFIXES, Output, VideoFile, open_output
from realtime.output.window import Window, has_screen
from realtime.overlay import Badge
from realtime.performance.composition import Overlay, endless
from realtime.performance.curve import Performance
from realtime.performance.curve_writer import CurveWriter
from realtime.performance.driver_spec import DriverSpec, load_driver_spec, parse_parts
from realtime.process.log import LOG, answer, say
from realtime.process.shutdown import STOPPED, ShutdownHandler
from realtime.process.terminal_keys import TerminalKeys
from realtime.puppet.animator import Animator
from realtime.puppet.canvas import parse_size
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.expression_source import CurveExpressions, ExpressionSource, FrameExpressions
from realtime.session.hud import Hud, LiveFigures, PuppetTracker
from realtime.session.key_actions import KeyActions
from realtime.session.live_loop import LiveLoop
from realtime.session.offline import at_rate, count_pictures, perform_curve, perform_frames, play_offline
from realtime.session.output_fanout import OutputFanout
from realtime.session.photo_switcher import PhotoSwitcher, photos
from realtime.sources.camera import is_camera
from realtime.sources.clip import Clip, RealtimePlayback, open_frames
from realtime.sources.frame_source import FileFrames, LiveFrames
from realtime.sources.reconnecting_camera import ReconnectingCamera
from realtime.timing import Timings
from realtime.tracking import driver_profile
from realtime.tracking.driver_profile import Profile
from realtime.tracking.estimator_fusion import FusedEstimator, open_second
from realtime.tracking.expression_tracker import ExpressionTracker
from realtime.tracking.neutral import Neutral

LIVE_SIZE, LIVE_FPS = (1280, 720), 30.0  # what call programs ask a camera for
FIGURES_S = 10.0  # between two lines of figures in the log


def make_puppet(
    options: argparse.Namespace, size: tuple[int, int] | None, stack: ExitStack, wait: bool
) -> tuple[Puppet, Engine]:
    """wait: for the best engine to be compiled; else a better one than is ready takes over while pictures are drawn."""
    engine = load_live(options.engine, options.device, LoadOptions(notify=say), wait=wait)
    stack.callback(engine.close)
    return Puppet.from_file(photos(options.source)[0], engine, size, options.fit, say), engine


def check_paths(options: argparse.Namespace, reads: Iterable[str]) -> None:
    """Raises OutputError when a file would be written twice, or over what is read: the photo or those of a folder, and `reads`."""
    written = [name for name in (*(options.output or []), options.record, options.sheet) if name]
    places = [Path(name).resolve() for name in written]
    read = {Path(name).resolve() for name in (*photos(options.source), *reads)}
    for number, (name, place) in enumerate(zip(written, places, strict=True)):
        if place in read:
            raise OutputError(f"{name} would be written over what is read: choose another name.")
        if place in places[:number]:
            raise OutputError(f"{name} is named twice: give every output a name of its own.")


def run_session(options: argparse.Namespace, ending: ShutdownHandler) -> int:
    """Animates the photo; returns the exit status. Raises PuppetError, and KeyboardInterrupt before there is anything to finish."""
    started_s = time.perf_counter()
    parts = parse_parts(options.driver)
    check_paths(options, (part.path for part in parts))
    own = driver_profile.load(options.profile) if options.profile else None
    cast = load_driver_spec(parts)
    if own and own.estimator != VERSION:
        say(
            f"The profile {options.profile} was made by an earlier version: how your brows and lids rest is measured "
            "when you come into view. `run.py calibrate` measures their range, too."
        )
    if own and cast.frames is None:
        raise SettingsError(
            f"--profile {options.profile} is of a face, and an AU curve has none: leave it out, or drive with a camera or a clip."
        )
    names = options.output or ["vcam"] + (["window"] if has_screen() else [])
    into_files = all(name == "none" or Path(name).suffix.lower() in VIDEO_SUFFIXES for name in names)
    live = (cast.frames is not None and is_camera(cast.frames)) or not into_files
    size = parse_size(options.size) if options.size else (LIVE_SIZE if live else None)
    with ExitStack() as stack:
        driver = _open_driver(cast, live, options.seconds, stack)
        curve = isinstance(driver, Performance)
        fps = options.fps or (LIVE_FPS if live or curve else driver.fps)
        second = (
            None if curve else _open_second(options, driver, own, live, stack)
        )  # first: a download needs the network that MediaPipe is cut off from
        puppet, engine = make_puppet(options, size, stack, wait=not live)
        if live and not curve and not driver.live:
            driver = RealtimePlayback(driver, lambda: open_frames(cast.frames))
            stack.callback(driver.close)
        timings = Timings()
        sound = _open_sound(options, live, names, stack)
        outputs = _open_outputs(options, names, puppet.size, fps, live, sound, timings, stack)
        into = ", ".join(output.name for output in outputs)
        say(
            f"{options.source} at {puppet.size[0]}x{puppet.size[1]}, driven by {', '.join(options.driver)}, {engine.name}, into {into}"
        )
        stage = _stage(options, puppet, timings, stack)
        run = Session(options, driver, second, own, cast.overlay, stage, outputs, timings, fps, stack, ending)
        status, pictures = run.live(engine, sound) if live else run.offline()
    for output in outputs:
        if isinstance(output, VideoFile | LiveRecording) and output.frames:
            say(f"wrote {output.written}")
    if options.record:
        say(f"wrote {options.record}: what the puppet was told")
    if options.sheet:
        say(f"wrote {options.sheet}: a contact sheet")
    if not live:
        say(f"{pictures} pictures in {time.perf_counter() - started_s:.1f} s")
    return status


def _open_driver(
    cast: DriverSpec, live: bool, seconds: float | None, stack: ExitStack
) -> LiveFrames | FileFrames | Performance:
    if cast.frames is None:
        return endless(cast.performance) if live else cast.performance
    driver = (
        ReconnectingCamera(cast.frames, say) if is_camera(cast.frames) else open_frames(cast.frames, seconds)
    )
    stack.callback(driver.close)
    return driver


def _open_sound(
    options: argparse.Namespace, live: bool, names: list[str], stack: ExitStack
) -> Microphone | None:
    if not options.sound:
        return None
    if not live or not any(Path(name).suffix.lower() in VIDEO_SUFFIXES for name in names):
        raise OutputError(
            "--sound is recorded beside live pictures: drive with a camera, and name a file with --output FILE.mp4."
        )
    sound = Microphone(options.sound, say)
    stack.callback(sound.close)
    return sound


def _open_outputs(options, names, size, fps, live, sound, timings, stack) -> list[Output]:
    """The outputs, open; a default one that is missing (no virtual camera, but a screen) is told and left out."""
    outputs = []
    for name in names:
        try:
            outputs.append(
                _open_live(name, size, fps, sound, timings) if live else open_output(name, size, fps)
            )
        except OutputError as error:
            if options.output or (name == names[-1] and not outputs):  # asked for, or nothing else is left
                raise
            say(f"run.py: {error} Going on without it.")
            continue
        stack.callback(outputs[-1].close)
    return outputs


def _open_live(
    name: str, size: tuple[int, int], fps: float, sound: Microphone | None, timings: Timings
) -> Output:
    """An output of a live run; in a file the sound is as late as the pictures are. Raises OutputError."""
    return open_output(name, size, fps, True, say, sound, lambda: timings.lately("capture to output"))


def _open_second(
    options: argparse.Namespace,
    driver: LiveFrames | FileFrames,
    own: Profile | None,
    live: bool,
    stack: ExitStack,
) -> FusedEstimator | None:
    """What --aus asks for beside MediaPipe, with the driver's own scale where their profile has one."""
    scale = (own and own.pyfeat) or (
        None if driver.has_rest else Scale.default()
    )  # a picture has no rest that could be learnt
    second = open_second(options.aus, options.pyfeat_weights, say, live, scale)
    if second:
        stack.callback(second.close)
    return second


def _stage(options: argparse.Namespace, puppet: Puppet, timings: Timings, stack: ExitStack) -> Animator:
    """The puppet's side of the loop, with a recording where one was asked for."""
    record = stack.enter_context(CurveWriter(options.record, say)) if options.record else None
    badge = Badge(puppet.size) if options.badge else None
    return Animator(puppet, Retarget(puppet.bundle, puppet.own_aus, options.settings), timings, record, badge)


@dataclass
class Session:
    """Everything of one run, open. `stack` closes it; `ending` is told when that begins."""

    options: argparse.Namespace
    driver: LiveFrames | FileFrames | Performance
    second: FusedEstimator | None  # an estimator beside MediaPipe
    profile: Profile | None  # the driver's own
    overlay: Overlay | None  # curves over the frames of a driver
    stage: Animator
    outputs: list[Output]
    timings: Timings
    fps: float
    stack: ExitStack
    ending: ShutdownHandler

    def offline(self) -> tuple[int, int]:
        """Every frame of a file, with a progress bar; returns the exit status and the pictures drawn. Raises DriverError when nobody was seen."""
        driver, fps, seconds = self.driver, self.fps, self.options.seconds
        if isinstance(driver, Performance):
            total = count_pictures(driver, fps, seconds)
            performance = perform_curve(driver, fps, total)
        else:
            total = int(driver.length * fps / driver.fps) if driver.length else None
            frames = perform_frames(
                driver, self.timings, self.second, self.profile, self._look_first(driver), say
            )
            performance = at_rate(frames, fps)
            performance = map(self.overlay, performance) if self.overlay else performance
        if seconds:
            total = min(total or 10**9, max(1, int(seconds * fps)))
            performance = islice(performance, total)
        outputs = self._with_sheet(total or 300)
        self.stack.callback(self.ending.close)
        drawn = count(1)
        with tqdm(total=total, unit="picture", desc="drawing", disable=None) as bar:
            try:
                pictures = play_offline(performance, self.stage, outputs, lambda: (next(drawn), bar.update()))
            except KeyboardInterrupt:
                say("stopped: finishing what was drawn so far")
                return STOPPED, next(drawn) - 1  # a bar that nobody sees does not count
        if not self.stage.seen:
            for output in outputs:
                if isinstance(output, VideoFile | ContactSheet):
                    output.discard()
            self.stage.discard_recording()
            raise DriverError(
                f"No face was found in {self.options.driver[0]}: give a driver that shows one from the front; nothing was written."
            )
        return 0, pictures

    def _look_first(self, driver: FileFrames) -> Callable[[], FileFrames] | None:
        """Opens a clip that is to be looked through for a resting face."""
        return (lambda: open_frames(str(driver.path))) if isinstance(driver, Clip) else None

    def live(self, engine: Engine, sound: Microphone | None) -> tuple[int, int]:
        """Threads, until Ctrl-C, q, --seconds or a closed window; returns the exit status and the pictures sent."""
        tracker, seconds = None, self.options.seconds
        source: ExpressionSource
        if isinstance(self.driver, Performance):
            source = CurveExpressions(self.driver, self.fps)
        else:
            neutral = None if self.driver.has_rest or self.profile else Neutral.absent()
            tracker = self.stack.enter_context(
                ExpressionTracker(self.timings, neutral, self.second, self.profile, say)
            )
            source = FrameExpressions(self.driver, tracker, self.timings, self.overlay)
        outputs, controls = self._with_sheet(int((seconds or 20) * self.fps)), Controls(answer)
        fanout = OutputFanout(outputs, say)
        loop = LiveLoop(source, self.stage, fanout, self.timings, self.fps, controls=controls)
        figures = LiveFigures(loop, self.timings, engine.name)
        key_actions = KeyActions(
            self.stage,
            fanout,
            tracker,
            self._album(engine),
            lambda path: _open_live(path, self.stage.puppet.size, self.fps, sound, self.timings),
        )
        controls.actions.update(key_actions.actions())
        self.stack.callback(key_actions.close)
        for output in outputs:
            if isinstance(output, Window):
                puppet_tracker = self.stack.enter_context(PuppetTracker())
                output.serve(controls, Hud(figures, loop, puppet_tracker), self.stage.badge)
        terminal = self._listen(controls)
        self.stack.callback(self.ending.close)
        told_s = time.perf_counter()

        def each_turn() -> None:
            nonlocal told_s
            for key in terminal.keys():
                controls.press(key)
            if sound:
                sound.muted = controls.covered
            if time.perf_counter() - told_s > FIGURES_S:
                told_s = time.perf_counter()
                LOG.debug("; ".join(text for text, _ in figures()))

        say(
            "live; Ctrl-C ends it, space shows the still photo at once, p pauses"
            if terminal.listens
            else "live; Ctrl-C ends it"
        )
        with suppress(KeyboardInterrupt), loop.running():
            loop.wait(seconds or float("inf"), each_turn)
            self.ending.close()
        say("ended")
        if delay := self.timings.summary().get("capture to output"):
            say(
                f"{loop.fresh} new pictures, {delay['p50_ms']:.0f} ms from camera to output (95 %: {delay['p95_ms']:.0f} ms)"
            )
        return fanout.failed.exit_status if fanout.failed else 0, loop.sent

    def _album(self, engine: Engine) -> PhotoSwitcher:
        """The photos that a key turns to."""
        size, fit = self.stage.puppet.size, self.options.fit
        return PhotoSwitcher(
            photos(self.options.source),
            lambda path: Puppet.from_file(path, engine, size, fit, say),
            self.stage.change,
            answer,
        )

    def _with_sheet(self, expected: int) -> list[Output]:
        """The outputs, with a contact sheet of about so many pictures where one was asked for."""
        if not self.options.sheet:
            return self.outputs
        sheet = ContactSheet(self.options.sheet, expected)
        self.stack.callback(sheet.close)
        return [*self.outputs, sheet]

    def _listen(self, controls: Controls) -> TerminalKeys:
        """Keys of the terminal, and the signals of a live run."""
        terminal = self.stack.enter_context(TerminalKeys())
        self.ending.at_last.append(terminal.restore)
        self.ending.live()
        self.ending.on_panic = (
            controls.toggle_panic
        )  # for a hotkey of the desktop: pkill -USR1 -f "run.py --source"
        if self.ending.panic:
            controls.toggle_panic()
        return terminal
