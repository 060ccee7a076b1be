"""A photo and an engine: render(AUs) -> picture. Everything that depends on the photo alone is done once, at start.

The engine edits a small crop; engines.blend draws the edit at the canvas' own resolution.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.backends.interface import Edit, Engine
from engines.blend import Blender
from engines.bundle import Bundle
from engines.errors import SourceError
from engines.face import au_estimator
from engines.face.crop import cut, find_crop
from engines.face.landmarks import FaceReader
from engines.face.photo import load_photo
from realtime.puppet.canvas import lay_out, own_size


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
            raise SourceError(
                "No face was found in the photo: use one that shows a face from the front, well lit, at least 100 px high."
            )
        if len(faces) > 1:
            say(f"The photo shows {len(faces)} faces; the largest is animated.")
        face = faces[0]
        photo_crop = find_crop(face, engine.bundle.size_px)
        canvas = lay_out(photo, photo_crop, size or own_size(photo), fit)
        self.still = canvas.image  # (H, W, 3) uint8 BGR: what is shown when nothing is asked
        self.own_aus = au_estimator.estimate(face)  # (29,) the photo's own expression
        self.crop = photo_crop.moved(canvas.canvas_from_photo)
        self._engine = engine
        self._crop_picture = cut(photo, photo_crop)
        self._crop_picture.flags.writeable = False  # engines may keep what cannot change
        self._blender = Blender(self.crop, self.still, engine.bundle.flow_px)

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
        self._blender.blend(picture, self.edit(aus))
        return picture
