"""What the preview shows: figures, notes and bars, for which the puppet's own picture is tracked."""

from types import SimpleNamespace

import numpy as np
import pytest

from engines.face.action_units import EXPRESSION
from realtime.messages import RenderedFrame
from realtime.session import hud
from realtime.session.hud import LOOKS_PER_SECOND, UNUSED_S, Hud, PuppetTracker, has_room_for_bars
from tests.support.fake_clock import simulated

PICTURE = RenderedFrame(np.zeros((240, 320, 3), np.uint8), 0.0)


class CountingReader:
    """A FaceReader that finds a face in every picture."""

    def __init__(self, video: bool = False, **_options: object):
        self.looks, self.closed = 0, False
        readers.append(self)

    def follow(self, _picture: np.ndarray, _time_s: float) -> str:
        self.looks += 1
        return "face"

    def __enter__(self) -> "CountingReader":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.closed = True


readers: list[CountingReader] = []


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    readers.clear()
    monkeypatch.setattr(hud, "FaceReader", CountingReader)
    monkeypatch.setattr(hud.au_estimator, "read", lambda _face: np.ones(len(EXPRESSION), np.float32))


def test_the_second_tracker_runs_while_its_bars_are_shown_and_not_before_or_after():
    with simulated() as sim, PuppetTracker() as tracker:
        sim.time.sleep(10)
        assert not readers and not sim.threads, "nothing was shown yet"
        for _ in range(5 * 30):
            tracker.offer(PICTURE)
            sim.time.sleep(1 / 30)
        assert readers[0].looks == pytest.approx(5 * LOOKS_PER_SECOND, abs=2) and tracker.reading is not None
        sim.time.sleep(UNUSED_S + 1)
        assert readers[0].closed and not sim.threads and tracker.reading is None
        tracker.offer(PICTURE)
        sim.time.sleep(1)
        assert len(readers) == 2 and readers[1].looks == 1, "the bars are shown again"


@pytest.mark.parametrize("size, tracked", [((240, 320), True), ((72, 96), False)], ids=["large", "small"])
def test_a_preview_without_room_for_bars_needs_no_second_tracker(size, tracked):
    offered = []
    change = np.zeros(len(EXPRESSION), np.float32)
    animator = SimpleNamespace(asked=change, target=change, puppet=None)
    loop = SimpleNamespace(animator=animator, shown=PICTURE)
    tracker = SimpleNamespace(offer=offered.append, reading=None)
    image = np.zeros((*size, 3), np.uint8)
    Hud(lambda: [("30 new pictures a second", False)], loop, tracker)(image)
    assert has_room_for_bars(image) == tracked == bool(offered)
    assert image.any(), "the figures are written in any case"
