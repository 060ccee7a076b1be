"""A photo file -> BGR pixels, upright, whatever was saved: EXIF turns, transparency, grey, 16 bits, palettes, 50 megapixels."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from engines.errors import SourceError

BACKDROP = (128, 128, 128)  # behind transparent pixels
MAX_SIDE_PX = 4096  # larger photos are halved at loading: no output shows more, and 50 megapixels would hold 600 MB in copies


def load_photo(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 BGR. Raises SourceError when the file is missing, empty, cut short or not a picture."""
    path = Path(path)
    if not os.path.isfile(path):
        raise SourceError(f"There is no photo at {path}: check the path.")
    if path.stat().st_size == 0:
        raise SourceError(f"The photo {path} is empty (0 bytes): copy it again.")
    Image.MAX_IMAGE_PIXELS = (
        400_000_000  # a person chose this file; Pillow's own limit of 89 MP would warn on big cameras
    )
    try:
        with Image.open(path) as image:
            image.draft(
                "RGB", (MAX_SIDE_PX, MAX_SIDE_PX)
            )  # lets the JPEG decoder halve huge photos while it reads
            image = ImageOps.exif_transpose(image)
            image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
            if image.mode.startswith("I;16") or image.mode in ("I", "F"):
                wide = np.asarray(image, np.float32)
                white = 255.0 if wide.max() <= 255 else max(65535.0, float(wide.max()))
                image = Image.fromarray(np.clip(wide / white * 255 + 0.5, 0, 255).astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKDROP, 255)), image)
            rgb = np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise SourceError(
            f"{path} is not a picture that can be read: use a JPEG, PNG or WebP photo."
        ) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SourceError(f"The photo {path} is damaged or cut short ({error}): copy it again.") from error
    return np.ascontiguousarray(rgb[:, :, ::-1])
