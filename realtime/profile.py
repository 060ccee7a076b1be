"""A driver's profile: what their face reads at rest, how far each AU goes, how much it trembles. Kept as JSON, by name.

    {"profile": 1, "estimator": "mediapipe-mesh-2", "aus": {"AU12L": {"neutral": 0.05, "full": 0.7, "noise": 0.01, "gain": 1.56}, ...}}

neutral: the reading at rest; full: the strongest that was seen; noise: a reading no further from neutral counts as rest;
gain: what is left beyond the noise is multiplied by it; `run.py calibrate` chooses it so that nine tenths of the way to `full`
are 1 on the puppet, and only the gain counts when it plays. AUs that the driver did not show keep the general scale.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.errors import SettingsError
from engines.expression import ESTIMATED, VERSION

FORMAT = 1
FOLDER_ENV = "PUPPET_PROFILES"
NUMBERS = ("neutral", "full", "noise", "gain")
# A range of 0.2 still fills 90 % of 0..1; more gain would show the tracker's tremble as grimaces.
MOST_GAIN = 4.5
MOST_NOISE = 0.2  # a dead zone that is wider hides small smiles
HIGHEST = {"neutral": 1.0, "full": 1.0, "noise": MOST_NOISE, "gain": MOST_GAIN}
LARGEST_FILE = 100_000  # bytes; a profile has 3000
CURE = "make it anew with `run.py calibrate`"


@dataclass(frozen=True)
class Profile:
    """(29,) float32 each, in the order of ESTIMATED."""

    neutral: np.ndarray
    full: np.ndarray
    noise: np.ndarray
    gain: np.ndarray

    def change(self, from_rest: np.ndarray) -> np.ndarray:
        """(29,) differences from rest -> (29,) float32 in -1..1: nothing within the noise, 1 where the driver can do no more."""
        beyond = np.sign(from_rest) * np.maximum(np.abs(from_rest) - self.noise, 0)
        return np.clip(np.where(from_rest > 0, beyond * self.gain, beyond), -1, 1).astype(np.float32)

    def save(self, path: str | Path) -> Path:
        """Writes it, for its owner's eyes; an earlier one stays whole until then. Returns the path. Raises SettingsError."""
        aus = {au: {name: round(float(getattr(self, name)[i]), 4) for name in NUMBERS} for i, au in enumerate(ESTIMATED)}
        lines = ",\n".join(f"  {json.dumps(au)}: {json.dumps(numbers)}" for au, numbers in aus.items())
        text = f'{{"profile": {FORMAT}, "estimator": {json.dumps(VERSION)}, "aus": {{\n{lines}\n}}}}\n'
        path = Path(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(partial, path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise SettingsError(f"The profile {path} cannot be written ({error.strerror}): choose another place with --name.") from error
        return path


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
        raise SettingsError(f"{text!r} is no name for a profile: use letters, digits and - (at most 64), or name a FILE.json.")
    return folder() / f"{text}.json"


def load(text: str) -> Profile:
    """The profile NAME or FILE.json. Raises SettingsError, which says what to do."""
    path = place(text)
    if not path.is_file():
        if text.endswith(".json"):
            raise SettingsError(f"There is no profile at {path}: check the path, or make one with `run.py calibrate --name {text}`.")
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
        raise SettingsError(f"{path} cannot be read ({error.strerror}): check its permissions, or {CURE}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is no text in UTF-8: {CURE}.") from error
    except json.JSONDecodeError as error:
        raise SettingsError(f"{path}, line {error.lineno}: this is no JSON ({error.msg}): mend it there, or {CURE}.") from error
    except RecursionError as error:
        raise SettingsError(f"{path} is no profile: {CURE}.") from error
    return _read(found, path, source)


def _read(found: object, path: Path, source: str) -> Profile:
    if not isinstance(found, dict) or "profile" not in found:
        raise SettingsError(f"{path}, line 1: this is no profile: name one that `run.py calibrate` wrote.")
    for key, wanted, what in (("profile", FORMAT, "version"), ("estimator", VERSION, "estimator")):
        if found.get(key) != wanted or isinstance(found.get(key), bool):
            has, line = found.get(key, "no"), _line(source, key)
            raise SettingsError(f"{path}, line {line}: this profile is of {what} {has}, this program's is {wanted}: {CURE}.")
    aus = found.get("aus")
    if not isinstance(aus, dict) or set(aus) != set(ESTIMATED):
        given = list(aus) if isinstance(aus, dict) else []
        unknown, missing = [au for au in given if au not in ESTIMATED], [au for au in ESTIMATED if au not in given]
        line = _line(source, unknown[0] if unknown else "aus")
        what = f"{unknown[0]} is not known" if unknown else f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''} is missing"
        raise SettingsError(f"{path}, line {line}: this profile is of another set of AUs ({what}): {CURE}.")
    return Profile(**{name: np.array([_number(aus[au], au, name, path, source) for au in ESTIMATED], np.float32) for name in NUMBERS})


def _number(numbers: object, au: str, name: str, path: Path, source: str) -> float:
    value = numbers.get(name) if isinstance(numbers, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= HIGHEST[name]:
        said, at = ("missing", (au,)) if value is None else (repr(value), (au, name))
        raise SettingsError(
            f"{path}, line {_line(source, *at)}: {name} of {au} is {said}: write a number from 0 to {HIGHEST[name]:g}, or {CURE}."
        )
    return float(value)


def _line(source: str, *keys: str) -> int:
    """Where a key stands, counted from 1; of several, the last one after those before it, or as much of the way as there is."""
    at = 0
    for key in keys:
        found = source.find(f'"{key}"', at)
        at = found if found >= 0 else at
    return source.count("\n", 0, at) + 1
