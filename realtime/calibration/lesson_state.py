"""Twenty seconds of calibration, step by step: what is asked for, whether it was shown, how far it has come.

It is fed readings with their times and knows neither cameras nor windows. Its clock stands while no face is
valid, so a driver who looks away loses nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.face.action_units import WIDE, sides
from engines.face.au_estimator import index
from realtime.calibration.profile_fit import STEP_PERCENTILE, of_steps
from realtime.tracking.driver_profile import Profile

# Seven such steps and a little more of rest are 20 s.
READ_S = 0.8  # to read a line and begin
SHOW_S = 2.0  # to hold
REST_S = 2.4
SHOWN = 0.12  # above rest, of one of the AUs that were asked for: twice what a still face wanders
RESTLESS = 0.15  # the furthest that an AU may wander while rest is learnt
LONGEST_STEP_S = 0.2  # that the clock takes from one reading to the next
TRIES = 2


@dataclass(frozen=True)
class LessonStep:
    """One thing that is asked for."""

    name: str
    prompt: str
    aus: tuple[str, ...]  # any of which says that it was shown; none for rest
    show_s: float = SHOW_S
    bell: bool = False  # at its end: the driver cannot read


STEPS = (
    LessonStep("rest", "Look straight into the camera and rest your face.", (), REST_S),
    LessonStep("smile", "A big smile.", ("AU12",)),
    LessonStep("brows", "Brows up, as far as they go.", ("AU01", "AU02")),
    LessonStep("frown", "Frown, brows together and down.", ("AU04",)),
    LessonStep("eyes", "Shut your eyes; a bell rings when it is over.", ("AU45",), bell=True),
    LessonStep("mouth", "Open your mouth wide.", ("AU26", "AU25")),
    LessonStep("oo", "Say a long 'oo', as in moon.", ("AU18", "AU22")),
)
LESSON_S = sum(READ_S + step.show_s for step in STEPS)


class LessonState:
    """One lesson."""

    def __init__(self, say: Callable[[str], None], ring: Callable[[], None] = lambda: None):
        """
        Args:
            say: called with each sentence for the driver, once.
            ring: called at the end of steps that cannot be seen.
        """
        self._say = say
        self._ring = ring
        self._number = 0  # of the step
        self._try = 1
        self._passed_s = 0.0  # in this step, with a face in view
        self._last_s: float | None = None  # of the last reading
        self._shown: dict[str, np.ndarray] = {}  # readings (T, 29) of steps that were done
        self._readings: list[np.ndarray] = []
        self._first_s = 0.0  # of these readings
        # Times of the first and the last reading of steps that were done.
        self.shown_s: dict[str, tuple[float, float]] = {}
        self.note = ""  # what is wrong with the driver's picture, in two words
        self.missing: list[str] = []  # steps that were not shown
        self._say(self._sentence())

    @property
    def done(self) -> bool:
        return self._number >= len(STEPS)

    @property
    def step(self) -> LessonStep:
        return STEPS[min(self._number, len(STEPS) - 1)]

    @property
    def prompt(self) -> str:
        """What the driver is to do now."""
        if self.done:
            return "Thank you."
        return self.step.prompt if self._try == 1 else f"Once more: {self.step.prompt}"

    @property
    def progress(self) -> float:
        """0..1 of the lesson."""
        before_s = sum(READ_S + step.show_s for step in STEPS[: self._number])
        return min(1.0, (before_s + (0 if self.done else self._passed_s)) / LESSON_S)

    @property
    def holding(self) -> float:
        """0..1 of this step's time to hold; 0 while there is time to begin."""
        return float(np.clip((self._passed_s - READ_S) / self.step.show_s, 0, 1))

    def feed(self, reading: np.ndarray | None, time_s: float, note: str = "") -> None:
        """The reading (29 or more,) of a moment, or None without a valid face; note: why, in two words."""
        elapsed_s = 0.0 if self._last_s is None else min(LONGEST_STEP_S, max(0.0, time_s - self._last_s))
        self._last_s, self.note = time_s, note
        if reading is None or self.done:
            return
        self._passed_s += elapsed_s
        if self._passed_s < READ_S:
            return
        if not self._readings:
            self._first_s = time_s
        self._readings.append(reading)
        if self._passed_s >= READ_S + self.step.show_s:
            self._end_step(np.array(self._readings), time_s)

    def profile(self) -> Profile:
        """The result of a lesson that is done."""
        rest = self._shown[STEPS[0].name]
        steps = [readings for name, readings in self._shown.items() if name != STEPS[0].name]
        return of_steps(rest, steps or [rest])

    def _end_step(self, readings: np.ndarray, time_s: float) -> None:
        if self.step.bell:
            self._ring()
        fault = self._fault(readings)
        self._readings = []
        self._passed_s = 0.0
        if fault and self._try < TRIES:
            self._try += 1
            return self._say(f"{fault} {self._sentence()}")
        if fault:
            self.missing.append(self.step.name)
            self._say(f"{fault} The general range is used for it." if self.step.aus else fault)
        if not fault or not self.step.aus:  # some rest must do
            self._shown[self.step.name] = readings
            self.shown_s[self.step.name] = (self._first_s, time_s)
        self._number += 1
        self._try = 1
        if not self.done:
            self._say(self._sentence())

    def _fault(self, readings: np.ndarray) -> str:
        """What is wrong with a step, as a sentence; "" when nothing is."""
        if not self.step.aus:
            open_eyed = [i for i in range(len(WIDE)) if WIDE[i] not in sides("AU45")]
            away = np.abs(readings - np.median(readings, axis=0))
            wander = np.percentile(away, 90, axis=0)[open_eyed].max()
            return "Your face did not rest." if wander > RESTLESS else ""
        rest = np.median(self._shown[STEPS[0].name], axis=0)
        above = np.percentile(readings, STEP_PERCENTILE, axis=0) - rest
        return "" if above[index(self.step.aus)].max() > SHOWN else f"No {self.step.name} was seen."

    def _sentence(self) -> str:
        return f"{self._number + 1} of {len(STEPS)}: {self.prompt}"
