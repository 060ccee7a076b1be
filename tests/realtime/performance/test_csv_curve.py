"""AU curves as CSV: read, interpolated, recorded and replayed bit for bit."""

import errno
import io
import os
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engines.errors import CurveError, OutputError
from engines.face.action_units import GROUPS, MEANING, PAPER_17, WIDE, sides, translate, wholes
from engines.face.au_estimator import ESTIMATED
from realtime.messages import DriverExpression
from realtime.performance.curve import Curve
from realtime.performance.curve_writer import STORE_S, CurveWriter
from realtime.performance.load import load_curve
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.offline import perform_curve, play_offline
from realtime.timing import Timings
from tests.conftest import SAMPLES
from tests.support.fakes import KeepingOutput, StubEngine, speak


def write(tmp_path, text: str):
    path = tmp_path / "curve.csv"
    path.write_text(text)
    return path


def test_values_are_interpolated_from_rest_to_rest_and_held_at_the_ends(tmp_path):
    curve = load_curve(write(tmp_path, "time_s,AU12,AU25\n1.0,0,0.5\n2.0,1,0.5\n"))
    assert curve.duration_s == 1.0
    for time_s, smile in ((-1, 0), (0, 0), (0.25, 0.15625), (0.5, 0.5), (1, 1), (9, 1)):
        assert curve.at(time_s) == pytest.approx(speak(ESTIMATED, AU12=smile, AU25=0.5))


@pytest.fixture(scope="module")
def wild() -> Curve:
    """Rows at uneven times, with rests and turns."""
    rng = np.random.default_rng(3)
    times_s = np.concatenate([[0], np.cumsum(rng.uniform(0.005, 0.5, 60))])
    values = rng.uniform(-1, 1, (61, len(ESTIMATED))).astype(np.float32)
    values[10:13], values[30:36, :9] = values[10], np.sort(values[30:36, :9], axis=0)
    return Curve(ESTIMATED, times_s, values)


def test_between_two_rows_values_stay_between_theirs(wild):
    for i, (start_s, end_s) in enumerate(pairwise(wild.times_s)):
        values = np.array([wild.at(t) for t in np.linspace(start_s, end_s, 40)])
        low, high = np.minimum(*wild.values[i : i + 2]), np.maximum(*wild.values[i : i + 2])
        assert (values >= low).all() and (values <= high).all()
        assert (
            np.diff(values, axis=0)
            * np.sign(high - low)
            * np.where(wild.values[i] > wild.values[i + 1], -1, 1)
            > -1e-6
        ).all(), "one way"


def test_rows_are_kept_bit_for_bit_and_passed_without_a_kink(wild):
    for time_s, row in zip(wild.times_s, wild.values, strict=True):
        assert wild.at(time_s).tobytes() == row.tobytes()
    step_s = 1e-4
    for time_s in wild.times_s:
        before, at, after = (wild.at(time_s + d).astype(float) for d in (-step_s, 0, step_s))
        assert (
            np.abs((after - at) - (at - before)).max() / step_s
            < 0.2 * np.abs(np.diff(wild.values, axis=0)).max() / 0.005
        )


def test_inside_the_slopes_are_those_of_pchip(wild):
    scipy = pytest.importorskip("scipy.interpolate")
    theirs = scipy.PchipInterpolator(wild.times_s, wild.values.astype(np.float64))
    for time_s in np.linspace(wild.times_s[1], wild.times_s[-2], 500):
        assert wild.at(time_s) == pytest.approx(theirs(time_s), abs=1e-5)


def test_evaluating_a_curve_costs_nothing_beside_a_picture():
    curve = load_curve(SAMPLES / "everything.csv")
    curve.at(0)
    best_s = min(_timed(lambda: [curve.at(t) for t in np.linspace(0, 59, 500)]) for _ in range(5)) / 500
    assert best_s < 1e-4


def _timed(work) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def test_curves_from_spreadsheets_are_read(tmp_path):
    rows = load_curve(write(tmp_path, "time_s,AU12\n0,0\n0.5,-0.8\n"))
    for text in (
        "time_s;AU12\r\n0;0\r\n0,5;-0,8\r\n",
        "time_s\tAU12\n0\t0\n0,5\t-0.8\n",
        "\ufefftime_s,AU12,,\n0,0,,\n0.5,-8e-1,,\n,,,\n",
    ):
        path = tmp_path / "sheet.csv"
        path.write_text(text, encoding="utf-8", newline="")
        curve = load_curve(path)
        assert (
            curve.aus == ("AU12",)
            and np.array_equal(curve.times_s, rows.times_s)
            and np.array_equal(curve.values, rows.values)
        )


def test_excels_line_about_the_separator_is_read_and_counted(tmp_path):
    curve = load_curve(write(tmp_path, "sep=;\ntime_s;AU12\n0;0\n0,5;0,8\n"))
    assert (
        curve.aus == ("AU12",) and curve.times_s.tolist() == [0, 0.5] and curve.values[1] == np.float32(0.8)
    )
    with pytest.raises(CurveError, match="line 4, column AU12"):
        load_curve(write(tmp_path, '"sep=,"\ntime_s,AU12\n0,0\n1,2\n'))


OPENFACE = "frame, face_id, timestamp, confidence, success, gaze_0_x, AU12_r, AU45_r, AU12_c\n"


def test_a_table_of_openface_is_a_curve_of_the_first_persons_intensities(tmp_path):
    rows = (
        "1, 0, 0.000, 0.98, 1, 0.1, 0.00, 5.00, 1.00\n"
        "2, 0, 0.033, 0.10, 0, 0.1, 0.00, 0.00, 0.00\n"  # no face
        "3, 1, 0.067, 0.98, 1, 0.1, 5.00, 0.00, 0.00\n"  # another person
        "3, 0, 0.067, 0.98, 1, 0.1, 2.50, 1.00, 1.00\n"
    )
    curve = load_curve(write(tmp_path, OPENFACE + rows))
    assert curve.aus == ("AU12", "AU45") and curve.times_s == pytest.approx([0, 0.067])
    assert curve.values == pytest.approx(np.array([[0, 1], [0.5, 0.2]]))
    with pytest.raises(CurveError, match=r"line 2, column AU12.*7"):
        load_curve(write(tmp_path, OPENFACE + "1, 0, 0.000, 0.98, 1, 0.1, 7.00, 5.00, 1.00\n"))
    with pytest.raises(CurveError, match="no rows"):
        load_curve(write(tmp_path, OPENFACE + "1, 0, 0.000, 0.98, 0, 0.1, 0.00, 5.00, 1.00\n"))


def test_a_curve_may_go_below_neutral(tmp_path):
    assert load_curve(write(tmp_path, "time_s,AU04\n0,-1\n")).at(0) == pytest.approx(
        speak(ESTIMATED, AU04=-1)
    )


def test_each_au_is_in_one_group():
    grouped = [au for aus in GROUPS.values() for au in aus]
    assert sorted(grouped) == sorted(wholes(ESTIMATED)) and set(GROUPS) == {
        "eyes",
        "brows",
        "mouth",
        "head",
        "gaze",
    }


def test_a_whole_au_moves_both_sides_and_a_side_only_itself(tmp_path):
    values = load_curve(write(tmp_path, "time_s,AU45L,AU12,AU04R,AU04L,AU18\n0,1,0.5,0.2,0.7,0.3\n")).at(0)
    assert dict(zip(ESTIMATED, values.tolist(), strict=True)) == pytest.approx(
        dict.fromkeys(ESTIMATED, 0)
        | {"AU45L": 1, "AU12R": 0.5, "AU12L": 0.5, "AU04R": 0.2, "AU04L": 0.7, "AU18": 0.3}
    )


def test_every_au_with_a_meaning_may_be_named(tmp_path):
    for name in MEANING:
        values = load_curve(write(tmp_path, f"time_s,{name}\n0,1\n")).at(0)
        assert set(sides(name)) == {
            au for au, value in zip(ESTIMATED, values, strict=True) if value == 1
        } and values.sum() == len(sides(name))


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("time_s,AU99\n0,0\n", ["line 1", "column 2", "AU99"]),
        ("seconds,AU12\n0,0\n", ["line 1", "column 1", "time_s"]),
        ("time_s,AU12,AU12\n0,0,0\n", ["line 1", "column 3", "twice"]),
        (
            "time_s,AU12,AU25,AU12L\n0,0,0,0\n",
            ["line 1", "column 4", "AU12L stands beside AU12,", "AU12R and AU12L"],
        ),
        (
            "time_s,AU12R,AU12\n0,0,0\n",
            ["line 1", "column 3", "AU12 stands beside AU12R,", "AU12 is both sides"],
        ),
        ("time_s,AU18L\n0,0\n", ["line 1", "column 2", "'AU18L' is not a known AU"]),
        ("time_s\n0\n", ["line 1", "no AU"]),
        ("time_s,AU12,AU25\n0,0,0\n1,,0\n", ["line 3", "AU12", "missing"]),
        ("time_s,AU12,AU25\n0,0\n", ["line 2", "2 values", "3 column"]),
        ("time_s,AU12\n0,0\n1,big\n", ["line 3", "AU12", "'big'"]),
        ("time_s,AU12\n0,nan\n", ["line 2", "AU12", "nan"]),
        ("time_s,AU12\n0,inf\n", ["line 2", "AU12", "inf"]),
        ("time_s,AU12\n0,0\n1,1.5\n", ["line 3", "AU12", "1.5", "outside -1 to 1"]),
        ("time_s,AU12\n0,-1.2\n", ["line 2", "AU12", "-1.2"]),
        ("time_s,AU12\n0,0\n\n2,0\n1,0\n", ["line 5", "time_s", "does not come after"]),
        ("time_s,AU12\n", ["no rows"]),
        ("", ["empty"]),
        (" ,\n0,0\n", ["line 1", "column 1", "time_s"]),
    ],
)
def test_a_broken_curve_names_file_line_and_column(tmp_path, text, fragments):
    with pytest.raises(CurveError) as caught:
        load_curve(write(tmp_path, text))
    assert "curve.csv" in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_times_that_no_number_can_hold_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "huge.csv").write_text("time_s,AU12\n-1e308,0\n1e308,1\n1.5e308,1\n")
    with pytest.raises(CurveError, match="are its times in seconds"):
        load_curve(tmp_path / "huge.csv")


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
    values = {au: np.array([curve.at(t)[ESTIMATED.index(au)] for t in curve.times_s]) for au in ESTIMATED}
    left, right = values["AU45L"], values["AU45R"]
    assert left.max() == right.max() == 1 and np.minimum(left, right).max() < 0.2
    assert (
        left.argmax()
        < right.argmax()
        < (values["AU12R"] - values["AU12L"]).argmax()
        < values["AU18"].argmax()
    )
    assert not curve.values[0].any() and not curve.values[-1].any()
    for eye in (left, right):
        shutting_s = (curve.times_s[eye > 0.95][0] - curve.times_s[eye > 0.05][0]).item()
        assert 0.1 < shutting_s < 0.25 and np.abs(np.diff(eye)).max() < 0.35, "a lid, not a switch"


def take(path: Path, moments, **options) -> Curve:
    with CurveWriter(path, **options) as writer:
        for time_s, expression in moments:
            writer.add(expression, time_s)
    return load_curve(path)


def test_a_recording_comes_back_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    odd = np.zeros((3, len(ESTIMATED)), np.float32)
    odd[0, :9] = [
        1,
        -1,
        -0.0,
        1e-45,
        -1e-45,
        np.nextafter(np.float32(1), np.float32(0)),
        1 / 3,
        1.17549435e-38,
        0.1,
    ]
    values = np.concatenate(
        [odd, rng.uniform(-1, 1, (2000, len(ESTIMATED))), rng.normal(0, 1e-3, (500, len(ESTIMATED)))]
    ).astype(np.float32)
    times_s = 86400.123 + np.cumsum(rng.uniform(0.001, 0.05, len(values)))
    curve = take(tmp_path / "take.csv", zip(times_s, values, strict=True))
    assert curve.aus == ESTIMATED and len(ESTIMATED) == 41
    for time_s, written_s, expression in zip(times_s - times_s[0], curve.times_s, values, strict=True):
        assert curve.at(time_s).tobytes() == curve.at(written_s).tobytes() == expression.tobytes()


@pytest.mark.parametrize("fps", [24, 25, 30, 60, 30000 / 1001])
def test_a_recording_at_an_even_rate_is_replayed_bit_for_bit(tmp_path, fps):
    rng = np.random.default_rng(1)
    expressions = rng.uniform(-1, 1, (4000, len(ESTIMATED))).astype(np.float32)
    curve = take(tmp_path / "take.csv", ((number / fps, each) for number, each in enumerate(expressions)))
    replayed = [each.expression for each in perform_curve(curve, fps)]
    assert np.array(replayed).tobytes() == expressions.tobytes()


def test_moments_that_do_not_come_after_the_last_are_left_out(tmp_path):
    one, other = speak(ESTIMATED, AU12=1), speak(ESTIMATED, AU25=1)
    curve = take(
        tmp_path / "take.csv", [(5.0, one), (5.0, other), (4.0, other), (5.0000002, other), (6.0, other)]
    )
    assert curve.times_s.tolist() == [0, 1] and np.array_equal(curve.at(0), one)


def test_rows_are_easy_to_read(tmp_path):
    take(tmp_path / "take.csv", [(7.0, speak(ESTIMATED, AU12=0.8)), (7.5, speak(ESTIMATED))])
    rows = (tmp_path / "take.csv").read_text().splitlines()
    assert (
        rows[1].startswith("0,0,0,0,") and ",0.8,0.8," in rows[1] and rows[2] == "0.5" + ",0" * len(ESTIMATED)
    )


def test_a_recording_without_a_moment_leaves_what_was_there(tmp_path):
    path = tmp_path / "take.csv"
    path.write_text("precious")
    CurveWriter(path).close()
    assert path.read_text() == "precious" and list(tmp_path.iterdir()) == [path]


def test_a_killed_recording_leaves_a_part_that_is_kept_and_can_be_read(tmp_path):
    path, said = tmp_path / "take.csv", []
    killed = CurveWriter(path)
    for number in range(300):
        killed.add(speak(ESTIMATED, AU12=number / 300), number / 30)
    left = path.with_name("take.part.csv")
    assert load_curve(left).duration_s > 9 - STORE_S, "stored, although it was not closed"
    killed._file._file.close()  # as the system does with a dead program's
    again = take(path, [(0.0, speak(ESTIMATED)), (1.0, speak(ESTIMATED, AU25=1))], notify=said.append)
    assert again.duration_s == 1 and len(said) == 1 and "take.kept-1.csv" in said[0]
    assert load_curve(tmp_path / "take.kept-1.csv").duration_s > 8


class SmallDisk(io.FileIO):
    """A file on a disk that is full after some bytes; the last write before that takes a part."""

    def __init__(self, path: Path, room: int = 20_000):
        super().__init__(path, "x+b")
        self._room = room

    def write(self, data) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = min(self._room, len(data))
        self._room -= taken
        return super().write(data[:taken])


def test_a_full_disk_ends_the_recording_at_a_whole_row_and_not_the_run(tmp_path):
    rng, path, said = np.random.default_rng(0), tmp_path / "take.csv", []
    writer = CurveWriter(path, said.append, SmallDisk)
    for number in range(300):
        writer.add(rng.uniform(-1, 1, len(ESTIMATED)).astype(np.float32), number / 30)
    assert len(said) == 1 and "No space" in said[0] and "take.csv" in said[0]
    with pytest.raises(OutputError, match="ended early"):
        writer.close()
    assert 0.5 < load_curve(path).duration_s < 10


def test_the_longest_recording_is_reported_once(tmp_path):
    expression, said = speak(ESTIMATED, AU12=1), []
    curve = take(
        tmp_path / "take.csv", [(hour * 3600.0, expression) for hour in range(10)], notify=said.append
    )
    assert curve.duration_s == 6 * 3600 and len(said) == 1 and "complete after 6 hours" in said[0]


def test_hours_of_a_recording_take_no_memory(tmp_path):
    writer = CurveWriter(tmp_path / "take.csv")
    expression = speak(ESTIMATED, AU12=1 / 3)
    for number in range(5000):
        writer.add(expression, number / 30)
        assert len(writer._rows) <= 32
    writer.close()


@pytest.mark.parametrize(
    ("name", "fragment"), [("no/folder/take.csv", "--record"), ("take.json", "end it with .csv")]
)
def test_a_recording_that_cannot_be_written_is_refused(tmp_path, name, fragment):
    with pytest.raises(OutputError, match=fragment):
        CurveWriter(tmp_path / name)


@pytest.mark.parametrize("fps", [30, 23.976])
def test_a_replay_at_the_same_rate_gives_the_same_pictures_byte_for_byte(photo, tmp_path, fps):
    rng = np.random.default_rng(0)
    expressions = [
        DriverExpression(rng.uniform(-1, 1, len(ESTIMATED)).astype(np.float32), n / fps, seen=n % 40 < 12)
        for n in range(150)
    ]  # seen, held, easing out, gone
    replay(Puppet(photo, StubEngine(aus=WIDE), (96, 64)), expressions, tmp_path / "take.csv", fps)


def test_the_shipped_engine_replays_byte_for_byte(photo, engine, tmp_path):
    expressions = perform_curve(load_curve(SAMPLES / "wink.csv"), 10, 30)
    replay(Puppet(photo, engine, (320, 240)), expressions, tmp_path / "take.csv", 10)


def replay(puppet: Puppet, expressions, path: Path, fps: float) -> None:
    """Draws expressions and records them, then draws the recording."""
    takes = []
    for record in (True, False):
        output = KeepingOutput()
        with CurveWriter(path) if record else nullcontext() as writer:
            stage = Animator(puppet, Retarget(puppet.bundle, puppet.own_aus), Timings(), writer)
            play_offline(expressions if record else perform_curve(load_curve(path), fps), stage, [output])
        takes.append([image.tobytes() for image in output.images])
    assert len(set(takes[0])) > 10 and takes[0] == takes[1]
