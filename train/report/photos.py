"""A photo file -> the people in it, each ready to be edited: crop, own AUs, the way back into the photo."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.backends.interface import Engine
from engines.blend import Blender, compose
from engines.errors import SourceError
from engines.face import au_estimator
from engines.face.crop import Crop, cut, find_crop
from engines.face.landmarks import FaceReader
from engines.face.mesh import FACE_OVAL
from engines.face.photo import load_photo
from train.report.edits import engine_input, level_input

MAX_FACES = 8


@dataclass(frozen=True)
class Subject:
    """One person in a photo."""

    crop: Crop
    picture: np.ndarray  # (S, S, 3) uint8 BGR, cut out by `crop`
    own: np.ndarray  # (29,) float32 intensities 0..1, in the order of WIDE
    outline_px: np.ndarray  # (n, 2) of the face, photo pixels

    def edited(self, engine: Engine, names: tuple[str, ...], level: float = 1.0) -> np.ndarray:
        """The crop with the named AUs at `level`."""
        return compose(self.picture, engine.run(self.picture, level_input(engine, self.own, names, level)))

    def showing(self, engine: Engine, wanted: np.ndarray) -> np.ndarray:
        """The crop with intensities (29,)."""
        return compose(self.picture, engine.run(self.picture, engine_input(engine, self.own, wanted)))


@dataclass(frozen=True)
class Photo:
    """A photo and the people in it, the largest face first."""

    name: str  # its file's, without the ending; numbered where an earlier photo has the same
    image: np.ndarray  # (H, W, 3) uint8 BGR
    subjects: list[Subject]

    def showing(self, engine: Engine, wanted: list[np.ndarray]) -> np.ndarray:
        """The whole photo, at its own resolution, with intensities (29,) for each subject in turn."""
        drawn = self.image.copy()
        for subject, aus in zip(self.subjects, wanted, strict=False):
            before = drawn.copy()  # boxes of neighbours overlap: each is drawn over what stands there already
            Blender(subject.crop, before, engine.bundle.flow_px).blend(
                drawn, engine.run(subject.picture, engine_input(engine, subject.own, aus))
            )
        return drawn


def read_photos(paths: list[Path], size_px: int) -> list[Photo]:
    """Photos with their people in crops of size_px.

    Raises SourceError, also for a photo in which no face is found.
    """
    if not paths:
        raise SourceError("No photo was named: give one or several photos of faces.")
    photos: list[Photo] = []
    taken: set[str] = set()
    with FaceReader(max_faces=MAX_FACES) as reader:
        for path in paths:
            image = load_photo(path)
            subjects = []
            for face in reader.read(image):
                crop = find_crop(face, size_px)
                subjects.append(
                    Subject(
                        crop,
                        cut(image, crop),
                        au_estimator.estimate(face),
                        face.landmarks_px[list(FACE_OVAL)],
                    )
                )
            if not subjects:
                raise SourceError(
                    f"No face was found in {path}: use a photo that shows one from the front, well lit, at "
                    "least 100 px high."
                )
            photos.append(Photo(_unique_name(path.stem, taken), image, subjects))
    return photos


def _unique_name(name: str, taken: set[str]) -> str:
    """The name, or name-2, name-3 ..., the first that is not in `taken`, in any case; adds it there."""
    numbered = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
    free = next(each for each in numbered if each.casefold() not in taken)
    taken.add(free.casefold())
    return free
