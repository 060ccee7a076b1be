"""How a driver's expression is made the puppet's: strengths, limits, groups and idle life, from a TOML preset
and the command line.

    [mine]                       # a preset; several may stand in one file
    strength = 1.2               # of the expression, 0 to 2
    head = 0.8                   # how far the head follows, 0 to 1.5
    gaze = 1.0                   # how far the eyes follow, 0 to 1.5
    symmetric = true             # both sides of the face do the same
    groups = ["brows", "eyes"]   # what is driven; mouth, head and gaze stay the photo's
    idle = true                  # blinks and small movements while the driver is still or out of view
    seed = 7                     # of the idle life
    [mine.AU12]                  # one AU, both its sides; or AU12L, AU12R; or "all"
    gain = 1.5                   # times what the driver does, 0 to 5
    offset = 0.1                 # always added, -1 to 1
    dead_zone = 0.05             # a change that is no larger counts as none, 0 to 0.5
    limit = 0.8                  # that no change exceeds, 0 to 1

What a preset does not say is as it is without one; what the command line says goes before the preset.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from engines import atomic_file
from engines.environment import settings_folder
from engines.errors import SettingsError
from engines.face.action_units import EXPRESSION, GAZE, GROUPS, HEAD, MEANING, sides, whole

SHIPPED = Path(__file__).with_name("presets.toml")
ALL = "all"
STRENGTH = (0.0, 2.0)
FOLLOWING = (0.0, 1.5)  # of head and gaze
# Of head and gaze, where a preset says nothing: a third of a degree, a ninetieth of an eye's width. What is
# left of a head's or an eye's tremble after smoothing is less.
DEAD_ZONES = {**dict.fromkeys(HEAD, 0.01), **dict.fromkeys(GAZE, 0.04)}
DEAD_ZONE = 0.03  # the tracker's tremble at rest, measured on still drivers


@dataclass(frozen=True)
class Gains:
    """What happens to one AU's change from rest."""

    gain: float = 1.0
    offset: float = 0.0
    dead_zone: float = DEAD_ZONE
    limit: float = 1.0


RANGES = {"gain": (0.0, 5.0), "offset": (-1.0, 1.0), "dead_zone": (0.0, 0.5), "limit": (0.0, 1.0)}


@dataclass(frozen=True)
class Settings:
    """All of it; `aus` has what differs from `every`, by the names of engines.face.action_units."""

    strength: float = 1.0
    head: float = 1.0
    gaze: float = 1.0
    symmetric: bool = False
    groups: tuple[str, ...] = tuple(GROUPS)
    idle: bool = False
    seed: int = 0
    every: Gains = Gains()
    aus: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def table(self, name: str) -> np.ndarray:
        """(41,) float32: "gain", "offset", "dead_zone" or "limit" of each AU, in the order of EXPRESSION."""
        values = np.full(len(EXPRESSION), getattr(self.every, name), np.float32)
        if name == "dead_zone" and self.every.dead_zone == DEAD_ZONE:
            values[[EXPRESSION.index(au) for au in DEAD_ZONES]] = list(DEAD_ZONES.values())
        for au in sorted(self.aus, key=len):  # a side after the whole that it is of
            if name in self.aus[au]:
                values[[EXPRESSION.index(side) for side in sides(au)]] = self.aus[au][name]
        return values

    def driven(self) -> np.ndarray:
        """(41,) bool: AUs of the groups that are on."""
        on = {au for group in self.groups for au in GROUPS[group]}
        return np.array([whole(au) in on for au in EXPRESSION])

    def with_flags(self, **changes: Any) -> "Settings":
        """These with other values; None leaves a value as it is."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def with_au(self, text: str) -> "Settings":
        """These with what --au says: AU12:gain=1.5,limit=0.8. Raises SettingsError."""
        name, colon, rest = text.partition(":")
        values = {}
        for part in filter(None, rest.split(",")):
            key, _, number = part.partition("=")
            try:
                values[key.strip()] = float(number)
            except ValueError as error:
                raise SettingsError(
                    f"--au {text}: {number!r} is not a number; write AU12:gain=1.5,limit=0.8."
                ) from error
        if not colon or not values:
            raise SettingsError(f"--au {text} sets nothing: write AU12:gain=1.5,limit=0.8.")
        try:
            return _with_aus(self, name, values)
        except _Wrong as error:
            raise SettingsError(f"--au {text}: {error}.") from error

    def toml(self, name: str = "config") -> str:
        """As a preset, that `load` reads."""
        groups = ", ".join(f'"{group}"' for group in self.groups)
        lines = [
            f"[{name}]",
            f"strength = {self.strength:g}",
            f"head = {self.head:g}",
            f"gaze = {self.gaze:g}",
            f"symmetric = {str(self.symmetric).lower()}",
            f"groups = [{groups}]",
            f"idle = {str(self.idle).lower()}",
            f"seed = {self.seed}",
            f"[{name}.{ALL}]",
        ]
        lines += [f"{key.name} = {getattr(self.every, key.name):g}" for key in fields(Gains)]
        for au, values in self.aus.items():
            lines += [f"[{name}.{au}]", *(f"{key} = {value:g}" for key, value in values.items())]
        return "\n".join(lines)


class _Wrong(Exception):
    """What is wrong with a setting, and its key; the sentence is made where the file is known."""

    def __init__(self, what: str, *key: str):
        super().__init__(what)
        self.key = key


def load(text: str) -> Settings:
    """The preset that --preset names: one that is shipped, FILE.toml with one preset in it, or
    FILE.toml:NAME. Raises SettingsError.
    """
    path, name = _place(text)
    try:
        source = path.read_text(encoding="utf-8")
        presets = tomllib.loads(source)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror}): check the path given to --preset."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path} is no text in UTF-8: save it as TOML, as --print-config shows it."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{path}: this is no TOML: {str(error)[0].lower()}{str(error)[1:]}; --print-config shows how it"
            " looks."
        ) from error
    loose = [key for key, value in presets.items() if not isinstance(value, dict)]
    if loose:
        raise SettingsError(
            f"{path}, line {_line(source, loose[0])}: {loose[0]} stands outside a preset: put a line like"
            " [mine] above it."
        )
    if not name and len(presets) == 1:
        name = next(iter(presets))
    if name not in presets:
        raise SettingsError(
            f"{path} has no preset {name or 'of its own'}: name one of {', '.join(presets) or 'none'}, as in"
            f" {path}:NAME."
        )
    try:
        return _read(presets[name])
    except _Wrong as error:
        raise SettingsError(f"{path}, line {_line(source, *error.key, within=name)}: {error}.") from error


def merged(settings: Settings, changes: Mapping[str, object]) -> Settings:
    """Settings with others in their place, as a preset names them. Raises SettingsError."""
    try:
        return _read(changes, settings)
    except _Wrong as error:
        raise SettingsError(f"{error}.") from error


def saved_presets() -> list[str]:
    """The names of presets that were saved, in the order in which they were. Raises SettingsError."""
    return list(_saved())


def save_preset(name: str, settings: Settings) -> None:
    """Keeps settings under a name, for --preset NAME and the page. Raises SettingsError."""
    if not re.fullmatch(r"[A-Za-z][\w-]{0,39}", name, re.ASCII):
        raise SettingsError(f"{name!r} is no name for a preset", "use letters, digits and - (at most 40)")
    if name in shipped():
        raise SettingsError(f"{name} is a preset that ships", "use another name")
    path = saved_file()
    presets = {other: load(f"{path}:{other}") for other in _saved()} | {name: settings}
    text = "\n\n".join(each.toml(other) for other, each in presets.items())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_file.write_text(path, text + "\n", atomic_file.PRIVATE)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror})", "free some space") from error


def saved_file() -> Path:
    """Where presets are saved; it need not exist."""
    return settings_folder() / "presets.toml"


def _saved() -> dict[str, Any]:
    """What is in the file of saved presets. Raises SettingsError."""
    try:
        return tomllib.loads(saved_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"The saved presets cannot be read ({error})", "correct or delete the file", where=saved_file()
        ) from error


def _place(text: str) -> tuple[Path, str]:
    if text.endswith(".toml"):
        return Path(text), ""
    path, colon, name = text.rpartition(":")
    if colon and path.endswith(".toml"):
        return Path(path), name
    if text not in shipped() and text in _saved():
        return saved_file(), text
    return SHIPPED, text


def _read(preset: Mapping[str, object], settings: Settings = Settings()) -> Settings:
    for key, value in preset.items():
        if isinstance(value, dict):
            settings = _with_aus(settings, key, value)
        elif key == "strength":
            settings = replace(settings, strength=_number(key, value, STRENGTH, key))
        elif key in ("head", "gaze"):
            settings = settings.with_flags(**{key: _number(key, value, FOLLOWING, key)})
        elif key in ("symmetric", "idle"):
            if not isinstance(value, bool):
                raise _Wrong(f"{key} is {value!r}: write true or false", key)
            settings = settings.with_flags(**{key: value})
        elif key == "seed":
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise _Wrong(f"seed is {value!r}: write a whole number, 0 or more", key)
            settings = replace(settings, seed=value)
        elif key == "groups":
            settings = replace(settings, groups=_groups(value if isinstance(value, list) else [value], key))
        else:
            raise _Wrong(
                f"{key} is not known: known are strength, head, gaze, symmetric, groups, idle, seed, {ALL}"
                " and names of AUs",
                key,
            )
    return settings


def _with_aus(settings: Settings, name: str, values: Mapping[str, object]) -> Settings:
    checked = {}
    for key, value in values.items():
        if key not in RANGES:
            raise _Wrong(f"{key} is not known: an AU has {', '.join(RANGES)}", name, key)
        checked[key] = _number(key, value, RANGES[key], name, key)
    if name == ALL:
        return replace(settings, every=replace(settings.every, **checked))
    if name not in MEANING:
        raise _Wrong(f"{name} is not known: name {ALL}, or an AU such as AU12 or AU12L", name)
    return replace(settings, aus={**settings.aus, name: {**settings.aus.get(name, {}), **checked}})


def _number(name: str, value: object, within: tuple[float, float], *key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not within[0] <= value <= within[1]:
        raise _Wrong(f"{name} is {value!r}: write a number from {within[0]:g} to {within[1]:g}", *key)
    return float(value)


def _groups(names: Iterable[object], *key: str) -> tuple[str, ...]:
    for name in (names := list(names)):
        if name not in GROUPS:
            raise _Wrong(f"{name!r} is no group: groups are {', '.join(GROUPS)}", *key)
    return tuple(group for group in GROUPS if group in names)


@cache
def shipped() -> tuple[str, ...]:
    """The names of the presets that ship."""
    return tuple(tomllib.loads(SHIPPED.read_text(encoding="utf-8")))


def _line(source: str, *key: str, within: str = "") -> int:
    """Where a key stands, counted from 1: its own line, or that of the table it belongs to."""
    lines, found = source.splitlines(), 1
    tables = [within, *(f"{within}.{name}" for name in key[:-1])] if within else []
    start = 0
    for number, line in enumerate(lines):
        if tables and line.split("#")[0].strip() in (f"[{tables[-1]}]", f"[{'.'.join([within, *key])}]"):
            start, found = number, number + 1
    for number, line in enumerate(lines[start:], start + 1):
        if key and line.split("=")[0].strip() == key[-1]:
            return number
    return found
