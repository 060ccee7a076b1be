"""ARKit's shapes as AUs, and back."""

import numpy as np
import pytest

from engines.face.action_units import EXPRESSION, SIDED, WIDE, from_opposites, head_pose, opposites, sides
from engines.face.arkit import PLACE, SHAPE_OF, SHAPES, ArkitFace, both_sides, face_of, look_shapes, reading


def face(pose=(0, 0, 0), distance_m=0.5, **shapes: float) -> ArkitFace:
    values = np.zeros(len(SHAPES), np.float32)
    for name, value in shapes.items():
        values[PLACE[name]] = value
    return ArkitFace(values, np.array(pose, np.float32), distance_m)


def test_the_table_has_every_au_and_only_shapes_that_exist():
    assert len(set(SHAPES)) == 52
    assert {side for au in [*SHAPE_OF, "AU25"] for side in sides(au)} == set(WIDE)
    assert all(name in PLACE for stem in SHAPE_OF.values() for name in both_sides(stem))


def test_a_shape_of_one_side_is_the_au_of_that_side_alone():
    for au in SIDED:
        left = reading(face(**{SHAPE_OF[au] + "Left": 0.5}))
        assert left[WIDE.index(au + "L")] > 0.4 and left[WIDE.index(au + "R")] == 0


def test_lips_part_as_far_as_the_jaw_opens_and_they_do_not_close():
    def parted(**shapes: float) -> float:
        return float(reading(face(**shapes))[WIDE.index("AU25")])

    assert parted(jawOpen=0.8) == pytest.approx(1)
    assert parted(jawOpen=0.4, mouthClose=0.4) == 0
    assert 0 < parted(mouthLowerDownLeft=1, mouthLowerDownRight=1) < parted(jawOpen=0.8)


def test_head_and_eyes_point_the_persons_own_way():
    read = reading(face(pose=(15, -6, 3), distance_m=0.4, eyeLookOutLeft=0.5, eyeLookInRight=0.5))
    turn, nod, tilt, nearness, sideways, up = opposites(read)
    assert (turn, nod, tilt) == pytest.approx((0.5, -0.2, 0.1))
    assert nearness == pytest.approx(1) and sideways > 0.3 and up == 0
    assert head_pose(read)[0] > 0, "left is AU51"


def test_a_distance_that_is_none_is_no_nearness():
    assert opposites(reading(face(distance_m=0.0)))[3] == 0


def test_eyes_that_look_down_are_au64():
    down = ArkitFace(look_shapes(0, -0.5), np.zeros(3, np.float32))
    assert reading(down)[EXPRESSION.index("AU64")] > 0.5


def test_an_expression_comes_back_from_the_face_that_shows_it():
    rng = np.random.default_rng(0)
    for _ in range(20):
        asked = np.zeros(len(EXPRESSION), np.float32)
        asked[: len(WIDE)] = rng.uniform(0, 0.9, len(WIDE))
        asked[WIDE.index("AU25")] = asked[WIDE.index("AU26")] * rng.uniform(0, 1)
        asked[len(WIDE) :] = from_opposites(rng.uniform(-0.6, 0.6, 6))
        shown = face_of(asked)
        assert shown.shapes.min() >= 0 and shown.shapes.max() <= 1
        np.testing.assert_allclose(reading(shown), asked, atol=1e-5)


def test_less_than_rest_is_rest_in_shapes():
    asked = np.full(len(EXPRESSION), -0.5, np.float32)
    assert not face_of(asked).shapes.any()
