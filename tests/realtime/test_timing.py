"""Averages over time."""

import math
import random
from itertools import pairwise

import pytest

from realtime.timing import MOST_MOVED_S, FollowingTicks, Ticks, ema_weight


def test_an_average_has_followed_a_step_by_63_percent_after_its_time_constant():
    assert ema_weight(0.5, 0.5) == pytest.approx(1 - 1 / math.e)


def test_an_average_does_not_depend_on_how_many_frames_come_in_a_time():
    mean = 0.0
    for _ in range(30):
        mean += ema_weight(1 / 30, 0.8) * (1.0 - mean)
    assert mean == pytest.approx(ema_weight(1.0, 0.8))


def test_a_time_that_runs_backwards_changes_no_average():
    assert ema_weight(-1.0, 0.5) == ema_weight(0.0, 0.5) == 0.0


def waits_s(ticks: FollowingTicks, arrivals_s: list[float]) -> list[float]:
    """How long each of what arrives waits for its tick, while the ticks follow; not what is overtaken."""
    waited, left = [], iter(arrivals_s)
    arrives_s = next(left)
    while True:
        ticks.advance(ticks.due_s)
        newest_s = None
        while arrives_s <= ticks.due_s:
            newest_s, arrives_s = arrives_s, next(left, math.inf)
        if newest_s is not None:
            waited.append(ticks.due_s - newest_s)
            ticks.follow(waited[-1])
        elif arrives_s == math.inf:
            return waited


@pytest.mark.parametrize("camera_fps", [30.0, 29.97, 15.0, 60.0])
@pytest.mark.parametrize("first_s", [0.001, 0.012, 0.03])
@pytest.mark.parametrize("strays_s, longest_s", [(0.001, 0.006), (0.003, 0.012)])
def test_ticks_move_to_shortly_after_what_comes_at_about_their_rate(camera_fps, first_s, strays_s, longest_s):
    chance = random.Random(3)
    arrivals_s = [first_s + number / camera_fps + abs(chance.gauss(0, strays_s)) for number in range(1800)]
    waited_s = sorted(waits_s(FollowingTicks(30.0, 0.0), arrivals_s)[200:])
    assert 0.003 < waited_s[len(waited_s) // 2] < longest_s
    assert waited_s[int(0.95 * len(waited_s))] < 1.5 * longest_s


def test_ticks_keep_their_rate_whatever_comes_and_their_times_rise_evenly():
    ticks, chance = FollowingTicks(30.0, 100.0), random.Random(3)
    times_s = []
    for _ in range(3000):
        ticks.advance(ticks.due_s)
        times_s.append(ticks.time_s)
        assert ticks.due_s == pytest.approx(100.0 + ticks.time_s)
        ticks.follow(chance.uniform(0, 1 / 30))
    steps_s = [later - earlier for earlier, later in pairwise(times_s)]
    assert max(abs(step_s - 1 / 30) for step_s in steps_s) <= MOST_MOVED_S + 1e-9
    assert times_s[-1] == pytest.approx(3000 / 30, rel=0.001)


def test_ticks_that_have_passed_are_left_out():
    ticks = Ticks(10.0, 50.0)
    ticks.advance(50.0)
    ticks.advance(53.04)
    assert ticks.number == 30 and ticks.due_s == pytest.approx(53.0)
