"""What every picture and video that is written says of itself: that it was made with a trained model.

XMP with IPTC's digital source type in pictures (JPEG, PNG, WebP), MP4 and MOV; a tag in MKV; and a comment
for people in all videos. Whoever wants to can remove it: realtime/output/signatures.py adds a signature.

Sources: IPTC Photo Metadata Standard, "Digital Source Type", and its vocabulary
http://cv.iptc.org/newscodes/digitalsourcetype/; Adobe, XMP Specification Part 3, "Storage in Files".
"""

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from realtime.partial_file import BOX_SUFFIXES

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
CREATOR_TOOL = "Expression Puppet"
COMMENT = f"Animated by {CREATOR_TOOL}: composite with trained algorithmic media ({SOURCE_TYPE})"
XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmp:CreatorTool="{CREATOR_TOOL}"
    Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()
# The type of a box with XMP at the end of an MP4 or MOV.
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")

JPEG_QUALITY = 95
PNG_LEVEL = 1  # of compression: a contact sheet is written in a tenth of the time, and a tenth larger
KINDS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}  # Pillow's names, by suffix


def encode_picture(picture: np.ndarray, suffix: str) -> bytes:
    """A picture file that says what it is.

    Args:
        picture: (H, W, 3) uint8 BGR.
        suffix: one of KINDS.
    """
    image = Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))
    kind = KINDS[suffix]
    data = io.BytesIO()
    if kind == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        image.save(data, kind, compress_level=PNG_LEVEL, pnginfo=text)
    elif kind == "JPEG":
        image.save(data, kind, quality=JPEG_QUALITY, xmp=XMP)
    else:
        image.save(data, kind, lossless=True, xmp=XMP)
    return data.getvalue()


def video_tags(path: Path) -> dict[str, str]:
    """What a video's container says, by FFmpeg's names: to be set before its first picture."""
    tags = {"comment": COMMENT, "encoder": CREATOR_TOOL}
    return tags if path.suffix.lower() in BOX_SUFFIXES else tags | {"DIGITAL_SOURCE_TYPE": SOURCE_TYPE}


def append_xmp(file: BinaryIO | io.RawIOBase, suffix: str) -> None:
    """Writes the XMP at the end of a video that is whole, where its kind has a place for it. Raises OSError.

    Args:
        file: open for writing and seeking.
        suffix: of the video's name.
    """
    if suffix.lower() in BOX_SUFFIXES:
        file.seek(0, io.SEEK_END)
        file.write((8 + len(XMP_UUID) + len(XMP)).to_bytes(4) + b"uuid" + XMP_UUID + XMP)
