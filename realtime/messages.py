"""The values that pass between the stages of the live loop. Pictures are BGR uint8; times are `time.perf_counter()` seconds."""

from dataclasses import dataclass
from enum import Enum

import numpy as np


@dataclass(frozen=True)
class Frame:
    """A picture of the driver."""

    image: np.ndarray  # (H, W, 3) uint8 BGR
    captured_s: float  # when the device handed it over; age is measured from here


class NotYet(Enum):
    """What a live driver's `read` says when it has no frame at the moment: ask again."""

    NOT_YET = "not yet"


NOT_YET = NotYet.NOT_YET


@dataclass(frozen=True)
class DriverExpression:
    """What the puppet is told: the change of AUs that the driver asks for at one moment."""

    expression: (
        np.ndarray
    )  # (41,) float32, -1..1 from the driver's neutral, in the order of action_units.EXPRESSION
    captured_s: float  # of the driver's frame that it comes from
    seen: bool  # whether the driver's face was in view and could be read
    note: str = ""  # two words for a screen on what is wrong with the driver's picture: "face lost"; "" when nothing is


@dataclass(frozen=True)
class RenderedFrame:
    """A finished picture of the puppet, on its way out."""

    image: np.ndarray  # (H, W, 3) uint8 BGR; read-only by convention, it may be sent twice
    captured_s: float  # of the driver's frame behind it
