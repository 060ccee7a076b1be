from dataclasses import replace

import cv2
import numpy as np
import pytest

from engines.face import au_estimator
from engines.face.action_units import (
    LEFT,
    MEANING,
    PAPER_17,
    RIGHT,
    SIDED,
    VOCABULARIES,
    WIDE,
    sides,
    translate,
)
from engines.face.landmarks import BLENDSHAPES, Face, FaceReader
from engines.face.mesh import align, mirror_index, unalign
from tests.support.fakes import speak


def au(face: Face, name: str) -> float:
    """The intensity of an AU, of a sided one the mean."""
    return float(translate(au_estimator.estimate(face), WIDE, (name,))[0])


def other_side(name: str) -> str:
    """AU12R for AU12L, eyeBlinkRight for eyeBlinkLeft; the name itself where there are no sides."""
    for here, there in ((RIGHT, LEFT), (LEFT, RIGHT), ("Left", "Right"), ("Right", "Left")):
        if name.endswith(here) and name.removesuffix(here) + there in (*WIDE, *BLENDSHAPES):
            return name.removesuffix(here) + there
    return name


MIRRORED = [WIDE.index(other_side(name)) for name in WIDE]


def mirrored(face: Face) -> Face:
    """What would be read from the mirror image of a 512 px picture."""
    mesh = face.mesh_px[mirror_index()] * np.array([-1, 1, 1], np.float32) + np.array([511, 0, 0], np.float32)
    return Face(
        mesh[:, :2],
        mesh[:, 2],
        face.blendshapes[[BLENDSHAPES.index(other_side(name)) for name in BLENDSHAPES]],
    )


def moved(face: Face, points: tuple[int, ...], direction: tuple[float, float, float] | None) -> Face:
    """The face with some landmarks moved, in outer eye distances of the aligned mesh; None: outwards."""
    aligned, pose = align(face.mesh_px)
    for point in points:
        aligned[point] += direction if direction else (0.04 * np.sign(aligned[point, 0]), 0, 0)
    mesh = unalign(aligned, pose)
    return Face(mesh[:, :2], mesh[:, 2], face.blendshapes)


def test_every_au_has_one_source_and_the_papers_17_keep_their_order():
    assert (len(WIDE), len(PAPER_17), len(SIDED)) == (29, 17, 10)
    sources = [
        *au_estimator.FROM_BLENDSHAPES,
        *au_estimator.mesh_scales(),
        *au_estimator.BROW_BLENDSHAPES,
        *au_estimator.FROM_LIDS,
    ]
    assert sorted(side for name in sources for side in sides(name)) == sorted(WIDE)
    whole = dict.fromkeys(name[:-1] if name not in PAPER_17 and name[:-1] in SIDED else name for name in WIDE)
    assert tuple(whole) == (*PAPER_17, "AU18", "AU22")
    assert all(name in MEANING for aus in VOCABULARIES.values() for name in aus)


def test_a_sided_au_is_read_from_the_blendshape_of_that_side():
    for name, (sources, _) in au_estimator.FROM_BLENDSHAPES.items():
        for side, source in zip(sides(name), sources, strict=True):
            assert source.endswith({RIGHT: "Right", LEFT: "Left"}.get(side.removeprefix(name), source)), (
                f"{side} from {source}"
            )


def test_recorded_faces_are_told_apart(recorded):
    assert au(recorded["smile"], "AU12") > 0.6 > 0.3 > au(recorded["neutral"], "AU12")
    assert au(recorded["open"], "AU26") > au(recorded["neutral"], "AU26") + 0.15
    assert au(recorded["open"], "AU25") > 0.3 > 0.15 > au(recorded["neutral"], "AU25")
    assert au(recorded["grin"], "AU10") > au(recorded["neutral"], "AU10") + 0.3
    assert au(recorded["smile"], "AU06") > au(recorded["neutral"], "AU06")


def test_intensities_stay_within_0_and_1(recorded):
    for face in recorded.values():
        values = au_estimator.estimate(face)
        assert (
            values.dtype == np.float32 and values.shape == (29,) and values.min() >= 0 and values.max() <= 1
        )


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
    grown = au_estimator.measure(moved(face, points, direction)) - au_estimator.measure(face)
    assert grown[au_estimator.index((name,))].min() > 0.25


@pytest.mark.parametrize(
    ("name", "right", "left", "direction"),
    [
        ("AU05", (159, 158), (386, 385), (0, -0.02, 0)),  # upper lid up
        ("AU06", (50, 117, 118, 101), (280, 346, 347, 330), (0, -0.03, 0)),  # cheek up
        ("AU10", (37,), (267,), (0, -0.06, 0)),  # red of the upper lip up
        ("AU14", (40,), (270,), (0, 0.04, 0)),  # lips thin beside the corner
        ("AU15", (61,), (291,), (0, 0.04, 0)),  # corner down
    ],
)
def test_landmarks_of_one_side_move_that_sides_au(recorded, name, right, left, direction):
    face = recorded["neutral"]
    for points, (side, other) in ((right, sides(name)), (left, sides(name)[::-1])):
        grown = au_estimator.measure(moved(face, points, direction)) - au_estimator.measure(face)
        here, there = grown[WIDE.index(side)], grown[WIDE.index(other)]
        assert here > 0.2 and abs(there) < here / 4, f"{side} {here:.2f}, {other} {there:.2f}"


def test_a_smile_of_one_side_is_taken_off_that_sides_measures_alone(recorded):
    face = recorded["neutral"]
    crooked = face.blendshapes.copy()
    crooked[BLENDSHAPES.index("mouthSmileLeft")] += 0.8
    grown = au_estimator.measure(replace(face, blendshapes=crooked)) - au_estimator.measure(face)
    for name in ("AU10", "AU14", "AU15"):  # those of which a smile explains a part
        right, left = grown[au_estimator.index((name,))]
        assert right == 0 and abs(left) > 0.1


def test_place_and_size_of_the_face_do_not_count(recorded):
    face = recorded["smile"]
    elsewhere = Face(face.landmarks_px * 2.5 + 300, face.depth_px * 2.5, face.blendshapes)
    assert au_estimator.measure(elsewhere) == pytest.approx(au_estimator.measure(face), abs=1e-3)


@pytest.mark.parametrize("name", ["neutral", "open", "grin", "smile", "glasses"])
def test_a_mirrored_face_has_the_same_expression_with_sides_exchanged(recorded, name):
    face = moved(recorded[name], (291,), (0, 0.04, 0))
    values, seen = au_estimator.measure(face), au_estimator.measure(mirrored(face))
    assert seen[MIRRORED] == pytest.approx(values, abs=1e-3)
    assert np.abs(seen - values).max() > 0.3, "which is not the same as sides kept"


def pulled(picture: np.ndarray, at_px: np.ndarray, by_px: np.ndarray, reach_px: float) -> np.ndarray:
    """The picture with what lies at a place drawn elsewhere, and its surroundings stretched after it."""
    ys, xs = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    share = np.exp(-((xs - at_px[0]) ** 2 + (ys - at_px[1]) ** 2) / (2 * reach_px**2))
    return cv2.remap(
        picture, xs - share * np.float32(by_px[0]), ys - share * np.float32(by_px[1]), cv2.INTER_CUBIC
    )


def test_a_photo_and_its_mirror_image_exchange_sides_and_left_is_the_persons(photo):
    """A photo is made to wink and to smile with the eye and the mouth corner that stand on the picture's
    right: the person's left.
    """
    with FaceReader() as reader:
        places = reader.read(photo)[0].landmarks_px
        across = np.linalg.norm(places[263] - places[33])
        assert places[263, 0] > places[33, 0], "nobody mirrored the photo itself"
        wink = pulled(photo, places[386], places[374] - places[386], 0.1 * across)
        wink = pulled(wink, places[291], across * np.array([0.05, -0.14]), 0.12 * across)
        seen = au_estimator.measure(reader.read(wink)[0])
        flipped = au_estimator.measure(reader.read(np.ascontiguousarray(wink[:, ::-1]))[0])
    for name, sign in (
        ("AU45", 1),
        ("AU12", 1),
        ("AU05", -1),
        ("AU15", -1),
    ):  # of blendshapes and of the mesh
        right, left = (WIDE.index(side) for side in sides(name))
        assert sign * (seen[left] - seen[right]) > 0.15, f"{name} is the left side's in the photo"
        assert sign * (flipped[right] - flipped[left]) > 0.15, (
            f"{name} is the right side's in its mirror image"
        )
    # MediaPipe itself reads a mirror image a little differently: 0.18 at most here; sides kept would differ
    # by 1.
    assert np.abs(flipped[MIRRORED] - seen).max() < 0.35
    assert np.abs(flipped - seen).max() > 0.7


def test_vocabularies_are_translated_by_name():
    assert translate(np.array([0.5, 0.25]), ("AU12", "AU01"), ("AU01", "AU04", "AU12")) == pytest.approx(
        [0.25, 0, 0.5]
    )
    with_unknown = translate(np.ones((2, 3, 2)), ("AU12", "AU99"), ("AU99", "AU77", "AU12"))
    assert (
        with_unknown.shape == (2, 3, 3)
        and with_unknown.dtype == np.float32
        and (with_unknown == [1, 0, 1]).all()
    )


def test_the_papers_17_go_through_the_wide_vocabulary_unchanged():
    values = np.random.default_rng(0).uniform(-1, 1, (50, 17)).astype(np.float32)
    wide = translate(values, PAPER_17, WIDE)
    assert wide.shape == (50, 29)
    assert np.array_equal(translate(wide, WIDE, PAPER_17), values) and np.array_equal(
        au_estimator.paper_17(wide), values
    )
    for name in SIDED:
        assert np.array_equal(*(wide[:, WIDE.index(side)] for side in sides(name)))
    assert not wide[:, [WIDE.index("AU18"), WIDE.index("AU22")]].any()


def test_a_side_alone_counts_half_of_the_whole_and_of_no_other_side():
    assert au_estimator.paper_17(speak(WIDE, AU12L=1, AU18=1)) == pytest.approx(speak(PAPER_17, AU12=0.5))
    assert translate(np.array([0.8]), ("AU12L",), ("AU12", "AU12R", "AU12L")) == pytest.approx([0.4, 0, 0.8])
    assert translate(np.array([0.2, 0.8]), ("AU12L", "AU12"), ("AU12R", "AU12L")) == pytest.approx([0.8, 0.2])


def test_what_is_translated_is_never_a_view():
    values = np.zeros(29, np.float32)
    translate(values, WIDE, WIDE)[0] = 1
    assert not values.any()
