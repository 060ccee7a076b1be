"""Audio-video synchronisation: blocks from a microphone, which has a clock of its own, become a stream in
step with pictures.

Pure arithmetic on samples and times.
"""

import numpy as np

RATE_HZ = 48_000


class BlockClock:
    """The times of blocks by this machine's clock, from when they were read.

    They are read never early, often late, and several at once after a stall. Blocks follow one another by
    their own length, and the one that was read with the least delay gives the time of all.
    """

    WINDOW_S = 1.0  # of blocks that are compared: a stall is shorter, and 200 ppm of drift are 0.2 ms in it

    def __init__(self) -> None:
        self._end_s: float | None = None  # of the newest block
        self._least_delay_s = float("inf")  # of a block in the window, relative to _end_s
        self._window_s = 0.0  # how much of the window has passed

    def start_s(self, count: int, now_s: float) -> float:
        """When a block of `count` samples began that was read at now_s."""
        duration_s = count / RATE_HZ
        self._end_s = now_s if self._end_s is None else self._end_s + duration_s
        self._least_delay_s = min(self._least_delay_s, now_s - self._end_s)
        self._window_s += duration_s
        # A negative delay is impossible: no sound is read before it was made.
        if self._least_delay_s < 0 or self._window_s >= self.WINDOW_S:
            self._end_s += self._least_delay_s
            self._least_delay_s = float("inf")
            self._window_s = 0.0
        return self._end_s - duration_s


class DriftCompensator:
    """Turns blocks with times into the consecutive samples of a file, stretched or shortened to keep time."""

    AVERAGE_S = 2.0  # over which times are averaged
    CLOSE_S = 4.0  # in which a difference is closed, without overshooting. 200 ppm of drift leave 1 ms
    MAX_STRETCH = 0.005  # share: not audible in a voice
    # A larger difference, which viewers notice (ITU-R BT.1359), is closed at once: the microphone was away,
    # or the machine asleep.
    JUMP_S = 0.045
    MAX_SILENCE_S = 10.0  # added at once, so that a machine that slept for hours needs no memory for them
    LATE_S = 0.5  # sound that comes later is replaced with silence

    def __init__(self) -> None:
        self.samples = 0  # returned so far
        self._late_s = 0.0  # how far the stream is behind the times, averaged
        self._owed = 0.0  # samples to insert (or leave out) that do not make a whole one yet

    def samples_at(self, time_s: float) -> int:
        """The number of samples of a stream that ends at time_s."""
        return max(0, round(time_s * RATE_HZ))

    def silence_until(self, time_s: float) -> np.ndarray:
        """The silence that is missing up to time_s, at most MAX_SILENCE_S of it: (n,) float32, often
        empty."""
        limit_s = self.samples / RATE_HZ + self.MAX_SILENCE_S
        count = max(0, self.samples_at(min(time_s, limit_s)) - self.samples)
        self.samples += count
        return np.zeros(count, np.float32)

    def add(self, block: np.ndarray, start_s: float) -> np.ndarray:
        """The next samples of the file, (m,) float32.

        Args:
            block: (n,) float32.
            start_s: when it began, in seconds since the file's beginning.
        """
        late_s = start_s - self.samples / RATE_HZ
        duration_s = len(block) / RATE_HZ
        self._late_s += (late_s - self._late_s) * min(1.0, duration_s / self.AVERAGE_S)
        if abs(late_s) > self.JUMP_S or self.samples == 0:
            return self._count(self._shift(block, late_s))
        limit = self.MAX_STRETCH * len(block)
        self._owed += float(np.clip(self._late_s / self.CLOSE_S * len(block), -limit, limit))
        change = int(self._owed)
        if change and len(block) > 2:
            self._owed -= change
            places = np.linspace(0, len(block) - 1, len(block) + change)
            block = np.interp(places, np.arange(len(block)), block).astype(np.float32)
        return self._count(block)

    def _shift(self, block: np.ndarray, late_s: float) -> np.ndarray:
        """The block with silence before it, or its beginning cut away."""
        self._late_s = 0.0
        self._owed = 0.0
        count = round(min(late_s, self.MAX_SILENCE_S) * RATE_HZ)
        return np.concatenate([np.zeros(count, np.float32), block]) if count > 0 else block[-count:]

    def _count(self, block: np.ndarray) -> np.ndarray:
        self.samples += len(block)
        return block.astype(np.float32, copy=False)
