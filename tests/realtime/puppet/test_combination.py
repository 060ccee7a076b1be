"""AUs that are asked for together."""

import numpy as np
import pytest

from engines.face.action_units import EXPRESSION, WIDE
from engines.face.au_estimator import index
from realtime.puppet.combination import combined
from realtime.puppet.retarget import Retarget
from tests.support.fakes import StubEngine, speak

LIDS = index(["AU05", "AU07", "AU45"])


def test_a_blink_is_asked_for_once_whatever_the_other_lid_aus_say():
    for others in ({"AU05": 0.8}, {"AU05": -0.6}, {"AU07": 0.9}, {"AU07": -0.5, "AU05": -0.5}):
        together = combined(speak(EXPRESSION, AU45=1, **others))
        assert together == pytest.approx(speak(EXPRESSION, AU45=1)), others


def test_half_a_blink_leaves_half_of_the_others_and_none_leaves_them_all():
    asked = speak(EXPRESSION, AU45=0.5, AU07=0.6, AU05=-0.4)
    assert combined(asked) == pytest.approx(speak(EXPRESSION, AU45=0.5, AU07=0.3, AU05=-0.2))
    asked = speak(EXPRESSION, AU45=-0.3, AU05=0.7)
    assert combined(asked) == pytest.approx(asked)


def test_a_wink_leaves_the_other_eye_alone():
    together = combined(speak(EXPRESSION, AU45L=1, AU05=0.6))
    assert together == pytest.approx(speak(EXPRESSION, AU45L=1, AU05R=0.6))


def test_lips_are_not_drawn_together_and_apart_at_once():
    assert combined(speak(EXPRESSION, AU20=0.8, AU18=0.3)) == pytest.approx(speak(EXPRESSION, AU20=0.5))
    together = combined(speak(EXPRESSION, AU20=0.2, AU18=0.8, AU22=0.4))
    assert together == pytest.approx(speak(EXPRESSION, AU18=0.6, AU22=0.3))
    assert combined(speak(EXPRESSION, AU20=-0.4, AU18=0.8)) == pytest.approx(
        speak(EXPRESSION, AU20=-0.4, AU18=0.8)
    )


def test_what_does_not_meet_goes_through_unchanged():
    asked = np.random.default_rng(1).uniform(-1, 1, len(EXPRESSION)).astype(np.float32)
    asked[LIDS] = asked[index(["AU18", "AU20", "AU22"])] = 0
    given = asked.copy()
    assert np.array_equal(combined(asked), given) and np.array_equal(asked, given)


def test_a_puppet_is_told_a_blink_alone():
    retarget = Retarget(StubEngine(aus=WIDE).bundle, speak(WIDE))
    assert retarget(speak(EXPRESSION, AU45=1, AU07=0.8, AU05=0.5)) == pytest.approx(speak(WIDE, AU45=1))
