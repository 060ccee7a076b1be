"""Sharpness at a photo's own resolution."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.backends.interface import Edit
from engines.errors import DataError
from tests.conftest import SAMPLES
from tests.support.fakes import StubEngine
from train.report.native import native_sharpness
from train.report.photos import read_photos


@pytest.fixture(scope="module")
def photos():
    return read_photos([SAMPLES / "man.jpg", SAMPLES / "mature.jpg"], 256)


class Painting(StubEngine):
    """Paints the whole crop by its own picture: what an engine without flow does at worst."""

    def run(self, picture: np.ndarray, aus: np.ndarray) -> Edit:
        return Edit(picture, np.zeros(picture.shape[:2], np.float32), None)


class Shifting(StubEngine):
    """Moves everything by about half a pixel of the photos: no shift blurs more."""

    def run(self, picture: np.ndarray, aus: np.ndarray) -> Edit:
        return Edit(picture, np.ones(picture.shape[:2], np.float32), np.full((32, 32, 2), 0.17, np.float32))


@pytest.mark.slow
def test_what_keeps_the_photos_pixels_keeps_its_sharpness(photos):
    still = native_sharpness(StubEngine(256, flow_px=32), photos)
    assert still["native_photos"] == 2 and still["native_sharpness"] == still["native_sharpness_ideal"] == 1
    moved = native_sharpness(Shifting(256, flow_px=32), photos)
    assert 0.75 < moved["native_sharpness"] < moved["native_sharpness_ideal"] < 1.02
    assert moved["native_sharpness_of_ideal"] == pytest.approx(
        moved["native_sharpness"] / moved["native_sharpness_ideal"], abs=0.02
    )


def test_a_crop_in_place_of_the_photo_is_seen_to_be_blurred(photos):
    result = native_sharpness(Painting(256), photos)
    assert result["native_sharpness"] < 0.3 and result["native_crop_px"][0] > 700


def test_faces_that_are_smaller_than_the_crop_are_refused(photos):
    small = [
        replace(
            photo,
            subjects=[replace(photo.subjects[0], crop=photo.subjects[0].crop.moved(np.eye(2, 3) * 0.2))],
        )
        for photo in photos
    ]
    assert native_sharpness(Painting(256), [small[0], photos[1]])["native_photos"] == 1
    with pytest.raises(DataError, match="give larger photos"):
        native_sharpness(Painting(256), small)
