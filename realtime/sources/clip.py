"""Clips and pictures as drivers."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np

from engines.errors import DriverError, SourceError
from engines.face.landmarks import FaceReader
from engines.face.photo import is_animation, load_photo
from engines.face.picture_file import is_called_picture, is_picture
from engines.face.tiles import FOUND_SHARE, around
from realtime.messages import Frame
from realtime.sources.frame_source import FileFrames

MAX_SIDE_PX = (
    1280  # of a frame; larger ones are shrunk when read: landmarks gain nothing from more, memory does
)
MAX_SKIPPED = 8  # late frames in a row, before one is returned all the same
MAX_WAIT_S = 1.0  # for a frame's time; a longer wait is a broken time stamp
PICTURE_S = 3.0  # how long a single picture drives by default
LATE_FRAMES = 1.5  # a frame that is later than this many frames' time is skipped


def shrink(image: np.ndarray) -> np.ndarray:
    """A (H, W, 3) uint8 picture with its longer side at most MAX_SIDE_PX."""
    scale = MAX_SIDE_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


class Clip:
    """FileFrames of a video file, by PyAV; `captured_s` is the time since the file's first frame."""

    live: Literal[False] = False
    has_rest = True

    def __init__(self, path: str | Path):
        """Raises DriverError when there is no such file, or no video in it."""
        if not os.path.isfile(path):
            raise DriverError(
                f"There is no driver at {path}: "
                "give a clip, a picture, an AU curve (.csv) or a camera (webcam, webcam:1, /dev/video0)."
            )
        try:
            # An absolute path: FFmpeg takes "a:" for a protocol.
            self._container = av.open(os.path.abspath(path), metadata_errors="ignore")
            stream = self._container.streams.video[0]
        except (av.FFmpegError, IndexError, OSError) as error:
            raise DriverError(
                f"{path} is not a video that can be played: "
                "give an MP4, MOV, MKV or WebM clip with a face in it."
            ) from error
        stream.thread_type = "AUTO"
        self.fps = min(120.0, max(1.0, float(stream.average_rate or 30)))
        self.length: int | None = stream.frames or None
        self._frames = self._container.decode(stream)
        self.path = path
        self._count = 0  # frames read
        self._start_s: float | None = None  # the first frame's time in the file

    def read(self) -> Frame | None:
        """The next frame; None at the end, which is where a clip that was cut short was cut.

        Raises DriverError.
        """
        try:
            frame = next(self._frames, None)
        except av.FFmpegError as error:
            if self._count == 0:
                raise DriverError(
                    f"{self.path} cannot be decoded ({error}): convert it to MP4 (H.264) first."
                ) from error
            return None
        if frame is None:
            if self._count == 0:
                raise DriverError(f"{self.path} has no pictures in it: give another clip.")
            return None
        time_s = frame.time if frame.time is not None else self._count / self.fps
        if self._start_s is None:
            self._start_s = time_s
        self._count += 1
        upright = np.rot90(
            frame.to_ndarray(format="bgr24"), round(frame.rotation / 90)
        )  # as the phone was held
        return Frame(np.ascontiguousarray(shrink(upright)), time_s - self._start_s)

    def close(self) -> None:
        self._container.close()


class StillImage:
    """FileFrames of a single picture: its expression, held for duration_s.

    There is no resting face to compare it with. Of a picture in which the face is small, only the part around
    it is seen.
    """

    live: Literal[False] = False
    has_rest = False

    def __init__(
        self,
        path: str | Path,
        duration_s: float = PICTURE_S,
        fps: float = 30.0,
        face_model: Path | None = None,
    ):
        """Raises DriverError when it cannot be read."""
        try:
            self._image = _near_face(load_photo(path), face_model)
        except SourceError as error:
            raise DriverError(str(error)) from error
        self.fps = fps
        self.length: int | None = max(1, round(duration_s * fps))
        self._count = 0  # frames read

    def read(self) -> Frame | None:
        if self.length is not None and self._count >= self.length:
            return None
        self._count += 1
        return Frame(self._image, (self._count - 1) / self.fps)

    def rewound(self) -> "StillImage":
        """Itself, from its beginning: nothing is read, and no face is searched, a second time."""
        self._count = 0
        return self

    def close(self) -> None:
        pass


class RealtimePlayback:
    """LiveFrames of a file: frames come at their time, late ones are skipped, the end leads to the start."""

    live: Literal[True] = True
    note = ""

    def __init__(self, frames: FileFrames, reopen: Callable[[], FileFrames]):
        """
        Args:
            frames: the file, open.
            reopen: opens it again.
        """
        self._frames = frames
        self._reopen = reopen
        self.fps = frames.fps
        self.has_rest = frames.has_rest
        self._start_s: float | None = None  # when the file's first frame was due, in perf_counter seconds

    def read(self) -> Frame:
        """Waits for the next frame's time. Raises DriverError."""
        skipped = 0
        while True:
            frame = self._frames.read()
            if frame is None:
                self._frames.close()
                self._frames = self._reopen()
                self._start_s = None
                continue
            if self._start_s is None:
                self._start_s = time.perf_counter() - frame.captured_s
            wait_s = self._start_s + frame.captured_s - time.perf_counter()
            if wait_s < -LATE_FRAMES / self.fps and skipped < MAX_SKIPPED:
                skipped += 1
                continue
            if skipped == MAX_SKIPPED or wait_s > MAX_WAIT_S:  # too slow to decode, or a broken time stamp
                self._start_s -= wait_s  # go on from here
            elif wait_s > 0:
                time.sleep(wait_s)
            return Frame(frame.image, time.perf_counter())

    def close(self) -> None:
        self._frames.close()


def is_still(path: str | Path) -> bool:
    """Whether a driver is a picture that does not move, by its content."""
    return is_called_picture(path) or (is_picture(path) and not is_animation(path))


def _near_face(picture: np.ndarray, face_model: Path | None) -> np.ndarray:
    """The part of a (H, W, 3) uint8 BGR picture around a face that is small in it; else all of it."""
    with FaceReader(model=face_model) as reader:
        faces = reader.read(picture)
    if not faces:
        return picture
    left, top, right, bottom = faces[0].box_px
    if max(right - left, bottom - top) > 2 * FOUND_SHARE * max(picture.shape[:2]):
        return picture
    near = around(faces[0].box_px, picture.shape)
    return np.ascontiguousarray(picture[near.rows, near.columns])


def open_frames(path: str, duration_s: float | None = None, face_model: Path | None = None) -> FileFrames:
    """The clip or picture that --driver names.

    Args:
        duration_s: how long a picture drives; PICTURE_S by default.
        face_model: as engines.face.landmarks.find_model takes it.

    Raises: DriverError.
    """
    if is_still(path):
        return StillImage(path, duration_s or PICTURE_S, face_model=face_model)
    return Clip(path)
