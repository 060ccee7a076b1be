"""Fakes of cv2.VideoCapture and of Linux's list of cameras, which a test plugs, unplugs, hangs and
freezes."""

import threading
import time
from pathlib import Path

import cv2
import numpy as np


class Desk:
    """`open` replaces cv2.VideoCapture. `fault` is what is wrong with all cameras that are open."""

    def __init__(self, sysfs: Path, fps: float = 60.0, size: tuple[int, int] = (64, 48)):
        self.fault = ""  # silent | hang | stale | frozen | busy | broken | grey | empty
        self.fps, self.size, self.stamps = fps, size, True
        self.colour = (0, 0, 0)  # BGR, of most of every picture
        self.opened: list[int | str] = []  # every place that was opened, in turn
        self.most_open = self.now_open = self.hanging = 0
        self.silent: set[int] = set()  # indexes that open and give no pictures
        self.last: np.ndarray | None = None  # that any of them drew
        self.freed = threading.Event()  # ends what hangs
        self._sysfs, self._plugged, self._lock = sysfs, {}, threading.Lock()

    def plug(self, index: int, name: str = "Desk Cam", port: str = "1-1") -> None:
        node = self._sysfs / f"video{index}"
        node.mkdir(parents=True)
        (node / "name").write_text(name + "\n")
        (self._sysfs.parent / port).mkdir(exist_ok=True)
        (node / "device").symlink_to(self._sysfs.parent / port)
        self._plugged[index] = object()  # what was opened before stays disconnected

    def unplug(self, index: int) -> None:
        del self._plugged[index]
        node = self._sysfs / f"video{index}"
        (node / "name").unlink()
        (node / "device").unlink()
        node.rmdir()

    def open(self, which: int | str) -> "_Capture":
        self.opened.append(which)
        return _Capture(self, which, None if self.fault == "busy" else self._plugged.get(which))

    def has(self, which: int | str, plug: object) -> bool:
        return self._plugged.get(which) is plug

    def count(self, change: int) -> None:
        with self._lock:
            self.now_open += change
            self.most_open = max(self.most_open, self.now_open)


class _Capture:
    def __init__(self, desk: Desk, which: int | str, plug: object | None):
        self._desk, self._which, self._plug, self._number = desk, which, plug, 0
        self._noise = np.random.default_rng(which if isinstance(which, int) else 0)
        self._image, self._stamp_s = (
            desk.last if desk.fault in ("stale", "frozen") else self._draw(),
            time.perf_counter(),
        )
        if plug:
            desk.count(1)

    def isOpened(self) -> bool:
        return self._plug is not None

    def set(self, _what: int, _value: float) -> bool:
        return True

    def get(self, what: int) -> float:
        return (
            self._desk.fps if what == cv2.CAP_PROP_FPS else self._stamp_s * 1000 if self._desk.stamps else 0.0
        )

    def read(self) -> tuple[bool, np.ndarray | None]:
        if self._desk.fault == "hang":
            self._desk.hanging += 1
            self._desk.freed.wait()
            self._desk.hanging -= 1
        if (
            self._plug is None
            or not self._desk.has(self._which, self._plug)
            or self._desk.fault == "silent"
            or self._which in self._desk.silent
        ):
            return False, None
        if self._desk.fault == "broken":
            raise cv2.error("bad JPEG")
        if self._desk.fault in ("grey", "empty"):
            return True, self._image[..., 0] if self._desk.fault == "grey" else None
        if self._desk.fault == "stale":
            time.sleep(0.001)
            return True, self._image.copy()  # at once, with the old stamp
        time.sleep(1 / self._desk.fps)
        self._stamp_s = time.perf_counter()
        if self._desk.fault != "frozen":
            self._image = self._draw()
        return True, self._image.copy()

    def release(self) -> None:
        if self._plug:
            self._desk.count(-1)
        self._plug = None

    def _draw(self) -> np.ndarray:
        width, height = self._desk.size
        image = np.full((height, width, 3), self._desk.colour, np.uint8)
        image[::8] = self._noise.integers(0, 255, (1, width, 3), np.uint8)
        self._desk.last = image
        return image
