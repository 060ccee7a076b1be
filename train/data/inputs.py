"""Folders, tars, clips and `nobody:COUNT` -> a list of jobs, in a fixed order, without decoding a picture.

Jobs are small (where the bytes lie, not the bytes), so that a million of them pass through a queue in little
memory.

Files are known by their content, by their names where that tells nothing. What is neither a picture nor a
clip is left out and counted.

Names matter, because people are held out, not photos. The source of a face is the folder, tar or clip that
was given, by name; its person follows from the file's name, see `person_of`. Which of them are held out is
the split's (train/data/split.py), given by `prepare --hold-out`.
"""

import os
import re
import stat
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from engines.errors import DataError, DriverError
from engines.face.picture_file import (
    PICTURES,
    START_BYTES,
    VIDEO,
    is_litter,
    is_picture_name,
    kind_of,
    kind_of_file,
)
from engines.sentences import MAX_NAMED, some_of
from engines.video.clip_index import CLIP_SUFFIXES, read_index
from train.stylespace.adult_seeds import adult_seeds

CLIP_STRIDE = 2  # neighbouring frames at 30 fps are the same picture
MAX_SUFFIXES = 20  # that are counted apart, of files that are left out
OTHER_SUFFIXES = "others"
CLIP_JOB_FRAMES = 256  # of one job: bounds memory, and lets processes share a long clip
SYNTHETIC_SOURCE = "nobody_adults"
EXPRESSIONS_SOURCE = "nobody_expressions"  # the same people, each with several expressions
# What cameras and telephones call every photo, and dates: no names of people.
CAMERA = re.compile(
    r"(IMG|DSC|DSCF|DSCN|P|PXL|DCIM|MVI|IMAGE|PHOTO|PICTURE|CIMG|IMAG|PICT|SCREENSHOT)?[\d_-]*", re.IGNORECASE
)


@dataclass(frozen=True)
class Job:
    """One picture (a file, or a range of a tar), one part of a clip, or one synthetic person."""

    name: str  # of the file, for people
    person: str
    source: str
    path: str = ""
    at: int = 0  # first byte of the picture, or first frame of the clip
    size: int = -1  # bytes of the picture; -1: to the end of the file
    frames: int = 0  # of the clip; 0: a picture
    seed: int | None = None  # of a synthetic face
    expressions: int = 0  # of that face, drawn besides it

    @property
    def pictures(self) -> int:
        """How many pictures are looked at, so at most so many faces come of it."""
        return max(1, -(-self.frames // CLIP_STRIDE)) + self.expressions


@dataclass
class LeftOut:
    """Files of the inputs that are neither pictures nor clips."""

    first: list[str] = field(default_factory=list)  # names, MAX_NAMED at most
    suffixes: Counter[str] = field(default_factory=Counter)  # how many files of each; "" for none

    def add(self, name: str) -> None:
        """Counts a file."""
        if len(self.first) < MAX_NAMED:
            self.first.append(name)
        suffix = Path(name).suffix.lower()
        known = suffix in self.suffixes or len(self.suffixes) < MAX_SUFFIXES
        self.suffixes[suffix if known else OTHER_SUFFIXES] += 1

    def sentence(self) -> str:
        """What was left out, for people; "" where nothing was."""
        if not self.first:
            return ""
        counts = [f"{count} {suffix or 'without a suffix'}" for suffix, count in self.suffixes.most_common()]
        return (
            f"Left out, as neither pictures nor clips: {some_of(self.first, count=self.suffixes.total())} "
            f"({some_of(counts)})."
        )


def person_of(stem: str, source: str, folder: str = "") -> str:
    """`Name_0001`, with four digits, is a photo of Name (as in LFW); any other name is a separate person.

    So are a camera's IMG_0001, DSC_0001, 20261122_0001 and the like: they number photos of anybody; in two
    folders they are of two people.

    Args:
        folder: in which the file lies, within its source; "" for the source itself.
    """
    match = re.fullmatch(r"(.+)_\d{4}", stem)
    if match is None or CAMERA.fullmatch(match[1]):
        return "/".join(filter(None, (source, folder, stem)))
    return f"{source}/{match[1]}"


def _bytes_of(path: Path) -> int:
    """Size of a file; 0, so that nothing is read, where a link leads nowhere or to no file."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def find_jobs(
    inputs: list[Path | str],
    limit: int | None = None,
    expressions: int = 0,
    left_out: LeftOut | None = None,
) -> Iterator[Job]:
    """Everything to look at in the inputs; of each, at most `limit` jobs.

    Args:
        expressions: of each synthetic person, besides the face as it is.
        left_out: counts the other files, as far as the inputs are read.

    Raises:
        DataError: an input is missing, is no readable tar, or asks for more synthetic faces than there are.
    """
    others = LeftOut() if left_out is None else left_out
    for given in inputs:
        yield from islice(_jobs_in(str(given), expressions, others), limit)


def _jobs_in(given: str, expressions: int, left_out: LeftOut) -> Iterator[Job]:
    path = Path(given)
    if given.startswith("nobody:"):
        yield from _synthetic_faces(given.removeprefix("nobody:"), expressions)
    elif not path.exists():
        raise DataError(f"There is no {path}: name folders, .tar files, clips of faces, or nobody:COUNT.")
    elif path.suffix == ".tar":
        yield from _in_tar(path, left_out)
    elif path.is_file():
        yield from _in_file(path, path.stem, "", left_out)
    else:
        source = path.resolve().name
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                if not is_litter(name):
                    within = Path(folder).relative_to(path).as_posix()
                    within = "" if within == "." else within
                    yield from _in_file(Path(folder) / name, source, within, left_out)


def _in_file(path: Path, source: str, folder: str, left_out: LeftOut) -> Iterator[Job]:
    kind = kind_of_file(path)
    if kind in PICTURES or (kind is None and is_picture_name(path)):
        yield Job(path.name, person_of(path.stem, source, folder), source, str(path), 0, _bytes_of(path))
    elif kind == VIDEO or (kind is None and path.suffix.lower() in CLIP_SUFFIXES):
        try:
            frames = len(read_index(path).pts)
        except DriverError:
            frames = 1  # of an unreadable clip, so that it is counted as rejected
        for first in range(0, frames, CLIP_JOB_FRAMES):
            count = min(CLIP_JOB_FRAMES, frames - first)
            yield Job(path.name, f"{source}/{path.stem}", source, str(path), first, frames=count)
    else:
        left_out.add((Path(folder) / path.name).as_posix())


def _in_tar(path: Path, left_out: LeftOut) -> Iterator[Job]:
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                # The library would keep every header; its stub lacks the list
                tar.members.clear()  # type: ignore[attr-defined]
                name = Path(member.name)
                if member.isdir() or is_litter(name.name):
                    continue
                if not _is_picture_in(tar, member):
                    left_out.add(member.name)
                else:
                    within = name.parent.as_posix()
                    yield Job(
                        member.name,
                        person_of(name.stem, path.stem, "" if within == "." else within),
                        path.stem,
                        str(path),
                        member.offset_data,
                        member.size,
                    )
    except (tarfile.TarError, OSError) as error:
        raise DataError(
            f"{path} is no whole, uncompressed tar ({error}): fetch it again, or give the unpacked folder."
        ) from error


def _is_picture_in(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    file = tar.extractfile(member) if member.isfile() else None
    if file is None:
        return False
    kind = kind_of(file.read(START_BYTES))
    return kind in PICTURES or (kind is None and is_picture_name(member.name))


def _synthetic_faces(count: str, expressions: int) -> Iterator[Job]:
    if not count.isdecimal():
        raise DataError(f"nobody:{count} is not a number of faces: write nobody:500.")
    source = EXPRESSIONS_SOURCE if expressions else SYNTHETIC_SOURCE
    for seed in adult_seeds(int(count)):
        name = f"nobody-{seed:06d}"
        yield Job(f"{name}.jpg", f"{source}/{name}", source, seed=seed, expressions=expressions)
