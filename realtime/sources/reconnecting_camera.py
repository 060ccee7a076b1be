"""A camera that survives a meeting: a camera that is unplugged, hangs, freezes or is taken by another program
is noticed, reported once, and opened again.

There is no thread that watches it: every `read` waits a moment for a frame and checks how the camera is. Its
frames come from a CameraReader's thread. While it is away `read` returns NOT_YET; what is shown meanwhile is
decided by TrackingLossFallback.
"""

import sys
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Literal

from engines.errors import DriverError
from realtime.messages import NOT_YET, Frame, NotYet
from realtime.process.backoff import Backoff
from realtime.sources.camera import Camera, CameraLocator
from realtime.sources.camera_reader import CameraFault, CameraReader, CameraTimeouts, Freshness

MAX_HANGING = 3  # threads that hang in the driver; no more are started before one of them has ended
BACK_S = 3.0  # how long `state` is BACK
CLOSE_S = 1.0  # for the thread at the end; one that hangs is left behind
DEFAULT_TIMEOUTS = CameraTimeouts()


class ConnectionState(Enum):
    """How the camera is, in two words for a screen."""

    LIVE = "camera live"
    LOST = "camera lost"
    BUSY = "camera busy"  # it is plugged in and cannot be opened
    STILL = "camera frozen"
    BACK = "camera back"


class ReconnectingCamera:
    """LiveFrames of a camera that may go and come. The first opening must succeed."""

    live: Literal[True] = True
    has_rest = True

    def __init__(
        self,
        text: str = "webcam",
        notify: Callable[[str], None] = lambda _sentence: None,
        open_camera: Callable[[str, int | str], Camera] = Camera,
        timeouts: CameraTimeouts = DEFAULT_TIMEOUTS,
    ):
        """
        Args:
            text: the value of --driver.
            notify: called with one sentence for the user at each change.
            open_camera: opens the camera, given that text and an index or device path.

        Raises: DriverError, as Camera does, and when the camera does not answer.
        """
        self._text = text
        self._notify = notify
        self._open_camera = open_camera
        self._timeouts = timeouts
        self._locator = CameraLocator(text)
        self._name = f"{text} ({self._locator.name})" if self._locator.name else text
        self._closed = threading.Event()
        self._leaving: list[CameraReader] = []  # closed; some may hang
        self._leaving_since_s = 0.0  # when the newest of them was closed
        self._backoff = Backoff(timeouts.first_wait_s, timeouts.longest_wait_s, timeouts.steady_s)
        self._retry_s = 0.0  # when it is opened again
        self._still_retry_s = 0.0  # a still picture is reported, and the camera opened again, no earlier
        self._freshness: Freshness | None = None  # what the next opening knows of the one before
        self._state = ConnectionState.LIVE
        self._since_s = time.perf_counter()
        self._refusals = 0  # openings in a row that found it busy
        self._still_reported = False
        self._reader: CameraReader | None = self._start_first()
        self._wait_first(self._reader)
        self.fps = self._reader.fps

    @property
    def note(self) -> str:
        """The state as text; "" while all is well."""
        return "" if self.state is ConnectionState.LIVE else self.state.value

    @property
    def state(self) -> ConnectionState:
        """How the camera is now."""
        over = self._state is ConnectionState.BACK and time.perf_counter() - self._since_s > BACK_S
        return ConnectionState.LIVE if over else self._state

    def read(self) -> Frame | NotYet | None:
        """The newest frame that was not read yet; NOT_YET when there is none after a short wait; None once
        closed.

        Raises: what the thread raised where that was not the camera's fault.
        """
        if self._closed.is_set():
            return None
        frame = None
        if self._reader:
            frame = self._reader.take(self._timeouts.read_s)
        else:
            time.sleep(self._timeouts.read_s)
        self._check(time.perf_counter())
        return frame or NOT_YET

    def close(self) -> None:
        """Releases the camera; a thread that hangs in it is left behind."""
        self._closed.set()
        if self._reader:
            self._reader.close(CLOSE_S)

    # --- opening
    # -------------------------------------------------------------------------------------------------------

    def _start_first(self) -> CameraReader:
        if sys.platform != "darwin":
            return self._start([self._locator.first])
        # macOS asks the user for permission on the main thread only.
        camera = self._open_camera(self._text, self._locator.first)
        return CameraReader(lambda: camera, self._timeouts)

    def _wait_first(self, reader: CameraReader) -> None:
        try:
            reader.wait_open(self._timeouts.open_s)
        except BaseException:  # Ctrl-C
            self.close()
            raise
        if reader.error:
            raise reader.error
        if not reader.opened_s:
            self.close()
            raise DriverError(
                f"The camera {self._name} does not answer: unplug it, plug it in again and restart."
            )

    def _start(self, places: list[int | str]) -> CameraReader:
        freshness = self._freshness
        self._freshness = None
        return CameraReader(lambda: self._open_one_of(places), self._timeouts, freshness)

    def _open_one_of(self, places: list[int | str]) -> Camera:
        """Opens the first place that gives pictures: one camera can have several video nodes."""
        for place in places[:-1]:
            try:
                return self._open_camera(self._text, place)
            except DriverError:
                continue
        return self._open_camera(self._text, places[-1])

    # --- watching
    # ------------------------------------------------------------------------------------------------------

    def _check(self, now_s: float) -> None:
        if self._reader is None:
            self._reopen(now_s)
        elif (fault := self._reader.fault(now_s)) is None:
            self._check_back(self._reader, now_s)
        elif fault is CameraFault.STILL:
            self._on_still(self._reader, now_s)
        else:
            self._on_lost(self._reader, fault, now_s)

    def _reopen(self, now_s: float) -> None:
        """Opens the camera again when it is time and it is there."""
        self._leaving = [reader for reader in self._leaving if reader.alive]
        # A thread that was just closed may still be releasing the camera.
        releasing = self._leaving and now_s < self._leaving_since_s + self._timeouts.lost_s
        if now_s < self._retry_s or releasing or len(self._leaving) >= MAX_HANGING:
            return
        places = self._locator.places()
        if places:
            self._reader = self._start(places)
            return
        self._backoff.reset()  # looking for it costs nothing; the longer waits are for opening
        self._retry_s = now_s + self._backoff.wait_s
        if self._state is not ConnectionState.LOST:
            self._change(ConnectionState.LOST, now_s)
            self._notify(f"The camera {self._name} was unplugged: plug it in again; the puppet goes on.")

    def _on_lost(self, reader: CameraReader, fault: CameraFault, now_s: float) -> None:
        was_well = self._state in (ConnectionState.LIVE, ConnectionState.BACK)
        if was_well:
            self._backoff.failed_after(now_s - self._since_s)
        self._release(reader, now_s)
        self._retry_s = now_s + self._backoff.advance()
        self._refusals = self._refusals + 1 if fault is CameraFault.BUSY else 0
        if was_well or self._state is ConnectionState.STILL:
            self._change(ConnectionState.LOST, now_s)
            what = (
                f"{fault.value}: it is being opened again, plug it in again if that takes long"
                if self._locator.places()
                else "was unplugged: plug it in again"
            )
            self._notify(f"The camera {self._name} {what}; the puppet goes on.")
            return
        hangs = any(left.alive for left in self._leaving)
        # The first refusal may come too early after the camera was plugged in.
        if self._refusals == 2 and self._state is ConnectionState.LOST and not hangs:
            self._change(ConnectionState.BUSY, self._since_s)
            self._notify(
                f"The camera {self._name} is there and cannot be opened: close the program that uses it."
            )

    def _on_still(self, reader: CameraReader, now_s: float) -> None:
        """The picture stands still, perhaps by right: reported, and the camera opened again, but rarely."""
        if self._state is not ConnectionState.STILL:
            lost = self._state in (ConnectionState.LOST, ConnectionState.BUSY)  # which was reported
            self._still_reported = lost or now_s >= self._still_retry_s
            self._change(ConnectionState.STILL, self._since_s if lost else now_s)
            if self._still_reported and not lost:
                self._notify(
                    f"The camera {self._name} {CameraFault.STILL.value}: is it covered? "
                    "It is opened again once a minute; the puppet goes on."
                )
        if now_s >= self._still_retry_s:
            self._still_retry_s = now_s + self._timeouts.still_again_s
            self._freshness = Freshness(reader.freshness.image, reader.freshness.changed_s)
            self._release(reader, now_s)
            self._retry_s = now_s

    def _check_back(self, reader: CameraReader, now_s: float) -> None:
        """No fault: it is reported as back once its pictures have differed for as long as it was waited
        for."""
        if self._state in (ConnectionState.LIVE, ConnectionState.BACK):
            return
        if not reader.first_s or reader.freshness.changed_s <= reader.first_s:
            return
        still = self._state is ConnectionState.STILL
        settle_s = min(self._backoff.wait_s / 2, self._timeouts.settle_s)
        if not still and reader.fresh_s - reader.first_s < settle_s:
            return
        if not still or self._still_reported:
            self._notify(f"The camera {self._name} is back after {now_s - self._since_s:.0f} s.")
        self._change(ConnectionState.BACK, now_s)

    def _release(self, reader: CameraReader, now_s: float) -> None:
        reader.close()
        self._leaving.append(reader)
        self._leaving_since_s = now_s
        self._reader = None

    def _change(self, state: ConnectionState, now_s: float) -> None:
        self._state = state
        self._since_s = now_s
        self._refusals = 0
