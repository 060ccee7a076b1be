import numpy as np
import pytest

from engines import expression
from engines.aus import PAPER_17, translate
from engines.face import Face
from engines.mesh import align, mirror_index, unalign


def au(face: Face, name: str) -> float:
    return float(expression.estimate(face)[expression.ESTIMATED.index(name)])


def test_every_au_has_one_source_and_stands_in_the_papers_order():
    assert expression.ESTIMATED == PAPER_17 and len(PAPER_17) == 17
    assert set(expression.FROM_BLENDSHAPES) | set(expression.mesh_scales()) == set(PAPER_17)


def test_recorded_faces_are_told_apart(recorded):
    assert au(recorded["smile"], "AU12") > 0.6 > 0.3 > au(recorded["neutral"], "AU12")
    assert au(recorded["open"], "AU26") > au(recorded["neutral"], "AU26") + 0.15
    assert au(recorded["open"], "AU25") > 0.3 > 0.15 > au(recorded["neutral"], "AU25")
    assert au(recorded["grin"], "AU10") > au(recorded["neutral"], "AU10") + 0.3
    assert au(recorded["smile"], "AU06") > au(recorded["neutral"], "AU06")


def test_intensities_stay_within_0_and_1(recorded):
    for face in recorded.values():
        values = expression.estimate(face)
        assert values.dtype == np.float32 and values.shape == (17,) and values.min() >= 0 and values.max() <= 1


@pytest.mark.parametrize(
    ("name", "points", "direction"),
    [
        ("AU15", (61, 291), (0, 0.04, 0)),  # mouth corners down
        ("AU20", (61, 291), None),  # mouth corners apart
        ("AU09", (129, 358, 48, 278, 98, 327), (0, -0.04, 0)),  # nose wings up
        ("AU10", (37, 0, 267), (0, -0.04, 0)),  # upper lip up
        ("AU06", (50, 280, 117, 346, 118, 347, 101, 330), (0, -0.03, 0)),  # cheeks up
        ("AU25", (14, 87, 317), (0, 0.12, 0)),  # lower lip down
    ],
)
def test_a_mesh_au_follows_its_landmarks(recorded, name, points, direction):
    face = recorded["neutral"]
    aligned, pose = align(face.mesh_px)
    for point in points:
        aligned[point] += direction if direction else (0.04 * np.sign(aligned[point, 0]), 0, 0)
    mesh = unalign(aligned, pose)
    moved = Face(mesh[:, :2], mesh[:, 2], face.blendshapes)
    place = expression.ESTIMATED.index(name)
    assert expression.measure(moved)[place] - expression.measure(face)[place] > 0.25


def test_place_and_size_of_the_face_do_not_count(recorded):
    face = recorded["smile"]
    elsewhere = Face(face.landmarks_px * 2.5 + 300, face.depth_px * 2.5, face.blendshapes)
    assert expression.measure(elsewhere) == pytest.approx(expression.measure(face), abs=1e-3)


def test_a_mirrored_face_has_the_same_expression(recorded):
    face = recorded["open"]
    mesh = face.mesh_px[mirror_index()] * [-1, 1, 1]
    mesh[:, 0] += 512
    mirrored = Face(mesh[:, :2].astype(np.float32), mesh[:, 2].astype(np.float32), face.blendshapes)
    mesh_aus = [expression.ESTIMATED.index(name) for name in expression.FROM_MESH]
    assert expression.measure(mirrored)[mesh_aus] == pytest.approx(expression.measure(face)[mesh_aus], abs=0.12)


def test_vocabularies_are_translated_by_name():
    assert translate(np.array([0.5, 0.25]), ("AU12", "AU01"), ("AU01", "AU04", "AU12")) == pytest.approx([0.25, 0, 0.5])
