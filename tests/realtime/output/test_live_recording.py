"""Recordings of live runs: their times, and what is left when the program is killed, or the disk is full,
slow or gone."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import OutputError
from realtime.output.live_recording import CLOSE_S, QUEUE_LENGTH, LiveRecording
from realtime.output.outputs import open_output
from tests.support.waiting import PATIENCE_S, wait_for

SIZE, FPS = (320, 240), 30
ROOT = Path(__file__).parents[3]
NOISE = np.random.default_rng(0).integers(0, 255, (8, SIZE[1], SIZE[0], 3), np.uint8)  # 1.3 MB a second


def feed(recording: LiveRecording, times_s, pictures: np.ndarray = NOISE) -> None:
    """Sends pictures no faster than they are encoded, so that none is left out."""
    for number, time_s in enumerate(times_s):
        wait_for(lambda: len(recording._queue) < QUEUE_LENGTH, interval_s=0.002)
        recording.send(pictures[number % len(pictures)], time_s)


def times(path: Path, cut: bool = False) -> list[float]:
    """Of its pictures, in seconds; cut: the last one may be there in part, as players expect of a file
    that was cut off."""
    found = []
    with av.open(str(path)) as container, suppress(*[av.error.InvalidDataError] * cut):
        for frame in container.decode(video=0):
            found.append(frame.time)
    return found


class Disk:
    """A file on a disk that does what `at_write` makes of the bytes written so far: raise, wait, or
    nothing."""

    def __init__(self, at_write: Callable[[int], None]):
        self._at_write, self.bytes = at_write, 0

    def open(self, path: Path):
        disk, file = self, open(path, "x+b", buffering=0)

        class FakeFile:
            def write(self, data) -> int:
                disk._at_write(disk.bytes + len(data))
                disk.bytes += len(data)
                return file.write(data)

            def __getattr__(self, name):
                return getattr(file, name)

        return FakeFile()


def full_after(limit: int) -> Callable[[int], None]:
    def at_write(count: int) -> None:
        if count > limit:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return at_write


def test_a_recording_has_the_times_of_its_pictures_and_gaps_are_gaps(tmp_path):
    path = tmp_path / "take.mp4"
    sent_s = [*(5 + k / 30 for k in range(20)), *(8.2 + k / 24 for k in range(10)), 9.0001, 9.9]
    recording = LiveRecording(path, SIZE, FPS)
    feed(recording, sent_s)
    recording.close()
    assert times(path) == pytest.approx([s - 5 for s in sent_s], abs=1e-4)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.codec_tag, stream.pix_fmt) == (
            "h264",
            "avc1",
            "yuv420p",
        )
        assert stream.frames == len(sent_s)
        assert container.duration / 1e6 == pytest.approx(4.9 + 1 / FPS, abs=0.02), (
            "the last picture is shown, too"
        )
        presented = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        assert all(a < b for a, b in pairwise(presented))
    assert f"{len(sent_s)} pictures, 4.9 s" in recording.written and recording.dropped == 0
    assert os.listdir(tmp_path) == ["take.mp4"]


def test_a_finished_mp4_has_one_index_for_all_and_no_fragments(tmp_path):
    path = tmp_path / "take.mp4"
    recording = LiveRecording(path, SIZE, FPS)
    feed(recording, np.arange(60) / FPS)
    recording.close()
    data, at, kinds = path.read_bytes(), 0, []
    while at < len(data):
        kinds.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4])
    assert at == len(data) and kinds[0] == b"ftyp"
    assert kinds.count(b"moov") == 1 and b"moof" not in kinds


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_other_containers_keep_the_times_too(tmp_path, suffix):
    path = tmp_path / f"take{suffix}"
    recording = open_output(str(path), SIZE, FPS, live=True)
    feed(recording, [0, 0.1, 0.5, 1.7])
    recording.close()
    assert times(path) == pytest.approx([0, 0.1, 0.5, 1.7], abs=2e-3)


def test_times_that_do_not_rise_do_no_harm(tmp_path):
    recording = LiveRecording(tmp_path / "take.mp4", SIZE, FPS)
    feed(recording, [0, 0.1, 0.1, 0.05, 0.2])
    recording.close()
    assert len(set(times(tmp_path / "take.mp4"))) == 5


def test_a_slow_disk_never_blocks_the_sender_and_the_times_stay_right(tmp_path):
    path, slow = tmp_path / "take.mp4", threading.Event()
    recording = LiveRecording(path, SIZE, FPS, open_file=Disk(lambda _count: slow.wait(0.4) and None).open)
    slowest_s, start_s = 0.0, time.perf_counter()
    for number in range(45):
        time.sleep(max(0.0, start_s + number / FPS - time.perf_counter()))
        before_s = time.perf_counter()
        recording.send(NOISE[number % 8], number / FPS)
        slowest_s = max(slowest_s, time.perf_counter() - before_s)
    slow.set()
    recording.close()
    assert slowest_s < 0.1, "a write takes four times that"
    assert recording.dropped > 0 and recording.frames + recording.dropped == 45
    assert f"{recording.dropped} left out" in recording.written
    ticks = np.array(times(path)) * FPS
    assert ticks == pytest.approx(ticks.round(), abs=0.01), "every picture has the time at which it was sent"
    assert ticks.round()[-1] == 44


def test_a_disk_that_hangs_is_reported_and_close_returns(tmp_path):
    path, hang = tmp_path / "take.mp4", threading.Event()
    recording = LiveRecording(path, SIZE, FPS, open_file=Disk(lambda _count: hang.wait(60) and None).open)
    for number in range(60):
        recording.send(NOISE[number % 8], number / FPS)
    before_s = time.perf_counter()
    with pytest.raises(OutputError, match=r"take\.part\.mp4"):
        recording.close()
    assert time.perf_counter() - before_s < CLOSE_S + 0.5
    hang.set()
    recording._worker.join(10)


RECORDER = """
import resource, sys, time
import numpy as np
from realtime.output.live_recording import LiveRecording
from engines.errors import OutputError
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
noise = np.random.default_rng(0).integers(0, 255, (8, 240, 320, 3), np.uint8)
recording, start_s = LiveRecording(sys.argv[1], (320, 240), 30), time.perf_counter()
try:
    for number in range(600):
        time.sleep(max(0.0, start_s + number / 30 - time.perf_counter()))
        recording.send(noise[number % 8], number / 30)
        print(number / 30, flush=True)
except OutputError as error:
    print(error)
recording.close()
"""


def test_killed_at_any_moment_it_plays_up_to_the_last_second_and_an_earlier_one_is_kept(tmp_path):
    path = tmp_path / "take.mp4"
    path.write_bytes(b"precious")
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    while (sent_s := float(process.stdout.readline())) < 2.7:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    sent_s = float(([str(sent_s), *process.stdout.read().split()])[-1])
    process.stdout.close()
    assert path.read_bytes() == b"precious"
    played = times(tmp_path / "take.part.mp4", cut=True)
    assert sent_s - played[-1] < 1.2 and len(played) > 30

    said = []
    again = LiveRecording(path, SIZE, FPS, notify=said.append)
    feed(again, [0, 0.1])
    again.close()
    assert len(said) == 1 and str(tmp_path / "take.kept-1.mp4") in said[0]
    assert times(tmp_path / "take.kept-1.mp4", cut=True) == played and len(times(path)) == 2


def test_the_longest_recording_is_finished_reported_once_and_plays(tmp_path, monkeypatch):
    monkeypatch.setattr("realtime.output.live_recording.MAX_DURATION_S", 1.0)
    path = tmp_path / "take.mp4"
    recording = LiveRecording(path, SIZE, FPS)
    with pytest.raises(OutputError, match="another recording"):
        feed(recording, np.arange(60) / FPS)
    recording.send(NOISE[0], 30)
    recording.close()
    assert times(path)[-1] == pytest.approx(1.0, abs=0.1)


def test_the_longest_recording_that_cannot_be_finished_is_reported_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr("realtime.output.live_recording.MAX_DURATION_S", 1.0)
    (tmp_path / "takes").mkdir()
    recording = LiveRecording(tmp_path / "takes" / "take.mp4", SIZE, FPS)
    feed(recording, np.arange(10) / FPS)
    (tmp_path / "takes").rename(tmp_path / "moved")
    with pytest.raises(OutputError, match="another recording"):
        recording.send(NOISE[0], 30)
    with pytest.raises(OutputError, match="could not be given its name"):
        recording.close()


def test_a_defect_in_its_thread_is_raised_and_what_was_recorded_is_kept(tmp_path):
    recording = LiveRecording(tmp_path / "take.mp4", SIZE, FPS)
    feed(recording, np.arange(40) / FPS)
    recording.send(NOISE[0][..., 0], 41 / FPS)  # no colours
    wait_for(lambda: not recording._worker.alive)
    with pytest.raises(ValueError):
        recording.send(NOISE[0], 42 / FPS)
    recording.close()
    assert len(times(tmp_path / "take.mp4")) >= 30, "whole fragments"


def test_a_file_limit_met_by_the_system_ends_the_recording_and_it_plays(tmp_path):
    path = tmp_path / "take.mp4"
    done = subprocess.run(
        [sys.executable, "-c", RECORDER, str(path), "3000000"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0 and "ended early (File too large)" in done.stdout.splitlines()[-1], (
        done.stderr
    )
    assert path.stat().st_size <= 3_000_000 and times(path)[-1] > 0.9
    assert os.listdir(tmp_path) == ["take.mp4"]


@pytest.mark.parametrize("name", ["take.mp4", "take.mkv"])
def test_a_full_disk_is_reported_once_by_send_and_what_was_recorded_has_its_name(tmp_path, name):
    path = tmp_path / name
    recording = LiveRecording(path, SIZE, FPS, open_file=Disk(full_after(2_500_000)).open)
    with pytest.raises(OutputError, match="No space left") as caught:
        feed(recording, np.arange(600) / FPS)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    recording.send(NOISE[0], 30)  # nothing any more
    recording.close()
    played = times(path)
    assert 0.5 < played[-1] < 10 and len(played) == round(played[-1] * FPS + 1)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("short_by", [20, 1400, 2200])
def test_a_disk_that_is_full_at_the_very_end_leaves_a_recording_that_plays(tmp_path, short_by):
    """The mark behind everything does not fit any more, or the index, or the last fragment."""
    enough = Disk(lambda _count: None)
    for path, disk in ((tmp_path / "whole.mp4", enough), (tmp_path / "take.mp4", None)):
        recording = LiveRecording(
            path, SIZE, FPS, open_file=(disk or Disk(full_after(enough.bytes - short_by))).open
        )
        feed(recording, np.arange(45) / FPS)
        if disk:
            recording.close()
            continue
        with pytest.raises(OutputError, match="ended early"):
            recording.close()
    assert len(times(tmp_path / "take.mp4")) == (45 if short_by < 2000 else 30), "whole fragments"


def test_a_folder_that_is_gone_at_the_end_is_reported(tmp_path):
    folder = tmp_path / "takes"
    folder.mkdir()
    recording = LiveRecording(folder / "take.mp4", SIZE, FPS)
    feed(recording, np.arange(10) / FPS)
    folder.rename(tmp_path / "moved")
    with pytest.raises(OutputError, match="could not be given its name"):
        recording.close()
    assert len(times(tmp_path / "moved" / "take.part.mp4")) == 10


def test_two_programs_do_not_record_into_one_file(tmp_path):
    first = LiveRecording(tmp_path / "take.mp4", SIZE, FPS)
    feed(first, [0])
    wait_for(lambda: first.frames)
    with pytest.raises(OutputError, match="another program"):
        LiveRecording(tmp_path / "take.mp4", SIZE, FPS)
    first.close()
    assert len(times(tmp_path / "take.mp4")) == 1


def test_two_programs_that_begin_one_file_at_one_moment_do_not_share_it(tmp_path):
    def taken_for_an_old_one(part: Path):
        file = open(part, "x+b", buffering=0)
        part.unlink()
        part.write_bytes(b"the other's")
        return file

    with pytest.raises(OutputError, match="another program"):
        LiveRecording(tmp_path / "take.mp4", SIZE, FPS, open_file=taken_for_an_old_one)
    assert (tmp_path / "take.part.mp4").read_bytes() == b"the other's"


def test_a_recording_without_a_picture_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "take.mp4"
    path.write_bytes(b"precious")
    LiveRecording(path, SIZE, FPS).close()
    assert path.read_bytes() == b"precious" and os.listdir(tmp_path) == ["take.mp4"]


@pytest.mark.parametrize("place", ["no/such/folder/take.mp4", "/proc/take.mp4", "."])
def test_a_place_that_cannot_be_written_is_reported_before_anything_starts(tmp_path, place):
    with pytest.raises(OutputError, match="choose another --output"):
        LiveRecording(tmp_path / place, SIZE, FPS)


def test_rates_that_are_no_whole_number_are_nominal_only(tmp_path):
    recording = LiveRecording(tmp_path / "take.mp4", SIZE, 29.97)
    feed(recording, np.arange(31) / 29.97)
    recording.close()
    assert times(tmp_path / "take.mp4")[-1] == pytest.approx(
        float(Fraction(30) / Fraction(2997, 100)), abs=1e-3
    )
