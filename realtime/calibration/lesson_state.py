"""Twenty seconds of calibration, step by step: what is asked for, whether it was shown, how far it has come.

It is fed readings with their times and knows neither cameras nor windows. Its clock stands while no face is
believed, so a driver who looks away loses nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.face.action_units import WIDE, sides
from engines.face.au_estimator import index
from realtime.calibration.profile_fit import STEP_PERCENTILE, of_steps
from realtime.tracking.driver_profile import Profile

READ_S, SHOW_S = (
    0.8,
    2.0,
)  # to read a line and begin; to hold. Seven such steps and a little more of rest are 20 s
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
    """One lesson. `say` is told each sentence once; `ring` at the end of steps that cannot be seen."""

    def __init__(self, say: Callable[[str], None], ring: Callable[[], None] = lambda: None):
        self._say, self._ring = say, ring
        self._number, self._try = 0, 1
        self._passed_s = 0.0  # in this step, with a face in view
        self._last_s: float | None = None
        self._shown: dict[str, np.ndarray] = {}  # readings (T, 29) of steps that were done
        self._readings: list[np.ndarray] = []
        self._first_s = 0.0  # of these readings
        self.shown_s: dict[
            str, tuple[float, float]
        ] = {}  # times of the first and the last reading of steps that were done
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
        return (
            "Thank you."
            if self.done
            else self.step.prompt
            if self._try == 1
            else f"Once more: {self.step.prompt}"
        )

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
        """A reading (29,), or None where no face is to be believed; note: why, in two words."""
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
            self._end_step(np.array(self._readings))

    def profile(self) -> Profile:
        """What came of it, once it is done."""
        steps = [readings for name, readings in self._shown.items() if name != STEPS[0].name]
        return of_steps(self._shown[STEPS[0].name], steps or [self._shown[STEPS[0].name]])

    def _end_step(self, readings: np.ndarray) -> None:
        if self.step.bell:
            self._ring()
        wrong = self._wrong(readings)
        self._readings, self._passed_s = [], 0.0
        if wrong and self._try < TRIES:
            self._try += 1
            return self._say(f"{wrong} {self._sentence()}")
        if wrong:
            self.missing.append(self.step.name)
            self._say(f"{wrong} It is left as it is for everybody." if self.step.aus else wrong)
        if not wrong or not self.step.aus:  # some rest must do
            self._shown[self.step.name], self.shown_s[self.step.name] = (
                readings,
                (self._first_s, self._last_s),
            )
        self._number, self._try = self._number + 1, 1
        if not self.done:
            self._say(self._sentence())

    def _wrong(self, readings: np.ndarray) -> str:
        """What is wrong with a step, as a sentence; "" when nothing is."""
        if not self.step.aus:
            awake = [i for i in range(len(WIDE)) if WIDE[i] not in sides("AU45")]
            wander = np.percentile(np.abs(readings - np.median(readings, axis=0)), 90, axis=0)[awake].max()
            return "Your face did not rest." if wander > RESTLESS else ""
        above = np.percentile(readings, STEP_PERCENTILE, axis=0) - np.median(
            self._shown[STEPS[0].name], axis=0
        )
        return "" if above[index(self.step.aus)].max() > SHOWN else f"No {self.step.name} was seen."

    def _sentence(self) -> str:
        return f"{self._number + 1} of {len(STEPS)}: {self.prompt}"
