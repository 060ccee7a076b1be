"""Doubles of the devices: an engine, a driver, an output, each with the smallest behaviour that a test can see."""

import threading
import time

import numpy as np

from engines import crop, expression
from engines.aus import PAPER_17
from engines.backends import Edit
from engines.bundle import Bundle
from realtime.frame import Frame

SMILE = PAPER_17.index("AU12")


class StubEngine:
    """Paints the middle of the crop with green as strongly as AU12 asks, and moves nothing; or, with flow_px, moves it down."""

    name = "stub"

    def __init__(self, size_px: int = 64, flow_px: int = 0, down_px: float = 0.0):
        self.bundle = Bundle(PAPER_17, "relative", size_px, flow_px, crop.RULE, expression.VERSION, "0" * 64)
        self._down_px = down_px

    def run(self, picture: np.ndarray, aus: np.ndarray) -> Edit:
        size, quarter = self.bundle.size_px, self.bundle.size_px // 4
        attention = np.ones((size, size), np.float32)
        attention[quarter:-quarter, quarter:-quarter] -= float(np.clip(aus[SMILE], 0, 1))
        colour = np.zeros((size, size, 3), np.uint8)
        colour[:, :, 1] = 255
        flow = None
        if self.bundle.flow_px:
            flow = np.zeros((self.bundle.flow_px, self.bundle.flow_px, 2), np.float32)
            flow[..., 1] = -self._down_px
        return Edit(colour, attention, flow)


class ScriptedDriver:
    """Gives numbered grey frames at a pace, then ends, or fails, or hangs."""

    live, has_rest, length = True, True, None

    def __init__(self, count: int, fps: float = 200.0, error: Exception | None = None):
        self.fps, self.closed = fps, False
        self._count, self._error, self._number = count, error, 0

    def read(self) -> Frame | None:
        time.sleep(1 / self.fps)
        if self._number >= self._count:
            if self._error:
                raise self._error
            return None
        self._number += 1
        return Frame(np.full((48, 64, 3), self._number % 256, np.uint8), time.perf_counter())

    def close(self) -> None:
        self.closed = True


class KeepingOutput:
    """Keeps what it is sent (up to a limit), and the times."""

    name, main_thread, closed = "kept", False, False

    def __init__(self, limit: int = 500):
        self.images: list[np.ndarray] = []
        self.times_s: list[float] = []
        self.numbers: list[int] = []
        self._limit, self._lock = limit, threading.Lock()

    def send(self, image: np.ndarray, number: int) -> None:
        with self._lock:
            if len(self.images) < self._limit:
                self.images.append(image)
                self.times_s.append(time.perf_counter())
                self.numbers.append(number)

    def close(self) -> None:
        pass
