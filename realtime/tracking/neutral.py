"""This driver's neutral: measured over the first second in view, then subtracted, so that a resting face asks for nothing.

It follows the driver's rest afterwards (realtime/tracking/neutral_drift.py). A profile (realtime/tracking/driver_profile.py) knows it from the start, and the
driver's range as well.
"""

import numpy as np

from realtime.tracking.driver_profile import Profile
from realtime.tracking.neutral_drift import NeutralDrift

LEARN_S = 1.0  # of the driver's face in view
AT_LEAST = 8  # readings, however slow the camera
# A second of talking has parted lips in it, and perhaps a blink; rest is what lies below most of it.
REST_PERCENTILE = 20.0
# No AU's neutral is taken higher than this: who starts with a grin still gets most of it through.
HIGHEST_NEUTRAL = 0.6


class Neutral:
    """Learns a driver's resting AUs from readings, then turns readings into changes from rest."""

    def __init__(self, profile: Profile | None = None, anew: bool = False) -> None:
        """profile: the driver's own; anew: its neutral is learnt all the same, only its ranges and noise are kept."""
        self._readings: list[np.ndarray] = []
        self._started_s: float | None = None
        self._profile = profile
        self.neutral: np.ndarray | None = (
            None if profile is None or anew else profile.neutral
        )  # (N,) 0..1 once learnt
        self._drift: NeutralDrift | None = NeutralDrift()

    @classmethod
    def absent(cls, count: int) -> "Neutral":
        """A neutral of zeros, known at once: for a single picture, which has no rest to compare with."""
        known = cls()
        known.neutral, known._drift = np.zeros(count, np.float32), None
        return known

    def learn(self, aus: np.ndarray, time_s: float) -> None:
        """Takes one reading (N,) into account: all while the neutral is not known, afterwards those at rest."""
        if self.neutral is not None:
            if self._drift:
                self.neutral = self._drift.follow(self.neutral, aus, time_s)
            return
        self._started_s = time_s if self._started_s is None else self._started_s
        self._readings.append(aus)
        if time_s - self._started_s >= LEARN_S and len(self._readings) >= AT_LEAST:
            self.finish()

    def finish(self) -> None:
        """Ends learning with what there is: a low percentile of the readings; nothing was learnt where there was none."""
        if self._readings:
            self.neutral = np.minimum(
                np.percentile(self._readings, REST_PERCENTILE, axis=0), HIGHEST_NEUTRAL
            ).astype(np.float32)
            self._readings = []

    def change(self, aus: np.ndarray) -> np.ndarray:
        """(N,) intensities -> (N,) float32 in -1..1: how far from rest, each AU's way up stretched to reach 1, or as a
        profile says. Zero until learnt."""
        if self.neutral is None:
            return np.zeros_like(aus, np.float32)
        if self._profile:
            return self._profile.change(aus - self.neutral)
        raised = (aus - self.neutral) / (1 - self.neutral)
        return np.where(aus > self.neutral, raised, aus - self.neutral).astype(np.float32)
