"""Sound by one clock: blocks from a microphone, which has its own idea of a second, become a stream in step with pictures.

Pure arithmetic on samples and times. Knows nothing of devices and files.
"""

import numpy as np

RATE_HZ = 48_000


class Stamps:
    """When blocks were heard, by the clock, from when they were fetched: never early, often late, several at once after a stall.

    They follow one another by their own length, and the one that was fetched with the least delay says where all of them are.
    """

    WINDOW_S = 1.0  # of blocks that are compared: a stall is shorter, and 200 ppm of drift are 0.2 ms in it

    def __init__(self) -> None:
        self._end_s: float | None = None
        self._least_s, self._compared_s = float("inf"), 0.0

    def start_s(self, count: int, now_s: float) -> float:
        """A block of `count` samples was fetched now -> when it began."""
        duration_s = count / RATE_HZ
        self._end_s = now_s if self._end_s is None else self._end_s + duration_s
        self._least_s, self._compared_s = (
            min(self._least_s, now_s - self._end_s),
            self._compared_s + duration_s,
        )
        if self._least_s < 0 or self._compared_s >= self.WINDOW_S:  # nothing is heard before it sounds
            self._end_s += self._least_s
            self._least_s, self._compared_s = float("inf"), 0.0
        return self._end_s - duration_s


class DriftCompensator:
    """Blocks with times in, the samples that follow each other in a file out.

    The samples follow one another, and what the times say over some seconds slowly stretches or shortens them.
    """

    CALM_S = 2.0  # times are averaged over this
    MEND_S = 4.0  # a distance is closed in about this time; with CALM_S, without overshooting. 200 ppm of drift stay 1 ms behind
    MOST_STRETCH = 0.005  # at most: no ear hears it in a voice
    JUMP_S = 0.045  # what viewers notice (ITU-R BT.1359) is closed at once: the microphone was away, or the machine asleep
    MOST_S = 10.0  # of silence at once, so that a machine that slept for hours needs no memory for them
    LONGEST_WAIT_S = 0.5  # for sound that is late, before silence takes its place

    def __init__(self) -> None:
        self.samples = 0  # given out so far
        self._late_s = 0.0  # averaged: how far the stream is behind the times
        self._owed = 0.0  # samples to be put in (or left out) that do not make a whole one yet

    def samples_at(self, time_s: float) -> int:
        """How many samples a stream has that reaches up to time_s."""
        return max(0, round(time_s * RATE_HZ))

    def silence_until(self, time_s: float) -> np.ndarray:
        """The silence that is missing up to time_s: (n,) float32, often empty; of a long one the next MOST_S."""
        count = max(0, self.samples_at(min(time_s, self.samples / RATE_HZ + self.MOST_S)) - self.samples)
        self.samples += count
        return np.zeros(count, np.float32)

    def add(self, block: np.ndarray, start_s: float) -> np.ndarray:
        """(n,) float32 that began at start_s, seconds in the file -> what comes next in it: (m,) float32."""
        late_s = start_s - self.samples / RATE_HZ
        duration_s = len(block) / RATE_HZ
        self._late_s += (late_s - self._late_s) * min(1.0, duration_s / self.CALM_S)
        if abs(late_s) > self.JUMP_S or self.samples == 0:
            return self._give(self._torn(block, late_s))
        wanted = self._late_s / self.MEND_S * len(block)
        self._owed += float(np.clip(wanted, -self.MOST_STRETCH * len(block), self.MOST_STRETCH * len(block)))
        change = int(self._owed)
        if change and len(block) > 2:
            self._owed -= change
            places = np.linspace(0, len(block) - 1, len(block) + change)
            block = np.interp(places, np.arange(len(block)), block).astype(np.float32)
        return self._give(block)

    def _torn(self, block: np.ndarray, late_s: float) -> np.ndarray:
        """Silence put before the block, or its beginning cut away."""
        self._late_s = self._owed = 0.0
        count = round(min(late_s, self.MOST_S) * RATE_HZ)
        return np.concatenate([np.zeros(count, np.float32), block]) if count > 0 else block[-count:]

    def _give(self, block: np.ndarray) -> np.ndarray:
        self.samples += len(block)
        return block.astype(np.float32, copy=False)
