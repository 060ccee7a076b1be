"""A slow estimator beside the live loop: a thread of its own that looks at the newest frame, and at no other. It holds nobody up.

A fault ends the thread, not the program, and is told once. The estimator is loaded before: importing PyTorch beside a running loop stops
every thread for as much as a second and a half. What the estimates are good for is none of its business: joined.py.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engines.errors import PuppetError
from engines.face.landmarks import Face
from realtime.latest_value import Latest
from realtime.messages import Frame

IDLE_S = 0.1  # how soon the thread hears that it is to end
# After a look it rests as long as that took: a network in PyTorch holds Python's lock for a good part of it, and the cores of a CPU. A lower
# priority instead is worse: a thread that waits for a core with the lock in its hand stops all the others.
LONGEST_REST_S = 0.5
CLOSE_S = 1.0  # for the look that is under way; a program that ends does not wait for a slower one


class Estimator(Protocol):
    """Tells AUs of a face in a frame, in its own time."""

    name: str
    aus: tuple[str, ...]

    def __call__(self, frame_bgr: np.ndarray, face: Face) -> np.ndarray:
        """(H, W, 3) uint8 BGR and the face in it -> (len(aus),) float32."""
        ...


@dataclass(frozen=True)
class Estimate:
    """What an estimator said of one frame."""

    values: np.ndarray  # (N,) float32
    captured_s: float  # of the frame


class BackgroundEstimator:
    """Estimates of the newest frame, in a thread. `newest` is never waited for."""

    def __init__(self, estimator: Estimator, say: Callable[[str], None]):
        self._estimator, self._say, self.name = estimator, say, estimator.name
        self._asked: Latest[tuple[Frame, Face]] = Latest()
        self._ending = threading.Event()
        self.newest: Estimate | None = None
        self.ended = False  # it failed; nothing more will come
        self._thread = threading.Thread(target=self._work, name="puppet second estimator", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that were offered and never looked at."""
        return self._asked.dropped

    def offer(self, frame: Frame, face: Face) -> None:
        """A frame with a face in it; it replaces one that was not looked at."""
        if not self.ended:
            self._asked.put((frame, face))

    def stop(self) -> None:
        """No more looks; waits for nothing."""
        self._ending.set()
        self._asked.close()

    def close(self) -> None:
        self.stop()
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        try:
            while not self._ending.is_set():
                if asked := self._asked.take(IDLE_S):
                    (frame, face), began_s = asked, time.perf_counter()
                    self.newest = Estimate(self._estimator(frame.image, face), frame.captured_s)
                    self._ending.wait(min(time.perf_counter() - began_s, LONGEST_REST_S))
        except PuppetError as error:
            self._end(str(error))
        except Exception as error:  # another's program, in a thread that the picture does not need
            self._end(f"{self.name} failed ({type(error).__name__}: {str(error)[:160]}).")

    def _end(self, fault: str) -> None:
        self.ended = True
        if not self._ending.is_set():
            self._say(f"{fault} Going on with MediaPipe's AUs alone.")


class EveryFrame:
    """The same for files, drawn frame by frame: every frame is looked at, and waited for. Raises what the estimator raises."""

    dropped, ended = 0, False

    def __init__(self, estimator: Estimator):
        self._estimator, self.name = estimator, estimator.name
        self.newest: Estimate | None = None

    def offer(self, frame: Frame, face: Face) -> None:
        self.newest = Estimate(self._estimator(frame.image, face), frame.captured_s)

    def stop(self) -> None:
        pass

    close = stop
