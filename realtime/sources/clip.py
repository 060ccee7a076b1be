"""Clips and pictures as drivers."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from engines.errors import DriverError, SourceError
from engines.face.landmarks import FaceReader
from engines.face.photo import is_animation, load_photo
from engines.face.picture_file import VIDEO, is_called_picture, is_picture, kind_of_file
from engines.face.tiles import FOUND_SHARE, around
from engines.video.animation import AnimationReader
from engines.video.clip_index import CLIP_SUFFIXES
from engines.video.clip_reader import ClipReader
from realtime.messages import Frame
from realtime.sources.frame_source import FileFrames

MAX_SIDE_PX = (
    1280  # of a frame; larger ones are shrunk when read: landmarks gain nothing from more, memory does
)
MAX_SKIPPED = 8  # late frames in a row, before one is returned all the same
SAME_S = 1e-6  # by which times that are meant to be equal may differ
HOLD_S = 0.25  # until a frame's time, in which the one before is returned again, as a camera would
USUAL_FPS = 30.0
PICTURE_S = 3.0  # how long a single picture drives by default
LATE_FRAMES = 1.5  # a frame that is later than this many frames' time is skipped


def shrink(image: np.ndarray) -> np.ndarray:
    """A (H, W, 3) uint8 picture with its longer side at most MAX_SIDE_PX."""
    scale = MAX_SIDE_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


class Clip:
    """FileFrames of a video file, or of a picture that moves.

    `captured_s` is a multiple of 1 / fps: every frame has a moment of its own, as near to its time in the
    file as that allows. At a moment that has no frame of its own the one before is held.
    """

    live: Literal[False] = False
    has_rest = True

    def __init__(self, path: str | Path, say: Callable[[str], None] = lambda _sentence: None):
        """
        Args:
            say: called with a sentence for each thing that is wrong with the file, once it was read.

        Raises: DriverError when there is no such file, or no video in it.
        """
        if not os.path.isfile(path):
            raise DriverError(
                f"There is no driver at {path}: "
                "give a clip, a picture, an AU curve (.csv) or a camera (webcam, webcam:1, /dev/video0)."
            )
        self._reader = AnimationReader(path) if is_animation(path) else ClipReader(path)
        self.path = path
        self.fps = float(self._reader.rate)
        self.length: int | None = self._reader.length
        self._say = say

    def read(self) -> Frame | None:
        """The next frame; None after the last. Raises DriverError."""
        frame = self._reader.read()
        if frame is None:
            self._report()
            return None
        return Frame(shrink(frame.image), frame.place / self.fps)

    def close(self) -> None:
        self._report()
        self._reader.close()

    def _report(self) -> None:
        """Says what was wrong, once."""
        for note in self._reader.notes:
            self._say(note)
        self._say = lambda _sentence: None


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
        fps: float = USUAL_FPS,
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


class ClipPart:
    """FileFrames of a part of others, which begins at 0."""

    live: Literal[False] = False

    def __init__(self, frames: FileFrames, start_s: float, end_s: float):
        """
        Args:
            frames: the whole.
            start_s, end_s: in the whole's seconds.
        """
        self._frames = frames
        self._start_s = start_s
        self._end_s = end_s
        self.fps = frames.fps
        self.has_rest = frames.has_rest
        self.length: int | None = max(1, round((end_s - start_s) * frames.fps))
        self._coming: Frame | None = None  # one that was read already
        self._begun = False

    def read(self) -> Frame | None:
        """The next frame; the first is the one that the whole shows at start_s. Raises DriverError."""
        frame = self._coming or self._frames.read()
        self._coming = None
        if not self._begun:
            self._begun = True
            frame = self._first(frame)
        if frame is None or frame.captured_s > self._end_s - SAME_S:
            return None
        return Frame(frame.image, max(0.0, frame.captured_s - self._start_s))

    def _first(self, frame: Frame | None) -> Frame | None:
        """The last frame that begins by start_s."""
        while frame is not None:
            self._coming = self._frames.read()
            if self._coming is None or self._coming.captured_s > self._start_s + SAME_S:
                return frame
            frame = self._coming
        return None

    def close(self) -> None:
        self._frames.close()


class RealtimePlayback:
    """LiveFrames of a file: frames come at their time, late ones are skipped, the end leads to the start."""

    live: Literal[True] = True
    note = ""

    def __init__(self, frames: FileFrames, reopen: Callable[[], FileFrames], speed: float = 1.0):
        """
        Args:
            frames: the file, open.
            reopen: opens it again.
            speed: how many times as fast it is played.
        """
        self._frames = frames
        self._reopen = reopen
        self._speed = speed
        self.fps = frames.fps * speed
        self.has_rest = frames.has_rest
        self._start_s: float | None = None  # when the file's first frame was due, in perf_counter seconds
        self._shown: np.ndarray | None = None  # the frame that was returned last
        self._coming: Frame | None = None  # one that was read, and is not due yet

    def read(self) -> Frame:
        """Waits for the next frame's time, or returns the last one once more. Raises DriverError."""
        skipped = 0
        while True:
            frame = self._coming or self._read_endless()
            self._coming = None
            if self._start_s is None:
                self._start_s = time.perf_counter() - frame.captured_s / self._speed
            wait_s = self._start_s + frame.captured_s / self._speed - time.perf_counter()
            if wait_s < -LATE_FRAMES / self.fps and skipped < MAX_SKIPPED:
                skipped += 1
                continue
            if skipped == MAX_SKIPPED:  # too slow to decode
                self._start_s -= wait_s  # go on from here
            elif wait_s > HOLD_S and self._shown is not None:  # the file holds the last frame
                self._coming = frame
                time.sleep(1 / USUAL_FPS)
                return Frame(self._shown, time.perf_counter())
            elif wait_s > 0:
                time.sleep(wait_s)
            self._shown = frame.image
            return Frame(frame.image, time.perf_counter())

    def _read_endless(self) -> Frame:
        """The next frame; after the last one the first, which is due when the last one's time is over."""
        frame = self._frames.read()
        while frame is None:
            length = self._frames.length
            self._frames.close()
            self._frames = self._reopen()
            if self._start_s is not None and length is not None:
                self._start_s += length / self.fps
            frame = self._frames.read()
        return frame

    def close(self) -> None:
        self._frames.close()


def is_still(path: str | Path) -> bool:
    """Whether a driver is a picture that does not move, by its content."""
    return is_called_picture(path) or (is_picture(path) and not is_animation(path))


def is_moving_picture(path: str | Path) -> bool:
    """Whether a driver is a picture that moves, by its content."""
    return is_picture(path) and is_animation(path)


def is_clip(path: str | Path) -> bool:
    """Whether a file is a video, by its content or, for kinds that begin anyhow, by its name."""
    if not os.path.isfile(path) or is_picture(path):
        return False
    return kind_of_file(path) == VIDEO or Path(path).suffix.lower() in CLIP_SUFFIXES


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


def open_frames(
    path: str,
    duration_s: float | None = None,
    face_model: Path | None = None,
    say: Callable[[str], None] = lambda _sentence: None,
) -> FileFrames:
    """The clip or picture that --driver names.

    Args:
        duration_s: how long a picture drives; PICTURE_S by default.
        face_model: as engines.face.landmarks.find_model takes it.
        say: called with what is wrong with a clip.

    Raises: DriverError.
    """
    if is_still(path):
        return StillImage(path, duration_s or PICTURE_S, face_model=face_model)
    return Clip(path, say)
