"""A photo taken apart into a person and a background, and laid together again."""

import cv2
import numpy as np
import pytest

from engines.blend import over
from realtime.puppet.background import fill
from realtime.puppet.head import HeadPose
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
    puppet = Puppet(photo, StubEngine())
    layers = puppet._layers
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
        for y in range(0, height, 4):
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
