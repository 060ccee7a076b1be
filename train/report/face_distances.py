"""Nine distances of a face by dlib's 68 landmarks, freed from where the head points, and its gaze by the
pictures' darkness.

They are read in a driver's frames and in a puppet's alike, by an estimator of another family than the one
that drives (dlib_opinion.py). A distance is freed from the head's pose by what the pose alone makes of it on
the mean face.
"""

from functools import lru_cache

import cv2
import numpy as np

from engines.face.mesh import Pose, mean_face

# Landmarks of MediaPipe's mesh where dlib's 68 are: outline, brows, nose, eyes, outer and inner lips.
MESH_OF_68 = (
    *(127, 234, 93, 132, 58, 172, 136, 150, 152, 379, 365, 397, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
RIGHT_EYE, LEFT_EYE = tuple(range(36, 42)), tuple(range(42, 48))
# Points of dlib's that stay on the skull: the outline beside the ears, nose and eye corners. Brows and lids,
# which move, made a nod of a raised brow: on a puppet whose head was still 3.4 degrees of it.
STILL = (0, 1, 15, 16, *range(27, 36), 36, 39, 42, 45)
# Of the picture above an eye in which its brow is looked for: pixels of an outer eye distance, its width and
# height, what is left out above the eye corners (the lid and its fold), and half the height of a brow.
BROW_EYES_PX, BROW_COLUMNS, BROW_ROWS = 120, 8, 74
ABOVE_LID_PX, VALLEY_PX = 24, 6
DARKER_GREY = 6.0  # than skin above and below it, least: less is noise and the shade of a fold
PUPIL_SHARE = 0.25  # of an eye's pixels, the darkest, count as iris and pupil, by how much darker they are


def _upright(points: np.ndarray) -> np.ndarray:
    """dlib's points (..., 68, 2) in pixels -> the same, roll taken off, in outer eye distances."""
    across = points[..., 45, :] - points[..., 36, :]
    x, y = across[..., 0], across[..., 1]
    turn = np.stack([np.stack([x, y], -1), np.stack([-y, x], -1)], -2) / (x**2 + y**2)[..., None, None]
    return np.einsum("...ij,...nj->...ni", turn, points)


def face_distances(points: np.ndarray) -> dict[str, np.ndarray]:
    """dlib's points (..., 68, 2) in pixels -> nine distances (...,), in outer eye distances, roll taken off.

    Eyes, mouth opening and width grow as they open and widen, corners as they rise above the lips' middle,
    brows as they rise above the eye corners, the gap as the brows part, the jaw as it drops. Right and left
    are the person's.
    """
    upright = _upright(points)

    def height(*places: int) -> np.ndarray:
        return -upright[..., list(places), 1].mean(axis=-1)

    def gap(*pairs: tuple[int, int]) -> np.ndarray:
        a, b = np.array(pairs).T
        return np.linalg.norm(upright[..., a, :] - upright[..., b, :], axis=-1).mean(axis=-1)

    return {
        "eye right": gap((37, 41), (38, 40)),
        "eye left": gap((43, 47), (44, 46)),
        "mouth opening": gap((61, 67), (62, 66), (63, 65)),
        "mouth width": gap((48, 54)),
        "corners": height(48, 54) - height(51, 57, 62, 66),
        "brow right": height(18, 19, 20, 21) - height(36, 39),
        "brow left": height(22, 23, 24, 25) - height(42, 45),
        "brows' gap": gap((21, 22)),
        "jaw": height(31, 33, 35) - height(7, 8, 9),
    }


DISTANCES: tuple[str, ...] = tuple(face_distances(np.random.default_rng(0).normal(size=(68, 2))))


def freed_distances(points: np.ndarray, angles_deg: np.ndarray) -> np.ndarray:
    """dlib's points (T, 68, 2); the head's pitch, yaw and roll (T, 3) -> (T, 9) in the order of DISTANCES."""
    seen = np.stack(list(face_distances(points).values()), axis=-1)
    rows = _turned_rows(angles_deg)
    by_pose = np.stack(
        list(face_distances(mean_face()[list(MESH_OF_68)] @ np.swapaxes(rows, -1, -2)).values()), -1
    )
    return seen - (by_pose - _frontal())


@lru_cache(maxsize=1)
def _frontal() -> np.ndarray:
    """(9,) distances of the mean face from the front."""
    return np.array(list(face_distances(mean_face()[list(MESH_OF_68), :2]).values()))


def _turned_rows(angles_deg: np.ndarray) -> np.ndarray:
    """(T, 2, 3): the first two rows of the rotation whose `Pose.angles_deg` are these, without its roll."""
    pitch, yaw = np.radians(angles_deg[:, 0]), np.radians(angles_deg[:, 1])
    depth = np.stack([np.sin(yaw), np.cos(yaw) * np.sin(pitch), np.cos(yaw) * np.cos(pitch)], axis=1)
    down = np.stack([np.zeros_like(pitch), np.cos(pitch), -np.sin(pitch)], axis=1)
    return np.stack([np.cross(down, depth), down], axis=1)


def head_angles(points: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """dlib's points (68, 2) in a picture of (height, width) -> (3,) pitch, yaw, roll in degrees, signs as
    Pose's.

    By the mean face seen through a camera of 50 degrees, of points that no expression moves (STILL).
    """
    kept = list(STILL)
    model = mean_face()[[MESH_OF_68[i] for i in kept]].astype(np.float64)
    focal = max(size_px) / (2 * np.tan(np.radians(25)))
    camera = np.array([[focal, 0, size_px[1] / 2], [0, focal, size_px[0] / 2], [0, 0, 1]])
    _, turn, _ = cv2.solvePnP(model, points[kept].astype(np.float64), camera, None, flags=cv2.SOLVEPNP_SQPNP)
    return Pose(cv2.Rodrigues(turn)[0], np.ones(()), np.zeros(3)).angles_deg


def gaze_by_darkness(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR and dlib's points (68, 2) -> (2,): where the darkest part of both eyes lies between the
    corners.

    To the person's left and upwards, in eye widths; NaN where both eyes are too narrow to tell.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    found = []
    for eye in (RIGHT_EYE, LEFT_EYE):
        corners = points[[eye[0], eye[3]]]
        across = corners[1] - corners[0]
        width = float(np.hypot(*across))
        low, high = np.floor(points[list(eye)].min(axis=0)), np.ceil(points[list(eye)].max(axis=0)) + 1
        x0, y0 = np.maximum(low.astype(int), 0)
        x1, y1 = high.astype(int)
        part = grey[y0:y1, x0:x1]
        inside = np.zeros(part.shape, np.uint8)
        if part.size == 0:
            continue
        outline = (points[list(eye)] - (x0, y0)).round().astype(np.int32)
        cv2.fillConvexPoly(inside, outline, 1)
        ys, xs = np.nonzero(inside)
        if len(xs) < 12 or np.ptp(points[list(eye), 1]) < 0.15 * width:
            continue
        darkness = np.maximum(np.quantile(part[ys, xs], PUPIL_SHARE) - part[ys, xs], 0)
        if not darkness.any():
            continue
        centre = np.array([np.average(xs, weights=darkness) + x0, np.average(ys, weights=darkness) + y0])
        centre -= corners.mean(axis=0)
        along = across / width
        found.append([centre @ along / width, -(centre @ np.array([-along[1], along[0]])) / width])
    return np.mean(found, axis=0) if found else np.full(2, np.nan)


def brows_by_darkness(picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR and MediaPipe's landmarks (478, 2) -> (2,): how high the right and the left brow stand
    above the eye corners, in outer eye distances; NaN where no brow is seen.

    A brow is where a column above the middle of the eye is darkest between lighter skin above and below it.
    The landmarks say only where the eye corners are.
    """
    right_corner, left_corner = landmarks_px[33, :2], landmarks_px[263, :2]
    across = left_corner - right_corner
    scale = BROW_EYES_PX / float(np.hypot(*across))
    turn_deg = float(np.degrees(np.arctan2(across[1], across[0])))
    found = []
    for corners in ((33, 133), (362, 263)):
        middle = landmarks_px[list(corners), :2].mean(axis=0)
        matrix = np.asarray(cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), turn_deg, scale))
        matrix[:, 2] += (BROW_COLUMNS / 2, BROW_ROWS) - middle
        band = cv2.warpAffine(picture, matrix, (BROW_COLUMNS, BROW_ROWS), borderMode=cv2.BORDER_REPLICATE)
        grey = cv2.cvtColor(band, cv2.COLOR_BGR2GRAY).astype(np.float32).mean(axis=1)
        found.append(_valley(cv2.GaussianBlur(grey[:, None], (1, 9), 2)[: BROW_ROWS - ABOVE_LID_PX, 0]))
    return (BROW_ROWS - np.array(found)) / BROW_EYES_PX


def _valley(column: np.ndarray) -> float:
    """Where in a column (N,) of grey levels something dark lies between lighter parts; NaN where nothing
    does."""
    above = np.maximum.accumulate(column)
    below = np.maximum.accumulate(column[::-1])[::-1]
    depth = np.minimum(above, below) - column
    if depth.max() < DARKER_GREY:
        return np.nan
    lowest = int(depth.argmax())
    first = max(0, lowest - VALLEY_PX)
    weights = depth[first : lowest + VALLEY_PX + 1] ** 2
    return first + float(np.average(np.arange(len(weights)), weights=weights))
