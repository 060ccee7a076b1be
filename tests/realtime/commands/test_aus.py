"""`run.py aus`: tables and plots of clips and pictures, and the sentences where that cannot be."""

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.face import au_estimator, pyfeat
from engines.face.action_units import PAPER_17, opposites, wholes
from engines.face.landmarks import FaceReader
from realtime.commands import animate, aus_plot
from realtime.performance.load import load_curve
from realtime.session import au_export
from tests.conftest import SAMPLES
from tests.support.waiting import PATIENCE_S

CLIP, PHOTO = str(SAMPLES / "driver.mp4"), str(SAMPLES / "man.jpg")


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@pytest.fixture
def blank(tmp_path) -> str:
    path = tmp_path / "blank.png"
    cv2.imwrite(str(path), np.full((200, 200, 3), 90, np.uint8))
    return str(path)


def test_a_clip_gives_a_row_for_each_frame_that_can_be_played_as_a_curve(tmp_path):
    table = tmp_path / "clip.csv"
    assert animate.main(["aus", CLIP, "--seconds", "0.5", "--csv", str(table)]) == 0
    found = rows(table.read_text())
    assert found[0] == ["time_s", *au_estimator.ESTIMATED] and len(found) == 16
    assert [float(row[0]) for row in found[1:]] == pytest.approx(np.arange(15) / 30, abs=2e-3)
    curve = load_curve(table)
    assert curve.values.shape == (15, 41) and 0.2 < curve.at(0.1)[au_estimator.index(("AU12",))].mean() < 0.9
    assert [path.name for path in tmp_path.iterdir()] == ["clip.csv"], "no part is left behind"


def test_a_picture_has_the_values_of_the_estimator(capsys):
    assert animate.main(["aus", PHOTO]) == 0
    header, row = rows(capsys.readouterr().out)
    with FaceReader() as reader:
        face = reader.read(cv2.imread(PHOTO))[0]
    values = np.array([float(cell) for cell in row[1:]])
    assert (
        values[:29] == pytest.approx(np.maximum(au_estimator.estimate(face), 0), abs=6e-4)
        and len(header) == 42
    )
    pose = opposites(au_estimator.read(face))
    assert opposites(values) == pytest.approx([*pose[:3], 0, *pose[4:]], abs=6e-4), "nearness needs a rest"


def test_several_drivers_name_their_rows_and_one_without_a_face_has_empty_cells(capsys, blank):
    assert animate.main(["aus", PHOTO, blank]) == 0
    out, err = capsys.readouterr()
    header, seen, unseen = rows(out)
    assert header[:2] == ["driver", "time_s"] and seen[0] == PHOTO and unseen[0] == blank
    assert all(seen) and unseen[2:] == [""] * 41
    assert "no face in 1 of 1" in err


def test_another_estimator_has_its_own_aus(capsys, monkeypatch):
    class Network:
        name = "a double"

        def __init__(self, weights):
            assert weights == "found"

        def __call__(self, frame, face):
            assert frame.ndim == 3 and face.landmarks_px.shape == (478, 2)
            return np.linspace(0, 1, 17, dtype=np.float32)

    monkeypatch.setattr(au_export, "find_weights", lambda wanted: "found" if wanted == "mine" else None)
    monkeypatch.setattr(pyfeat, "PyFeat", Network)
    assert animate.main(["aus", PHOTO, "--aus", "py-feat", "--pyfeat-weights", "mine"]) == 0
    header, row = rows(capsys.readouterr().out)
    values = [float(cell) for cell in row[1:]]
    assert tuple(header[1:]) == PAPER_17 and values[0] == 0 and values[-1] == 1 and values == sorted(values)


def test_a_plot_is_a_picture_with_a_row_for_each_au(tmp_path, capsys):
    plot = tmp_path / "clip.png"
    assert animate.main(["aus", CLIP, "--seconds", "0.3", "--plot", str(plot)]) == 0
    picture = cv2.imread(str(plot))
    assert picture.shape == (aus_plot.HEAD + aus_plot.ROW * (19 + 6) + aus_plot.FOOT, aus_plot.WIDTH, 3)
    assert capsys.readouterr().out == "", "no table where only a plot was asked for"


def curve_height(picture: np.ndarray, names: tuple[str, ...], au: str, column: int) -> float:
    """How high the coloured line of an unsided AU is drawn, 0..1; nan where there is none."""
    bottom = aus_plot.HEAD + aus_plot.ROW * (wholes(names).index(au) + 1) - 8
    strip = picture[bottom - aus_plot.ROW + 13 : bottom, column].astype(int)
    drawn = np.flatnonzero(strip[:, 0] - strip[:, 2] > 60)
    return (len(strip) - drawn.mean()) / (aus_plot.ROW - 12) if len(drawn) else float("nan")


def test_a_plot_shows_an_au_and_its_opposite_on_either_side_of_one_line():
    names, times = ("AU61", "AU62"), np.arange(90) / 30
    values = [np.array([max(0.0, 2 * t / 3 - 1), max(0.0, 1 - 2 * t / 3)]) for t in times]
    picture = aus_plot.draw(names, times, values, "from right to left")
    assert picture.shape[0] == aus_plot.HEAD + aus_plot.ROW + aus_plot.FOOT
    at = [aus_plot.LABELS + round(share * aus_plot.PLOT) for share in (0.1, 0.9)]
    assert [curve_height(picture, names[:1], "AU61", place) for place in at] == pytest.approx(
        [0.1, 0.9], abs=0.06
    )


def test_a_plot_rises_with_the_au_and_has_a_gap_without_a_face():
    times = np.arange(90) / 30
    values = [None if 1 < t < 2 else np.array([t / 3, 0.5]) for t in times]
    picture = aus_plot.draw(("AU01", "AU09"), times, values, "é is no ASCII")
    at = [aus_plot.LABELS + round(share * aus_plot.PLOT) for share in (0.1, 0.5, 0.9)]
    assert [curve_height(picture, ("AU01", "AU09"), "AU01", place) for place in at] == pytest.approx(
        [0.1, np.nan, 0.9], abs=0.06, nan_ok=True
    )
    assert [curve_height(picture, ("AU01", "AU09"), "AU09", place) for place in at] == pytest.approx(
        [0.5, np.nan, 0.5], abs=0.06, nan_ok=True
    )


@pytest.mark.parametrize(
    ("arguments", "status", "fragment"),
    [
        (["webcam"], 4, "clip or a picture"),
        ([str(SAMPLES / "smile.csv")], 4, "clip or a picture"),
        (["keys.json"], 4, "clip or a picture"),
        (["nowhere.mp4"], 4, "nowhere.mp4"),
        ([PHOTO, "--csv", PHOTO], 7, "over what is read"),
        ([PHOTO, "--plot", "plot.jpg"], 7, ".png"),
        ([PHOTO, "--csv", "no/such/folder/t.csv"], 7, "folder"),
        ([PHOTO, "--aus", "py-feat", "--pyfeat-weights", "none.safetensors"], 6, "py-feat"),
    ],
)
def test_faults_are_one_sentence(arguments, status, fragment, capsys):
    assert animate.main(["aus", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("run.py aus: ") and fragment in err and err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="names made of any bytes")
def test_a_name_that_is_no_text_is_written_as_it_is(tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/f\xffce.jpg")
    shutil.copy(PHOTO, odd)
    assert animate.main(["aus", odd, PHOTO, "--csv", str(tmp_path / "t.csv")]) == 0
    assert os.fsencode(odd) in (tmp_path / "t.csv").read_bytes()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full")
def test_a_standard_output_that_is_full_is_one_sentence():
    command = [sys.executable, "run.py", "aus", PHOTO]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
            timeout=PATIENCE_S,
        )
    assert (
        done.returncode == 7
        and done.stderr.count("\n") == 1
        and "Standard output cannot be written" in done.stderr
    )


def test_a_driver_without_any_face_writes_nothing(tmp_path, blank, capsys):
    table = tmp_path / "t.csv"
    table.write_text("an older one")
    assert animate.main(["aus", blank, "--csv", str(table)]) == 4
    assert table.read_text() == "an older one" and "No face" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank.png", "t.csv"]


def test_a_plot_of_several_is_a_wrong_command_line():
    with pytest.raises(SystemExit) as ended:
        animate.main(["aus", PHOTO, CLIP, "--plot", "x.png"])
    assert ended.value.code == 2


def test_one_of_several_pictures_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    shutil.copy(PHOTO, tmp_path / "face")
    table = tmp_path / "t.csv"
    drivers = [str(tmp_path / "broken.jpg"), str(tmp_path / "face")]
    assert animate.main(["aus", *drivers, "--csv", str(table)]) == 4
    assert "broken.jpg is not a picture" in capsys.readouterr().err
    assert [row.split(",")[0] for row in table.read_text().splitlines()[1:]] == [drivers[1]]
