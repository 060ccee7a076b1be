"""The driver of a live run: a camera, a file played like one, a tracker on the network, or a curve."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from engines.errors import CurveError, SettingsError
from engines.face.au_estimator import VERSION
from realtime.performance.composition import endless
from realtime.performance.driver_spec import (
    PLAIN,
    CurvesSpec,
    DriverSpec,
    FacesSpec,
    load_driver_spec,
    parse_parts,
)
from realtime.process.log import say
from realtime.process.program import typed
from realtime.session.clip_driver import open_part
from realtime.session.config import SessionConfig
from realtime.session.driver_switcher import DriverChoice
from realtime.session.expression_source import (
    CurveExpressions,
    ExpressionSource,
    FrameExpressions,
    TrackerExpressions,
)
from realtime.session.key_actions import Recalibrated
from realtime.session.opening import open_second_estimator
from realtime.sources.camera import is_camera
from realtime.sources.clip import RealtimePlayback, StillImage
from realtime.sources.frame_source import LiveFrames
from realtime.sources.network_tracker import NetworkTracker, is_tracker
from realtime.sources.reconnecting_camera import ReconnectingCamera
from realtime.timing import Timings
from realtime.tracking import driver_profile
from realtime.tracking.driver_profile import Profile
from realtime.tracking.estimator_fusion import FusedEstimator
from realtime.tracking.expression_tracker import ExpressionTracker
from realtime.tracking.neutral import Neutral
from realtime.tracking.reading_tracker import ReadingTracker


def open_live_driver(
    config: SessionConfig,
    fps: float,
    timings: Timings,
    choice: DriverChoice,
    stack: ExitStack,
) -> tuple[ExpressionSource, Recalibrated | None]:
    """Opens the drivers of a live run, which `stack` closes. Raises PuppetError."""
    profile = driver_profile.load(choice.profile) if choice.profile else None
    spec = load_driver_spec(parse_parts(choice.drivers))
    check_driver(choice.drivers, choice.profile, profile, spec)
    if choice.once and isinstance(spec, CurvesSpec):
        return CurveExpressions(spec.performance, fps), None
    frames = open_live_frames(spec, config, stack)
    second = open_second_estimator(config, frames, profile, live=True, stack=stack) if frames else None
    return expression_source(frames, second, spec, config, profile, fps, timings, stack)


def check_driver(
    drivers: Sequence[str], profile_name: str | None, profile: Profile | None, spec: DriverSpec
) -> None:
    """Raises SettingsError, CurveError where a driver contradicts the profile or has parts in vain."""
    if profile and profile.estimator != VERSION:
        say(
            f"The profile {profile_name} was made by an earlier version: how your brows and lids rest is "
            f"measured when you come into view. `{typed('calibrate')}` measures their range, too."
        )
    if profile and (isinstance(spec, CurvesSpec) or is_tracker(spec.path)):
        raise SettingsError(
            f"--profile {profile_name} is of a face that a camera sees, and {drivers[0]} shows "
            "none: leave it out, or drive with a camera or a clip."
        )
    if isinstance(spec, FacesSpec) and spec.part.options != PLAIN and is_live_driver(spec):
        raise CurveError(
            f"{spec.part.text}: only a curve, clip or picture has parts; leave out what follows @."
        )


def is_live_driver(spec: DriverSpec) -> bool:
    """Whether it comes when it comes: a camera, a tracker."""
    return isinstance(spec, FacesSpec) and (is_camera(spec.path) or is_tracker(spec.path))


def open_live_frames(spec: DriverSpec, config: SessionConfig, stack: ExitStack) -> LiveFrames | None:
    """A camera, or a file played like one; None where a tracker or a curve drives. Raises DriverError."""
    if isinstance(spec, CurvesSpec) or is_tracker(spec.path):
        return None
    part = spec.part
    frames: LiveFrames
    if is_camera(part.path):
        frames = ReconnectingCamera(part.path, say)
    else:
        file, span = open_part(part, config.seconds, config.face_model, say)
        reopen = file.rewound if isinstance(file, StillImage) else lambda: open_part(part)[0]
        frames = RealtimePlayback(file, reopen, span.speed)
    stack.callback(frames.close)
    return frames


def expression_source(
    frames: LiveFrames | None,
    second: FusedEstimator | None,
    spec: DriverSpec,
    config: SessionConfig,
    profile: Profile | None,
    fps: float,
    timings: Timings,
    stack: ExitStack,
) -> tuple[ExpressionSource, Recalibrated | None]:
    """Where expressions come from, and what follows the driver; None where a curve drives.

    Raises DriverError.
    """
    if isinstance(spec, CurvesSpec):
        return CurveExpressions(endless(spec.performance), fps), None
    if frames:
        tracker = _open_tracker(frames, second, profile, timings, config.face_model, stack)
        return FrameExpressions(frames, tracker, timings, spec.overlay), tracker
    network = NetworkTracker(spec.path, say)
    stack.callback(network.close)
    follower = ReadingTracker(say)
    return TrackerExpressions(network, follower, timings, spec.overlay), follower


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
