"""An edit drawn into a picture at the picture's own resolution. The only place where attention meets pixels.

    out = A * moved(photo) + (1 - A) * C          GANimation (ECCV 2018), eq. 1, with the photo moved by the flow

Flow, attention and colour are scaled up from the crop; wherever attention says "photo", the picture's own pixels are shown, so
that a sharp photo stays sharp. Pixels outside the crop are not touched: they are the photo's, byte for byte.
"""

import cv2
import numpy as np

from engines.backends.interface import Edit
from engines.face.crop import Crop

# How the photo's pixels are moved. Full single AUs on faces of 640 - 830 px keep .93 of the photo's sharpness (variance of the
# Laplacian), .62 by bilinear and .99 by Lanczos sampling, in 3.9, 1.6 and 20 ms of one core for a crop of 640 px.
SAMPLING = cv2.INTER_CUBIC
UNSEEN = 1 / 512  # of 1 - A: less colour than this changes no pixel by more than half a grey level

Box = tuple[slice, slice]  # rows, columns of the picture


class Blender:
    """Prepared for one still picture and one crop of it: the upright box that covers the crop, and how outputs map onto it."""

    def __init__(self, crop: Crop, still: np.ndarray, flow_px: int, sampling: int = SAMPLING):
        """still: (H, W, 3) uint8 BGR; flow_px: side of the flow field, 0 for engines without one; sampling: one of OpenCV's, for moved pixels."""
        self._still, self._crop, self._sampling = still, crop, sampling
        self._box = self._covering(0, 0, crop.size_px - 1, crop.size_px - 1)
        # A flow cell is `step` crop pixels wide; its value belongs to the cell's centre.
        step = crop.size_px / flow_px if flow_px else 1.0
        self._frame_from_flow = crop.frame_from_crop @ np.array(
            [[step, 0, (step - 1) / 2], [0, step, (step - 1) / 2], [0, 0, 1]]
        )
        self._turn = crop.frame_from_crop[:, :2].T.astype(np.float32)  # flow vectors, crop -> canvas pixels
        ys, xs = np.mgrid[self._box]
        self._places = np.stack([xs, ys], axis=-1).astype(np.float32)  # canvas pixels of the box

    def blend(self, picture: np.ndarray, edit: Edit) -> None:
        """Draws an edit into (H, W, 3) uint8, in place; nothing outside the crop changes."""
        if edit.flow is None:
            picture[self._box] = self._still[self._box]
        else:
            flow = _scaled(edit.flow @ self._turn, self._frame_from_flow, self._box, outside=0)
            picture[self._box] = cv2.remap(
                self._still, self._places + flow, None, self._sampling, borderMode=cv2.BORDER_REPLICATE
            )
        painted = self._painted(edit.attention)
        if painted is not None:
            attention = _scaled(edit.attention, self._crop.frame_from_crop, painted, outside=1)
            colour = _scaled(edit.colour, self._crop.frame_from_crop, painted, outside=0)
            picture[painted] = cv2.blendLinear(picture[painted], colour, attention, 1 - attention)

    def _painted(self, attention: np.ndarray) -> Box | None:
        """The box outside which no colour is seen, as painting costs by the pixel; None where there is none."""
        seen = attention < 1 - UNSEEN
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        if not len(rows):
            return None
        last = (
            self._crop.size_px - 1
        )  # a pixel more, as far as bilinear scaling spreads, but none outside the crop
        return self._covering(
            max(columns[0] - 1, 0), max(rows[0] - 1, 0), min(columns[-1] + 1, last), min(rows[-1] + 1, last)
        )

    def _covering(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The upright box of the picture that covers a box of the crop."""
        corners = self._crop.to_frame(
            np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
        )
        height, width = self._still.shape[:2]
        low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, [width - 1, height - 1])
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, low + 1, [width, height])
        return slice(low[1], high[1]), slice(low[0], high[0])


def compose(crop: np.ndarray, edit: Edit) -> np.ndarray:
    """An edit drawn on its own crop, by the code that draws it live: (S, S, 3) uint8."""
    picture = crop.copy()
    flow_px = 0 if edit.flow is None else len(edit.flow)
    Blender(Crop(np.eye(2, 3), len(crop)), crop, flow_px).blend(picture, edit)
    return picture


def _scaled(field: np.ndarray, frame_from_field: np.ndarray, box: Box, outside: float) -> np.ndarray:
    """What the generator says, scaled to the picture's pixels in a box."""
    rows, columns = box
    box_from_field = frame_from_field.copy()
    box_from_field[:, 2] -= columns.start, rows.start
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return cv2.warpAffine(
        field,
        box_from_field,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[outside] * 3,
    )
