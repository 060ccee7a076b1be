"""A virtual camera that survives a call: when it fails it is opened again, in a thread of its own, and pictures go on as if it took them.

The output's clock never waits for it.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from engines.errors import OutputError
from realtime.output.virtual_camera import VirtualCamera

WAITS_S = (
    0.5,
    1.0,
    2.0,
    4.0,
    8.0,
)  # before each attempt; the last one for ever, so that it is back while one still looks
WELL_S = 10.0  # once it lasted so long, the waits start from the shortest again
CLOSE_S = 1.0  # for an attempt that is under way; one that hangs is left behind


class ReconnectingVirtualCamera:
    """An Output. The first opening must succeed: it raises OutputError. After that each change is told to `say`, once."""

    main_thread, closed = False, False

    def __init__(
        self,
        open_camera: Callable[[], VirtualCamera],
        say: Callable[[str], None] = lambda _sentence: None,
        waits_s=WAITS_S,
    ):
        self._open, self._say, self._waits_s = open_camera, say, waits_s
        self._camera: VirtualCamera | None = open_camera()
        self.name = self._camera.name
        self._attempt, self._opened_s = 0, time.perf_counter()
        self._lock = threading.Lock()  # who puts a camera in its place, and whether one is wanted any more
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def lost(self) -> bool:
        """Whether pictures go nowhere at the moment."""
        return self._camera is None

    def send(self, image: np.ndarray, time_s: float) -> None:
        """Never raises for the camera's sake, and waits for nothing but the camera itself."""
        camera = self._camera
        if camera is None:
            return
        try:
            camera.send(image, time_s)
        except OutputError as error:
            self._camera = None
            self._attempt = 0 if time.perf_counter() - self._opened_s > WELL_S else self._attempt
            self._say(f"{error} It is opened again as soon as it answers.")
            self._thread = threading.Thread(
                target=self._return, args=(camera,), name="virtual camera", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        self._leaving.set()
        if self._thread:
            self._thread.join(CLOSE_S)
        with self._lock:
            camera, self._camera = self._camera, None
        if camera:
            camera.close()

    def _return(self, lost: VirtualCamera) -> None:
        """In a thread: lets the lost one go, and tries until there is another."""
        with suppress(RuntimeError, OSError):  # what is broken may not close
            lost.close()
        while not self._leaving.wait(self._waits_s[min(self._attempt, len(self._waits_s) - 1)]):
            self._attempt += 1
            try:
                camera = self._open()
            except OutputError:
                continue
            with self._lock:
                if not self._leaving.is_set():
                    self._camera, self._opened_s = camera, time.perf_counter()
                    self._say(f"The {self.name} is back.")
                    return
            return camera.close()
