"""Fakes of the devices: an engine, a driver, an output, each with the smallest behaviour that a test can
see."""

import threading
import time
from collections.abc import Sequence
from typing import Literal

import numpy as np

from engines.backends.interface import Edit, check_inputs
from engines.bundle import Bundle
from engines.face import au_estimator, crop
from engines.face.action_units import PAPER_17, sides, translate
from realtime.messages import Frame


def speak(vocabulary: Sequence[str], **aus: float) -> np.ndarray:
    """Named AUs in the order of a vocabulary, (N,) float32; the rest is 0."""
    return translate(np.array(list(aus.values()), np.float32), tuple(aus), vocabulary)


class StubEngine:
    """Paints the middle of the crop green as strongly as AU12 says, and moves nothing; with flow_px, moves it
    down.

    `aus`: its vocabulary; where that has sides, AU12R and AU12L each paint their half of the face.
    """

    name = "stub"

    def __init__(
        self, size_px: int = 64, flow_px: int = 0, down_px: float = 0.0, aus: tuple[str, ...] = PAPER_17
    ):
        self.bundle = Bundle(aus, "relative", size_px, flow_px, crop.RULE, au_estimator.VERSION, "0" * 64)
        self._down_px = down_px

    def run(self, picture: np.ndarray, aus: np.ndarray) -> Edit:
        check_inputs(self.bundle, picture, aus)
        size, quarter, half = self.bundle.size_px, self.bundle.size_px // 4, self.bundle.size_px // 2
        right, left = translate(np.clip(aus, 0, 1), self.bundle.aus, sides("AU12"))
        attention = np.ones((size, size), np.float32)
        attention[quarter:-quarter, quarter:half] -= right  # the person's right is the picture's left
        attention[quarter:-quarter, half:-quarter] -= left
        colour = np.zeros((size, size, 3), np.uint8)
        colour[:, :, 1] = 255
        flow = None
        if self.bundle.flow_px:
            flow = np.zeros((self.bundle.flow_px, self.bundle.flow_px, 2), np.float32)
            flow[..., 1] = -self._down_px
        return Edit(colour, attention, flow)


class ScriptedDriver:
    """LiveFrames of numbered grey pictures at a pace, which then end or fail."""

    live: Literal[True] = True
    has_rest = True
    note = ""

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
    """An Output that keeps its pictures (up to a limit) and their times."""

    name, main_thread, closed = "kept", False, False

    def __init__(self, limit: int = 500):
        self.images: list[np.ndarray] = []
        self.times_s: list[float] = []
        self.stamps_s: list[float] = []
        self._limit, self._lock = limit, threading.Lock()

    def send(self, image: np.ndarray, time_s: float) -> None:
        with self._lock:
            if len(self.images) < self._limit:
                self.images.append(image)
                self.times_s.append(time.perf_counter())
                self.stamps_s.append(time_s)

    def close(self) -> None:
        pass
