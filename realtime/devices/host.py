"""The machine as `doctor` asks it: its files, its commands, its video devices. Tests hand in another one.

A device is never kept: what could hang or crash (a camera's first picture) happens in a program of its own, which is ended at
the deadline, and the device with it is free again.
"""

import os
import platform
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUERYCAP = 0x80685600  # VIDIOC_QUERYCAP of <linux/videodev2.h>: reads a struct v4l2_capability of 104 bytes
CAPABILITY = struct.Struct(
    "=16s32s32sIII12x"
)  # driver, card, bus, version, capabilities of all nodes, of this one
COMMAND_S = 5.0  # nvidia-smi wakes a sleeping GPU in two to three


@dataclass(frozen=True)
class Capability:
    """What a V4L2 device says of itself."""

    driver: str  # "uvcvideo", "v4l2 loopback"
    flags: int  # V4L2_CAP_*, of this node

    @property
    def captures(self) -> bool:
        return bool(self.flags & 0x1001)  # V4L2_CAP_VIDEO_CAPTURE, ..._MPLANE

    @property
    def shows(self) -> bool:
        return bool(self.flags & 0x0002)  # V4L2_CAP_VIDEO_OUTPUT

    @property
    def converts(self) -> bool:
        return bool(self.flags & 0xC000)  # V4L2_CAP_VIDEO_M2M, ..._MPLANE: a codec, no camera


def run_command(command: Sequence[str]) -> str | None:
    """What it writes; None when there is no such program, it fails, or takes longer than COMMAND_S."""
    if not shutil.which(command[0]):
        return None
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def query(device: Path) -> Capability:
    """Asks without starting anything: a camera's lamp stays dark, and another program may go on using it. Raises OSError."""
    import fcntl  # not on Windows

    handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = fcntl.ioctl(handle, QUERYCAP, bytes(CAPABILITY.size))
    finally:
        os.close(handle)
    driver, _card, _bus, _version, every, this = CAPABILITY.unpack(answer)
    return Capability(driver.split(b"\0")[0].decode(errors="replace"), this if every & 0x80000000 else every)


@dataclass(frozen=True)
class Host:
    """This machine, or a test's double of one."""

    name: str = platform.system()  # "Linux", "Darwin", "Windows"
    root: Path = Path("/")  # where sys, dev, proc, lib/modules and usr/src lie
    release: str = platform.release()  # of the kernel
    run: Callable[[Sequence[str]], str | None] = run_command
    query: Callable[[Path], Capability] = query

    def text(self, path: str) -> str:
        """A small file's contents; "" where it is missing or may not be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return ""

    @property
    def under_windows(self) -> bool:
        """Whether this is a Linux in Windows' own virtual machine."""
        return "microsoft" in self.release.lower()
