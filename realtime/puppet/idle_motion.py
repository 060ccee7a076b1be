"""Idle life: a puppet whose driver sits still or is out of view blinks, stirs, sways and glances, instead of
being a photograph.

A function of the seed and of time alone, so that a take is the same whenever it is drawn.
"""

import math
import random
from dataclasses import replace

import numpy as np

from engines.face.action_units import EXPRESSION, GAZE, WIDE, from_opposites, opposites
from engines.face.au_estimator import index
from realtime.messages import DriverExpression

STILL_S = 4.0  # without a movement; people at rest blink every 3 to 6 s, so a driver in view does so
MOVES = 0.12  # change of an AU within STILL_S that counts as a movement: four times the tracker's tremble
EASE_S = 1.0  # in and out
BLINK_EVERY_S = (2.0, 6.5)  # Bentivoglio et al. 1997: 17 a minute at rest
BLINK_S = 0.26  # shut in a third, open in the rest
STIR_AU = {
    "AU01": 0.10,
    "AU02": 0.07,
    "AU07": 0.08,
    "AU12": 0.09,
    "AU17": 0.06,
    "AU25": 0.05,
}  # largest; above every dead zone
STIR_HZ = (0.05, 0.11, 0.23)  # slow, and of no common measure
SWAY = (0.07, 0.05, 0.05, 0.03)  # turn, nod, tilt, nearness at most, in units of their AUs: 2 degrees
GLANCE_EVERY_S = (3.0, 9.0)  # from the end of one to the next
GLANCE_S = (0.5, 1.6)  # how long it lasts
GLANCE = (0.55, 0.35)  # sideways and up or down at most, in units of their AUs
SACCADE_S = 0.06  # there and back
GAZE_WEIGHT = 0.4  # of gaze in what counts as a movement: people who sit still look around


class IdleMotion:
    """Adds idle life to what the driver asks. For one thread; times must not run backwards."""

    def __init__(self, seed: int = 0):
        self._chance = random.Random(seed)
        phases = [[self._chance.uniform(0, 2 * math.pi) for _ in STIR_HZ] for _ in STIR_AU]
        self._stirs = [
            (index([au]), size, phase) for (au, size), phase in zip(STIR_AU.items(), phases, strict=True)
        ]
        self._blink = index(["AU45"])
        self._next_s: float | None = None  # when the next blink begins
        # Of their own, so that a seed's blinks stay what they are without glances.
        self._glances = random.Random(f"glances {seed}")
        self._sways = [[self._glances.uniform(0, 2 * math.pi) for _ in STIR_HZ] for _ in SWAY]
        self._glance_s: tuple[float, float] | None = None  # when it begins and ends
        self._glance = (0.0, 0.0)
        self._share, self._time_s = 0.0, 0.0
        self._rest: np.ndarray | None = None  # what the driver asked for when they last moved
        self._moved_s = -math.inf

    def over(self, driver: DriverExpression | None, now_s: float) -> DriverExpression:
        """What the driver asks (None: nobody was seen yet) -> what to show."""
        asked = np.zeros(len(EXPRESSION), np.float32) if driver is None else driver.expression
        lost = driver is None or not driver.seen
        if self._rest is None or (not lost and (np.abs(asked - self._rest) * _WEIGHTS).max() > MOVES):
            self._rest, self._moved_s = asked, now_s
        wanted = 1.0 if lost or now_s - self._moved_s > STILL_S else 0.0
        step = (now_s - self._time_s) / EASE_S if self._next_s is not None else 0.0
        self._share += max(-step, min(step, wanted - self._share))
        self._time_s = now_s
        driver = driver or DriverExpression(asked, 0.0, seen=False)  # of no frame: it has no age
        life = self._life(now_s)
        signed = opposites(asked) + np.float32(self._share) * self._pose(now_s)
        face = asked[:_FACE] + self._share * life[:_FACE]
        expression = np.concatenate([face, from_opposites(signed)])
        return replace(driver, expression=np.clip(expression, -1, 1).astype(np.float32))

    def _life(self, now_s: float) -> np.ndarray:
        """(41,): the idle movement at full share."""
        life = np.zeros(len(EXPRESSION), np.float32)
        for places, size, phases in self._stirs:
            wave = sum(
                math.sin(2 * math.pi * hz * now_s + phase) for hz, phase in zip(STIR_HZ, phases, strict=True)
            )
            life[places] = size * max(0.0, wave / len(STIR_HZ))
        if self._next_s is None:
            self._next_s = now_s + self._chance.uniform(*BLINK_EVERY_S)
        while now_s >= self._next_s + BLINK_S:
            self._next_s += self._chance.uniform(*BLINK_EVERY_S)
        if (into := (now_s - self._next_s) / BLINK_S) > 0:
            life[self._blink] = into * 3 if into < 1 / 3 else (1 - into) * 1.5
        return life

    def _pose(self, now_s: float) -> np.ndarray:
        """(6,) float32, as action_units.opposites: the sway of the head and the glance of the eyes at full
        share.
        """
        sway = [
            size
            * sum(
                math.sin(2 * math.pi * hz * now_s + phase) for hz, phase in zip(STIR_HZ, phases, strict=True)
            )
            for size, phases in zip(SWAY, self._sways, strict=True)
        ]
        chance = self._glances
        while self._glance_s is None or now_s >= self._glance_s[1]:
            start_s = (now_s if self._glance_s is None else self._glance_s[1]) + chance.uniform(
                *GLANCE_EVERY_S
            )
            self._glance_s = start_s, start_s + chance.uniform(*GLANCE_S)
            self._glance = chance.uniform(-GLANCE[0], GLANCE[0]), chance.uniform(-GLANCE[1], GLANCE[1])
        start_s, end_s = self._glance_s
        share = max(0.0, min(1.0, (now_s - start_s) / SACCADE_S, (end_s - now_s) / SACCADE_S))
        return np.array(
            [*(value / len(STIR_HZ) for value in sway), *(share * value for value in self._glance)],
            np.float32,
        )


_FACE = len(WIDE)
_WEIGHTS = np.array([GAZE_WEIGHT if au in GAZE else 1 for au in EXPRESSION], np.float32)
