"""A photo and an engine: render(AUs) -> picture. Everything that depends on the photo alone is done once, at start.

The engine edits a small crop; the result is blended back at the canvas' own resolution: flow, attention and colour are
scaled up, and wherever attention says "photo" the photo's own pixels are shown, moved by the flow. Pixels outside the crop
are the photo's, byte for byte. The only place where attention meets pixels.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from engines import expression
from engines.backends import Edit, Engine
from engines.bundle import Bundle
from engines.crop import Crop, cut, find_crop
from engines.errors import SourceError
from engines.face import FaceReader
from realtime.canvas import lay_out, own_size
from realtime.photo import load_photo


class Puppet:
    """One photo, ready to be told expressions. `render` is for one thread."""

    def __init__(
        self,
        photo: np.ndarray,
        engine: Engine,
        size: tuple[int, int] | None = None,
        fit: str = "auto",
        say: Callable[[str], None] = lambda _: None,
    ):
        """photo: (H, W, 3) uint8 BGR; size: (width, height) of the output, default the photo's own. Raises SourceError."""
        with FaceReader(max_faces=8) as reader:
            faces = reader.read(photo)
        if not faces:
            raise SourceError("No face was found in the photo: use one that shows a face from the front, well lit, at least 100 px high.")
        if len(faces) > 1:
            say(f"The photo shows {len(faces)} faces; the largest is animated.")
        face = faces[0]
        photo_crop = find_crop(face, engine.bundle.size_px)
        canvas = lay_out(photo, photo_crop, size or own_size(photo), fit)
        self.still = canvas.image  # (H, W, 3) uint8 BGR: what is shown when nothing is asked
        self.own_aus = expression.estimate(face)  # (17,) the photo's own expression
        self.crop = photo_crop.moved(canvas.canvas_from_photo)
        self._engine = engine
        self._crop_picture = cut(photo, photo_crop)
        self._region = _Region(self.crop, self.still, engine.bundle.flow_px)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        engine: Engine,
        size: tuple[int, int] | None = None,
        fit: str = "auto",
        say: Callable[[str], None] = lambda _: None,
    ) -> "Puppet":
        """Raises SourceError naming the file."""
        photo = load_photo(path)
        try:
            return cls(photo, engine, size, fit, say)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from error

    @property
    def bundle(self) -> Bundle:
        return self._engine.bundle

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of what `render` returns."""
        return self.still.shape[1], self.still.shape[0]

    def edit(self, aus: np.ndarray) -> Edit:
        """What the engine says about the photo's crop for (N,) AUs in the bundle's order and conditioning."""
        return self._engine.run(self._crop_picture, aus)

    def render(self, aus: np.ndarray) -> np.ndarray:
        """(N,) AUs in the bundle's order and conditioning -> a new (H, W, 3) uint8 BGR picture."""
        picture = self.still.copy()
        if self._engine.bundle.conditioning == "relative" and not aus.any():
            return picture
        self._region.blend(picture, self.edit(aus))
        return picture


class _Region:
    """The upright box of a canvas that covers the crop, and how the engine's outputs map onto it."""

    def __init__(self, crop: Crop, still: np.ndarray, flow_px: int):
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
