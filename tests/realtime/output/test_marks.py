"""Every picture and video says that it was made with a trained model, and can be played as before."""

import io
import time
import xml.etree.ElementTree as xml
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from realtime.output.contact_sheet import ContactSheet
from realtime.output.live_recording import LiveRecording
from realtime.output.marks import KINDS, SOURCE_TYPE, XMP, XMP_UUID, encode_picture
from realtime.output.video_file import VideoFile
from realtime.partial_file import part_of

SIZE = (64, 48)
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"


def pictures(count: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8) for _ in range(count)]


def source_type(packet: bytes | str) -> str:
    """IPTC's digital source type in an XMP packet."""
    text = packet if isinstance(packet, str) else packet.decode()
    root = xml.fromstring(text[text.index("<x:xmpmeta") : text.index("<?xpacket end")])
    description = root.find(f".//{RDF}Description")
    assert description is not None
    return description.attrib[f"{IPTC}DigitalSourceType"]


def boxes(path: Path) -> list[tuple[bytes, bytes]]:
    """Type and content of the boxes of an MP4 (ISO/IEC 14496-12), which fill it to its last byte."""
    data, found = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:4])
        start = 8
        if length == 1:
            length, start = int.from_bytes(data[8:16]), 16
        assert start <= length <= len(data)
        found.append((data[4:8], data[start:length]))
        data = data[length:]
    return found


@pytest.mark.parametrize("suffix", KINDS)
def test_a_picture_says_what_it_is(suffix):
    (picture,) = pictures(1)
    picture[:] = 128
    with Image.open(io.BytesIO(encode_picture(picture, suffix))) as image:
        packet = image.info.get("xmp") or image.info["XML:com.adobe.xmp"]
        assert source_type(packet) == SOURCE_TYPE
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - 128).max() <= 2


def test_a_contact_sheet_is_a_marked_picture(tmp_path):
    sheet = ContactSheet(tmp_path / "sheet.png", expected=3)
    for number, picture in enumerate(pictures(3)):
        sheet.send(picture, float(number))
    sheet.close()
    assert SOURCE_TYPE.encode() in (tmp_path / "sheet.png").read_bytes()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("live", [False, True], ids=["drawn", "recorded"])
def test_a_video_says_what_it_is_and_plays(tmp_path, suffix, live):
    path = tmp_path / f"puppet{suffix}"
    video = LiveRecording(str(path), SIZE, 30.0) if live else VideoFile(path, SIZE, 30.0)
    for number, picture in enumerate(pictures()):
        video.send(picture, number / 30)
    video.close()
    with av.open(str(path)) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
        assert SOURCE_TYPE in tags["comment"]
        assert sum(1 for _ in container.decode(video=0)) == 5
    if suffix == ".mkv":
        assert tags["digital_source_type"] == SOURCE_TYPE
    else:
        kind, content = boxes(path)[-1]
        assert kind == b"uuid" and content == XMP_UUID + XMP
        assert source_type(content[16:]) == SOURCE_TYPE


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_recording_that_is_cut_off_says_what_it_is(tmp_path, suffix):
    path = tmp_path / f"call{suffix}"
    recording = LiveRecording(str(path), SIZE, 30.0)
    for number in range(60):
        recording.send(pictures(1)[0], number / 30)
        time.sleep(0.005)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(part_of(path).read_bytes())  # what a killed program leaves
    recording.close()
    with av.open(str(cut)) as container:
        assert SOURCE_TYPE in {name.lower(): value for name, value in container.metadata.items()}["comment"]


def test_a_video_without_a_picture_is_still_none(tmp_path):
    for name, make in (("a.mp4", VideoFile), ("b.mp4", LiveRecording)):
        make(str(tmp_path / name), SIZE, 30.0).close()
    assert list(tmp_path.iterdir()) == []
