"""What `render` performs: curves, and clips, which are tracked once whatever the number of photos."""

from collections.abc import Iterator
from contextlib import closing
from typing import Protocol

from tqdm import tqdm

from engines.errors import DriverError
from realtime.audio.clip_sound import ClipSound
from realtime.messages import DriverExpression
from realtime.performance.composition import Overlay
from realtime.performance.curve import Performance
from realtime.performance.driver_spec import (
    CurvesSpec,
    FacesSpec,
    is_curve,
    load_driver_spec,
    parse_part,
    parse_parts,
)
from realtime.process.log import say
from realtime.session.clip_driver import at_speed, count_pictures_of, find_sound, no_sound, open_part
from realtime.session.config import BatchConfig
from realtime.session.offline import at_rate, count_pictures, perform_curve, perform_frames
from realtime.sources.clip import Clip, is_clip
from realtime.timing import Timings

FPS = 30.0  # of curves


class Take(Protocol):
    """A performance that can be drawn again and again."""

    @property
    def fps(self) -> float:
        """Pictures a second."""
        ...

    @property
    def count(self) -> int:
        """How many pictures it gives."""
        ...

    def expressions(self) -> Iterator[DriverExpression]:
        """One for each picture."""
        ...

    def open_sound(self) -> ClipSound | None:
        """Its sound, from its beginning; None where it has none."""
        ...


class CurveTake:
    """A curve, with others over it."""

    def __init__(self, performance: Performance, config: BatchConfig):
        """Raises CurveError where it never ends."""
        self._performance = performance
        self.fps = config.fps or FPS
        self.count = count_pictures(performance, self.fps, config.seconds)

    def expressions(self) -> Iterator[DriverExpression]:
        return perform_curve(self._performance, self.fps, self.count)

    def open_sound(self) -> ClipSound | None:
        return None


class ClipTake:
    """A clip, with curves over it; what its driver does is kept."""

    def __init__(self, spec: FacesSpec, config: BatchConfig):
        """Tracks the clip, with a progress bar. Raises DriverError, CurveError."""
        self._part = spec.part
        frames, self._span = open_part(self._part, None, config.face_model, say)
        self._layers = spec.overlay.layers if spec.overlay else ()
        self._open_sound = find_sound(self._part, self._span, say) if config.clip_sound else no_sound
        self.fps = config.fps or frames.fps
        whole = count_pictures_of(self._span, self.fps)
        self.count = min(whole, max(1, int((config.seconds or whole) * self.fps)))
        tracked = perform_frames(
            frames, Timings(), None, None, lambda: Clip(self._part.path), say, config.face_model
        )
        with closing(frames), closing(tracked):
            self._tracked = list(tqdm(tracked, unit="frame", desc=self._part.path, disable=None, leave=False))
        if not any(each.seen for each in self._tracked):
            raise DriverError(
                f"No face was found in {self._part.path}", "give a clip that shows one from the front"
            )

    def expressions(self) -> Iterator[DriverExpression]:
        moments = at_rate(at_speed(iter(self._tracked), self._span.speed), self.fps, self.count)
        return map(Overlay(self._layers), moments) if self._layers else moments

    def open_sound(self) -> ClipSound | None:
        return self._open_sound()


def is_take(name: str) -> bool:
    """Whether a name of `render` is a curve or a clip, whatever follows it after an @."""
    return is_curve(name) or is_clip(parse_part(name).path)


def load_take(name: str, config: BatchConfig) -> Take:
    """A take with the curves over it. Raises CurveError, DriverError."""
    spec = load_driver_spec(parse_parts([name, *config.over]))
    return CurveTake(spec.performance, config) if isinstance(spec, CurvesSpec) else ClipTake(spec, config)
