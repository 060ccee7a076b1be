"""What goes wrong, when, and how soon all is well again: mishaps at random, by a seed.

Knows nothing of what they are.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mishap:
    """Something that goes wrong for a while.

    After its end, pictures of what the driver does then are shown `within_s`.
    """

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    lasts_s: tuple[float, float]  # at least, at most
    within_s: float
    sentences: int = 0  # that may be said of it, its end included
    at_most: int = 10**9  # times in a run


@dataclass(frozen=True)
class Pace:
    """How much goes wrong."""

    calm_s: tuple[float, float]  # between the end of a mishap and the next of its chain, at least and at most
    longest_s: float = float("inf")  # that one may last


@dataclass
class Record:
    """What became of the mishaps of one name."""

    count: int = 0
    worst_s: float = 0.0  # from its end to the first picture of what the driver did after it
    most_said: int = 0


class Fate:
    """Lets mishaps befall. Those of one chain follow one another, chains know nothing of each other."""

    def __init__(self, chains: dict[str, list[Mishap]], pace: Pace, seed: int):
        self.chains, self._pace, self._seed = chains, pace, seed
        self._lock, self._over = threading.Lock(), threading.Event()
        self._threads = [
            threading.Thread(target=self._befall, args=(name,), name=f"fate of {name}", daemon=True)
            for name in chains
        ]
        self._active: list[Mishap] = []
        self._ended: dict[
            str, Mishap
        ] = {}  # by chain, over: nothing of after it was shown yet; the slowest of each
        self._ended_s = 0.0  # the newest end
        self._waited_s = 0.0  # for them while nothing else went wrong, before that end
        self._last = {
            name: (None, 0) for name in chains
        }  # the newest of a chain, and what was said since it began
        self.records = {mishap.name: Record() for mishaps in chains.values() for mishap in mishaps}
        self.faults: list[str] = []

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No other mishap befalls; those that last are ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._wait_on()

    @property
    def calm(self) -> bool:
        """Whether nothing is wrong and all is made good."""
        return not (self._active or self._ended or self._over.is_set())

    def shown(self, captured_s: float) -> bool:
        """A picture of what the driver did at captured_s is sent. Returns whether all is well again."""
        if self._active or self._over.is_set():
            return False
        if self._ended:
            with self._lock:
                self._make_good(captured_s, time.perf_counter())
                return False
        return True

    def said(self, chain: str, sentence: str) -> None:
        """Something was said of a chain's matter."""
        mishap, count = self._last[chain]
        self._last[chain] = (mishap, count + 1)
        if mishap is None:
            self._fault(f"said before anything went wrong: {sentence}")
            return
        record = self.records[mishap.name]
        record.most_said = max(record.most_said, count + 1)
        if count + 1 > mishap.sentences:
            self._fault(f"{mishap.name}: sentence number {count + 1} was said of it: {sentence}")

    def _befall(self, chain: str) -> None:
        chance = random.Random(f"{self._seed} {chain}")
        while not self._over.wait(chance.uniform(*self._pace.calm_s)):
            mishap = chance.choice(
                [may for may in self.chains[chain] if self.records[may.name].count < may.at_most]
            )
            with self._lock:
                self._wait_on()
                self._active.append(mishap)
                self._last[chain] = (mishap, 0)
            self.records[mishap.name].count += 1
            mishap.begin()
            low_s, high_s = (min(self._pace.longest_s, limit_s) for limit_s in mishap.lasts_s)
            self._over.wait(
                low_s * (high_s / low_s) ** chance.random()
            )  # short ones are as frequent as long ones
            mishap.end()
            with self._lock:
                self._active.remove(mishap)
                self._ended[chain] = max(
                    mishap, self._ended.get(chain, mishap), key=lambda over: over.within_s
                )
                self._ended_s = time.perf_counter()

    def _make_good(self, captured_s: float, now_s: float) -> None:
        """Several mishaps that ended together may take as long as all of them, one after the other."""
        took_s = self._waited_s + now_s - self._ended_s
        slowest = max(self._ended.values(), key=lambda mishap: mishap.within_s)
        allowed_s = sum(mishap.within_s for mishap in self._ended.values())
        if took_s > allowed_s:
            late = f"{took_s:.2f} s after its end nothing new was shown, {allowed_s:g} s are allowed"
            self._fault(f"{slowest.name}: {late}")
        elif captured_s < self._ended_s:
            return
        record = self.records[slowest.name]
        record.worst_s = max(record.worst_s, took_s)
        self._ended, self._waited_s = {}, 0.0

    def _wait_on(self) -> None:
        """Another mishap begins, or all is over, and what ended may not have been made good yet."""
        if self._ended and not self._active:
            now_s = time.perf_counter()
            self._make_good(-1.0, now_s)
            self._waited_s += now_s - self._ended_s if self._ended else 0.0

    def _fault(self, what: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(f"at {time.perf_counter():.1f} s, {what}")
