"""From the driver's change of expression to the puppet's AUs, head pose and gaze for this photo."""

import numpy as np

from engines.bundle import Bundle
from engines.face.action_units import (
    EXPRESSION,
    GAZE,
    GAZE_FULL_SIDEWAYS,
    GAZE_FULL_UPWARDS,
    HEAD,
    HEAD_FULL_DEG,
    NEARNESS_FULL,
    from_opposites,
    gaze,
    head_pose,
    opposites,
    sides,
    translate,
    whole,
)
from realtime.puppet.combination import combined
from realtime.puppet.eyes import Gaze
from realtime.puppet.head import HeadPose
from realtime.puppet.settings import FOLLOWING, Settings


class Retarget:
    """Turns changes (in the estimator's AUs) into what a bundle wants, starting from the photo's own
    expression.

    `settings` may be put in its place by another at any time: keys do so in a call.
    """

    def __init__(self, bundle: Bundle, photo_aus: np.ndarray, settings: Settings | None = None):
        self._bundle = bundle
        # (N,) 0..1 the photo's own intensities, in the bundle's order
        self.own = translate(np.clip(photo_aus, 0, 1), EXPRESSION[: len(photo_aus)], bundle.aus)
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
        """Change (41,) from neutral -> (N,) float32 in the bundle's order and conditioning.

        No change gives the photo as it is.
        """
        return self.condition(self.wanted(change))

    def wanted(self, change: np.ndarray) -> np.ndarray:
        """The AU intensities (N,) 0..1 that the puppet should show: a bundle without sides shows the mean of
        both.
        """
        return np.clip(self.own + self._how.asked(change), 0, 1)

    def pose(self, change: np.ndarray) -> HeadPose:
        """Where the head goes for a change (41,) from neutral, relative to the photo's own pose."""
        turn, nod, tilt, near = (float(value) for value in head_pose(self._how.limited(change)))
        if not (turn or nod or tilt or near):
            return HeadPose()
        return HeadPose(
            pitch_deg=-nod * HEAD_FULL_DEG,
            yaw_deg=turn * HEAD_FULL_DEG,  # the person's left is the picture's right
            roll_deg=tilt * HEAD_FULL_DEG,
            scale=NEARNESS_FULL**near,
        )

    def gaze(self, change: np.ndarray) -> Gaze:
        """Where the eyes look for a change (41,) from neutral, relative to the photo's own gaze."""
        sideways, upwards = (float(value) for value in gaze(self._how.limited(change)))
        if not (sideways or upwards):
            return Gaze()
        return Gaze(right=sideways * GAZE_FULL_SIDEWAYS, down=-upwards * GAZE_FULL_UPWARDS)

    def target_pose(self, change: np.ndarray) -> np.ndarray:
        """HEAD and GAZE (12,) float32 that `pose` and `gaze` are made of."""
        return from_opposites(opposites(self._how.limited(change)))

    def condition(self, wanted: np.ndarray) -> np.ndarray:
        """Intensities (N,) 0..1 -> the engine's AU input."""
        return (wanted - self.own if self._bundle.conditioning == "relative" else wanted).astype(np.float32)


class _Tables:
    """Settings as one number an AU, for one bundle."""

    def __init__(self, settings: Settings, bundle: Bundle):
        self.settings, self._spoken = settings, bundle.aus
        driven = settings.driven()
        strength = np.full(len(EXPRESSION), settings.strength, np.float32)
        strength[_HEAD], strength[_GAZE] = settings.head, settings.gaze
        self._gain = settings.table("gain") * strength * driven
        self._offset, self._dead = settings.table("offset") * driven, settings.table("dead_zone")
        self._limit = settings.table("limit")
        self._spoken_limit = translate(self._limit, EXPRESSION, bundle.aus)

    def asked(self, change: np.ndarray) -> np.ndarray:
        """Change (41,) from neutral -> (N,) in the bundle's order, both of -1..1."""
        asked = translate(combined(self._scaled(change)), EXPRESSION, self._spoken)
        return np.clip(asked, -self._spoken_limit, self._spoken_limit)

    def limited(self, change: np.ndarray) -> np.ndarray:
        """Change (41,) from neutral -> (41,), of which head and gaze are followed; with gains above 1 they
        may leave -1..1.
        """
        return np.clip(self._scaled(change), -self._limit * _ROOM, self._limit * _ROOM)

    def _scaled(self, change: np.ndarray) -> np.ndarray:
        change = np.asarray(change, np.float32)  # as the dead zone is: what is just as large is no larger
        if self.settings.symmetric:
            change = change @ _BOTH_SIDES
        calm = np.sign(change) * np.maximum(np.abs(change) - self._dead, 0) / (1 - self._dead)
        return calm * self._gain + self._offset


_HEAD = [EXPRESSION.index(au) for au in HEAD]
_GAZE = [EXPRESSION.index(au) for au in GAZE]
_ROOM = FOLLOWING[1]  # a head or gaze at 150 % may go as far

# (41, 41): every AU -> the mean of its sides.
_BOTH_SIDES = np.array(
    [
        [1 / len(sides(whole(to))) if whole(source) == whole(to) else 0 for to in EXPRESSION]
        for source in EXPRESSION
    ],
    np.float32,
)
