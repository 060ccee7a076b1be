"""Who drives what, as it is written after --driver, once for each: a camera, clip or picture at most, and AU curves.

    smile.csv                       a curve (CSV or JSON keyframes), all of it
    brows.csv:brows                 only these AUs of it: groups (eyes, brows, mouth) and AUs, joined by +, as in mouth+AU06
    talk.csv@loop                   for ever, crossfaded where it begins anew; @loop=0.5 says for how many seconds, 0 for not at all
    talk.csv@speed=0.8              slower; @duration=10 stretches it to ten seconds
    talk.csv@from=2@to=4.5          a part of it, in its own seconds
    talk.csv:mouth@from=2@loop      and all of that together

Of several drivers each later one wins for what it is heard for; so all but the first say what that is.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import CurveError
from engines.face.action_units import GROUPS, MEANING, sides
from engines.face.au_estimator import ESTIMATED
from realtime.performance.composition import Excerpt, Layer, Mix, Overlay, layer
from realtime.performance.curve import Performance
from realtime.performance.load import load_curve

CURVE = re.compile(
    r"(?is)(?P<path>.+\.(?:csv|json))(?P<heard>:[^@]*)?(?P<ways>@.*)?"
)  # C:\x.csv, too: a path ends at its suffix
WAYS = "loop, loop=SECONDS, speed=FACTOR, duration=SECONDS, from=SECONDS, to=SECONDS"
SLOWEST, FASTEST = 0.01, 100.0
LONGEST_SEAM_S = 60.0


@dataclass(frozen=True)
class CurvePart:
    """One driver as it is written."""

    text: str
    path: str  # of a curve; else the text
    is_curve: bool
    heard: tuple[str, ...] = ()  # groups and AUs; all where empty
    ways: tuple[tuple[str, float | None], ...] = ()

    @property
    def aus(self) -> frozenset[str]:
        """What it is heard for, in the names of ESTIMATED."""
        if not self.heard:
            return frozenset(ESTIMATED)
        return frozenset(
            side for name in self.heard for au in GROUPS.get(name, (name,)) for side in sides(au)
        )

    def load(self) -> Performance:
        """The curve, as it is asked for. Raises CurveError."""
        curve, ways = load_curve(self.path), dict(self.ways)
        if not ways:
            return curve
        start_s, end_s = ways.get("from", 0.0), ways.get("to", float("inf"))
        if start_s and start_s >= curve.duration_s:
            raise CurveError(
                f"{self.text}: from={start_s:g} is past the end of {self.path}, which lasts {curve.duration_s:g} s."
            )
        length_s = min(end_s, curve.duration_s) - start_s
        if "duration" in ways and length_s <= 0:
            raise CurveError(
                f"{self.text}: {self.path} is one moment, which cannot be stretched; leave out duration."
            )
        speed = length_s / ways["duration"] if "duration" in ways else ways.get("speed", 1.0)
        return Excerpt(curve, start_s, end_s, speed, "loop" in ways, ways.get("loop"))


@dataclass(frozen=True)
class DriverSpec:
    """All drivers of a run: a camera, clip or picture with an overlay, or a performance."""

    frames: str | None  # camera, clip or picture, to be opened by capture.py
    performance: Performance | None  # where there is none of these
    overlay: Overlay | None  # over what these tell


def parse_parts(texts: Sequence[str]) -> list[CurvePart]:
    """What is written after --driver, in order. Raises CurveError where drivers contradict one another; nothing is opened yet."""
    parts = [parse_part(text) for text in texts]
    _check(parts)
    return parts


def load_driver_spec(parts: Sequence[CurvePart]) -> DriverSpec:
    """Who drives what, with curves loaded. Raises CurveError."""
    layers = [layer(part.load(), part.aus) for part in parts if part.is_curve]
    if not parts[0].is_curve:
        return DriverSpec(parts[0].text, None, Overlay(layers) if layers else None)
    return DriverSpec(None, _mixed(layers), None)


def _mixed(layers: list[Layer]) -> Performance:
    return layers[0].performance if len(layers) == 1 and layers[0].heard.all() else Mix(layers)


def is_curve(text: str) -> bool:
    """Whether what is written after --driver is a curve, whatever follows its name."""
    return CURVE.fullmatch(text) is not None


def parse_part(text: str) -> CurvePart:
    """One driver. Raises CurveError for a group or an option that is not known."""
    if (
        Path(text).suffix.lower() in (".csv", ".json") and Path(text).is_file()
    ):  # whatever its name is made of
        return CurvePart(text, text, True)
    found = CURVE.fullmatch(text)
    if not found:
        return CurvePart(text, text, False)
    heard = tuple(found["heard"][1:].split("+")) if found["heard"] is not None else ()
    for name in heard:
        if name not in GROUPS and name not in MEANING:
            raise CurveError(
                f"{text}: {name!r} is no group of AUs; known are {', '.join(GROUPS)} and AUs, joined by +, as in mouth+AU06."
            )
    return CurvePart(text, found["path"], True, heard, _ways(text, found["ways"]))


def _ways(text: str, said: str | None) -> tuple[tuple[str, float | None], ...]:
    ways: dict[str, float | None] = {}
    for word in said[1:].split("@") if said else ():
        name, equals, value = word.partition("=")
        least, most = {"speed": (SLOWEST, FASTEST), "loop": (0, LONGEST_SEAM_S)}.get(name, (0, 1e6))
        if name not in ("loop", "speed", "duration", "from", "to") or (name != "loop" and not equals):
            raise CurveError(f"{text}: @{word} means nothing; known are {WAYS}, each after an @.")
        if name in ways:
            raise CurveError(f"{text}: {name} is said twice; keep one of them.")
        ways[name] = _number(text, name, value, least, most) if equals else None
    if ways.get("duration") == 0:
        raise CurveError(f"{text}: duration=0 is no duration; write seconds.")
    if "speed" in ways and "duration" in ways:
        raise CurveError(f"{text}: speed and duration say the same in two ways; keep one of them.")
    if "to" in ways and ways["to"] <= ways.get("from", 0.0):
        raise CurveError(
            f"{text}: to={ways['to']:g} does not come after from={ways.get('from', 0.0):g}; turn them round."
        )
    return tuple(ways.items())


def _number(text: str, name: str, value: str, least: float, most: float) -> float:
    try:
        number = float(value)
    except ValueError as error:
        raise CurveError(f"{text}: {name}={value} is not a number.") from error
    if not math.isfinite(number) or not least <= number <= most:
        raise CurveError(f"{text}: {name}={value} is outside {least:g} to {most:g}.")
    return number


def _check(parts: Sequence[CurvePart]) -> None:
    """Raises CurveError where drivers contradict one another."""
    for part in parts[1:]:
        if not part.is_curve and not parts[0].is_curve:
            raise CurveError(
                f"{parts[0].text} and {part.text} cannot both drive: after the first --driver there can be AU curves only."
            )
        if not part.is_curve:
            raise CurveError(
                f"{part.text} would cover {parts[0].text} wholly: name it first, and the AU curves after it."
            )
        if not part.heard:
            raise CurveError(
                f"{part.text} would cover {parts[0].text} wholly: say what it is heard for, as in {part.text.partition('@')[0]}:mouth ({', '.join(GROUPS)}, or AUs)."
            )
    for number, part in enumerate(parts[:-1]):
        later = frozenset().union(*(other.aus for other in parts[number + 1 :]))
        if part.aus <= later:
            raise CurveError(
                f"{part.text} would not be heard at all, as those after it cover what it drives: leave it out, or name fewer AUs."
            )
