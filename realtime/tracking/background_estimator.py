"""A slow estimator beside the live loop: its own thread takes the newest frame and skips the others.

An error ends the thread, not the program, and is reported once. The estimator is loaded before: importing
PyTorch while the loop runs stops every thread for as much as a second and a half. What the estimates are used
for: estimator_fusion.py.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engines.errors import PuppetError
from engines.face.landmarks import Face
from engines.foreign_errors import one_line
from realtime.latest_value import Latest
from realtime.messages import Frame
from realtime.process.worker import Worker

POLL_S = 0.1  # how soon the thread sees that it is to end
# After an estimate the thread pauses for as long as that took: a network in PyTorch holds Python's lock for a
# good part of it, and the cores of a CPU. A lower priority instead is worse: a thread that waits for a core
# while it holds the lock stops all the others.
LONGEST_PAUSE_S = 0.5
CLOSE_S = 1.0  # for the estimate that is under way; a program that ends does not wait for a slower one


class Estimator(Protocol):
    """Estimates AUs of a face in a frame, however long that takes."""

    name: str
    aus: tuple[str, ...]

    def __call__(self, frame_bgr: np.ndarray, face: Face) -> np.ndarray:
        """Returns the AUs, (len(aus),) float32.

        Args:
            frame_bgr: (H, W, 3) uint8 BGR.
            face: the face in it.
        """
        ...


@dataclass(frozen=True)
class Estimate:
    """What an estimator returned for one frame."""

    values: np.ndarray  # (N,) float32
    captured_s: float  # of the frame


class EstimateSource(Protocol):
    """Estimates of frames that it is offered: of the newest in a thread, or of every frame."""

    name: str
    newest: Estimate | None  # None before the first

    @property
    def ended(self) -> bool:
        """Whether it failed, so that no more estimates come."""
        ...

    def offer(self, frame: Frame, face: Face) -> None:
        """Hands over a frame with a face in it."""
        ...

    def stop(self) -> None:
        """Ends estimating, without waiting."""
        ...

    def close(self) -> None:
        """Ends estimating; may wait up to CLOSE_S."""
        ...


class BackgroundEstimator:
    """Estimates of the newest frame, in a thread. Neither `offer` nor `newest` waits."""

    def __init__(self, estimator: Estimator, notify: Callable[[str], None]):
        """
        Args:
            estimator: called in the thread.
            notify: called with a sentence, from the thread, when the estimator fails.
        """
        self.name = estimator.name
        self.newest: Estimate | None = None
        self.ended = False
        self._estimator = estimator
        self._notify = notify
        self._offered: Latest[tuple[Frame, Face]] = Latest()
        self._worker = Worker(self._run, "puppet second estimator", self._fail)
        self._worker.start()

    @property
    def dropped(self) -> int:
        """How many frames were offered and never estimated."""
        return self._offered.dropped

    def offer(self, frame: Frame, face: Face) -> None:
        """Hands over a frame with a face in it; it replaces one that is still waiting."""
        if not self.ended:
            self._offered.put((frame, face))

    def stop(self) -> None:
        """Ends estimating, without waiting."""
        self._worker.stop()
        self._offered.close()

    def close(self) -> None:
        """Ends estimating; waits up to CLOSE_S."""
        self.stop()
        self._worker.join(CLOSE_S)

    def _run(self) -> None:
        while not self._worker.stopping:
            if offered := self._offered.take(POLL_S):
                frame, face = offered
                began_s = time.perf_counter()
                self.newest = Estimate(self._estimator(frame.image, face), frame.captured_s)
                self._worker.wait(min(time.perf_counter() - began_s, LONGEST_PAUSE_S))

    def _fail(self, error: BaseException) -> None:
        self.ended = True
        if self._worker.stopping:
            return
        if isinstance(error, PuppetError):
            sentence = str(error)
        else:  # of a foreign library, in a thread that the live loop can do without
            reason = one_line(error) if isinstance(error, Exception) else type(error).__name__
            sentence = f"{self.name} failed ({reason})."
        self._notify(f"{sentence} Going on with MediaPipe's AUs alone.")


class EveryFrame:
    """Estimates of every frame, for files, which are waited for. Raises what the estimator raises."""

    dropped = 0
    ended = False

    def __init__(self, estimator: Estimator):
        self.name = estimator.name
        self.newest: Estimate | None = None
        self._estimator = estimator

    def offer(self, frame: Frame, face: Face) -> None:
        """Estimates a frame with a face in it."""
        self.newest = Estimate(self._estimator(frame.image, face), frame.captured_s)

    def stop(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is open."""
