"""AU curves by keyframes: a JSON file in which every keyframe names only the AUs that it sets.

    {"version": 1, "aus": ["AU12", "AU25"], "keyframes": [
      {"time_s": 0, "AU12": 0, "AU25": 0},
      {"time_s": 0.5, "AU12": 0.8, "ease": "linear"},
      {"time_s": 2, "AU12": 0, "AU25": 0.3}
    ]}

Names and values are as in a CSV (csv_curve.py); times are seconds from the beginning, rising. An AU goes from
each keyframe that names it to the next that does, whatever stands between them; before its first and after
its last it is held. `ease` says how the values of a keyframe go on: "cubic" (the default: smooth, never
beyond its ends), "linear", or "hold" until the next and then at once. `aus` may be left out; where it is
there, keyframes may name no others.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, get_args

import msgspec
import numpy as np

from engines.errors import CurveError
from engines.face.action_units import MEANING
from realtime.performance.curve import KNOWN_AUS, MAX_DURATION_S, TIME, Curve, fault_of_name
from realtime.performance.interpolation import Segments, monotone

VERSION = 1
Ease = Literal["cubic", "linear", "hold"]
EASES = get_args(Ease)
EXAMPLE = '{"version": 1, "keyframes": [{"time_s": 0, "AU12": 0}, {"time_s": 0.5, "AU12": 0.8}]}'
Seconds = Annotated[float, msgspec.Meta(ge=0, le=MAX_DURATION_S)]
AuValue = Annotated[float, msgspec.Meta(ge=-1, le=1)]
Knots = list[tuple[float, float, str]]  # of one AU: (time_s, value, ease)


class _Versioned(msgspec.Struct):
    version: int


# A field for every known AU, so that an error names the one that it is about.
_Keyframe = msgspec.defstruct(
    "_Keyframe",
    [
        (TIME, Seconds),
        ("ease", Ease, EASES[0]),
        *((au, AuValue | msgspec.UnsetType, msgspec.UNSET) for au in MEANING),
    ],
    forbid_unknown_fields=True,
)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    keyframes: Annotated[list[_Keyframe], msgspec.Meta(min_length=1)]  # type: ignore[valid-type]
    aus: Annotated[list[str], msgspec.Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET


def load_keyframes(path: Path) -> Curve:
    """Raises CurveError naming the file, and the line or the field that is wrong, as in keyframes[3].AU12."""
    content = _parse(path)
    try:
        version = msgspec.convert(content, _Versioned).version
        if version != VERSION:
            _refuse(
                "version", f'it is {version}, and this program reads {VERSION}; write "version": {VERSION}'
            )
        return _curve_of(msgspec.convert(content, _File))
    except msgspec.ValidationError as error:
        raise CurveError(f"{path}, {_explain(error)}.") from error
    except _Misplaced as error:
        raise CurveError(f"{path}, {error}.") from error


# --- the file
# ----------------------------------------------------------------------------------------------------------


def _parse(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except OSError as error:
        raise CurveError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
    except json.JSONDecodeError as error:
        raise CurveError(
            f"{path}, line {error.lineno}, column {error.colno}: this is not JSON ({error.msg}); "
            "correct it there."
        ) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a name twice, NaN, brackets without end
        raise CurveError(
            f"{path} is not JSON that can be read ({error}): write it as in {EXAMPLE}."
        ) from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object, whose names must differ."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is named twice in one object")
        found[name] = value
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a usable number")


class _Misplaced(Exception):
    """A field, what is wrong with it, and what to do."""


def _refuse(where: str, what: str) -> NoReturn:
    raise _Misplaced(f"{where}: {what}")


def _explain(error: msgspec.ValidationError) -> str:
    """msgspec's "Expected `float`, got `str` - at `$.keyframes[0].time_s`" -> "keyframes[0].time_s:
    expected ..."."""
    what, _, where = str(error).partition(" - at `$")
    where = where.rstrip("`").lstrip(".") or "the whole"
    what = what[0].lower() + what[1:]
    return f"{where}: {what}; {_remedy(where)}"


def _remedy(where: str) -> str:
    name = where.rpartition(".")[2]
    if name == "ease":
        return f"known are {', '.join(EASES)}"
    if name == TIME:
        return f"write seconds from 0 to {MAX_DURATION_S:g}"
    if name in MEANING:
        return "write a number from -1 to 1"
    if name.startswith("keyframes["):
        return f"a keyframe has {TIME}, ease and AUs; {KNOWN_AUS}"
    return f"write it as in {EXAMPLE}"


# --- the curve
# ---------------------------------------------------------------------------------------------------------


def _curve_of(file: _File) -> Curve:
    allowed = None if file.aus is msgspec.UNSET else _check_aus(file.aus)
    knots: dict[str, Knots] = {au: [] for au in allowed or ()}
    previous_s = -1.0
    for number, frame in enumerate(map(msgspec.structs.asdict, file.keyframes)):
        previous_s = _add(f"keyframes[{number}]", frame, previous_s, allowed, knots)
    if not knots:
        _refuse("keyframes", f"none of them names an AU; add one, as in {EXAMPLE}")
    return _joined({au: own or [(0.0, 0.0, "hold")] for au, own in knots.items()}, previous_s)


def _check_aus(aus: list[str]) -> list[str]:
    for number, name in enumerate(aus):
        if fault := fault_of_name(name, aus[:number]):
            _refuse(f"aus[{number}]", fault)
    return aus


def _add(
    where: str, frame: dict[str, Any], previous_s: float, allowed: list[str] | None, knots: dict[str, Knots]
) -> float:
    """Adds one keyframe to the knots of its AUs; returns its time."""
    time_s = frame.pop(TIME)
    ease = frame.pop("ease")
    if time_s <= previous_s:
        _refuse(
            f"{where}.{TIME}",
            f"{time_s:g} does not come after the {previous_s:g} before it; sort the keyframes by time",
        )
    for name, value in frame.items():
        if value is msgspec.UNSET:
            continue
        if allowed is not None and name not in allowed:
            _refuse(f"{where}.{name}", "it is not among aus; add it there or take it out here")
        if name not in knots and (fault := fault_of_name(name, list(knots))):
            _refuse(f"{where}.{name}", fault)
        knots.setdefault(name, []).append((time_s, value, ease))
    return time_s


def _joined(knots: dict[str, Knots], end_s: float) -> Curve:
    """All AUs on the knots of all: a piece of a cubic is a cubic, so each keeps its own interpolation."""
    times_s = np.unique([0.0, end_s, *(time_s for own in knots.values() for time_s, _, _ in own)])
    shape = (len(times_s) - 1, len(knots))
    values = np.zeros((len(times_s), len(knots)), np.float32)
    ends = np.zeros(shape, np.float32)
    start_slopes = np.zeros(shape)
    end_slopes = np.zeros(shape)
    for column, own in enumerate(knots.values()):
        segments = _interpolate(own)
        values[:, column] = [segments.at(time_s)[0] for time_s in times_s]
        for row, (start_s, stop_s) in enumerate(pairwise(times_s)):
            ends[row, column], start_slopes[row, column], end_slopes[row, column] = _piece(
                segments, start_s, stop_s, values[row + 1, column]
            )
    return Curve(tuple(knots), times_s, values, Segments(times_s, values, ends, start_slopes, end_slopes))


def _interpolate(own: Knots) -> Segments:
    """One AU between its own knots, (K, 1)."""
    times_s = np.array([time_s for time_s, _, _ in own])
    values = np.array([[value] for _, value, _ in own], np.float32)
    smooth = monotone(times_s, values)
    ends = smooth.ends.copy()
    start_slopes = smooth.start_slopes.copy()
    end_slopes = smooth.end_slopes.copy()
    for i, (_, _, ease) in enumerate(own[:-1]):
        if ease == "linear":
            start_slopes[i] = end_slopes[i] = (ends[i] - values[i]) / (times_s[i + 1] - times_s[i])
        elif ease == "hold":
            ends[i] = values[i]
            start_slopes[i] = end_slopes[i] = 0
            if i and own[i - 1][2] == "cubic":
                end_slopes[i - 1] = 0  # it comes to rest there ...
            start_slopes[i + 1 : i + 2] = 0  # ... and starts from rest
    return Segments(times_s, values, ends, start_slopes, end_slopes)


def _piece(
    segments: Segments, start_s: float, stop_s: float, after: np.float32
) -> tuple[float, float, float]:
    """The part of one AU's interpolation from start_s to stop_s, which has none of its knots inside.

    Args:
        after: the value at stop_s.

    Returns: the value at its end, and the slopes per second at its beginning and end.
    """
    knot = int(segments.times_s.searchsorted(start_s, "right")) - 1
    if knot < 0 or knot == len(segments.times_s) - 1:  # held
        return float(after), 0.0, 0.0
    length_s = segments.times_s[knot + 1] - segments.times_s[knot]
    rise = (float(segments.ends[knot, 0]) - float(segments.values[knot, 0])) / length_s
    start_slope = float(segments.start_slopes[knot, 0])
    end_slope = float(segments.end_slopes[knot, 0])

    def slope(time_s: float) -> float:
        """The derivative of Hermite's cubic."""
        x = (time_s - segments.times_s[knot]) / length_s
        from_ends = (1 - 4 * x + 3 * x * x) * start_slope + (3 * x * x - 2 * x) * end_slope
        return from_ends + 6 * x * (1 - x) * rise

    end = segments.ends[knot, 0] if stop_s >= segments.times_s[knot + 1] else after
    return float(end), slope(start_s), slope(stop_s)
