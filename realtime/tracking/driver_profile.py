"""A driver's profile: what their face reads at rest, how far each AU goes, how much it jitters.

Profiles are JSON files, kept by name:

    {"profile": 1, "estimator": "mediapipe-mesh-3",
     "aus": {"AU12L": {"neutral": 0.05, "full": 0.7, "noise": 0.01, "gain": 1.56}, ...},
     "py-feat": {"AU06": {"rest": 0.21, "full": 0.7}, ...}}

neutral: the reading at rest; full: the strongest that was seen; noise: a reading no further from neutral
counts as rest; gain: what is left beyond the noise is multiplied by it. `run.py calibrate` chooses it so that
nine tenths of the way to `full` are 1 on the puppet, and only the gain counts when the profile is used. AUs
that the driver did not show keep the general scale.

A neutral below 0 is a face that rests below most: brows that are low by nature. A profile that the second
estimator made goes on working but for AUs that it read on other scales (REMEASURED): their rest is learnt in
each run, and their range is the general one.

"py-feat" is present where py-feat ran during calibration: what it reads of each of its AUs at rest and in
full, which count as 0 and 1 (engines/face/pyfeat.py). Without it py-feat's rest is learnt in each run, and
its full is the general one.
"""

import json
import os
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from engines import atomic_file
from engines.environment import settings_folder
from engines.errors import SettingsError
from engines.face.action_units import WIDE, sides, whole
from engines.face.au_estimator import BROW_BLENDSHAPES, FROM_BLENDSHAPES, FROM_LIDS, VERSION, index
from engines.face.pyfeat import AUS, LEAST_RANGE, Scale
from realtime.process.program import typed

FORMAT = 1
FOLDER_ENV = "PUPPET_PROFILES"
NUMBERS = ("neutral", "full", "noise", "gain")
# A range of 0.2 still fills 90 % of 0..1; more gain would show the tracker's jitter as grimaces.
MOST_GAIN = 4.5
MOST_NOISE = 0.2  # a dead zone that is wider hides small smiles
HIGHEST = {"neutral": 1.0, "full": 1.0, "noise": MOST_NOISE, "gain": MOST_GAIN, "rest": 1 - LEAST_RANGE}
PYFEAT = "py-feat"
POINTS = ("rest", "full")
LOWEST_NEUTRAL = -1.0  # of AUs that are read from the mesh
EARLIER = "mediapipe-mesh-2"  # the estimator whose profiles can be read, too
REMEASURED = tuple(side for au in (*BROW_BLENDSHAPES, *FROM_LIDS) for side in sides(au))
ROUNDED = 1e-3  # by which two numbers of four digits may come nearer to each other
LARGEST_FILE = 100_000  # bytes; a profile has 4000


@dataclass(frozen=True)
class Profile:
    """(29,) float32 each, in the order of WIDE."""

    neutral: np.ndarray  # NaN where it has to be learnt
    full: np.ndarray
    noise: np.ndarray
    gain: np.ndarray
    pyfeat: Scale | None = None  # the driver's scale of py-feat, where it ran
    estimator: str = VERSION  # that measured it

    def change(self, from_rest: np.ndarray) -> np.ndarray:
        """Differences from rest -> changes: 0 within the noise, 1 where the driver can do no more.

        Args:
            from_rest: (29,) or (41,), of which the first 29 count.

        Returns: (29,) float32, -1..1.
        """
        from_rest = from_rest[: len(WIDE)]
        beyond = np.sign(from_rest) * np.maximum(np.abs(from_rest) - self.noise, 0)
        return np.clip(np.where(from_rest > 0, beyond * self.gain, beyond), -1, 1).astype(np.float32)

    def save(self, path: str | Path) -> Path:
        """Writes the profile, readable by its owner alone; an earlier file stays whole until then.

        Returns: the path.

        Raises:
            SettingsError: it cannot be written.
        """
        parts = [
            f'"profile": {FORMAT}',
            f'"estimator": {json.dumps(VERSION)}',
            f'"aus": {_rows(self, WIDE, NUMBERS)}',
        ]
        if self.pyfeat:
            parts.append(f'"{PYFEAT}": {_rows(self.pyfeat, AUS, POINTS)}')
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write_text(path, "{" + ", ".join(parts) + "}\n", atomic_file.PRIVATE)
        except OSError as error:
            raise SettingsError(
                f"The profile {path} cannot be written ({error.strerror})",
                "choose another place with --name",
            ) from error
        return path


def _rows(numbers: Profile | Scale, aus: Sequence[str], names: Sequence[str]) -> str:
    """A line of JSON for each AU, in braces."""
    rows = {
        au: {name: round(float(getattr(numbers, name)[i]), 4) for name in names} for i, au in enumerate(aus)
    }
    lines = ",\n".join(f"  {json.dumps(au)}: {json.dumps(row)}" for au, row in rows.items())
    return f"{{\n{lines}\n}}"


def folder() -> Path:
    """Where profiles are kept by name."""
    if given := os.environ.get(FOLDER_ENV):
        return Path(given)
    return settings_folder() / "profiles"


def names() -> list[str]:
    """The profiles that are kept by name, sorted."""
    return sorted(path.stem for path in folder().glob("*.json"))


def path_of(name_or_file: str) -> Path:
    """The file of a profile NAME or FILE.json; it need not exist.

    Raises:
        SettingsError: it is neither.
    """
    if name_or_file.endswith(".json"):
        return Path(name_or_file)
    if not re.fullmatch(r"[\w][\w .-]{0,63}", name_or_file):
        raise SettingsError(
            f"{name_or_file!r} is no name for a profile",
            "use letters, digits and - (at most 64)",
            "name a FILE.json",
        )
    return folder() / f"{name_or_file}.json"


def load(name_or_file: str) -> Profile:
    """The profile NAME or FILE.json.

    Raises:
        SettingsError: there is none, or the file is not one; names the file, the line and the number.
    """
    path = path_of(name_or_file)
    if not path.is_file():
        _refuse_missing(path, name_or_file)
    source = _read_text(path)
    try:
        content = json.loads(source, parse_constant=_NotANumber)
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"this is no JSON ({error.msg})",
            "correct it there",
            _remake(),
            where=f"{path}, line {error.lineno}",
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
        raise SettingsError(f"{path} is no profile", _remake()) from error
    try:
        return _profile_of(content)
    except _Misplaced as error:
        line = _line(source, *error.keys)
        raise SettingsError(error.what, *error.remedies, where=f"{path}, line {line}") from error


# --- the file


class _Version(msgspec.Struct):
    """What profiles of every version have."""

    profile: object
    estimator: object = "no"


def _lowest(name: str, au: str) -> float:
    """What a number of an AU must not be below."""
    from_mesh = whole(au) not in FROM_BLENDSHAPES
    return LOWEST_NEUTRAL if name == "neutral" and from_mesh else 0.0


def _row_type(names: Sequence[str], au: str) -> type[msgspec.Struct]:
    """The numbers of one AU with their ranges; other fields are ignored."""
    limits = {name: msgspec.Meta(ge=_lowest(name, au), le=HIGHEST[name]) for name in names}
    return msgspec.defstruct("_Row", [(name, Annotated[float, limits[name]]) for name in names])


def _table_type(aus: Sequence[str], names: Sequence[str]) -> type[msgspec.Struct]:
    """A row for every AU, and for no other."""
    return msgspec.defstruct("_Table", [(au, _row_type(names, au)) for au in aus], forbid_unknown_fields=True)


_Aus = _table_type(WIDE, NUMBERS)
_PyFeat = _table_type(AUS, POINTS)


class _File(msgspec.Struct, rename={"pyfeat": PYFEAT}):
    """A profile; other fields are ignored."""

    aus: _Aus  # type: ignore[valid-type]
    pyfeat: _PyFeat | msgspec.UnsetType = msgspec.UNSET  # type: ignore[valid-type]


class _NotANumber(str):
    """NaN or Infinity, which JSON does not have: no float, so that it is refused where it stands."""

    def __repr__(self) -> str:
        return str(self)


class _Misplaced(Exception):
    """What is wrong at a place of the file.

    Attributes:
        keys: of the place, from the outermost; empty for the whole.
        what: what is wrong, a clause.
        remedies: what to do, best first.
    """

    def __init__(self, keys: Sequence[str], what: str, *remedies: str):
        super().__init__(what)
        self.keys = keys
        self.what = what
        self.remedies = remedies


def _remake() -> str:
    return f"make it again with `{typed('calibrate')}`"


def _refuse_missing(path: Path, name_or_file: str) -> None:
    make = f"make one with `{typed('calibrate')} --name {name_or_file}`"
    if name_or_file.endswith(".json"):
        raise SettingsError(f"There is no profile at {path}", "check the path", make)
    kept = ", ".join(names())
    raise SettingsError(
        f"There is no profile named {name_or_file}: "
        f"{'known are ' + kept if kept else 'none is kept yet'}; {make}."
    )


def _read_text(path: Path) -> str:
    """Raises SettingsError."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise SettingsError(f"{path} is too large for a profile", _remake())
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror})", "check its permissions", _remake()
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is no text in UTF-8", _remake()) from error


def _profile_of(content: object) -> Profile:
    """Raises _Misplaced."""
    estimator = _check_version(content)
    try:
        file = msgspec.convert(content, _File)
    except msgspec.ValidationError as error:
        raise _explain(error, content) from error
    numbers = _arrays(file.aus, WIDE, NUMBERS)
    if estimator == EARLIER:
        places = index(REMEASURED)
        for name, general in (("neutral", np.nan), ("full", 1.0), ("noise", 0.0), ("gain", 1.0)):
            numbers[name][places] = general
    scale = None if file.pyfeat is msgspec.UNSET else _scale_of(_arrays(file.pyfeat, AUS, POINTS))
    return Profile(**numbers, pyfeat=scale, estimator=estimator)


def _check_version(content: object) -> str:
    """The estimator that measured a profile. Raises _Misplaced where this program does not read it."""
    try:
        found = msgspec.convert(content, _Version)
    except msgspec.ValidationError as error:
        raise _Misplaced(
            ["profile"], "this is no profile", f"name one that `{typed('calibrate')}` wrote"
        ) from error
    if isinstance(found.profile, bool) or found.profile != FORMAT:
        what = f"this profile is of version {found.profile}, this program's is {FORMAT}"
        raise _Misplaced(["profile"], what, _remake())
    if found.estimator not in (VERSION, EARLIER):
        what = f"this profile is of estimator {found.estimator}, this program's is {VERSION}"
        raise _Misplaced(["estimator"], what, _remake())
    return str(found.estimator)


def _arrays(table: msgspec.Struct, aus: Sequence[str], names: Sequence[str]) -> dict[str, np.ndarray]:
    """(N,) float32 by name, in the order of aus."""
    return {name: np.array([getattr(getattr(table, au), name) for au in aus], np.float32) for name in names}


def _scale_of(points: dict[str, np.ndarray]) -> Scale:
    """py-feat's part. Raises _Misplaced."""
    for au, rest, full in zip(AUS, points["rest"], points["full"], strict=True):
        if full - rest < LEAST_RANGE - ROUNDED:
            what = f"full of {au} in {PYFEAT} is {full:g}, less than {LEAST_RANGE:g} above its rest"
            raise _Misplaced([PYFEAT, au, "full"], what, "write a larger one", _remake())
    return Scale(**points)


# --- faults


def _explain(error: msgspec.ValidationError, content: Any) -> _Misplaced:
    """Which AU or number msgspec refused: "Expected `float` <= 1.0 - at `$.aus.AU12L.neutral`"."""
    _, _, where = str(error).partition(" - at `$")
    keys = [key for key in where.rstrip("`").split(".") if key]
    table = keys[0] if keys else "aus"
    if len(keys) < 2:
        return _wrong_aus(table, content.get(table))
    au = keys[1]
    row = content[table][au]
    numbers = row if isinstance(row, dict) else {}
    expected = NUMBERS if table == "aus" else POINTS
    name = keys[2] if len(keys) > 2 else next(name for name in expected if name not in numbers)
    value = numbers.get(name)
    whose = au if table == "aus" else f"{au} in {table}"
    what = f"{name} of {whose} is {'missing' if value is None else reprlib.repr(value)}"
    place = [table, au] if value is None else [table, au, name]
    return _Misplaced(
        place, what, f"write a number from {_lowest(name, au):g} to {HIGHEST[name]:g}", _remake()
    )


def _wrong_aus(table: str, found: object) -> _Misplaced:
    """A table that is not of this program's AUs."""
    expected = WIDE if table == "aus" else AUS
    given = list(found) if isinstance(found, dict) else []
    unknown = [au for au in given if au not in expected]
    missing = [au for au in expected if au not in given]
    if unknown:
        which = f"{unknown[0]} is not known"
    else:
        which = f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''} is missing"
    whose = "this profile" if table == "aus" else f"{table} in this profile"
    return _Misplaced([table, *unknown[:1]], f"{whose} is of another set of AUs ({which})", _remake())


def _line(source: str, *keys: str) -> int:
    """The line, from 1, of the last of keys that is found; each is searched for behind the one before."""
    at = 0
    for key in keys:
        found = source.find(f'"{key}"', at)
        at = found if found >= 0 else at
    return source.count("\n", 0, at) + 1
