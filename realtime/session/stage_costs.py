"""Where the processor time of a picture goes: the live loop's stages in turn, with nothing beside them.

Measured from outside, so that the stages themselves hold no clocks: while it measures, the functions of
STAGES are replaced by ones that count what the whole process spends in them (the threads of MediaPipe,
OpenVINO and OpenCV included), less what they spend in one another.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np

from engines.blend import Blender
from engines.face import au_estimator
from engines.face.landmarks import FaceReader
from realtime.messages import Frame
from realtime.puppet.animator import Animator
from realtime.puppet.eyes import Eyes
from realtime.puppet.head import HeadGeometry
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.tracking.expression_tracker import ExpressionTracker
from realtime.tracking.face_validator import FaceValidator

# What is counted under which name, in the order of a frame's life. `owner` is a class or a module.
STAGES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("colour conversion", FaceReader, ("_image",)),
    ("landmarks", FaceReader, ("follow", "_faces")),
    ("upside down?", FaceReader, ("_stands_upright",)),
    ("validation", FaceValidator, ("view", "validate")),
    ("AUs", au_estimator, ("read",)),
    ("rest and smoothing", ExpressionTracker, ("__call__",)),
    ("retargeting", Retarget, ("__call__", "pose", "gaze")),
    ("eyes", Eyes, ("look",)),
    ("generator", Puppet, ("edit",)),
    ("face: flow and colour", Blender, ("blend",)),
    ("head: map", HeadGeometry, ("displacement",)),
    ("head: person and flow", Blender, ("blend_moved",)),
    ("head: colour", Blender, ("_paint",)),
    ("rest of drawing", Animator, ("show",)),
)
WARM_FRAMES = 60  # two seconds, in which the driver's rest is learnt, too
FRAME_S = 1 / 30  # of the driver's


class _Counter:
    """Seconds of processor time by stage, each without those of the stages inside."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {name: 0.0 for name, _, _ in STAGES}
        self._inside: list[float] = []  # of each call under way, what the calls in it took

    def counted(self, name: str, function: Any) -> Any:
        """The function, counted under a name."""

        @wraps(function)
        def call(*given: Any, **options: Any) -> Any:
            self._inside.append(0.0)
            started_s = time.process_time()
            try:
                return function(*given, **options)
            finally:
                took_s = time.process_time() - started_s
                self.seconds[name] += took_s - self._inside.pop()
                if self._inside:
                    self._inside[-1] += took_s

        return call


@contextmanager
def _counting() -> Iterator[_Counter]:
    counter = _Counter()
    before = [
        (owner, function, vars(owner)[function]) for _, owner, functions in STAGES for function in functions
    ]
    try:
        for name, owner, functions in STAGES:
            for function in functions:
                found = vars(owner)[function]
                is_static = isinstance(found, staticmethod)
                counted = counter.counted(name, found.__func__ if is_static else found)
                setattr(owner, function, staticmethod(counted) if is_static else counted)
        yield counter
    finally:
        for owner, function, found in before:
            setattr(owner, function, found)


def measure(
    frames: Sequence[np.ndarray], tracker: ExpressionTracker, animator: Animator, pictures: int
) -> dict[str, float]:
    """Core-milliseconds of a picture by stage, of one thread that does all in turn.

    Args:
        frames: of the driver, (H, W, 3) uint8 BGR, over and over.
        tracker, animator: new ones.
        pictures: that are measured, after WARM_FRAMES.
    """

    def draw(number: int) -> None:
        time_s = number * FRAME_S
        animator.show(tracker(Frame(frames[number % len(frames)], time_s)), time_s)

    for number in range(WARM_FRAMES):
        draw(number)
    with _counting() as counter:
        for number in range(WARM_FRAMES, WARM_FRAMES + pictures):
            draw(number)
    return {name: round(seconds / pictures * 1000, 2) for name, seconds in counter.seconds.items()}
