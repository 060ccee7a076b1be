"""AU curves by keyframes: a JSON file in which every moment names only the AUs that it means.

    {"version": 1, "aus": ["AU12", "AU25"], "keyframes": [
      {"time_s": 0, "AU12": 0, "AU25": 0},
      {"time_s": 0.5, "AU12": 0.8, "ease": "linear"},
      {"time_s": 2, "AU12": 0, "AU25": 0.3}
    ]}

Names and values are script.py's; times are seconds from the beginning, rising. An AU goes from each keyframe that names it to the next that
does, whatever stands between them; before its first and after its last it is held. `ease` says how the values of a keyframe go on:
"cubic" (the default: smooth, never beyond its ends), "linear", or "hold" until the next and then at once. `aus` may be left out; where
it is there, keyframes may name no others.
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np

from engines.errors import CurveError
from realtime.performance.curve import LONGEST_S, TIME, Curve, fault_of_name
from realtime.performance.interpolation import Segments, monotone

VERSION = 1
EASES = ("cubic", "linear", "hold")
EXAMPLE = '{"version": 1, "keyframes": [{"time_s": 0, "AU12": 0}, {"time_s": 0.5, "AU12": 0.8}]}'


def load_keyframes(path: Path) -> Curve:
    """Raises CurveError naming the file and the line, or the place in it: keyframes[3].AU12."""
    try:
        content = json.loads(
            path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_number
        )
    except OSError as error:
        raise CurveError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
    except json.JSONDecodeError as error:
        raise CurveError(
            f"{path}, line {error.lineno}, column {error.colno}: this is not JSON ({error.msg}); mend it there."
        ) from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # bytes that are no text, a name twice, numbers without end, brackets without end
        raise CurveError(
            f"{path} is not JSON that can be read ({error}): write it as in {EXAMPLE}."
        ) from error
    try:
        return _read(content)
    except _Misplaced as error:
        raise CurveError(f"{path}, {error}.") from error


class _Misplaced(Exception):
    """What is wrong, where in the file, and what to do."""


def _read(content: object) -> Curve:
    if not isinstance(content, dict):
        raise _Misplaced(f"the whole: it must be an object in braces, as in {EXAMPLE}")
    for name in content:
        if name not in ("version", "aus", "keyframes"):
            raise _Misplaced(f"{name}: it means nothing here; known are version, aus, keyframes")
    if type(content.get("version")) is not int or content["version"] != VERSION:
        said = json.dumps(content["version"]) if "version" in content else "missing"
        raise _Misplaced(
            f'version: it is {said}, and this program reads {VERSION}; write "version": {VERSION}'
        )
    frames = content.get("keyframes")
    if not isinstance(frames, list) or not frames:
        raise _Misplaced("keyframes: there must be a list of at least one; add them")
    allowed = _allowed(content["aus"]) if "aus" in content else None
    knots: dict[str, list[tuple[float, float, str]]] = {
        au: [] for au in allowed or ()
    }  # AU -> (time_s, value, ease)
    before_s = -1.0
    for number, frame in enumerate(frames):
        before_s = _add(f"keyframes[{number}]", frame, before_s, allowed, knots)
    if not knots:
        raise _Misplaced("keyframes: none of them names an AU; add one, as in " + EXAMPLE)
    return _curve({au: own or [(0.0, 0.0, "hold")] for au, own in knots.items()}, before_s)


def _allowed(aus: object) -> list[str]:
    if not isinstance(aus, list) or not aus:
        raise _Misplaced("aus: it must be a list of AU names; fill it, or leave it out")
    for number, name in enumerate(aus):
        if fault := fault_of_name(name if isinstance(name, str) else json.dumps(name), aus[:number]):
            raise _Misplaced(f"aus[{number}]: {fault}")
    return aus


def _add(where: str, frame: object, before_s: float, allowed: list[str] | None, knots: dict) -> float:
    """Sorts one keyframe into the knots of its AUs; returns its time."""
    if not isinstance(frame, dict):
        raise _Misplaced(f'{where}: it must be an object in braces, as in {{"time_s": 0.5, "AU12": 0.8}}')
    time_s = _number(f"{where}.{TIME}", frame.get(TIME), 0, LONGEST_S, "seconds")
    if time_s <= before_s:
        raise _Misplaced(
            f"{where}.{TIME}: {time_s:g} does not come after the {before_s:g} before it; sort the keyframes by time"
        )
    ease = frame.get("ease", EASES[0])
    if ease not in EASES:
        raise _Misplaced(f"{where}.ease: {json.dumps(ease)} is no way to go on; known are {', '.join(EASES)}")
    for name, said in frame.items():
        if name in (TIME, "ease"):
            continue
        if allowed is not None and name not in allowed:
            raise _Misplaced(f"{where}.{name}: it is not among aus; add it there or take it out here")
        if name not in knots and (fault := fault_of_name(name, list(knots))):
            raise _Misplaced(f"{where}.{name}: {fault}")
        knots.setdefault(name, []).append((time_s, _number(f"{where}.{name}", said, -1, 1, "a number"), ease))
    return time_s


def _number(where: str, said: object, least: float, most: float, unit: str) -> float:
    if said is None:
        raise _Misplaced(f"{where}: it is missing; write {unit} from {least:g} to {most:g}")
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise _Misplaced(
            f"{where}: {json.dumps(said)} is not a number; write {unit} from {least:g} to {most:g}"
        )
    if not least <= said <= most:
        raise _Misplaced(
            f"{where}: {str(said)[:20]} is outside {least:g} to {most:g}; write {unit} in between"
        )
    return float(said)


def _curve(knots: dict[str, list[tuple[float, float, str]]], end_s: float) -> Curve:
    """All AUs on the knots of all: a piece of a cubic is a cubic, so each keeps its own way."""
    times_s = np.unique([0.0, end_s, *(time_s for own in knots.values() for time_s, _, _ in own)])
    shape = len(times_s) - 1, len(knots)
    values = np.zeros((len(times_s), len(knots)), np.float32)
    ends, leaving, arriving = np.zeros(shape, np.float32), np.zeros(shape), np.zeros(shape)
    for column, own in enumerate(knots.values()):
        way = _way(own)
        values[:, column] = [way.at(time_s)[0] for time_s in times_s]
        for row, (start_s, stop_s) in enumerate(pairwise(times_s)):
            ends[row, column], leaving[row, column], arriving[row, column] = _piece(
                way, start_s, stop_s, values[row + 1, column]
            )
    return Curve(tuple(knots), times_s, values, Segments(times_s, values, ends, leaving, arriving))


def _way(own: list[tuple[float, float, str]]) -> Segments:
    """One AU's way through its own knots. (K, 1)"""
    times_s = np.array([time_s for time_s, _, _ in own])
    values = np.array([[value] for _, value, _ in own], np.float32)
    smooth = monotone(times_s, values)
    ends, leaving, arriving = smooth.ends.copy(), smooth.leaving.copy(), smooth.arriving.copy()
    for i, (_, _, ease) in enumerate(own[:-1]):
        if ease == "linear":
            leaving[i] = arriving[i] = (ends[i] - values[i]) / (times_s[i + 1] - times_s[i])
        elif ease == "hold":
            ends[i], leaving[i], arriving[i] = values[i], 0, 0
            if i and own[i - 1][2] == "cubic":
                arriving[i - 1] = 0  # it comes to rest there ...
            leaving[i + 1 : i + 2] = 0  # ... and starts from rest
    return Segments(times_s, values, ends, leaving, arriving)


def _piece(way: Segments, start_s: float, stop_s: float, after: np.float32) -> tuple[float, float, float]:
    """(end, slope there at the beginning, at the end) of a piece of one AU's way that holds none of its knots inside."""
    knot = int(way.times_s.searchsorted(start_s, "right")) - 1
    if knot < 0 or knot == len(way.times_s) - 1:  # held
        return float(after), 0.0, 0.0
    length_s = way.times_s[knot + 1] - way.times_s[knot]
    rise = (float(way.ends[knot, 0]) - float(way.values[knot, 0])) / length_s
    leaving, arriving = float(way.leaving[knot, 0]), float(way.arriving[knot, 0])

    def slope(time_s: float) -> float:
        x = (time_s - way.times_s[knot]) / length_s
        return (1 - 4 * x + 3 * x * x) * leaving + (3 * x * x - 2 * x) * arriving + 6 * x * (1 - x) * rise

    end = way.ends[knot, 0] if stop_s >= way.times_s[knot + 1] else after
    return float(end), slope(start_s), slope(stop_s)


def _once(pairs: list[tuple[str, object]]) -> dict:
    """An object whose names are there once each."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} is named twice in one object")
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not a usable number")
