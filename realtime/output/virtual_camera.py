"""A camera that call programs see, by pyvirtualcam: found by name, opened once, every refusal explained to
the user.

Linux has v4l2loopback's devices, by path or label; macOS and Windows have OBS's one camera, and Windows those
of Unity Capture.
"""

import os
import re
import time
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import numpy as np

from engines.errors import OutputBusy, OutputError
from realtime.devices.host import Host
from realtime.devices.remedies import (
    GET_VIRTUAL_CAMERA,
    JOIN_VIDEO_GROUP,
    OBS_CAMERA,
    RELOAD_LOOPBACK,
    STOP_OBS,
)
from realtime.devices.v4l2 import Node, NodeFault, holders, nodes
from realtime.process.program import typed

USE_A_FILE = "write a file now with --output out.mp4"
CHECK_S = (
    1.0  # how often a device's file is looked for while it is written to: v4l2loopback's writes never fail
)


class Refusal(Enum):
    """Why pyvirtualcam does not open a camera."""

    FORBIDDEN = "forbidden"
    BUSY = "busy"
    SIZE = "size"
    NO_FILE = "no file"
    UNKNOWN_NAME = "unknown name"
    NONE_INSTALLED = "none installed"
    OTHER = "other"


# pyvirtualcam raises RuntimeError for everything, so its messages are the only distinction; the first match
# counts. With several backends the message has a line of each: one that is busy is there, whatever the others
# lack.
REFUSALS = (
    ("missing permissions", Refusal.FORBIDDEN),
    ("busy", Refusal.BUSY),
    ("could not be configured", Refusal.SIZE),
    ("does not exist", Refusal.NO_FILE),
    ("in use", Refusal.BUSY),
    ("could not be started", Refusal.BUSY),
    ("couldn't start", Refusal.BUSY),
    ("multiple cameras", Refusal.BUSY),
    ("not a video output device", Refusal.BUSY),
    ("with this name", Refusal.UNKNOWN_NAME),
    ("not installed", Refusal.NONE_INSTALLED),
    ("not found", Refusal.NONE_INSTALLED),
    ("no camera registered", Refusal.NONE_INSTALLED),
    ("no v4l2 loopback device found", Refusal.NONE_INSTALLED),
)


class VirtualCamera:
    """An Output: one opening of a virtual camera."""

    main_thread = False
    closed = False

    def __init__(self, size: tuple[int, int], fps: float, device: str | None = None, host: Host = Host()):
        """
        Args:
            size: (width, height) in pixels.
            fps: nominal.
            device: path, label, or backend ("obs", "unitycapture"); the first free one by default.

        Raises: OutputBusy when another program has it, OutputError when there is none that can be used.
        """
        import pyvirtualcam  # GPL-2.0: the other outputs work where it was left out

        backends = pyvirtualcam.camera.BACKENDS
        backend = next((name for name in backends if device and name.lower() == device.lower()), None)
        place = None if backend else _find(device, host)
        try:
            self._camera = pyvirtualcam.Camera(
                *size,
                fps,
                fmt=pyvirtualcam.PixelFormat.BGR,
                device=place,
                **({"backend": backend} if backend else {}),
            )
        except RuntimeError as error:
            raise _refused(str(error), backend or place, size, host) from error
        self.device = self._camera.device
        self.name = f"virtual camera {self.device}"
        self._checked_s = time.perf_counter()
        kept = _kept_size(self.device, host)
        if kept is not None and kept != size:
            self._camera.close()
            raise OutputBusy(
                f"The {self.name} stays at {kept[0]}x{kept[1]} while another program uses it: "
                f"close that program, or ask for --size {kept[0]}x{kept[1]}."
            )

    def send(self, image: np.ndarray, time_s: float) -> None:
        """As Output's. Raises OutputError when the camera is gone."""
        now_s = time.perf_counter()
        if self.device.startswith("/dev/") and now_s - self._checked_s > CHECK_S:
            self._checked_s = now_s
            if not os.path.exists(self.device):
                raise self._gone(f"{self.device} does not exist any more")
        try:
            self._camera.send(image)
        except (RuntimeError, OSError) as error:
            raise self._gone(_first_line(str(error))) from error

    def close(self) -> None:
        self._camera.close()

    def _gone(self, why: str) -> OutputError:
        return OutputError(
            f"The {self.name} takes no more pictures ({why}): start it again; `{typed('doctor')}` says how."
        )


# --- finding
# -----------------------------------------------------------------------------------------------------------


def _find(device: str | None, host: Host) -> str | None:
    """What pyvirtualcam takes for the DEVICE of --output vcam:DEVICE.

    Raises OutputError for a name that is not known.
    """
    if not device:
        return None
    if host.name == "Linux":
        return _find_loopback(device, host)
    if device.lower() == OBS_CAMERA.lower():
        return OBS_CAMERA
    if host.name == "Darwin":
        raise OutputError(
            f"There is no virtual camera named {device!r}; "
            f"macOS has one only: --output vcam:obs ({OBS_CAMERA})."
        )
    return device  # a Unity Capture device's: its backend knows them


def _find_loopback(device: str, host: Host) -> str:
    if device.isdecimal():
        return f"/dev/video{device}"
    if device.startswith("/"):
        return os.path.realpath(device)  # /dev/v4l/by-id/... are links
    known = _loopbacks(host)
    exact = [node for node in known if node.name.lower() == device.lower()]
    found = exact or [node for node in known if device.lower() in node.name.lower()]
    if not found:
        raise OutputError(f"There is no virtual camera named {device!r}; {_listed(known)}.")
    free = [node for node in found if node.capability and node.capability.shows]
    return str((free or found)[0].path)


def _loopbacks(host: Host) -> list[Node]:
    return [node for node in nodes(host) if node.loopback]


def _listed(known: Iterable[Node]) -> str:
    """The virtual cameras of this machine, as a clause of a message."""
    names = ", ".join(f"vcam:{node.name} ({node.path})" for node in known)
    if names:
        return f"this machine has {names}"
    return f"this machine has none: {GET_VIRTUAL_CAMERA['Linux']}; or {USE_A_FILE}"


def _kept_size(device: str, host: Host) -> tuple[int, int] | None:
    """The size (width, height) that a device keeps once a reader has seen it; v4l2loopback ignores others."""
    if not device.startswith("/dev/video"):
        return None
    found = re.search(r"(\d+)x(\d+)", host.text(f"sys/class/video4linux/{Path(device).name}/format"))
    return (int(found[1]), int(found[2])) if found else None


# --- refusals
# ----------------------------------------------------------------------------------------------------------


def _refused(message: str, device: str | None, size: tuple[int, int], host: Host) -> OutputError:
    """The error for what pyvirtualcam's message says."""
    refusal = next((kind for fragment, kind in REFUSALS if fragment in message.lower()), Refusal.OTHER)
    name = f"The virtual camera {device}" if device else "The virtual camera"
    reason = _first_line(message)
    if refusal is Refusal.SIZE:
        return OutputError(f"{name} refuses {size[0]}x{size[1]}: choose another --size.")
    if host.name == "Linux" and (device is None or device.startswith("/")):
        return _loopback_refused(refusal, reason, device, host)
    if refusal is Refusal.BUSY:
        return OutputBusy(f"{name} is in use: {STOP_OBS}, or close the other program that plays into it.")
    if refusal is Refusal.UNKNOWN_NAME:
        return OutputError(
            f"There is no virtual camera named {device!r}: "
            "take vcam:obs, vcam:unitycapture or the name of a Unity Capture device."
        )
    if refusal is Refusal.NONE_INSTALLED:
        remedy = GET_VIRTUAL_CAMERA.get(host.name, "see pyvirtualcam's README for this system")
        return OutputError(f"There is no virtual camera ({reason}): {remedy}; or {USE_A_FILE}.")
    return OutputError(f"{name} does not open ({reason}): close programs that use it, or {USE_A_FILE}.")


def _loopback_refused(refusal: Refusal, reason: str, device: str | None, host: Host) -> OutputError:
    """The same for v4l2loopback, whose devices can be queried."""
    known = _loopbacks(host)
    if device is None and not known:
        return OutputError(
            f"There is no virtual camera ({reason}): {GET_VIRTUAL_CAMERA['Linux']}; or {USE_A_FILE}."
        )
    meant = [node for node in known if device in (None, str(node.path))]
    if not meant:
        absent = refusal is Refusal.NO_FILE
        what = f"There is no {device}" if absent else f"{device} is no virtual camera"
        return OutputError(f"{what}; {_listed(known)}.")
    node = meant[0]
    if node.fault is NodeFault.FORBIDDEN or refusal is Refusal.FORBIDDEN:
        return OutputError(
            f"The virtual camera {node.path} may not be opened by this user: {JOIN_VIDEO_GROUP}."
        )
    name = f"The virtual camera {node.path} ({node.name})"
    written = node.capability is not None and not node.capability.shows  # a program plays into it
    if not written and refusal is not Refusal.BUSY:
        return OutputError(f"{name} does not open ({reason}): {USE_A_FILE}.")
    if users := holders(host, node.path):
        return OutputBusy(f"{name} is in use: close {users}, or {USE_A_FILE}.")
    return OutputBusy(
        f"{name} is in use by a program that is hidden from this user, or has ended: "
        f"close that program, or {RELOAD_LOOPBACK}."
    )


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0].rstrip(".") if message.strip() else "no reason is given"
