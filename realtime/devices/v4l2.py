"""Video devices of Linux (V4L2), v4l2loopback's included: names, capabilities, programs that hold them."""

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from realtime.devices.host import Capability, Host

SYSFS = Path("/sys/class/video4linux")  # Linux's list of video devices
LOOPBACK_DRIVER = "v4l2 loopback"  # the driver's own name, as VIDIOC_QUERYCAP returns it
MAX_HOLDERS = 9  # programs named for one device: more do not fit a message


def cameras(sysfs: Path | None = None) -> dict[int, str]:
    """Video devices by index, with their names; empty where the system lists none (anywhere but Linux).

    Args:
        sysfs: read instead of SYSFS.
    """
    found = {}
    for node in sorted((sysfs or SYSFS).glob("video*")):
        try:
            name = (node / "name").read_text().strip()
        except OSError:  # it has none, or is being unplugged
            name = node.name
        found[int(node.name.removeprefix("video"))] = name
    return found


def camera_port(index: int | str) -> str:
    """The port that a camera is plugged into: the same for all video nodes of one device."""
    return os.path.realpath(SYSFS / f"video{index}" / "device")


def is_idle_loopback(index: int) -> bool:
    """Whether it is a device of v4l2loopback into which no program plays."""
    node = SYSFS / f"video{index}"
    try:
        return _is_loopback(node) and not (node / "format").read_text().strip()
    except OSError:
        return False


def _is_loopback(node: Path) -> bool:
    return (node / "max_openers").exists()  # an attribute of v4l2loopback's alone


class NodeFault(Enum):
    """Why a device that Linux lists could not be opened."""

    ABSENT = "absent"  # there is no file for it: the program runs in a container
    FORBIDDEN = "forbidden"  # to this user
    UNOPENABLE = "unopenable"


@dataclass(frozen=True)
class Node:
    """One /dev/video*, queried."""

    index: int
    path: Path
    name: str
    capability: Capability | None  # None when it could not be opened
    loopback: bool = False  # of v4l2loopback
    fault: NodeFault | None = None
    detail: str = ""  # the fault as a clause of a message


def nodes(host: Host) -> list[Node]:
    """Every video device that Linux lists, by index."""
    listed = host.root / "sys/class/video4linux"
    return [_query_node(host, listed, index, name) for index, name in sorted(cameras(listed).items())]


def _query_node(host: Host, listed: Path, index: int, name: str) -> Node:
    path = host.root / f"dev/video{index}"
    loopback = _is_loopback(listed / f"video{index}")
    try:
        capability = host.query(path)
    except FileNotFoundError:
        fault = NodeFault.ABSENT
        detail = f"the system lists it, but there is no {path} here: a container, it seems"
    except PermissionError:
        fault = NodeFault.FORBIDDEN
        detail = f"{path} may not be opened by this user"
    except OSError as error:
        fault = NodeFault.UNOPENABLE
        detail = f"{path} cannot be opened ({error.strerror})"
    else:
        return Node(index, path, name, capability, capability.driver == LOOPBACK_DRIVER)
    return Node(index, path, name, None, loopback, fault, detail)


def holders(host: Host, device: Path) -> str:
    """The programs that have a device open, as far as this user may see them: "zoom (4711)"; "" for none."""
    found = []
    for process in (host.root / "proc").glob("[0-9]*"):
        try:
            if any(os.readlink(handle) == str(device) for handle in (process / "fd").iterdir()):
                found.append(f"{host.text(f'proc/{process.name}/comm') or 'a program'} ({process.name})")
        except OSError:  # another user's, or ended meanwhile
            continue
    return ", ".join(sorted(found)[:MAX_HOLDERS])
