"""A photo taken apart into a person and a background, and laid together again."""

import cv2
import numpy as np
import pytest

from engines.blend import over
from engines.face.landmarks import FaceReader
from realtime.puppet import background
from realtime.puppet.background import _divided, _frame_px, fill, take_apart
from realtime.puppet.head import HeadGeometry, HeadPose
from realtime.puppet.puppet import Puppet
from tests.support.fakes import StubEngine

STILL = np.zeros(17, np.float32)


def inner(layers) -> tuple[slice, slice]:
    """Of layers with a margin: what lies in the box."""
    height, width = layers.matte.shape
    margin = layers.margin_px
    return slice(margin, height - margin), slice(margin, width - margin)


@pytest.fixture(scope="module")
def roomy(photo) -> np.ndarray:
    """The shipped photo, half as large, with wall beside and above."""
    small = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(small, 100, 0, 150, 150, cv2.BORDER_REPLICATE)


@pytest.fixture(scope="module")
def in_front_of_a_grid(roomy) -> tuple[np.ndarray, np.ndarray]:
    """The shipped photo's person before tiles, and where nothing of the person is, (H, W) bool."""
    puppet = Puppet(roomy, StubEngine())
    layers = puppet._layers
    matte = np.zeros(roomy.shape[:2], np.float32)
    person = np.zeros(roomy.shape, np.float32)
    matte[layers.box] = layers.matte[inner(layers)] / 255
    person[layers.box] = layers.person[inner(layers)]
    halo = matte < 0.1  # the wall's light around them, which would be no tiles' light
    matte[halo] = person[halo] = 0
    height, width = roomy.shape[:2]
    tiles = np.full((height, width, 3), (200, 190, 180), np.uint8)
    for y in range(20, height, 60):
        cv2.line(tiles, (0, y), (width, y - 10), (120, 90, 60), 5)
    for x in range(10, width, 90):
        cv2.line(tiles, (x, 0), (x + 12, height), (120, 90, 60), 5)
    tiles = cv2.GaussianBlur(tiles, (0, 0), 1)
    picture = np.round(person + (1 - matte[..., None]) * tiles).clip(0, 255).astype(np.uint8)
    return picture, matte == 0


def test_the_layers_are_the_photo_byte_for_byte(photo):
    with FaceReader() as reader:
        mesh_px = reader.read(photo)[0].mesh_px
    layers = take_apart(
        photo, mesh_px, HeadGeometry(mesh_px, (slice(0, len(photo)), slice(0, photo.shape[1])))
    )
    part = inner(layers)
    assert np.array_equal(over(layers.person[part], layers.matte[part], layers.background), photo[layers.box])


def test_a_matte_finds_the_head_and_leaves_the_wall(photo):
    puppet = Puppet(photo, StubEngine())
    layers, head = puppet._layers, puppet.head
    matte = layers.matte[inner(layers)]
    ys, xs = np.mgrid[layers.box]
    x, y = head.upright(np.stack([xs, ys], axis=-1).astype(float))
    assert (matte[np.hypot(x / 0.8, (y - 0.3) / 1.0) < 1] == 255).all()
    assert (matte[(np.abs(x) > 1.3) & (y < 0.5)] > 0).mean() < 0.05


@pytest.mark.parametrize("pose", [HeadPose(yaw_deg=12), HeadPose(yaw_deg=-12), HeadPose(roll_deg=8)])
def test_lines_behind_a_head_that_turns_do_not_bend(in_front_of_a_grid, pose):
    picture, behind = in_front_of_a_grid
    puppet = Puppet(picture, StubEngine())
    before = puppet.render(STILL, HeadPose())
    after = puppet.render(STILL, pose)
    x, y = puppet.head.upright(
        np.stack(np.meshgrid(*map(np.arange, picture.shape[1::-1])), axis=-1).astype(float)
    )
    changed = np.abs(after.astype(int) - before).max(axis=-1) > 8
    above = behind & (y < -1.75) & (np.abs(x) < 1.2)  # a head that turns comes no further than this
    beside = behind & (np.abs(x) > 1.5) & (np.abs(x) < 2.2) & (y < 0.2)
    assert above.mean() > 0.02 and beside.mean() > 0.02
    assert not changed[above].any() and changed[beside].mean() < 0.1


@pytest.mark.parametrize("pose", [HeadPose(yaw_deg=12), HeadPose(yaw_deg=-12), HeadPose(roll_deg=8)])
def test_lines_behind_a_head_bend_by_less_than_a_pixel_where_the_matte_is_sure(in_front_of_a_grid, pose):
    picture, _ = in_front_of_a_grid
    puppet = Puppet(picture, StubEngine())
    rows, columns = puppet.head.box
    map_px = puppet.head.displacement(puppet.head.limited(pose)).away_px
    map_px = cv2.resize(map_px, (columns.stop - columns.start, rows.stop - rows.start))
    asked = np.zeros(picture.shape[:2], np.float32)  # how far the map would take what is there along
    asked[puppet.head.box] = np.linalg.norm(map_px, axis=2)
    sure = np.ones(picture.shape[:2], np.uint8)
    sure[puppet.head.box] = puppet._layers.matte[inner(puppet._layers)] == 0
    reach = 2 * int(asked.max()) + 1  # so far the person may come over the lines
    clear = cv2.erode(sure, np.ones((reach, reach), np.uint8)) > 0
    before, after = (
        255 - cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(float)
        for image in (puppet.still, puppet.render(STILL, pose))
    )
    height, width = clear.shape
    bends = []
    for x in range(10, width, 90):  # as the lines of the grid
        for y in range(height):
            at = round(x + 12 * y / height)
            part = np.s_[y, max(0, at - 12) : at + 13]
            if clear[part].all() and asked[part].min() > 2:
                bends.append(_darkest(after[part]) - _darkest(before[part]))
    assert len(bends) > 60 and np.abs(bends).max() < 1, (len(bends), np.abs(bends).max())


def _darkest(profile: np.ndarray) -> float:
    """Where a dark line crosses, pixels."""
    dark = np.maximum(profile - np.median(profile) - 5, 0)
    return float(dark @ np.arange(len(profile)) / max(dark.sum(), 1e-6))


def test_what_a_head_uncovers_looks_like_the_wall(roomy):
    puppet = Puppet(roomy, StubEngine())
    turned = puppet.render(STILL, HeadPose(yaw_deg=14))
    layers = puppet._layers
    matte = np.zeros(roomy.shape[:2], np.uint8)
    matte[layers.box] = layers.matte[inner(layers)] == 255
    grid = np.stack(np.meshgrid(*map(np.arange, roomy.shape[1::-1])), axis=-1).astype(float)
    x, y = puppet.head.upright(grid)
    edge = (matte > cv2.erode(matte, np.ones((9, 9)))) & (x < -0.5) & (y < 0.3) & (y > -0.6)
    wall = np.median(puppet.still[(np.abs(x) > 1.5) & (y < 0.3)].astype(int), axis=0)
    before, after = (np.abs(image[edge].astype(int) - wall).max(axis=1) for image in (puppet.still, turned))
    assert np.median(before) > 40 and np.median(after) < 25, "the head has left, and no copy of it stays"


def test_no_outline_of_a_head_stays_on_a_plain_wall(roomy):
    puppet = Puppet(roomy, StubEngine())
    layers = puppet._layers
    matte = layers.matte[inner(layers)]
    edge = cv2.dilate((matte > 25).astype(np.uint8), np.ones((9, 9))) - (matte > 25)
    ys, xs = np.mgrid[layers.box]
    x, y = puppet.head.upright(np.stack([xs, ys], axis=-1).astype(float))
    beside = (edge > 0) & (y < 0) & (y > -1) & (x < 0)
    kept = np.abs(np.diff(layers.background.astype(int), axis=1)).max(axis=2)
    seen = np.abs(np.diff(roomy[layers.box].astype(int), axis=1)).max(axis=2)
    assert beside.sum() > 200 and kept[beside[:, 1:]].mean() < 0.7 * seen[beside[:, 1:]].mean()


def test_colours_that_a_plane_divides_are_told_apart_and_mixed_ones_are_not():
    rng = np.random.default_rng(3)
    hair, wall, curtain = (
        rng.normal(mean, 6, (300, 3)) for mean in ((40, 35, 30), (70, 80, 95), (42, 36, 31))
    )
    assert _divided(hair, wall) > 0.98
    assert _divided(hair, curtain) < 0.7
    assert _divided(hair, np.concatenate([wall[:150], curtain[:150]])) < 0.82
    assert _divided(hair, wall[:3]) == 0


def test_hair_is_sure_before_a_wall_although_the_picture_is_as_dark_elsewhere(roomy):
    """The mixtures of the whole picture know the hair's colour as a background's, too."""
    picture = roomy.copy()
    hair = roomy[130:170, 240:330].reshape(-1, 3)
    dark = np.random.default_rng(1).choice(hair, (picture.shape[0], 140))
    picture[:, -140:] = dark
    layers = Puppet(picture, StubEngine())._layers
    ys, xs = np.mgrid[layers.box]
    x, y = Puppet(roomy, StubEngine()).head.upright(np.stack([xs, ys], axis=-1).astype(float))
    left = (x > -1.9) & (x < -1.5) & (y < 0)
    assert (layers.matte[inner(layers)][left] < 26).mean() > 0.95


def test_fill_keeps_what_is_known_and_stays_within_it():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.uniform(0, 255, (120, 150, 3)).astype(np.float32), (0, 0), 6)
    known = np.ones((120, 150), bool)
    known[40:80, 50:100] = False
    filled = fill(image, known, seamless=True)
    assert np.abs(filled - image)[known].max() < 0.01
    hole = filled[~known]
    assert hole.min() > image[known].min() - 20 and hole.max() < image[known].max() + 20
    across = np.abs(np.diff(filled, axis=1)).max()
    assert across < 3 * np.abs(np.diff(image, axis=1)).max(), "no seam"


def test_a_photo_without_any_background_is_all_person(photo):
    face = photo[250:700, 250:640]
    puppet = Puppet(np.ascontiguousarray(face), StubEngine())
    assert puppet.render(STILL, HeadPose(yaw_deg=5)).shape == puppet.still.shape


def test_other_people_stay_where_they_are(photo):
    small = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    other = cv2.resize(photo, None, fx=0.42, fy=0.42, interpolation=cv2.INTER_AREA)
    other = cv2.copyMakeBorder(other, small.shape[0] - other.shape[0], 0, 0, 0, cv2.BORDER_REPLICATE)
    group = np.hstack([small[:, 40:-70], other[:, 60:-40]])
    puppet = Puppet(group, StubEngine())
    face = np.s_[150:400, small.shape[1] - 110 + 90 : small.shape[1] - 110 + 230]
    for pose in (HeadPose(yaw_deg=15), HeadPose(roll_deg=8)):
        picture = puppet.render(STILL, pose)
        assert not np.array_equal(picture, puppet.still)
        assert np.abs(picture[face].astype(int) - puppet.still[face]).mean() < 1


def test_a_thin_line_around_a_photo_is_a_frame_and_a_photo_has_none(roomy):
    assert _frame_px(roomy) == (0, 0, 0, 0)
    framed = roomy.copy()
    framed[:, :2] = np.minimum(framed[:, :2].astype(int) + 20, 255)
    framed[-3:] = framed[-3:] // 2
    assert _frame_px(framed) == (0, 3, 2, 0)
    post = roomy.copy()
    post[: len(post) // 2, :3] = 0
    assert _frame_px(post) == (0, 0, 0, 0), "what goes along half of a side stands in the picture"


def test_clothes_that_were_missed_do_not_darken_the_wall_beside_a_jaw(roomy, monkeypatch):
    """GrabCut is made to give a shoulder to the background, as it does before a wall of the same colours."""
    dressed = cv2.copyMakeBorder(roomy, 0, 120, 0, 0, cv2.BORDER_REPLICATE)
    with FaceReader() as reader:
        mesh_px = reader.read(dressed)[0].mesh_px
    geometry = HeadGeometry(mesh_px, (slice(0, len(dressed)), slice(0, dressed.shape[1])))
    grid = np.stack(np.meshgrid(*map(np.arange, dressed.shape[1::-1])), axis=-1).astype(float)
    x, y = (side[geometry.box] for side in geometry.upright(grid))
    shoulder = (x < -0.75) & (y > 1.12)
    dressed[geometry.box][shoulder] = 10
    found = background._rough

    def without_a_shoulder(part, *given):
        rough = found(part, *given)
        missed = cv2.resize(shoulder.astype(np.uint8), rough.person.shape[::-1]) > 0
        unsure = np.zeros_like(rough.sure)
        return background._Rough(np.where(missed, 0, rough.person).astype(np.uint8), unsure, rough.models)

    monkeypatch.setattr(background, "_rough", without_a_shoulder)
    layers = take_apart(dressed, mesh_px, geometry)
    beside = (x > -0.75) & (x < -0.3) & (y > 0.9) & (y < 1.2)
    wall = np.median(dressed[geometry.box][(x < -1.5) & (y < 0.5)].astype(int), axis=0)
    assert np.abs(layers.background[beside].astype(int) - wall).max(axis=1).mean() < 25, "46 with the clothes"
