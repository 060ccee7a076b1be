"""Embeddings of faces and of their parts, by a small network made here."""

import cv2
import numpy as np
import pytest

from engines.face.landmarks import FaceReader
from train.identity import SIDE_PX, Identity


@pytest.fixture(scope="module")
def face(photo):
    with FaceReader() as reader:
        return reader.read(photo)[0].landmarks_px


def network(folder, with_map: bool):
    """The mean colour of what it sees, through a sum of 14 x 14 or without one: an OpenVINO file."""
    import openvino as ov
    from openvino import opset13 as ops

    seen = ops.parameter([1, 3, SIDE_PX, SIDE_PX], np.float32)
    small = ops.avg_pool(seen, [8, 8], [0, 0], [0, 0], [8, 8], False)
    if with_map:
        small = ops.add(small, ops.constant(np.ones((1, 3, 1, 1), np.float32)))
    out = ops.reduce_mean(small, ops.constant(np.array([2, 3])))
    path = folder / "network.xml"
    ov.save_model(ov.Model([out], [seen]), path, compress_to_fp16=False)
    return path


def test_a_part_is_described_by_what_lies_around_it(photo, face, tmp_path):
    identity = Identity(network(tmp_path, with_map=True))
    assert np.linalg.norm(identity(photo, face)) == pytest.approx(1)
    mouth, eyes = identity.parts()["mouth"], identity.parts()["eyes"]
    masked = photo.copy()
    x, y = face[17].astype(int)  # below the lower lip
    cv2.circle(masked, (int(x), int(y)), int(0.07 * np.linalg.norm(face[263] - face[33])), (0, 0, 0), -1)
    assert np.abs(mouth(masked, face) - mouth(photo, face)).max() > 0.02
    assert np.array_equal(eyes(masked, face), eyes(photo, face))


def test_a_network_without_such_a_map_describes_whole_faces_only(photo, face, tmp_path):
    identity = Identity(network(tmp_path, with_map=False))
    assert identity.parts() == {} and identity(photo, face).shape == (3,)
