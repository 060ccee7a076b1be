"""What depends on time: smoothing, the newest-wins slot, the driver's neutral, the lost face."""

import threading
import time

import numpy as np
import pytest

from engines.face.action_units import EXPRESSION, PAPER_17, WIDE
from realtime.latest_value import Latest
from realtime.messages import DriverExpression
from realtime.puppet.tracking_loss import EASE_S, HEAD_EASE_S, HOLD_S, TrackingLossFallback
from realtime.timing import MAX_SAMPLES, Timings
from realtime.tracking.neutral import Neutral
from realtime.tracking.smoothing import OneEuro, expression_filter, paired, signed
from tests.support.fakes import speak


def test_smoothing_goes_by_seconds_not_by_frames():
    def after(fps: float) -> float:
        smooth = OneEuro(speed_gain=0.0)
        smooth(np.zeros(1), 0.0)
        for i in range(1, int(0.2 * fps) + 1):
            value = smooth(np.ones(1), i / fps)
        return float(value[0])

    assert after(30) == pytest.approx(after(120), abs=0.05)
    assert 0.75 < after(60) < 0.95


def test_a_fast_change_passes_and_jitter_does_not():
    smooth, rng = OneEuro(), np.random.default_rng(0)
    trembling = np.array([smooth(0.3 + rng.normal(0, 0.02, 1), i / 30) for i in range(300)])[60:]
    assert trembling.std() < 0.012
    blink = [float(smooth(np.array([0.3 + 0.7 * (i >= 3)]), 10 + i / 30)[0]) for i in range(8)]
    assert blink[4] > 0.8


def test_a_smile_of_half_a_second_comes_less_than_a_frame_late():
    smooth = OneEuro()
    given = [0.4 * min(max(i - 15, 0) / 15, 1) for i in range(45)]
    shown = [float(smooth(np.array([value]), i / 30)[0]) for i, value in enumerate(given)]
    assert all(shown[i] > given[i - 1] for i in range(19, 31))


def test_a_head_that_turns_is_followed_within_two_frames_and_one_that_rests_is_still():
    rng = np.random.default_rng(1)
    smooth = expression_filter()

    def turn_deg(degrees: float, i: int) -> float:
        asked = speak(EXPRESSION, AU51=max(degrees, 0) / 30, AU52=max(-degrees, 0) / 30)
        given = paired(smooth(signed(asked), i / 30))
        return 30 * float(given[EXPRESSION.index("AU51")] - given[EXPRESSION.index("AU52")])

    resting = [turn_deg(rng.normal(0, 0.1), i) for i in range(120)]
    assert np.std(np.diff(resting[30:])) < 0.05
    turning = [turn_deg(2.0 * step, 120 + step) for step in range(10)]  # 60 degrees a second
    assert turning[-1] > 2.0 * (9 - 2), "less than two frames behind"


def test_after_a_gap_smoothing_starts_over():
    smooth = OneEuro()
    smooth(np.zeros(2), 0.0)
    assert smooth(np.ones(2), 2.0) == pytest.approx([1, 1])


def test_the_slot_keeps_the_newest_and_counts_what_it_dropped():
    slot: Latest[int] = Latest()
    for i in range(5):
        slot.put(i)
    assert slot.take(0) == 4 and slot.dropped == 4
    assert slot.take(0.01) is None


def test_a_waiting_taker_is_woken_by_put_and_by_close():
    slot: Latest[int] = Latest()
    threading.Timer(0.05, slot.put, [7]).start()
    assert slot.take(5) == 7
    threading.Timer(0.05, slot.close).start()
    started = time.perf_counter()
    assert slot.take(5) is None and time.perf_counter() - started < 2


def expression(value: float, time_s: float, seen: bool = True) -> DriverExpression:
    return DriverExpression(np.full(3, value, np.float32), time_s, seen)


def test_before_the_first_face_nothing_of_the_driver_is_shown():
    fallback = TrackingLossFallback()
    assert fallback.at(None, 0.0) is None
    assert fallback.at(expression(1, 0.1, seen=False), 0.1) is None


def test_a_lost_face_is_held_then_eases_to_the_still_photo_and_comes_back():
    fallback, strength = TrackingLossFallback(), []
    times = np.arange(0, 4, 1 / 30)
    for now in times:
        seen = now < 1 or now > 3
        strength.append(
            float(
                fallback.at(
                    expression(0.8, now) if seen else expression(0.5, now, seen=False), now
                ).expression[0]
            )
        )
    strength = np.array(strength)

    def at(second: float) -> float:
        return strength[np.searchsorted(times, second)]

    assert at(0.9) == pytest.approx(0.8)
    assert at(0.97 + HOLD_S * 0.9) == pytest.approx(0.8), "held"
    assert 0 < at(1 + HOLD_S + EASE_S / 2) < 0.8, "easing"
    assert at(1 + HOLD_S + EASE_S + 0.1) == 0, "the still photo, exactly"
    assert at(3.06) < 0.5 and at(3.6) == pytest.approx(0.8), "back without a jump"
    assert np.abs(np.diff(strength[31:])).max() < 0.2


def test_a_head_eases_back_more_slowly_than_a_face():
    expression = np.zeros(len(EXPRESSION), np.float32)
    expression[[0, len(WIDE)]] = 0.8, 0.6  # a brow and a turn of the head
    fallback = TrackingLossFallback()
    fallback.at(DriverExpression(expression, 0.0, True), 0.0)
    shown = np.array(
        [fallback.at(None, now).expression[[0, len(WIDE)]] for now in np.arange(0, HOLD_S + 2.0, 1 / 30)]
    )
    face, head = shown.T
    still = [int(np.argmax(part == 0)) / 30 for part in (face, head)]
    assert still == pytest.approx([HOLD_S + EASE_S, HOLD_S + HEAD_EASE_S], abs=0.1)
    assert np.abs(np.diff(head)).max() * 30 < 1.0, "30 degrees a second at most"


def test_a_driver_that_falls_silent_is_a_lost_face():
    fallback = TrackingLossFallback()
    for i in range(30):
        fallback.at(expression(1, i / 30), i / 30)
    assert fallback.at(None, 1.2).expression[0] == pytest.approx(1)
    assert fallback.at(None, 5.0).expression[0] == 0


@pytest.mark.parametrize("latency_s", [0.02, 0.4, 0.8, 1.2, 2.0])
def test_a_slow_tracker_is_no_lost_face_and_is_noted(latency_s):
    """An expression arrives latency_s after its frame was captured, and the next frame is captured then."""
    fallback, strength, arrives_s = TrackingLossFallback(), [], latency_s
    for now_s in np.arange(0, 12, 1 / 60):
        arrived = now_s >= arrives_s and now_s < 8
        shown = fallback.at(expression(0.8, now_s - latency_s) if arrived else None, now_s)
        arrives_s += latency_s * arrived
        strength.append(np.nan if shown is None else float(shown.expression[0]))
    strength = np.array(strength)
    assert np.nanmin(strength[:480]) == pytest.approx(0.8), (
        "the still photo showed through between two expressions"
    )
    assert strength[-1] == 0, "but a driver without expressions is lost"
    assert fallback.note == ("tracking slow" if latency_s > HOLD_S else "")


def test_a_picture_is_as_young_as_the_newest_expression_also_while_no_face_is_in_view():
    fallback = TrackingLossFallback()
    fallback.at(expression(1, 0.0), 0.02)
    assert fallback.at(expression(0, 60.0, seen=False), 60.02).captured_s == 60.0


def test_neutral_is_learnt_in_a_second_and_subtracted():
    neutral, rest = Neutral(), speak(EXPRESSION, AU01=0.3, AU12=0.1)
    brow, everything = EXPRESSION.index("AU01"), speak(EXPRESSION, **dict.fromkeys(PAPER_17, 1.0))
    for i in range(31):
        assert not neutral.change(rest + 0.2).any(), "nothing is asked for while it is being learnt"
        neutral.learn(rest, i / 30)
    assert neutral.neutral == pytest.approx(rest)
    assert neutral.change(rest) == pytest.approx(np.zeros(len(EXPRESSION)), abs=1e-6)
    assert neutral.change(everything) == pytest.approx(everything)
    assert neutral.change(np.zeros(len(EXPRESSION)))[brow] == pytest.approx(-0.3)
    assert not neutral.unrest


def test_a_blink_or_speech_in_the_first_second_is_not_the_neutral():
    neutral = Neutral()
    for i in range(31):
        neutral.learn(speak(EXPRESSION, AU45=0.9 if 10 <= i < 16 else 0.05, AU25=0.5 * (i % 2)), i / 30)
    assert neutral.neutral == pytest.approx(speak(EXPRESSION, AU45=0.05), abs=0.02)


def test_timings_stay_bounded_and_give_percentiles():
    timings = Timings()
    for i in range(3 * MAX_SAMPLES):
        timings.add("x", i % 100 / 1000)
    row = timings.summary()["x"]
    assert (
        row["count"] == MAX_SAMPLES
        and row["p50_ms"] == pytest.approx(49.5, abs=1.5)
        and row["p99_ms"] > row["p95_ms"] > row["p50_ms"]
    )
