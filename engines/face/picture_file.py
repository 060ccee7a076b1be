"""Picture files by their bytes: of which kind one is, whatever its name; the same without its metadata."""

import struct
from collections.abc import Iterator
from pathlib import Path

START_BYTES = 256  # of a file, which tell its kind

# By Pillow's names of formats. MPO: a JPEG with more pictures behind the first, as telephones write them.
JPEG, PNG, WEBP, GIF, BMP, TIFF = "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"
JPEG_2000, AVIF, HEIC, PPM, QOI, PSD = "JPEG2000", "AVIF", "HEIF", "PPM", "QOI", "PSD"
PICTURES = frozenset({JPEG, PNG, WEBP, GIF, BMP, TIFF, JPEG_2000, AVIF, HEIC, PPM, QOI, PSD})
# Kinds that are recognised to be refused by their name.
JPEG_XL, RAW, VIDEO, DOCUMENT = "a JPEG XL picture", "a camera's raw file", "a video", "a document"

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0\x10\0\0\0CR", RAW),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0\x08\0\0\0", TIFF),
    (b"MM\0+\0\x08\0\0", TIFF),
    (b"IIRO", RAW),
    (b"IIU\0", RAW),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
    (b"\xff\x0a", JPEG_XL),
    (b"qoif", QOI),
    (b"8BPS\0\x01", PSD),
    (b"\x1aE\xdf\xa3", VIDEO),
    (b"%PDF", DOCUMENT),
    (b"%!PS", DOCUMENT),
)
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".avif", ".bmp", ".tif", ".tiff"}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_RAW_BRANDS = {b"crx "}

# What a PNG needs to be drawn, and what says how it is meant; the rest is text, times and private chunks.
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PNG_MEANING = {b"iCCP", b"eXIf", b"sRGB"}
_JPEG_ADOBE = 0xEE  # APP14 names the colour space: without it, CMYK and RGB are taken for something else
_JPEG_MEANING = {0xE1, 0xE2}  # EXIF and the colour profile


def kind_of(start: bytes) -> str | None:
    """The kind of a file that starts so, one of the names above; None for an unknown one."""
    if start[4:8] == b"ftyp":
        return _kind_of_container(start)
    if start[:4] == b"RIFF":
        return {b"WEBP": WEBP, b"AVI ": VIDEO}.get(start[8:12])
    if start[:2] == b"BM":
        return BMP if start[6:10] == bytes(4) and start[15:18] == bytes(3) else None
    if start[:1] == b"P" and start[1:2] in b"123456" and start[2:3].isspace():
        return PPM
    return next((kind for signature, kind in _STARTS if start.startswith(signature)), None)


def kind_of_file(path: str | Path) -> str | None:
    """The kind of a file by its content; None also where there is none that can be read."""
    try:
        with open(path, "rb") as file:
            return kind_of(file.read(START_BYTES))
    except (OSError, ValueError):
        return None


def is_picture(path: str | Path) -> bool:
    """Whether a file is a picture by its content, of a kind that `load_photo` knows."""
    return kind_of_file(path) in PICTURES


def is_picture_name(path: str | Path) -> bool:
    """Whether a file is called a picture, whatever is in it."""
    return Path(path).suffix.lower() in _SUFFIXES


def is_called_picture(path: str | Path) -> bool:
    """Whether a file of unknown content has a picture's name: what is wrong with it is said of a picture."""
    return is_picture_name(path) and kind_of_file(path) is None


def is_litter(name: str) -> bool:
    """Whether a file of this name was put there by the system: .DS_Store, ._face.jpg, Thumbs.db."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini")


def without_metadata(data: bytes, kind: str) -> Iterator[bytes]:
    """A PNG or JPEG with less and less metadata, which is optional: to be read where it could not be whole.

    First without what says nothing about the pixels, then without the colour profile and EXIF, too.
    """
    if kind == PNG:
        yield _png_of(data, _PNG_PIXELS | _PNG_MEANING)
        yield _png_of(data, _PNG_PIXELS)
    elif kind == JPEG:
        yield _jpeg_of(data, {_JPEG_ADOBE} | _JPEG_MEANING)
        yield _jpeg_of(data, {_JPEG_ADOBE})


def _kind_of_container(start: bytes) -> str:
    """Of a file in boxes (ISO 14496-12), by the brands that it declares itself to be of."""
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = {start[8:12]} | {start[at : at + 4] for at in range(16, end - 3, 4)}
    if brands & _AVIF_BRANDS:
        return AVIF
    if brands & _HEIC_BRANDS:
        return HEIC
    return RAW if brands & _RAW_BRANDS else VIDEO


def _png_of(data: bytes, kept: set[bytes]) -> bytes:
    """The chunks of a PNG that are named in `kept`, as far as it goes on."""
    at = 8
    parts = [data[:at]]
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] in kept:
            parts.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(parts)


def _jpeg_of(data: bytes, kept: set[int]) -> bytes:
    """A JPEG without its comments and its APP segments but those of the numbers in `kept`."""
    at = 2
    parts = [data[:at]]
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # up to the first scan
        marker = data[at + 1]
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker in kept:
            parts.append(data[at : at + length])
        at += length
    return b"".join([*parts, data[at:]])
