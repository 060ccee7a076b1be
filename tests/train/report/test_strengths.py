"""Strengths by an engine's flow: where landmarks go, what is predicted of it, and what is fitted."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.bundle import load_bundle
from engines.errors import DataError
from engines.face.action_units import WIDE, whole
from engines.face.mesh import mean_face
from engines.runtime.load import reference_engine
from train.report.strengths import (
    AUS,
    DISTANCES,
    Driver,
    arrived,
    compared,
    fitted,
    measure,
    mouth_distances,
    predicted,
)

SAMPLES = Path(__file__).parents[3] / "realtime" / "samples"
WIDTH, CORNERS, OPENING, JAW, UPPER_LIP = range(len(DISTANCES))


def test_a_landmark_arrives_where_the_moved_picture_shows_its_pixel():
    rows, columns = np.mgrid[:64, :64].astype(np.float32)
    flow = 4 * np.stack([np.exp(-((columns - 30) ** 2 + (rows - 34) ** 2) / 200), 0 * rows], axis=-1)
    photo = np.zeros((128, 128), np.float32)
    cv2.circle(photo, (62, 70), 3, 1.0, -1)
    fine = cv2.resize(flow, (128, 128))
    at = np.mgrid[:128, :128].astype(np.float32)
    moved = cv2.remap(photo, at[1] + fine[..., 0], at[0] + fine[..., 1], cv2.INTER_LINEAR)
    seen = [(moved * at[1]).sum() / moved.sum(), (moved * at[0]).sum() / moved.sum()]
    assert arrived(np.array([[62.0, 70.0]]), flow, 128)[0] == pytest.approx(seen, abs=0.15)
    assert seen[0] < 59


def test_distances_say_what_a_mouth_does():
    points = mean_face()[:, :2]
    still = mouth_distances(points)
    wide, dropped = points.copy(), points.copy()
    wide[[61, 291], 0] *= 1.2
    wide[[61, 291], 1] -= 0.05
    dropped[[17, 152], 1] += 0.2
    assert mouth_distances(wide)[WIDTH] > 1.1 * still[WIDTH]
    assert mouth_distances(wide)[CORNERS] - still[CORNERS] == pytest.approx(0.05, abs=1e-3)
    moved = mouth_distances(dropped) - still
    assert moved[[OPENING, JAW]] == pytest.approx(0.2, abs=1e-3) and moved[UPPER_LIP] == 0
    assert mouth_distances(3 * points) == pytest.approx(still), "in units of the face"


@pytest.fixture
def response() -> np.ndarray:
    """Each AU of a mouth moves something of its own."""
    rng = np.random.default_rng(4)
    one = rng.normal(0, 0.15, (len(AUS), len(DISTANCES)))
    return np.stack([one, one])


def driver(response: np.ndarray, strengths: dict[str, float]) -> Driver:
    """One whose distances are what these strengths predict."""
    rng = np.random.default_rng(7)
    change = np.abs(np.cumsum(rng.normal(0, 0.03, (400, len(WIDE))), axis=0)).clip(0, 0.5)
    given = np.array([strengths.get(au, 1.0) for au in AUS])
    return Driver("one", change, 0.6 + predicted(change, given, response))


def test_strengths_that_a_driver_was_made_with_are_found(response):
    """Nearly: several make the same few distances, and each stays near 1 where it can."""
    made, same = driver(response, {"AU12": 0.5, "AU26": 1.6, "AU18": 0.5}), np.ones(len(AUS))
    found = fitted([made], response, same)
    by_name = dict(zip(AUS, found, strict=True))
    assert max(by_name["AU12"], by_name["AU18"]) < 0.8 and by_name["AU26"] > 1.25
    assert by_name["AU05"] == by_name["AU45"] == 1.0, "not a mouth's"
    amplitude, agreement, _ = compared([made], found, response)
    assert amplitude == pytest.approx(1, abs=0.06) and agreement.min() > 0.97
    assert compared([made], same, response)[1].min() < agreement.min()


def test_what_goes_twice_as_far_has_twice_the_amplitude_and_agrees(response):
    amplitude, agreement, weight = compared([driver(response, {})], np.full(len(AUS), 0.5), response)
    assert amplitude == pytest.approx(0.5, rel=1e-6) and agreement == pytest.approx(1.0)
    assert (weight > 0).all()


def test_a_distance_in_which_a_driver_rests_says_nothing(response):
    still = driver(response, {})
    still.distances[:, CORNERS] = 0.1
    weight = compared([still], np.ones(len(AUS)), response)[2]
    assert weight[0, CORNERS] == 0 < weight[0, WIDTH]


def test_sides_count_half_each(response):
    change = np.zeros((1, len(WIDE)), np.float32)
    change[0, WIDE.index("AU12L")] = 0.8
    moved = predicted(change, np.ones(len(AUS)), response)
    assert moved[0] == pytest.approx(0.4 * response[0, AUS.index("AU12")])
    assert {whole(each) for each in WIDE} == set(AUS)


@pytest.mark.slow
def test_the_page_of_the_engine_that_ships():
    engine = reference_engine(load_bundle("default"))
    page = measure(engine, [SAMPLES / "driver.mp4"], [SAMPLES / "woman.jpg"], {"AU12": 1.2}).splitlines()
    cells = {
        line.split("|")[1].strip(): [each.strip() for each in line.split("|")[2:-1]] for line in page if line
    }
    assert float(cells["AU12"][WIDTH]) > 0.08 and cells["AU12"][-2] == "1.20"
    assert float(cells["AU18"][WIDTH]) < -0.08 and float(cells["AU26"][JAW]) > 0.08
    assert float(cells["AU10"][UPPER_LIP]) < -0.05 and float(cells["AU15"][CORNERS]) < -0.03
    assert "given" in cells and "fitted" in cells and "driver" in cells


def test_an_au_that_does_not_exist_is_said():
    with pytest.raises(DataError, match="AU99"):
        measure(None, [], [], {"AU99": 1.0})
