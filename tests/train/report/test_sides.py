"""One side of the face alone: the commanded side is measured, and apart from the other one."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.backends.interface import Edit
from engines.face.action_units import PAPER_17, SIDED, WIDE, translate
from engines.face.au_estimator import index
from tests.support.fakes import StubEngine
from tests.support.photo_corpus import People
from train.report import sides
from train.report.sides import SHOWN, sided_sweep, sides_sheet

OWN = np.where([name.endswith("R") for name in WIDE], 0.2, 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def people() -> People:
    return People()


class Writing(StubEngine):
    """Writes its input into the picture, for Reading to read."""

    def __init__(self):
        super().__init__(256, aus=WIDE)

    def run(self, picture: np.ndarray, aus: np.ndarray) -> Edit:
        colour = np.zeros_like(picture)
        colour[0, : len(aus), 0] = np.round(100 + 100 * aus)
        colour[1, 0] = 77  # written
        return Edit(colour, np.zeros(picture.shape[:2], np.float32), None)


class Reading:
    """A fake landmarker: a face that answers by half on the commanded side and by a tenth on the other."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self, picture: np.ndarray) -> list[np.ndarray]:
        if picture[1, 0].tolist() != [77, 77, 77]:
            return [OWN]
        given = (picture[0, : len(WIDE), 0].astype(np.float32) - 100) / 100
        mirrored = [
            WIDE.index(name[:-1] + {"R": "L", "L": "R"}[name[-1]]) if name[-1] in "RL" else i
            for i, name in enumerate(WIDE)
        ]
        return [OWN + given / 2 + given[mirrored] / 10]


def test_the_commanded_side_and_the_other_are_distinguished(people, monkeypatch):
    monkeypatch.setattr(sides, "FaceReader", Reading)
    monkeypatch.setattr(sides.au_estimator, "estimate", lambda face: face)
    result = sided_sweep(Writing(), people, [0, 1])
    assert tuple(result["aus"]) == SIDED and result["faces"] == 2
    for row in result["aus"].values():
        assert (row["slope"], row["other"]) == (pytest.approx(0.5, abs=0.01), pytest.approx(0.1, abs=0.01))
    assert result["mean_slope"] == pytest.approx(0.5, abs=0.01) and result["mean_other"] == pytest.approx(
        0.1, abs=0.01
    )
    assert set(result["beyond"]) == {"AU18", "AU22"}
    for row in result["beyond"].values():
        assert (row["r"], row["slope"]) == (pytest.approx(1, abs=0.01), pytest.approx(0.6, abs=0.01))


class Symmetric:
    """The shipped engine, given the means of the sides: one side alone moves both by half."""

    name = "symmetric"

    def __init__(self, engine):
        self._engine, self.bundle = engine, replace(engine.bundle, aus=WIDE)

    def run(self, picture: np.ndarray, aus: np.ndarray) -> Edit:
        return self._engine.run(
            picture, translate(translate(aus, WIDE, PAPER_17), PAPER_17, self._engine.bundle.aus)
        )


def test_an_engine_that_cannot_tell_sides_is_found_out(engine, people):
    result = sided_sweep(Symmetric(engine), people, [0, 1])
    smile = result["aus"]["AU12"]
    assert smile["slope"] > 0.15 and smile["other"] == pytest.approx(smile["slope"], rel=0.3)
    assert abs(result["beyond"]["AU18"]["slope"]) < 0.05
    assert sided_sweep(StubEngine(256), people, [0]) is None, "the paper's 17 know no sides"


def test_the_shipped_engine_distinguishes_sides(engine, people):
    result = sided_sweep(engine, people, [0, 1])
    for au in ("AU12", "AU45"):
        assert (
            result["aus"][au]["slope"] > 0.2
            and abs(result["aus"][au]["other"]) < 0.6 * result["aus"][au]["slope"]
        )
    assert result["beyond"]["AU18"]["r"] > 0.5


def test_the_sheet_shows_every_expression_of_every_face(engine, people):
    picture = sides_sheet(Symmetric(engine), people, np.arange(2))
    assert picture.shape == (26 + 2 * 195, (1 + len(SHOWN)) * 195, 3)


def test_what_is_shown_is_in_the_vocabulary():
    assert all(index(names) for _, names in SHOWN)
    assert {name for _, names in SHOWN for name in names} <= set(WIDE)
