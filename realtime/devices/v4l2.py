"""Linux video devices: names, nodes, holders, loopbacks."""

import os
from dataclasses import dataclass
from pathlib import Path

from realtime.devices.host import Capability, Host

SYSFS = Path("/sys/class/video4linux")  # Linux's list of video devices


def cameras(listed: Path | None = None) -> dict[int, str]:
    """Cameras of this machine by index, with their names where the system tells them (Linux); listed: a double of where it does."""
    found = {}
    for node in sorted((listed or SYSFS).glob("video*")):
        try:
            name = (node / "name").read_text().strip()
        except OSError:  # it tells none, or is being unplugged
            name = node.name
        found[int(node.name.removeprefix("video"))] = name
    return found


def _waits(node: Path) -> bool:
    """Whether it is a device of v4l2loopback (which alone has max_openers) that no program plays into."""
    try:
        return (node / "max_openers").exists() and not (node / "format").read_text().strip()
    except OSError:
        return False


LOOPBACK = "v4l2 loopback"  # the driver's own name
JOIN_GROUP = "sudo usermod -aG video $USER, then log out and in again"
MOST_HOLDERS = 9  # programs named that hold a device


@dataclass(frozen=True)
class Node:
    """One /dev/video*, asked."""

    index: int
    path: Path
    name: str
    capability: Capability | None  # None when it could not be opened
    fault: str = ""
    forbidden: bool = False
    loopback: bool = False


def nodes(system: Host) -> list[Node]:
    """Every video device that Linux lists, by index."""
    listed, found = system.root / "sys/class/video4linux", []
    for index, name in sorted(cameras(listed).items()):
        path, sign = (
            system.root / f"dev/video{index}",
            (listed / f"video{index}/max_openers").exists(),
        )  # an attribute of v4l2loopback's
        try:
            capability = system.query(path)
            found.append(Node(index, path, name, capability, loopback=capability.driver == LOOPBACK))
        except FileNotFoundError:
            found.append(
                Node(
                    index,
                    path,
                    name,
                    None,
                    f"the system lists it, but there is no {path} here: a container, it seems",
                    loopback=sign,
                )
            )
        except PermissionError:
            found.append(Node(index, path, name, None, f"{path} may not be opened by this user", True, sign))
        except OSError as error:
            found.append(
                Node(index, path, name, None, f"{path} cannot be opened ({error.strerror})", loopback=sign)
            )
    return found


def holders(system: Host, device: Path) -> str:
    """The programs, as far as this user may see them, that have a device open: "zoom (4711)"; "" for none."""
    found = []
    for process in (system.root / "proc").glob("[0-9]*"):
        try:
            if any(os.readlink(handle) == str(device) for handle in (process / "fd").iterdir()):
                found.append(f"{system.text(f'proc/{process.name}/comm') or 'a program'} ({process.name})")
        except OSError:  # another user's, or ended meanwhile
            continue
    return ", ".join(sorted(found)[:MOST_HOLDERS])


LOAD_LOOPBACK = "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Puppet"  # exclusive_caps: browsers list no camera that is also an output


HOW_TO_GET_A_CAMERA = {
    "Linux": f"sudo apt install v4l2loopback-dkms && {LOAD_LOOPBACK}",
    "Darwin": "install OBS 30 or newer, start its virtual camera once, then stop it",
    "Windows": "install OBS (or Unity Capture)",
}
