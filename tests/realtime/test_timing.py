"""Averages over time."""

import math

import pytest

from realtime.timing import ema_weight


def test_an_average_has_followed_a_step_by_63_percent_after_its_time_constant():
    assert ema_weight(0.5, 0.5) == pytest.approx(1 - 1 / math.e)


def test_an_average_does_not_depend_on_how_many_frames_come_in_a_time():
    mean = 0.0
    for _ in range(30):
        mean += ema_weight(1 / 30, 0.8) * (1.0 - mean)
    assert mean == pytest.approx(ema_weight(1.0, 0.8))


def test_a_time_that_runs_backwards_changes_no_average():
    assert ema_weight(-1.0, 0.5) == ema_weight(0.0, 0.5) == 0.0
