import numpy as np
import pytest

from engines.aus import MEANING, PAPER_17, sides, translate
from engines.errors import CurveError, OutputError
from engines.expression import ESTIMATED
from realtime.script import CurveWriter, load_curve
from tests.conftest import SAMPLES
from tests.doubles import speak


def write(tmp_path, text: str):
    path = tmp_path / "curve.csv"
    path.write_text(text)
    return path


def test_values_are_joined_by_straight_lines_and_held_at_the_ends(tmp_path):
    curve = load_curve(write(tmp_path, "time_s,AU12,AU25\n1.0,0,0.5\n2.0,1,0.5\n"))
    assert curve.duration_s == 1.0
    for time_s, smile in ((-1, 0), (0, 0), (0.25, 0.25), (1, 1), (9, 1)):
        assert curve.at(time_s) == pytest.approx(speak(ESTIMATED, AU12=smile, AU25=0.5))


def test_a_whole_au_moves_both_sides_and_a_side_only_itself(tmp_path):
    told = load_curve(write(tmp_path, "time_s,AU45L,AU12,AU04R,AU04L,AU18\n0,1,0.5,0.2,0.7,0.3\n")).at(0)
    assert dict(zip(ESTIMATED, told.tolist(), strict=True)) == pytest.approx(
        dict.fromkeys(ESTIMATED, 0) | {"AU45L": 1, "AU12R": 0.5, "AU12L": 0.5, "AU04R": 0.2, "AU04L": 0.7, "AU18": 0.3}
    )


def test_every_au_with_a_meaning_may_be_named(tmp_path):
    for name in MEANING:
        told = load_curve(write(tmp_path, f"time_s,{name}\n0,1\n")).at(0)
        assert set(sides(name)) == {au for au, value in zip(ESTIMATED, told, strict=True) if value == 1} and told.sum() == len(sides(name))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time_s,AU99\n0,0\n", ["line 1", "column 2", "AU99"]),
        ("seconds,AU12\n0,0\n", ["line 1", "column 1", "time_s"]),
        ("time_s,AU12,AU12\n0,0,0\n", ["line 1", "column 3", "twice"]),
        ("time_s,AU12,AU25,AU12L\n0,0,0,0\n", ["line 1", "column 4", "AU12L stands beside AU12,", "AU12R and AU12L"]),
        ("time_s,AU12R,AU12\n0,0,0\n", ["line 1", "column 3", "AU12 stands beside AU12R,", "AU12 is both sides"]),
        ("time_s,AU18L\n0,0\n", ["line 1", "column 2", "'AU18L' is not a known AU"]),
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


@pytest.mark.parametrize("name", ["smile", "talk", "surprise", "everything"])
def test_curves_of_17_columns_play_on_an_engine_of_17_as_they_stand(name):
    curve = load_curve(SAMPLES / f"{name}.csv")
    assert curve.aus == PAPER_17
    for time_s, row in zip(curve.times_s, curve.values, strict=True):
        assert np.array_equal(translate(curve.at(time_s), ESTIMATED, PAPER_17), row)


def test_the_wink_shuts_one_eye_at_a_time_smoothly_and_comes_to_rest():
    curve = load_curve(SAMPLES / "wink.csv")
    told = {au: np.array([curve.at(t)[ESTIMATED.index(au)] for t in curve.times_s]) for au in ESTIMATED}
    left, right = told["AU45L"], told["AU45R"]
    assert left.max() == right.max() == 1 and np.minimum(left, right).max() < 0.2
    assert left.argmax() < right.argmax() < (told["AU12R"] - told["AU12L"]).argmax() < told["AU18"].argmax()
    assert not curve.values[0].any() and not curve.values[-1].any()
    for eye in (left, right):
        shutting_s = (curve.times_s[eye > 0.95][0] - curve.times_s[eye > 0.05][0]).item()
        assert 0.1 < shutting_s < 0.25 and np.abs(np.diff(eye)).max() < 0.35, "a lid, not a switch"


def test_what_is_recorded_is_read_back(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "take.csv"
    moments = [(i / 30 + 100, rng.uniform(-0.2, 1, len(ESTIMATED)).astype(np.float32)) for i in range(20)]
    with CurveWriter(path) as writer:
        for time_s, expression in moments:
            writer.add(expression, time_s)
    curve = load_curve(path)
    assert curve.aus == ESTIMATED and len(ESTIMATED) == 29
    for time_s, expression in moments:
        assert curve.at(time_s - 100) == pytest.approx(np.clip(expression, 0, 1), abs=0.02)


def test_a_recording_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OutputError, match="--record"):
        CurveWriter(tmp_path / "no" / "folder" / "take.csv")
