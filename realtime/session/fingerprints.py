"""The SHA-256 of photos, kept so that a folder of them is not read again at every start.

    fingerprints.json in the settings folder    a photo's place, hashed -> its size, its times, its SHA-256

A file that has another size or time than it had is hashed again. What cannot be kept is hashed the next time.
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from engines import atomic_file
from engines.environment import settings_folder
from engines.face.picture_file import is_picture

MAX_KEPT = 10_000  # 2 MB


class _Known(msgspec.Struct, frozen=True, array_like=True):
    """A photo as it was when it was hashed."""

    size: int
    modified_ns: int
    changed_ns: int  # of its inode: it moves also where the other time is set back
    sha256: str


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprints(paths: Sequence[Path]) -> dict[str, Path]:
    """By their SHA-256, the files that are pictures; of several, from what is kept where they are the same.

    Raises: OSError where one cannot be read.
    """
    if len(paths) < 2:  # a single photo is hashed in no time
        return {fingerprint(path): path for path in paths if is_picture(path)}
    known = _load()
    found: dict[str, _Known] = {}
    by_sha256 = {}
    for path in paths:
        place = hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()
        with suppress(FileNotFoundError):
            now = path.stat()
            kept = known.get(place)
            is_same = kept and (kept.size, kept.modified_ns, kept.changed_ns) == (
                now.st_size,
                now.st_mtime_ns,
                now.st_ctime_ns,
            )
            if kept is None or not is_same:
                if not is_picture(path):
                    continue
                kept = _Known(now.st_size, now.st_mtime_ns, now.st_ctime_ns, fingerprint(path))
            found[place] = kept
            by_sha256[kept.sha256] = path
    if any(known.get(place) != kept for place, kept in found.items()):
        _keep({place: kept for place, kept in known.items() if place not in found} | found)
    return by_sha256


def fingerprints_file() -> Path:
    """Where they are kept."""
    return settings_folder() / "fingerprints.json"


def _load() -> dict[str, _Known]:
    try:
        return msgspec.json.decode(fingerprints_file().read_bytes(), type=dict[str, _Known])
    except (OSError, msgspec.DecodeError):
        return {}


def _keep(known: dict[str, _Known]) -> None:
    """Writes the newest MAX_KEPT, readable by their owner alone."""
    newest = dict(list(known.items())[-MAX_KEPT:])
    with suppress(OSError):
        fingerprints_file().parent.mkdir(parents=True, exist_ok=True)
        atomic_file.write_bytes(fingerprints_file(), msgspec.json.encode(newest), atomic_file.PRIVATE)
