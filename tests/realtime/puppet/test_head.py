"""A head that turns: where it goes, how far, what moves with it, and what stays."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from engines.face.crop import Crop, find_crop
from engines.face.landmarks import FaceReader
from engines.face.mesh import Pose, align
from realtime.puppet import background
from realtime.puppet.canvas import lay_out
from realtime.puppet.head import (
    HEAD_CENTRE,
    KNEE,
    LIMITS_DEG,
    MOST_NOD_DEG,
    HeadGeometry,
    HeadPose,
    rotation,
)
from realtime.puppet.puppet import Puppet
from tests.support.fakes import StubEngine

AXES = ("pitch_deg", "yaw_deg", "roll_deg")
STILL = np.zeros(17, np.float32)


def sharpness(picture: np.ndarray, where: np.ndarray) -> float:
    """Variance of the Laplacian, grey levels squared."""
    return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.CV_32F)[where].var())


@pytest.fixture(scope="module")
def roomy(photo) -> np.ndarray:
    """The shipped photo, half as large, with wall all around."""
    small = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(small, 150, 0, 200, 200, cv2.BORDER_REPLICATE)


@pytest.fixture(scope="module")
def puppet(roomy) -> Puppet:
    return Puppet(roomy, StubEngine())


@pytest.fixture(scope="module")
def reader():
    with FaceReader() as reader:
        yield reader


def find_crop_of(picture: np.ndarray) -> Crop:
    with FaceReader() as reader:
        return find_crop(reader.read(picture)[0], 64)


def angles(reader: FaceReader, picture: np.ndarray) -> np.ndarray:
    return align(reader.read(picture)[0].mesh_px)[1].angles_deg


def places(picture: np.ndarray) -> np.ndarray:
    """(H, W, 2) float32."""
    ys, xs = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.stack([xs, ys], axis=-1).astype(np.float32)


@pytest.mark.parametrize("angles_deg", [(0, 0, 0), (10, 0, 0), (-20, 30, 15), (5, -12, -40)])
def test_a_rotation_is_measured_as_its_own_angles(angles_deg):
    measured = Pose(rotation(np.array(angles_deg, float)), np.array(1.0), np.zeros(3)).angles_deg
    assert measured == pytest.approx(angles_deg, abs=1e-9)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("asked", [-10, 10])
def test_a_turned_head_is_measured_again_as_turned(puppet, reader, axis, asked):
    moved = angles(reader, puppet.render(STILL, HeadPose(**{axis: asked}))) - angles(reader, puppet.still)
    followed = moved[AXES.index(axis)] / asked
    assert 0.7 < followed < 1.2
    assert np.abs(np.delete(moved, AXES.index(axis))).max() < 4, "and about no other axis"


def test_a_nearer_head_is_larger(puppet, reader):
    sizes = [
        float(align(reader.read(puppet.render(STILL, HeadPose(scale=scale)))[0].mesh_px)[1].scale)
        for scale in (1.0, 1.2, 0.85)
    ]
    assert sizes[1] / sizes[0] == pytest.approx(1.2, abs=0.04)
    assert sizes[2] / sizes[0] == pytest.approx(0.85, abs=0.04)


@pytest.mark.parametrize("pose", [HeadPose(yaw_deg=15), HeadPose(pitch_deg=-12), HeadPose(10, -12, 9, 1.1)])
def test_the_background_stays_byte_for_byte(puppet, pose):
    picture = puppet.render(STILL, pose)
    centre, unit = puppet.head.centre_px[:2], puppet.head.unit_px
    away = np.linalg.norm(places(picture) - centre, axis=-1)
    head_width = 1.86 * unit  # 1.15 of the face's
    above_the_shoulders = places(picture)[..., 1] < centre[1]
    far = (away > 1.4 * head_width) & above_the_shoulders
    assert far.any() and np.array_equal(picture[far], puppet.still[far])
    assert not np.array_equal(picture, puppet.still)


def test_a_head_that_moves_stays_as_sharp_as_the_photo(puppet):
    face = np.zeros(puppet.still.shape[:2], bool)
    x, y = puppet.head.upright(places(puppet.still).astype(float))
    face[np.hypot(x, y - 0.3) < 0.7] = True
    before = sharpness(puppet.still, face)
    for pose in (HeadPose(roll_deg=7), HeadPose(yaw_deg=8), HeadPose(pitch_deg=-6)):
        assert 0.76 * before < sharpness(puppet.render(STILL, pose), face) < 1.2 * before


def test_a_movement_begins_without_a_jump(puppet):
    begun = puppet.render(STILL, HeadPose(yaw_deg=0.03)).astype(int)
    whole = puppet.render(STILL, HeadPose(yaw_deg=10)).astype(int)
    assert np.abs(begun - puppet.still).mean() < 0.05 * np.abs(whole - puppet.still).mean()


def test_what_is_far_stays_byte_for_byte_where_the_heads_edge_is_not_sure(roomy, monkeypatch):
    monkeypatch.setattr(background, "_sureness", lambda *_: np.zeros(background.SECTORS))
    puppet = Puppet(cv2.copyMakeBorder(roomy, 200, 0, 100, 100, cv2.BORDER_REFLECT), StubEngine())
    picture = puppet.render(STILL, HeadPose(10, -12, 9))
    x, y = puppet.head.upright(places(picture).astype(float))
    far = (np.hypot(x - HEAD_CENTRE[0], y - HEAD_CENTRE[1]) > 1.4 * 1.86) & (y < HEAD_CENTRE[1])
    assert far.mean() > 0.02 and np.array_equal(picture[far], puppet.still[far])


@pytest.mark.parametrize("axis", AXES)
def test_a_pose_goes_on_growing_and_never_beyond_what_the_photo_bears(puppet, axis):
    values = [abs(getattr(puppet.head.limited(HeadPose(**{axis: angle})), axis)) for angle in range(0, 60, 3)]
    assert all(one < other for one, other in pairwise(values))
    most = {"pitch_deg": MOST_NOD_DEG}.get(axis, LIMITS_DEG[-1])
    assert values[-1] <= most
    limit = {"pitch_deg": puppet.head.limits.down, "yaw_deg": puppet.head.limits.right}.get(
        axis, puppet.head.limits.tilt
    )
    half = getattr(puppet.head.limited(HeadPose(**{axis: limit / 2})), axis)
    assert half == pytest.approx(limit / 2 / (1 + 0.5**KNEE) ** (1 / KNEE)) and half > 0.98 * limit / 2


def test_a_head_that_fills_the_photo_moves_less_than_one_with_room_and_it_is_said_once(photo, puppet):
    height, width = photo.shape[:2]
    tight = photo[int(0.14 * height) : int(0.78 * height), int(0.22 * width) : int(0.78 * width)]
    said: list[str] = []
    hemmed = Puppet(np.ascontiguousarray(tight), StubEngine(), say=said.append).head.limits
    free = puppet.head.limits
    assert hemmed.tilt < free.tilt and hemmed.turn <= free.turn
    assert sum("degrees in this photo" in sentence for sentence in said) == (hemmed.turn < 10)


def test_a_map_moves_what_the_pose_moves(puppet):
    head = puppet.head
    assert np.abs(head.displacement(HeadPose()).away_px).max() < 1e-6
    away = head.displacement(HeadPose(yaw_deg=12)).away_px
    height, width = away.shape[:2]
    row, column = (
        int((at - part.start) / head.cell_px)
        for at, part in zip(head.centre_px[1::-1], head.box, strict=True)
    )
    assert away[row, column, 0] < -0.1 * head.unit_px / head.cell_px, "what is drawn comes from the left"
    assert max(np.abs(away[:, 0]).max(), np.abs(away[:, -1]).max()) < 0.05, "and nothing far from the head"
    assert np.isfinite(away).all() and (height, width) == away.shape[:2]


def test_what_a_crop_left_out_comes_into_view_when_the_head_moves(roomy):
    size = (600, 260)  # too low for the whole head
    puppet = Puppet(roomy, StubEngine(), size, "crop")
    canvas = lay_out(roomy, find_crop_of(roomy), size, "crop")
    assert np.array_equal(canvas.wide[canvas.window], canvas.image) and np.array_equal(
        puppet.still, canvas.image
    )
    top = canvas.window[0].start
    assert top > 0, "more of the photo is kept above the canvas"
    down = puppet.render(STILL, HeadPose(pitch_deg=14))
    middle = np.s_[0, 280:320]
    above = canvas.wide[top - 20 : top, canvas.window[1]][:, 280:320].reshape(-1, 3).astype(int)
    nearest = np.abs(down[middle][:, None].astype(int) - above[None]).max(axis=-1).min(axis=1)
    assert not np.array_equal(down[middle], puppet.still[middle]) and np.median(nearest) < 12


def test_a_mesh_at_the_pictures_edge_still_makes_a_head(recorded):
    mesh = recorded["neutral"].mesh_px.copy()
    mesh[:, 0] -= mesh[:, 0].min() + 40  # a part of the face is beyond the edge
    head = HeadGeometry(mesh, (slice(0, 512), slice(0, 512)))
    assert np.isfinite(head.displacement(head.limited(HeadPose(10, 20, 10))).away_px).all()
