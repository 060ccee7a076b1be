"""A picture -> hands: 21 landmarks each, by MediaPipe's palm detector and hand landmarks.

Looks once at a photo, on the CPU, in less than a tenth of a second, with OpenCV's own runtime. Both networks
ship in `hand_models/`, whose README says where they come from, and are checked before they are loaded.
Source: Zhang et al., MediaPipe Hands, 2020 (arXiv:2006.10214), and MediaPipe's graphs for anchors and crops.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

import cv2
import numpy as np

from engines.errors import EngineError
from engines.face.tiles import overlap

SHA256 = {
    "palm-detection.onnx": "6fd45b91a76e594c81e9d39771463b19d35bb1b7418f3b362f1fdb17604c4f58",
    "hand-landmarks.onnx": "326289712f67aa32378465d58c3fd0f9ae7b88c4dd4fa289076fad2c51db38d6",
}
PALM_PX, HAND_PX = 192, 224  # sides of what the networks are shown
ANCHORS = ((24, 2), (12, 6))  # cells a side, and anchors in each
WRIST, MIDDLE_FINGER = 0, 2  # of a palm's seven points: its direction
HAND_SIZE, HAND_SHIFT = 2.6, 0.5  # of the crop that shows a hand, in palms
# The detector takes chins and foreheads for palms; the landmarks' network seldom takes them for hands
PALM_SCORE, PRESENCE = 0.4, 0.65
# Shares of the longer side, added around for another look: hands at the edge and large ones are found only
# so, four in ten of all
BORDERS = (0.0, 0.3)
MOST_PALMS = 4  # that are looked at
SAME_PALM = 0.3  # overlap of two boxes, in areas of their union


@dataclass(frozen=True)
class Hand:
    """One hand in one picture."""

    landmarks_px: np.ndarray  # (21, 2) float32, picture pixels, x right, y down
    presence: float  # how sure it is that this is a hand, 0..1


class HandReader:
    """Finds hands. Raises EngineError where a network is not the pinned one."""

    def __init__(self) -> None:
        self._palms, self._hands = (_network(name) for name in SHA256)
        self._anchors = np.concatenate([_centres(*each) for each in ANCHORS])

    def read(self, picture: np.ndarray) -> list[Hand]:
        """The hands in a picture, the surest first.

        Args:
            picture: (H, W, 3) uint8 BGR, of which a hand fills a twentieth of the longer side at least.
        """
        found = [self._hand(picture, *palm) for palm in self._find_palms(picture)]
        return sorted((hand for hand in found if hand.presence >= PRESENCE), key=lambda hand: -hand.presence)

    def _find_palms(self, picture: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Centre and direction, from the wrist on and as long as a palm is wide, of each: (2,) pixels."""
        looks = [self._palms_in(picture, border) for border in BORDERS]
        places, scores = (np.concatenate(each) for each in zip(*looks, strict=True))
        palms: list[np.ndarray] = []
        for number in np.argsort(-scores):
            if scores[number] < PALM_SCORE or len(palms) == MOST_PALMS:
                break
            if all(overlap(_box(places[number]), _box(palm)) < SAME_PALM for palm in palms):
                palms.append(places[number])
        return [_pose_of(palm) for palm in palms]

    def _palms_in(self, picture: np.ndarray, border: float) -> tuple[np.ndarray, np.ndarray]:
        """(n, 9, 2) centre, size and seven points of each anchor's palm in pixels, and (n,) scores, 0..1."""
        height, width = picture.shape[:2]
        shrink = PALM_PX / (max(height, width) * (1 + 2 * border))
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        corner = np.array([PALM_PX - size[0], PALM_PX - size[1]]) // 2
        shown = np.zeros((PALM_PX, PALM_PX, 3), np.uint8)
        rows, columns = slice(corner[1], corner[1] + size[1]), slice(corner[0], corner[0] + size[0])
        shown[rows, columns] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self._palms.setInput(_as_input(shown))
        boxes, scores = self._palms.forward(["boxes", "scores"])
        places = boxes.reshape(-1, 9, 2)
        places[:, 0] += self._anchors * PALM_PX
        places[:, 2:] += self._anchors[:, None] * PALM_PX
        places[:, [0, *range(2, 9)]] -= corner
        return places / shrink, 1 / (1 + np.exp(-np.clip(scores.reshape(-1), -80, 80)))

    def _hand(self, picture: np.ndarray, centre: np.ndarray, along: np.ndarray) -> Hand:
        """What the landmarks' network says about a palm."""
        side = HAND_SIZE * float(np.hypot(*along))
        down = -along / np.hypot(*along) * side / HAND_PX  # of the crop, in which fingers point up
        across = np.array([down[1], -down[0]])
        middle = centre + HAND_SHIFT * along
        to_picture = np.column_stack([across, down, middle - HAND_PX / 2 * (across + down)])
        crop = cv2.warpAffine(
            picture, to_picture, (HAND_PX, HAND_PX), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        self._hands.setInput(_as_input(crop))
        landmarks, presence = self._hands.forward(["landmarks", "presence"])
        places = landmarks.reshape(21, 3)[:, :2] @ to_picture[:, :2].T + to_picture[:, 2]
        return Hand(places.astype(np.float32), float(presence.reshape(())))


def _network(name: str) -> cv2.dnn.Net:
    data = files("engines").joinpath("face", "hand_models", name).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256[name]:
        raise EngineError(f"The network {name} of this installation is damaged", "install the program again")
    return cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))


def _centres(cells: int, count: int) -> np.ndarray:
    """(cells * cells * count, 2) places of anchors, row by row, in shares of the picture."""
    along = (np.arange(cells) + 0.5) / cells
    return np.repeat(np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2), count, axis=0)


def _as_input(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)[None].astype(np.float32) / 255


def _pose_of(palm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A palm's (9, 2) -> its centre, and its direction with the length of its longer side."""
    along = palm[2 + MIDDLE_FINGER] - palm[2 + WRIST]
    return palm[0], along / max(float(np.hypot(*along)), 1e-6) * palm[1].max()


def _box(palm: np.ndarray) -> tuple[float, ...]:
    """A palm's (9, 2) -> left, top, right, bottom."""
    return (*(palm[0] - palm[1] / 2), *(palm[0] + palm[1] / 2))
