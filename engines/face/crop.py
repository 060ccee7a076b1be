"""Landmarks -> the aligned crop that generators see, and back. The only place that knows this geometry.

A crop is one similarity transform (turn, scale, shift): roll is taken out, the head's true size fills the
same share of every crop, and nothing that an expression moves takes part, so an opened mouth does not shift
the picture. A crop spans SPAN outer eye distances from above the brows to below a dropped chin.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from engines.face.landmarks import Face
from engines.face.mesh import align, mean_face, unalign

# Outer eye distances across a crop: forehead (-0.58) to chin (1.31), and room for a jaw that drops 0.3
SPAN = 2.6
CENTRE_DOWN = 0.44  # the crop's centre lies this far below the eyes, in outer eye distances
MAX_BILINEAR_SHRINK = 1.5  # beyond it bilinear sampling alone would alias: frames are averaged first
RULE = f"similarity-{SPAN}-{CENTRE_DOWN}"  # written into bundles; an engine trained on other crops is refused


@dataclass(frozen=True)
class Crop:
    """A square of size_px cut out of a frame by one similarity transform."""

    crop_from_frame: np.ndarray  # (2, 3) float64: frame pixels -> crop pixels
    size_px: int

    @cached_property
    def frame_from_crop(self) -> np.ndarray:
        """(2, 3) float64: crop pixels -> frame pixels."""
        return cv2.invertAffineTransform(self.crop_from_frame)

    @property
    def frame_px_per_crop_px(self) -> float:
        return float(np.hypot(*self.frame_from_crop[:, 0]))

    def to_crop(self, points_px: np.ndarray) -> np.ndarray:
        """(..., 2) frame pixels -> crop pixels."""
        return points_px @ self.crop_from_frame[:, :2].T + self.crop_from_frame[:, 2]

    def to_frame(self, points_px: np.ndarray) -> np.ndarray:
        """(..., 2) crop pixels -> frame pixels."""
        return points_px @ self.frame_from_crop[:, :2].T + self.frame_from_crop[:, 2]

    def mesh_to_crop(self, mesh_px: np.ndarray) -> np.ndarray:
        """(478, 3) landmarks with depth, frame -> crop pixels, float32."""
        depth = mesh_px[:, 2:] / self.frame_px_per_crop_px
        return np.concatenate([self.to_crop(mesh_px[:, :2]), depth], axis=1).astype(np.float32)

    def moved(self, new_from_old: np.ndarray) -> "Crop":
        """The same crop of a frame that was itself moved by the (2, 3) similarity new_from_old."""
        old_from_new = cv2.invertAffineTransform(np.asarray(new_from_old, np.float64))
        return Crop(_compose(self.crop_from_frame, old_from_new), self.size_px)


def find_crop(face: Face, size_px: int) -> Crop:
    """The aligned crop of a face."""
    return find_mesh_crop(face.mesh_px, size_px)


def find_mesh_crop(mesh_px: np.ndarray, size_px: int) -> Crop:
    """The aligned crop of a (478, 3) mesh in frame pixels."""
    _, pose = align(mesh_px)
    roll = np.radians(pose.angles_deg[2])
    scale = size_px / (SPAN * float(pose.scale))
    turn = scale * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    # A resting head of this size and pose, which no expression moves; upright, so that its box does not
    # depend on roll.
    resting_px = unalign(mean_face(), pose)[:, :2]
    outline = resting_px @ turn.T
    outline_centre = (outline.min(axis=0) + outline.max(axis=0)) / 2
    mean_height = mean_face()[:, 1]
    # How far the outline's centre lies below the crop's, in outer eye distances.
    below = (mean_height.min() + mean_height.max()) / 2 - CENTRE_DOWN
    goal = np.array([size_px / 2, size_px / 2 + below * size_px / SPAN]) - 0.5
    return Crop(np.column_stack([turn, goal - outline_centre]), size_px)


def cut(frame: np.ndarray, crop: Crop) -> np.ndarray:
    """(H, W, 3) uint8 -> the crop, (size_px, size_px, 3) uint8. Outside the frame its edge is repeated."""
    matrix = crop.crop_from_frame
    shrink = crop.frame_px_per_crop_px
    if shrink > MAX_BILINEAR_SHRINK:
        small = cv2.resize(frame, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        sx, sy = small.shape[1] / frame.shape[1], small.shape[0] / frame.shape[0]
        shrunk_from_frame = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2]])
        matrix, frame = _compose(matrix, cv2.invertAffineTransform(shrunk_from_frame)), small
    size = (crop.size_px, crop.size_px)
    return cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The (2, 3) transform that applies `inner`, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])
