"""A picture as the driver of a call: it is looked at once, however often it comes round."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from realtime.performance.driver_spec import load_driver_spec, parse_parts
from realtime.session.config import SessionConfig
from realtime.session.live_driver import open_live_frames
from realtime.sources import clip
from tests.conftest import SAMPLES


def test_a_picture_that_drives_live_is_read_and_searched_once_and_goes_on(monkeypatch):
    searched = []

    def near_face(picture: np.ndarray, face_model: Path | None) -> np.ndarray:
        searched.append(picture.shape)
        return picture

    monkeypatch.setattr(clip, "_near_face", near_face)
    monkeypatch.setattr(clip.time, "sleep", lambda _s: None)
    with ExitStack() as stack:
        driver = str(SAMPLES / "man.jpg")
        config = SessionConfig(source="", drivers=(driver,), seconds=0.1)
        frames = open_live_frames(load_driver_spec(parse_parts([driver])), config, stack)
        pictures = [frames.read().image for _ in range(20)]
    assert len(searched) == 1
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


def test_a_rewound_picture_begins_again_at_zero():
    still = clip.StillImage(SAMPLES / "man.jpg", duration_s=0.1)
    times = [frame.captured_s for frame in iter(still.read, None)]
    assert times == pytest.approx([0, 1 / 30, 2 / 30])
    assert [frame.captured_s for frame in iter(still.rewound().read, None)] == times
