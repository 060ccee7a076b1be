"""Lips that are shut in the photo, and are asked to part a little."""

import numpy as np
import pytest

from engines.face.action_units import PAPER_17, WIDE
from realtime.puppet.lips import APART, GONE, JAW, STICKS, parted
from realtime.puppet.puppet import Puppet
from tests.support.fakes import StubEngine, speak


def test_shut_lips_are_asked_for_as_much_more_as_sticks():
    assert parted(0.2, 0.0, 0.0) == pytest.approx(0.2 + STICKS, abs=0.06)
    assert parted(0.02, 0.0, 0.0) < 0.08, "a tremble at rest parts nothing"
    asked = [parted(value, 0.0, 0.0) for value in np.linspace(0, 1, 101)]
    assert (np.diff(asked) > 0).all(), "who asks for more gets more"


@pytest.mark.parametrize(
    ("asked", "jaw", "own"),
    [(0.0, 0.0, 0.0), (-0.3, 0.0, 0.0), (GONE, 0.0, 0.0), (1.0, 0.0, 0.0), (0.2, JAW, 0.0), (0.2, 1.0, 0.0)]
    + [(0.2, 0.0, APART), (0.2, 0.0, 0.8)],
)
def test_nothing_is_added_where_nothing_sticks(asked, jaw, own):
    assert parted(asked, jaw, own) == asked


class Told(StubEngine):
    def run(self, crop, aus):
        self.told = aus.copy()
        return super().run(crop, aus)


def test_a_puppet_parts_lips_by_what_its_photo_shows(photo):
    engine = Told(aus=WIDE)
    puppet = Puppet(photo, engine)
    asked = speak(WIDE, AU25=0.2, AU12=0.3)
    given = asked.copy()
    puppet.render(asked)
    assert np.array_equal(asked, given), "what was asked for stays as it was"
    lips = WIDE.index("AU25")
    own = float(puppet.own_aus[lips])
    assert engine.told[lips] == pytest.approx(parted(0.2, 0.0, own)) and engine.told[lips] > 0.2
    assert np.delete(engine.told, lips) == pytest.approx(np.delete(asked, lips))


def test_an_engine_of_absolute_aus_is_told_what_is_asked(photo):
    engine = Told(aus=PAPER_17)
    engine.bundle = type(engine.bundle)(**{**vars(engine.bundle), "conditioning": "absolute"})
    puppet = Puppet(photo, engine)
    puppet.render(speak(PAPER_17, AU25=0.2))
    assert engine.told == pytest.approx(speak(PAPER_17, AU25=0.2))
