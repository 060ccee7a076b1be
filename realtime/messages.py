"""The values that pass between the stages of the live loop.

Pictures are (H, W, 3) uint8 BGR; times are `time.perf_counter()` seconds.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np


@dataclass(frozen=True)
class Frame:
    """A picture of the driver."""

    image: np.ndarray  # (H, W, 3) uint8 BGR
    captured_s: float  # when the device handed it over; age is measured from here


class NotYet(Enum):
    """What `LiveFrames.read` returns when there is no frame at the moment."""

    NOT_YET = "not yet"


NOT_YET = NotYet.NOT_YET


@dataclass(frozen=True)
class DriverExpression:
    """The driver's expression at one moment, as the change of AUs from their neutral."""

    expression: np.ndarray  # (41,) float32, -1 to 1, in the order of action_units.EXPRESSION
    captured_s: float  # of the driver's frame that it comes from
    seen: bool  # whether the driver's face was in view and could be tracked
    # what is wrong with the driver's picture, in two words for a screen: "face lost"; "" for nothing
    note: str = ""


@dataclass(frozen=True)
class RenderedFrame:
    """A finished picture of the puppet, on its way out."""

    image: np.ndarray  # (H, W, 3) uint8 BGR; never changed, as it may be sent twice
    captured_s: float  # of the driver's frame behind it
