"""Where the driver's pictures come from: a camera, a clip, a single picture. Frames in, nothing else.

A driver of frames keeps one promise: `read` returns the next frame, stamped with the time at which it was handed over, or
None when there will be no more. A live one may say NOT_YET after a short wait, and is asked again: that is how a camera that
is away holds nobody (steady.py). The driver's pictures go to the tracker and nowhere else.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from engines.errors import CameraBusy, DriverError, SourceError
from engines.face.photo import load_photo
from realtime.messages import Frame, NotYet

CAMERA_SIZE = (640, 480)  # enough for landmarks, and every camera has it at 30 fps; the driver is never shown
V4L_TIMEOUT_S = "2"  # OpenCV's own limit of a read that hangs, on Linux; its 10 s keep a dead camera shut for others
FIRST_READS = 3  # of V4L_TIMEOUT_S each
SYSFS = Path("/sys/class/video4linux")  # Linux's list of video devices
PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
LARGEST_SIDE_PX = 1280  # larger pictures are shrunk at reading: landmarks gain nothing from more, memory does
MOST_SKIPPED = 8  # late frames in a row, before one is handed over all the same
LONGEST_WAIT_S = 1.0
HIGHEST_CAMERA = 99
PICTURE_S = 3.0  # how long a single picture drives when nobody says otherwise


class FrameDriver(Protocol):
    """A source of driver frames. `live` is true when frames come at their own time and cannot be asked for again."""

    live: bool
    fps: float  # nominal
    length: int | None  # frames, where that is known
    has_rest: bool  # whether it starts from a resting face from which a neutral can be learnt
    note: str  # what is wrong with it, in two words for a screen; "" when nothing is

    def read(self) -> Frame | NotYet | None: ...

    def close(self) -> None: ...


def cameras(listed: Path | None = None) -> dict[int, str]:
    """Cameras of this machine by index, with their names where the system tells them (Linux); listed: a double of where it does."""
    found = {}
    for node in sorted((listed or SYSFS).glob("video*")):
        try:
            name = (node / "name").read_text().strip()
        except OSError:  # it tells none, or is being unplugged
            name = node.name
        found[int(node.name.removeprefix("video"))] = name
    return found


def camera_list() -> str:
    """The same for people, in the words that --driver takes; empty where none is known. A virtual camera that nobody feeds is none."""
    return ", ".join(f"webcam:{index} ({label})" for index, label in cameras().items() if not _waits(SYSFS / f"video{index}"))


def _waits(node: Path) -> bool:
    """Whether it is a device of v4l2loopback (which alone has max_openers) that no program plays into."""
    try:
        return (node / "max_openers").exists() and not (node / "format").read_text().strip()
    except OSError:
        return False


def camera_index(text: str) -> int | str:
    """What --driver says of a camera -> an index or device path: webcam, webcam:1, webcam:NAME, /dev/video2. Raises DriverError."""
    if text.startswith("/dev/"):
        index = os.path.realpath(text).removeprefix("/dev/video")  # /dev/v4l/by-id/... are links
        return int(index) if index.isdecimal() else text
    name = text.partition(":")[2]
    if not name:
        return 0
    if name.isdecimal() and int(name) <= HIGHEST_CAMERA:
        return int(name)
    matches = [index for index, known in cameras().items() if name.lower() in known.lower()]
    if not matches:
        raise DriverError(
            f"There is no camera named {name!r} (names are known on Linux only); this machine has: {camera_list() or 'none'}."
        )
    return matches[0]


class CameraLocator:
    """Where one camera is, now and after it was plugged in again: found by its name, since its index may have moved.

    Where the system tells no names (anywhere but Linux) it is looked for where it was.
    """

    def __init__(self, text: str):
        """text: what --driver says of it. Raises DriverError when no camera has that name."""
        self.first = camera_index(text)
        self.name = cameras().get(self.first, "")
        self._twins = {_port(index) for index in self._namesakes()} - {_port(self.first)}

    def places(self) -> list[int | str]:
        """Where it may be now, the likeliest first; empty when it is not plugged in. Its twins at other ports are never meant."""
        if not self.name:
            return [self.first]
        found = [index for index in self._namesakes() if _port(index) not in self._twins]
        return sorted(found, key=lambda index: (index != self.first, index))

    def _namesakes(self) -> list[int]:
        return [index for index, name in cameras().items() if name == self.name]


def _port(index: int | str) -> str:
    """What a camera is plugged into: one for all video nodes of one device."""
    return os.path.realpath(SYSFS / f"video{index}" / "device")


def _open_capture(which: int | str) -> cv2.VideoCapture:
    # On Linux FFmpeg would have its try at a camera that V4L2 refuses, and tell about it in lines of its own.
    return cv2.VideoCapture(which, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)


class Camera:
    """One opening of a camera by OpenCV. Raises CameraBusy when it does not open, DriverError when a read fails; steady.py mends that."""

    live, has_rest, length, note = True, True, None, ""

    def __init__(
        self, text: str = "webcam", which: int | str | None = None, open_capture: Callable[[int | str], cv2.VideoCapture] = _open_capture
    ):
        """text: what --driver says of it; which: index or path, where that is known better; open_capture: the seam for doubles."""
        which = camera_index(text) if which is None else which
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", V4L_TIMEOUT_S)
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it reports a missing camera in a dozen lines of its own
        self._capture, self._text = open_capture(which), text
        if self._capture.isOpened():
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, CAMERA_SIZE[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, CAMERA_SIZE[1])
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        opened = self._capture.isOpened()
        if not opened or self._first() is None:
            self._capture.release()
            known = camera_list()
            raise (DriverError if opened else CameraBusy)(
                f"The camera {text} gives no picture: {'this machine has ' + known if known else 'no camera is connected'}; "
                "close programs that use it, or drive with a clip, a picture or an AU curve (--driver clip.mp4 | picture.jpg | curve.csv)."
            )
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or 30.0

    @property
    def stamp_s(self) -> float:
        """When the device took the last frame, by a clock of its own; 0 where it does not say."""
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def read(self) -> Frame:
        image = self._grab()
        if image is None:
            raise DriverError(f"The camera {self._text} stopped giving pictures: plug it in again and restart.")
        return Frame(_at_most(image), time.perf_counter())

    def _first(self) -> np.ndarray | None:
        """The first picture, for which a camera may need longer than a read lasts."""
        for _ in range(FIRST_READS):
            started_s = time.perf_counter()
            image = self._grab()
            if image is not None or time.perf_counter() - started_s < 0.5:  # failed at once: it is not slow but dead
                break
        return image

    def _grab(self) -> np.ndarray | None:
        """(H, W, 3) uint8 BGR, of whatever size the camera gives now; None when it gives none."""
        try:
            ok, image = self._capture.read()
        except cv2.error:  # a broken picture
            return None
        return image if ok and image is not None and image.size and image.ndim == 3 else None

    def close(self) -> None:
        self._capture.release()


def _at_most(image: np.ndarray) -> np.ndarray:
    """A picture no larger than is of use."""
    shrink = LARGEST_SIDE_PX / max(image.shape[:2])
    return image if shrink >= 1 else cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)


class Clip:
    """A video file by PyAV. Frames carry their own time in the file: captured_s = start + that."""

    live, has_rest, note = False, True, ""

    def __init__(self, path: str | Path):
        import av

        self._av = av
        if not os.path.isfile(path):
            raise DriverError(
                f"There is no driver at {path}: give a clip, a picture, an AU curve (.csv) or a camera (webcam, webcam:1, /dev/video0)."
            )
        try:
            self._container = av.open(os.path.abspath(path), metadata_errors="ignore")  # FFmpeg takes "a:" for a protocol
            stream = self._container.streams.video[0]
        except (av.FFmpegError, IndexError, OSError) as error:
            raise DriverError(f"{path} is not a video that can be played: give an MP4, MOV, MKV or WebM clip with a face in it.") from error
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
                raise DriverError(f"{self._path} cannot be decoded ({error}): convert it to MP4 (H.264) first.") from error
            return None  # a clip that was cut short ends where it was cut
        if frame is None:
            if self._number == 0:
                raise DriverError(f"{self._path} has no pictures in it: give another clip.")
            return None
        moment_s = frame.time if frame.time is not None else self._number / self.fps
        self._start_s = moment_s if self._start_s is None else self._start_s
        self._number += 1
        image = np.rot90(frame.to_ndarray(format="bgr24"), round(frame.rotation / 90))  # as the phone was held
        return Frame(np.ascontiguousarray(_at_most(image)), moment_s - self._start_s)

    def close(self) -> None:
        self._container.close()


class StillImage:
    """A single picture as a driver: its expression, held for duration_s. It has no rest to compare with."""

    live, has_rest, note = False, False, ""

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

    live, length, note = True, None, ""

    def __init__(self, driver: FrameDriver, reopen: Callable[[], FrameDriver]):
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
            if skipped == MOST_SKIPPED or wait_s > LONGEST_WAIT_S:  # too slow to decode, or a broken time stamp: go on from here
                self._start_s -= wait_s
            elif wait_s > 0:
                time.sleep(wait_s)
            return Frame(frame.image, time.perf_counter())

    def close(self) -> None:
        self._driver.close()


def is_camera(text: str) -> bool:
    return text == "webcam" or text.startswith(("webcam:", "/dev/video", "/dev/v4l/"))


def open_frames(path: str, duration_s: float | None = None) -> FrameDriver:
    """The clip or picture that --driver names; duration_s is how long a picture drives. Raises DriverError."""
    return StillImage(path, duration_s or PICTURE_S) if Path(path).suffix.lower() in PICTURE_SUFFIXES else Clip(path)
