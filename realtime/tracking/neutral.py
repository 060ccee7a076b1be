"""This driver's neutral: measured over the first second in view, then subtracted, so that a resting face
asks for nothing.

It follows the driver's rest afterwards (neutral_drift.py), and holds nothing that a resting face cannot show
(resting_face.py). A clip can be looked through for it first; a profile (driver_profile.py) knows it from the
start, and the driver's range as well. Where the head and the eyes point at rest is a part of it, and never a
profile's.
"""

from collections.abc import Callable

import numpy as np

from engines.face.action_units import EXPRESSION, WIDE, from_opposites, opposites, whole
from realtime.tracking.driver_profile import Profile
from realtime.tracking.neutral_drift import NeutralDrift
from realtime.tracking.resting_face import plausible_rest, resting, with_lips_shut

LEARN_S = 1.0  # of the driver's face in view
AT_LEAST = 8  # readings, however slow the camera
# A second of talking has parted lips in it, and perhaps a blink; rest is what lies below most of it.
REST_PERCENTILE = 20.0
# No AU's neutral is taken higher than this. Brows that are high by nature read 0.9 at rest; more is a
# grimace.
HIGHEST_NEUTRAL = 1.0
# An AU that rests high has less way to go up, which is stretched to reach 1, by this at most: more would
# show the tracker's tremble as an expression.
MOST_STRETCH = 2.5

# What a driver without a profile does, times this, is about as large on the puppet as on them: how far each
# AU moves a distance of `python -m train transfer` on drivers, over how far it does on their puppets. Lips
# and chin (AU10, 17, 18, 20, 22, 23) are what `python -m train strengths` fits, as far as the judges of
# `transfer` agree (train/LOG.md). Brows go by the pictures' darkness, lids by the mesh. AU45 stays:
# a blink is shut.
GENERAL_GAINS: dict[str, float] = {
    "AU01": 0.9,
    "AU02": 0.9,
    "AU04": 0.6,
    "AU05": 1.5,
    "AU07": 0.85,
    "AU10": 0.9,
    "AU12": 1.15,
    "AU15": 0.7,
    "AU17": 0.75,
    "AU18": 0.5,
    "AU20": 1.15,
    "AU22": 0.55,
    "AU23": 0.6,
    "AU25": 1.25,
    "AU26": 0.7,
}
_GENERAL = np.array([GENERAL_GAINS.get(whole(au), 1.0) for au in EXPRESSION], np.float32)


def at_general_strength(change: np.ndarray) -> np.ndarray:
    """A change (41,) from rest, as a driver without a profile of their own shows it -> what is asked of a
    puppet."""
    return np.clip(change * _GENERAL, -1, 1)


class Neutral:
    """Learns a driver's resting AUs from readings, then turns readings into changes from rest."""

    def __init__(self, profile: Profile | None = None, relearn: bool = False) -> None:
        """profile: the driver's own; relearn: its neutral is learnt all the same, only its ranges and
        noise are kept."""
        self._readings: list[np.ndarray] = []
        self._started_s: float | None = None
        self._profile = profile
        self._drift: NeutralDrift | None = NeutralDrift(
            known=profile.neutral if profile and not relearn else None
        )
        # (41,) in the order of EXPRESSION, NaN where it is not known yet; None while nothing is.
        self.neutral: np.ndarray | None = None
        if profile is not None and not relearn:
            pose = np.full(len(EXPRESSION) - len(WIDE), np.nan, np.float32)
            self.neutral = np.concatenate([profile.neutral, pose])
        self.unrest = (
            ""  # what the driver did instead of resting, as in "smiled"; the neutral is estimated then
        )

    @classmethod
    def absent(cls) -> "Neutral":
        """A neutral of zeros, known at once: for a single picture, which has no rest to compare with."""
        known = cls()
        known.neutral, known._drift = np.zeros(len(EXPRESSION), np.float32), None
        return known

    @classmethod
    def of_clip(cls, readings: np.ndarray, profile: Profile | None = None) -> "Neutral":
        """From readings (T, 41) of a whole clip: AUs of its most restful stretch, head and gaze as they are
        most of the time (a face may rest while it looks aside); with a profile only what that does not know.

        Without readings nothing is known, and it is learnt as always.
        """
        known = cls(profile)
        if len(readings):
            rest = np.median(readings[resting(readings), : len(WIDE)], axis=0)
            known._take(with_lips_shut(rest, readings), np.median(opposites(readings), axis=0))
        return known

    @property
    def learning(self) -> bool:
        """Whether a part of it is not known yet."""
        return self.neutral is None or bool(np.isnan(self.neutral).any())

    def learn_and_advise(self, reading: np.ndarray, time_s: float, say: Callable[[str], None]) -> None:
        """`learn`; once it is learnt, a driver who did something else than rest meanwhile is told so."""
        learning = self.learning
        self.learn(reading, time_s)
        if learning and not self.learning and self.unrest:
            say(self._advice())

    def _advice(self) -> str:
        return (
            f"You {self.unrest} while your resting face was measured, so it is estimated: rest your face for "
            "a moment, or press c to measure it again."
        )

    def learn(self, reading: np.ndarray, time_s: float) -> None:
        """Takes one reading (41,) into account: all while the neutral is not known, afterwards those at
        rest."""
        if self.neutral is not None and not self.learning:
            if self._drift:
                self.neutral = self._drift.follow(self.neutral, reading, time_s)
            return
        self._started_s = time_s if self._started_s is None else self._started_s
        self._readings.append(reading)
        if time_s - self._started_s >= LEARN_S and len(self._readings) >= AT_LEAST:
            self.finish()

    def finish(self) -> None:
        """Ends learning with what there is: a low percentile of the readings; nothing was learnt where there
        was none."""
        if self._readings:
            readings, self._readings = np.array(self._readings), []
            rest = np.percentile(readings[:, : len(WIDE)], REST_PERCENTILE, axis=0)
            self._take(rest, np.median(opposites(readings), axis=0))

    def _take(self, rest: np.ndarray, pose: np.ndarray) -> None:
        """What was measured: AUs (29,), and signed head and gaze (6,). What a profile knows stays."""
        rest, unrest = plausible_rest(rest)
        measured = np.concatenate([np.minimum(rest, HIGHEST_NEUTRAL), from_opposites(pose)]).astype(
            np.float32
        )
        if self.neutral is None:
            self.neutral, self.unrest = measured, unrest
            self._drift = self._drift and NeutralDrift(estimated=bool(unrest))
        else:
            self.neutral = np.where(np.isnan(self.neutral), measured, self.neutral)

    def change(self, reading: np.ndarray) -> np.ndarray:
        """A reading (41,) -> (41,) float32 in -1..1: how far from rest, each AU's way up stretched to reach
        1, or as a profile says; head and gaze as they are turned from rest. Zero until learnt."""
        if self.neutral is None:
            return np.zeros(len(EXPRESSION), np.float32)
        known = np.where(np.isnan(self.neutral), reading, self.neutral)
        pose = np.clip(opposites(reading) - opposites(known), -1, 1)
        aus, rest = reading[: len(WIDE)], known[: len(WIDE)]
        if self._profile:
            change = self._profile.change(aus - rest)
        else:
            room = np.maximum(1 - np.maximum(rest, 0), 1 / MOST_STRETCH)
            change = np.where(aus > rest, (aus - rest) / room, aus - rest)
        return np.concatenate([np.clip(change, -1, 1), from_opposites(pose)]).astype(np.float32)
