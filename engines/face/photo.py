"""A photo file -> BGR pixels, upright, whatever was saved.

That is EXIF rotation, transparency, grey, 16 bits, palettes, 50 megapixels.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from engines.errors import SourceError

BACKDROP = (128, 128, 128)  # behind transparent pixels
# Larger photos are reduced at loading: no output shows more, and 50 megapixels would take 600 MB in copies.
MAX_SIDE_PX = 4096
MAX_PIXELS = 400_000_000  # a person chose this file; Pillow's own limit of 89 MP would warn on big cameras


def load_photo(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 BGR. Raises SourceError when the file is missing, empty, cut short or not a picture."""
    path = Path(path)
    if not os.path.isfile(path):
        raise SourceError(f"There is no photo at {path}", "check the path")
    if path.stat().st_size == 0:
        raise SourceError(f"The photo {path} is empty (0 bytes)", "copy it again")
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        with Image.open(path) as file:
            # Lets the JPEG decoder halve huge photos while it reads
            file.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))
            rgb = np.asarray(_upright_rgb(file))
    except UnidentifiedImageError as error:
        raise SourceError(
            f"{path} is not a picture that can be read", "use a JPEG, PNG or WebP photo"
        ) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SourceError(f"The photo {path} is damaged or cut short ({error})", "copy it again") from error
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Any picture in 8-bit RGB: turned by its EXIF, at most MAX_SIDE_PX wide and high.

    BACKDROP shows where it is transparent.
    """
    image = ImageOps.exif_transpose(image)
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, np.float32)
        white = 255.0 if values.max() <= 255 else max(65535.0, float(values.max()))
        image = Image.fromarray(np.clip(values / white * 255 + 0.5, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKDROP, 255)), image)
    return image.convert("RGB")
