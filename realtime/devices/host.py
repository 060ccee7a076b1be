"""This machine as the diagnosis sees it: its files, commands and video devices. Tests pass a fake one.

No device stays open: what could hang or crash (a camera's first picture) happens in a process of its own,
which is killed at its deadline, and the device is free again.
"""

import os
import platform
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# VIDIOC_QUERYCAP of <linux/videodev2.h>: reads a struct v4l2_capability of 104 bytes,
# which holds driver, card, bus, version, capabilities of all nodes, and of this one.
QUERYCAP = 0x80685600
CAPABILITY = struct.Struct("=16s32s32sIII12x")
CAPTURE = 0x1001  # V4L2_CAP_VIDEO_CAPTURE, ..._MPLANE
OUTPUT = 0x0002  # V4L2_CAP_VIDEO_OUTPUT
MEM_TO_MEM = 0xC000  # V4L2_CAP_VIDEO_M2M, ..._MPLANE
DEVICE_CAPS = 0x80000000  # V4L2_CAP_DEVICE_CAPS: the node's own capabilities are given
COMMAND_TIMEOUT_S = 5.0  # nvidia-smi wakes a sleeping GPU in two to three


@dataclass(frozen=True)
class Capability:
    """What a V4L2 device reports of itself."""

    driver: str  # "uvcvideo", "v4l2 loopback"
    flags: int  # V4L2_CAP_*, of this node

    @property
    def captures(self) -> bool:
        """Whether pictures can be read from it."""
        return bool(self.flags & CAPTURE)

    @property
    def shows(self) -> bool:
        """Whether pictures can be written into it."""
        return bool(self.flags & OUTPUT)

    @property
    def converts(self) -> bool:
        """Whether it is a codec, and no camera."""
        return bool(self.flags & MEM_TO_MEM)


def run_command(command: Sequence[str]) -> str | None:
    """Its standard output; None when there is no such program, it fails or exceeds COMMAND_TIMEOUT_S."""
    if not shutil.which(command[0]):
        return None
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def query(device: Path) -> Capability:
    """A device's capability, without starting it: a camera's light stays off, and other programs may go on
    using it.

    Raises: OSError when it cannot be opened or queried.
    """
    import fcntl  # not on Windows

    handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = fcntl.ioctl(handle, QUERYCAP, bytes(CAPABILITY.size))
    finally:
        os.close(handle)
    driver, _card, _bus, _version, all_nodes, this_node = CAPABILITY.unpack(answer)
    flags = this_node if all_nodes & DEVICE_CAPS else all_nodes
    return Capability(driver.split(b"\0")[0].decode(errors="replace"), flags)


@dataclass(frozen=True)
class Host:
    """This machine, or a test's fake of one."""

    name: str = platform.system()  # "Linux", "Darwin", "Windows"
    root: Path = Path("/")  # where sys, dev, proc, etc, lib/modules and usr/src lie
    release: str = platform.release()  # of the kernel
    run: Callable[[Sequence[str]], str | None] = run_command
    query: Callable[[Path], Capability] = query

    def text(self, path: str) -> str:
        """A small file's contents, stripped; "" where it is missing or may not be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return ""

    def for_distribution(self, table: Mapping[str, str], otherwise: str) -> str:
        """The entry for this Linux distribution: by the ID of its /etc/os-release, else by an ID_LIKE."""
        release = self.text("etc/os-release")
        names = [
            name
            for key in ("ID", "ID_LIKE")
            for value in re.findall(rf'^{key}="?([^"\n]*)"?', release, re.MULTILINE)
            for name in value.split()
        ]
        return next((table[name] for name in names if name in table), otherwise)

    @property
    def under_windows(self) -> bool:
        """Whether this is a Linux in Windows' own virtual machine (WSL)."""
        return "microsoft" in self.release.lower()
