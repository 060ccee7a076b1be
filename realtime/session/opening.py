"""What every run opens, live or frame by frame: its engine and puppet, its outputs, its animator."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from engines.backends.interface import Engine
from engines.errors import OutputError, SourceError
from engines.face.pyfeat import Scale
from realtime.output.contact_sheet import ContactSheet
from realtime.output.outputs import Output
from realtime.output.vmc_sender import VmcSender
from realtime.overlay import Badge
from realtime.performance.curve_writer import CurveWriter
from realtime.process.exit_status import close_after
from realtime.process.log import say
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.config import DrawingConfig, SessionConfig
from realtime.session.engine import open_engine
from realtime.sources.frame_source import FileFrames, LiveFrames
from realtime.timing import Timings
from realtime.tracking.driver_profile import Profile
from realtime.tracking.estimator_fusion import FusedEstimator, open_second

LIVE_FPS = 30.0


def make_puppet(
    config: DrawingConfig, paths: list[Path], size: tuple[int, int] | None, stack: ExitStack, wait: bool
) -> tuple[Puppet, Engine]:
    """Opens an engine, which `stack` closes, and prepares a photo for it meanwhile.

    Raises EngineError, SourceError.

    Args:
        paths: of photos; the first that can be used is prepared, and those before it are taken out.
        size: (width, height) of the pictures; None: the photo's own.
        wait: for the best engine to be compiled; else a better one than is ready takes over while pictures
            are drawn.
    """
    engine = open_engine(config, stack, wait)
    while True:
        try:
            puppet = prepare_photo(config, paths[0], engine, size)
        except SourceError as error:
            if len(paths) == 1:
                raise
            say(f"{error} It is skipped.")
            paths.pop(0)
        else:
            engine.ready()
            return puppet, engine


def prepare_photo(config: DrawingConfig, path: Path, engine: Engine, size: tuple[int, int] | None) -> Puppet:
    """The puppet of a photo, as the config wants it. Raises SourceError."""
    return Puppet.from_file(path, engine, size, config.fit, say, config.face_model, config.face)


def open_outputs(
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
        stack.push(partial(_close_output, output))
        outputs.append(output)
    return outputs


def _close_output(output: Output, _kind: object, error: BaseException | None, _trace: object) -> None:
    """The end of a block that ends with `error`. Raises OutputError where that is None."""
    close_after(error, output.close)


def open_second_estimator(
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


def open_animator(
    config: SessionConfig,
    puppet: Puppet,
    engine: Engine,
    outputs: Sequence[Output],
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
    followers = [output.follow for output in outputs if isinstance(output, VmcSender)]
    return Animator(puppet, retarget, timings, record, badge, followers)


def open_sheet(config: SessionConfig, expected: int, stack: ExitStack) -> list[Output]:
    """A contact sheet of about so many pictures, where one is asked for. Raises OutputError."""
    if not config.sheet:
        return []
    sheet = ContactSheet(config.sheet, expected)
    stack.push(partial(_close_output, sheet))
    return [sheet]
