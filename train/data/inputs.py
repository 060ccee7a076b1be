"""Folders, tars, clips and `nobody:COUNT` -> a list of jobs, in a fixed order, without decoding a picture.

Jobs are small (where the bytes lie, not the bytes), so that a million of them pass through a queue in little memory.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2

from engines.errors import DataError
from train.data.nobody import ADULTS

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
CLIPS = {".mp4", ".avi", ".mov", ".mkv", ".webm"}
CLIP_STRIDE = 2  # neighbouring frames at 30 fps are the same picture
CLIP_JOB_FRAMES = 256  # of one job: bounds memory, and lets processes share a long clip
NOBODY_SOURCE = "nobody_adults"


@dataclass(frozen=True)
class Job:
    """One picture (a file, or a stretch of a tar), one stretch of a clip, or one face of nobody."""

    name: str  # of the file, for people
    person: str
    source: str
    path: str = ""
    at: int = 0  # first byte of the picture, or first frame of the clip
    size: int = -1  # bytes of the picture; -1: to the end of the file
    frames: int = 0  # of the clip; 0: a picture
    seed: int | None = None  # of a face of nobody

    @property
    def pictures(self) -> int:
        """How many pictures are looked at, so at most so many faces come of it."""
        return max(1, -(-self.frames // CLIP_STRIDE))


def person_of(stem: str, source: str) -> str:
    """Name_0001 is a photo of Name (as in LFW); anything else is a person of its own."""
    match = re.fullmatch(r"(.+)_\d{4}", stem)
    return f"{source}/{match.group(1) if match else stem}"


def find_jobs(inputs: list[Path | str], limit: int | None = None) -> Iterator[Job]:
    """Everything to look at in the inputs; of each, at most `limit` jobs.

    Raises DataError when an input is missing, is no readable tar, or asks for more faces of nobody than there are.
    """
    for given in inputs:
        yield from islice(_jobs_in(str(given)), limit)


def _jobs_in(given: str) -> Iterator[Job]:
    path = Path(given)
    if given.startswith("nobody:"):
        yield from _nobody(given.removeprefix("nobody:"))
    elif not path.exists():
        raise DataError(f"There is no {path}: name folders, .tar files, clips of faces, or nobody:COUNT.")
    elif path.suffix == ".tar":
        yield from _in_tar(path)
    elif path.is_file():
        yield from _in_file(path, path.stem, path.stat().st_size)
    else:
        source = path.resolve().name
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                file = Path(folder) / name
                yield from _in_file(file, source, file.stat().st_size)


def _in_file(path: Path, source: str, size: int) -> Iterator[Job]:
    if path.suffix.lower() in PICTURES:
        yield Job(path.name, person_of(path.stem, source), source, str(path), 0, size)
    elif path.suffix.lower() in CLIPS:
        capture = cv2.VideoCapture(str(path))
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 1  # one look will say that it is unreadable
        capture.release()
        if not 0 < frames < 10**8:  # a stream that does not say how long it is: one job reads to its end
            yield Job(path.name, f"{source}/{path.stem}", source, str(path), frames=10**6)
            return
        for first in range(0, frames, CLIP_JOB_FRAMES):
            count = min(CLIP_JOB_FRAMES, frames - first)
            yield Job(path.name, f"{source}/{path.stem}", source, str(path), first, frames=count)


def _in_tar(path: Path) -> Iterator[Job]:
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # the library would keep every header
                name = Path(member.name)
                if member.isfile() and name.suffix.lower() in PICTURES:
                    yield Job(member.name, person_of(name.stem, path.stem), path.stem, str(path), member.offset_data, member.size)
    except tarfile.TarError as error:
        raise DataError(f"{path} is no whole, uncompressed tar ({error}): fetch it again, or give the unpacked folder.") from error


def _nobody(count: str) -> Iterator[Job]:
    if not count.isdecimal() or int(count) == 0:
        raise DataError(f"nobody:{count} asks for no number of faces: write nobody:500.")
    if int(count) > len(ADULTS):
        raise DataError(
            f"Only {len(ADULTS)} faces of nobody were looked at and are adults, not {count}: ask for nobody:{len(ADULTS)} at most."
        )
    for seed in ADULTS[: int(count)]:
        name = f"nobody-{seed:06d}"
        yield Job(f"{name}.jpg", f"{NOBODY_SOURCE}/{name}", NOBODY_SOURCE, seed=seed)
