"""Photos are hashed once, and again where they have changed."""

import os
import shutil
import stat
import sys

import cv2
import numpy as np
import pytest

from realtime.session import fingerprints as module
from realtime.session.fingerprints import fingerprint, fingerprints, fingerprints_file


@pytest.fixture(autouse=True)
def empty_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("PUPPET_SETTINGS", str(tmp_path / "settings"))


@pytest.fixture
def hashed(monkeypatch):
    """The names of the photos that are hashed."""
    names = []

    def counted(path):
        names.append(path.name)
        return fingerprint(path)

    monkeypatch.setattr(module, "fingerprint", counted)
    return names


@pytest.fixture
def photos(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((8, 8, 3), number, np.uint8))
    return paths


def test_a_folder_is_hashed_at_its_first_start_alone(photos, hashed):
    first = fingerprints(photos)
    assert hashed == [path.name for path in photos]
    assert fingerprints(photos) == first == {fingerprint(path): path for path in photos}
    assert len(hashed) == len(photos)


def test_a_photo_that_changed_is_hashed_again_whatever_its_size_and_time_say(photos, hashed):
    fingerprints(photos)
    before = photos[1].stat()
    photos[1].write_bytes(photos[1].read_bytes()[:-1] + b"x")
    os.utime(photos[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    hashed.clear()
    found = fingerprints(photos)
    assert hashed == ["1.png"] and found[fingerprint(photos[1])] == photos[1]


def test_a_photo_in_the_place_of_another_is_known_by_what_is_in_it(photos, hashed):
    fingerprints(photos)
    photos[0].unlink()
    shutil.move(photos[3], photos[0])
    assert fingerprints(photos[:2]) == {fingerprint(path): path for path in photos[:2]}


def test_what_is_no_picture_or_not_there_has_none(photos, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    paths = [*photos, tmp_path / "text.png", tmp_path / "missing.png"]
    assert set(fingerprints(paths).values()) == set(photos) == set(fingerprints(paths).values())


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"a": [1]}', b"\xff"])
def test_what_is_kept_and_damaged_is_made_anew(photos, hashed, content):
    fingerprints_file().parent.mkdir()
    fingerprints_file().write_bytes(content)
    assert len(fingerprints(photos)) == 4 and len(hashed) == 4
    fingerprints(photos)
    assert len(hashed) == 4


def test_what_cannot_be_kept_is_hashed_the_next_time(photos, hashed):
    fingerprints_file().parent.write_text("a file where the folder should be")
    assert fingerprints(photos) == fingerprints(photos) and len(hashed) == 8


def test_no_more_than_a_bounded_number_is_kept(photos, hashed, monkeypatch):
    monkeypatch.setattr(module, "MAX_KEPT", 3)
    fingerprints(photos)
    fingerprints(photos[1:])
    assert len(hashed) == 4, "the newest are kept"


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such permissions there")
def test_what_is_kept_is_its_owners_alone_and_names_no_place(photos):
    fingerprints(photos)
    assert stat.S_IMODE(fingerprints_file().stat().st_mode) == 0o600
    assert b"png" not in fingerprints_file().read_bytes()
