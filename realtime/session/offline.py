"""A file driver into files: every frame goes through its life in turn, nothing is dropped, nothing waits."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from math import inf, isinf
from pathlib import Path

import numpy as np

from engines.errors import CurveError
from realtime.messages import DriverExpression
from realtime.output.outputs import Output
from realtime.performance.curve import Performance
from realtime.performance.interpolation import SAME_S
from realtime.puppet.animator import Animator
from realtime.sources.frame_source import FileFrames
from realtime.timing import Timings
from realtime.tracking.driver_profile import Profile
from realtime.tracking.expression_tracker import ExpressionTracker
from realtime.tracking.neutral import Neutral
from realtime.tracking.secondary_estimator import SecondaryEstimator

# Of a clip, from its first face on, that is looked through for a resting face: a minute's work.
LONGEST_LOOK_S = 300.0
SAME_MOMENT_S = 1e-4  # by which times that are meant to be equal may differ


def perform_frames(
    driver: FileFrames,
    timings: Timings,
    second: SecondaryEstimator | None = None,
    profile: Profile | None = None,
    look_first: Callable[[], FileFrames] | None = None,
    say: Callable[[str], None] = lambda _sentence: None,
    face_model: Path | None = None,
) -> Generator[DriverExpression, None, None]:
    """Every frame of a file driver. Close it: it may be left before its end.

    Args:
        second, profile, say, face_model: as in ExpressionTracker; of a profile the neutral is taken, but for
            head and gaze.
        look_first: opens the same file once more; it is looked through for the driver's most restful moments,
            so that nothing is lost whenever the face appears. Without it the neutral is learnt on the way.
    """
    neutral = None if driver.has_rest else Neutral.absent()
    if neutral is None and look_first:
        neutral = _look_through(look_first(), profile, face_model)
        if neutral.unrest:
            say(f"No resting face was found in the clip (you {neutral.unrest}), so it is estimated.")
    with ExpressionTracker(timings, neutral, second, profile, say, face_model) as tracker:
        while (frame := driver.read()) is not None:
            yield tracker(frame)


def _look_through(driver: FileFrames, profile: Profile | None, face_model: Path | None) -> Neutral:
    """The neutral of a file's driver, from LONGEST_LOOK_S since they came into view; closes it."""
    readings = []
    end_s = inf
    try:
        with ExpressionTracker(Timings(), Neutral.absent(), face_model=face_model) as scout:
            while (frame := driver.read()) is not None and frame.captured_s < end_s:
                if scout(frame).seen and scout.reading is not None:
                    end_s = min(end_s, frame.captured_s + LONGEST_LOOK_S)
                    readings.append(scout.reading)
    finally:
        driver.close()
    return Neutral.of_clip(np.array(readings), profile)


def at_rate(
    expressions: Iterator[DriverExpression], fps: float, total: int | None = None
) -> Iterator[DriverExpression]:
    """Expressions with times of their own -> one for every 1/fps: the newest at that moment.

    total: how many in all; the last expression is held until then. By default it is the last one's moment.
    """
    newest: DriverExpression | None = None
    number = 0  # of the next moment
    for expression in expressions:
        while newest is not None and number / fps < expression.captured_s - SAME_MOMENT_S:
            if number == total:
                return
            yield replace(newest, captured_s=number / fps)
            number += 1
        newest = expression
    while newest is not None and number != total:
        yield replace(newest, captured_s=number / fps)
        number += 1
        if total is None:
            return


def count_pictures(performance: Performance, fps: float, seconds: float | None = None) -> int:
    """How many pictures a performance gives at a rate, the first and the last moment included.

    Raises CurveError where it has no end of its own.
    """
    if isinf(performance.duration_s) and seconds is None:
        raise CurveError(
            "The curve is repeated for ever: say with --seconds how much of it to draw, or leave out @loop."
        )
    whole_s = performance.duration_s + SAME_S  # the last row, although its time was rounded
    if seconds is None:
        return max(1, int(whole_s * fps) + 1)
    return max(1, min(int(seconds * fps), int(min(whole_s, seconds) * fps) + 1))


def perform_curve(
    performance: Performance, fps: float, count: int | None = None
) -> Iterator[DriverExpression]:
    """A curve, or several, sampled evenly; all of it, or so many moments."""
    for number in range(count_pictures(performance, fps) if count is None else count):
        yield DriverExpression(performance.at(number / fps), number / fps, seen=True)


def play_offline(
    expressions: Iterator[DriverExpression],
    animator: Animator,
    outputs: list[Output],
    on_picture: Callable[[], object] = lambda: None,
) -> int:
    """Draws one picture for each expression, into every output. Returns how many; nothing is dropped."""
    count = 0
    for expression in expressions:
        picture = animator.show(expression, expression.captured_s)
        for output in outputs:
            output.send(picture.image, expression.captured_s)
        count += 1
        on_picture()
    return count
