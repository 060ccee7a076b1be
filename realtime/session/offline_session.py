"""A run of a file driver into files: opened, and drawn frame by frame with a progress bar."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count, islice
from pathlib import Path

from tqdm import tqdm

from engines.errors import DriverError, OutputError
from realtime.messages import DriverExpression
from realtime.output.contact_sheet import ContactSheet
from realtime.output.outputs import Output, VideoFile, open_output
from realtime.performance.driver_spec import CurvesSpec, DriverSpec
from realtime.process.log import say
from realtime.process.shutdown import STOPPED, ShutdownHandler
from realtime.puppet.animator import Animator
from realtime.session.clip_driver import (
    OpenSound,
    at_speed,
    count_pictures_of,
    find_sound,
    no_sound,
    open_part,
)
from realtime.session.config import SessionConfig
from realtime.session.live_outputs import NO_LIVE_FILE
from realtime.session.offline import at_rate, count_pictures, perform_curve, perform_frames, play_offline
from realtime.session.opening import (
    LIVE_FPS,
    make_puppet,
    open_animator,
    open_outputs,
    open_second_estimator,
    open_sheet,
)
from realtime.session.result import Result
from realtime.sources.clip import Clip
from realtime.timing import Timings
from realtime.tracking.driver_profile import Profile


def run_offline(
    config: SessionConfig,
    spec: DriverSpec,
    paths: list[Path],
    names: Sequence[str],
    profile: Profile | None,
    stack: ExitStack,
    shutdown: ShutdownHandler,
) -> Result:
    """Every frame of a file, with a progress bar. Raises DriverError when no face was seen in it."""
    timings = Timings()
    clip_sound: OpenSound = no_sound  # that goes into files
    if isinstance(spec, CurvesSpec):
        fps = config.fps or LIVE_FPS
        total = count_pictures(spec.performance, fps, config.seconds)
        expressions = perform_curve(spec.performance, fps, total)
    else:
        frames, span = open_part(spec.part, config.seconds, config.face_model, say)
        stack.callback(frames.close)
        if config.clip_sound:
            clip_sound = find_sound(spec.part, span, say)
        second = open_second_estimator(config, frames, profile, live=False, stack=stack)
        fps = config.fps or frames.fps
        total = count_pictures_of(span, fps)
        look_first = partial(Clip, spec.path) if frames.has_rest else None
        tracked = perform_frames(frames, timings, second, profile, look_first, say, config.face_model)
        stack.callback(tracked.close)  # --seconds may leave it before its end
        expressions = at_rate(at_speed(tracked, span.speed), fps, total)
        if spec.overlay:
            expressions = map(spec.overlay, expressions)
    if config.seconds:
        total = min(total, max(1, int(config.seconds * fps)))
        expressions = islice(expressions, total)
    puppet, engine = make_puppet(config, paths, config.size, stack, wait=True)
    if config.sound:
        raise OutputError(NO_LIVE_FILE)
    open_one = partial(open_output, size=puppet.size, fps=fps, clip_sound=clip_sound)
    with shutdown.deferred():
        outputs = open_outputs(config, names, open_one, stack)
    animator = open_animator(config, puppet, engine, outputs, timings, stack)
    sheet = open_sheet(config, total, stack)
    stack.callback(shutdown.close)
    return _draw(config, expressions, total, animator, outputs, sheet)


def _draw(
    config: SessionConfig,
    expressions: Iterator[DriverExpression],
    total: int,
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
