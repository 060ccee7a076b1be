"""A clip or picture that drives: the part of it that is played, how fast, and the sound that it brings."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from engines.errors import DriverError
from engines.video.clip_index import read_index
from engines.video.frame_times import Stretch
from realtime.audio.clip_sound import ClipSound, has_sound
from realtime.messages import DriverExpression
from realtime.performance.driver_spec import PLAIN, CurvePart, Span
from realtime.sources.clip import ClipPart, is_moving_picture, is_still, open_frames
from realtime.sources.frame_source import FileFrames


def open_part(
    part: CurvePart,
    seconds: float | None = None,
    face_model: Path | None = None,
    say: Callable[[str], None] = lambda _sentence: None,
) -> tuple[FileFrames, Span]:
    """Opens what a clip or picture is to play; the span is in the whole's seconds.

    Args:
        seconds: how long a picture drives, where its options do not say.
        face_model, say: as for open_frames.

    Raises: DriverError, and CurveError where the part lies past the end.
    """
    whole = open_frames(part.path, seconds if part.options == PLAIN else None, face_model, say)
    whole_s = (whole.length or 0) / whole.fps
    if part.options == PLAIN:
        return whole, Span(0.0, whole_s)
    try:
        span = part.span(whole_s)
    except BaseException:
        whole.close()
        raise
    return ClipPart(whole, span.start_s, span.end_s), span


OpenSound = Callable[[], ClipSound | None]  # the sound of a driver, from its beginning; None: it has none


def no_sound() -> None:
    """Opens the sound of a driver that has none."""


def find_sound(part: CurvePart, span: Span, say: Callable[[str], None]) -> OpenSound:
    """What opens the sound of what a clip plays, each time from its beginning.

    The clip's index is read once, at the first time. What cannot be read is said once.
    """
    say_once = cache(say)

    @cache
    def stretches() -> tuple[Stretch, ...] | None:
        if is_still(part.path) or is_moving_picture(part.path) or not has_sound(part.path):
            return None
        return read_index(part.path).stretches

    def open_sound() -> ClipSound | None:
        try:
            timeline = stretches()
            if timeline is None:
                return None
            return ClipSound(part.path, timeline, span.start_s, span.end_s, span.speed)
        except DriverError as error:
            say_once(f"{error} The video is without its sound.")
            return None

    return open_sound


def count_pictures_of(span: Span, fps: float) -> int:
    """How many pictures a clip or picture gives at a rate."""
    return max(1, round(span.duration_s * fps))


def at_speed(expressions: Iterator[DriverExpression], speed: float) -> Iterator[DriverExpression]:
    """Expressions, `speed` times as fast."""
    return (replace(each, captured_s=each.captured_s / speed) for each in expressions)
