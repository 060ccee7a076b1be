"""What trackers on phones send: datagrams -> faces. Knows no sockets.

    ifacialmocap   iFacialMocap, Facemotion3d                   text, port 49983
    livelink       Live Link Face                               binary, port 11111
    vmc            VMC protocol: VSeeFace, Waidayo, Warudo ...  OSC, port 39540 (realtime/vmc.py)

A decoder belongs to one sender: VMC spreads a face over several datagrams.

Sources: https://www.ifacialmocap.com/for-developer/; Epic Games, LiveLinkFaceSource of the Live Link plugin,
and AppleARKitConversion.h for its angles; https://protocol.vmc.info/english.
"""

import re
import struct
from typing import Protocol

import numpy as np

from engines.face.arkit import PLACE, REFERENCE_M, SHAPES, ArkitFace
from realtime.vmc import VmcDecoder


class TrackerDecoder(Protocol):
    """The datagrams of one sender -> faces."""

    @property
    def name(self) -> str:
        """Of what sends it, for messages."""
        ...

    @property
    def port(self) -> int:
        """At which it is expected where no other is named."""
        ...

    def decode(self, data: bytes) -> list[ArkitFace | None]:
        """The faces that a datagram completes; None for one that is out of the sender's view.

        Raises ValueError for a datagram of another format.
        """
        ...


class IFacialMocapDecoder:
    """Text: `mouthSmile_R-12|...|=head#x,y,z,px,py,pz|rightEye#x,y,z|leftEye#x,y,z|`.

    Shapes are 0 to 100, and `&` may stand for the first `-` (version 2 and Facemotion3d, with ARKit's own
    names). Angles are degrees in ARKit's axes: the person's left, up and towards the camera, right-handed; so
    positive ones nod down, turn left and tilt right. The position is in metres before the camera.
    """

    name = "iFacialMocap"
    port = 49983

    _SHAPE = re.compile(r"([A-Za-z_]+)[-&](-?[0-9.]+)")

    def decode(self, data: bytes) -> list[ArkitFace | None]:
        shapes_text, found, bones_text = data.decode().partition("=")
        if not found:
            raise ValueError("not iFacialMocap")
        shapes = np.zeros(len(SHAPES), np.float32)
        for part in filter(None, shapes_text.split("|")):
            parsed = self._SHAPE.fullmatch(part)
            if not parsed:
                raise ValueError(f"{part[:40]!r} is not a shape")
            place = PLACE.get(_with_side(parsed[1]))
            if place is not None:
                shapes[place] = _finite([parsed[2]])[0] / 100
        bones = dict(part.split("#", 1) for part in bones_text.split("|") if "#" in part)
        if "head" not in bones:
            raise ValueError("no head")
        numbers = _finite(bones["head"].split(","))
        if len(numbers) < 3:
            raise ValueError("no angles of the head")
        down, left, right = numbers[:3]
        distance_m = abs(numbers[5]) if len(numbers) > 5 else REFERENCE_M
        return [
            ArkitFace(np.clip(shapes, 0, 1), np.array([left, -down, -right], np.float32), float(distance_m))
        ]


class LiveLinkFaceDecoder:
    """Binary, big-endian: version (1 byte), device and subject (length and UTF-8 each), time (frame, its
    fraction, rate as two integers), a count (1 byte), and so many floats: ARKit's 52 and nine angles.

    Angles are radians of Unreal's rotators: yaw, pitch, roll of the head, which turn right, nod down and tilt
    left. Without a face in view the count and what follows are missing, or the count is 0.
    """

    name = "Live Link Face"
    port = 11111

    _VERSION = 6
    _TIME_BYTES = 16
    _FLOATS = len(SHAPES) + 9

    def decode(self, data: bytes) -> list[ArkitFace | None]:
        if data[:1] != bytes([self._VERSION]):
            raise ValueError("not Live Link Face")
        at = 1
        for _ in ("device", "subject"):
            if at + 4 > len(data):
                raise ValueError("cut short")
            at += 4 + int.from_bytes(data[at : at + 4])
        at += self._TIME_BYTES
        if at > len(data):
            raise ValueError("cut short")
        if data[at : at + 1] in (b"", b"\0"):
            return [None]
        if data[at] != self._FLOATS or len(data) != at + 1 + 4 * self._FLOATS:
            raise ValueError("not the shapes of a face")
        values = _finite(struct.unpack_from(f">{self._FLOATS}f", data, at + 1))
        right, down, left = np.rad2deg(values[len(SHAPES) : len(SHAPES) + 3])
        head_deg = np.array([-right, -down, left], np.float32)
        return [ArkitFace(np.clip(values[: len(SHAPES)], 0, 1), head_deg)]


PROTOCOLS: dict[str, type[TrackerDecoder]] = {
    "ifacialmocap": IFacialMocapDecoder,
    "livelink": LiveLinkFaceDecoder,
    "vmc": VmcDecoder,
}


def _with_side(name: str) -> str:
    """iFacialMocap's name of a shape -> ARKit's."""
    return {"_L": name[:-2] + "Left", "_R": name[:-2] + "Right"}.get(name[-2:], name)


def _finite(numbers: list[str] | tuple[float, ...]) -> np.ndarray:
    """(n,) float32. Raises ValueError for what is no number, or an infinite one."""
    values = np.array([float(number) for number in numbers], np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a value is not a number")
    return values
