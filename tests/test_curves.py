import numpy as np
import pytest

from engines.errors import CurveError, OutputError
from engines.expression import ESTIMATED
from realtime.script import CurveWriter, load_curve
from tests.conftest import SAMPLES


def write(tmp_path, text: str):
    path = tmp_path / "curve.csv"
    path.write_text(text)
    return path


def test_values_are_joined_by_straight_lines_and_held_at_the_ends(tmp_path):
    curve = load_curve(write(tmp_path, "time_s,AU12,AU25\n1.0,0,0.5\n2.0,1,0.5\n"))
    smile = ESTIMATED.index("AU12")
    assert curve.duration_s == 1.0
    assert [float(curve.at(t)[smile]) for t in (-1, 0, 0.25, 1, 9)] == pytest.approx([0, 0, 0.25, 1, 1])
    assert curve.at(0.5)[ESTIMATED.index("AU25")] == pytest.approx(0.5) and curve.at(0.5)[ESTIMATED.index("AU01")] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time_s,AU99\n0,0\n", ["line 1", "column 2", "AU99"]),
        ("seconds,AU12\n0,0\n", ["line 1", "column 1", "time_s"]),
        ("time_s,AU12,AU12\n0,0,0\n", ["line 1", "column 3", "twice"]),
        ("time_s\n0\n", ["line 1", "no AU"]),
        ("time_s,AU12,AU25\n0,0,0\n1,,0\n", ["line 3", "AU12", "missing"]),
        ("time_s,AU12,AU25\n0,0\n", ["line 2", "2 values", "3 column"]),
        ("time_s,AU12\n0,0\n1,big\n", ["line 3", "AU12", "'big'"]),
        ("time_s,AU12\n0,nan\n", ["line 2", "AU12", "nan"]),
        ("time_s,AU12\n0,inf\n", ["line 2", "AU12", "inf"]),
        ("time_s,AU12\n0,0\n1,1.5\n", ["line 3", "AU12", "1.5", "outside 0 to 1"]),
        ("time_s,AU12\n0,-0.2\n", ["line 2", "AU12", "-0.2"]),
        ("time_s,AU12\n0,0\n\n2,0\n1,0\n", ["line 5", "time_s", "does not come after"]),
        ("time_s,AU12\n", ["no rows"]),
        ("", ["empty"]),
    ],
)
def test_a_broken_curve_names_file_line_and_column(tmp_path, text, words):
    with pytest.raises(CurveError) as caught:
        load_curve(write(tmp_path, text))
    assert "curve.csv" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(CurveError, match="not a text file"):
        load_curve(path)


@pytest.mark.parametrize("name", ["smile", "talk", "surprise", "wink", "everything"])
def test_the_shipped_curves_move_the_face(name):
    curve = load_curve(SAMPLES / f"{name}.csv")
    assert curve.duration_s > 1.5 and curve.values.max() > 0.5


def test_what_is_recorded_is_read_back(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "take.csv"
    moments = [(i / 30 + 100, rng.uniform(-0.2, 1, 17).astype(np.float32)) for i in range(20)]
    with CurveWriter(path) as writer:
        for time_s, expression in moments:
            writer.add(expression, time_s)
    curve = load_curve(path)
    for time_s, expression in moments:
        assert curve.at(time_s - 100) == pytest.approx(np.clip(expression, 0, 1), abs=0.02)


def test_a_recording_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OutputError, match="--record"):
        CurveWriter(tmp_path / "no" / "folder" / "take.csv")
