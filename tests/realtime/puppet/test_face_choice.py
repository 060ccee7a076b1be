"""Which face of a photo is animated, and why none is."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engines.errors import PuppetError, SourceError
from realtime.puppet.face_choice import check_choice
from realtime.puppet.puppet import Puppet
from realtime.session.face_sheet import write_face_sheet
from realtime.session.photo_switcher import photos
from tests.conftest import SAMPLES
from tests.support.fakes import StubEngine


@pytest.fixture(scope="module")
def group(tmp_path_factory) -> Path:
    """A photo of a man, a small woman, and a large one."""
    path = tmp_path_factory.mktemp("group") / "group.png"
    picture = Image.new("RGB", (1100, 640), (128, 128, 128))
    for name, left, top, size in (("man", 20, 40, 320), ("mature", 345, 430, 200), ("woman", 550, 50, 500)):
        with Image.open(SAMPLES / f"{name}.jpg") as photo:
            picture.paste(photo.resize((size, size)), (left, top))
    picture.save(path)
    return path


def centre(puppet: Puppet) -> float:
    return float(puppet.crop.to_frame(np.array([32.0, 32.0]))[0])


@pytest.mark.parametrize(
    ("choice", "place"), [("largest", 800), ("left", 180), ("right", 800), ("2", 445), ("3", 800)]
)
def test_the_chosen_face_is_animated(group, choice, place):
    said: list[str] = []
    puppet = Puppet.from_file(group, StubEngine(), say=said.append, choice=choice)
    assert centre(puppet) == pytest.approx(place, abs=40)
    assert ("--face-sheet" in " ".join(said)) == (choice == "largest"), "asked which, unless it was said"


def test_a_face_that_is_not_there_is_refused_and_so_is_no_choice(group):
    with pytest.raises(SourceError, match="3 faces, so that there is no face 4"):
        Puppet.from_file(group, StubEngine(), choice="4")
    for text in ("0", "-1", "up", "", "1.5", "33"):
        with pytest.raises(PuppetError, match="is no choice"):
            check_choice(text)


def test_the_sheet_numbers_every_face_and_leaves_the_rest(group, tmp_path):
    write_face_sheet(str(group), str(tmp_path / "sheet.png"))
    changed = (cv2.imread(str(tmp_path / "sheet.png")) != cv2.imread(str(group))).any(axis=2)
    for left in (20, 345, 550):
        assert changed[:, left : left + 195].any()
    assert not changed[:, 1052:].any() and changed.mean() < 0.1


def test_the_reason_why_no_face_was_found_is_said(photo):
    with pytest.raises(SourceError, match="upside down: turn the photo"):
        Puppet(np.ascontiguousarray(photo[::-1, ::-1]), StubEngine())
    tiny = cv2.resize(photo, (48, 48), interpolation=cv2.INTER_AREA)
    picture = np.full((900, 1200, 3), 128, np.uint8)
    picture[300:348, 500:548] = tiny
    with pytest.raises(SourceError, match=r"only \d\d px high.* 100 px or more"):
        Puppet(picture, StubEngine())


def test_what_is_left_out_of_a_folder_is_named_and_litter_is_not(tmp_path):
    for name in ("a.jfif", "b", "._a.jpg", ".DS_Store", "Thumbs.db", "notes.txt", "clip.mp4", "broken.jpg"):
        (tmp_path / name).write_bytes(b"nothing that can be read")
    for name in ("a.jfif", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    (tmp_path / "more").mkdir()
    said: list[str] = []
    assert [path.name for path in photos(str(tmp_path), said.append)] == ["a.jfif", "b", "broken.jpg"]
    assert said == [f"Left out of {tmp_path}, as no photos: clip.mp4, more, notes.txt."]
