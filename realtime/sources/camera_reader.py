"""One opening of a camera, read in a thread of its own, so that a read that hangs holds nobody. Knows nothing of opening it again.

OpenCV's `read` can hang for ever, give an old picture as a new one, or give the same picture again and again, and calls all of it
success. So a frame counts only when it is fresh: the device's stamp rises, and soon after the picture differs.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from engines.errors import CameraBusy, DriverError
from realtime.latest_value import Latest
from realtime.messages import Frame
from realtime.sources.camera import Camera

THREAD = "camera"  # the name of every thread that reads one
RETRY_S = 0.01  # after a read that gave nothing new: a driver that answers at once would take a whole core
LATE_S = 2.0  # a frame taken so long ago is out of an old queue; a slow machine's own queue is not so long


@dataclass(frozen=True)
class CameraTimeouts:
    """How long each thing may last, in seconds. A camera is judged lost within 2 s."""

    read_s: float = 0.1  # a `read` of the loop that gets nothing; it is asked again, so this bounds how late the loop ends
    open_s: float = 20.0  # Media Foundation on Windows is known to take that long
    fail_s: float = 0.5  # a broken JPEG or two are no loss
    lost_s: float = (
        1.5  # in the dark, webcams go down to 5 pictures a second; half a second is left of the two
    )
    still_s: float = (
        1.5  # the same, for pictures that do not differ: noise makes every picture of a sensor another one
    )
    still_again_s: float = 60.0  # a covered lens or a virtual camera's test picture is still by right: opening it again blinks its light
    first_wait_s: float = 0.5  # before it is opened again; doubled each time ...
    longest_wait_s: float = 8.0  # ... up to this: a replugged camera is back while one still looks
    well_s: float = 10.0  # once it lasted so long, the waits start from the shortest again
    settle_s: float = 2.0  # at most, before it is told as back: a camera that comes and goes fills no log


class CameraFault(Enum):
    """What is wrong with an opening, as the end of a sentence."""

    BUSY = "cannot be opened"
    SHUT = "does not start"  # it opens and gives no picture, or hangs
    SILENT = "gives no pictures"
    OLD = "gives old pictures only"
    STILL = "gives the same picture again and again"


class Freshness:
    """Tells new frames from old ones, by the device's stamps where it has any, and remembers when the picture last differed."""

    def __init__(self, image: np.ndarray | None = None, changed_s: float = 0.0):
        """image, changed_s: the last picture of an earlier opening, and since when it has been the same."""
        self.image, self.changed_s = image, changed_s
        self._stamp_s, self._stamped = (
            0.0,
            False,
        )  # a stamp counts only once it was seen to rise: some drivers give a constant
        self._ours = False  # whether the stamps are by this machine's clock, as V4L2's are: only then a frame has an age

    def is_new(self, image: np.ndarray, stamp_s: float, now_s: float) -> bool:
        """(H, W, 3) uint8, the device's stamp (0: none) and this machine's time in seconds -> whether it was taken since the last."""
        rises, first = stamp_s > self._stamp_s, self._stamp_s <= 0
        if self._stamped and not rises:
            return False
        age_s = now_s - stamp_s
        if rises and not first and not self._stamped:
            self._stamped, self._ours = True, abs(age_s) < LATE_S
        self._stamp_s = stamp_s
        if self._ours and age_s > LATE_S:
            return False
        if self.image is None or not _same(image, self.image):
            self.image, self.changed_s = image, now_s
        return True


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    # A few rows first: they tell two pictures of a sensor apart in a fraction of the time.
    return one.shape == other.shape and np.array_equal(one[::32], other[::32]) and np.array_equal(one, other)


class CameraReader:
    """Opens a camera and reads it until told to leave.

    A thread that hangs in the driver is left behind: it is a daemon, and it closes its camera itself if it ever comes back
    (closing a camera under a read crashes OpenCV).
    """

    def __init__(
        self, open_camera: Callable[[], Camera], patience: CameraTimeouts, freshness: Freshness | None = None
    ):
        self._frames: Latest[Frame] = Latest()
        self.freshness = freshness or Freshness()
        self._ready = threading.Event()  # it is open, or that has failed
        self.error: BaseException | None = None  # that ended it
        self.fps = 30.0  # nominal, once open
        self.started_s = time.perf_counter()
        self.opened_s = self.first_s = self.fresh_s = self._old_s = (
            0.0  # 0: not yet; first and newest fresh frame, newest old one
        )
        self._open, self._patience = open_camera, patience
        self._leaving = threading.Event()
        self._begin()

    def _begin(self) -> None:
        self._thread = threading.Thread(
            target=lambda: deque(self._steps(), maxlen=0), name=THREAD, daemon=True
        )
        self._thread.start()

    def wait_open(self, timeout_s: float) -> None:
        """Waits so long until it is open or has failed."""
        self._ready.wait(timeout_s)

    def take(self, timeout_s: float) -> Frame | None:
        """The newest fresh frame that was not taken yet, or None after timeout_s without one."""
        return self._frames.take(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether its thread may still hold the camera."""
        return self._thread.is_alive()

    def leave(self, timeout_s: float = 0.0) -> None:
        """Tells the thread to end, and waits so long for it."""
        self._leaving.set()
        self._thread.join(timeout_s)

    def trouble(self, now_s: float) -> CameraFault | None:
        """What is wrong now, if anything. Raises what the thread met unless it was the camera's fault."""
        if self.error and not isinstance(self.error, DriverError):
            raise self.error
        if not self.opened_s:
            if isinstance(self.error, CameraBusy):
                return CameraFault.BUSY
            return CameraFault.SHUT if self.error or now_s - self.started_s > self._patience.open_s else None
        if self.error or now_s - max(self.opened_s, self.fresh_s) > self._patience.lost_s:
            return CameraFault.OLD if now_s - self._old_s < self._patience.lost_s else CameraFault.SILENT
        return CameraFault.STILL if self.first_s and self._stands_still(now_s) else None

    def _stands_still(self, now_s: float) -> bool:
        return now_s - self.freshness.changed_s > self._patience.still_s

    def _steps(self) -> Iterator[None]:
        """The thread's work, one read a step."""
        camera = None
        try:
            camera = self._open()
            self.fps, self.opened_s = camera.fps, time.perf_counter()
            self._ready.set()
            while not self._leaving.is_set():
                self._read(camera)
                yield
        except BaseException as error:
            self.error = error
        finally:
            if camera:
                camera.close()
            self._ready.set()
            self._frames.close()

    def _read(self, camera: Camera) -> None:
        try:
            frame = camera.read()
        except DriverError:
            if time.perf_counter() - max(self.opened_s, self.fresh_s) > self._patience.fail_s:
                raise
            time.sleep(RETRY_S)
            return
        now_s = frame.captured_s
        if not self.freshness.is_new(frame.image, camera.stamp_s, now_s):
            self._old_s = now_s
            time.sleep(RETRY_S)
            return
        self.fresh_s = now_s
        self.first_s = self.first_s or now_s
        if not self._stands_still(now_s):
            self._frames.put(frame)
        if self.freshness.changed_s != now_s:
            time.sleep(RETRY_S)
