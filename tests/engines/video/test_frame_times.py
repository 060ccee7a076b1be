"""Any nominal rate, rounding, jitter, pause, restart: every frame once, in order; the duration is kept."""

from fractions import Fraction

import numpy as np
import pytest

from engines.video.frame_times import (
    LONGEST_STILL_S,
    count_places,
    frame_places,
    nominal_rate,
    segments,
    timeline,
    without_strays,
)

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

RATES = st.sampled_from(
    [5, 10, 12.5, 15, 24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60, 90, 120, 144, 240]
)
PAUSES = st.lists(st.tuples(st.integers(1, 199), st.integers(1, 300)), max_size=4)
quick = hypothesis.settings(max_examples=20, deadline=None, derandomize=True, database=None)


def even(count: int, rate: float) -> np.ndarray:
    return np.arange(count) / rate


def with_pauses(numbers: np.ndarray, pauses: list[tuple[int, int]]) -> np.ndarray:
    """Places of frames, where after some frames so many places have none."""
    for after, length in pauses:
        numbers = numbers + length * (np.arange(len(numbers)) > after)
    return numbers


@quick
@hypothesis.given(rate=st.floats(5, 240), count=st.integers(60, 300))
def test_times_rounded_to_milliseconds_lose_and_repeat_no_frame(rate, count):
    times_s = even(count, rate).round(3)
    nominal = nominal_rate(times_s)
    assert float(nominal) == pytest.approx(rate, rel=max(5e-4, 2e-3 / times_s[-1]))
    assert (frame_places(times_s, nominal) == np.arange(count)).all()


@quick
@hypothesis.given(rate=RATES, pauses=PAUSES)
def test_a_pause_is_as_long_as_it_was(rate, pauses):
    places = with_pauses(np.arange(200), pauses)
    times_s = (places / rate).round(3)
    hypothesis.assume(np.diff(times_s).max() < LONGEST_STILL_S)
    nominal = nominal_rate(times_s)
    assert float(nominal) == pytest.approx(rate, rel=2e-3)
    found = frame_places(times_s, nominal)
    assert (np.diff(found) >= 1).all()
    assert np.abs(found / float(nominal) - times_s).max() <= 1 / rate


@quick
@hypothesis.given(rate=RATES, seed=st.integers(0, 2**32 - 1))
def test_jitter_neither_loses_nor_repeats_a_frame(rate, seed):
    jitter = np.random.default_rng(seed).uniform(-0.2, 0.2, 200)
    times_s = np.sort((np.arange(200) + jitter) / rate)
    nominal = nominal_rate(times_s - times_s[0])
    assert float(nominal) == pytest.approx(rate, rel=5e-3)
    assert (frame_places(times_s, nominal) == np.arange(200)).all()


def test_a_frame_that_comes_late_is_put_where_it_was_due():
    times_s = even(60, 30)
    times_s[20] += 0.9 / 30
    assert (frame_places(times_s, 30) == np.arange(60)).all()


@quick
@hypothesis.given(
    lengths=st.lists(st.integers(31, 90), min_size=2, max_size=4),
    starts_s=st.lists(st.floats(0, 1000), min_size=4, max_size=4),
    rate=RATES,
)
def test_segments_whose_time_starts_again_follow_one_another(lengths, starts_s, rate):
    stamps_s, end_s = [], 0.0
    for length, start_s in zip(lengths, starts_s, strict=False):
        first_s = min(start_s, end_s - 1.0) if stamps_s else start_s
        stamps_s.append(first_s + even(length, rate))
        end_s = stamps_s[-1][-1]
    stamps_s = np.concatenate(stamps_s)
    played = timeline(stamps_s, segments(stamps_s))
    assert len(played.stretches) == len(lengths) and not played.skipped_s
    nominal = nominal_rate(played.times_s)
    assert (frame_places(played.times_s, nominal) == np.arange(sum(lengths))).all()


def test_of_a_variable_rate_the_nominal_one_is_found_and_the_duration_is_kept():
    places = np.concatenate([np.arange(60), 60 + 2 * np.arange(30)])
    times_s = places / 30
    assert nominal_rate(times_s) == 30
    assert (frame_places(times_s, 30) == places).all()
    durations_s = np.append(np.diff(times_s), 2 / 30)
    assert count_places(places, times_s, durations_s, 30) == 120


def test_faster_frames_among_slow_ones_still_get_a_place_each():
    slow = np.arange(200) / 15
    fast = slow[-1] + np.arange(1, 31) / 60
    times_s = np.concatenate([slow, fast])
    nominal = nominal_rate(times_s)
    places = frame_places(times_s, nominal)
    assert (np.diff(places) >= 1).all() and abs(places[-1] / float(nominal) - times_s[-1]) <= 0.5 / 15


@pytest.mark.parametrize("last_s, length", [(8.0, 300), (0.0, 61), (1e5, 61)])
def test_the_last_frame_is_shown_as_long_as_the_file_says_where_that_makes_sense(last_s, length):
    times_s = even(61, 30)
    durations_s = np.append(np.diff(times_s), last_s)
    assert count_places(np.arange(61), times_s, durations_s, 30) == length


def test_a_default_duration_that_contradicts_the_times_is_not_believed():
    times_s = even(60, 240)
    assert count_places(np.arange(60), times_s, np.full(60, 1 / 30), 240) == 60


def test_a_stamp_that_is_nonsense_is_not_believed():
    stamps_s = even(90, 30)
    stamps_s[40] = 5000.0
    stamps_s[60] = -3.0
    assert np.flatnonzero(np.isnan(without_strays(stamps_s))).tolist() == [40, 60]
    assert segments(without_strays(stamps_s)).max() == 0


def test_a_pause_of_hours_is_left_out_and_counted():
    stamps_s = even(60, 30)
    stamps_s[30:] += 90_000
    played = timeline(stamps_s, np.zeros(60, int))
    assert played.times_s[-1] == pytest.approx(59 / 30) and played.skipped_s == pytest.approx(90_000)


def test_irregular_slow_frames_are_put_on_a_fine_grid():
    times_s = np.array([0, 3.31, 7.07, 10.9, 13.26, 18.5, 21.02])
    nominal = nominal_rate(times_s)
    assert np.abs(frame_places(times_s, nominal) / float(nominal) - times_s).max() < 0.15


def test_a_single_frame_has_the_rate_that_its_file_claims():
    assert nominal_rate(np.zeros(1), [Fraction(25)]) == 25
    assert nominal_rate(np.zeros(1), [Fraction(90_000)]) == 30
