"""A driver's rest: what may be taken for it, and that nothing of a performance is lost by how it begins."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from engines.face import au_estimator
from engines.face.action_units import EXPRESSION, WIDE, from_opposites, gaze, head_pose, opposites
from engines.face.au_estimator import index, resting_faces
from realtime.messages import Frame
from realtime.session import offline
from realtime.session.offline import perform_frames
from realtime.sources.clip import Clip
from realtime.timing import Timings
from realtime.tracking.neutral import Neutral, at_general_strength
from realtime.tracking.resting_face import limits, plausible_rest
from tests.conftest import SAMPLES
from tests.support.fakes import speak
from tests.support.labelled_frames import labelled_frames

FPS = 30.0
SMILE = au_estimator.index(["AU12"])


def onset() -> list[np.ndarray]:
    """Readings (41,) of every second frame of a clip: a resting face, from frame 24 on a grin with teeth."""
    return [
        frame.reading for frame in labelled_frames() if frame.clip == "smile_onset" and frame.number % 2 == 0
    ]


def posed(turn: float = 0.0, sideways: float = 0.0, near: float = 0.0, **aus: float) -> np.ndarray:
    reading = speak(EXPRESSION, **aus)
    reading[len(WIDE) :] = from_opposites(np.array([turn, 0, 0, near, sideways, 0]))
    return reading


def learn(
    neutral: Neutral, readings: list[np.ndarray], start_s: float = 0.0, step_s: float = 1 / FPS
) -> float:
    time_s = start_s
    for reading in readings:
        neutral.learn(reading, time_s)
        time_s += step_s
    return time_s


def test_who_starts_with_a_grin_can_grin():
    rest, grin = onset()[:6], onset()[12:30]
    smiling, resting = Neutral(), Neutral()
    learn(smiling, grin, step_s=0.07)
    learn(resting, rest * 3, step_s=0.07)
    assert smiling.unrest == "smiled" and not resting.unrest
    found, wanted = (neutral.change(grin[5])[SMILE].mean() for neutral in (smiling, resting))
    print(f"a grin after a start with it: {found:.2f}; after a start at rest: {wanted:.2f}")
    assert found > 0.85 * wanted > 0.6


def test_what_rests_near_nothing_is_not_taken_for_rest_above_what_resting_faces_read():
    highest = limits()
    for name, most in (
        ("AU12", 0.2),
        ("AU25", 0.35),
        ("AU26", 0.25),
        ("AU45", 0.65),
        ("AU22", 0.1),
    ):
        assert (highest[au_estimator.index([name])] < most).all()
    assert np.isinf(highest[au_estimator.index(["AU01", "AU15", "AU06", "AU18"])]).all()
    rest, doing = plausible_rest(np.ones(len(WIDE), np.float32))
    assert (rest <= highest + 1e-6).all() and doing == "smiled"
    assert plausible_rest(speak(WIDE, AU25=0.8))[1] == "had your mouth open"
    # A smile parts lips, and who acts raises brows and lids besides: neither is their rest.
    faces = resting_faces()
    acting, _ = plausible_rest(speak(WIDE, AU12=0.6, AU25=0.2, AU01=1.0, AU05=1.0, AU02=0.3))
    mouth, eyes = (au_estimator.index(names) for names in (["AU12", "AU25", "AU26"], ["AU01", "AU05"]))
    assert acting[mouth] == pytest.approx(faces["median"][mouth])
    assert (
        acting[eyes] == pytest.approx(faces["p90"][eyes])
        and (acting[au_estimator.index(["AU02"])] == 0.3).all()
    )
    calm = speak(WIDE, AU01=0.9, AU15=0.5, AU06=0.3)
    assert np.array_equal(plausible_rest(calm)[0], calm) and plausible_rest(calm)[1] == ""


def test_an_estimated_neutral_is_replaced_by_the_first_rest_that_is_seen():
    rest, grin = onset()[2], onset()[12:30]
    neutral = Neutral()
    end_s = learn(neutral, grin, step_s=0.07)
    learn(neutral, [rest] * 150, end_s)
    assert np.abs(neutral.neutral - np.maximum(rest, -1))[: len(WIDE)].max() < 0.08


def test_brows_that_are_high_by_nature_ask_for_nothing_and_can_be_raised():
    neutral, brow = Neutral(), EXPRESSION.index("AU01")
    learn(neutral, [posed(AU01=0.9)] * 40)
    assert neutral.change(posed(AU01=0.9))[brow] == pytest.approx(0, abs=1e-6)
    assert 0.2 < neutral.change(posed(AU01=1.05))[brow] < 0.5
    assert neutral.change(posed(AU01=0.6))[brow] == pytest.approx(-0.3, abs=1e-6)


def test_a_clip_that_starts_with_a_grin_rests_where_its_face_does():
    rest, grin = onset()[:10], onset()[12:30]
    found = Neutral.of_clip(np.array(grin[:8] + rest + grin[8:]))
    assert not found.unrest and found.neutral[SMILE].max() < 0.1
    assert found.change(grin[5])[SMILE].mean() > 0.8


def test_head_and_gaze_are_told_as_they_are_turned_from_rest():
    neutral = Neutral()
    learn(neutral, [posed(turn=0.2, sideways=-0.1, near=2.0)] * 40)
    change = neutral.change(posed(turn=-0.1, sideways=0.4, near=1.5))
    assert head_pose(change) == pytest.approx([-0.3, 0, 0, -0.5], abs=1e-6)
    assert gaze(change) == pytest.approx([0.5, 0], abs=1e-6)
    assert (change[len(WIDE) :] >= 0).all() and np.abs(opposites(neutral.change(posed(turn=2.0)))).max() <= 1


def test_where_the_head_rests_is_followed_in_minutes_and_a_look_aside_is_not_rest():
    neutral = Neutral()
    end_s = learn(neutral, [posed()] * 40)
    end_s = learn(neutral, [posed(turn=0.5)] * 1800, end_s)  # a minute at a second screen
    assert np.abs(opposites(neutral.neutral)).max() < 0.01
    learn(neutral, [posed(turn=0.1)] * 9000, end_s)  # five of sitting a little differently
    assert opposites(neutral.neutral)[0] > 0.08


class _LateFace:
    """A clip that shows nobody for four seconds, and then the shipped driver."""

    live = False
    has_rest = True
    fps = FPS
    length = None

    def __init__(self) -> None:
        self._frames = self._all()

    def _all(self) -> Iterator[Frame]:
        clip, late = Clip(SAMPLES / "driver.mp4"), round(4 * FPS)
        first = clip.read()
        for number in range(late):
            yield Frame(np.full_like(first.image, 90), number / FPS)
        frame = first
        while frame is not None and frame.captured_s < 1.5:
            yield Frame(cv2.resize(frame.image, None, fx=0.5, fy=0.5), late / FPS + frame.captured_s)
            frame = clip.read()
        clip.close()

    def read(self) -> Frame | None:
        return next(self._frames, None)

    def close(self) -> None:
        self._frames.close()


def test_a_face_that_appears_late_loses_nothing(monkeypatch):
    monkeypatch.setattr(offline, "LONGEST_LOOK_S", 1.0)  # it begins with the face
    seen = [
        expression
        for expression in perform_frames(_LateFace(), Timings(), look_first=_LateFace)
        if expression.seen
    ]
    on_the_way = [expression for expression in perform_frames(_LateFace(), Timings()) if expression.seen]
    assert len(seen) == len(on_the_way) > 30
    moved = [bool(np.abs(expression.expression).max() > 0.02) for expression in seen[:20]]
    assert np.mean(moved) > 0.9 and not np.abs(on_the_way[10].expression).any(), (
        "as it was: a second of nothing"
    )


def test_a_blink_is_asked_for_in_full_and_head_and_gaze_as_they_are():
    change = posed(turn=0.4, sideways=-0.7, near=0.5, AU45=1.0, AU12=0.4, AU02=0.5)
    asked = at_general_strength(change)
    assert (asked[EXPRESSION.index("AU45R")], asked[EXPRESSION.index("AU45L")]) == (1, 1)
    assert np.array_equal(asked[len(WIDE) :], change[len(WIDE) :])
    assert asked[SMILE] == pytest.approx(0.46) and asked[EXPRESSION.index("AU02R")] == pytest.approx(0.45)
    assert np.abs(at_general_strength(np.ones(len(EXPRESSION), np.float32))).max() <= 1


def test_lips_part_as_far_as_the_drivers_with_less_of_their_jaw():
    change = posed(AU25=0.5, AU26=0.5)
    asked = at_general_strength(change)
    assert asked[EXPRESSION.index("AU25")] > 0.6 and asked[EXPRESSION.index("AU26")] < 0.4


def test_a_clip_looks_ahead_where_it_looks_most_of_the_time_even_if_it_rests_looking_aside():
    aside = [posed(sideways=-0.7)] * 20
    talking = [posed(AU12=0.3, AU25=0.4), posed(AU12=0.4, AU25=0.2)] * 30
    found = Neutral.of_clip(np.array(aside + talking))
    assert gaze(found.change(talking[0])) == pytest.approx([0, 0], abs=1e-6)
    assert gaze(found.change(aside[0])) == pytest.approx([-0.7, 0], abs=1e-6)


def test_a_talkers_calm_moments_with_parted_lips_are_no_shut_lips():
    """Most of the clip the lips are a little apart, and calm; now and then they shut."""
    rng = np.random.default_rng(4)
    parted, shut = speak(EXPRESSION, AU25=0.2), speak(EXPRESSION)
    frames = [parted if n % 8 < 6 else shut for n in range(200)]
    readings = np.array(frames) + rng.normal(0, 0.005, (200, len(EXPRESSION)))
    found = Neutral.of_clip(readings.astype(np.float32))
    assert found.neutral[index(["AU25"])] < 0.03
    never_shut = Neutral.of_clip(np.array([parted] * 100, np.float32))
    assert found.change(parted.astype(np.float32))[index(["AU25"])] > 0.15
    assert never_shut.change(parted.astype(np.float32))[index(["AU25"])] < 0.11, "as far as it can be rest"
