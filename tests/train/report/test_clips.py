"""Clips as reports read them: every frame once, at its time; what is damaged is told."""

from contextlib import closing
from fractions import Fraction
from itertools import islice

import pytest

pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError
from tests.support.clip_files import number_of, write_clip
from train.report.clips import frame_at, frames_of
from train.report.steadiness import FRAMES, still_driver


def test_frames_come_once_at_their_times_whatever_the_container_rounds_them_to(tmp_path):
    times_s = [number / 60 for number in range(90)] + [3.0, 3.5]
    clip = write_clip(tmp_path / "clip.mkv", times_s, Fraction(1, 1000), Fraction(60))
    frames = list(frames_of(clip))
    assert [number_of(frame.image) for frame in frames] == list(range(92))
    assert [frame.time_s for frame in frames] == pytest.approx(times_s, abs=0.009)
    shown = [number_of(frame_at(clip, place)) for place in (0, 89, 150, 180, 200, 999)]
    assert shown == [0, 89, 89, 90, 90, 91]


def test_a_damaged_clip_is_read_past_the_damage_and_it_is_said_once(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", [number / 30 for number in range(60)], g="60")
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60] = bytes(60)
    clip.write_bytes(data)
    said = []
    frames = list(frames_of(clip, said.append))
    assert 50 < len(frames) < 60 and frames[-1].place == 59
    assert len(said) == 1 and "damaged" in said[0]


def test_what_is_no_clip_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no clip")
    with pytest.raises(DataError, match="not a video that can be played"):
        still_driver(tmp_path / "clip.mp4")


def test_a_clip_that_is_left_early_is_not_read_to_its_end(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", [number / 30 for number in range(200)])
    with closing(frames_of(clip)) as frames:
        assert len(list(islice(frames, FRAMES))) == FRAMES
