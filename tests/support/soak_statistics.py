"""What is measured in a long run, in memory that is taken at its start.

Knows nothing of what is good or bad.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtime.output.outputs import Output
from realtime.timing import Timings
from tests.support.fake_clock import Simulation
from tests.support.mishaps import Fate


class Series:
    """Seconds and when they were measured; what comes after `length` of them is not kept."""

    def __init__(self, length: int):
        self._values_s, self._times_s, self.count = np.ones(length, np.float32), np.ones(length), 0

    def add(self, now_s: float, value_s: float) -> None:
        if self.count < len(self._values_s):
            self._values_s[self.count], self._times_s[self.count] = value_s, now_s
            self.count += 1

    def between(self, start_s: float, end_s: float) -> np.ndarray:
        times_s = self._times_s[: self.count]
        return self.all_s[(times_s >= start_s) & (times_s < end_s)]

    @property
    def all_s(self) -> np.ndarray:
        return self._values_s[: self.count]


@dataclass(frozen=True)
class Memory:
    """What this process holds at one moment."""

    resident_mb: float  # after a garbage collection and malloc_trim; NaN where there is no /proc
    objects: float  # sys.getallocatedblocks: Python's objects and small buffers
    containers: float  # len(gc.get_objects())
    threads: float

    @classmethod
    def now(cls, sim: Simulation) -> "Memory":
        gc.collect()
        resident_mb, statm = float("nan"), Path("/proc/self/statm")
        if statm.is_file():
            ctypes.CDLL(None).malloc_trim(0)
            resident_mb = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        return cls(resident_mb, sys.getallocatedblocks(), len(gc.get_objects()), sim.threading.active_count())

    @classmethod
    def middle(cls, looks: list["Memory"]) -> "Memory":
        """Of several looks, as each is at another moment of some mishap."""
        return cls(
            *(float(np.median([getattr(look, name) for look in looks])) for name in cls.__dataclass_fields__)
        )


class Ages(Timings):
    """Timings that tell fate of every fresh picture that is seen, and keep its age while all is well."""

    def __init__(
        self,
        sim: Simulation,
        fate: Fate,
        is_lost: Callable[[], bool],
        length: int,
        of_frames: str = "capture",
    ):
        """is_lost: whether pictures go nowhere. of_frames: what is measured once a frame of the driver."""
        super().__init__()
        self._of_frames = of_frames
        self._sim, self._fate, self._is_lost, self.well, self.frames = sim, fate, is_lost, Series(length), 0

    def add(self, name: str, duration_s: float) -> None:
        super().add(name, duration_s)
        if name == self._of_frames:
            self.frames += 1
        elif (
            name == "capture to output"
            and not self._is_lost()
            and self._fate.shown(self._sim.now_s - duration_s)
        ):
            self.well.add(self._sim.now_s, duration_s)


class Watched:
    """The output that must never stop, watched.

    How late pictures come, how long after each other, and whether what covers is obeyed.
    """

    main_thread, closed = False, False

    def __init__(self, sim: Simulation, output: Output, length: int):
        self.name, self._sim, self._output = output.name, sim, output
        self._start_s, self._last_s = None, 0.0
        self.late, self.late_stalled, self.gaps = Series(length), Series(length), Series(length)
        self.stalled = False  # the generator, meanwhile
        self.only: np.ndarray | None = None  # what alone may be sent now
        self.disobeyed = 0

    def send(self, image: np.ndarray, time_s: float) -> None:
        now_s = self._sim.now_s
        if self._start_s is None:
            self._start_s = now_s - time_s
        else:
            self.gaps.add(now_s, now_s - self._last_s)
        self._last_s = now_s
        late_s = now_s - self._start_s - time_s
        self.late.add(now_s, late_s)
        if self.stalled:
            self.late_stalled.add(now_s, late_s)
        self.disobeyed += self.only is not None and image is not self.only
        self._output.send(image, time_s)

    def close(self) -> None:
        self._output.close()
