"""Photos of every kind: by content, upright, in sRGB, whatever their metadata and names."""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from engines.errors import SourceError
from engines.face import photo as photos
from engines.face.photo import is_animation, load_photo
from engines.face.picture_file import PICTURES, is_picture, kind_of
from tests.conftest import SAMPLES


@pytest.fixture(scope="module")
def small() -> Image.Image:
    with Image.open(SAMPLES / "man.jpg") as image:
        image.thumbnail((200, 200))
        return image.copy()


def apart(path: Path, image: Image.Image) -> float:
    """Mean difference of a photo from what it should be, of 255."""
    expected = np.asarray(image.convert("RGB"), int)[:, :, ::-1]
    loaded = load_photo(path)
    assert loaded.shape == expected.shape and loaded.dtype == np.uint8
    return float(np.abs(loaded - expected).mean())


def odd_exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of tags (number, type, count, value), as a camera with a defect writes it."""
    values = b""
    entries = b""
    start = 8 + 2 + 12 * len(tags) + 4
    for number, kind, count, value in tags:
        place = struct.pack("<I", start + len(values)) if len(value) > 4 else value.ljust(4, b"\0")
        entries += struct.pack("<HHI", number, kind, count) + place
        values += value if len(value) > 4 else b""
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + values


@pytest.mark.parametrize(
    "exif",
    [
        odd_exif((0x0112, 3, 1, struct.pack("<H", 6)), (0x011A, 12, 1, struct.pack("<d", float("nan")))),
        odd_exif((0x0112, 3, 1, struct.pack("<H", 6)), (0x011A, 5, 1, struct.pack("<II", 1, 0))),
        odd_exif((0x0112, 3, 1, struct.pack("<H", 6)), (0x8769, 4, 1, struct.pack("<I", 1 << 31))),
    ],
    ids=["not a number", "over zero", "leads nowhere"],
)
def test_a_photo_with_odd_exif_is_read_and_upright(tmp_path, small, exif):
    small.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "face.jpg", exif=exif, quality=95)
    assert apart(tmp_path / "face.jpg", small) < 4


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0rubbish", odd_exif((0x0112, 3, 1, b"\x63\0"))])
def test_exif_that_says_nothing_leaves_the_photo_as_it_is(tmp_path, small, exif):
    small.save(tmp_path / "face.jpg", exif=exif, quality=95)
    assert apart(tmp_path / "face.jpg", small) < 4


def test_a_tiff_with_an_odd_tag_is_read_and_turned_once(tmp_path, small):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0112] = 6
    tags.tagtype[0x011A] = 12
    tags[0x011A] = float("nan")
    small.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "face.tif", tiffinfo=tags)
    assert apart(tmp_path / "face.tif", small) == 0


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(
    "odd",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 3_000_000)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"a" * 3_000_000)),
        chunk(b"iCCP", b"profile\0\0no zlib stream"),
        chunk(b"eXIf", b"no TIFF"),
        struct.pack(">I", 4) + b"tEXt" + b"a\0bc" + b"no checksum"[:4],
    ],
    ids=["long text", "long XMP", "broken profile", "broken EXIF", "broken checksum"],
)
def test_a_png_with_odd_metadata_is_read(tmp_path, small, odd):
    stored = io.BytesIO()
    small.save(stored, "PNG")
    data = stored.getvalue()
    (tmp_path / "face.png").write_bytes(data[:33] + odd + data[33:])  # behind the header
    assert apart(tmp_path / "face.png", small) == 0


def test_colours_are_those_that_the_profile_means(tmp_path, small):
    srgb = ImageCms.createProfile("sRGB")
    lab = ImageCms.createProfile("LAB")
    in_lab = ImageCms.profileToProfile(small, srgb, lab, outputMode="LAB")
    assert in_lab is not None
    in_lab.save(tmp_path / "lab.tif")
    assert apart(tmp_path / "lab.tif", small) < 1.5
    # sRGB with red and blue exchanged: the rXYZ and bXYZ tags of the profile
    profile = ImageCms.ImageCmsProfile(srgb).tobytes().replace(b"rXYZ", b"?XYZ")
    profile = (
        profile.replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ").replace(b"s\0R\0G\0B", b"B\0G\0R\0s")
    )
    exchanged = Image.merge("RGB", small.split()[::-1])
    exchanged.save(tmp_path / "face.png", icc_profile=profile)
    assert apart(tmp_path / "face.png", small) < 2 < 10 < apart(tmp_path / "face.png", exchanged)
    small.save(tmp_path / "odd.png", icc_profile=b"no profile")
    assert apart(tmp_path / "odd.png", small) == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "PPM"])
def test_a_photo_is_read_by_its_content_whatever_its_name(tmp_path, small, kind):
    for name in ("face.jfif", "face"):
        small.save(tmp_path / name, kind)
        assert is_picture(tmp_path / name) and not is_animation(tmp_path / name)
        assert apart(tmp_path / name, small) < 6


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video, not a photo"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a camera's raw file"),
        (b"%PDF-1.7", "a document"),
        (b"BMP is a kind of picture", "not a picture that can be read"),
    ],
)
def test_what_is_no_photo_is_refused_by_what_it_is(tmp_path, start, reason):
    (tmp_path / "face.jpg").write_bytes(start + bytes(300))
    with pytest.raises(SourceError, match=reason):
        load_photo(tmp_path / "face.jpg")


def test_a_heic_photo_is_read_or_refused_by_name(tmp_path, monkeypatch):
    start = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    assert kind_of(start) in PICTURES and kind_of(start.replace(b"heic", b"avif")) == "AVIF"
    (tmp_path / "face.heic").write_bytes(start + bytes(300))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(SourceError, match=r"HEIC photo.*pip install pillow-heif"):
        load_photo(tmp_path / "face.heic")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_a_still_with_a_word(tmp_path, small, kind):
    path, said = tmp_path / "face", []
    small.save(path, kind, save_all=True, append_images=[Image.new("RGB", small.size)] * 3, duration=40)
    assert is_animation(path) and apart(path, small) < 6
    load_photo(path, said.append)
    assert said == [f"{path} is an animation: its first picture is the photo."]


def test_a_picture_that_claims_more_than_memory_is_refused_with_the_size_that_would_do(tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(data)
    with pytest.raises(
        SourceError, match=r"too large \(60000x60000\): save it with less than 200 megapixels"
    ):
        load_photo(tmp_path / "huge.png")


def test_what_a_reader_stumbles_over_is_a_damaged_photo(tmp_path, small, monkeypatch):
    small.save(tmp_path / "face.png")

    def stumble(*_arguments):
        raise KeyError("a defect of a reader")

    monkeypatch.setattr(photos, "_upright_rgb", stumble)
    with pytest.raises(SourceError, match="damaged or cut short"):
        load_photo(tmp_path / "face.png")


def test_a_name_that_is_no_text_is_read(tmp_path, small):
    path = Path(str(tmp_path), "caf\udce9.png")
    try:
        small.save(path)
    except OSError:
        pytest.skip("this file system takes names in Unicode only")
    assert apart(path, small) == 0
