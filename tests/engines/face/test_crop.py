import cv2
import numpy as np
import pytest

from engines.face.crop import cut, find_crop, find_mesh_crop
from engines.face.landmarks import Face
from engines.face.mesh import align, mean_face, unalign


def turned(face: Face, degrees: float, scale: float, shift: tuple[float, float]) -> tuple[Face, np.ndarray]:
    matrix = cv2.getRotationMatrix2D((256, 256), degrees, scale)
    matrix[:, 2] += shift
    return Face(
        (face.landmarks_px @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32),
        face.depth_px * scale,
        face.blendshapes,
    ), matrix


def test_points_come_back_from_the_crop(recorded):
    crop = find_crop(recorded["smile"], 256)
    points = np.random.default_rng(0).uniform(0, 512, (50, 2))
    assert np.abs(crop.to_frame(crop.to_crop(points)) - points).max() < 1e-9


def test_the_face_lies_inside_the_crop_with_room_for_the_jaw(recorded):
    for face in recorded.values():
        points = find_crop(face, 256).to_crop(face.landmarks_px)
        assert points.min() > 0 and points.max() < 255
    neutral = find_crop(recorded["neutral"], 256).to_crop(recorded["neutral"].landmarks_px)
    assert 25 < 256 - neutral[152, 1] < 75


@pytest.mark.parametrize("degrees", [-40, -15, 20, 90])
def test_roll_scale_and_place_of_the_head_do_not_change_what_the_crop_shows(recorded, degrees):
    face = recorded["grin"]
    moved, _ = turned(face, degrees, 1.7, (30, -60))
    straight = find_crop(face, 256).to_crop(face.landmarks_px)
    again = find_crop(moved, 256).to_crop(moved.landmarks_px)
    assert np.abs(straight - again).max() < 0.6


def test_an_open_mouth_does_not_move_the_crop(recorded):
    face = recorded["neutral"]
    opened = face.mesh_px.copy()
    opened[[14, 17, 152, 148, 377, 176, 400], 1] += 30
    a, b = find_crop(face, 256), find_mesh_crop(opened, 256)
    assert np.abs(a.crop_from_frame - b.crop_from_frame).max() < 1e-6


def test_a_crop_over_the_edge_of_the_frame_repeats_its_edge(recorded):
    face = recorded["neutral"]
    moved, _ = turned(face, 0, 1, (-180, 0))
    frame = np.full((512, 512, 3), 90, np.uint8)
    frame[:, :8] = (1, 2, 3)
    picture = cut(frame, find_crop(moved, 128))
    assert picture.shape == (128, 128, 3)
    assert (picture[:, 0] == (1, 2, 3)).all()


def test_a_large_face_is_averaged_not_skipped_through(recorded):
    face = recorded["neutral"]
    large, _ = turned(face, 0, 6, (0, 0))
    stripes = np.zeros((3072, 3072, 3), np.uint8)
    stripes[:, ::2] = 255
    middle = cut(stripes, find_crop(large, 64))[16:48, 16:48]
    assert middle.std() < 12 and 110 < middle.mean() < 145


def test_pose_comes_off_a_mesh_and_goes_back_on(recorded):
    mesh = recorded["open"].mesh_px
    aligned, pose = align(mesh)
    assert np.abs(unalign(aligned, pose) - mesh).max() < 1e-3
    assert np.linalg.norm(aligned[33] - aligned[263]) == pytest.approx(1.0, abs=0.15)


def test_roll_is_measured_in_degrees_clockwise(recorded):
    face = recorded["neutral"]
    before = align(face.mesh_px)[1].angles_deg[2]
    moved, _ = turned(face, -25, 1, (0, 0))  # OpenCV's angles run against the clock
    assert align(moved.mesh_px)[1].angles_deg[2] - before == pytest.approx(25, abs=0.5)


@pytest.mark.parametrize(("axis", "degrees"), [(0, 20), (0, -10), (1, 25), (1, -15)])
def test_pitch_and_yaw_have_the_signs_that_they_promise(axis, degrees):
    turn = cv2.Rodrigues(np.radians(degrees) * np.eye(3)[axis])[0]
    face = mean_face() @ turn.T * 100
    nose = (face - mean_face() * 100)[1]
    angles = align(face)[1].angles_deg
    assert angles[axis] * (nose[1] if axis == 0 else nose[0]) > 0, (
        "chin down and nose to the picture's right are positive"
    )
    assert abs(angles[axis]) == pytest.approx(abs(degrees), abs=0.1) and abs(angles[1 - axis]) < 0.1


def test_a_crop_follows_its_frame_when_that_is_scaled(recorded):
    crop = find_crop(recorded["smile"], 256)
    new_from_old = np.array([[0.5, 0, 40], [0, 0.5, -10]])
    moved = crop.moved(new_from_old)
    point = np.array([200.0, 300.0])
    assert moved.to_crop(point * 0.5 + [40, -10]) == pytest.approx(crop.to_crop(point))
