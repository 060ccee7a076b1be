"""A clip into files: its own sound, a part of it, faster or slower, on one photo or on several."""

import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engines.errors import CurveError, DriverError
from engines.video.clip_index import read_index
from realtime.commands import animate
from realtime.performance.driver_spec import Span, parse_part
from realtime.session import clip_driver
from realtime.session.clip_driver import find_sound
from realtime.session.offline import perform_frames
from realtime.sources.clip import Clip
from tests.conftest import SAMPLES
from tests.support.clip_files import beeps, sound_of, write_clip
from tests.support.fakes import StubEngine

FPS = 15
PHOTO = str(SAMPLES / "man.jpg")
SMALL = ("--size", "128x96")
BEEPS_S = (0.2, 0.8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """1.2 seconds of the shipped driver, with beeps."""
    driver = Clip(SAMPLES / "driver.mp4")
    frames = [driver.read().image for _ in range(36)][::2]
    driver.close()
    small = [cv2.cvtColor(cv2.resize(frame, (320, 180)), cv2.COLOR_BGR2RGB) for frame in frames]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_clip(path, np.arange(18) / FPS, beeps_s=BEEPS_S, picture=lambda number: small[number])


class QuickEngine(StubEngine):
    def close(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def quick_engine(monkeypatch):
    monkeypatch.setattr("realtime.session.engine.load_bundle", lambda _name: StubEngine().bundle)
    monkeypatch.setattr("realtime.session.engine.load_live", lambda *_a, **_o: QuickEngine())


def run(*arguments: object) -> int:
    return animate.main([*map(str, arguments), *SMALL])


def has_sound(path: Path) -> bool:
    with av.open(str(path)) as container:
        return bool(container.streams.audio)


def test_the_sound_of_a_take_is_found_once_and_opened_from_its_beginning_each_time(clip, monkeypatch):
    read = []
    monkeypatch.setattr(clip_driver, "read_index", lambda path: read.append(path) or read_index(path))
    open_sound = find_sound(parse_part(f"{clip}@from=0.5"), Span(0.5, 1.2), lambda _sentence: None)
    for _ in range(3):
        sound = open_sound()
        assert beeps(sound.until(0.7)[0]) == pytest.approx([BEEPS_S[1] - 0.5], abs=0.02)
        sound.close()
    assert len(read) == 1


def test_sound_that_cannot_be_read_is_said_once_whatever_the_number_of_videos(clip, monkeypatch):
    def refuse(*_arguments):
        raise DriverError("The sound of clip.mp4 is of an unknown kind", "convert the clip")

    monkeypatch.setattr(clip_driver.ClipSound, "__init__", refuse)
    said = []
    open_sound = find_sound(parse_part(str(clip)), Span(0.0, 1.2), said.append)
    assert open_sound() is None and open_sound() is None and len(said) == 1


def test_a_picture_has_no_sound():
    assert find_sound(parse_part(PHOTO), Span(0.0, 3.0), pytest.fail)() is None


@pytest.mark.slow
def test_a_video_keeps_the_sound_of_its_clip_and_no_sound_leaves_it_out(tmp_path, clip):
    one, other = tmp_path / "one.mp4", tmp_path / "other.mkv"
    assert run("--source", PHOTO, "--driver", clip, "--output", one, "--output", other) == 0
    for out in (one, other):
        assert read_index(out).length == 18
        assert beeps(sound_of(out, 1.2)) == pytest.approx(BEEPS_S, abs=0.03)
    silent = tmp_path / "silent.mp4"
    assert run("--source", PHOTO, "--driver", clip, "--output", silent, "--no-sound", "--seconds", "0.2") == 0
    assert not has_sound(silent)


def test_a_part_of_a_clip_at_another_speed_keeps_its_sound_in_step(tmp_path, clip):
    out = tmp_path / "out.mp4"
    part = f"{clip}@from=0.6@to=1.1@speed=0.5"
    assert run("--source", PHOTO, "--driver", part, "--output", out, "--record", tmp_path / "r.csv") == 0
    assert read_index(out).duration_s == pytest.approx(1.0, abs=0.5 / FPS)
    assert beeps(sound_of(out, 1.0), 0.6) == pytest.approx([0.4], abs=0.06)


@pytest.mark.slow
def test_render_draws_a_clip_on_every_photo_with_its_sound(tmp_path, clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, copied in (("ann.jpg", "woman.jpg"), ("bob.jpg", "man.jpg")):
        shutil.copy(SAMPLES / copied, tmp_path / name)
    tracked = []

    def counted(*arguments: object) -> object:
        tracked.append(arguments)
        return perform_frames(*arguments)

    monkeypatch.setattr("realtime.session.takes.perform_frames", counted)
    assert run("render", f"{clip}@to=0.6", "ann.jpg", "bob.jpg", "out/") == 0
    assert len(tracked) == 1
    for name in ("ann.mp4", "bob.mp4"):
        out = Path("out") / name
        assert read_index(out).length == 9 and beeps(sound_of(out, 0.6)) == pytest.approx([0.2], abs=0.03)


@pytest.mark.parametrize(
    "part, fragment",
    [("@from=9", "past the end"), ("@loop", "only a curve can be looped"), ("@to=0", "does not come after")],
)
def test_a_part_that_there_is_not_is_refused_in_a_sentence(tmp_path, capsys, clip, part, fragment):
    status = run("--source", PHOTO, "--driver", f"{clip}{part}", "--output", tmp_path / "out.mp4")
    assert status == CurveError.exit_status and fragment in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_camera_has_no_parts(tmp_path, capsys):
    status = run("--source", PHOTO, "--driver", "webcam@from=2", "--output", tmp_path / "out.mp4")
    assert status == CurveError.exit_status and "has parts" in capsys.readouterr().err
