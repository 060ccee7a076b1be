"""The photos that a page offers when none is named: those that were given to it before, and the samples.

photos/ in the settings folder    what was put on the shelf, by SHA-256: HASH-NAME.jpg
"""

import os
import re
import shutil
from pathlib import Path

from engines import atomic_file
from engines.environment import settings_folder
from engines.errors import SourceError
from engines.face.picture_file import PICTURES, is_litter, is_picture, kind_of_file
from realtime.session.consent import SAMPLES
from realtime.session.fingerprints import fingerprint

FIRST_SAMPLE = SAMPLES / "woman.jpg"
HASH_DIGITS = 16
LONGEST_NAME = 40  # of a file, of what its user called it
LONGEST_SHELF = 200  # photos


def folder() -> Path:
    """Where photos are kept; it need not exist."""
    return settings_folder() / "photos"


def samples() -> list[Path]:
    """The photos that ship."""
    others = sorted(path for path in SAMPLES.glob("*.jpg") if path != FIRST_SAMPLE)
    return [FIRST_SAMPLE, *others]


def kept() -> list[Path]:
    """Photos that were kept, the latest first."""
    try:
        paths = [path for path in folder().iterdir() if not is_litter(path.name) and is_picture(path)]
    except OSError:
        return []
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)[:LONGEST_SHELF]


def is_kept(path: Path) -> bool:
    """Whether a photo is the shelf's own, and not a file of the user's."""
    return path.parent == folder()


def keep(file: Path, name: str) -> Path:
    """Copies a photo to the shelf, under a name of its own; returns its path there. Raises SourceError.

    Args:
        file: a picture, by its content.
        name: what its user calls it: for people alone, and only as far as it is harmless.
    """
    kind = kind_of_file(file)
    if kind not in PICTURES:
        raise SourceError("That is not a photo that can be read", "give a JPEG, PNG or WebP")
    path = folder() / f"{fingerprint(file)[:HASH_DIGITS]}-{harmless(name)}.{kind.lower()}"
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        for known in folder().glob(f"{path.name[:HASH_DIGITS]}-*"):  # the same photo by another name
            os.utime(known)
            return known
        with atomic_file.replacing(path, atomic_file.PRIVATE) as temporary:
            shutil.copyfile(file, temporary)
    except OSError as error:
        raise SourceError(
            f"The photo cannot be kept ({error.strerror})", "free some space", where=folder()
        ) from error
    return path


def forget(path: Path) -> None:
    """Deletes a photo of the shelf; a file of the user's stays."""
    if is_kept(path):
        path.unlink(missing_ok=True)


def called(path: Path) -> str:
    """What a photo is called by its user."""
    return path.name[HASH_DIGITS + 1 :] if is_kept(path) else path.name


def harmless(name: str) -> str:
    """Letters, digits, - and _ of a name, without its suffix: fit to be a part of a file's name anywhere."""
    stem = re.split(r"[/\\]", name)[-1].rpartition(".")[0] or name
    return re.sub(r"[^\w-]+", "-", stem).strip("-")[:LONGEST_NAME] or "photo"
