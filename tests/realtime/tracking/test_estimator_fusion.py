"""Two estimators as one: what comes from which, and what happens when the slow one is late, silent, or gone. Its times are the frames'."""

import threading
import time

import numpy as np
import pytest

from engines.errors import EngineError
from engines.face import au_estimator, pyfeat
from engines.face.action_units import PAPER_17, WIDE, sides, wholes
from engines.face.au_estimator import ESTIMATED
from engines.face.landmarks import Face
from engines.face.pyfeat import AUS, Scale
from realtime.messages import Frame
from realtime.sources.clip import Clip
from realtime.timing import Timings
from realtime.tracking import estimator_fusion
from realtime.tracking.background_estimator import BackgroundEstimator, Estimate, EveryFrame
from realtime.tracking.estimator_fusion import (
    FADE_S,
    FROM_SLOW,
    SILENT_S,
    SOURCES,
    FusedEstimator,
    open_second,
)
from realtime.tracking.expression_tracker import ExpressionTracker
from tests.conftest import SAMPLES
from tests.support.fakes import speak

FACE = Face(np.zeros((478, 2), np.float32), np.zeros(478, np.float32), np.zeros(52, np.float32))
FPS = 30.0


class Scripted:
    """A slow estimator that answers every `period_s` with what `says` says of the frame `delay_s` ago; mute or ended at will."""

    name = "the slow one"

    def __init__(self, says, period_s: float = 1 / 15, delay_s: float = 1 / 30):
        self._says, self.period_s, self.delay_s = says, period_s, delay_s
        self.newest, self.ended, self.mute, self.stopped, self.closed = None, False, False, False, False

    def offer(self, frame: Frame, _face: Face) -> None:
        of_s = frame.captured_s - self.delay_s
        if (
            not self.mute
            and not self.ended
            and (self.newest is None or of_s >= self.newest.captured_s + self.period_s - 1e-6)
        ):
            self.newest = Estimate(np.float32(self._says(of_s)), of_s)

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed = True


class Stage:
    """Plays frames to a FusedEstimator at 30 a second and keeps what comes out."""

    def __init__(self, slow, scale: Scale | None = None):
        self.slow, self.said, self.now_s, self.out = slow, [], 100.0, []
        self.joined = FusedEstimator(slow, self.said.append, scale)

    def play(self, seconds: float, **fast: float) -> np.ndarray:
        """(frames, 41) what came out in this time."""
        start = len(self.out)
        for _ in range(round(seconds * FPS)):
            self.now_s += 1 / FPS
            self.out.append(
                self.joined(speak(ESTIMATED, **fast), Frame(np.zeros((4, 4, 3), np.uint8), self.now_s), FACE)
            )
        return np.array(self.out[start:])


def probabilities(**aus: float) -> np.ndarray:
    return np.array([aus.get(au, pyfeat.REST) for au in AUS], np.float32)


def of(change: np.ndarray, au: str) -> np.ndarray:
    return change[..., au_estimator.index((au,))].mean(axis=-1)


FULL_AU09 = probabilities(AU09=pyfeat.FULL)


def test_every_au_has_one_source_and_a_reason():
    assert set(SOURCES) == set(wholes(WIDE)) and all(better.reason for better in SOURCES.values())
    assert set(FROM_SLOW) <= set(AUS) and all(SOURCES[au].oldest_s > 0 for au in FROM_SLOW)
    assert "AU45" not in FROM_SLOW, "a blink is over before a slow answer is there"


def test_aus_that_the_slow_one_sees_better_come_from_it_and_the_others_do_not():
    everything = np.full(len(AUS), pyfeat.FULL, np.float32)
    stage = Stage(Scripted(lambda _s: everything), Scale.default())
    last = stage.play(2, AU12=0.3, AU09=0.1)[-1]
    for au in FROM_SLOW:
        assert of(last, au) == pytest.approx(1)
    others = [au for au in wholes(ESTIMATED) if au not in FROM_SLOW]
    assert last[au_estimator.index(others)] == pytest.approx(
        speak(ESTIMATED, AU12=0.3)[au_estimator.index(others)]
    )
    assert last.dtype == np.float32 and last.shape == (41,)


def test_the_sides_differ_as_mediapipe_says():
    stage = Stage(Scripted(lambda _s: probabilities(AU06=0.55)), Scale.default())
    right, left = stage.play(2, AU06R=0.5, AU06L=0.1)[-1][au_estimator.index(("AU06",))]
    assert right - left == pytest.approx(0.4) and (right + left) / 2 == pytest.approx(0.5)


def test_a_rest_of_its_own_is_learnt_and_asks_for_nothing():
    stage = Stage(Scripted(lambda _s: probabilities(AU06=0.5, AU15=0.4)))
    assert not stage.play(1).any(), "nothing is taken from it before its rest is known"
    rested = stage.play(2, AU06=0.2)
    assert of(rested[-1], "AU06") == pytest.approx(0, abs=1e-6) and of(rested[-1], "AU15") == pytest.approx(
        0, abs=1e-6
    )


def test_its_rest_is_learnt_anew_when_the_driver_says_so():
    level = {"AU06": 0.3}
    stage = Stage(Scripted(lambda _s: probabilities(**level)))
    stage.play(2)
    level["AU06"] = 0.6
    assert of(stage.play(2)[-1], "AU06") == pytest.approx(0.5, abs=0.01)
    stage.joined.relearn()
    assert of(stage.play(3)[-1], "AU06") == pytest.approx(0, abs=0.01)


def test_with_a_profiles_scale_it_is_used_at_once_and_only_the_rest_is_learnt_anew():
    level = {"AU06": 0.5}
    own = Scale.of_driver(np.full(len(AUS), 0.3), np.full(len(AUS), 0.7))
    stage = Stage(Scripted(lambda _s: probabilities(**level)), own)
    assert of(stage.play(0.6)[-1], "AU06") == pytest.approx(0.5, abs=0.01)
    level["AU06"] = 0.4
    stage.joined.relearn()
    assert of(stage.play(3)[-1], "AU06") == pytest.approx(0, abs=0.01)
    level["AU06"] = 0.55
    assert of(stage.play(2)[-1], "AU06") == pytest.approx(0.5, abs=0.01), (
        "half the way from the new rest to the driver's own full"
    )


def test_between_answers_an_au_glides_and_does_not_jump():
    stage = Stage(
        Scripted(lambda s: FULL_AU09 if s > 103 else probabilities(), period_s=0.3, delay_s=0.2),
        Scale.default(),
    )
    stage.play(3)
    risen = of(stage.play(2), "AU09")
    assert risen[-1] == pytest.approx(1)
    assert np.diff(risen).max() < 1.3 / (0.3 * FPS), "spread over the time between two answers"
    assert (np.diff(risen) >= -1e-6).all()


def test_answers_that_are_always_too_old_are_not_used_and_no_more_are_asked_for():
    stage = Stage(Scripted(lambda _s: FULL_AU09, period_s=0.9, delay_s=0.8), Scale.default())
    assert of(stage.play(10), "AU09").max() == 0
    assert stage.slow.stopped and len(stage.said) == 1 and "too slow here" in stage.said[0]
    last = stage.slow.newest
    stage.play(SILENT_S + 1)
    assert stage.slow.newest is last and len(stage.said) == 1, "and that is no silence to be told"


def test_a_machine_that_is_busy_for_a_while_does_not_end_it():
    slow = Scripted(lambda _s: FULL_AU09)
    stage = Stage(slow, Scale.default())
    stage.play(2)
    slow.period_s, slow.delay_s = 1.2, 1.0
    assert of(stage.play(8), "AU09")[-1] == 0
    slow.period_s, slow.delay_s = 0.1, 0.1
    assert of(stage.play(4), "AU09")[-1] == pytest.approx(1) and not slow.stopped


def test_a_slow_one_that_falls_silent_is_left_smoothly_told_once_and_taken_up_again():
    stage = Stage(Scripted(lambda _s: FULL_AU09), Scale.default())
    assert of(stage.play(2, AU09=0.2)[-1], "AU09") == pytest.approx(1)
    told = len(stage.said)
    stage.slow.mute = True
    left = of(stage.play(SILENT_S + 1, AU09=0.2), "AU09")
    assert left[-1] == pytest.approx(0.2) and np.abs(np.diff(left)).max() < 1.2 * 0.8 / (FADE_S * FPS)
    assert [text for text in stage.said[told:] if "has not answered" in text] == stage.said[told:] and len(
        stage.said
    ) == told + 1
    stage.slow.mute = False
    back = of(stage.play(2, AU09=0.2), "AU09")
    assert back[-1] == pytest.approx(1) and np.abs(np.diff(back)).max() < 1.2 * 0.8 / (FADE_S * FPS)
    assert stage.said[told + 1 :] == ["the slow one answers again."]


def test_one_that_died_is_left_at_once_and_smoothly():
    stage = Stage(Scripted(lambda _s: FULL_AU09), Scale.default())
    stage.play(2)
    stage.slow.ended = True
    left = of(stage.play(FADE_S + 0.1), "AU09")
    assert left[-1] == 0 and np.abs(np.diff(left)).max() < 1.2 / (FADE_S * FPS)


def test_a_driver_out_of_view_is_no_silence():
    stage = Stage(Scripted(lambda _s: FULL_AU09), Scale.default())
    stage.play(2)
    told = len(stage.said)
    stage.now_s += 60
    stage.play(2)
    assert len(stage.said) == told


def test_a_scale_rises_and_noise_is_never_stretched_to_an_expression():
    scale = Scale.of_driver(np.full(17, 0.4), np.where(np.arange(17) < 8, 0.8, 0.45))
    values = np.array([scale.intensities(np.full(17, p)) for p in np.linspace(0, 1, 50)])
    assert values.min() == 0 and values.max() == 1 and (np.diff(values, axis=0) >= 0).all()
    assert scale.full[0] == pytest.approx(0.8) and (scale.full[8:] - 0.4 >= pyfeat.LEAST_RANGE).all()
    assert not scale.change(scale.rest).any() and scale.change(np.zeros(17)).min() > -0.3


class Counting:
    """An estimator that waits to be let through, and notes what it was shown."""

    name, aus = "counting", AUS

    def __init__(self):
        self.shown, self.gate, self.looking = [], threading.Event(), threading.Event()

    def __call__(self, frame_bgr, _face):
        self.shown.append(int(frame_bgr[0, 0, 0]))
        self.looking.set()
        self.gate.wait(10)
        return np.full(17, 0.5, np.float32)


def wait_for(condition) -> None:
    end_s = time.perf_counter() + 10
    while not condition():
        assert time.perf_counter() < end_s
        time.sleep(0.002)


def numbered(number: int) -> Frame:
    return Frame(np.full((4, 4, 3), number, np.uint8), 100 + number / FPS)


def test_offers_never_wait_and_only_the_newest_is_looked_at():
    estimator = Counting()
    slow = BackgroundEstimator(estimator, print)
    try:
        slow.offer(numbered(1), FACE)
        assert estimator.looking.wait(10)
        for number in range(2, 100):  # all of them while it looks at the first
            slow.offer(numbered(number), FACE)
        assert slow.newest is None and estimator.shown == [1] and slow.dropped == 97
        estimator.gate.set()
        wait_for(lambda: slow.newest and slow.newest.captured_s == numbered(99).captured_s)
        assert estimator.shown == [1, 99]
    finally:
        estimator.gate.set()
        slow.close()


@pytest.mark.parametrize("fault", [EngineError("The weights are gone: fetch them."), ZeroDivisionError("oh")])
def test_a_fault_ends_the_thread_with_one_sentence_and_nothing_else(fault):
    class Failing(Counting):
        def __call__(self, _frame_bgr, _face):
            raise fault

    said = []
    slow = BackgroundEstimator(Failing(), said.append)
    slow.offer(numbered(1), FACE)
    wait_for(lambda: slow.ended)
    slow.offer(numbered(2), FACE)
    slow.close()
    assert len(said) == 1 and str(fault) in said[0] and said[0].endswith("MediaPipe's AUs alone.")


def test_a_file_is_looked_at_frame_by_frame():
    estimator = Counting()
    estimator.gate.set()
    slow = EveryFrame(estimator)
    for number in range(5):
        slow.offer(numbered(number), FACE)
        assert slow.newest.captured_s == numbered(number).captured_s
    assert estimator.shown == [0, 1, 2, 3, 4]


def test_a_performer_tells_both_and_closes_both():
    def perform(second: FusedEstimator | None) -> np.ndarray:
        clip = Clip(SAMPLES / "driver.mp4")
        with ExpressionTracker(Timings(), second=second) as performer:
            told = np.array([performer(clip.read()).expression for _ in range(60)])
        clip.close()
        return told

    slow = Scripted(lambda _s: FULL_AU09)
    alone, both = perform(None), perform(FusedEstimator(slow, print, Scale.default()))
    assert of(both[-1], "AU09") > 0.9 > of(alone[-1], "AU09") + 0.5
    others = au_estimator.index([au for au in PAPER_17 if au not in FROM_SLOW])
    assert np.array_equal(both[:, others], alone[:, others]) and slow.closed


def test_py_feat_that_is_not_there_is_told_once_and_mediapipe_goes_on(tmp_path):
    said = []
    assert open_second("py-feat", str(tmp_path / "none.safetensors"), said.append) is None
    assert (
        len(said) == 1 and "py-feat" in said[0] and said[0].endswith("Going on with MediaPipe's AUs alone.")
    )


def test_auto_says_nothing_where_py_feat_is_not_at_home(monkeypatch):
    def missing(_wanted):
        raise EngineError("no weights")

    said = []
    monkeypatch.setattr(estimator_fusion, "find_weights", missing)
    assert (
        open_second("auto", None, said.append) is None and open_second("mediapipe", None, said.append) is None
    )
    monkeypatch.setattr(estimator_fusion, "find_weights", lambda _wanted: SAMPLES / "man.jpg")
    monkeypatch.setattr(estimator_fusion, "usable", lambda: False)  # weights, but no GPU
    assert open_second("auto", None, said.append) is None
    assert said == []


def test_sides_are_known_for_what_is_joined():
    assert all(
        set(au_estimator.index((au,))) == {ESTIMATED.index(side) for side in sides(au)} for au in FROM_SLOW
    )
