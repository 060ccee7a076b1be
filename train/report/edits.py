"""Edits by name: the engine's inputs that bring AUs to a level, and the result drawn on the crop."""

import numpy as np

from engines.backends.interface import Engine
from engines.blend import compose
from engines.face import au_estimator
from engines.face.action_units import WIDE, translate

LEVELS = (0.0, 0.33, 0.66, 1.0)  # at which single AUs are shown and swept; the paper's figure 4
SMILE = ("AU06", "AU12", "AU25", "AU26")  # a full smile with an open mouth: the strongest common edit
# Expressions that reports and figures show: name, AUs, level.
EXPRESSIONS: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("smile", ("AU06", "AU12", "AU25"), 1.0),
    ("open mouth", ("AU25", "AU26"), 1.0),
    ("surprise", ("AU01", "AU02", "AU05", "AU25", "AU26"), 0.9),
    ("frown", ("AU04", "AU07", "AU15", "AU17"), 1.0),
    ("disgust", ("AU04", "AU09", "AU10"), 1.0),
    ("eyes shut", ("AU45",), 1.0),
    ("wink", ("AU06L", "AU12L", "AU45L"), 1.0),
)


def wanted_at(own: np.ndarray, names: tuple[str, ...], level: float) -> np.ndarray:
    """A photo's own intensities (29,) with the named AUs at `level`, float32; no side means both."""
    wanted = np.array(own, np.float32)
    wanted[au_estimator.index(names)] = level
    return wanted


def engine_input(engine: Engine, own: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The engine's AU input (N,) float32 that brings a photo from its own intensities to others (29,)."""
    given = wanted - own if engine.bundle.conditioning == "relative" else wanted
    return translate(given, WIDE, engine.bundle.aus)


def level_input(engine: Engine, own: np.ndarray, names: tuple[str, ...], level: float) -> np.ndarray:
    """The engine's AU input (N,) float32 that brings the named AUs from a photo's own (29,) to `level`.

    No names give the photo again.
    """
    return engine_input(engine, own, wanted_at(own, names, level))


def edited(
    engine: Engine, crop: np.ndarray, own: np.ndarray, names: tuple[str, ...], level: float = 1.0
) -> np.ndarray:
    """The crop (S, S, 3) uint8 with the named AUs at `level`."""
    return compose(crop, engine.run(crop, level_input(engine, own, names, level)))
