"""The measuring of commanded poses: what it finds of a puppet that answers well, badly, or not at all."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.face.landmarks import FaceReader
from tests import poses
from tests.conftest import SAMPLES


@pytest.fixture(scope="module")
def photo_file(tmp_path_factory) -> Path:
    """A shipped photo, half as large."""
    path = tmp_path_factory.mktemp("photo") / "woman.png"
    photo = cv2.imread(str(SAMPLES / "woman.jpg"))
    cv2.imwrite(str(path), cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return path


class HalfAsLike:
    """Finds every picture but the first, which is the still one, half as like it as itself."""

    def __init__(self) -> None:
        self._seen = False

    def __call__(self, picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        vector = np.array([0.5, np.sqrt(0.75)]) if self._seen else np.array([1.0, 0.0])
        self._seen = True
        return vector


def test_a_shipped_photo_follows_head_and_gaze(photo_file, tmp_path):
    with FaceReader() as reader:
        found = poses.measure_photo(photo_file, reader, HalfAsLike(), tmp_path)
    for axis in ("turn", "nod", "tilt"):
        answer = found.answers[axis]
        assert answer.r > 0.99 and 0.8 < answer.amplitude < 1.15, (axis, answer)
        assert (answer.sharpness > 0.7).all() and answer.identity == pytest.approx([0.5, 0.5])
    assert found.answers["gaze sideways"].r > 0.95 and found.answers["gaze sideways"].amplitude > 0.5
    assert found.answers["gaze up"].r > 0.9
    assert found.far_changed == 0 and 0 <= found.beside_moving <= 1
    names = {path.name for path in tmp_path.iterdir()}
    assert {"woman-still.png", "woman-turn-minus.png", "woman-gaze-up-plus.png"} <= names
    assert len(names) == 1 + 2 * len(poses.AXES)


def test_a_head_that_does_not_move_is_found_out(photo_file):
    still = cv2.imread(str(photo_file))
    with FaceReader() as reader:
        look = poses._Look(still, reader, None)
        answer = poses._answer("turn", poses.HEAD_UNITS, [still] * len(poses.HEAD_UNITS), look)
    assert abs(answer.r) < 0.5 and abs(answer.amplitude) < 0.02
    assert answer.sharpness == pytest.approx([1, 1]) and np.isnan(answer.identity).all()


def test_the_table_has_means_and_the_worst():
    good = poses.Answer(1.0, 1.0, np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    bad = poses.Answer(0.5, 0.4, np.array([0.9, 0.7]), np.array([1.0, 0.8]))
    one = poses.PhotoAnswers("one", dict.fromkeys(poses.AXES, good), 0, 0.0, 0.0)
    other = replace(one, answers=dict.fromkeys(poses.AXES, bad), far_changed=3, beside_moving=1.0)
    text = poses.table([one, other])
    row = next(line for line in text.splitlines() if line.startswith("turn")).split()
    assert row[1:] == ["0.750", "0.70", "0.40", "1.00", "0.900", "0.700", "0.950"]
    assert "3 pixels changed" in text and "50% moves along" in text


class NoddingClip:
    """One clip: 40 frames that nod by a degree each, one of which smiles and one of which looks aside."""

    is_clip, person = np.ones(80, bool), np.zeros(80, int)
    angles_deg = np.zeros((80, 3), np.float32)
    angles_deg[:, 0] = np.arange(80) / 2
    angles_deg[20, 1] = 30

    def own(self, i: int) -> np.ndarray:
        return np.full(29, 1.0 if i == 10 else 0.0, np.float32)

    def picture(self, i: int) -> np.ndarray:
        return np.full((2, 2, 3), i, np.uint8)

    def mesh(self, _i: int) -> np.ndarray:
        return np.zeros((478, 3), np.float32)


def test_real_heads_are_compared_where_nothing_but_the_nod_differs():
    def by_degree(picture: np.ndarray, _landmarks_px: np.ndarray) -> np.ndarray:
        number = int(picture[0, 0, 0])
        angle = np.pi / 2 if number in (10, 20) else np.radians(number / 2)  # who smiles or turns is another
        return np.array([np.cos(angle), np.sin(angle)])

    found = poses.real_likeness(NoddingClip(), by_degree)
    assert set(found) == {("nod", *span) for span in poses.REAL_DEG} | {("turn", 0, 2)}
    for (axis, least, most), values in found.items():
        if axis == "nod":
            assert np.cos(np.radians(most)) <= values[0] <= np.cos(np.radians(least))
    assert "nod, 12 - 16" in poses.real_table(found)


def test_a_corpus_without_the_network_that_compares_is_refused(capsys):
    with pytest.raises(SystemExit):
        poses.main(["photo.jpg", "--corpus", "corpus"])
    assert "--identity" in capsys.readouterr().err


def test_a_photo_without_a_face_ends_in_one_sentence(tmp_path, capsys):
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), np.full((120, 120, 3), 200, np.uint8))
    assert poses.main([str(path)]) != 0
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "wall.png" in said and "No face" in said
