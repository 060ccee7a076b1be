"""A phone that sends a face over the network: packets of each protocol, written by hand from its documents.

    python -m tests.support.phone PORT           # a session, again and again, once PORT is open

Nothing here uses what reads them.
"""

import math
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

from engines.face.arkit import SHAPES

Pose = tuple[float, float, float]  # degrees: turn to the person's left, nod up, tilt to the left
DEVICE = b"12345678-1234-1234-1234-123456789abc"


def ifacialmocap(pose: Pose = (0, 0, 0), distance_m: float = 0.5, joint: str = "-", **shapes: float) -> bytes:
    """iFacialMocap's text: every shape from 0 to 100, sides as _L and _R, and angles in degrees."""
    left, up, tilt = pose
    parts = []
    for name in SHAPES:
        short = name.removesuffix("Left") + "_L" if name.endswith("Left") else name
        short = short.removesuffix("Right") + "_R" if name.endswith("Right") else short
        parts.append(f"{short}{joint}{round(100 * shapes.get(name, 0))}")
    head = f"{-up:.6f},{left:.6f},{-tilt:.6f},-0.03,-0.1,{-distance_m:.6f}"
    return ("|".join(parts) + f"|=head#{head}|rightEye#0.0,0.0,0.0|leftEye#0.0,0.0,0.0|").encode()


def live_link(pose: Pose = (0, 0, 0), subject: str = "iPhone", **shapes: float) -> bytes:
    """Live Link Face's packet, version 6: 52 shapes and nine angles as big-endian floats."""
    left, up, tilt = (math.radians(angle) for angle in pose)
    values = [shapes.get(name, 0.0) for name in SHAPES] + [-left, -up, tilt, 0, 0, 0, 0, 0, 0]
    return _live_link_head(subject) + b"\x3d" + struct.pack(">61f", *values)


def live_link_without_face(subject: str = "iPhone") -> bytes:
    """The same while the phone sees no face."""
    return _live_link_head(subject)


def _live_link_head(subject: str) -> bytes:
    name = subject.encode()
    return (
        b"\x06"
        + struct.pack(">i", len(DEVICE))
        + DEVICE
        + struct.pack(">i", len(name))
        + name
        + struct.pack(">ifii", 1234, 0.25, 60, 1)
    )


def osc(address: str, *values: str | float | int) -> bytes:
    """One OSC 1.0 message."""
    tags = "," + "".join({str: "s", float: "f", int: "i"}[type(value)] for value in values)
    packed = b"".join(
        _padded(value) if isinstance(value, str) else struct.pack(f">{tag}", value)
        for tag, value in zip(tags[1:], values, strict=True)
    )
    return _padded(address) + _padded(tags) + packed


def osc_bundle(*messages: bytes) -> bytes:
    """Messages in one bundle, meant at once."""
    return b"#bundle\0" + struct.pack(">Q", 1) + b"".join(struct.pack(">i", len(m)) + m for m in messages)


def vmc(pose: Pose = (0, 0, 0), **shapes: float) -> list[bytes]:
    """A face as VMC sends it: shapes with capitals, a head in Unity's axes (right, up, forward)."""
    values = [osc("/VMC/Ext/Blend/Val", name[0].upper() + name[1:], float(v)) for name, v in shapes.items()]
    left, up, tilt = (math.radians(angle) / 2 for angle in pose)
    turn = (0, math.sin(-left), 0, math.cos(left))
    nod = (math.sin(-up), 0, 0, math.cos(up))
    roll = (0, 0, math.sin(tilt), math.cos(tilt))
    bone = osc("/VMC/Ext/Bone/Pos", "Head", 0.0, 0.1, 0.0, *map(float, _times(turn, _times(nod, roll))))
    return [osc_bundle(bone, *values), osc("/VMC/Ext/Blend/Apply")]


def _times(a: tuple, b: tuple) -> tuple:
    """The quaternion (x, y, z, w) of first b, then a."""
    (ax, ay, az, aw), (bx, by, bz, bw) = a, b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _padded(text: str) -> bytes:
    """An OSC string: ends with a zero, and on a multiple of four."""
    data = text.encode() + b"\0"
    return data + bytes(-len(data) % 4)


def free_port() -> int:
    """A UDP port of this machine that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_open(port: int) -> None:
    """Returns once a program listens at a port of this machine."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.05)


def session(encode: Callable[..., bytes] = ifacialmocap, fps: float = 30.0) -> Iterator[tuple[float, bytes]]:
    """Seconds and packets of somebody who rests, smiles with an open mouth, and turns to their left.

    Smile and turn are held for two seconds each, as a busy machine draws few pictures.
    """
    for number in range(round(8 * fps)):
        time_s = number / fps
        noise = 0.01 * math.sin(7 * number)  # a depth camera's
        smile = 0.8 * _held(time_s, 1.5, 4.5)
        turn_deg = 20.0 * _held(time_s, 5.0, 8.0)
        shapes = {
            "mouthSmileLeft": smile,
            "mouthSmileRight": smile,
            "jawOpen": 0.6 * smile,
            "browInnerUp": 0.1 + noise,
        }
        yield time_s, encode(pose=(turn_deg + noise, -15.0, 1.0), **shapes)


def _held(time_s: float, begin_s: float, end_s: float, ramp_s: float = 0.5) -> float:
    """0 outside of a time, 1 inside, with ramps at both ends."""
    return max(0.0, min(1.0, (time_s - begin_s) / ramp_s, (end_s - time_s) / ramp_s))


class Phone:
    """Sends from a socket of its own; use it as a context manager."""

    def __init__(self, port: int, host: str = "127.0.0.1"):
        """port: of the receiver, at 127.0.0.1. host: the address it is sent from."""
        self._to = ("127.0.0.1", port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self._socket.sendto(packet, self._to)

    def play(self, packets: Iterator[tuple[float, bytes]]) -> None:
        """Sends a session at its pace."""
        start_s = time.perf_counter()
        for time_s, packet in packets:
            time.sleep(max(0.0, start_s + time_s - time.perf_counter()))
            self.send(packet)

    def __enter__(self) -> "Phone":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()


if __name__ == "__main__":
    wait_until_open(int(sys.argv[1]))
    with Phone(int(sys.argv[1])) as phone:
        while True:
            phone.play(session())
            time.sleep(2.0)  # silent: the puppet holds, eases and rests
