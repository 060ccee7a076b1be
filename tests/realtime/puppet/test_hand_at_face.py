import cv2
import numpy as np
import pytest

from engines.face.landmarks import Face, FaceReader
from realtime.puppet.hand_at_face import is_at_face
from realtime.puppet.head import WITH_HAND_DEG, HeadGeometry
from realtime.puppet.puppet import Puppet
from tests.support.drawn_hand import WALL, drawn_hand
from tests.support.fakes import StubEngine


def face_of(photo: np.ndarray) -> Face:
    with FaceReader() as reader:
        (face,) = reader.read(photo)
    return face


@pytest.fixture
def portrait(photo) -> np.ndarray:
    """The photo with a wall around, so that there is room for hands."""
    small = cv2.resize(photo, (600, 600), interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(small, 100, 500, 300, 300, cv2.BORDER_CONSTANT, value=WALL)


def with_hand(photo: np.ndarray, across: float, down: float, large: float) -> np.ndarray:
    """The photo with a hand before it; places and sizes in widths of the face, from its middle."""
    left, top, right, bottom = face_of(photo).box_px
    width, size = right - left, int(large * (right - left))
    rows, columns = (
        slice(int(middle - size / 2), int(middle - size / 2) + size)
        for middle in ((top + bottom) / 2 + down * width, (left + right) / 2 + across * width)
    )
    picture, (drawn, there) = photo.copy(), drawn_hand(size)
    picture[rows, columns][there] = drawn[there]
    return picture


def puppet_of(picture: np.ndarray) -> tuple[Puppet, list[str]]:
    said: list[str] = []
    puppet = Puppet(picture, StubEngine(), say=said.append)
    return puppet, [sentence for sentence in said if "hand" in sentence]


@pytest.mark.parametrize("across", [-0.8, 0.65])
def test_beside_a_hand_the_head_turns_less_and_that_is_said_once(portrait, across):
    puppet, said = puppet_of(with_hand(portrait, across, 0.3, 1.1))
    limits = puppet.head.limits
    assert max(limits.left, limits.right, limits.up, limits.down, limits.tilt) <= WITH_HAND_DEG
    assert len(said) == 1 and f"turns by {limits.turn:.0f} degrees" in said[0]


def test_without_a_hand_it_turns_freely(portrait):
    puppet, said = puppet_of(portrait)
    assert puppet.head.limits.turn > WITH_HAND_DEG and not said


@pytest.mark.parametrize(
    ("across", "down", "large"),
    [(0.0, 1.8, 0.8), (0.5, 0.0, 0.3)],
    ids=["before the chest", "as small as an ear"],
)
def test_a_hand_elsewhere_changes_nothing(portrait, across, down, large):
    puppet, said = puppet_of(with_hand(portrait, across, down, large))
    free, _ = puppet_of(portrait)
    assert puppet.head.limits.turn == free.head.limits.turn and not said


def test_what_looks_like_a_hand_within_the_face_is_none(photo):
    """Cheeks and foreheads pass for palms at times."""
    face = face_of(photo)
    head = HeadGeometry(face.mesh_px, (slice(0, photo.shape[0]), slice(0, photo.shape[1])))
    left, top, right, bottom = face.box_px
    forehead = (
        np.linspace((left, top), (right, bottom), 21) * 0.6 + np.array([left + right, top + bottom]) * 0.2
    )
    assert not is_at_face(forehead.astype(np.float32), face.mesh_px, head)
    beside = (forehead + [0.6 * (right - left), 0]).astype(np.float32)
    assert is_at_face(beside, face.mesh_px, head)
