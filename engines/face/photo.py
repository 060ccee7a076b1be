"""A photo file -> BGR pixels, upright and in sRGB, whatever was saved.

That is EXIF rotation, colour profiles, transparency, grey, 16 bits, palettes, 50 megapixels. What a file is
follows from its content, not from its name; metadata is optional, and where it is odd the picture counts.
"""

import logging
import os
import warnings
from collections.abc import Callable, Generator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms

from engines.errors import SourceError
from engines.face.picture_file import (
    AVIF,
    GIF,
    HEIC,
    JPEG,
    JPEG_2000,
    PICTURES,
    PNG,
    START_BYTES,
    TIFF,
    WEBP,
    kind_of,
    without_metadata,
)

BACKDROP = (128, 128, 128)  # behind transparent pixels
# Larger photos are reduced at loading: no output shows more, and 50 megapixels would take 600 MB in copies.
MAX_SIDE_PX = 4096
MAX_BYTES = 800_000_000  # that decoding may take
# What a pixel takes while it is decoded: four bytes of Pillow's, and what the library behind it holds.
BYTES_PER_PIXEL = {JPEG: 3, WEBP: 8, AVIF: 12, HEIC: 12, JPEG_2000: 16}
PROGRESSIVE_BYTES_PER_PIXEL = 7  # a JPEG whose coefficients are all kept to the end
DEEP_BYTES_PER_PIXEL = 12  # more than 8 bits: scaled as floats
# Larger files are not read a second time, without their metadata.
MAX_BYTES_IN_MEMORY = 64_000_000
ORIENTATION, DNG_VERSION = 0x0112, 0xC612  # TIFF tags
ANIMATIONS = {GIF, WEBP, PNG, AVIF, HEIC}  # kinds that may move
UPRIGHT = {  # by the EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MAX_MOVING_PIXELS = 9_000_000  # of each picture of an animation, which are many: 4K
# Of an animation's picture: browsers take less for a mistake, and show it for a tenth of a second.
SHORTEST_S = 0.011
UNSAID_S = 0.1
OTHER_KINDS = "use a JPEG, PNG or WebP photo"
SRGB = ImageCms.createProfile("sRGB")

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs of odd files is not for the user


def load_photo(path: str | Path, say: Callable[[str], None] = lambda _: None) -> np.ndarray:
    """The photo of a file, its first picture where it has several.

    Args:
        say: called with a sentence where the file is an animation, or has several pages.

    Returns:
        (H, W, 3) uint8 BGR, at most MAX_SIDE_PX wide and high; BACKDROP shows where it is transparent.

    Raises:
        SourceError: the file is missing, empty, cut short, too large or not a picture.
    """
    if not os.path.isfile(path):
        raise SourceError(f"There is no photo at {path}", "check the path")
    if os.path.getsize(path) == 0:
        raise SourceError(f"The photo {path} is empty (0 bytes)", "copy it again")
    try:
        with open(path, "rb") as file:
            return read_photo(file, path, say)
    except OSError as error:
        raise SourceError(
            f"The photo {path} cannot be read ({error.strerror or error})", "check its permissions"
        ) from error


def read_photo(file: BinaryIO, name: object, say: Callable[[str], None] = lambda _: None) -> np.ndarray:
    """The same of an open file. name: of the photo, for messages."""
    kind = kind_of(file.read(START_BYTES))
    if kind not in PICTURES:
        what = f"{kind}, not a photo" if kind else "not a picture that can be read"
        raise SourceError(f"{name} is {what}", OTHER_KINDS)
    if kind == HEIC and not _reads_heic():
        raise SourceError(
            f"{name} is a HEIC photo, and the package that reads them is not installed",
            "run `pip install -e '.[heic]'` or `pip install pillow-heif`",
            "save it as JPEG",
        )
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about files that it reads all the same
        try:
            return _decode(file, kind, name, say)
        except SourceError:
            raise
        except Exception as error:  # Pillow's readers let through whatever they stumble over
            if (picture := _decode_without_metadata(file, kind, name)) is not None:
                return picture
            reason = str(error) or type(error).__name__
            raise SourceError(
                f"The photo {name} is damaged or cut short ({reason})", "copy it again"
            ) from error


def is_animation(path: str | Path) -> bool:
    """Whether a file is a picture that moves: GIF, WebP, PNG or AVIF of several frames."""
    with (
        suppress(Exception),
        warnings.catch_warnings(),
        open(path, "rb") as file,
    ):  # it is another's to refuse
        warnings.simplefilter("ignore")
        kind = kind_of(file.read(START_BYTES))
        if kind in ANIMATIONS and (kind != HEIC or _reads_heic()):
            file.seek(0)
            with Image.open(file, formats=_formats(kind)) as image:
                return bool(getattr(image, "is_animated", False))
    return False


def animation_frames(path: str | Path) -> Generator[np.ndarray, None, None]:
    """The pictures of one that moves (see is_animation), in turn.

    Yields:
        (H, W, 3) uint8 BGR as load_photo returns it.

    Raises:
        SourceError: the file is damaged from here on, too large, or not to be read.
    """
    for image in _moving(path):
        yield np.ascontiguousarray(np.asarray(_upright_rgb(image.copy()))[:, :, ::-1])


def animation_durations_s(path: str | Path) -> Generator[float, None, None]:
    """For how many seconds each picture of one that moves is shown. Raises SourceError."""
    for image in _moving(path):
        shown_s = float(image.info.get("duration") or 0) / 1000
        yield shown_s if shown_s > SHORTEST_S else UNSAID_S


def _moving(path: str | Path) -> Generator[Image.Image, None, None]:
    """An open file at each of its pictures. Raises SourceError."""
    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")
            kind = kind_of(file.read(START_BYTES)) or ""
            file.seek(0)
            with Image.open(file, formats=_formats(kind)) as image:
                for number in range(getattr(image, "n_frames", 1)):
                    image.seek(number)
                    _check_moving_size(image, path)
                    image.load()
                    yield image
    except (GeneratorExit, SourceError):
        raise
    except Exception as error:  # as in read_photo
        reason = str(error) or type(error).__name__
        raise SourceError(f"{path} is damaged or cut short ({reason})", "copy it again") from error


def _reads_heic() -> bool:
    """Whether HEIC photos can be read, by the optional package pillow-heif."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _formats(kind: str) -> list[str]:
    """Pillow's readers for a kind of file."""
    return ["JPEG", "MPO"] if kind == JPEG else [kind]


def _decode_without_metadata(file: BinaryIO, kind: str, name: object) -> np.ndarray | None:
    """The picture where it was only the metadata that could not be read; None where it was not."""
    if kind not in (PNG, JPEG) or file.seek(0, os.SEEK_END) > MAX_BYTES_IN_MEMORY:
        return None
    file.seek(0)
    for data in without_metadata(file.read(), kind):
        with suppress(Exception):  # the first fault is reported
            return _decode(BytesIO(data), kind, name, lambda _: None)
    return None


def _decode(file: BinaryIO, kind: str, name: object, say: Callable[[str], None]) -> np.ndarray:
    """(H, W, 3) uint8 BGR. Raises SourceError, and whatever Pillow raises."""
    Image.MAX_IMAGE_PIXELS = None  # its limit knows no kinds; _check_size has ours
    with Image.open(file, formats=_formats(kind)) as image:
        _check_size(image, kind, name)
        if kind == TIFF and DNG_VERSION in getattr(image, "tag_v2", {}):
            raise SourceError(f"{name} is a camera's raw file, not a photo", OTHER_KINDS)
        several = kind in ANIMATIONS | {TIFF} and getattr(image, "is_animated", False)
        # Lets the JPEG decoder halve huge photos while it reads
        image.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))
        picture = np.ascontiguousarray(np.asarray(_upright_rgb(image))[:, :, ::-1])
    if several:
        moves = "has several pages" if kind == TIFF else "is an animation"
        say(f"{name} {moves}: its first picture is the photo.")
    return picture


def _check_size(image: Image.Image, kind: str, name: object) -> None:
    """Raises SourceError for a picture that would take more than MAX_BYTES."""
    per_pixel = BYTES_PER_PIXEL.get(kind, 4)
    if kind == JPEG and "progressive" in image.info:
        per_pixel = PROGRESSIVE_BYTES_PER_PIXEL
    elif _is_deep(image):
        per_pixel = max(per_pixel, DEEP_BYTES_PER_PIXEL)
    elif image.mode in ("P", "PA"):
        per_pixel += 4  # turned into colours at its full size
    width, height = image.size
    if width * height * per_pixel > MAX_BYTES:
        raise SourceError(
            f"The photo {name} is too large ({width}x{height})",
            f"save it with less than {MAX_BYTES // per_pixel // 1_000_000} megapixels",
        )


def _check_moving_size(image: Image.Image, name: object) -> None:
    """Raises SourceError for an animation that is too large at one of its pictures."""
    width, height = image.size
    if width * height > MAX_MOVING_PIXELS:
        raise SourceError(
            f"{name} is too large to be played ({width}x{height})",
            f"save it with less than {MAX_MOVING_PIXELS // 1_000_000} megapixels",
        )


def _is_deep(image: Image.Image) -> bool:
    """Whether its values have more than 8 bits."""
    return image.mode.startswith("I;16") or image.mode in ("I", "F")


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Any picture in 8-bit sRGB: turned by its EXIF, at most MAX_SIDE_PX wide and high."""
    turn = UPRIGHT.get(_orientation(image))
    image.load()
    profile = image.info.get("icc_profile")
    if _is_deep(image):
        image = _eight_bits(image)
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    image = _in_srgb(image, profile)
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, BACKDROP), alpha)
    return image.transpose(turn) if turn is not None else image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1, upright, where there is none that makes sense."""
    try:
        exif = image.getexif()
        orientation = exif.get(ORIENTATION, 1)
        if image.format == TIFF:  # which Pillow turns itself, and fails where another tag is odd
            for tag in set(exif) - {ORIENTATION}:
                del exif[tag]
            return 1
        return int(orientation)
    except Exception:  # metadata is optional
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of more than 8 bits in 8; white is 255, 65535 or the largest value in it."""
    values = np.nan_to_num(np.asarray(image, np.float32), copy=False, posinf=65535.0, neginf=0.0)
    white = 255.0 if values.max() <= 255 else max(65535.0, float(values.max()))
    values *= 255 / white
    return Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture of 8 bits in RGB, its colours as its profile means them; transparency is left out."""
    if image.mode == "LA":
        image = image.convert("L")
    elif image.mode in ("RGBA", "RGBX", "RGBa"):
        image = image.convert("RGBA").convert("RGB")
    try:
        if image.mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif profile:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
        else:
            return image.convert("RGB")
        if ImageCms.getProfileDescription(source).startswith("sRGB"):
            return image.convert("RGB")
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        converted = ImageCms.profileToProfile(image, source, SRGB, intent, "RGB", flags=flags)
        assert converted is not None  # as it is not done in place
        return converted
    except Exception:  # a profile that is broken, or of other pixels: colours as they stand
        return image.convert("RGB")
