"""From the driver's change of expression to the puppet's AUs: what the engine is told for this photo."""

import numpy as np

from engines.bundle import Bundle
from engines.face.action_units import sides, translate, whole
from engines.face.au_estimator import ESTIMATED
from realtime.puppet.settings import Settings


class Retarget:
    """Turns changes (in the estimator's AUs) into what a bundle wants, starting from the photo's own expression.

    `settings` may be put in its place by another at any time: keys do so in a call.
    """

    def __init__(self, bundle: Bundle, photo_aus: np.ndarray, settings: Settings | None = None):
        self._bundle = bundle
        # (N,) 0..1 the photo's own intensities, in the bundle's order
        self.own = translate(np.clip(photo_aus, 0, 1), ESTIMATED[: len(photo_aus)], bundle.aus)
        self.settings = settings or Settings()

    @property
    def settings(self) -> Settings:
        return self._how.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._how = _Tables(
            settings, self._bundle
        )  # one attribute: another thread sees the old ones or the new ones

    def __call__(self, change: np.ndarray) -> np.ndarray:
        """Change (29,) from neutral -> (N,) float32 in the bundle's order and conditioning. No change gives the photo as it is."""
        return self.condition(self.wanted(change))

    def wanted(self, change: np.ndarray) -> np.ndarray:
        """The AU intensities (N,) 0..1 that the puppet should show: a bundle without sides shows the mean of both."""
        return np.clip(self.own + self._how.asked(change), 0, 1)

    def condition(self, wanted: np.ndarray) -> np.ndarray:
        """Intensities (N,) 0..1 -> the engine's AU input."""
        return (wanted - self.own if self._bundle.conditioning == "relative" else wanted).astype(np.float32)


class _Tables:
    """Settings as one number an AU, for one bundle."""

    def __init__(self, settings: Settings, bundle: Bundle):
        self.settings, self._spoken = settings, bundle.aus
        driven = settings.driven()
        self._gain = settings.table("gain") * settings.strength * driven
        self._offset, self._dead = settings.table("offset") * driven, settings.table("dead_zone")
        self._limit = translate(settings.table("limit"), ESTIMATED, bundle.aus)

    def asked(self, change: np.ndarray) -> np.ndarray:
        """Change (29,) from neutral -> (N,) in the bundle's order, both of -1..1."""
        change = np.asarray(change, np.float32)  # as the dead zone is: what is just as large is no larger
        if self.settings.symmetric:
            change = change @ _BOTH_SIDES
        calm = np.sign(change) * np.maximum(np.abs(change) - self._dead, 0) / (1 - self._dead)
        return np.clip(
            translate(calm * self._gain + self._offset, ESTIMATED, self._spoken), -self._limit, self._limit
        )


# (29, 29): every AU -> the mean of its sides.
_BOTH_SIDES = np.array(
    [
        [1 / len(sides(whole(to))) if whole(source) == whole(to) else 0 for to in ESTIMATED]
        for source in ESTIMATED
    ],
    np.float32,
)
