"""One run: from its config to a photo that is animated, live or frame by frame."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path

from tqdm import tqdm

from engines.backends.interface import Engine
from engines.errors import DriverError, OutputError, SettingsError, SourceError
from engines.face.au_estimator import VERSION
from engines.face.pyfeat import Scale
from realtime.audio.microphone import Microphone
from realtime.controls import Controls
from realtime.messages import DriverExpression
from realtime.output.contact_sheet import ContactSheet
from realtime.output.live_recording import LiveRecording
from realtime.output.outputs import VIDEO_SUFFIXES, Output, VideoFile, open_output
from realtime.output.window import Window, has_screen
from realtime.overlay import Badge
from realtime.performance.composition import endless
from realtime.performance.curve_writer import CurveWriter
from realtime.performance.driver_spec import DriverSpec, load_driver_spec, parse_parts
from realtime.process.log import LOG, answer, say
from realtime.process.shutdown import STOPPED, ShutdownHandler
from realtime.process.terminal_keys import TerminalKeys
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.config import DrawingConfig, SessionConfig
from realtime.session.engine import open_engine
from realtime.session.expression_source import CurveExpressions, ExpressionSource, FrameExpressions
from realtime.session.hud import Hud, LiveFigures, PuppetTracker
from realtime.session.key_actions import KeyActions
from realtime.session.live_loop import LiveLoop
from realtime.session.offline import at_rate, count_pictures, perform_curve, perform_frames, play_offline
from realtime.session.output_fanout import OutputFanout
from realtime.session.photo_switcher import PhotoSwitcher, photos
from realtime.sources.camera import is_camera
from realtime.sources.clip import Clip, RealtimePlayback, StillImage, open_frames
from realtime.sources.frame_source import FileFrames, LiveFrames
from realtime.sources.reconnecting_camera import ReconnectingCamera
from realtime.timing import Timings
from realtime.tracking import driver_profile
from realtime.tracking.driver_profile import Profile
from realtime.tracking.estimator_fusion import FusedEstimator, open_second
from realtime.tracking.expression_tracker import ExpressionTracker
from realtime.tracking.neutral import Neutral

LIVE_SIZE = (1280, 720)  # what call programs ask a camera for
LIVE_FPS = 30.0
FIGURES_S = 10.0  # between two lines of figures in the log
SHEET_PICTURES = 300  # of a driver whose length is not known: ten seconds
SHEET_S = 20.0  # of a live run without an end
NO_LIVE_FILE = (
    "--sound is recorded beside live pictures: drive with a camera, and name a file with --output FILE.mp4."
)


def run_session(config: SessionConfig, shutdown: ShutdownHandler) -> int:
    """Animates the photo; returns the exit status.

    Raises:
        PuppetError: what the user can mend.
        KeyboardInterrupt: before there is anything to finish.
    """
    started_s = time.perf_counter()
    parts = parse_parts(config.drivers)
    check_paths(config, (part.path for part in parts))
    profile = driver_profile.load(config.profile) if config.profile else None
    spec = load_driver_spec(parts)
    if profile and profile.estimator != VERSION:
        say(
            f"The profile {config.profile} was made by an earlier version: how your brows and lids rest is "
            "measured when you come into view. `run.py calibrate` measures their range, too."
        )
    if profile and spec.frames is None:
        raise SettingsError(
            f"--profile {config.profile} is of a face, and an AU curve has none: leave it out, or drive with "
            "a camera or a clip."
        )
    names = config.outputs or default_outputs()
    live = is_live(spec, names)
    with ExitStack() as stack:
        run = _run_live if live else _run_offline
        result = run(config, spec, names, profile, stack, shutdown)
    _report(config, result.outputs)
    if not live:
        say(f"{result.pictures} pictures in {time.perf_counter() - started_s:.1f} s")
    return result.status


def default_outputs() -> tuple[str, ...]:
    """Without --output: the virtual camera, and a preview where there is a screen."""
    return ("vcam", "window") if has_screen() else ("vcam",)


def is_live(spec: DriverSpec, outputs: Iterable[str]) -> bool:
    """Whether it runs by the clock; a file driver into files is drawn frame by frame."""
    into_files = all(name == "none" or Path(name).suffix.lower() in VIDEO_SUFFIXES for name in outputs)
    return (spec.frames is not None and is_camera(spec.frames)) or not into_files


def make_puppet(
    config: DrawingConfig, paths: list[Path], size: tuple[int, int] | None, stack: ExitStack, wait: bool
) -> tuple[Puppet, Engine]:
    """Opens an engine, which `stack` closes, and prepares a photo for it. Raises EngineError, SourceError.

    Args:
        paths: of photos; the first that can be used is prepared, and those before it are taken out.
        size: (width, height) of the pictures; None: the photo's own.
        wait: for the best engine to be compiled; else a better one than is ready takes over while pictures
            are drawn.
    """
    engine = open_engine(config, stack, wait)
    while True:
        try:
            return prepare_photo(config, paths[0], engine, size), engine
        except SourceError as error:
            if len(paths) == 1:
                raise
            say(f"{error} It is skipped.")
            paths.pop(0)


def prepare_photo(config: DrawingConfig, path: Path, engine: Engine, size: tuple[int, int] | None) -> Puppet:
    """The puppet of a photo, as the config wants it. Raises SourceError."""
    return Puppet.from_file(path, engine, size, config.fit, say, config.face_model, config.face)


def check_paths(config: SessionConfig, reads: Iterable[str]) -> None:
    """Raises OutputError when a file would be written twice, or over a photo or one of `reads`."""
    others = [name for name in (config.record, config.sheet) if name]
    written = [*config.outputs, *others]
    paths = [Path(name).resolve() for name in written]
    read = {Path(name).resolve() for name in [*map(str, photos(config.source)), *reads]}
    for number, (name, path) in enumerate(zip(written, paths, strict=True)):
        if path in read:
            raise OutputError(f"{name} would be written over what is read: choose another name.")
        if path in paths[:number]:
            raise OutputError(f"{name} is named twice: give every output a name of its own.")


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    status: int  # exit status
    pictures: int  # that were drawn or sent
    outputs: list[Output]  # to be reported once they are closed


def _report(config: SessionConfig, outputs: Iterable[Output]) -> None:
    """Says which files were written."""
    for output in outputs:
        if isinstance(output, VideoFile | LiveRecording) and output.frames:
            say(f"wrote {output.written}")
    if config.record:
        say(f"wrote {config.record}: the AU curve that drove the puppet")
    if config.sheet:
        say(f"wrote {config.sheet}: a contact sheet")


def _open_outputs(
    config: SessionConfig, names: Sequence[str], open_one: Callable[[str], Output], stack: ExitStack
) -> list[Output]:
    """Opens the outputs.

    A default one that is missing (no virtual camera, but a screen) is reported and left out.
    """
    outputs: list[Output] = []
    for name in names:
        try:
            output = open_one(name)
        except OutputError as error:
            last_chance = name == names[-1] and not outputs
            if config.outputs or last_chance:
                raise
            say(f"{error} Going on without it.")
            continue
        stack.callback(output.close)
        outputs.append(output)
    return outputs


def _open_second(
    config: SessionConfig,
    frames: LiveFrames | FileFrames,
    profile: Profile | None,
    live: bool,
    stack: ExitStack,
) -> FusedEstimator | None:
    """The estimator beside MediaPipe, with the driver's own scale where their profile has one."""
    scale = profile.pyfeat if profile else None
    if scale is None and not frames.has_rest:  # a picture has no rest that could be learnt
        scale = Scale.default()
    second = open_second(config.aus, config.pyfeat_weights, say, live, scale)
    if second:
        stack.callback(second.close)
    return second


def _open_animator(
    config: SessionConfig,
    puppet: Puppet,
    engine: Engine,
    outputs: Iterable[Output],
    timings: Timings,
    stack: ExitStack,
) -> Animator:
    """Says what runs, and opens the recording of the AUs where one is asked for. Raises OutputError."""
    size = "x".join(map(str, puppet.size))
    into = ", ".join(output.name for output in outputs)
    say(f"{config.source} at {size}, driven by {', '.join(config.drivers)}, {engine.name}, into {into}")
    record = stack.enter_context(CurveWriter(config.record, say)) if config.record else None
    badge = Badge(puppet.size) if config.badge else None
    retarget = Retarget(puppet.bundle, puppet.own_aus, config.settings)
    return Animator(puppet, retarget, timings, record, badge)


def _open_sheet(config: SessionConfig, expected: int, stack: ExitStack) -> list[Output]:
    """A contact sheet of about so many pictures, where one is asked for. Raises OutputError."""
    if not config.sheet:
        return []
    sheet = ContactSheet(config.sheet, expected)
    stack.callback(sheet.close)
    return [sheet]


# --- a file driver into files -------------------------------------------------------------------------------


def _run_offline(
    config: SessionConfig,
    spec: DriverSpec,
    names: Sequence[str],
    profile: Profile | None,
    stack: ExitStack,
    shutdown: ShutdownHandler,
) -> Result:
    """Every frame of a file, with a progress bar. Raises DriverError when no face was seen in it."""
    timings = Timings()
    total: int | None
    if spec.performance is not None:
        fps = config.fps or LIVE_FPS
        total = count_pictures(spec.performance, fps, config.seconds)
        expressions = perform_curve(spec.performance, fps, total)
    else:
        frames = open_frames(config.drivers[0], config.seconds, config.face_model)
        stack.callback(frames.close)
        second = _open_second(config, frames, profile, live=False, stack=stack)
        fps = config.fps or frames.fps
        total = int(frames.length * fps / frames.fps) if frames.length else None
        look_first = (lambda: open_frames(str(frames.path))) if isinstance(frames, Clip) else None
        tracked = perform_frames(frames, timings, second, profile, look_first, say, config.face_model)
        stack.callback(tracked.close)  # --seconds may leave it before its end
        expressions = at_rate(tracked, fps)
        if spec.overlay:
            expressions = map(spec.overlay, expressions)
    if config.seconds:
        total = min(total or 10**9, max(1, int(config.seconds * fps)))
        expressions = islice(expressions, total)
    puppet, engine = make_puppet(config, photos(config.source, say), config.size, stack, wait=True)
    if config.sound:
        raise OutputError(NO_LIVE_FILE)
    outputs = _open_outputs(config, names, lambda name: open_output(name, puppet.size, fps), stack)
    animator = _open_animator(config, puppet, engine, outputs, timings, stack)
    sheet = _open_sheet(config, total or SHEET_PICTURES, stack)
    stack.callback(shutdown.close)
    return _draw(config, expressions, total, animator, outputs, sheet)


def _draw(
    config: SessionConfig,
    expressions: Iterator[DriverExpression],
    total: int | None,
    animator: Animator,
    outputs: list[Output],
    sheet: list[Output],
) -> Result:
    drawn = count(1)
    with tqdm(total=total, unit="picture", desc="drawing", disable=None) as bar:

        def on_picture() -> None:
            next(drawn)  # the bar does not count where it is not shown
            bar.update()

        try:
            pictures = play_offline(expressions, animator, [*outputs, *sheet], on_picture)
        except KeyboardInterrupt:
            say("stopped: finishing what was drawn so far")
            return Result(STOPPED, next(drawn) - 1, outputs)
    if not animator.seen:
        for output in (*outputs, *sheet):
            if isinstance(output, VideoFile | ContactSheet):
                output.discard()
        animator.discard_recording()
        raise DriverError(
            f"No face was found in {config.drivers[0]}: give a driver that shows one from the front; nothing "
            "was written."
        )
    return Result(0, pictures, outputs)


# --- live ---------------------------------------------------------------------------------------------------


def _run_live(
    config: SessionConfig,
    spec: DriverSpec,
    names: Sequence[str],
    profile: Profile | None,
    stack: ExitStack,
    shutdown: ShutdownHandler,
) -> Result:
    """Threads, until Ctrl-C, q, the end of its time or a closed window."""
    timings = Timings()
    fps = config.fps or LIVE_FPS
    frames = _open_live_frames(spec, config, stack)
    # Before the engine: a download of its weights needs the network that MediaPipe is cut off from.
    second = _open_second(config, frames, profile, live=True, stack=stack) if frames else None
    paths = photos(config.source, say)
    puppet, engine = make_puppet(config, paths, config.size or LIVE_SIZE, stack, wait=False)
    sound = _open_sound(config, names, stack)
    open_one = partial(open_live_output, size=puppet.size, fps=fps, sound=sound, timings=timings)
    outputs = _open_outputs(config, names, open_one, stack)
    animator = _open_animator(config, puppet, engine, outputs, timings, stack)
    tracker = _open_tracker(frames, second, profile, timings, config.face_model, stack) if frames else None
    source = _expression_source(frames, tracker, spec, fps, timings)
    sheet = _open_sheet(config, int((config.seconds or SHEET_S) * fps), stack)
    controls = Controls(answer)
    fanout = OutputFanout([*outputs, *sheet], say)
    loop = LiveLoop(source, animator, fanout, timings, fps, controls=controls)
    switcher = PhotoSwitcher(
        paths,
        lambda path: prepare_photo(config, path, engine, puppet.size),
        animator.change,
        answer,
    )
    open_recording = partial(open_live_recording, size=puppet.size, fps=fps, sound=sound, timings=timings)
    key_actions = KeyActions(animator, fanout, tracker, switcher, open_recording)
    controls.actions.update(key_actions.actions())
    stack.callback(key_actions.close)
    figures = LiveFigures(loop, timings, engine.name)
    _serve_window(outputs, controls, figures, loop, config.face_model, stack)
    terminal = _listen(controls, stack, shutdown)
    stack.callback(shutdown.close)
    _play(config, loop, controls, terminal, sound, figures, shutdown)
    say("ended")
    if delay := timings.summary().get("capture to output"):
        p50_ms, p95_ms = delay["p50_ms"], delay["p95_ms"]
        say(f"{loop.fresh} new pictures, {p50_ms:.0f} ms from camera to output (95 %: {p95_ms:.0f} ms)")
    return Result(fanout.failed.exit_status if fanout.failed else 0, loop.sent, outputs)


def open_live_output(
    name: str, size: tuple[int, int], fps: float, sound: Microphone | None, timings: Timings
) -> Output:
    """An output of a live run; in a file the sound is as late as the pictures are. Raises OutputError."""
    return open_output(name, size, fps, True, say, sound, lambda: timings.lately("capture to output"))


def open_live_recording(
    path: str, size: tuple[int, int], fps: float, sound: Microphone | None, timings: Timings
) -> LiveRecording:
    """The same for a file that a key starts. Raises OutputError."""
    return LiveRecording(path, size, fps, sound, lambda: timings.lately("capture to output"), say)


def _open_live_frames(spec: DriverSpec, config: SessionConfig, stack: ExitStack) -> LiveFrames | None:
    """A camera, or a file played like one; None where a curve drives. Raises DriverError."""
    if spec.frames is None:
        return None
    path = spec.frames
    frames: LiveFrames
    if is_camera(path):
        frames = ReconnectingCamera(path, say)
    else:
        file = open_frames(path, config.seconds, config.face_model)
        reopen = file.rewound if isinstance(file, StillImage) else lambda: open_frames(path)
        frames = RealtimePlayback(file, reopen)
    stack.callback(frames.close)
    return frames


def _open_tracker(
    frames: LiveFrames,
    second: FusedEstimator | None,
    profile: Profile | None,
    timings: Timings,
    face_model: Path | None,
    stack: ExitStack,
) -> ExpressionTracker:
    neutral = None if frames.has_rest or profile else Neutral.absent()
    return stack.enter_context(ExpressionTracker(timings, neutral, second, profile, say, face_model))


def _expression_source(
    frames: LiveFrames | None,
    tracker: ExpressionTracker | None,
    spec: DriverSpec,
    fps: float,
    timings: Timings,
) -> ExpressionSource:
    if frames and tracker:
        return FrameExpressions(frames, tracker, timings, spec.overlay)
    assert spec.performance is not None  # where there are no frames
    return CurveExpressions(endless(spec.performance), fps)


def _open_sound(config: SessionConfig, names: Sequence[str], stack: ExitStack) -> Microphone | None:
    """The microphone, where one is asked for.

    Raises DriverError, and OutputError where no file would take its sound.
    """
    if not config.sound:
        return None
    if not any(Path(name).suffix.lower() in VIDEO_SUFFIXES for name in names):
        raise OutputError(NO_LIVE_FILE)
    sound = Microphone(config.sound, say)
    stack.callback(sound.close)
    return sound


def _serve_window(
    outputs: Iterable[Output],
    controls: Controls,
    figures: LiveFigures,
    loop: LiveLoop,
    face_model: Path | None,
    stack: ExitStack,
) -> None:
    """Keys and figures for the preview, where there is one."""
    for output in outputs:
        if isinstance(output, Window):
            puppet_tracker = stack.enter_context(PuppetTracker(face_model))
            output.serve(controls, Hud(figures, loop, puppet_tracker), loop.animator.badge)


def _listen(controls: Controls, stack: ExitStack, shutdown: ShutdownHandler) -> TerminalKeys:
    """Keys of the terminal, and the signals of a live run."""
    terminal = stack.enter_context(TerminalKeys())
    shutdown.at_last.append(terminal.restore)
    shutdown.live()
    shutdown.on_panic = controls.toggle_panic
    if shutdown.panic:  # the signal came before
        controls.toggle_panic()
    return terminal


def _play(
    config: SessionConfig,
    loop: LiveLoop,
    controls: Controls,
    terminal: TerminalKeys,
    sound: Microphone | None,
    figures: LiveFigures,
    shutdown: ShutdownHandler,
) -> None:
    """Runs the loop to its end, with the keys of the terminal."""
    logged_s = time.perf_counter()

    def each_turn() -> None:
        nonlocal logged_s
        for key in terminal.keys():
            controls.press(key)
        if sound:
            sound.muted = controls.covered
        if time.perf_counter() - logged_s > FIGURES_S:
            logged_s = time.perf_counter()
            LOG.debug("; ".join(text for text, _ in figures()))

    keys = ", space shows the still photo at once, p pauses" if terminal.listens else ""
    say(f"live; Ctrl-C ends it{keys}")
    with suppress(KeyboardInterrupt), loop.running():
        loop.wait(config.seconds or float("inf"), each_turn)
        shutdown.close()
