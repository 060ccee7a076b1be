"""The VMC protocol, both ways: faces of ARKit's shapes as OSC messages over UDP.

    /VMC/Ext/Blend/Val    name, value                   one shape, 0..1
    /VMC/Ext/Blend/Apply                                the shapes since the last one are a frame
    /VMC/Ext/Bone/Pos     name, position, quaternion    head, neck and eyes, in Unity's axes
    /VMC/Ext/OK           loaded, ..., tracking         whether the sender sees its user

Unity's axes are left-handed, with the avatar's right, up and forward: positive angles about them nod down,
turn right and tilt left. Names of shapes are ARKit's ("perfect sync"), read in any case and sent with a
capital.

Source: https://protocol.vmc.info/english, marionette and performer specifications, version 2.7.
"""

import struct

import numpy as np
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import build_msg
from pythonosc.osc_packet import OscPacket

from engines.face.arkit import LOOK_FULL_DEG, PLACE, SHAPES, ArkitFace, look, look_shapes

PORT = 39539  # at which programs with an avatar listen
TRACKER_PORT = 39540  # at which those listen that a tracker drives
MAX_BYTES = 1400  # of a datagram: less than an Ethernet frame holds
# How a bundle begins that is meant at once (OSC 1.0); python-osc's builder parses what it has built again.
BUNDLE = b"#bundle\0" + struct.pack(">Q", 1)
MAX_MESSAGES = 500  # of a frame: avatars send a hundred bones and as many shapes

_SHAPE = {name.lower(): place for name, place in PLACE.items()}
_LOOKS = [place for name, place in PLACE.items() if name.startswith("eyeLook")]
_BONES = ("Neck", "Head", "LeftEye", "RightEye")
_STILL = (0.0, 0.0, 0.0, 1.0)  # the quaternion of no rotation


class VmcDecoder:
    """Datagrams of one sender -> the faces in them."""

    name = "VMC"
    port = TRACKER_PORT

    def __init__(self) -> None:
        self._shapes = np.zeros(len(SHAPES), np.float32)
        self._bones: dict[str, tuple[float, ...]] = {}  # quaternions x, y, z, w
        self._looks_by_shapes = False  # else by the bones of the eyes
        self._seen = True

    def decode(self, data: bytes) -> list[ArkitFace | None]:
        """The faces that a datagram completes, None for one out of view. Raises ValueError for another
        format."""
        try:
            messages = [timed.message for timed in OscPacket(data).messages]
        except Exception as error:  # the parser lets through whatever it stumbles over
            raise ValueError("not OSC") from error
        if not any(message.address.startswith("/VMC/") for message in messages):
            raise ValueError("not VMC")
        faces = [self._take(message) for message in messages[:MAX_MESSAGES]]
        return [face if self._seen else None for face in faces if face is not None]

    def _take(self, message: OscMessage) -> ArkitFace | None:
        """A message; the face of the frame that it ends."""
        values = list(message)
        match message.address, values:
            case "/VMC/Ext/Blend/Val", [str(name), float(value)]:
                self._set_shape(name, value)
            case "/VMC/Ext/Bone/Pos", [str(name), *numbers] if name in _BONES and len(numbers) == 7:
                self._bones[name] = _unit_quaternion(numbers[3:])
            case "/VMC/Ext/OK", [_, _, _, int(tracking)]:
                self._seen = tracking != 0
            case "/VMC/Ext/Blend/Apply", []:
                return self._face()
        return None

    def _set_shape(self, name: str, value: float) -> None:
        if not np.isfinite(value):
            raise ValueError("a shape is not a number")
        place = _SHAPE.get(name.lower())
        if place is not None:
            self._looks_by_shapes |= place in _LOOKS
            self._shapes[place] = np.clip(value, 0, 1)

    def _face(self) -> ArkitFace:
        shapes = self._shapes.copy()
        if not self._looks_by_shapes and "LeftEye" in self._bones and "RightEye" in self._bones:
            eyes_deg = [_angles_deg(self._bones[name])[:2] for name in ("LeftEye", "RightEye")]
            shapes += look_shapes(*np.mean(eyes_deg, axis=0) / LOOK_FULL_DEG)
        head = _product(self._bones.get("Neck", _STILL), self._bones.get("Head", _STILL))
        return ArkitFace(shapes, _angles_deg(head))


def encode(face: ArkitFace, time_s: float) -> list[bytes]:
    """A face -> datagrams, each a bundle.

    Args:
        time_s: the sender's own clock.
    """
    left_deg, up_deg = look(face.shapes) * LOOK_FULL_DEG
    eyes = _quaternion(float(left_deg), float(up_deg), 0.0)
    head = _quaternion(*map(float, face.head_deg))
    messages = [
        build_msg("/VMC/Ext/OK", (1, 3, 0, 1)),
        build_msg("/VMC/Ext/T", time_s),
        *(
            build_msg("/VMC/Ext/Bone/Pos", (name, 0.0, 0.0, 0.0, *quaternion))
            for name, quaternion in (("Head", head), ("LeftEye", eyes), ("RightEye", eyes))
        ),
        *(
            build_msg("/VMC/Ext/Blend/Val", (name[0].upper() + name[1:], float(value)))
            for name, value in zip(SHAPES, face.shapes, strict=True)
        ),
        build_msg("/VMC/Ext/Blend/Apply", ()),
    ]
    return _bundles(messages)


def _bundles(messages: list[OscMessage]) -> list[bytes]:
    """Messages, in order, in as many bundles as MAX_BYTES asks for."""
    bundles = [BUNDLE]
    for message in messages:
        element = struct.pack(">i", message.size) + message.dgram
        if len(bundles[-1]) + len(element) > MAX_BYTES:
            bundles.append(BUNDLE)
        bundles[-1] += element
    return bundles


def _unit_quaternion(numbers: list) -> tuple[float, ...]:
    """x, y, z, w of length 1. Raises ValueError for what is no rotation."""
    quaternion = np.array(numbers, float)
    length = float(np.linalg.norm(quaternion))
    if not np.isfinite(length) or length < 0.5:
        raise ValueError("a bone's rotation is not a quaternion")
    return tuple((quaternion / length).tolist())


def _product(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    """Of quaternions x, y, z, w: first b, then a."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _quaternion(left_deg: float, up_deg: float, tilt_left_deg: float) -> tuple[float, ...]:
    """x, y, z, w in Unity's axes: tilted, then nodded, then turned, as Unity does."""
    x, y, z = np.deg2rad([-up_deg, -left_deg, tilt_left_deg]) / 2
    turn = (0.0, float(np.sin(y)), 0.0, float(np.cos(y)))
    nod = (float(np.sin(x)), 0.0, 0.0, float(np.cos(x)))
    tilt = (0.0, 0.0, float(np.sin(z)), float(np.cos(z)))
    return _product(turn, _product(nod, tilt))


def _angles_deg(quaternion: tuple[float, ...]) -> np.ndarray:
    """The way back: (3,) float32, left, up and tilt to the left."""
    x, y, z, w = quaternion
    down = np.arcsin(np.clip(2 * (w * x - y * z), -1, 1))
    right = np.arctan2(2 * (x * z + w * y), 1 - 2 * (x * x + y * y))
    tilt = np.arctan2(2 * (x * y + w * z), 1 - 2 * (x * x + z * z))
    return np.rad2deg([-right, -down, tilt]).astype(np.float32)
