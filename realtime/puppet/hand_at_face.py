"""Whether a photo shows a hand at the head, which would bend with it."""

import cv2
import numpy as np

from engines.face.hands import HandReader
from engines.face.mesh import FACE_OVAL
from realtime.puppet.head import HeadGeometry

ASIDE, ABOVE, BELOW = 2.4, 2.2, 2.6  # units around the head's centre, in which hands are looked for
# Ears and cheeks pass for hands at times: a hand is larger than an ear, and reaches beyond the face
SMALLEST = 0.8  # units, of the longer side around its landmarks
MOST_INSIDE = 17  # of the 21 landmarks, within the face
FOLLOWS, TOUCHES = 0.5, 5  # so many landmarks at places that take so much of the head's way


def has_hand(picture: np.ndarray, mesh_px: np.ndarray, head: HeadGeometry) -> bool:
    """Whether a hand is where the picture moves with the head.

    Args:
        picture: (H, W, 3) uint8 BGR.
        mesh_px: (478, 3) of the face, in its pixels.
        head: of the same picture.
    """
    unit, (x, y) = head.unit_px, head.centre_px[:2]
    rows, columns = (
        slice(max(low, part.start), max(low, min(high, part.stop)))
        for low, high, part in (
            (int(y - ABOVE * unit), int(y + BELOW * unit), head.box[0]),
            (int(x - ASIDE * unit), int(x + ASIDE * unit), head.box[1]),
        )
    )
    part = picture[rows, columns]
    if not part.size:
        return False
    corner = np.array([columns.start, rows.start], np.float32)
    return any(is_at_face(hand.landmarks_px + corner, mesh_px, head) for hand in HandReader().read(part))


def is_at_face(hand_px: np.ndarray, mesh_px: np.ndarray, head: HeadGeometry) -> bool:
    """Whether what was taken for a hand, (21, 2) in the same pixels, is one and moves with the head."""
    oval = np.round(mesh_px[FACE_OVAL, :2]).astype(np.int32)
    inside = sum(cv2.pointPolygonTest(oval, place.tolist(), False) >= 0 for place in hand_px)
    large = np.ptp(hand_px, axis=0).max() >= SMALLEST * head.unit_px
    return bool(large and inside <= MOST_INSIDE and (head.share_at(hand_px) >= FOLLOWS).sum() >= TOUCHES)
