"""One camera by OpenCV: found by index, path or name, opened, read.

Opening it again is reconnecting_camera.py's. Frames go to the tracker and nowhere else.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np

from engines.errors import CameraBusy, DriverError
from realtime.devices.v4l2 import camera_port, cameras, is_idle_loopback
from realtime.messages import Frame
from realtime.sources.clip import shrink

CAMERA_SIZE = (640, 480)  # enough for landmarks, and every camera has it at 30 fps; the driver is never shown
# OpenCV's own timeout of a read, on Linux: its default, 10 s, keeps a dead camera from other programs.
V4L_TIMEOUT_S = "2"
FIRST_READS = 3  # of V4L_TIMEOUT_S each, until a camera that is slow to start counts as dead
FAILED_AT_ONCE_S = 0.5  # a first read that fails sooner has not timed out: the camera is dead, not slow
MAX_INDEX = 99


class NoPicture(DriverError):
    """A camera that opens and gives no picture."""


def is_camera(text: str) -> bool:
    """Whether a value of --driver names a camera."""
    return text == "webcam" or text.startswith(("webcam:", "/dev/video", "/dev/v4l/"))


def camera_list() -> str:
    """The cameras that the system lists, as --driver takes them; "" for none.

    Idle virtual cameras are left out.
    """
    return ", ".join(
        f"webcam:{index} ({name})" for index, name in cameras().items() if not is_idle_loopback(index)
    )


def camera_index(text: str) -> int | str:
    """The index or device path that a value of --driver names: webcam, webcam:1, webcam:NAME, /dev/video2.

    Raises: DriverError when no camera has that name.
    """
    if text.startswith("/dev/"):
        index = os.path.realpath(text).removeprefix("/dev/video")  # /dev/v4l/by-id/... are links
        return int(index) if index.isdecimal() else text
    name = text.partition(":")[2]
    if not name:
        return 0
    if name.isdecimal() and int(name) <= MAX_INDEX:
        return int(name)
    matches = [index for index, known in cameras().items() if name.lower() in known.lower()]
    if not matches:
        raise DriverError(
            f"There is no camera named {name!r} (names are known on Linux only); "
            f"this machine has: {camera_list() or 'none'}."
        )
    return matches[0]


class CameraLocator:
    """Finds one camera again after it was plugged in again: by its name, since its index may be another one.

    Where the system lists no names (anywhere but Linux) it is expected at its first index.
    """

    def __init__(self, text: str):
        """
        Args:
            text: the value of --driver.

        Raises: DriverError when no camera has that name.
        """
        self.first = camera_index(text)
        self.name = cameras().get(self.first, "") if isinstance(self.first, int) else ""
        # Other cameras of the same model, which must never be taken for this one.
        self._twin_ports = {camera_port(index) for index in self._namesakes()} - {camera_port(self.first)}

    def places(self) -> list[int | str]:
        """Where it may be now, the likeliest first; empty when it is not plugged in."""
        if not self.name:
            return [self.first]
        found = [index for index in self._namesakes() if camera_port(index) not in self._twin_ports]
        return sorted(found, key=lambda index: (index != self.first, index))

    def _namesakes(self) -> list[int]:
        return [index for index, name in cameras().items() if name == self.name]


def _open_capture(place: int | str) -> cv2.VideoCapture:
    # On Linux OpenCV would let FFmpeg try a camera that V4L2 refuses, and FFmpeg prints about it.
    return cv2.VideoCapture(place, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)


class Camera:
    """One opening of a camera: LiveFrames that fail for good when a read fails (see ReconnectingCamera)."""

    live: Literal[True] = True
    has_rest = True
    note = ""

    def __init__(
        self,
        text: str = "webcam",
        place: int | str | None = None,
        open_capture: Callable[[int | str], cv2.VideoCapture] = _open_capture,
    ):
        """
        Args:
            text: the value of --driver.
            place: index or device path; by default the one that `text` names.
            open_capture: replaces cv2.VideoCapture in tests.

        Raises: CameraBusy when it does not open, NoPicture when it does and gives none,
            DriverError when no camera has that name.
        """
        place = camera_index(text) if place is None else place
        # There is no other way to set OpenCV's timeout.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", V4L_TIMEOUT_S)
        # OpenCV prints a dozen lines about a camera that is missing.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._text = text
        self._capture = open_capture(place)
        opened = self._capture.isOpened()
        if opened:
            self._configure()
            opened = self._capture.isOpened()
        if not opened or self._first_image() is None:
            self._capture.release()
            known = camera_list()
            raise (NoPicture if opened else CameraBusy)(
                f"The camera {text} gives no picture: "
                f"{'this machine has ' + known if known else 'no camera is connected'}; "
                "close programs that use it, or drive with a clip, a picture or an AU curve "
                "(--driver clip.mp4 | picture.jpg | curve.csv)."
            )
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or 30.0

    @property
    def stamp_s(self) -> float:
        """When the device took the last frame, by a clock of its own; 0 where it does not report that."""
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def read(self) -> Frame:
        """The next frame. Raises DriverError when the camera gives none."""
        image = self._grab()
        if image is None:
            raise DriverError(
                f"The camera {self._text} stopped giving pictures: plug it in again and restart."
            )
        return Frame(shrink(image), time.perf_counter())

    def close(self) -> None:
        self._capture.release()

    def _configure(self) -> None:
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, CAMERA_SIZE[0])
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, CAMERA_SIZE[1])
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def _first_image(self) -> np.ndarray | None:
        """The first picture, for which a camera may need longer than one read's timeout."""
        image = None
        for _ in range(FIRST_READS):
            started_s = time.perf_counter()
            image = self._grab()
            if image is not None or time.perf_counter() - started_s < FAILED_AT_ONCE_S:
                break
        return image

    def _grab(self) -> np.ndarray | None:
        """(H, W, 3) uint8 BGR, of whatever size the camera gives now; None when it gives none."""
        try:
            ok, image = self._capture.read()
        except cv2.error:  # a broken picture
            return None
        return image if ok and image is not None and image.size and image.ndim == 3 else None
