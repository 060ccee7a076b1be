"""Two estimators as one: what comes from which, and what a slow one does that is late, silent, or gone.

Times are the frames'.
"""

import threading
from collections.abc import Callable

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
from tests.support.waiting import wait_for

FACE = Face(np.zeros((478, 2), np.float32), np.zeros(478, np.float32), np.zeros(52, np.float32))
FPS = 30.0


class Scripted:
    """A slow estimator that answers every `period_s` about the frame of `delay_s` ago."""

    name = "the slow one"

    def __init__(
        self, estimate: Callable[[float], np.ndarray], period_s: float = 1 / 15, delay_s: float = 1 / 30
    ):
        """estimate: returns (17,) probabilities of the frame at a time in seconds."""
        self._estimate = estimate
        self.period_s = period_s
        self.delay_s = delay_s
        self.newest: Estimate | None = None
        self.ended = False
        self.mute = False
        self.stopped = False
        self.closed = False

    def offer(self, frame: Frame, _face: Face) -> None:
        of_s = frame.captured_s - self.delay_s
        if (
            not self.mute
            and not self.ended
            and (self.newest is None or of_s >= self.newest.captured_s + self.period_s - 1e-6)
        ):
            self.newest = Estimate(np.float32(self._estimate(of_s)), of_s)

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed = True


class FramePlayer:
    """Plays frames to a FusedEstimator at 30 a second and keeps what comes out."""

    def __init__(self, slow: Scripted, scale: Scale | None = None):
        self.slow = slow
        self.messages: list[str] = []
        self.now_s = 100.0
        self.out: list[np.ndarray] = []
        self.fused = FusedEstimator(slow, self.messages.append, scale)

    def play(self, seconds: float, **fast: float) -> np.ndarray:
        """(frames, 41) what came out in this time; fast: AUs by MediaPipe."""
        start = len(self.out)
        for _ in range(round(seconds * FPS)):
            self.now_s += 1 / FPS
            frame = Frame(np.zeros((4, 4, 3), np.uint8), self.now_s)
            self.out.append(self.fused(speak(ESTIMATED, **fast), frame, FACE))
        return np.array(self.out[start:])


def probabilities(**aus: float) -> np.ndarray:
    return np.array([aus.get(au, pyfeat.REST) for au in AUS], np.float32)


def of(change: np.ndarray, au: str) -> np.ndarray:
    return change[..., au_estimator.index((au,))].mean(axis=-1)


FULL_AU09 = probabilities(AU09=pyfeat.FULL)


def test_every_au_has_one_source_and_a_reason():
    assert set(SOURCES) == set(wholes(WIDE)) and all(source.reason for source in SOURCES.values())
    assert set(FROM_SLOW) <= set(AUS) and all(SOURCES[au].oldest_s > 0 for au in FROM_SLOW)
    assert "AU45" not in FROM_SLOW, "a blink is over before a slow answer is there"


def test_aus_that_the_slow_one_sees_better_come_from_it_and_the_others_do_not():
    everything = np.full(len(AUS), pyfeat.FULL, np.float32)
    player = FramePlayer(Scripted(lambda _s: everything), Scale.default())
    last = player.play(2, AU12=0.3, AU09=0.1)[-1]
    for au in FROM_SLOW:
        assert of(last, au) == pytest.approx(1)
    others = [au for au in wholes(ESTIMATED) if au not in FROM_SLOW]
    assert last[au_estimator.index(others)] == pytest.approx(
        speak(ESTIMATED, AU12=0.3)[au_estimator.index(others)]
    )
    assert last.dtype == np.float32 and last.shape == (41,)


def test_the_sides_differ_as_in_mediapipes_aus():
    player = FramePlayer(Scripted(lambda _s: probabilities(AU06=0.55)), Scale.default())
    right, left = player.play(2, AU06R=0.5, AU06L=0.1)[-1][au_estimator.index(("AU06",))]
    assert right - left == pytest.approx(0.4) and (right + left) / 2 == pytest.approx(0.5)


def test_the_slow_ones_rest_is_learnt_and_is_no_change():
    player = FramePlayer(Scripted(lambda _s: probabilities(AU06=0.5, AU15=0.4)))
    assert not player.play(1).any(), "nothing is taken from it before its rest is known"
    rested = player.play(2, AU06=0.2)
    assert of(rested[-1], "AU06") == pytest.approx(0, abs=1e-6) and of(rested[-1], "AU15") == pytest.approx(
        0, abs=1e-6
    )


def test_its_rest_is_learnt_again_on_request():
    level = {"AU06": 0.3}
    player = FramePlayer(Scripted(lambda _s: probabilities(**level)))
    player.play(2)
    level["AU06"] = 0.6
    assert of(player.play(2)[-1], "AU06") == pytest.approx(0.5, abs=0.01)
    player.fused.relearn()
    assert of(player.play(3)[-1], "AU06") == pytest.approx(0, abs=0.01)


def test_with_a_profiles_scale_it_is_used_at_once_and_only_the_rest_is_learnt_again():
    level = {"AU06": 0.5}
    own = Scale.of_driver(np.full(len(AUS), 0.3), np.full(len(AUS), 0.7))
    player = FramePlayer(Scripted(lambda _s: probabilities(**level)), own)
    assert of(player.play(0.6)[-1], "AU06") == pytest.approx(0.5, abs=0.01)
    level["AU06"] = 0.4
    player.fused.relearn()
    assert of(player.play(3)[-1], "AU06") == pytest.approx(0, abs=0.01)
    level["AU06"] = 0.55
    assert of(player.play(2)[-1], "AU06") == pytest.approx(0.5, abs=0.01), (
        "half the way from the new rest to the driver's own full"
    )


def test_between_answers_an_au_glides_and_does_not_jump():
    player = FramePlayer(
        Scripted(lambda s: FULL_AU09 if s > 103 else probabilities(), period_s=0.3, delay_s=0.2),
        Scale.default(),
    )
    player.play(3)
    risen = of(player.play(2), "AU09")
    assert risen[-1] == pytest.approx(1)
    assert np.diff(risen).max() < 1.3 / (0.3 * FPS), "spread over the time between two answers"
    assert (np.diff(risen) >= -1e-6).all()


def test_answers_that_are_always_too_old_are_not_used_and_no_more_are_asked_for():
    player = FramePlayer(Scripted(lambda _s: FULL_AU09, period_s=0.9, delay_s=0.8), Scale.default())
    assert of(player.play(10), "AU09").max() == 0
    assert player.slow.stopped and len(player.messages) == 1 and "too slow here" in player.messages[0]
    last = player.slow.newest
    player.play(SILENT_S + 1)
    assert player.slow.newest is last and len(player.messages) == 1, "and that is not reported as silence"


def test_a_machine_that_is_busy_for_a_while_does_not_end_it():
    slow = Scripted(lambda _s: FULL_AU09)
    player = FramePlayer(slow, Scale.default())
    player.play(2)
    slow.period_s, slow.delay_s = 1.2, 1.0
    assert of(player.play(8), "AU09")[-1] == 0
    slow.period_s, slow.delay_s = 0.1, 0.1
    assert of(player.play(4), "AU09")[-1] == pytest.approx(1) and not slow.stopped


def test_a_slow_one_that_falls_silent_is_faded_out_reported_once_and_faded_in_again():
    player = FramePlayer(Scripted(lambda _s: FULL_AU09), Scale.default())
    assert of(player.play(2, AU09=0.2)[-1], "AU09") == pytest.approx(1)
    before = len(player.messages)
    player.slow.mute = True
    left = of(player.play(SILENT_S + 1, AU09=0.2), "AU09")
    assert left[-1] == pytest.approx(0.2) and np.abs(np.diff(left)).max() < 1.2 * 0.8 / (FADE_S * FPS)
    assert len(player.messages) == before + 1 and "has not answered" in player.messages[before]
    player.slow.mute = False
    back = of(player.play(2, AU09=0.2), "AU09")
    assert back[-1] == pytest.approx(1) and np.abs(np.diff(back)).max() < 1.2 * 0.8 / (FADE_S * FPS)
    assert player.messages[before + 1 :] == ["the slow one answers again."]


def test_one_that_failed_is_faded_out_at_once():
    player = FramePlayer(Scripted(lambda _s: FULL_AU09), Scale.default())
    player.play(2)
    player.slow.ended = True
    left = of(player.play(FADE_S + 0.1), "AU09")
    assert left[-1] == 0 and np.abs(np.diff(left)).max() < 1.2 / (FADE_S * FPS)


def test_a_driver_out_of_view_is_no_silence():
    player = FramePlayer(Scripted(lambda _s: FULL_AU09), Scale.default())
    player.play(2)
    before = len(player.messages)
    player.now_s += 60
    player.play(2)
    assert len(player.messages) == before


def test_a_scale_rises_and_noise_is_never_stretched_to_an_expression():
    scale = Scale.of_driver(np.full(17, 0.4), np.where(np.arange(17) < 8, 0.8, 0.45))
    values = np.array([scale.intensities(np.full(17, p)) for p in np.linspace(0, 1, 50)])
    assert values.min() == 0 and values.max() == 1 and (np.diff(values, axis=0) >= 0).all()
    assert scale.full[0] == pytest.approx(0.8) and (scale.full[8:] - 0.4 >= pyfeat.LEAST_RANGE).all()
    assert not scale.change(scale.rest).any() and scale.change(np.zeros(17)).min() > -0.3


class Counting:
    """An estimator that waits for `gate`, and keeps which frames it was called with."""

    name = "counting"
    aus = AUS

    def __init__(self):
        self.frames: list[int] = []
        self.gate = threading.Event()
        self.called = threading.Event()

    def __call__(self, frame_bgr, _face):
        self.frames.append(int(frame_bgr[0, 0, 0]))
        self.called.set()
        self.gate.wait(10)
        return np.full(17, 0.5, np.float32)


def numbered(number: int) -> Frame:
    return Frame(np.full((4, 4, 3), number, np.uint8), 100 + number / FPS)


def test_offers_never_wait_and_only_the_newest_is_estimated():
    estimator = Counting()
    slow = BackgroundEstimator(estimator, print)
    try:
        slow.offer(numbered(1), FACE)
        assert estimator.called.wait(10)
        for number in range(2, 100):  # all of them while it estimates the first
            slow.offer(numbered(number), FACE)
        assert slow.newest is None and estimator.frames == [1] and slow.dropped == 97
        estimator.gate.set()
        wait_for(lambda: slow.newest and slow.newest.captured_s == numbered(99).captured_s)
        assert estimator.frames == [1, 99]
    finally:
        estimator.gate.set()
        slow.close()


@pytest.mark.parametrize("error", [EngineError("The weights are gone: fetch them."), ZeroDivisionError("oh")])
def test_an_error_ends_the_thread_with_one_sentence_and_nothing_else(error):
    class Failing(Counting):
        def __call__(self, _frame_bgr, _face):
            raise error

    messages: list[str] = []
    slow = BackgroundEstimator(Failing(), messages.append)
    slow.offer(numbered(1), FACE)
    wait_for(lambda: slow.ended)
    slow.offer(numbered(2), FACE)
    slow.close()
    assert len(messages) == 1 and str(error) in messages[0]
    assert messages[0].endswith("MediaPipe's AUs alone.")


def test_every_frame_of_a_file_is_estimated():
    estimator = Counting()
    estimator.gate.set()
    slow = EveryFrame(estimator)
    for number in range(5):
        slow.offer(numbered(number), FACE)
        assert slow.newest.captured_s == numbered(number).captured_s
    assert estimator.frames == [0, 1, 2, 3, 4]


def test_a_tracker_uses_both_and_closes_both():
    def track(second: FusedEstimator | None) -> np.ndarray:
        clip = Clip(SAMPLES / "driver.mp4")
        with ExpressionTracker(Timings(), second=second) as tracker:
            expressions = np.array([tracker(clip.read()).expression for _ in range(60)])
        clip.close()
        return expressions

    slow = Scripted(lambda _s: FULL_AU09)
    alone = track(None)
    both = track(FusedEstimator(slow, print, Scale.default()))
    assert of(both[-1], "AU09") > 0.9 > of(alone[-1], "AU09") + 0.5
    others = au_estimator.index([au for au in PAPER_17 if au not in FROM_SLOW])
    assert np.array_equal(both[:, others], alone[:, others]) and slow.closed


def test_py_feat_that_is_missing_is_reported_once_and_mediapipe_goes_on(tmp_path):
    messages: list[str] = []
    assert open_second("py-feat", str(tmp_path / "none.safetensors"), messages.append) is None
    assert len(messages) == 1 and "py-feat" in messages[0]
    assert messages[0].endswith("Going on with MediaPipe's AUs alone.")


def test_auto_reports_nothing_where_py_feat_is_missing(monkeypatch):
    def missing(_wanted):
        raise EngineError("no weights")

    messages: list[str] = []
    monkeypatch.setattr(estimator_fusion, "find_weights", missing)
    assert open_second("auto", None, messages.append) is None
    assert open_second("mediapipe", None, messages.append) is None
    monkeypatch.setattr(estimator_fusion, "find_weights", lambda _wanted: SAMPLES / "man.jpg")
    monkeypatch.setattr(estimator_fusion, "usable", lambda: False)  # weights, but no GPU
    assert open_second("auto", None, messages.append) is None
    assert messages == []


def test_both_sides_are_known_of_every_au_that_is_fused():
    assert all(
        set(au_estimator.index((au,))) == {ESTIMATED.index(side) for side in sides(au)} for au in FROM_SLOW
    )
