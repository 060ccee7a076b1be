"""The preview on a virtual screen: real keys, real pictures of the window. Needs Xvfb."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engines.errors import OutputError
from engines.face.landmarks import FaceReader
from realtime.output.window import Window, has_screen
from tests.conftest import SAMPLES
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
TITLE, SIZE = "Expression Puppet", (960, 540)
pytestmark = pytest.mark.skipif(not shutil.which("Xvfb"), reason="there is no Xvfb: apt install xvfb")


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="X11")
@pytest.mark.parametrize(
    "environment",
    [{"DISPLAY": ":7654"}, {"WAYLAND_DISPLAY": "wayland-0"}],
    ids=["a display that is gone", "no X11"],
)
def test_a_display_that_does_not_answer_is_no_screen_and_ends_nothing(environment, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert not has_screen()
    with pytest.raises(OutputError, match="no screen"):
        Window((64, 48))


class Screen:
    """An X server without a monitor: its windows can be captured, its keys pressed."""

    def __init__(self):
        from Xlib.display import Display

        reading, writing = os.pipe()
        command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1000x800x24", "-nolisten", "tcp"]
        self._server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
        os.close(writing)
        with open(reading) as printed:
            self.name = f":{printed.readline().strip()}"
        self._display = Display(self.name)

    def close(self) -> None:
        self._display.close()
        self._server.terminate()
        self._server.wait()

    def look(self) -> np.ndarray | None:
        """(H, W, 3) uint8 BGR: what is in the window; None while there is none."""
        from Xlib import X

        window = self._window()
        if window is None:
            return None
        size = window.get_geometry()
        raw = window.get_image(0, 0, size.width, size.height, X.ZPixmap, 0xFFFFFFFF)
        return np.frombuffer(raw.data, np.uint8).reshape(size.height, size.width, 4)[..., :3].copy()

    def shows_a_picture(self) -> bool:
        """Whether something is drawn in the window; where nothing is, the window is asked to draw again.

        Without a window manager Qt misses the first Expose at times, and then never draws: the window stays
        black, or keeps Qt's own grey in a part of it.
        """
        image = self.look()
        if image is None:
            return False
        if len(np.unique(image[..., 0])) > 2:
            return True
        window = self._window()
        if window is not None:
            window.clear_area(0, 0, 0, 0, True)
            self._display.sync()
            time.sleep(0.3)
        return False

    def _window(self):
        from Xlib import X

        for window in self._display.screen().root.query_tree().children:
            if window.get_wm_name() == TITLE and window.get_attributes().map_state == X.IsViewable:
                return window
        return None

    def press(self, key: str) -> None:
        from Xlib import X
        from Xlib.ext import xtest

        code = self._display.keysym_to_keycode(ord(key))
        self._display.screen().root.warp_pointer(
            400, 300
        )  # without a window manager, keys go where the pointer is
        for event in (X.KeyPress, X.KeyRelease):
            xtest.fake_input(self._display, event, code)
        self._display.sync()


@pytest.fixture
def screen():
    shown = Screen()
    yield shown
    shown.close()


@pytest.fixture
def play(screen, tmp_path):
    """Starts the program on that screen, and waits until its window shows something."""
    started = []

    def begin(*arguments: str) -> subprocess.Popen:
        command = [
            sys.executable,
            str(ROOT / "run.py"),
            "--output",
            "window",
            "--size",
            "960x540",
            *arguments,
        ]
        said = open(tmp_path / "said.txt", "w+")
        started.append(
            (
                subprocess.Popen(
                    command, env=os.environ | {"DISPLAY": screen.name}, stderr=said, cwd=tmp_path
                ),
                said,
            )
        )
        process = started[-1][0]
        wait_for(lambda: process.poll() is not None or screen.shows_a_picture())
        assert process.poll() is None, (tmp_path / "said.txt").read_text()
        return process

    yield begin
    for process, said in started:
        process.kill()
        process.wait()
        said.close()


@pytest.mark.slow
def test_keys_and_figures_work_in_a_real_window(screen, play, tmp_path):
    process = play("--source", str(SAMPLES / "man.jpg"), "--driver", str(SAMPLES / "driver.mp4"))
    said = tmp_path / "said.txt"
    bars = np.s_[60:450, -110:]  # where the driver's, the requested and the measured AUs are drawn
    colourful = lambda image: int(np.ptp(image[bars].astype(int), axis=2).max())  # noqa: E731
    wait_for(lambda: colourful(screen.look()) > 90)
    with FaceReader() as reader:
        assert reader.read(screen.look()), "the puppet is to be seen between the figures"
    screen.press("p")
    wait_for(lambda: screen.look()[:400, :700].mean() < 50)
    screen.press("p")
    wait_for(lambda: screen.look()[:400, :700].mean() > 60)
    screen.press("h")
    wait_for(lambda: colourful(screen.look()) < 60)
    for key in "-1cr":
        screen.press(key)
        time.sleep(0.3)
    wait_for(lambda: "Recording into" in said.read_text())
    time.sleep(1.0)
    screen.press("q")
    assert process.wait(15) == 0
    printed = said.read_text()
    assert all(
        message in printed
        for message in ("Paused", "goes on", "at rest for a second", "wrote puppet-", "ended")
    ), printed
    assert len(list(tmp_path.glob("puppet-*.mp4"))) == 1


def test_the_next_photo_of_a_folder_takes_over_and_one_without_a_face_is_skipped(screen, play, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(SAMPLES / "man.jpg", folder / "1.jpg")
    (folder / "2.jpg").write_bytes(b"no picture")
    shutil.copy(SAMPLES / "woman.jpg", folder / "3.jpg")
    play("--source", str(folder), "--driver", str(SAMPLES / "smile.csv"))
    before = screen.look()
    screen.press("n")
    said = tmp_path / "said.txt"
    wait_for(lambda: "3.jpg now" in said.read_text())
    assert "2.jpg" in said.read_text() and "skipped" in said.read_text()
    wait_for(lambda: np.abs(screen.look()[:400, 250:700].astype(int) - before[:400, 250:700]).mean() > 20)
