"""A camera that call programs see, by pyvirtualcam: found by name, opened once, and every refusal told in the user's words.

Linux has v4l2loopback's devices, by path or label; macOS and Windows have OBS's one camera, and Windows those of Unity Capture.
"""

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from engines.errors import OutputBusy, OutputError
from realtime.devices.host import Host
from realtime.devices.v4l2 import HOW_TO_GET_A_CAMERA, JOIN_GROUP, LOAD_LOOPBACK, Node, holders, nodes

OBS = "OBS Virtual Camera"
INSTEAD = "or write a file now with --output out.mp4"
LOOK_S = (
    1.0  # how often a device is looked for while it is sent to: v4l2loopback's own writes never fail aloud
)
ABSENT = (
    "not installed",
    "not found",
    "no camera registered",
    "no v4l2 loopback device found",
)  # pyvirtualcam's words for each
BUSY = (
    "in use",
    "busy",
    "could not be started",
    "couldn't start",
    "multiple cameras",
    "not a video output device",
)


class VirtualCamera:
    """One opening of a virtual camera. Raises OutputBusy when another program has it, OutputError when there is none that can be used."""

    main_thread, closed = False, False

    def __init__(self, size: tuple[int, int], fps: float, device: str | None = None, system: Host = Host()):
        """size: (width, height); fps: nominal; device: path, label, or backend ("obs", "unitycapture"); the first free one if None."""
        import pyvirtualcam

        backends = pyvirtualcam.camera.BACKENDS
        backend = next((name for name in backends if device and name.lower() == device.lower()), None)
        place = None if backend else _place(device, system)
        try:
            self._camera = pyvirtualcam.Camera(
                *size,
                fps,
                fmt=pyvirtualcam.PixelFormat.BGR,
                device=place,
                **({"backend": backend} if backend else {}),
            )
        except RuntimeError as error:
            raise _refusal(str(error), backend or place, size, system) from error
        self.device = self._camera.device
        self.name = f"virtual camera {self.device}"
        self._looked_s = time.perf_counter()
        if (kept := _kept_size(self.device, system)) not in (None, size):
            self._camera.close()
            raise OutputBusy(
                f"The {self.name} stays at {kept[0]}x{kept[1]} while another program uses it: close that program, "
                f"or ask for --size {kept[0]}x{kept[1]}."
            )

    def send(self, image: np.ndarray, time_s: float) -> None:
        """Raises OutputError when the camera is gone."""
        now_s = time.perf_counter()
        if self.device.startswith("/dev/") and now_s - self._looked_s > LOOK_S:
            self._looked_s = now_s
            if not os.path.exists(self.device):
                raise self._gone(f"{self.device} is not there any more")
        try:
            self._camera.send(image)
        except (RuntimeError, OSError) as error:
            raise self._gone(_first_line(str(error))) from error

    def _gone(self, why: str) -> OutputError:
        return OutputError(
            f"The {self.name} takes no more pictures ({why}): start it again, as `run.py doctor` tells."
        )

    def close(self) -> None:
        self._camera.close()


def _place(device: str | None, system: Host) -> str | None:
    """What --output vcam:DEVICE says -> what pyvirtualcam takes. Raises OutputError for a name that the system does not know."""
    if not device:
        return None
    if system.name == "Linux":
        return _linux_place(device, system)
    if device.lower() == OBS.lower():
        return OBS
    if system.name == "Darwin":
        raise OutputError(
            f"There is no virtual camera named {device!r}; macOS has one only: --output vcam:obs ({OBS})."
        )
    return device  # a Unity Capture device's: its backend knows them


def _linux_place(device: str, system: Host) -> str:
    if device.isdecimal():
        return f"/dev/video{device}"
    if device.startswith("/"):
        return os.path.realpath(device)  # /dev/v4l/by-id/... are links
    known = _loopbacks(system)
    exact = [node for node in known if node.name.lower() == device.lower()]
    found = exact or [node for node in known if device.lower() in node.name.lower()]
    if not found:
        raise OutputError(f"There is no virtual camera named {device!r}; {_have(known)}.")
    free = [node for node in found if node.capability and node.capability.shows]
    return str((free or found)[0].path)


def _loopbacks(system: Host) -> list[Node]:
    return [node for node in nodes(system) if node.loopback]


def _have(known: Iterable[Node]) -> str:
    listed = ", ".join(f"vcam:{node.name} ({node.path})" for node in known)
    return (
        f"this machine has {listed}"
        if listed
        else f"this machine has none: {HOW_TO_GET_A_CAMERA['Linux']}; {INSTEAD}"
    )


def _kept_size(device: str, system: Host) -> tuple[int, int] | None:
    """The size that v4l2loopback says the device has: it keeps one that a reader has seen, and refuses another in silence."""
    if not device.startswith("/dev/video"):
        return None
    told = re.search(r"(\d+)x(\d+)", system.text(f"sys/class/video4linux/{Path(device).name}/format"))
    return (int(told[1]), int(told[2])) if told else None


def _refusal(told: str, device: str | None, size: tuple[int, int], system: Host) -> OutputError:
    """Why it did not open, in the user's words, from pyvirtualcam's."""
    if "could not be configured" in told and "busy" not in told.lower():
        return OutputError(
            f"The virtual camera{_called(device)} refuses {size[0]}x{size[1]}: choose another --size."
        )
    if system.name == "Linux" and (device is None or device.startswith("/")):
        return _linux_refusal(told, device, system)
    what = told.lower()
    if any(word in what for word in BUSY):
        return OutputBusy(
            f"The virtual camera{_called(device)} is in use: stop the virtual camera in OBS, or close the other program that plays into it."
        )
    if "with this name" in what:
        return OutputError(
            f"There is no virtual camera named {device!r}: take vcam:obs, vcam:unitycapture or the name of a Unity Capture device."
        )
    if any(word in what for word in ABSENT):
        how = HOW_TO_GET_A_CAMERA.get(system.name, "see pyvirtualcam's README for this system")
        return OutputError(f"There is no virtual camera ({_first_line(told)}): {how}; {INSTEAD}.")
    return OutputError(
        f"The virtual camera{_called(device)} does not open ({_first_line(told)}): close programs that use it, {INSTEAD}."
    )


def _linux_refusal(told: str, device: str | None, system: Host) -> OutputError:
    known = _loopbacks(system)
    if device is None and not known:
        return OutputError(
            f"There is no virtual camera ({_first_line(told)}): {HOW_TO_GET_A_CAMERA['Linux']}; {INSTEAD}."
        )
    meant = [node for node in known if device in (None, str(node.path))]
    if not meant:
        what = f"There is no {device}" if "does not exist" in told else f"{device} is no virtual camera"
        return OutputError(f"{what}; {_have(known)}.")
    node = meant[0]
    if node.forbidden or "missing permissions" in told:
        return OutputError(f"The virtual camera {node.path} may not be opened by this user: {JOIN_GROUP}.")
    users = holders(system, node.path)
    busy = (node.capability is not None and not node.capability.shows) or any(
        word in told.lower() for word in BUSY
    )
    if not busy:
        return OutputError(
            f"The virtual camera {node.path} ({node.name}) does not open ({_first_line(told)}): {INSTEAD.removeprefix('or ')}."
        )
    if users:
        return OutputBusy(
            f"The virtual camera {node.path} ({node.name}) is in use: close {users}, {INSTEAD}."
        )
    again = f"sudo modprobe -r v4l2loopback && {LOAD_LOOPBACK}"
    return OutputBusy(
        f"The virtual camera {node.path} ({node.name}) is in use by a program that is hidden from this user, or has ended: "
        f"close that program, or {again}."
    )


def _called(device: str | None) -> str:
    return f" {device}" if device else ""


def _first_line(told: str) -> str:
    return told.strip().splitlines()[0].rstrip(".") if told.strip() else "no reason is given"
