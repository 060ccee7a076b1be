"""`run.py render` as a person uses it.

Which videos there are, that they are the same again, and everything that can be wrong.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import av
import cv2
import numpy as np
import pytest

from engines.errors import CurveError, OutputError, PuppetError, SourceError
from realtime.commands import animate
from realtime.output.contact_sheet import ContactSheet
from realtime.output.outputs import VideoFile
from realtime.session.batch import plan
from realtime.sources.clip import Clip
from tests.conftest import SAMPLES
from tests.support.fakes import StubEngine
from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
CURVE = "time_s,AU12,AU25\n0,0,0\n0.5,1,0.2\n1,0.1,0.8\n"


class Closing(StubEngine):
    """An engine that is to be closed."""

    opened: ClassVar[list["Closing"]] = []

    def __init__(self):
        super().__init__()
        self.closed = False
        Closing.opened.append(self)

    def close(self) -> bool:
        self.closed = True
        return True


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Two takes and two photos in the working folder, and an engine that loads at once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.csv").write_text(CURVE)
    (tmp_path / "bye.json").write_text(
        '{"version": 1, "keyframes": [{"time_s": 0, "AU26": 0}, {"time_s": 1, "AU26": 1, "AU12": 1}]}'
    )
    for name, copied in (("ann.jpg", "woman.jpg"), ("bob.jpg", "man.jpg")):
        shutil.copy(SAMPLES / copied, tmp_path / name)
    Closing.opened = []
    monkeypatch.setattr("realtime.session.engine.load_bundle", lambda _name: StubEngine().bundle)
    monkeypatch.setattr("realtime.session.engine.load_live", lambda *_a, **_o: Closing())
    return tmp_path


def render(*arguments: str) -> int:
    return animate.main(["render", *arguments, "--size", "128x96", "--fps", "10"])


def pictures(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_take_and_a_photo_become_a_video_and_the_same_one_again(folder, capsys):
    assert render("hello.csv", "ann.jpg", "out.mp4", "--sheet", "sheet.png") == 0
    assert pictures(folder / "out.mp4") == 11 and cv2.imread("sheet.png") is not None
    assert "wrote out.mp4: 11 pictures" in capsys.readouterr().err
    assert render("hello.csv", "ann.jpg", "again.mp4") == 0
    assert Path("out.mp4").read_bytes() == Path("again.mp4").read_bytes()
    assert all(engine.closed for engine in Closing.opened)


def test_every_take_by_every_photo_with_one_engine(folder):
    assert render("hello.csv", "bye.json", "ann.jpg", "bob.jpg", "made/here/") == 0
    names = sorted(path.name for path in Path("made/here").iterdir())
    assert names == ["ann-bye.mp4", "ann-hello.mp4", "bob-bye.mp4", "bob-hello.mp4"]
    assert len({path.read_bytes() for path in Path("made/here").iterdir()}) == 4
    assert len(Closing.opened) == 1


def test_a_photo_that_fails_is_reported_and_the_others_go_on(folder, capsys):
    Path("wall.jpg").write_bytes(b"no picture")
    assert render("hello.csv", "ann.jpg", "wall.jpg", "gone.jpg", "bob.jpg", "out") == SourceError.exit_status
    said = capsys.readouterr().err
    assert (
        "wall.jpg is not a picture" in said
        and "There is no photo at gone.jpg" in said
        and "2 of 4 videos, 22 pictures" in said
    )
    assert said.strip().splitlines()[-1] == f"missing: {Path('out/wall.mp4')}, {Path('out/gone.mp4')}"
    assert (
        sorted(path.name for path in Path("out").iterdir()) == ["ann.mp4", "bob.mp4"]
        and "Traceback" not in said
    )


def test_a_video_that_cannot_be_written_is_reported_and_the_others_go_on(folder, capsys, monkeypatch):
    from realtime.session import batch

    class Full(batch.VideoFile):
        def send(self, image, time_s):
            if self.name.startswith("ann") and time_s > 0.3:
                raise OutputError("ann.mp4 cannot be written any further: free some space.")
            super().send(image, time_s)

    monkeypatch.setattr(batch, "VideoFile", Full)
    Path("ann.mp4").write_bytes(b"precious")
    assert render("hello.csv", "ann.jpg", "bob.jpg", "{photo}.mp4") == OutputError.exit_status
    assert "1 of 2 videos" in capsys.readouterr().err
    assert Path("ann.mp4").read_bytes() == b"precious" and pictures(Path("bob.mp4")) == 11
    assert [path.name for path in folder.iterdir() if "part" in path.name] == []


def test_parts_of_takes_and_curves_over_them_are_drawn(folder):
    assert render("hello.csv@from=0.5@speed=0.5", "ann.jpg", "plain.mp4") == 0
    assert render("hello.csv@from=0.5@speed=0.5", "ann.jpg", "over.mp4", "--over", "bye.json:AU12") == 0
    assert pictures(Path("plain.mp4")) == pictures(Path("over.mp4")) == 11
    assert Path("plain.mp4").read_bytes() != Path("over.mp4").read_bytes()


def test_a_take_for_ever_wants_to_know_how_long(folder, capsys):
    assert (
        render("hello.csv@loop", "ann.jpg", "out.mp4") == CurveError.exit_status
        and "--seconds" in capsys.readouterr().err
    )
    assert (
        render("hello.csv@loop", "ann.jpg", "out.mp4", "--seconds", "3") == 0
        and pictures(Path("out.mp4")) == 30
    )


def test_a_take_of_weeks_needs_no_memory_before_its_first_picture(folder, monkeypatch):
    def first_one(performance, *_rest) -> int:
        assert next(performance).captured_s == 0
        raise OutputError("Enough.")

    monkeypatch.setattr("realtime.session.batch.play_offline", first_one)
    assert render("hello.csv@loop", "ann.jpg", "out.mp4", "--seconds", "999999") == 7


def test_two_programs_do_not_draw_one_file_and_the_first_one_is_whole(tmp_path):
    picture = np.zeros((96, 128, 3), np.uint8)
    first = VideoFile(tmp_path / "a.mp4", (128, 96), 10)
    first.send(picture, 0.0)
    with pytest.raises(OutputError, match="another program"):
        VideoFile(tmp_path / "a.mp4", (128, 96), 10)
    first.close()
    again = VideoFile(tmp_path / "a.mp4", (128, 96), 10)
    for number in range(3):
        again.send(picture, number / 10)
    again.close()
    assert pictures(tmp_path / "a.mp4") == 3 and os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.skipif(os.name == "nt", reason="no name has a colon there")
def test_a_name_with_a_colon_is_no_protocol(folder):
    assert render("hello.csv", "ann.jpg", "take:2.mp4") == 0
    assert pictures(folder / "take:2.mp4") == 11
    with closing(Clip("take:2.mp4")) as clip:
        assert clip.read() is not None


def test_a_video_whose_folder_is_gone_at_the_end_is_reported(tmp_path):
    (tmp_path / "videos").mkdir()
    video = VideoFile(tmp_path / "videos" / "a.mkv", (128, 96), 10)
    video.send(np.zeros((96, 128, 3), np.uint8), 0.0)
    (tmp_path / "videos").rename(tmp_path / "moved")
    with pytest.raises(OutputError, match="could not be finished"):
        video.close()


@pytest.mark.parametrize("expected", [1, 23, 24, 47, 100])
def test_a_contact_sheet_shows_the_whole_clip(tmp_path, expected):
    sheet = ContactSheet(tmp_path / "Blätter 5%.png", expected, width_px=8)
    for number in range(expected):
        sheet.send(np.full((8, 8, 3), 100 + number, np.uint8), number / 10)
    sheet.close()
    drawn = cv2.imdecode(np.fromfile(tmp_path / "Blätter 5%.png", np.uint8), cv2.IMREAD_COLOR)[
        ::8, ::8, 0
    ].ravel()
    shown = [value - 100 for value in drawn.tolist() if value]
    assert len(shown) == min(expected, 24) and shown[0] == 0 and shown[-1] >= expected - 1 - expected / 24
    assert max(np.diff(shown), default=1) <= expected / 24 + 1


def test_options_may_stand_anywhere_and_settings_count(folder):
    assert (
        animate.main(
            [
                "render",
                "--size",
                "128x96",
                "hello.csv",
                "--fps",
                "10",
                "ann.jpg",
                "weak.mp4",
                "--strength",
                "50%",
            ]
        )
        == 0
    )
    assert render("hello.csv", "ann.jpg", "full.mp4") == 0
    assert Path("weak.mp4").read_bytes() != Path("full.mp4").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "status", "fragments"),
    [
        (["ann.jpg", "bob.jpg", "out/"], 5, ["No take is named"]),
        (["hello.csv", "bye.json", "out/"], 3, ["No photo is named"]),
        (["hello.csv", "ann.jpg", "bob.jpg"], 7, ["bob.jpg is none of .mkv, .mov, .mp4"]),
        (["hello.csv", "ann.jpg", "out.gif"], 7, ["out.gif is none of"]),
        (
            ["hello.csv", "ann.jpg", "out.mp4", "--sheet", "sheet.txt"],
            7,
            ["sheet.txt is none of .jpeg, .jpg, .png, .webp"],
        ),
        (
            ["hello.csv", "ann.jpg", "bob.jpg", "out.mp4"],
            7,
            ["out.mp4 would be written twice", "ann.jpg", "bob.jpg", "{photo}"],
        ),
        (["hello.csv", "bye.json", "ann.jpg", "{photo}.mp4"], 7, ["written twice", "hello.csv", "bye.json"]),
        (
            ["hello.csv", "ann.jpg", "bob.jpg", "out/", "--sheet", "one.png"],
            7,
            ["one.png would be written twice"],
        ),
        (["hello.csv", "ann.jpg", "{face}.mp4"], 7, ["{face} stands for nothing", "{photo}"]),
        (
            ["hello.csv", "ann.jpg", "out.mp4", "--sheet", "ann.jpg"],
            7,
            ["ann.jpg would be written over what is read"],
        ),
        (["hello.csv", "ann.jpg", "hello.csv/"], 7, ["The folder hello.csv cannot be made"]),
        (["gone.csv", "ann.jpg", "out.mp4"], 5, ["no AU curve at gone.csv"]),
        (["broken.csv", "ann.jpg", "out.mp4"], 5, ["broken.csv, line 2, column AU12"]),
        (["hello.csv:nose", "ann.jpg", "out.mp4"], 5, ["'nose' is no group"]),
        (
            ["hello.csv", "ann.jpg", "out.mp4", "--over", "bye.json"],
            5,
            ["bye.json would cover hello.csv wholly"],
        ),
        (["hello.csv", "ann.jpg", "out.mp4", "--strength", "9"], 2, ["--strength 9"]),
        (["hello.csv", "empty", "out.mp4"], 3, ["no photo in the folder empty"]),
    ],
)
def test_what_cannot_be_drawn_is_reported_in_one_sentence_before_anything_is(
    folder, capsys, arguments, status, fragments
):
    Path("broken.csv").write_text("time_s,AU12\n0,big\n")
    Path("empty").mkdir()
    before = sorted(folder.rglob("*"))
    assert render(*arguments) == status
    said = capsys.readouterr().err.strip()
    assert said.startswith("run.py render: ") and len(said.splitlines()) == 1
    for fragment in fragments:
        assert fragment in said
    assert (
        sorted(path for path in folder.rglob("*") if path.is_file())
        == [path for path in before if path.is_file()]
        and not Closing.opened
    )


@pytest.mark.parametrize(
    "arguments", [[], ["hello.csv"], ["hello.csv", "ann.jpg"], ["a.csv", "b.jpg", "c.mp4", "--fps", "0"]]
)
def test_a_wrong_command_line_is_explained(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        animate.main(["render", *arguments])
    assert caught.value.code == 2 and "usage" in capsys.readouterr().err


def test_a_folder_of_photos_and_names_with_stars_are_spread(folder):
    jobs = plan(["*.csv", str(folder), "out/"])
    assert [(job.photo.name, job.take, job.out) for job in jobs] == [
        ("ann.jpg", "hello.csv", Path("out/ann.mp4")), ("bob.jpg", "hello.csv", Path("out/bob.mp4")),
    ]  # fmt: skip
    with pytest.raises(PuppetError):
        plan(["*.nothing", "out/"])


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_keeps_finished_videos_and_deletes_the_unfinished_one(tmp_path):
    """The real engine, a real process, a real signal."""
    takes = [str(SAMPLES / "wink.csv") + "@to=0.5", str(SAMPLES / "everything.csv")]
    command = [sys.executable, str(ROOT / "run.py"), "render", *takes, str(SAMPLES / "man.jpg"), "out/"]
    command += ["--size", "160x120", "--device", "cpu-fp32"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stderr:
        if line.startswith("wrote"):
            break
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert (
        process.returncode == 130
        and "stopped: 1 of 2 videos are finished" in said
        and "Traceback" not in said
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["man-wink.mp4"] and pictures(
        tmp_path / "out" / "man-wink.mp4"
    ) == 16


def test_help_reads_without_loading_anything_heavy():
    code = """
import sys
from realtime.commands import animate
try:
    animate.main(["render", "--help"])
except SystemExit:
    pass
print([name for name in ("cv2", "openvino", "mediapipe", "torch") if name in sys.modules])
"""
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    assert said.strip().endswith("[]") and "--over" in said and "exit status" in said
