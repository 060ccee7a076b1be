"""Folders, tars, clips and `nobody:COUNT` -> a list of jobs, in a fixed order, without decoding a picture.

Jobs are small (where the bytes lie, not the bytes), so that a million of them pass through a queue in little
memory.

Names matter, because people are held out, not photos. The source of a face is the folder, tar or clip that
was given, by name; its person follows from the file's name, see `person_of`. Which of them are held out is
the split's (train/data/split.py), given by `prepare --hold-out`.
"""

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2

from engines.errors import DataError
from engines.face.picture_file import is_litter, is_picture
from train.stylespace.adult_seeds import adult_seeds

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
CLIPS = {".mp4", ".avi", ".mov", ".mkv", ".webm"}
CLIP_STRIDE = 2  # neighbouring frames at 30 fps are the same picture
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


def find_jobs(inputs: list[Path | str], limit: int | None = None, expressions: int = 0) -> Iterator[Job]:
    """Everything to look at in the inputs; of each, at most `limit` jobs.

    expressions: of each synthetic person, besides the face as it is.

    Raises DataError when an input is missing, is no readable tar, or asks for more synthetic faces than there
    are.
    """
    for given in inputs:
        yield from islice(_jobs_in(str(given), expressions), limit)


def _jobs_in(given: str, expressions: int) -> Iterator[Job]:
    path = Path(given)
    if given.startswith("nobody:"):
        yield from _synthetic_faces(given.removeprefix("nobody:"), expressions)
    elif not path.exists():
        raise DataError(f"There is no {path}: name folders, .tar files, clips of faces, or nobody:COUNT.")
    elif path.suffix == ".tar":
        yield from _in_tar(path)
    elif path.is_file():
        yield from _in_file(path, path.stem)
    else:
        source = path.resolve().name
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                if not is_litter(name):
                    within = Path(folder).relative_to(path).as_posix()
                    yield from _in_file(Path(folder) / name, source, "" if within == "." else within)


def _in_file(path: Path, source: str, folder: str = "") -> Iterator[Job]:
    if path.suffix.lower() in PICTURES or (path.suffix.lower() not in CLIPS and is_picture(path)):
        yield Job(path.name, person_of(path.stem, source, folder), source, str(path), 0, _bytes_of(path))
    elif path.suffix.lower() in CLIPS:
        capture = cv2.VideoCapture(str(path))
        # One frame of an unreadable clip, so that it is counted as rejected
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 1
        capture.release()
        if not 0 < frames < 10**8:  # a stream of unknown length: one job reads to its end
            yield Job(path.name, f"{source}/{path.stem}", source, str(path), frames=10**6)
            return
        for first in range(0, frames, CLIP_JOB_FRAMES):
            count = min(CLIP_JOB_FRAMES, frames - first)
            yield Job(path.name, f"{source}/{path.stem}", source, str(path), first, frames=count)


def _in_tar(path: Path) -> Iterator[Job]:
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                # The library would keep every header; its stub lacks the list
                tar.members.clear()  # type: ignore[attr-defined]
                name = Path(member.name)
                if member.isfile() and name.suffix.lower() in PICTURES and not is_litter(name.name):
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


def _synthetic_faces(count: str, expressions: int) -> Iterator[Job]:
    if not count.isdecimal():
        raise DataError(f"nobody:{count} is not a number of faces: write nobody:500.")
    source = EXPRESSIONS_SOURCE if expressions else SYNTHETIC_SOURCE
    for seed in adult_seeds(int(count)):
        name = f"nobody-{seed:06d}"
        yield Job(f"{name}.jpg", f"{source}/{name}", source, seed=seed, expressions=expressions)
