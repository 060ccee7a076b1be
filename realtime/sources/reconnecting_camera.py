"""A camera that survives a meeting: unplugged, hung, frozen, taken by another program, it is noticed, told once, and opened again.

The watch is kept by whoever reads: every `read` waits a moment for a frame and looks whether the camera is well. Its frames come
from a thread of their own (reading.py). While it is away `read` says NOT_YET; what is shown meanwhile is presence.py's matter.
"""

import sys
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Literal

from engines.errors import DriverError
from realtime.messages import NOT_YET, Frame, NotYet
from realtime.sources.camera import Camera, CameraLocator
from realtime.sources.camera_reader import CameraFault, CameraReader, CameraTimeouts, Freshness

MOST_LEFT = 3  # threads that hang in the driver; no more are started before one of them has ended
BACK_S = 3.0  # how long `state` says that the camera is back
CLOSE_S = 1.0  # for the thread at the end; a read that hangs is left to the end of the process


class ConnectionState(Enum):
    """What can be told of the camera in two words, on a screen."""

    LIVE = "camera live"
    LOST = "camera lost"
    BUSY = "camera busy"  # it is plugged in and cannot be opened
    STILL = "camera frozen"
    BACK = "camera back"


class ReconnectingCamera:
    """LiveFrames of a camera that may go and come. The first opening must succeed: it raises DriverError, as Camera does.

    `say` is told each change in one sentence; `state` is the same for a screen.
    """

    live: Literal[True] = True
    has_rest = True

    def __init__(
        self,
        text: str = "webcam",
        say: Callable[[str], None] = lambda _sentence: None,
        open_camera: Callable[[str, int | str], Camera] = Camera,
        patience: CameraTimeouts = CameraTimeouts(),
        reader: type[CameraReader] = CameraReader,
    ):
        """text: what --driver says of it; open_camera: given that text and an index or path, opens it; reader: what reads an opening."""
        self._read_by = reader
        self._text, self._say, self._open_camera, self._patience = text, say, open_camera, patience
        self._where = CameraLocator(text)
        self._name = f"{text} ({self._where.name})" if self._where.name else text
        self._closed = threading.Event()
        self._left: list[CameraReader] = []  # told to leave; some may hang
        self._left_s = 0.0
        self._wait_s, self._try_s = patience.first_wait_s, 0.0
        self._still_try_s = 0.0  # a picture that stands still is told and opened again no earlier
        self._freshness: Freshness | None = None  # what the next opening knows of the one before
        self._state, self._since_s = ConnectionState.LIVE, time.perf_counter()
        self._refused, self._told_still = 0, False
        self._reader: CameraReader | None = self._start_first()
        try:
            self._reader.wait_open(patience.open_s)
        except BaseException:  # Ctrl-C
            self.close()
            raise
        if self._reader.error:
            raise self._reader.error
        if not self._reader.opened_s:
            self.close()
            raise DriverError(
                f"The camera {self._name} does not answer: unplug it, plug it in again and restart."
            )
        self.fps = self._reader.fps

    @property
    def note(self) -> str:
        """The same in words, where they are worth telling."""
        return "" if self.state is ConnectionState.LIVE else self.state.value

    @property
    def state(self) -> ConnectionState:
        """How the camera is now."""
        over = self._state is ConnectionState.BACK and time.perf_counter() - self._since_s > BACK_S
        return ConnectionState.LIVE if over else self._state

    def read(self) -> Frame | NotYet | None:
        """The newest frame that was not read yet; NOT_YET when there is none after a short wait; None once closed."""
        if self._closed.is_set():
            return None
        frame = None
        if self._reader:
            frame = self._reader.take(self._patience.read_s)
        else:
            time.sleep(self._patience.read_s)
        self._watch(time.perf_counter())
        return frame or NOT_YET

    def close(self) -> None:
        """Lets the camera go; a thread that hangs in it is left behind."""
        self._closed.set()
        if self._reader:
            self._reader.leave(CLOSE_S)

    def _start_first(self) -> CameraReader:
        if sys.platform != "darwin":
            return self._start([self._where.first])
        camera = self._open_camera(
            self._text, self._where.first
        )  # macOS asks the user for leave on the main thread only
        return self._read_by(lambda: camera, self._patience)

    def _start(self, places: list[int | str]) -> CameraReader:
        freshness, self._freshness = self._freshness, None
        return self._read_by(lambda: self._open_one_of(places), self._patience, freshness)

    def _open_one_of(self, places: list[int | str]) -> Camera:
        """One name can stand for several nodes, of which one gives pictures."""
        for place in places[:-1]:
            try:
                return self._open_camera(self._text, place)
            except DriverError:
                continue
        return self._open_camera(self._text, places[-1])

    def _watch(self, now_s: float) -> None:
        if self._reader is None:
            self._seek(now_s)
        elif (trouble := self._reader.trouble(now_s)) is None:
            self._welcome(self._reader, now_s)
        elif trouble is CameraFault.STILL:
            self._doubt(self._reader, now_s)
        else:
            self._lose(self._reader, trouble, now_s)

    def _seek(self, now_s: float) -> None:
        """Opens the camera again when it is time and it is there."""
        self._left = [reader for reader in self._left if reader.alive]
        leaving = (
            self._left and now_s < self._left_s + self._patience.lost_s
        )  # it may only be letting go of the camera
        if now_s < self._try_s or leaving or len(self._left) >= MOST_LEFT:
            return
        places = self._where.places()
        if places:
            self._reader = self._start(places)
        else:  # looking for it costs nothing; the longer waits are for opening
            self._wait_s = self._patience.first_wait_s
            self._try_s = now_s + self._wait_s
            if self._state is not ConnectionState.LOST:
                self._change(ConnectionState.LOST, now_s)
                self._say(f"The camera {self._name} was unplugged: plug it in again; the puppet goes on.")

    def _lose(self, reader: CameraReader, trouble: CameraFault, now_s: float) -> None:
        was_well = self._state in (ConnectionState.LIVE, ConnectionState.BACK)
        if was_well and now_s - self._since_s > self._patience.well_s:
            self._wait_s = self._patience.first_wait_s
        self._let_go(reader, now_s)
        self._try_s = now_s + self._wait_s
        self._wait_s = min(2 * self._wait_s, self._patience.longest_wait_s)
        self._refused = self._refused + 1 if trouble is CameraFault.BUSY else 0
        if was_well or self._state is ConnectionState.STILL:
            self._change(ConnectionState.LOST, now_s)
            away = (
                "was unplugged: plug it in again"
                if not self._where.places()
                else f"{trouble.value}: it is being opened again, plug it in anew if that takes long"
            )
            self._say(f"The camera {self._name} {away}; the puppet goes on.")
        elif (
            self._refused == 2
            and self._state is ConnectionState.LOST
            and not any(left.alive for left in self._left)
        ):  # the first may be too early
            self._change(ConnectionState.BUSY, self._since_s)
            self._say(
                f"The camera {self._name} is there and cannot be opened: close the program that uses it."
            )

    def _doubt(self, reader: CameraReader, now_s: float) -> None:
        """The picture stands still: told and opened again, but only once in a while, since it may be so by right."""
        if self._state is not ConnectionState.STILL:
            lost = self._state in (ConnectionState.LOST, ConnectionState.BUSY)  # which was told
            self._told_still = lost or now_s >= self._still_try_s
            self._change(ConnectionState.STILL, self._since_s if lost else now_s)
            if self._told_still and not lost:
                self._say(
                    f"The camera {self._name} {CameraFault.STILL.value}: is it covered? It is opened again once a minute; the puppet goes on."
                )
        if now_s >= self._still_try_s:
            self._still_try_s = now_s + self._patience.still_again_s
            self._freshness = Freshness(reader.freshness.image, reader.freshness.changed_s)
            self._let_go(reader, now_s)
            self._try_s = now_s

    def _welcome(self, reader: CameraReader, now_s: float) -> None:
        """No trouble: the camera is told as back once it has given pictures that differ, for as long as it was waited for."""
        if (
            self._state in (ConnectionState.LIVE, ConnectionState.BACK)
            or reader.freshness.changed_s <= reader.first_s
            or not reader.first_s
        ):
            return
        if self._state is not ConnectionState.STILL and reader.fresh_s - reader.first_s < min(
            self._wait_s / 2, self._patience.settle_s
        ):
            return
        if self._state is not ConnectionState.STILL or self._told_still:
            self._say(f"The camera {self._name} is back after {now_s - self._since_s:.0f} s.")
        self._change(ConnectionState.BACK, now_s)

    def _let_go(self, reader: CameraReader, now_s: float) -> None:
        reader.leave()
        self._left.append(reader)
        self._left_s, self._reader = now_s, None

    def _change(self, state: ConnectionState, now_s: float) -> None:
        self._state, self._since_s, self._refused = state, now_s, 0
