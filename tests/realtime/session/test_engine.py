"""The engine of a run, which opens while the photo is prepared."""

import threading
from contextlib import ExitStack

import numpy as np
import pytest

from engines.errors import EngineError, SourceError
from realtime.process import worker
from realtime.session import opening
from realtime.session.config import DrawingConfig
from realtime.session.engine import OpeningEngine
from tests.support.fakes import StubEngine
from tests.support.waiting import wait_for


class ClosingEngine(StubEngine):
    closed = 0

    def close(self) -> bool:
        self.closed += 1
        return True


class SlowOpening:
    """An engine that opens when the test lets it."""

    def __init__(self, error: EngineError | None = None):
        self.engine, self._error, self.allowed = ClosingEngine(), error, threading.Event()
        self.opening = OpeningEngine(self.engine.bundle, self._open)

    def _open(self) -> ClosingEngine:
        assert self.allowed.wait(20)
        if self._error:
            raise self._error
        return self.engine


def test_a_photo_is_prepared_before_its_engine_is_open_and_drawn_once_it_is(monkeypatch, tmp_path):
    slow = SlowOpening()
    prepared = []
    monkeypatch.setattr(opening, "open_engine", lambda *_arguments: slow.opening)

    def prepare(_config, path, engine, _size):
        prepared.append((path, engine.bundle.size_px))
        slow.allowed.set()
        return "puppet"

    monkeypatch.setattr(opening, "prepare_photo", prepare)
    photo = tmp_path / "face.jpg"
    with ExitStack() as stack:
        puppet, engine = opening.make_puppet(DrawingConfig(), [photo], None, stack, wait=True)
    assert prepared == [(photo, 64)] and puppet == "puppet" and engine.name == "stub"
    crop = np.zeros((64, 64, 3), np.uint8)
    assert engine.run(crop, np.zeros(17, np.float32)).attention.min() == 1


def test_an_engine_that_cannot_be_opened_is_told_when_the_photo_is_ready(monkeypatch, tmp_path):
    slow = SlowOpening(EngineError("no engine runs here"))
    monkeypatch.setattr(opening, "open_engine", lambda *_arguments: slow.opening)
    monkeypatch.setattr(opening, "prepare_photo", lambda *_arguments: slow.allowed.set())
    with ExitStack() as stack, pytest.raises(EngineError, match="no engine runs here"):
        opening.make_puppet(DrawingConfig(), [tmp_path / "face.jpg"], None, stack, wait=True)
    slow.opening.close()


def test_a_photo_that_cannot_be_used_is_told_without_waiting_for_the_engine(monkeypatch, tmp_path):
    slow = SlowOpening()
    monkeypatch.setattr(opening, "open_engine", lambda *_arguments: slow.opening)

    def refuse(*_arguments):
        raise SourceError("no face")

    monkeypatch.setattr(opening, "prepare_photo", refuse)
    with ExitStack() as stack, pytest.raises(SourceError, match="no face"):
        opening.make_puppet(DrawingConfig(), [tmp_path / "face.jpg"], None, stack, wait=True)
    slow.opening.close()
    assert "open the engine" in worker.running(), "the process may not be finalised meanwhile"
    slow.allowed.set()
    wait_for(lambda: slow.engine.closed == 1)


def test_an_open_engine_is_closed_at_once():
    slow = SlowOpening()
    slow.allowed.set()
    assert slow.opening.ready() is slow.engine
    slow.opening.close()
    assert slow.engine.closed == 1
