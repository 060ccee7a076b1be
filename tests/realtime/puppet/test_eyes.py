"""Eyes that look: irises move between the lids, lids follow, and at rest every byte is the photo's."""

import cv2
import numpy as np
import pytest

from engines.face.action_units import WIDE
from engines.face.au_estimator import measure
from engines.face.landmarks import FaceReader
from engines.face.mesh import LEFT_LID_BOTTOM, LEFT_LID_TOP, RIGHT_LID_BOTTOM, RIGHT_LID_TOP
from realtime.puppet.eyes import LID_RISES, MOST_UPRIGHT, Eyes, Gaze, Look
from tests.conftest import SAMPLES


@pytest.fixture(scope="module", params=["woman.jpg", "glasses.jpg"])
def face(request) -> tuple[np.ndarray, np.ndarray]:
    """A shipped photo and the mesh of its face."""
    picture = cv2.imread(str(SAMPLES / request.param))
    with FaceReader() as reader:
        return picture, reader.read(picture)[0].mesh_px


def look(
    face: tuple[np.ndarray, np.ndarray], gaze: Gaze, raised: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    picture, eyes = face[0].copy(), Eyes(*face)
    for box, pixels in zip(eyes.boxes, eyes.look(Look(gaze, raised)), strict=True):
        picture[box] = pixels
    return picture


def iris_offsets(picture: np.ndarray) -> np.ndarray:
    """(2, 2) where MediaPipe sees the irises: x and y between the corners, in eye widths, right eye and left
    eye.
    """
    with FaceReader() as reader:
        points = reader.read(picture)[0].mesh_px[:, :2]
    offsets = []
    for iris, outer, inner in ((468, 33, 133), (473, 263, 362)):
        middle, width = (points[outer] + points[inner]) / 2, np.linalg.norm(points[outer] - points[inner])
        offsets.append((points[iris] - middle) / width)
    return np.array(offsets)


def test_at_rest_every_byte_is_the_photos(face):
    assert np.array_equal(look(face, Gaze()), face[0])


@pytest.mark.parametrize(
    ("little", "much"),
    [((Gaze(0.002, 0.001),), (Gaze(0.2, 0.1),)), ((Gaze(), (0.02, 0.02)), (Gaze(), (1, 1)))],
)
def test_a_look_that_begins_does_not_jump(face, little, much):
    begun = np.abs(look(face, *little).astype(int) - face[0])
    whole = np.abs(look(face, *much).astype(int) - face[0])
    assert begun.mean() < 0.05 * whole.mean()


@pytest.mark.parametrize("gaze", [Gaze(), Gaze(0.15)])
def test_raised_lids_are_seen_by_the_tracker(face, gaze):
    """It sees a third of it, as the brows stay, and something of one side's on the other."""
    read = []
    with FaceReader() as reader:
        for raised in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (1.0, 0.0)):
            found = measure(reader.read(look(face, gaze, raised))[0])
            read.append([found[WIDE.index(au)] for au in ("AU05R", "AU05L")])
    rest, half, full, right = np.array(read)
    assert (half - rest > 0.04).all() and (full - half > 0.06).all() and (full - rest > 0.2).all()
    assert right[0] - rest[0] > right[1] - rest[1] + 0.03


@pytest.mark.parametrize("sign", [1, -1])
def test_both_irises_go_where_they_are_asked_to(face, sign):
    moved = (iris_offsets(look(face, Gaze(0.2 * sign))) - iris_offsets(face[0]))[:, 0] * sign
    assert (moved > 0.03).all(), moved
    assert abs(moved[0] - moved[1]) < 0.09, "together, never crossed"


@pytest.mark.parametrize("sign", [1, -1])
def test_both_irises_go_up_and_down(face, sign):
    """MediaPipe sees little of it, as the lids go along: the darkest part of each opening tells."""
    picture, mesh = look(face, Gaze(down=0.1 * sign)), face[1]
    for iris in (468, 473):
        x, y = mesh[iris, :2].round().astype(int)
        radius = int(np.linalg.norm(mesh[iris + 1, :2] - mesh[iris, :2]))
        part = np.s_[y - radius : y + radius, x - radius // 2 : x + radius // 2]
        dark = [
            np.clip(110 - cv2.cvtColor(image[part], cv2.COLOR_BGR2GRAY).astype(float), 0, None)
            for image in (face[0], picture)
        ]
        before, after = (
            float((shade.sum(axis=1) * np.arange(len(shade))).sum() / shade.sum()) for shade in dark
        )
        assert (after - before) * sign > 0.02 * radius


def test_nothing_beside_the_eyes_changes(face):
    picture, eyes = look(face, Gaze(0.2, 0.1)), Eyes(*face)
    outside = np.ones(picture.shape[:2], bool)
    for box in eyes.boxes:
        outside[box] = False
    assert np.array_equal(picture[outside], face[0][outside])
    for box in eyes.boxes:  # nor is there an edge around them
        change = np.abs(picture[box].astype(int) - face[0][box]).max(axis=2)
        assert max(change[0].max(), change[-1].max(), change[:, 0].max(), change[:, -1].max()) <= 3


@pytest.mark.parametrize("down", [-0.12, 0.12])
def test_the_upper_lid_follows_a_look_up_and_down(face, down):
    _, mesh = face
    picture = look(face, Gaze(down=down))
    for lid, brow in ((159, 105), (386, 334)):
        x, y = mesh[lid, :2].round().astype(int)
        above = int((mesh[lid, 1] - mesh[brow, 1]) * 0.5)
        column = np.s_[y - above : y, x - 2 : x + 3]
        assert np.abs(picture[column].astype(int) - face[0][column]).mean() > 0.5


def test_a_lid_that_rises_takes_its_shadow_along(face):
    photo, mesh = face
    picture = look(face, Gaze(down=-0.3))  # as far up as it goes
    differences = []
    for top, bottom in ((LEFT_LID_TOP, LEFT_LID_BOTTOM), (RIGHT_LID_TOP, RIGHT_LID_BOTTOM)):
        lid, lower = (mesh[list(line), :2] for line in (top, bottom))
        width = np.linalg.norm(lid[-1] - lid[0])
        for at in (2, 6):  # between the iris and the corners
            x, y = lid[at]
            rise = LID_RISES * MOST_UPRIGHT * width * np.sqrt(np.sin(np.pi * at / 8))
            for share in (0.25, 0.5):
                before = y + share * (lower[at, 1] - y)
                after = y - rise + share * (lower[at, 1] - y + rise)
                was, shows = (
                    image[round(row), round(x) - 2 : round(x) + 3].mean(axis=0)
                    for image, row in ((photo, before), (picture, after))
                )
                differences.append(np.abs(was - shows).max())
    assert np.mean(differences) < 18


def test_a_look_up_or_down_nears_its_limit(face):
    far, farther = look(face, Gaze(down=0.3)), look(face, Gaze(down=3.0))
    assert np.abs(far.astype(int) - farther).mean() < 0.05 * np.abs(far.astype(int) - face[0]).mean()


def test_an_iris_stays_between_the_corners_however_far_it_is_asked(face):
    far, farther = look(face, Gaze(0.4)), look(face, Gaze(2.0))
    assert np.abs(iris_offsets(farther)[:, 0]).max() < 0.5
    assert np.abs(far.astype(int) - farther).mean() < 0.3


def test_eyes_that_are_shut_do_not_look(face):
    picture, mesh = face
    shut = mesh.copy()
    for upper, lower in (
        (159, 145),
        (158, 153),
        (160, 144),
        (386, 374),
        (385, 380),
        (387, 373),
        (157, 154),
        (161, 163),
    ):
        shut[upper, 1] = shut[lower, 1] = (mesh[upper, 1] + mesh[lower, 1]) / 2
    for upper, lower in ((384, 381), (388, 390), (246, 7), (466, 249), (173, 155), (398, 382)):
        shut[upper, 1] = shut[lower, 1] = (mesh[upper, 1] + mesh[lower, 1]) / 2
    assert np.array_equal(look((picture, shut), Gaze(0.2, 0.1)), picture)
