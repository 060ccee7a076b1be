"""A live run: opened, with or without a page, and played to its end."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from engines.errors import OutputError
from realtime.output.outputs import Output
from realtime.performance.driver_spec import DriverSpec
from realtime.process.log import say
from realtime.process.shutdown import ShutdownHandler
from realtime.session import photo_shelf
from realtime.session.config import SessionConfig
from realtime.session.consent import settle, unanswered
from realtime.session.driver_switcher import DriverChoice, DriverSwitcher
from realtime.session.live_driver import expression_source, open_live_driver, open_live_frames
from realtime.session.live_outputs import LIVE_SIZE, open_live_output, open_sound
from realtime.session.live_run import RunPage
from realtime.session.live_sound import LiveSound
from realtime.session.live_stage import LiveStage
from realtime.session.opening import (
    LIVE_FPS,
    make_puppet,
    open_animator,
    open_outputs,
    open_second_estimator,
    open_sheet,
)
from realtime.session.output_fanout import OutputFanout
from realtime.session.result import Result, finish
from realtime.timing import Timings
from realtime.tracking.driver_profile import Profile

SHEET_S = 20.0  # of a live run without an end
READY_PUPPETS = 6  # photos of a page that can be shown at once; each takes 40 MB


def run_live(
    config: SessionConfig,
    spec: DriverSpec,
    paths: list[Path],
    names: Sequence[str],
    profile: Profile | None,
    stack: ExitStack,
    shutdown: ShutdownHandler,
) -> Result:
    """Threads, until Ctrl-C, q, the end of its time or a closed window."""
    timings = Timings()
    fps = config.fps or LIVE_FPS
    frames = open_live_frames(spec, config, stack)
    # Before the engine: a download of its weights needs the network that MediaPipe is cut off from.
    second = open_second_estimator(config, frames, profile, live=True, stack=stack) if frames else None
    puppet, engine = make_puppet(config, paths, config.size or LIVE_SIZE, stack, wait=False)
    sound = open_sound(config, names, stack)
    open_one = partial(open_live_output, size=puppet.size, fps=fps, sound=sound, timings=timings)
    outputs = open_outputs(config, names, open_one, stack)
    animator = open_animator(config, puppet, engine, outputs, timings, stack)
    source, tracker = expression_source(frames, second, spec, config, profile, fps, timings, stack)
    sheet = open_sheet(config, int((config.seconds or SHEET_S) * fps), stack)
    fanout = OutputFanout([*outputs, *sheet], say)
    stage = LiveStage(config, engine, animator, fanout, timings, fps, LiveSound(sound, say))
    switcher = stage.photo_switcher(paths)
    return stage.play(source, tracker, switcher, outputs, stack, shutdown)


def run_with_page(
    config: SessionConfig,
    named: list[Path],
    shutdown: ShutdownHandler,
    page: RunPage,
) -> int:
    """A live run whose photos, drivers and outputs are exchanged on a page; returns the exit status.

    named: the photos of --source; those that are kept, and the samples, where there are none.
    """
    given = named or [*photo_shelf.kept(), *photo_shelf.samples()]
    if config.consent:
        settle(given, config.consent)
    unknown = unanswered(given)  # asked on the page, and not shown before
    paths = sorted(given, key=lambda path: path in unknown)
    if not config.source or paths[0] in unknown:  # something has to be there at once
        paths = [photo_shelf.FIRST_SAMPLE, *(path for path in paths if path != photo_shelf.FIRST_SAMPLE)]
    timings = Timings()
    fps = config.fps or LIVE_FPS
    with ExitStack() as stack:
        stack.callback(page.detach)
        puppet, engine = make_puppet(config, paths, config.size or LIVE_SIZE, stack, wait=False)
        config = replace(config, source=str(paths[0]))
        sound = open_sound(config, config.outputs, stack)
        open_one = partial(open_live_output, size=puppet.size, fps=fps, sound=sound, timings=timings)
        opened = _open_page_outputs(config, open_one, stack)
        animator = open_animator(config, puppet, engine, [*opened, page.view], timings, stack)
        drivers = DriverSwitcher(partial(open_live_driver, config, fps, timings), say)
        drivers.choose(DriverChoice(config.drivers, profile=config.profile))
        fanout = OutputFanout([*opened, page.view], say)
        stage = LiveStage(config, engine, animator, fanout, timings, fps, LiveSound(sound, say))
        switcher = stage.photo_switcher(paths, READY_PUPPETS, unknown)
        result = stage.play(drivers, drivers, switcher, opened, stack, shutdown, page)
    finish(config, result, shutdown)
    return result.status


def _open_page_outputs(
    config: SessionConfig, open_one: Callable[[str], Output], stack: ExitStack
) -> list[Output]:
    """The outputs that are named; else the virtual camera, where there is one. Raises OutputError."""
    if config.outputs:
        return open_outputs(config, config.outputs, open_one, stack)
    try:
        return open_outputs(replace(config, outputs=("vcam",)), ("vcam",), open_one, stack)
    except OutputError as error:
        say(f"{error} The page shows the puppet meanwhile.")
        return []
