"""Drawing an edit into a picture: what stays, what moves, what is painted, and how sharp it is."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from engines.backends.interface import Edit
from engines.blend import FAINT, Blender, Displacement, Layers, over, split
from engines.face.crop import Crop

SIZE = 64


def turned(scale: float = 2.5, shift: tuple[float, float] = (70.0, 40.0), degrees: float = 12.0) -> Crop:
    """A crop of 64 px that shows a turned square of a picture."""
    frame_from_crop = cv2.getRotationMatrix2D((0, 0), degrees, scale)
    frame_from_crop[:, 2] += shift
    return Crop(cv2.invertAffineTransform(frame_from_crop), SIZE)


@pytest.fixture(scope="module")
def still() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 320, 3), dtype=np.uint8)


def edit(attention: np.ndarray | None = None, flow: np.ndarray | None = None) -> Edit:
    """Green paint where attention is below 1."""
    colour = np.zeros((SIZE, SIZE, 3), np.uint8)
    colour[..., 1] = 255
    return Edit(colour, np.ones((SIZE, SIZE), np.float32) if attention is None else attention, flow)


@pytest.mark.parametrize(
    "crop",
    [turned(), turned(shift=(-30, -40)), turned(shift=(260, 250)), turned(degrees=0, shift=(500, 500))],
)
def test_an_edit_that_does_nothing_gives_the_photo_byte_for_byte(still, crop):
    picture = still.copy()
    for flow in (None, np.zeros((32, 32, 2), np.float32)):
        Blender(crop, still, 0 if flow is None else 32).blend(picture, edit(flow=flow))
        assert np.array_equal(picture, still)


def test_the_last_edit_leaves_nothing_behind(still):
    blender, picture = Blender(turned(), still, 0), still.copy()
    blender.blend(picture, edit(np.zeros((SIZE, SIZE), np.float32)))
    assert not np.array_equal(picture, still)
    blender.blend(picture, edit())
    assert np.array_equal(picture, still)


@pytest.mark.parametrize(
    "where", [np.s_[30:40, 20:25], np.s_[:8, :8], np.s_[60:, 60:], np.s_[:, :], np.s_[5:6, 50:51]]
)
def test_paint_is_the_papers_equation_wherever_it_is(still, where):
    crop, attention = turned(), np.ones((SIZE, SIZE), np.float32)
    attention[where] = np.random.default_rng(1).uniform(0, 1, attention[where].shape)
    picture = still.copy()
    Blender(crop, still, 0).blend(picture, edit(attention))
    size = still.shape[1::-1]
    kept = cv2.warpAffine(
        attention, crop.frame_from_crop, size, borderMode=cv2.BORDER_CONSTANT, borderValue=1
    )[..., None]
    green = cv2.warpAffine(edit().colour, crop.frame_from_crop, size)
    wanted = kept * still + (1 - kept) * green
    inside = cv2.warpAffine(np.ones((SIZE, SIZE), np.float32), crop.frame_from_crop, size) > 0.999
    assert np.abs(picture - wanted)[inside].max() < 1.1 and np.abs(picture.astype(int) - still).max() > 30


def test_beside_a_flow_faint_colour_leaves_the_photo_as_sharp_as_it_is(still):
    crop, flow = turned(), np.zeros((32, 32, 2), np.float32)
    picture, faint = still.copy(), np.full((SIZE, SIZE), 1 - FAINT, np.float32)
    Blender(crop, still, 32).blend(picture, edit(faint, flow))
    assert np.array_equal(picture, still)
    Blender(crop, still, 32).blend(picture, edit(faint - 0.1, flow))
    assert not np.array_equal(picture, still)
    opaque, without_flow = still.copy(), still.copy()
    Blender(crop, still, 32).blend(opaque, edit(faint * 0, flow))
    Blender(crop, still, 0).blend(without_flow, edit(faint * 0))
    assert np.array_equal(opaque, without_flow), "what is all colour stays all colour"
    shaded, painted = still.copy(), still.copy()
    Blender(crop, still, 32).blend(shaded, replace(edit(faint, flow), shade=True))
    Blender(crop, still, 0).blend(painted, edit(faint))
    assert np.array_equal(shaded, painted), "where faint colour is shade it is drawn"


def test_what_moves_comes_from_where_the_flow_points(still):
    crop = Crop(np.array([[1.0, 0, -100], [0, 1, -100]]), SIZE)
    flow = np.zeros((16, 16, 2), np.float32)
    flow[..., 0] = 3
    picture = still.copy()
    Blender(crop, still, 16).blend(picture, edit(flow=flow))
    assert np.array_equal(picture[110:150, 110:150], still[110:150, 113:153])
    assert np.array_equal(picture[:100], still[:100])


def test_what_moves_by_half_a_pixel_stays_sharp():
    rng = np.random.default_rng(2)
    grain = cv2.GaussianBlur(
        rng.normal(0, 1, (300, 300)), (0, 0), 0.8
    )  # as fine as a lens and a sensor give it
    still = np.repeat(np.clip(128 + 60 * grain / grain.std(), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    crop, picture = Crop(np.array([[1.0, 0, -100], [0, 1, -100]]), SIZE), still.copy()
    Blender(crop, still, 16).blend(picture, edit(flow=np.full((16, 16, 2), 0.5, np.float32)))
    part = np.s_[110:150, 110:150]
    sharp, moved = (cv2.Laplacian(image[part][..., 0], cv2.CV_32F).var() for image in (still, picture))
    assert 0.75 < moved / sharp < 1.1, "bilinear sampling would leave .39"


# --- a person who moves before a background
# ------------------------------------------------------------------------------------


def apart(still: np.ndarray) -> Layers:
    """A disc of the picture before the rest of it; what is behind the disc is grey."""
    ys, xs = np.mgrid[: still.shape[0], : still.shape[1]]
    matte = np.clip((60 - np.hypot(xs - 160, ys - 150)) * 40 + 128, 0, 255).astype(np.uint8)
    behind = np.where(matte[..., None] > 0, 128, still).astype(np.uint8)
    return split(still, matte, behind, np.s_[0 : still.shape[0], 0 : still.shape[1]], 8, 20)


def shifted(x: float, y: float, still: np.ndarray) -> Displacement:
    cells = -(-still.shape[0] // 8), -(-still.shape[1] // 8)
    return Displacement(np.full((*cells, 2), (-x, -y), np.float32))


def test_layers_give_the_picture_again_byte_for_byte(still):
    layers = apart(still)
    inner = np.s_[20:-20, 20:-20]
    assert np.array_equal(over(layers.person[inner], layers.matte[inner], layers.background), still)
    picture = np.zeros_like(still)
    picture[:] = still
    Blender(turned(), still, 0).blend_moved(picture, None, layers, shifted(0, 0, still))
    assert np.array_equal(picture, still)


def test_the_person_moves_and_the_background_stays(still):
    picture = still.copy()
    Blender(turned(), still, 0).blend_moved(picture, None, apart(still), shifted(30, 0, still))
    assert np.array_equal(picture[120:180, 165:215], still[120:180, 135:185])
    assert np.array_equal(picture[:, :95], still[:, :95]) and np.array_equal(picture[:, 260:], still[:, 260:])
    assert (picture[140:160, 108:120] == 128).all(), "what was behind the disc is seen"


def test_flow_and_colour_go_along_with_the_person(still):
    crop = Crop(np.array([[1.0, 0, -128], [0, 1, -118]]), SIZE)
    attention = np.ones((SIZE, SIZE), np.float32)
    attention[20:40, 20:40] = 0
    flow = np.zeros((32, 32, 2), np.float32)
    flow[..., 1] = 4
    moved, layers = still.copy(), apart(still)
    Blender(crop, still, 32).blend_moved(moved, edit(attention, flow), layers, shifted(16, 0, still))
    assert moved[148, 174].tolist() == [0, 255, 0] and moved[148, 150].tolist() != [0, 255, 0]
    plain = still.copy()
    Blender(crop, still, 32).blend(plain, edit(attention, flow))
    inner = np.s_[128:170, 140:180]
    there = np.s_[128:170, 156:196]
    assert np.abs(moved[there].astype(int) - plain[inner]).mean() < 6


def test_a_window_of_a_larger_picture_gets_the_same_as_the_whole(still):
    crop, layers, far = turned(), apart(still), shifted(9, -7, still)
    flow = np.full((32, 32, 2), 1.5, np.float32)
    whole = still.copy()
    Blender(crop, still, 32).blend_moved(whole, edit(flow=flow), layers, far)
    window = np.s_[60:250, 70:300]
    part = still[window].copy()
    Blender(crop, still, 32, window=window).blend_moved(part, edit(flow=flow), layers, far)
    assert np.array_equal(part, whole[window])


def test_what_the_edge_cuts_off_is_mirrored_there_and_nothing_else():
    picture = np.full((80, 80, 3), 200, np.uint8)
    picture[40:, 30:50] = 20  # a person whom the lower edge cuts
    picture[2:30, 30:50] = 90  # and one that ends above it
    matte = np.where((picture != 200).any(axis=-1), 255, 0).astype(np.uint8)
    layers = split(picture, matte, np.full_like(picture, 200), np.s_[0:80, 0:80], 8, 16)
    moved = picture.copy()
    crop = Crop(np.array([[1.0, 0, -8], [0, 1, -8]]), SIZE)
    Blender(crop, picture, 0).blend_moved(
        moved, None, layers, Displacement(np.full((10, 10, 2), (0, 12), np.float32))
    )
    assert (moved[70:, 32:48] == 20).all(), "their cloth goes on"
    up = picture.copy()
    Blender(crop, picture, 0).blend_moved(
        up, None, layers, Displacement(np.full((10, 10, 2), (0, -12), np.float32))
    )
    assert (up[:12, 32:48] == 200).all(), "nobody comes in from above"


def test_a_frame_is_not_pulled_into_the_picture_with_the_person():
    picture = np.full((80, 80, 3), 200, np.uint8)
    picture[40:, 30:50] = 20  # a person whom the lower edge cuts
    picture[-2:] = 255  # and a scan's white line below
    matte = np.zeros((80, 80), np.uint8)
    matte[40:, 30:50] = 255
    whole = np.s_[0:80, 0:80]
    up = Displacement(np.full((10, 10, 2), (0, 12), np.float32))
    seen = []
    for frame_px in ((0, 0, 0, 0), (0, 2, 0, 0)):
        layers = split(picture, matte, np.full_like(picture, 200), whole, 8, 16, frame_px)
        moved = picture.copy()
        crop = Crop(np.array([[1.0, 0, -8], [0, 1, -8]]), SIZE)
        Blender(crop, picture, 0).blend_moved(moved, None, layers, up)
        seen.append(moved[50:, 34:46])
    assert (seen[0] == 255).any(), "as it was without knowing of the frame"
    assert (seen[1] == 20).all(), "their cloth goes on, without the line"
