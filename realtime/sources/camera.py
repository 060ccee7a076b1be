"""Where the driver's pictures come from: a camera, a clip, a single picture. Frames in, nothing else.

A driver of frames keeps one promise: `read` returns the next frame, stamped with the time at which it was handed over, or
None when there will be no more. A live one may say NOT_YET after a short wait, and is asked again: that is how a camera that
is away holds nobody (steady.py). The driver's pictures go to the tracker and nowhere else.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np

from engines.errors import CameraBusy, DriverError
from realtime.devices.v4l2 import SYSFS, _waits, cameras
from realtime.messages import Frame
from realtime.sources.clip import _at_most

CAMERA_SIZE = (640, 480)  # enough for landmarks, and every camera has it at 30 fps; the driver is never shown
V4L_TIMEOUT_S = (
    "2"  # OpenCV's own limit of a read that hangs, on Linux; its 10 s keep a dead camera shut for others
)
FIRST_READS = 3  # of V4L_TIMEOUT_S each
HIGHEST_CAMERA = 99


def camera_list() -> str:
    """The same for people, in the words that --driver takes; empty where none is known. A virtual camera that nobody feeds is none."""
    return ", ".join(
        f"webcam:{index} ({label})"
        for index, label in cameras().items()
        if not _waits(SYSFS / f"video{index}")
    )


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

    live: Literal[True] = True
    has_rest = True
    note = ""

    def __init__(
        self,
        text: str = "webcam",
        which: int | str | None = None,
        open_capture: Callable[[int | str], cv2.VideoCapture] = _open_capture,
    ):
        """text: what --driver says of it; which: index or path, where that is known better; open_capture: the seam for doubles."""
        which = camera_index(text) if which is None else which
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", V4L_TIMEOUT_S)
        cv2.utils.logging.setLogLevel(
            cv2.utils.logging.LOG_LEVEL_SILENT
        )  # it reports a missing camera in a dozen lines of its own
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
            raise DriverError(
                f"The camera {self._text} stopped giving pictures: plug it in again and restart."
            )
        return Frame(_at_most(image), time.perf_counter())

    def _first(self) -> np.ndarray | None:
        """The first picture, for which a camera may need longer than a read lasts."""
        for _ in range(FIRST_READS):
            started_s = time.perf_counter()
            image = self._grab()
            if (
                image is not None or time.perf_counter() - started_s < 0.5
            ):  # failed at once: it is not slow but dead
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


def is_camera(text: str) -> bool:
    return text == "webcam" or text.startswith(("webcam:", "/dev/video", "/dev/v4l/"))
