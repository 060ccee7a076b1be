"""Clips of every kind: each frame once, at its time and as it is meant to be seen, whatever is wrong with the
file.
"""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from engines.errors import DriverError
from engines.video.animation import AnimationReader
from engines.video.clip_index import read_index
from engines.video.clip_reader import ClipReader, displayed
from tests.support.clip_files import number_of, numbered, write_clip

EVEN = [number / 30 for number in range(45)]


def read(reader: ClipReader | AnimationReader) -> tuple[list[int], list[int]]:
    """The numbers that the frames of a clip show, and their places."""
    shown, places = [], []
    while (frame := reader.read()) is not None:
        shown.append(number_of(frame.image))
        places.append(frame.place)
    assert all(one < other for one, other in pairwise(places))
    return shown, places


def packets_of(path: Path) -> list[tuple[int, int]]:
    """Where a clip's packets lie in the file: (first byte, bytes)."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize(
    "suffix, rate",
    [(".mkv", 5), (".mkv", 60), (".mkv", 240), (".webm", 24), (".flv", 50), (".wmv", 15), (".avi", 25)],
)
def test_every_frame_is_read_once_whatever_its_time_is_rounded_to(tmp_path, suffix, rate):
    claimed = Fraction(rate if suffix == ".avi" else 30)
    path = write_clip(
        tmp_path / f"c{suffix}", [i / rate for i in range(45)], tick=Fraction(1, 1000), rate=claimed
    )
    with ClipReader(path) as clip:
        assert read(clip) == (list(range(45)), list(range(45)))
        assert (clip.rate, clip.length, clip.notes) == (rate, 45, ())


def test_a_damaged_frame_is_left_out_and_reported_and_the_rest_is_read(tmp_path):
    path = write_clip(tmp_path / "c.avi", EVEN, g="1")  # no frame is made from another
    start, size = packets_of(path)[20]
    data = bytearray(path.read_bytes())
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    with ClipReader(path) as clip:
        shown, places = read(clip)
        assert shown == places == [i for i in range(45) if i != 20]
        assert clip.damaged == 1 and clip.length == 45
        assert clip.notes == (f"{path}: 1 of 45 frames is damaged, and the frame before is held instead.",)


@pytest.mark.parametrize("name, options", [("c.mp4", {"movflags": "faststart"}), ("c.mkv", {})])
def test_a_clip_that_was_cut_is_read_to_where_it_was_cut_and_that_is_said(tmp_path, name, options):
    path = write_clip(tmp_path / name, [i / 30 for i in range(90)], container=options)
    start, size = packets_of(path)[60]
    path.write_bytes(path.read_bytes()[: start + size // 2])
    with ClipReader(path) as clip:
        shown, _ = read(clip)
        assert shown[:50] == list(range(50)) and 50 <= len(shown) < 63
        assert len(clip.notes) == 1 and "cut short" in clip.notes[0] and "lasts 3.0 s" in clip.notes[0]


def test_a_still_of_seconds_stays_as_long_as_it_was(tmp_path):
    times_s = [*EVEN[:30], *(9 + time_s for time_s in EVEN[:30])]
    with ClipReader(write_clip(tmp_path / "c.mp4", times_s)) as clip:
        shown, places = read(clip)
    assert (clip.rate, clip.length) == (30, 300) and shown == list(range(60))
    assert places == [*range(30), *range(270, 300)]


def test_segments_whose_time_starts_again_are_all_read(tmp_path):
    first = write_clip(tmp_path / "1.ts", EVEN)
    second = write_clip(tmp_path / "2.ts", EVEN, first=45)
    (tmp_path / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    with ClipReader(tmp_path / "both.ts") as clip:
        assert read(clip) == (list(range(90)), list(range(90)))
        assert clip.length == 90


def test_counts_and_rates_of_a_header_are_hints(tmp_path):
    flags = {"movflags": "frag_keyframe+default_base_moof"}
    slow = [*EVEN[:30], *(1 + i / 15 for i in range(15))]  # in the dark: half the rate
    path = write_clip(tmp_path / "c.mp4", slow, container=flags)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames < 45 or container.streams.video[0].average_rate != 30
    with ClipReader(path) as clip:
        assert read(clip)[0] == list(range(45)) and (clip.rate, clip.length) == (30, 60)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_display_matrix_turns_and_mirrors(turns, mirrored):
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    across, down = np.array([1, 0]), np.array([0, 1])  # where a step to the right and one down go
    seen = stored
    for _ in range(turns):  # by 90 degrees clockwise
        across, down = (np.array([-step[1], step[0]]) for step in (across, down))
        seen = np.rot90(seen, -1)
    if mirrored:
        across, down = (np.array([-step[0], step[1]]) for step in (across, down))
        seen = seen[:, ::-1]
    matrix = np.array([*across, 0, *down, 0, 0, 0, 1 << 14]) * 65536
    assert (displayed(stored, matrix) == seen).all()


def test_the_matrix_of_a_file_is_applied(tmp_path):
    path = write_clip(tmp_path / "c.mp4", EVEN[:5], rotation=180)
    with ClipReader(path) as clip:
        image = clip.read().image
    assert number_of(image[::-1, ::-1]) == 0 and number_of(image) == 0
    with ClipReader(path) as clip:
        clip.read()
        assert number_of(clip.read().image) == 1 << 9  # the lowest bit is on the other side


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    path = write_clip(tmp_path / "c.mp4", EVEN[:3], pixel_aspect=Fraction(3, 2))
    with ClipReader(path) as clip:
        assert clip.read().image.shape == (64, 240, 3)


def write_tracks(path: Path, *dispositions: Disposition) -> Path:
    """A clip of several tracks; the frames of track N show the numbers from 100 N."""
    with av.open(str(path), "w") as container:
        tracks = []
        for disposition in dispositions:
            cover = disposition == Disposition.attached_pic
            stream = container.add_stream("mjpeg" if cover else "mpeg4", rate=30)
            stream.width, stream.height = 160, 64
            stream.pix_fmt = "yuvj420p" if cover else "yuv420p"
            stream.disposition = disposition
            tracks.append((stream, 1 if cover else 10))
        for number, (stream, count) in enumerate(tracks):
            for i in range(count):
                frame = av.VideoFrame.from_ndarray(numbered(100 * number + i), format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 30)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def test_of_several_tracks_the_default_one_is_read(tmp_path):
    path = write_tracks(tmp_path / "c.mkv", Disposition(0), Disposition.default)
    with ClipReader(path) as clip:
        assert read(clip)[0] == list(range(100, 110))


def test_a_cover_picture_is_no_video(tmp_path):
    path = write_tracks(tmp_path / "c.mp4", Disposition.attached_pic, Disposition.default)
    with ClipReader(path) as clip:
        assert read(clip)[0] == list(range(100, 110))
    with pytest.raises(DriverError, match="only a cover picture"):
        read_index(write_tracks(tmp_path / "song.mp4", Disposition.attached_pic))


def test_packets_without_data_are_moments_without_a_new_picture(tmp_path):
    whole = write_clip(tmp_path / "whole.avi", EVEN, bf="0")
    with av.open(str(whole)) as source, av.open(str(tmp_path / "c.avi"), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet = packet if number % 15 != 7 else emptied(packet)
                packet.stream = stream
                container.mux(packet)
    with ClipReader(tmp_path / "c.avi") as clip:
        shown, places = read(clip)
        assert len(shown) == 42 and places[-1] == 44 and clip.length == 45 and clip.notes == ()


def emptied(packet: av.Packet) -> av.Packet:
    empty = av.Packet(0)
    empty.pts, empty.dts, empty.time_base = packet.pts, packet.dts, packet.time_base
    return empty


def test_reading_can_begin_in_the_middle(tmp_path):
    path = write_clip(tmp_path / "c.mp4", EVEN)
    with ClipReader(path, first=23) as clip:
        assert read(clip) == (list(range(23, 45)), list(range(23, 45)))
        assert clip.damaged == 0


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_a_picture_that_moves_is_read_as_a_clip(tmp_path, suffix):
    pictures = [Image.fromarray(numbered(number)) for number in range(12)]
    durations_ms = [100] * 11 + [500]
    path = tmp_path / f"moves.{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations_ms, loop=0)
    clip = AnimationReader(path)
    assert read(clip) == (list(range(12)), list(range(12)))
    assert (clip.rate, clip.length, clip.notes) == (10, 16, ())


def test_an_animation_that_was_cut_is_read_to_where_it_was_cut(tmp_path):
    pictures = [Image.fromarray(numbered(number)) for number in range(12)]
    path = tmp_path / "moves.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    try:
        clip = AnimationReader(path)
    except DriverError as error:
        assert "cut short" in str(error)
    else:
        assert 0 < len(read(clip)[0]) < 12 and "cut short" in clip.notes[0]


@pytest.mark.parametrize("data", [b"", b"x" * 5000, b"\0\0\0\x18ftypisom" + b"\0" * 200])
def test_what_is_no_video_is_refused_in_a_sentence(tmp_path, data):
    path = tmp_path / "c.mp4"
    path.write_bytes(data)
    with pytest.raises(DriverError, match=r"not a video that can be played.*: give"):
        ClipReader(path)
