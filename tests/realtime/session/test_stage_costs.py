"""Costs by stage: what is counted where, and that nothing stays replaced."""

import time

import numpy as np
import pytest

from realtime.session import stage_costs
from realtime.session.stage_costs import STAGES, WARM_FRAMES

FRAMES = [np.zeros((4, 4, 3), np.uint8)]
INNER_S, OUTER_S = 0.004, 0.002


def work(seconds: float) -> None:
    """Takes processor time, which sleeping does not."""
    end_s = time.process_time() + seconds
    while time.process_time() < end_s:
        pass


class Tracker:
    def __call__(self, frame):
        work(OUTER_S)
        return self.inner(frame.image)

    @staticmethod
    def inner(image):
        work(INNER_S)
        return image.shape


class Animator:
    def show(self, expression, _now_s):
        assert expression == (4, 4, 3)


@pytest.fixture
def stages(monkeypatch):
    rows = (("outer", Tracker, ("__call__",)), ("inner", Tracker, ("inner",)), ("draw", Animator, ("show",)))
    monkeypatch.setattr(stage_costs, "STAGES", rows)
    return rows


def test_a_stage_costs_what_it_takes_less_the_stages_inside(stages):
    costs = stage_costs.measure(FRAMES, Tracker(), Animator(), 5)
    assert list(costs) == ["outer", "inner", "draw"]
    assert costs["inner"] == pytest.approx(INNER_S * 1000, rel=0.3)
    assert costs["outer"] == pytest.approx(OUTER_S * 1000, rel=0.3)
    assert costs["draw"] < 0.5


def test_every_function_is_put_back_also_after_an_error(stages):
    before = [vars(owner)[name] for _, owner, names in stages for name in names]

    class Failing(Animator):
        pictures = 0

        def show(self, expression, now_s):
            Failing.pictures += 1
            if Failing.pictures > WARM_FRAMES:
                raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        stage_costs.measure(FRAMES, Tracker(), Failing(), 5)
    assert [vars(owner)[name] for _, owner, names in stages for name in names] == before


def test_every_stage_names_functions_that_are_there_once():
    named = [(owner, function) for _, owner, functions in STAGES for function in functions]
    assert len(set(named)) == len(named)
    assert all(callable(getattr(owner, function)) for owner, function in named)
