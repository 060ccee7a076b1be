"""Clips as drivers: every frame at its moment, in files and live, and what is wrong is said once."""

from collections.abc import Iterator
from itertools import groupby
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from engines.face.action_units import EXPRESSION
from realtime.messages import DriverExpression, Frame
from realtime.session.offline import at_rate
from realtime.sources import clip
from realtime.sources.clip import Clip, RealtimePlayback, is_still
from tests.support.clip_files import number_of, numbered, write_clip

FPS = 30
STILL = [*range(10), *range(40, 50)]  # places of frames, with a pause of a second


def expressions(driver: Clip) -> Iterator[DriverExpression]:
    """An expression for each frame: its number."""
    while (frame := driver.read()) is not None:
        number = np.full(len(EXPRESSION), number_of(frame.image), np.float32)
        yield DriverExpression(number, frame.captured_s, True)


def drawn(driver: Clip, fps: float) -> list[int]:
    """The number of the frame that is drawn at each moment of a file."""
    total = round(driver.length * fps / driver.fps)
    moments = list(at_rate(expressions(driver), fps, total))
    assert [each.captured_s for each in moments] == pytest.approx(np.arange(len(moments)) / fps)
    return [int(each.expression[0]) for each in moments]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_pause_is_drawn_as_the_frame_before_it_and_the_duration_is_kept(tmp_path, suffix):
    path = write_clip(tmp_path / f"c{suffix}", [place / FPS for place in STILL])
    assert drawn(Clip(path), FPS) == [*range(10), *[9] * 30, *range(10, 20)]
    assert len(drawn(Clip(path), 15)) == 25 and len(drawn(Clip(path), 60)) == 100


def test_the_last_frame_is_held_as_long_as_the_file_says():
    frames = iter([DriverExpression(np.full(41, i, np.float32), i / FPS, True) for i in range(3)])
    assert [each.expression[0] for each in at_rate(frames, FPS, 6)] == [0, 1, 2, 2, 2, 2]


def test_what_is_wrong_with_a_clip_is_said_once(tmp_path):
    path = write_clip(tmp_path / "c.mkv", [i / FPS for i in range(90)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said: list[str] = []
    driver = Clip(path, said.append)
    while driver.read() is not None:
        pass
    driver.read()
    driver.close()
    assert len(said) == 1 and "cut short" in said[0]


def test_a_picture_that_moves_is_a_clip(tmp_path):
    pictures = [Image.fromarray(numbered(number)) for number in range(6)]
    path = tmp_path / "picture.jpg"  # its content counts
    pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:], duration=100, loop=0)
    assert not is_still(path)
    assert drawn(Clip(path), 10) == list(range(6))


def test_played_live_a_pause_is_filled_with_the_frame_before_it(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(
        clip,
        "time",
        SimpleNamespace(perf_counter=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s)),
    )

    class Numbers:
        fps, has_rest, live, length = float(FPS), True, False, 60

        def __init__(self) -> None:
            self.left = [(place, number) for number, place in enumerate(STILL)]

        def read(self) -> Frame | None:
            if not self.left:
                return None
            place, number = self.left.pop(0)
            return Frame(np.full((1, 1, 3), number, np.uint8), place / FPS)

        def close(self) -> None:
            pass

    playback = RealtimePlayback(Numbers(), Numbers)
    frames = [playback.read() for _ in range(80)]
    numbers = [int(frame.image[0, 0, 0]) for frame in frames]
    runs = [(number, len(list(run))) for number, run in groupby(numbers)]
    assert runs[:9] == [(number, 1) for number in range(9)]
    assert runs[9][0] == 9 and runs[9][1] == pytest.approx(31, abs=9)  # the last quarter second is waited for
    assert [number for number, _ in runs[:22]] == [*range(20), 0, 1]
    start_s, again_s = (frames[i].captured_s for i in (0, numbers.index(0, 1)))
    assert again_s - start_s == pytest.approx(2.0, abs=0.05)
