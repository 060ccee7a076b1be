"""An edit drawn into a picture at the picture's own resolution. The only place where attention meets pixels.

    out = A * moved(photo) + (1 - A) * C          GANimation (ECCV 2018), eq. 1, with the photo moved by the flow

Flow, attention and colour are scaled up from the crop; wherever attention says "photo", the picture's own pixels are shown, so
that a sharp photo stays sharp. Pixels outside the crop are not touched: they are the photo's, byte for byte.
"""

import cv2
import numpy as np

from engines.backends import Edit
from engines.crop import Crop


class Blender:
    """Prepared for one still picture and one crop of it: the upright box that covers the crop, and how outputs map onto it."""

    def __init__(self, crop: Crop, still: np.ndarray, flow_px: int):
        """still: (H, W, 3) uint8 BGR; flow_px: side of the flow field, 0 for engines without one."""
        height, width = still.shape[:2]
        corners = crop.to_frame(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (crop.size_px - 1.0))
        left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, [width, height])
        self._box = slice(top, bottom), slice(left, right)
        self._size = (max(1, int(right - left)), max(1, int(bottom - top)))
        self._still = still
        self._region_from_crop = crop.frame_from_crop.copy()
        self._region_from_crop[:, 2] -= left, top
        # A flow cell is `step` crop pixels wide; its value belongs to the cell's centre.
        step = crop.size_px / flow_px if flow_px else 1.0
        cell = np.array([[step, 0, (step - 1) / 2], [0, step, (step - 1) / 2]])
        self._region_from_flow = self._region_from_crop[:, :2] @ cell
        self._region_from_flow[:, 2] += self._region_from_crop[:, 2]
        self._turn = crop.frame_from_crop[:, :2].T.astype(np.float32)  # flow vectors, crop -> canvas pixels
        xs, ys = np.meshgrid(np.arange(self._size[0]), np.arange(self._size[1]))
        self._places = np.stack([xs + left, ys + top], axis=-1).astype(np.float32)  # canvas pixels of the box

    def blend(self, picture: np.ndarray, edit: Edit) -> None:
        """Draws an edit into (H, W, 3) uint8, in place; nothing outside the crop changes."""
        attention = self._scaled(edit.attention, self._region_from_crop, outside=1)
        photo = self._still[self._box]
        if edit.flow is not None:
            flow = self._scaled(edit.flow @ self._turn, self._region_from_flow, outside=0)
            photo = cv2.remap(self._still, self._places + flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        colour = self._scaled(edit.colour, self._region_from_crop, outside=0)
        picture[self._box] = cv2.blendLinear(photo, colour, attention, 1 - attention)

    def _scaled(self, field: np.ndarray, region_from_field: np.ndarray, outside: float) -> np.ndarray:
        return cv2.warpAffine(
            field, region_from_field, self._size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=[outside] * 3
        )
