import cv2
import numpy as np
import pytest

from engines.errors import EngineError
from engines.face import hands
from engines.face.hands import HandReader
from tests.conftest import SAMPLES
from tests.support.drawn_hand import WALL, drawn_hand


@pytest.fixture(scope="module")
def reader() -> HandReader:
    return HandReader()


def wall(*shape: int) -> np.ndarray:
    return np.full((*shape, 3), WALL, np.uint8)


@pytest.mark.parametrize(
    ("corner", "turned"),
    [((40, 30), 0), ((260, 500), 0), ((160, 310), 1), ((160, 310), 3)],
    ids=["above, left", "below, right", "to the left", "to the right"],
)
def test_a_hand_is_found_where_it_is_and_as_it_points(reader, corner, turned):
    picture, size = wall(600, 900), 280
    drawn = np.rot90(drawn_hand(size)[0], turned)
    picture[corner[0] : corner[0] + size, corner[1] : corner[1] + size] = drawn
    (hand,) = reader.read(picture)
    across, down = (hand.landmarks_px - np.float32(corner[::-1])).T / size
    assert ((across > 0) & (across < 1) & (down > 0) & (down < 1)).all()
    wrist, knuckle = hand.landmarks_px[0], hand.landmarks_px[9]
    points = (knuckle - wrist) / np.hypot(*(knuckle - wrist))
    assert points @ {0: (0, -1), 1: (-1, 0), 3: (1, 0)}[turned] > 0.85


def test_two_hands_are_two(reader):
    picture = wall(500, 900)
    picture[150:450, 50:350] = drawn_hand(300)[0]
    picture[150:450, 550:850] = drawn_hand(300)[0][:, ::-1]
    first, second = sorted(reader.read(picture), key=lambda hand: hand.landmarks_px[0, 0])
    assert first.landmarks_px[:, 0].max() < 350 and second.landmarks_px[:, 0].min() > 550


@pytest.mark.parametrize("name", ["woman", "man", "glasses", "mature"])
def test_faces_are_no_hands(reader, name):
    assert not reader.read(cv2.imread(str(SAMPLES / f"{name}.jpg")))


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 3)])
def test_the_smallest_pictures_have_none(reader, shape):
    assert reader.read(wall(*shape)) == []


def test_a_damaged_network_is_not_loaded(monkeypatch):
    monkeypatch.setitem(hands.SHA256, "hand-landmarks.onnx", "0" * 64)
    with pytest.raises(EngineError, match=r"hand-landmarks.onnx.* install the program again"):
        HandReader()
