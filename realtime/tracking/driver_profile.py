"""A driver's profile: what their face reads at rest, how far each AU goes, how much it trembles. Kept as JSON, by name.

    {"profile": 1, "estimator": "mediapipe-mesh-3", "aus": {"AU12L": {"neutral": 0.05, "full": 0.7, "noise": 0.01, "gain": 1.56}, ...},
     "py-feat": {"AU06": {"rest": 0.21, "full": 0.7}, ...}}

neutral: the reading at rest; full: the strongest that was seen; noise: a reading no further from neutral counts as rest;
gain: what is left beyond the noise is multiplied by it; `run.py calibrate` chooses it so that nine tenths of the way to `full`
are 1 on the puppet, and only the gain counts when it plays. AUs that the driver did not show keep the general scale.

A neutral below 0 is a face that rests below most: brows that are low by nature. A profile that the second estimator made
goes on working but for AUs that it read on other scales (REMEASURED): their rest is learnt in each run, and their range is
the general one.

"py-feat" is there where py-feat looked on: what it reads of each of its AUs at rest and in full, which count as 0 and 1
(engines/face/pyfeat.py). Without it py-feat's rest is learnt in each run, and its strength is everybody's.
"""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines import atomic_file
from engines.errors import SettingsError
from engines.face.action_units import WIDE, sides, whole
from engines.face.au_estimator import BROW_BLENDSHAPES, FROM_BLENDSHAPES, FROM_LIDS, VERSION, index
from engines.face.pyfeat import AUS, LEAST_RANGE, Scale

FORMAT = 1
FOLDER_ENV = "PUPPET_PROFILES"
NUMBERS = ("neutral", "full", "noise", "gain")
# A range of 0.2 still fills 90 % of 0..1; more gain would show the tracker's tremble as grimaces.
MOST_GAIN = 4.5
MOST_NOISE = 0.2  # a dead zone that is wider hides small smiles
HIGHEST = {"neutral": 1.0, "full": 1.0, "noise": MOST_NOISE, "gain": MOST_GAIN, "rest": 1 - LEAST_RANGE}
SECOND, POINTS = "py-feat", ("rest", "full")
LOWEST_NEUTRAL = -1.0  # of AUs that are read from the mesh
EARLIER = "mediapipe-mesh-2"  # the estimator whose profiles are read, too
REMEASURED = tuple(side for au in (*BROW_BLENDSHAPES, *FROM_LIDS) for side in sides(au))
ROUNDED = 1e-3  # by which two numbers of four digits may come nearer to each other
LARGEST_FILE = 100_000  # bytes; a profile has 4000
CURE = "make it anew with `run.py calibrate`"


@dataclass(frozen=True)
class Profile:
    """(29,) float32 each, in the order of WIDE; pyfeat: py-feat's own points, where it looked on.

    neutral is NaN where it has to be learnt. estimator: the one that measured it.
    """

    neutral: np.ndarray
    full: np.ndarray
    noise: np.ndarray
    gain: np.ndarray
    pyfeat: Scale | None = None
    estimator: str = VERSION

    def change(self, from_rest: np.ndarray) -> np.ndarray:
        """Differences from rest (29,) or (41,), of which the first 29 count -> (29,) float32 in -1..1.

        Nothing within the noise, 1 where the driver can do no more.
        """
        from_rest = from_rest[: len(WIDE)]
        beyond = np.sign(from_rest) * np.maximum(np.abs(from_rest) - self.noise, 0)
        return np.clip(np.where(from_rest > 0, beyond * self.gain, beyond), -1, 1).astype(np.float32)

    def save(self, path: str | Path) -> Path:
        """Writes it, for its owner's eyes; an earlier one stays whole until then. Returns the path. Raises SettingsError."""
        text = (
            f'{{"profile": {FORMAT}, "estimator": {json.dumps(VERSION)}, "aus": {_rows(self, WIDE, NUMBERS)}'
        )
        text += f', "{SECOND}": {_rows(self.pyfeat, AUS, POINTS)}}}\n' if self.pyfeat else "}\n"
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write_text(path, text, atomic_file.PRIVATE)
        except OSError as error:
            raise SettingsError(
                f"The profile {path} cannot be written ({error.strerror}): choose another place with --name."
            ) from error
        return path


def _rows(numbers: Profile | Scale, aus: Sequence[str], names: Sequence[str]) -> str:
    """A line for each AU, in braces."""
    rows = {
        au: {name: round(float(getattr(numbers, name)[i]), 4) for name in names} for i, au in enumerate(aus)
    }
    lines = ",\n".join(f"  {json.dumps(au)}: {json.dumps(row)}" for au, row in rows.items())
    return f"{{\n{lines}\n}}"


def folder() -> Path:
    """Where profiles are kept by name."""
    if given := os.environ.get(FOLDER_ENV):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_config_dir("expression-puppet", appauthor=False)) / "profiles"


def names() -> list[str]:
    """The profiles that are kept by name."""
    return sorted(path.stem for path in folder().glob("*.json"))


def place(text: str) -> Path:
    """Where the profile is that a user calls NAME or FILE.json. Raises SettingsError."""
    if text.endswith(".json"):
        return Path(text)
    if not re.fullmatch(r"[\w][\w .-]{0,63}", text):
        raise SettingsError(
            f"{text!r} is no name for a profile: use letters, digits and - (at most 64), or name a FILE.json."
        )
    return folder() / f"{text}.json"


def load(text: str) -> Profile:
    """The profile NAME or FILE.json. Raises SettingsError, which says what to do."""
    path = place(text)
    if not path.is_file():
        if text.endswith(".json"):
            raise SettingsError(
                f"There is no profile at {path}: check the path, or make one with `run.py calibrate --name {text}`."
            )
        known = ", ".join(names())
        raise SettingsError(
            f"There is no profile named {text}: {'known are ' + known if known else 'none is kept yet'}; "
            f"make one with `run.py calibrate --name {text}`."
        )
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise SettingsError(f"{path} is too large for a profile: {CURE}.")
        source = path.read_text(encoding="utf-8")
        found = json.loads(source)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror}): check its permissions, or {CURE}."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is no text in UTF-8: {CURE}.") from error
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"{path}, line {error.lineno}: this is no JSON ({error.msg}): mend it there, or {CURE}."
        ) from error
    except RecursionError as error:
        raise SettingsError(f"{path} is no profile: {CURE}.") from error
    return _read(found, path, source)


def _read(found: object, path: Path, source: str) -> Profile:
    if not isinstance(found, dict) or "profile" not in found:
        raise SettingsError(f"{path}, line 1: this is no profile: name one that `run.py calibrate` wrote.")
    estimators = (VERSION, EARLIER)
    for key, wanted, what in (("profile", (FORMAT,), "version"), ("estimator", estimators, "estimator")):
        if found.get(key) not in wanted or isinstance(found.get(key), bool):
            has, line = found.get(key, "no"), _line(source, key)
            raise SettingsError(
                f"{path}, line {line}: this profile is of {what} {has}, this program's is {wanted[0]}: {CURE}."
            )
    numbers = _table(found, "aus", WIDE, NUMBERS, path, source)
    if found["estimator"] == EARLIER:
        places = index(REMEASURED)
        for name, general in (("neutral", np.nan), ("full", 1.0), ("noise", 0.0), ("gain", 1.0)):
            numbers[name][places] = general
    pyfeat = _scale(found, path, source) if SECOND in found else None
    return Profile(**numbers, pyfeat=pyfeat, estimator=found["estimator"])


def _scale(found: Mapping, path: Path, source: str) -> Scale:
    """py-feat's part."""
    points = _table(found, SECOND, AUS, POINTS, path, source)
    for au, rest, full in zip(AUS, points["rest"], points["full"], strict=True):
        if full - rest < LEAST_RANGE - ROUNDED:
            raise SettingsError(
                f"{path}, line {_line(source, SECOND, au, 'full')}: full of {au} in {SECOND} is {full:g}, less than {LEAST_RANGE:g} above "
                f"its rest: write a larger one, or {CURE}."
            )
    return Scale(**points)


def _table(
    found: Mapping, key: str, wanted: Sequence[str], names: Sequence[str], path: Path, source: str
) -> dict[str, np.ndarray]:
    """(N,) float32 by name, of the AUs that stand under a key."""
    aus = found.get(key)
    if not isinstance(aus, dict) or set(aus) != set(wanted):
        given = list(aus) if isinstance(aus, dict) else []
        unknown, missing = [au for au in given if au not in wanted], [au for au in wanted if au not in given]
        line = _line(source, key, *unknown[:1])
        what = (
            f"{unknown[0]} is not known"
            if unknown
            else f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''} is missing"
        )
        whose = "this profile" if key == "aus" else f"{key} in this profile"
        raise SettingsError(f"{path}, line {line}: {whose} is of another set of AUs ({what}): {CURE}.")
    return {
        name: np.array([_number(aus[au], (key, au), name, path, source) for au in wanted], np.float32)
        for name in names
    }


def _number(numbers: object, keys: tuple[str, str], name: str, path: Path, source: str) -> float:
    """keys: where the numbers stand, the last being their AU."""
    value = numbers.get(name) if isinstance(numbers, Mapping) else None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not _lowest(name, keys[-1]) <= value <= HIGHEST[name]
    ):
        said, at = ("missing", keys) if value is None else (repr(value), (*keys, name))
        au = keys[1] if keys[0] == "aus" else f"{keys[1]} in {keys[0]}"
        raise SettingsError(
            f"{path}, line {_line(source, *at)}: {name} of {au} is {said}: write a number from {_lowest(name, keys[-1]):g} to {HIGHEST[name]:g}, or {CURE}."
        )
    return float(value)


def _lowest(name: str, au: str) -> float:
    """What a number of an AU must not be below."""
    of_mesh = whole(au) not in FROM_BLENDSHAPES
    return LOWEST_NEUTRAL if name == "neutral" and of_mesh else 0.0


def _line(source: str, *keys: str) -> int:
    """Where a key stands, counted from 1; of several, the last one after those before it, or as much of the way as there is."""
    at = 0
    for key in keys:
        found = source.find(f'"{key}"', at)
        at = found if found >= 0 else at
    return source.count("\n", 0, at) + 1
