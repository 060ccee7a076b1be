"""Faults drawn over a driver's picture: a hand, a turned head, a tilted camera, an edge, darkness, another
person."""

import cv2
import numpy as np

from engines.face.landmarks import tessellation
from engines.face.mesh import (
    LEFT_LID_BOTTOM,
    LEFT_LID_TOP,
    LIPS_INNER_BOTTOM,
    LIPS_INNER_TOP,
    RIGHT_LID_BOTTOM,
    RIGHT_LID_TOP,
)

# A left hand seen from its back, fingers up: (from, to, thickness at both ends) in palm widths from the
# palm's centre, y down.
FINGERS = (
    ((-0.36, -0.35), (-0.52, -1.25), 0.15, 0.11),
    ((-0.12, -0.45), (-0.16, -1.50), 0.15, 0.11),
    ((0.12, -0.43), (0.18, -1.42), 0.15, 0.11),
    ((0.34, -0.35), (0.50, -1.10), 0.13, 0.09),
    ((-0.30, 0.20), (-0.95, -0.35), 0.18, 0.12),
)
WRIST = ((0.0, 0.3), (0.05, 2.6), 0.42, 0.50)
FINER = 2  # drawn so much larger, for soft edges


def hand(
    image: np.ndarray,
    centre_px: np.ndarray,
    palm_px: float,
    angle_deg: float,
    colour: np.ndarray,
    speed_px: float = 0.0,
) -> np.ndarray:
    """A copy of (H, W, 3) uint8 with a hand over it: palm_px across, fingers turned angle_deg clockwise
    from up, blurred by its speed a frame."""
    height, width = image.shape[:2]
    turn = np.radians(angle_deg)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * palm_px
    shape, light = np.zeros((height, width), np.uint8), np.zeros((height, width), np.float32)

    def limb(
        start: tuple[float, float], end: tuple[float, float], thick: float, thin: float, shade: float
    ) -> None:
        own = np.zeros_like(shape)
        for share in np.linspace(0, 1, 24):
            place = centre_px + matrix @ (np.array(start) * (1 - share) + np.array(end) * share)
            radius = max(1, round((thick * (1 - share) + thin * share) * palm_px))
            cv2.circle(own, tuple(int(v) for v in np.round(place)), radius, 255, -1, cv2.LINE_AA)
        round_px = cv2.distanceTransform((own > 127).astype(np.uint8), cv2.DIST_L2, 3)
        form = (
            np.clip(round_px / (thick * palm_px), 0, 1) ** 0.5
        )  # bright along the middle, dark towards the edge
        inside = own > 127
        light[inside] = (shade * (0.62 + 0.42 * form))[inside]
        np.maximum(shape, own, out=shape)

    limb(*WRIST, 0.96)
    limb((-0.05, -0.1), (0.05, 0.25), 0.52, 0.48, 1.0)
    for number, finger in enumerate(FINGERS):
        limb(*finger, 1.0 - 0.03 * (number % 2))
    alpha = cv2.GaussianBlur(shape, (0, 0), max(0.8, 0.02 * palm_px)).astype(np.float32) / 255
    if speed_px > 2:
        kernel = np.zeros((1, 2 * int(speed_px / 4) + 1), np.float32) + 1
        alpha = cv2.filter2D(alpha, -1, kernel / kernel.sum())
    light = cv2.GaussianBlur(light, (0, 0), max(0.8, 0.02 * palm_px))
    grain = np.random.default_rng(abs(int(centre_px[0] * 7 + centre_px[1]))).normal(0, 3, image.shape)
    skin = np.clip(light[..., None] * colour + grain, 0, 255)
    return (image * (1 - alpha[..., None]) + skin * alpha[..., None]).astype(np.uint8)


def rolled(image: np.ndarray, degrees: float, about_px: np.ndarray, zoom: float = 1.0) -> np.ndarray:
    """The picture turned counter-clockwise about a point."""
    matrix = cv2.getRotationMatrix2D(tuple(map(float, about_px)), degrees, zoom)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def slid(image: np.ndarray, right_px: float, down_px: float) -> np.ndarray:
    """The picture moved, its edge repeated: what leaves is gone."""
    matrix = np.array([[1, 0, right_px], [0, 1, down_px]], np.float64)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def darkened(image: np.ndarray, light: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The picture with `light` (0..1) of its brightness, as a sensor sees it: noise in steps of 8 bits, in
    blobs as cameras smooth it."""
    grain = rng.normal(0, noise, image.shape).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 1.9  # as strong as before, but coarser
    return np.clip(image * light + grain + 0.5, 0, 255).astype(np.uint8)


def head_of(photo: np.ndarray, mesh_px: np.ndarray, eyes_px: float) -> tuple[np.ndarray, np.ndarray]:
    """A head cut out of a photo (h, w, 3) uint8, and its soft mask (h, w) 0..1, so large that the outer
    eye corners lie eyes_px apart."""
    scale = eyes_px / float(np.linalg.norm(mesh_px[33, :2] - mesh_px[263, :2]))
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left, top = mesh_px[:, :2].min(axis=0) * scale
    right, bottom = mesh_px[:, :2].max(axis=0) * scale
    width, height = right - left, bottom - top
    mask = np.zeros(small.shape[:2], np.uint8)
    cv2.ellipse(
        mask,
        (int((left + right) / 2), int(top + 0.42 * height)),
        (int(0.68 * width), int(0.80 * height)),
        0,
        0,
        360,
        255,
        -1,
    )
    rows, columns = (
        slice(max(0, int(top - 0.45 * height)), int(bottom + 0.3 * height)),
        slice(max(0, int(left - 0.3 * width)), int(right + 0.3 * width)),
    )
    return small[rows, columns], cv2.GaussianBlur(mask, (0, 0), 0.03 * width)[rows, columns].astype(
        np.float32
    ) / 255


def with_head(
    image: np.ndarray, head: tuple[np.ndarray, np.ndarray], centre_px: tuple[float, float]
) -> np.ndarray:
    """A copy of a picture with a head (of `head_of`) pasted about a point; parts beyond the edge are cut."""
    picture, mask = head
    height, width = picture.shape[:2]
    shift = np.array([[1, 0, centre_px[0] - width / 2], [0, 1, centre_px[1] - height / 2]])
    size = image.shape[1::-1]
    alpha = cv2.warpAffine(mask, shift, size)[..., None]
    return (image * (1 - alpha) + cv2.warpAffine(picture, shift, size) * alpha).astype(np.uint8)


def turned(image: np.ndarray, mesh_px: np.ndarray, yaw_deg: float, pitch_deg: float = 0.0) -> np.ndarray:
    """The face of a picture turned by its own mesh (478, 3), before a blurred background: good enough for
    a tracker up to about 50 degrees."""
    yaw, pitch = np.radians((yaw_deg, pitch_deg))
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    centre = mesh_px.mean(axis=0)
    goal = ((mesh_px - centre) @ (about_x @ about_y).T + centre).astype(np.float32)
    start = mesh_px.astype(np.float32)
    triangles = np.concatenate([tessellation(), *map(_fan, HOLES)])
    out = cv2.GaussianBlur(image, (0, 0), 25)
    for triangle in triangles[np.argsort(-goal[triangles, 2].mean(axis=1))]:  # the farthest first
        old, new = start[triangle, :2], goal[triangle, :2]
        left, top = np.maximum(np.floor(new.min(axis=0)).astype(int) - 1, 0)
        right, bottom = np.minimum(np.ceil(new.max(axis=0)).astype(int) + 2, image.shape[1::-1])
        if right <= left or bottom <= top or _area(old) * _area(new) <= 0:  # outside, or seen from behind
            continue
        corner = np.array([left, top], np.float32)
        old_from_new = cv2.getAffineTransform(new - corner, old)
        patch = cv2.warpAffine(
            image,
            old_from_new,
            (int(right - left), int(bottom - top)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        mask = np.zeros(patch.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, np.round((new - corner) * 16).astype(np.int32), 255, cv2.LINE_8, 4)
        mask = cv2.dilate(mask, np.ones((2, 2), np.uint8))
        out[top:bottom, left:right][mask > 0] = patch[mask > 0]
    return out


HOLES = (
    (*RIGHT_LID_TOP, *RIGHT_LID_BOTTOM[-2:0:-1]),
    (*LEFT_LID_TOP, *LEFT_LID_BOTTOM[-2:0:-1]),
    (*LIPS_INNER_TOP, *LIPS_INNER_BOTTOM[-2:0:-1]),
)


def _fan(contour: tuple[int, ...]) -> np.ndarray:
    return np.array([(contour[0], contour[i], contour[i + 1]) for i in range(1, len(contour) - 1)])


def _area(corners: np.ndarray) -> float:
    (ax, ay), (bx, by) = corners[1] - corners[0], corners[2] - corners[0]
    return float(ax * by - ay * bx)
