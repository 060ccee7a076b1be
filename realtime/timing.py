"""Elapsed time: durations, rates, ticks of a clock, and the weights of averages over time."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np

# What FollowingTicks are for waits LEAST_WAIT_S and MARGIN times what it strays by on average; what comes
# later waits for the next tick. Drawing strays by 1 to 3 ms.
LEAST_WAIT_S, MARGIN = 0.003, 3.0
FOLLOWING = 0.1  # share of what a tick is off that it is moved by
MOST_MOVED_S = 0.0005  # at a time: 30 ticks a second stay within 1.5 % of that
STRAYING = 0.03  # weight of the newest in the average
MAX_SAMPLES = 4096  # of a series: two minutes at 30 a second, so that its memory is bounded


def ema_weight(elapsed_s: float, time_constant_s: float) -> float:
    """The weight of the newest value in an exponential moving average: `mean += weight * (value - mean)`.

    Frames do not come evenly, so it follows from the time that passed, not from a frame rate.

    Args:
        elapsed_s: since the value before, in seconds; 0 if negative.
        time_constant_s: after which a step has been followed by 63 % (1 - 1/e), in seconds.

    Returns: 0 to 1.
    """
    return 1 - float(np.exp(-max(0.0, elapsed_s) / time_constant_s))


class Timings:
    """Named series of durations in seconds, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[str, deque[float]] = {}

    def add(self, name: str, duration_s: float) -> None:
        with self._lock:
            self._series.setdefault(name, deque(maxlen=MAX_SAMPLES)).append(duration_s)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the duration of the block; nothing where it raises."""
        started_s = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - started_s)

    def lately(self, name: str, count: int = 64, percentile: float = 50) -> float:
        """The median (another percentile) of the last `count` durations, in seconds; 0 before the first."""
        with self._lock:
            values = list(islice(reversed(self._series.get(name, ())), count))
        return float(np.percentile(values, percentile)) if values else 0.0

    def clear(self) -> None:
        """Drops all series."""
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
    """Times at a fixed rate. One that has passed (after a stall, or a computer's sleep) is left out."""

    def __init__(self, per_second: float, start_s: float):
        """
        Args:
            start_s: when number 0 is due, in seconds of time.perf_counter().
        """
        self._per_second = per_second
        self._start_s = start_s
        self.number = 0

    @property
    def time_s(self) -> float:
        """This tick's time since the start."""
        return self.number / self._per_second

    @property
    def due_s(self) -> float:
        """When this tick is due, by time.perf_counter()."""
        return self._start_s + self.time_s

    def advance(self, now_s: float) -> None:
        """Goes to the next tick, or to the newest one before now_s where that is later."""
        self.number = max(self.number + 1, int((now_s - self._start_s) * self._per_second))


class FollowingTicks(Ticks):
    """Ticks that move, slowly, to shortly after what they are for.

    They get there where that comes at about their rate, or a whole part or multiple of it; else they move to
    and fro.
    """

    def __init__(self, per_second: float, start_s: float):
        super().__init__(per_second, start_s)
        self._period_s = 1 / per_second
        self._first_s = start_s
        self._strays_s = 0.0  # on average

    @property
    def time_s(self) -> float:
        return self._start_s - self._first_s + super().time_s

    @property
    def due_s(self) -> float:
        return self._first_s + self.time_s

    def follow(self, waited_s: float) -> None:
        """Moves the ticks to come. waited_s: how long what came had waited for its tick."""
        wait_s = min(LEAST_WAIT_S + MARGIN * self._strays_s, self._period_s / 2)
        late_s = (waited_s - wait_s + self._period_s / 2) % self._period_s - self._period_s / 2
        self._strays_s += STRAYING * (abs(late_s) - self._strays_s)
        self._start_s -= min(max(late_s * FOLLOWING, -MOST_MOVED_S), MOST_MOVED_S)


class Rate:
    """How often something happens. `add` is for one thread, `per_second` for any."""

    def __init__(self, kept: int = 64):
        """
        Args:
            kept: events that are remembered.
        """
        self._times_s: deque[float] = deque(maxlen=kept)

    def add(self, now_s: float) -> None:
        self._times_s.append(now_s)

    def per_second(self, now_s: float, within_s: float = 2.0) -> float:
        """Events per second in the last within_s seconds, or as much of them as is remembered."""
        recent = [time_s for time_s in tuple(self._times_s) if now_s - time_s <= within_s]
        if len(recent) < 2 or recent[-1] <= recent[0]:
            return 0.0
        return (len(recent) - 1) / (recent[-1] - recent[0])
