"""Faults drawn over a driver's picture: a hand, a turned camera, an edge, darkness, somebody else. For tests; knows no tracker."""

import cv2
import numpy as np

# A left hand seen from its back, fingers up: (from, to, thickness at both ends) in palm widths from the palm's centre, y down.
FINGERS = (
    ((-0.36, -0.35), (-0.52, -1.25), 0.15, 0.11),
    ((-0.12, -0.45), (-0.16, -1.50), 0.15, 0.11),
    ((0.12, -0.43), (0.18, -1.42), 0.15, 0.11),
    ((0.34, -0.35), (0.50, -1.10), 0.13, 0.09),
    ((-0.30, 0.20), (-0.95, -0.35), 0.18, 0.12),
)
WRIST = ((0.0, 0.3), (0.05, 2.6), 0.42, 0.50)
FINER = 2  # drawn so much larger, for soft edges


def hand(image: np.ndarray, centre_px: np.ndarray, palm_px: float, angle_deg: float, colour: np.ndarray, speed_px: float = 0.0) -> np.ndarray:
    """A copy of (H, W, 3) uint8 with a hand over it: palm_px across, fingers turned angle_deg clockwise from up, blurred by its speed a frame."""
    height, width = image.shape[:2]
    turn = np.radians(angle_deg)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * palm_px
    shape, light = np.zeros((height, width), np.uint8), np.zeros((height, width), np.float32)

    def limb(start: tuple[float, float], end: tuple[float, float], thick: float, thin: float, shade: float) -> None:
        own = np.zeros_like(shape)
        for share in np.linspace(0, 1, 24):
            place = centre_px + matrix @ (np.array(start) * (1 - share) + np.array(end) * share)
            radius = max(1, round((thick * (1 - share) + thin * share) * palm_px))
            cv2.circle(own, tuple(int(v) for v in np.round(place)), radius, 255, -1, cv2.LINE_AA)
        round_px = cv2.distanceTransform((own > 127).astype(np.uint8), cv2.DIST_L2, 3)
        form = np.clip(round_px / (thick * palm_px), 0, 1) ** 0.5  # bright along the middle, dark towards the edge
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
    """The picture with `light` (0..1) of its brightness, as a sensor sees it: noise in steps of 8 bits, in blobs as cameras smooth it."""
    grain = rng.normal(0, noise, image.shape).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 1.9  # as strong as before, but coarser
    return np.clip(image * light + grain + 0.5, 0, 255).astype(np.uint8)


def joined(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures of one height, side by side."""
    return np.concatenate([left, right], axis=1)
