"""Clips and pictures as drivers."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from engines.errors import DriverError, SourceError
from engines.face.photo import load_photo
from realtime.messages import Frame
from realtime.sources.frame_source import FileFrames

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


LARGEST_SIDE_PX = 1280  # larger pictures are shrunk at reading: landmarks gain nothing from more, memory does


MOST_SKIPPED = 8  # late frames in a row, before one is handed over all the same


LONGEST_WAIT_S = 1.0


PICTURE_S = 3.0  # how long a single picture drives when nobody says otherwise


def _at_most(image: np.ndarray) -> np.ndarray:
    """A picture no larger than is of use."""
    shrink = LARGEST_SIDE_PX / max(image.shape[:2])
    return (
        image if shrink >= 1 else cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    )


class Clip:
    """A video file by PyAV. Frames carry their own time in the file: captured_s = start + that."""

    live: Literal[False] = False
    has_rest = True

    def __init__(self, path: str | Path):
        import av

        self._av = av
        if not os.path.isfile(path):
            raise DriverError(
                f"There is no driver at {path}: give a clip, a picture, an AU curve (.csv) or a camera (webcam, webcam:1, /dev/video0)."
            )
        try:
            self._container = av.open(
                os.path.abspath(path), metadata_errors="ignore"
            )  # FFmpeg takes "a:" for a protocol
            stream = self._container.streams.video[0]
        except (av.FFmpegError, IndexError, OSError) as error:
            raise DriverError(
                f"{path} is not a video that can be played: give an MP4, MOV, MKV or WebM clip with a face in it."
            ) from error
        stream.thread_type = "AUTO"
        self.fps = min(120.0, max(1.0, float(stream.average_rate or 30)))
        self.length: int | None = stream.frames or None
        self._frames = self._container.decode(stream)
        self._path, self._number, self._start_s = path, 0, None

    def read(self) -> Frame | None:
        try:
            frame = next(self._frames, None)
        except self._av.FFmpegError as error:
            if self._number == 0:
                raise DriverError(
                    f"{self._path} cannot be decoded ({error}): convert it to MP4 (H.264) first."
                ) from error
            return None  # a clip that was cut short ends where it was cut
        if frame is None:
            if self._number == 0:
                raise DriverError(f"{self._path} has no pictures in it: give another clip.")
            return None
        moment_s = frame.time if frame.time is not None else self._number / self.fps
        self._start_s = moment_s if self._start_s is None else self._start_s
        self._number += 1
        image = np.rot90(
            frame.to_ndarray(format="bgr24"), round(frame.rotation / 90)
        )  # as the phone was held
        return Frame(np.ascontiguousarray(_at_most(image)), moment_s - self._start_s)

    def close(self) -> None:
        self._container.close()


class StillImage:
    """A single picture as a driver: its expression, held for duration_s. It has no rest to compare with."""

    live: Literal[False] = False
    has_rest = False

    def __init__(self, path: str | Path, duration_s: float = PICTURE_S, fps: float = 30.0):
        try:
            self._image = load_photo(path)
        except SourceError as error:
            raise DriverError(str(error).replace("--source", "--driver")) from error
        self.fps, self._number, self._count = fps, 0, max(1, round(duration_s * fps))
        self.length: int | None = self._count

    def read(self) -> Frame | None:
        if self._number >= self._count:
            return None
        self._number += 1
        return Frame(self._image, (self._number - 1) / self.fps)

    def close(self) -> None:
        pass


class RealtimePlayback:
    """A file driver played like a camera: frames come at their time, late ones are skipped, the file starts again at its end."""

    live: Literal[True] = True
    note = ""

    def __init__(self, driver: FileFrames, reopen: Callable[[], FileFrames]):
        self._driver, self._reopen = driver, reopen
        self.fps, self.has_rest = driver.fps, driver.has_rest
        self._start_s: float | None = None  # of the file, at its first frame

    def read(self) -> Frame | None:
        skipped = 0
        while True:
            frame = self._driver.read()
            if frame is None:
                self._driver.close()
                self._driver, self._start_s = self._reopen(), None
                continue
            if self._start_s is None:
                self._start_s = time.perf_counter() - frame.captured_s
            wait_s = self._start_s + frame.captured_s - time.perf_counter()
            if wait_s < -1.5 / self.fps and skipped < MOST_SKIPPED:
                skipped += 1
                continue
            if (
                skipped == MOST_SKIPPED or wait_s > LONGEST_WAIT_S
            ):  # too slow to decode, or a broken time stamp: go on from here
                self._start_s -= wait_s
            elif wait_s > 0:
                time.sleep(wait_s)
            return Frame(frame.image, time.perf_counter())

    def close(self) -> None:
        self._driver.close()


def open_frames(path: str, duration_s: float | None = None) -> FileFrames:
    """The clip or picture that --driver names; duration_s is how long a picture drives. Raises DriverError."""
    return (
        StillImage(path, duration_s or PICTURE_S)
        if Path(path).suffix.lower() in PICTURE_SUFFIXES
        else Clip(path)
    )
