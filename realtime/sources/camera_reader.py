"""One opening of a camera, read in a background thread, so that a read that hangs blocks nothing else.

OpenCV's `read` can hang for ever, return an old picture as a new one, or the same picture again and again,
and reports success each time. So a frame counts only when it is fresh: the device's stamp rises, and the
picture differs from the one before. Opening the camera again is reconnecting_camera.py's.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from engines.errors import CameraBusy, DriverError
from realtime.latest_value import Latest
from realtime.messages import Frame
from realtime.process.worker import Worker
from realtime.sources.camera import Camera

RETRY_S = 0.01  # after a read without a fresh frame: a driver that answers at once would take a whole core
# A frame taken longer ago comes from an old queue; even a slow machine's own queue is shorter.
MAX_AGE_S = 2.0


@dataclass(frozen=True)
class CameraTimeouts:
    """How long each thing may last, in seconds. A camera is recognised as lost within 2 s."""

    read_s: float = 0.1  # a `read` without a frame; bounds how late the loop ends
    open_s: float = 20.0  # Media Foundation on Windows is known to take that long
    fail_s: float = 0.5  # reads that fail: a broken JPEG or two are no loss
    lost_s: float = 1.5  # without a fresh frame: in the dark, webcams go down to 5 pictures a second
    still_s: float = 1.5  # the same picture: a sensor's noise makes every picture differ
    # A covered lens or a virtual camera's test picture is still by right; opening it again makes its light
    # blink.
    still_again_s: float = 60.0
    first_wait_s: float = 0.5  # before it is opened again; doubled each time ...
    longest_wait_s: float = (
        8.0  # ... up to this: a camera that is plugged in again is back while its user still looks
    )
    steady_s: float = 10.0  # once it lasted so long, the waits start from the shortest again
    settle_s: float = 2.0  # at most, until it is reported as back: a camera that comes and goes fills no log


class CameraFault(Enum):
    """What is wrong with an opening, as the predicate of a message."""

    BUSY = "cannot be opened"
    SHUT = "does not start"  # it opens and gives no picture, or hangs
    SILENT = "gives no pictures"
    OLD = "gives old pictures only"
    STILL = "gives the same picture again and again"


class Freshness:
    """Distinguishes new frames from old ones, by the device's stamps where it has any, and by the picture."""

    def __init__(self, image: np.ndarray | None = None, changed_s: float = 0.0):
        """
        Args:
            image: the last picture of an earlier opening, (H, W, 3) uint8.
            changed_s: since when it has been the same.
        """
        self.image = image
        self.changed_s = changed_s
        self._stamp_s = 0.0
        self._stamps_rise = False  # stamps count only after that: some drivers return a constant
        self._own_clock = (
            False  # whether stamps are by this machine's clock, as V4L2's are: only then a frame has an age
        )

    def is_new(self, image: np.ndarray, stamp_s: float, now_s: float) -> bool:
        """Whether a frame was taken since the last one.

        Args:
            image: (H, W, 3) uint8.
            stamp_s: the device's stamp in seconds; 0 for none.
            now_s: this machine's time in seconds.
        """
        rises = stamp_s > self._stamp_s
        first = self._stamp_s <= 0
        if self._stamps_rise and not rises:
            return False
        age_s = now_s - stamp_s
        if rises and not first and not self._stamps_rise:
            self._stamps_rise = True
            self._own_clock = abs(age_s) < MAX_AGE_S
        self._stamp_s = stamp_s
        if self._own_clock and age_s > MAX_AGE_S:
            return False
        if self.image is None or not _same(image, self.image):
            self.image = image
            self.changed_s = now_s
        return True


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    # A few rows first: they distinguish two pictures of a sensor in a fraction of the time.
    return one.shape == other.shape and np.array_equal(one[::32], other[::32]) and np.array_equal(one, other)


class CameraReader:
    """Opens a camera and reads it in a background thread until it is closed.

    A thread that hangs in the driver is left behind. It closes its camera itself if it ever returns: closing
    a camera under a read crashes OpenCV.
    """

    def __init__(
        self, open_camera: Callable[[], Camera], timeouts: CameraTimeouts, freshness: Freshness | None = None
    ):
        """
        Args:
            open_camera: called in the thread.
            freshness: what is known from the opening before.
        """
        self._frames: Latest[Frame] = Latest()
        self.freshness = freshness or Freshness()
        self._ready = threading.Event()  # it is open, or that has failed
        self.error: BaseException | None = None  # what ended the thread
        self.fps = 30.0  # nominal, once open
        self.started_s = time.perf_counter()
        self.opened_s = 0.0  # 0: not yet; the same for the others
        self.first_s = 0.0  # the first fresh frame
        self.fresh_s = 0.0  # the newest fresh frame
        self._old_s = 0.0  # the newest frame that was not fresh
        self._open = open_camera
        self._timeouts = timeouts
        self._worker = Worker(self._run, "camera")
        self._worker.start()

    def wait_open(self, timeout_s: float) -> None:
        """Waits up to timeout_s until it is open or has failed."""
        self._ready.wait(timeout_s)

    def take(self, timeout_s: float) -> Frame | None:
        """The newest fresh frame that was not taken yet, or None after timeout_s without one."""
        return self._frames.take(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether its thread may still hold the camera."""
        return self._worker.alive

    def close(self, timeout_s: float = 0.0) -> None:
        """Asks the thread to end, and waits up to timeout_s for that."""
        self._worker.close(timeout_s)

    def fault(self, now_s: float) -> CameraFault | None:
        """What is wrong now, if anything.

        Raises what the thread raised where that was not the camera's fault.
        """
        if self.error and not isinstance(self.error, DriverError):
            raise self.error
        if not self.opened_s:
            if isinstance(self.error, CameraBusy):
                return CameraFault.BUSY
            overdue = now_s - self.started_s > self._timeouts.open_s
            return CameraFault.SHUT if self.error or overdue else None
        if self.error or now_s - max(self.opened_s, self.fresh_s) > self._timeouts.lost_s:
            return CameraFault.OLD if now_s - self._old_s < self._timeouts.lost_s else CameraFault.SILENT
        return CameraFault.STILL if self.first_s and self._is_still(now_s) else None

    def _is_still(self, now_s: float) -> bool:
        return now_s - self.freshness.changed_s > self._timeouts.still_s

    def _run(self) -> None:
        """The thread's work."""
        camera = None
        try:
            camera = self._open()
            self.fps = camera.fps
            self.opened_s = time.perf_counter()
            self._ready.set()
            while not self._worker.stopping:
                self._read(camera)
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
            if time.perf_counter() - max(self.opened_s, self.fresh_s) > self._timeouts.fail_s:
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
        if not self._is_still(now_s):
            self._frames.put(frame)
        if self.freshness.changed_s != now_s:
            time.sleep(RETRY_S)
