"""The drivers of a run, as the values of --driver: at most one camera, clip or picture, and AU curves.

    smile.csv                     a curve (CSV or JSON keyframes), all of it
    brows.csv:brows               only these AUs of it: groups (eyes, brows, mouth, head, gaze) and AUs,
                                  joined by +, as in mouth+AU06
    talk.csv@loop                 for ever, crossfaded where it starts again; @loop=0.5: in 0.5 seconds,
                                  0 for no crossfade
    talk.csv@speed=0.8            slower; @duration=10 stretches it to ten seconds
    talk.csv@from=2@to=4.5        a part of it, in its own seconds
    talk.csv:mouth@from=2@loop    and all of that together
    clip.mp4@from=2@to=5@speed=2  a part of a clip or picture, faster

Of several drivers each later one wins for its AUs; so all but the first name theirs.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import CurveError
from engines.face.action_units import EXPRESSION, GROUPS, MEANING, sides
from realtime.performance.composition import Excerpt, Layer, Mix, Overlay, layer
from realtime.performance.curve import CSV_SUFFIX, JSON_SUFFIX, Performance
from realtime.performance.load import load_curve

# A path ends at its suffix, so a drive's colon (C:\x.csv) is part of it.
CURVE = re.compile(r"(?is)(?P<path>.+\.(?:csv|json))(?P<aus>:[^@]*)?(?P<options>@.*)?")
# The options behind the name of a clip, which may have an @ in it.
CLIP = re.compile(r"(?s)(?P<path>.+?)(?P<options>(?:@(?:loop|speed|duration|from|to)(?:=[^@]*)?)+)")
OPTIONS = "loop, loop=SECONDS, speed=FACTOR, duration=SECONDS, from=SECONDS, to=SECONDS"
# Least and greatest value of each option.
RANGES = {
    "loop": (0.0, 60.0),
    "speed": (0.01, 100.0),
    "duration": (0.0, 1e6),
    "from": (0.0, 1e6),
    "to": (0.0, 1e6),
}


@dataclass(frozen=True)
class CurveOptions:
    """How a curve or a clip is played."""

    loop: bool = False
    seam_s: float | None = None  # as Excerpt's
    speed: float | None = None
    duration_s: float | None = None  # to which it is stretched
    from_s: float = 0.0
    to_s: float = float("inf")


PLAIN = CurveOptions()


@dataclass(frozen=True)
class Span:
    """What is played of a curve or a clip, in its own seconds, and how fast."""

    start_s: float
    end_s: float
    speed: float = 1.0

    @property
    def duration_s(self) -> float:
        """How long it takes."""
        return (self.end_s - self.start_s) / self.speed


@dataclass(frozen=True)
class CurvePart:
    """One driver as it is written."""

    text: str
    path: str  # without names and options
    is_curve: bool
    names: tuple[str, ...] = ()  # groups and AUs that it drives; all where empty
    options: CurveOptions = PLAIN

    @property
    def aus(self) -> frozenset[str]:
        """The AUs that it drives, by the names of EXPRESSION."""
        if not self.names:
            return frozenset(EXPRESSION)
        return frozenset(
            side for name in self.names for au in GROUPS.get(name, (name,)) for side in sides(au)
        )

    def load(self) -> Performance:
        """The curve, with its options. Raises CurveError."""
        curve = load_curve(self.path)
        if self.options == PLAIN:
            return curve
        span = self.span(curve.duration_s)
        return Excerpt(curve, span.start_s, span.end_s, span.speed, self.options.loop, self.options.seam_s)

    def span(self, whole_s: float) -> Span:
        """What is played of a curve or a clip that lasts so long. Raises CurveError."""
        options = self.options
        if options.from_s and options.from_s >= whole_s:
            raise CurveError(
                f"{self.text}: from={options.from_s:g} is past the end of {self.path}, "
                f"which lasts {whole_s:g} s."
            )
        end_s = min(options.to_s, whole_s)
        speed = 1.0 if options.speed is None else options.speed
        if options.duration_s is not None:
            if end_s <= options.from_s:
                raise CurveError(
                    f"{self.text}: {self.path} is one moment, which cannot be stretched; leave out duration."
                )
            speed = (end_s - options.from_s) / options.duration_s
        return Span(options.from_s, end_s, speed)


@dataclass(frozen=True)
class FacesSpec:
    """A driver whose face is read: a camera, clip, picture or tracker, with curves over it."""

    part: CurvePart  # as it is written
    overlay: Overlay | None

    @property
    def path(self) -> str:
        """The camera, clip, picture or tracker."""
        return self.part.path


@dataclass(frozen=True)
class CurvesSpec:
    """Curves alone drive."""

    performance: Performance


DriverSpec = FacesSpec | CurvesSpec  # all drivers of a run


def parse_parts(texts: Sequence[str]) -> list[CurvePart]:
    """The values of --driver, in order.

    Opens nothing. Raises CurveError where they contradict one another.
    """
    parts = [parse_part(text) for text in texts]
    _check(parts)
    return parts


def load_driver_spec(parts: Sequence[CurvePart]) -> DriverSpec:
    """The drivers, with curves loaded. Raises CurveError."""
    layers = [layer(part.load(), part.aus) for part in parts if part.is_curve]
    if not parts[0].is_curve:
        return FacesSpec(parts[0], Overlay(layers) if layers else None)
    return CurvesSpec(_mixed(layers))


def _mixed(layers: list[Layer]) -> Performance:
    return layers[0].performance if len(layers) == 1 and layers[0].au_mask.all() else Mix(layers)


def is_curve(text: str) -> bool:
    """Whether a value of --driver is a curve, whatever follows its name."""
    return CURVE.fullmatch(text) is not None


def parse_part(text: str) -> CurvePart:
    """One value of --driver. Raises CurveError for an unknown group, AU or option."""
    if Path(text).suffix.lower() in (CSV_SUFFIX, JSON_SUFFIX) and Path(text).is_file():
        return CurvePart(text, text, True)  # whatever its name consists of
    found = CURVE.fullmatch(text)
    if not found:
        return _parse_clip(text)
    names = tuple(found["aus"][1:].split("+")) if found["aus"] is not None else ()
    for name in names:
        if name not in GROUPS and name not in MEANING:
            raise CurveError(
                f"{text}: {name!r} is no group of AUs; known are {', '.join(GROUPS)} and AUs, "
                "joined by +, as in mouth+AU06."
            )
    options = _parse_options(text, found["options"][1:].split("@")) if found["options"] else PLAIN
    return CurvePart(text, found["path"], True, names, options)


def _parse_clip(text: str) -> CurvePart:
    """A camera, clip or picture. Raises CurveError for an option that it cannot have."""
    found = None if Path(text).exists() else CLIP.fullmatch(text)
    if not found:
        return CurvePart(text, text, False)
    options = _parse_options(text, found["options"][1:].split("@"))
    if options.loop:
        raise CurveError(f"{text}: only a curve can be looped; leave out @loop.")
    return CurvePart(text, found["path"], False, (), options)


def _parse_options(text: str, options: Sequence[str]) -> CurveOptions:
    values: dict[str, float | None] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if name not in RANGES or (name != "loop" and not equals):
            raise CurveError(f"{text}: @{option} is not known; known are {OPTIONS}, each after an @.")
        if name in values:
            raise CurveError(f"{text}: {name} is given twice; keep one of them.")
        values[name] = _number(text, name, value) if equals else None
    if values.get("duration") == 0:
        raise CurveError(f"{text}: duration=0 is no duration; write seconds.")
    if "speed" in values and "duration" in values:
        raise CurveError(f"{text}: speed and duration set the same in two ways; keep one of them.")
    from_s = values.get("from") or 0.0
    to_s = values.get("to")
    if to_s is not None and to_s <= from_s:
        raise CurveError(f"{text}: to={to_s:g} does not come after from={from_s:g}; exchange them.")
    return CurveOptions(
        loop="loop" in values,
        seam_s=values.get("loop"),
        speed=values.get("speed"),
        duration_s=values.get("duration"),
        from_s=from_s,
        to_s=float("inf") if to_s is None else to_s,
    )


def _number(text: str, name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError as error:
        raise CurveError(f"{text}: {name}={value} is not a number.") from error
    least, most = RANGES[name]
    if not math.isfinite(number) or not least <= number <= most:
        raise CurveError(f"{text}: {name}={value} is outside {least:g} to {most:g}.")
    return number


def _check(parts: Sequence[CurvePart]) -> None:
    """Raises CurveError where drivers contradict one another."""
    first = parts[0]
    for part in parts[1:]:
        if not part.is_curve and not first.is_curve:
            raise CurveError(
                f"{first.text} and {part.text} cannot both drive: "
                "after the first --driver there can be AU curves only."
            )
        if not part.is_curve:
            raise CurveError(
                f"{part.text} would cover {first.text} wholly: name it first, and the AU curves after it."
            )
        if not part.names:
            raise CurveError(
                f"{part.text} would cover {first.text} wholly: name the AUs that it drives, "
                f"as in {part.text.partition('@')[0]}:mouth ({', '.join(GROUPS)}, or AUs)."
            )
    for number, part in enumerate(parts[:-1]):
        later = frozenset[str]().union(*(other.aus for other in parts[number + 1 :]))
        if part.aus <= later:
            raise CurveError(
                f"{part.text} would have no effect, as those after it drive all of its AUs: "
                "leave it out, or name fewer AUs in them."
            )
