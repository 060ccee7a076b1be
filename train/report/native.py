"""Is an edited photo as sharp as the photo, at the photo's own resolution?

The sweep measures on crops, where everything was resampled once already. Here single AUs are drawn into
photos whose faces are larger than the crop, as they are live. Skin that is stretched loses sharpness by
right: so the same motion is also drawn by a resampler that loses next to nothing and is too slow to be live.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from tqdm import tqdm

from engines.backends.interface import Edit, Engine
from engines.blend import SAMPLING, Blender
from engines.errors import DataError
from engines.face.action_units import PAPER_17
from train.report import measures
from train.report.edits import SMILE, level_input
from train.report.photos import Photo

# Over 8 x 8 pixels; on a photo enlarged three times by it, it gave the same within half a hundredth
IDEAL = cv2.INTER_LANCZOS4


def native_sharpness(engine: Engine, photos: Sequence[Photo]) -> dict:
    """Sharpness of full single AUs and of full smiles in each photo's largest face, of the photo's own.

    Raises DataError when no face is larger than the engine's crop: enlarged faces are no sharper than crops.
    """
    larger = [photo for photo in photos if photo.subjects[0].crop.frame_px_per_crop_px > 1]
    if not larger:
        raise DataError(
            f"No face in --photos is larger than the engine's {engine.bundle.size_px} px crop: give larger "
            "photos."
        )
    singles: list[list[float]] = []
    smiles: list[list[float]] = []
    for photo in tqdm(larger, desc="sharpness of photos", unit="photo", disable=None):
        close = _FaceSharpness(photo, engine.bundle.flow_px)
        for names in [(au,) for au in PAPER_17] + [SMILE]:
            edit = engine.run(
                photo.subjects[0].picture, level_input(engine, photo.subjects[0].own, names, 1.0)
            )
            (smiles if names == SMILE else singles).append(close.sharpness(edit))
    single, smile = np.array(singles), np.array(smiles)
    return {
        "native_photos": len(larger),
        "native_crop_px": [round(f(_crop_px(photo) for photo in larger)) for f in (min, max)],
        "native_sharpness": float(np.median(single[:, 0])),
        "native_sharpness_p5": float(np.percentile(single[:, 0], 5)),
        "native_sharpness_ideal": float(np.median(single[:, 1])),
        "native_sharpness_of_ideal": float(np.median(single[:, 0] / single[:, 1])),
        "native_smile_sharpness": float(np.median(smile[:, 0])),
        "native_smile_sharpness_ideal": float(np.median(smile[:, 1])),
    }


def _crop_px(photo: Photo) -> float:
    crop = photo.subjects[0].crop
    return crop.size_px * crop.frame_px_per_crop_px


class _FaceSharpness:
    """A photo's largest face, drawn as it is live and ideally."""

    def __init__(self, photo: Photo, flow_px: int):
        crop = photo.subjects[0].crop
        self._image = photo.image
        self._blenders = [Blender(crop, photo.image, flow_px, sampling) for sampling in (SAMPLING, IDEAL)]
        self._face = measures.polygon(photo.subjects[0].outline_px, photo.image.shape[:2])
        self._sharp = max(measures.sharpness(photo.image, self._face), 1e-6)

    def sharpness(self, edit: Edit) -> list[float]:
        """Of the edit as it is drawn live, and drawn ideally; the photo's is 1."""
        found = []
        for blender in self._blenders:
            picture = self._image.copy()
            blender.blend(picture, edit)
            found.append(measures.sharpness(picture, self._face) / self._sharp)
        return found
