"""Which faces are found in a picture: small ones in large pictures, and none that are upside down."""

import os
from itertools import product

import cv2
import numpy as np
import pytest

from engines.face import landmarks
from engines.face.landmarks import BLENDSHAPES, FaceReader, _arrays
from engines.face.tiles import tiles


@pytest.fixture(scope="module")
def reader():
    with FaceReader(max_faces=4) as reader:
        yield reader


def pasted(photo: np.ndarray, size: tuple[int, int], *places: tuple[int, int, float]) -> np.ndarray:
    """A grey picture of (width, height) with the photo at each (left, top, scale)."""
    picture = np.full((size[1], size[0], 3), 128, np.uint8)
    for left, top, scale in places:
        small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture[top : top + small.shape[0], left : left + small.shape[1]] = small
    return picture


@pytest.mark.parametrize(("left", "top"), [(0, 0), (1180, 700), (2130, 1560)])
def test_a_small_face_in_a_large_picture_is_found_as_well_as_alone(photo, reader, left, top):
    scale = 240 / len(photo)
    (alone,) = reader.read(pasted(photo, (240, 240), (0, 0, scale)))
    picture = pasted(photo, (2400, 1800), (left, top, scale))
    (found,) = reader.read(picture)
    assert not reader._read_once(picture, 0), "in the whole of it"
    apart_px = np.linalg.norm(found.landmarks_px - alone.landmarks_px - [left, top], axis=1)
    assert apart_px.mean() < 1.5 and apart_px.max() < 6, "of a face 160 px high; the forehead shifts most"


def test_faces_of_very_different_sizes_are_all_found_where_all_are_wanted(photo, reader):
    scale = 200 / len(photo)
    picture = pasted(photo, (1700, 1300), (0, 0, 1200 / len(photo)), (1400, 60, scale), (1430, 900, scale))
    assert len(reader.read(picture)) == 1
    large, *small = reader.read(picture, everywhere=True)
    assert large.area_px > 20 * small[0].area_px
    assert sorted(round(face.box_px[1], -2) for face in small) == [100, 1000]


def test_a_face_that_is_upside_down_is_no_face_and_one_that_lies_is(photo, reader):
    for turns, count in enumerate((1, 1, 0, 1)):
        assert len(reader.read(np.rot90(photo, turns))) == count, turns


def test_a_followed_face_that_is_upside_down_is_no_face_until_it_is_turned(photo):
    small = cv2.resize(photo, (320, 320), interpolation=cv2.INTER_AREA)
    inverted = np.ascontiguousarray(small[::-1, ::-1])
    with FaceReader(video=True) as reader:
        found = [
            reader.follow(small if number >= 20 else inverted, number / 30) is not None
            for number in range(60)
        ]
    assert not any(found[:20]) and all(found[40:])


def test_following_keeps_standard_error_open_and_prints_nothing_there(photo, monkeypatch, capfd):
    """Standard error is one for all threads: while it is shut for one, the others' messages are lost."""
    monkeypatch.setattr(FaceReader, "_has_warned", True)
    with FaceReader(video=True) as reader:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.delattr(landmarks, "quiet_stderr")
            assert all(reader.follow(photo, number / 30) for number in range(landmarks.CHECK_FRAMES + 1))
        assert capfd.readouterr().err == ""


def test_a_warning_of_the_detector_is_not_the_users_at_whichever_run_it_comes(photo, monkeypatch, capfd):
    """It comes once in a process, at the first run whose memory happens not to be aligned."""

    class Detector:
        runs = 0

        def __init__(self, detector):
            self._detector = detector

        def detect(self, image):
            self.runs += 1
            if self.runs == 3:
                os.write(2, b"W0000 Input tensor memory is not aligned according to its requirements.\n")
            return self._detector.detect(image)

        def close(self):
            self._detector.close()

    with FaceReader() as reader:
        monkeypatch.setattr(reader, "_detector", Detector(reader._detector))
        monkeypatch.setattr(FaceReader, "_has_warned", False)
        capfd.readouterr()
        for _ in range(3):
            assert not FaceReader._has_warned and reader.read(photo)
            if reader._detector.runs >= 3:
                break
        assert FaceReader._has_warned and capfd.readouterr().err == ""
        assert reader.read(photo)


def test_a_face_of_a_third_of_a_tile_is_whole_in_one_of_them():
    for level in tiles((1300, 2000, 3), 80):
        side = max(tile.right - tile.left for tile in level)
        third = side // 3
        for top, left in product(range(0, 1300 - third, 37), range(0, 2000 - third, 41)):
            assert any(
                tile.left <= left
                and left + third <= tile.right + 1
                and tile.top <= top
                and top + third <= tile.bottom + 1
                for tile in level
            )
    assert side * 0.15 <= 80 and not list(tiles((500, 500, 3), 80))


def test_what_mediapipe_found_is_read_from_memory_as_mediapipe_reads_it(photo, monkeypatch):
    from mediapipe.tasks.python.components.containers.category import Category
    from mediapipe.tasks.python.components.containers.landmark import NormalizedLandmark

    read = []

    def as_mediapipe_does(result):
        mesh, scores = result.face_landmarks[0], result.face_blendshapes[0]
        points = [NormalizedLandmark.from_ctypes(mesh.landmarks[i]) for i in range(478)]
        shapes = [Category.from_ctypes(scores.categories[i]) for i in range(52)]
        read.append(([(p.x, p.y, p.z) for p in points], [shape.score for shape in shapes]))
        assert tuple(shape.category_name for shape in shapes) == BLENDSHAPES
        assert mesh.landmarks_count == 478 and scores.categories_count == 52
        return _arrays(result)

    with FaceReader() as reader:
        from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarkerResult

        monkeypatch.setattr(FaceLandmarkerResult, "from_ctypes", staticmethod(as_mediapipe_does))
        (face,) = reader.read(photo)
    height, width = photo.shape[:2]
    points, scores = (np.array(each, np.float32) for each in read[0])
    assert np.array_equal(face.mesh_px, points * np.array([width, height, width], np.float32))
    assert np.array_equal(face.blendshapes, scores) and scores.max() > 0.1
