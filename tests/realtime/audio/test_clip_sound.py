"""A clip's own sound stays in step with its frames, cut and stretched, whatever its time stamps are."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import DriverError
from engines.video.clip_index import read_index
from realtime.audio.av_sync import RATE_HZ
from realtime.audio.clip_sound import ClipSound, has_sound
from realtime.output.video_file import VideoFile
from tests.support.clip_files import PICTURES_HZ, beeps, sound_of, write_clip

BEEPS_S = (0.5, 1.25, 2.0)  # when a beep of BEEP_S begins
BEEP_S = 0.1
IN_STEP_S = 0.025


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(
        tmp_path_factory.mktemp("sound") / "c.mp4", np.arange(75) / PICTURES_HZ, beeps_s=BEEPS_S
    )


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".flv"])
def test_sound_is_where_it_was(tmp_path, suffix):
    path = write_clip(tmp_path / f"c{suffix}", np.arange(75) / PICTURES_HZ, beeps_s=BEEPS_S)
    assert has_sound(path)
    assert beeps(sound_of(path, 2.5)) == pytest.approx(BEEPS_S, abs=IN_STEP_S)


def test_a_part_of_it_begins_where_the_frames_begin_and_ends_in_silence(clip):
    samples = sound_of(clip, 2.0, start_s=1.0, end_s=2.05)
    assert beeps(samples) == pytest.approx([0.25, 1.0], abs=IN_STEP_S)
    assert not samples[round(1.06 * RATE_HZ) :].any()


@pytest.mark.parametrize("speed", [0.3, 0.8, 2.5])
def test_stretched_it_stays_in_step_and_keeps_its_pitch(clip, speed):
    samples = sound_of(clip, 2.5 / speed, speed=speed)
    begins = beeps(samples, 0.3 / speed)
    assert begins == pytest.approx(
        [begin_s / speed for begin_s in BEEPS_S], abs=2 * IN_STEP_S / min(speed, 1)
    )
    beep = samples[round((begins[0] + 0.01) * RATE_HZ) :][: round(0.6 * BEEP_S / speed * RATE_HZ)]
    crossings = np.count_nonzero(np.diff(np.signbit(beep)))
    assert crossings / 2 / (len(beep) / RATE_HZ) == pytest.approx(1000, rel=0.1)


def test_segments_whose_time_starts_again_keep_their_sound(tmp_path):
    parts = [
        write_clip(tmp_path / f"{number}.ts", np.arange(75) / PICTURES_HZ, first=75 * number, beeps_s=BEEPS_S)
        for number in range(2)
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    expected = [*BEEPS_S, *(2.5 + begin_s for begin_s in BEEPS_S)]
    assert beeps(sound_of(path, 5.0)) == pytest.approx(expected, abs=2 * IN_STEP_S)


def test_sound_that_ends_early_is_followed_by_silence(tmp_path):
    path = write_clip(tmp_path / "c.mp4", np.arange(75) / PICTURES_HZ, beeps_s=(0.5,))
    samples = sound_of(path, 2.5)
    assert beeps(samples) == pytest.approx([0.5], abs=IN_STEP_S) and not samples[RATE_HZ:].any()


def test_a_clip_without_sound_has_none(tmp_path):
    path = write_clip(tmp_path / "c.mp4", np.arange(5) / PICTURES_HZ)
    assert not has_sound(path)
    with pytest.raises(DriverError):
        ClipSound(path, read_index(path).stretches)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_carries_the_sound_in_step_and_as_long_as_its_pictures(tmp_path, clip, suffix):
    index = read_index(clip)
    out = tmp_path / f"out{suffix}"
    video = VideoFile(out, (64, 64), PICTURES_HZ, ClipSound(clip, index.stretches))
    for number in range(66):  # 2.2 s of 2.5
        video.send(np.zeros((64, 64, 3), np.uint8), number / PICTURES_HZ)
    video.close()
    with av.open(str(out)) as container:
        frames = [
            (frame.time, frame.to_ndarray()[0])
            for frame in container.decode(audio=0)
            if frame.time is not None
        ]
    track = np.zeros(3 * RATE_HZ, np.float32)
    for time_s, samples in frames:
        start = max(0, round(time_s * RATE_HZ))
        track[start : start + len(samples)] = samples
    assert beeps(track) == pytest.approx(BEEPS_S, abs=IN_STEP_S)
    end_s = frames[-1][0] + len(frames[-1][1]) / RATE_HZ
    assert end_s == pytest.approx(2.2, abs=0.03)
    assert read_index(out).rate == Fraction(PICTURES_HZ) and read_index(out).length == 66
