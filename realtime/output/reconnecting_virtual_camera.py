"""A virtual camera that survives a call: when it fails it is opened again in a background thread."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from engines.errors import OutputError
from realtime.output.virtual_camera import VirtualCamera
from realtime.process.backoff import Backoff
from realtime.process.worker import Worker

FIRST_WAIT_S = 0.5  # before the first attempt
LONGEST_WAIT_S = 8.0  # between attempts: a camera that works again is back while its user still looks
STEADY_S = 10.0  # once it lasted so long, the waits start from the shortest again
CLOSE_S = 1.0  # for an attempt that is under way; one that hangs is left behind


class ReconnectingVirtualCamera:
    """An Output. Pictures sent while the camera is away are lost."""

    main_thread = False
    closed = False

    def __init__(
        self,
        open_camera: Callable[[], VirtualCamera],
        notify: Callable[[str], None] = lambda _sentence: None,
        backoff: Backoff | None = None,
    ):
        """
        Args:
            open_camera: opens the camera; raises OutputError when that fails.
            notify: called with one sentence for the user at each change.
            backoff: the waits between attempts.

        Raises: OutputError when the first opening fails.
        """
        self._open = open_camera
        self._notify = notify
        self._backoff = backoff or Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, STEADY_S)
        self._camera: VirtualCamera | None = open_camera()
        self.name = self._camera.name
        self._opened_s = time.perf_counter()
        self._lock = threading.Lock()  # held while a camera is put in place, and while no more are wanted
        self._lost: VirtualCamera | None = None  # the one that failed last, until it is closed
        self._worker = Worker(self._reopen, "virtual camera")

    @property
    def lost(self) -> bool:
        """Whether pictures go nowhere at the moment."""
        return self._camera is None

    def send(self, image: np.ndarray, time_s: float) -> None:
        """As Output's; a camera that fails raises nothing, and only the camera itself may take its time."""
        camera = self._camera
        if camera is None:
            return
        try:
            camera.send(image, time_s)
        except OutputError as error:
            self._camera = None
            self._backoff.failed_after(time.perf_counter() - self._opened_s)
            self._notify(f"{error} It is opened again as soon as it answers.")
            self._lost = camera
            self._worker.join()  # it has just put this camera in place and is about to end
            self._worker.start()

    def close(self) -> None:
        self._worker.close(CLOSE_S)
        with self._lock:
            camera = self._camera
            self._camera = None
        if camera:
            camera.close()

    def _reopen(self) -> None:
        """The thread's work: closes the camera that was lost, and tries until there is another one."""
        if self._lost:
            with suppress(RuntimeError, OSError):  # what is broken may not close
                self._lost.close()
            self._lost = None
        while not self._worker.wait(self._backoff.advance()):
            try:
                camera = self._open()
            except OutputError:
                continue
            with self._lock:
                if not self._worker.stopping:
                    self._opened_s = time.perf_counter()
                    self._notify(f"The {self.name} is back.")
                    self._camera = camera  # last: `send` may fail at once and wait for this thread's end
                    return
            camera.close()
            return
