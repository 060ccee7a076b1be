"""From the driver's change of expression to the puppet's AUs: what the engine is told for this photo."""

import numpy as np

from engines.aus import translate
from engines.bundle import Bundle
from engines.expression import ESTIMATED

DEAD_ZONE = 0.03  # the tracker's tremble at rest, measured on still drivers
LIMIT = 1.0


class Retarget:
    """Turns changes (in the estimator's AUs) into what a bundle wants, starting from the photo's own expression."""

    def __init__(self, bundle: Bundle, photo_aus: np.ndarray, strength: float = 1.0):
        self._bundle, self._strength = bundle, strength
        self._own = translate(np.clip(photo_aus, 0, 1), ESTIMATED, bundle.aus)

    def __call__(self, change: np.ndarray) -> np.ndarray:
        """Change (29,) from neutral -> (N,) float32 in the bundle's order and conditioning. No change gives the photo as it is."""
        return self.condition(self.wanted(change))

    def wanted(self, change: np.ndarray) -> np.ndarray:
        """The AU intensities (N,) 0..1 that the puppet should show: a bundle without sides shows the mean of both."""
        calm = np.sign(change) * np.maximum(np.abs(change) - DEAD_ZONE, 0) / (1 - DEAD_ZONE)
        asked = translate(calm * self._strength, ESTIMATED, self._bundle.aus)
        return np.clip(self._own + np.clip(asked, -LIMIT, LIMIT), 0, 1)

    def condition(self, wanted: np.ndarray) -> np.ndarray:
        """Intensities (N,) 0..1 -> the engine's AU input."""
        return (wanted - self._own if self._bundle.conditioning == "relative" else wanted).astype(np.float32)
