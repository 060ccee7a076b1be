"""Waits between attempts double up to a limit and start over after a success."""

import pytest

from realtime.process.backoff import Backoff


def test_waits_double_up_to_the_longest_and_stay_there():
    backoff = Backoff(1.0, 15.0)
    assert [backoff.advance() for _ in range(6)] == [1, 2, 4, 8, 15, 15]


def test_the_next_wait_can_be_read_without_using_it_up():
    backoff = Backoff(0.5, 8.0)
    assert backoff.wait_s == backoff.wait_s == backoff.advance() == 0.5
    assert backoff.wait_s == 1.0


def test_a_success_starts_over():
    backoff = Backoff(0.5, 8.0)
    backoff.advance(), backoff.advance()
    backoff.reset()
    assert backoff.advance() == 0.5


@pytest.mark.parametrize("lasted_s, wait_s", [(9.0, 2.0), (11.0, 0.5)], ids=["unsteady", "steady"])
def test_only_a_connection_that_was_steady_starts_over(lasted_s, wait_s):
    backoff = Backoff(0.5, 8.0, steady_s=10.0)
    backoff.advance(), backoff.advance()
    backoff.failed_after(lasted_s)
    assert backoff.advance() == wait_s
