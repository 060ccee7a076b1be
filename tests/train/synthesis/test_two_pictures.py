"""Pairs of two photographs of one person: which are paired, what of them counts, what is left to warps."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.face.action_units import WIDE
from engines.face.au_estimator import index
from engines.face.crop import find_crop
from engines.face.landmarks import FaceReader
from engines.face.mesh import RIGHT_LID_BOTTOM, RIGHT_LID_TOP
from train.data.inputs import EXPRESSIONS_SOURCE
from train.synthesis import two_pictures
from train.synthesis.deform import moved
from train.synthesis.lids import shutting_lids
from train.synthesis.mouths import RIM
from train.synthesis.pair import Pair, finished, hidden_mouth
from train.synthesis.pairs import PairSource
from train.synthesis.regions import brows_mask
from train.synthesis.two_pictures import ASKED, Expressions, FramesOfClips

REST = np.zeros(29, np.float32)
SIZE = 256


def aus(**intensities: float) -> np.ndarray:
    """(29,) intensities of named AUs, on both sides."""
    values = REST.copy()
    for name, value in intensities.items():
        values[index((name,))] = value
    return values


class Album:
    """Pictures of people: the shipped photo's mesh with other AUs; each picture is a grey of its own."""

    size_px = SIZE

    def __init__(self, mesh: np.ndarray, shown: list[np.ndarray], people: list[int], clip: bool = False):
        self.aus, self.person = np.array(shown), np.array(people)
        self._meshes = [moved(mesh, REST, values) for values in shown]
        self.angles_deg = np.zeros((len(shown), 3), np.float32)
        self.is_clip = np.full(len(shown), clip)
        self.held_out = np.zeros(len(shown), bool)

    def __len__(self) -> int:
        return len(self.aus)

    def own(self, i) -> np.ndarray:
        return np.clip(self.aus[i], 0, 1)

    def picture(self, i: int) -> np.ndarray:
        return np.full((SIZE, SIZE, 3), 60 + 20 * i, np.uint8)

    def mesh(self, i: int) -> np.ndarray:
        return self._meshes[i]

    def is_from(self, *sources: str) -> np.ndarray:
        return np.full(len(self), EXPRESSIONS_SOURCE in sources)


@pytest.fixture(scope="module")
def mesh(photo) -> np.ndarray:
    with FaceReader() as reader:
        found = reader.read(photo)[0]
    return find_crop(found, SIZE).mesh_to_crop(found.mesh_px)


def drawn(kind: Expressions | FramesOfClips, count: int = 12) -> list[Pair | None]:
    return [kind.pair(np.random.default_rng(seed)) for seed in range(count)]


def pairs_of(album: Album) -> list[Pair | None]:
    return drawn(Expressions(album, np.arange(len(album))))


def brightness(picture: np.ndarray) -> float:
    return float(picture[SIZE // 2, SIZE // 2].mean())


def test_two_pictures_of_one_person_ask_for_less_than_the_difference_of_their_labels(mesh):
    album = Album(mesh, [REST, aus(AU12=0.8, AU25=0.4), aus(AU45=0.9)], [0, 0, 1])
    smiles = [pair for pair in pairs_of(album) if pair is not None]
    assert smiles, "the third picture has no partner, the first two have each other"
    for pair in smiles:
        sign = 1 if brightness(pair.target) > brightness(pair.picture) else -1
        assert pair.change == pytest.approx(sign * ASKED * album.aus[1])
        assert pair.photographic == [1] and not pair.mouth.any()


def test_often_both_pictures_show_an_open_mouth(mesh, monkeypatch):
    """So that a person's own teeth are seen to stay theirs."""
    monkeypatch.setattr(two_pictures, "OPEN_SHARE", 1.0)
    shown = [REST, aus(AU25=0.4, AU12=0.2), aus(AU12=0.9, AU25=0.8)]
    for pair in pairs_of(Album(mesh, shown, [0, 0, 0])):
        assert np.abs(pair.change) == pytest.approx(ASKED * np.abs(shown[2] - shown[1]))
    shut = pairs_of(Album(mesh, [REST, aus(AU12=0.9)], [0, 0]))
    assert any(pair is not None for pair in shut), "people who never open it are paired as ever"


@pytest.mark.parametrize("difference", [{"AU04": 0.5}, {"AU01": 0.4, "AU12": 0.9}])
def test_brows_are_left_to_warps(mesh, difference, monkeypatch):
    assert pairs_of(Album(mesh, [REST, aus(**difference)], [0, 0])) == [None] * 12
    monkeypatch.setattr(two_pictures, "draw_jitter", lambda _size, _rng: (False, np.eye(2, 3)))
    pair = pairs_of(Album(mesh, [REST, aus(AU12=0.9)], [0, 0]))[0]
    weights = pair.weight, cv2.resize(pair.flow_weight, (SIZE, SIZE))
    brow = brows_mask(mesh, mesh, SIZE)
    for weight in weights:
        assert weight[brow > 0.99].mean() < 0.1 * np.median(weight[pair.face > 0.99])


def test_heads_turned_another_way_are_not_paired(mesh):
    album = Album(mesh, [REST, aus(AU12=0.9)], [0, 0])
    album.angles_deg[1, 1] = 6.0
    assert pairs_of(album) == [None] * 12
    album.angles_deg[1, 1] = 4.0
    assert None not in pairs_of(album)


def test_a_lid_that_shuts_is_drawn_and_one_that_opens_is_not(mesh):
    shut = moved(mesh, REST, aus(AU45=1.0))
    eye = mesh[[*RIGHT_LID_TOP, *RIGHT_LID_BOTTOM], :2].mean(axis=0).astype(int)
    lids = shutting_lids(mesh, shut, SIZE)
    assert lids[eye[1], eye[0]] > 0.8 and 0.002 < lids.mean() < 0.03
    assert not shutting_lids(shut, mesh, SIZE).any() and not shutting_lids(mesh, mesh, SIZE).any()
    pair = next(
        pair for pair in pairs_of(Album(mesh, [REST, aus(AU45=1.0)], [0, 0])) if pair.change.sum() > 0
    )
    assert pair.painted.max() > 0.8


def test_whether_a_mouth_is_painted_that_only_the_target_shows_is_left_open(mesh):
    opened = moved(mesh, REST, aus(AU25=0.8, AU26=0.8))
    hidden = hidden_mouth(mesh, opened, SIZE)
    assert hidden.any() and not hidden_mouth(opened, opened, SIZE).any()
    pair = finished(*np.zeros((2, SIZE, SIZE, 3), np.uint8), REST, np.zeros((SIZE, SIZE, 2), np.float32),
                    mesh, opened, unknown=hidden)  # fmt: skip
    x, y = opened[RIM, :2].mean(axis=0).astype(int)
    assert pair.decided[y, x] == 0 and pair.decided[0, 0] == 1
    assert (1 - pair.decided).mean() == pytest.approx(hidden.mean())


def test_frames_of_clips_are_the_most_different_ones(mesh):
    album = Album(mesh, [REST, aus(AU12=0.3), aus(AU12=0.9)], [0, 0, 0], clip=True)
    changes = [np.abs(pair.change).max() for pair in drawn(FramesOfClips(album, np.arange(3)))]
    assert min(changes) == pytest.approx(0.6) and max(changes) == pytest.approx(0.9)


def test_a_corpus_with_expressions_gives_pairs_of_them_and_always_the_same(mesh, photo):
    album = Album(mesh, [REST, aus(AU12=0.8), aus(AU26=0.7)], [0, 0, 0])
    source = PairSource(album, seed=3)
    photographs = [bool(source.pair(number).photographic[0]) for number in range(30)]
    assert 12 <= sum(photographs) <= 27, "half are expressions, a seventh reversed, the rest warps"
    again = PairSource(album, seed=3)
    for number in range(4):
        for name, value in vars(source.pair(number)).items():
            assert np.array_equal(value, getattr(again.pair(number), name)), name


def test_a_mirrored_pair_has_its_changes_on_the_other_side(mesh):
    wink = REST.copy()
    wink[WIDE.index("AU45R")] = 0.9
    pairs = [pair for pair in pairs_of(Album(mesh, [REST, wink], [0, 0])) if pair.change.sum() > 0.1]
    sides = set()
    for pair in pairs:
        columns = np.flatnonzero(pair.painted.max(axis=0) > 0.5)
        on_right = pair.change[WIDE.index("AU45R")] > 0.5
        sides.add(on_right)
        assert (columns.mean() < SIZE / 2) == on_right, "the person's right is the picture's left"
    assert sides == {True, False}
