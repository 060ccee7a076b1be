"""How long things take: percentiles over the last few thousand, never over a growing list."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np

KEPT = 4096  # samples a series: two minutes at 30 a second, and its memory stays fixed


class Timings:
    """Named series of durations in seconds, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[str, deque[float]] = {}

    def add(self, name: str, duration_s: float) -> None:
        with self._lock:
            self._series.setdefault(name, deque(maxlen=KEPT)).append(duration_s)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - started)

    def lately(self, name: str, count: int = 64) -> float:
        """Median of the last few, in seconds; 0 before there is any."""
        with self._lock:
            values = list(islice(reversed(self._series.get(name, ())), count))
        return float(np.median(values)) if values else 0.0

    def clear(self) -> None:
        """Forgets what was measured so far."""
        with self._lock:
            self._series.clear()

    def summary(self) -> dict[str, dict[str, float]]:
        """{name: {"count", "p50_ms", "p95_ms", "p99_ms"}} in the order of first use."""
        with self._lock:
            series = {name: np.array(values) * 1000 for name, values in self._series.items()}
        return {
            name: {
                "count": len(ms),
                **{f"p{p}_ms": round(float(np.percentile(ms, p)), 2) for p in (50, 95, 99)},
            }
            for name, ms in series.items()
        }


class Ticks:
    """Times at a fixed rate. One that is already past is left out, not made up for: after a computer's sleep, or a stall."""

    def __init__(self, per_second: float, start_s: float):
        """start_s: when number 0 is due, in seconds of time.perf_counter()."""
        self._per_second = per_second
        self._start_s = start_s
        self.number = 0

    @property
    def time_s(self) -> float:
        """Of this tick, from the start."""
        return self.number / self._per_second

    @property
    def due_s(self) -> float:
        """When this tick is due."""
        return self._start_s + self.time_s

    def advance(self, now_s: float) -> None:
        """The tick after this one, or the newest one before now_s where that is later."""
        self.number = max(self.number + 1, int((now_s - self._start_s) * self._per_second))


class Rate:
    """How often something happened lately. `add` is for one thread, `per_second` for any."""

    def __init__(self, kept: int = 64):
        self._times_s: deque[float] = deque(maxlen=kept)

    def add(self, now_s: float) -> None:
        self._times_s.append(now_s)

    def per_second(self, now_s: float, within_s: float = 2.0) -> float:
        """Over the last within_s, or as much of them as is known."""
        recent = [time_s for time_s in tuple(self._times_s) if now_s - time_s <= within_s]
        return (
            (len(recent) - 1) / (recent[-1] - recent[0])
            if len(recent) > 1 and recent[-1] > recent[0]
            else 0.0
        )
