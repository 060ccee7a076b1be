"""Looks at video devices: which cameras give a picture, where the puppet's pictures could go. Starts nothing that it does not end."""

import json
import re
from collections.abc import Iterator

from engines.errors import DriverError, OutputBusy, OutputError
from realtime.devices.v4l2 import JOIN_GROUP, Node, holders, nodes
from realtime.diagnose.camera_probe import CameraProbePicture, ProbedHost
from realtime.diagnose.finding import FINE, MISSING, OPTIONAL, Finding

CAMERA, VIRTUAL, WINDOW = "camera", "virtual camera", "window"
PLUG_IN = "plug a camera in; or drive with a clip, a picture or an AU curve: --driver clip.mp4"
WINDOWS_ITSELF = "run it under Windows itself: Linux under Windows (WSL) has no video devices"
ALLOW = {
    "Darwin": 'open "x-apple.systempreferences:com.apple.preference.security?Privacy_Camera", allow your terminal, and start it again',
    "Windows": "start ms-settings:privacy-webcam, and let desktop apps use the camera",
}
FORMATS, SIZES = (
    4,
    4,
)  # pixel formats told, and sizes of each, the largest first; kernel drivers can list dozens
MOST_CAMERAS = 4  # indexes tried where the system lists none


def camera_findings(system: ProbedHost) -> Iterator[Finding]:
    """Each camera, opened for one picture."""
    none = True
    for found in _linux_cameras(system) if system.name == "Linux" else _other_cameras(system):
        yield found  # at once: what is known is kept if the next camera hangs
        none = False
    if none:
        yield Finding(
            CAMERA,
            CAMERA,
            MISSING,
            "no camera is connected",
            WINDOWS_ITSELF if system.under_windows else PLUG_IN,
        )


def _linux_cameras(system: ProbedHost) -> Iterator[Finding]:
    for node in nodes(system):
        what, able = f"camera webcam:{node.index} ({node.name})", node.capability
        if node.loopback and (
            able is None or not system.text(f"sys/class/video4linux/video{node.index}/format")
        ):
            continue  # nobody feeds it: a virtual camera that waits. One that is fed is a camera, a phone say
        if able is None:
            yield Finding(CAMERA, what, MISSING, node.fault, _open_cure(node))
        elif able.captures and (node.loopback or not able.converts):  # else metadata, a codec, a radio
            yield _pictured(system, node, what)


def _pictured(system: ProbedHost, node: Node, what: str) -> Finding:
    try:
        picture = system.first_picture(f"webcam:{node.index}")
    except DriverError as error:
        users = holders(system, node.path)
        if users:
            return Finding(CAMERA, what, MISSING, f"busy: {users} uses it", f"close {users}")
        cure = f"close programs that use it (sudo fuser -v {node.path} names them), or unplug it and plug it in again"
        return Finding(CAMERA, what, MISSING, _reason(error, "gives no picture"), cure)
    listed = modes(system.run(["v4l2-ctl", "-d", str(node.path), "--list-formats-ext"]) or "")
    return Finding(CAMERA, what, FINE, _gives(picture, node.index) + (f"; modes {listed}" if listed else ""))


def _other_cameras(system: ProbedHost) -> Iterator[Finding]:
    """By index, as OpenCV counts them; the system's names are in no certain order."""
    names = _names(system)
    known = f"; the system lists {', '.join(names)}" if names else ""
    for index in range(MOST_CAMERAS):
        label = f" ({names[0]})" if len(names) == 1 and index == 0 else ""
        try:
            picture = system.first_picture(f"webcam:{index}")
        except DriverError as error:
            if index == 0 and names:
                yield Finding(
                    CAMERA,
                    f"camera webcam:0{label}",
                    MISSING,
                    _reason(error, "gives no picture") + known,
                    ALLOW[system.name],
                )
            return
        yield Finding(
            CAMERA,
            f"camera webcam:{index}{label}",
            FINE,
            _gives(picture, index) + ("" if label or index else known),
        )


def _names(system: ProbedHost) -> list[str]:
    """The cameras that macOS or Windows lists."""
    if system.name == "Darwin":
        try:
            listed = json.loads(system.run(["system_profiler", "SPCameraDataType", "-json"]) or "{}")
        except ValueError:
            return []
        return [camera["_name"] for camera in listed.get("SPCameraDataType", []) if "_name" in camera]
    ask = "Get-CimInstance Win32_PnPEntity | Where-Object { $_.PNPClass -in 'Camera', 'Image' } | ForEach-Object { $_.Name }"
    return [
        line.strip()
        for line in (system.run(["powershell", "-NoProfile", "-Command", ask]) or "").splitlines()
        if line.strip()
    ]


def _gives(picture: CameraProbePicture, index: int) -> str:
    return f"gives {picture.width_px}x{picture.height_px}, {picture.fps:g} a second, by --driver webcam{f':{index}' if index else ''}"


def _reason(error: DriverError, otherwise: str) -> str:
    """The error's words, unless they are the advice that a call gives: the doctor's own is better."""
    return (
        otherwise if "gives no picture" in str(error) else str(error).rstrip(".").replace("It gave", "gave")
    )


def modes(listed: str) -> str:
    """What `v4l2-ctl --list-formats-ext` writes -> "MJPG 1280x720@30 640x480@30, YUYV 640x480@30"; "" for nothing."""
    formats: dict[str, dict[str, float]] = {}
    sizes: dict[str, float] = {}
    size = ""
    for line in listed.splitlines():
        if begins := re.search(r"\[\d+\]: '(.{4})'", line):
            sizes = formats.setdefault(begins[1].strip(), {})
        elif begins := re.search(r"Size: \w+ (\d+x\d+(?: - \d+x\d+)?)", line):
            size = begins[1].replace(" ", "")
            sizes.setdefault(size, 0.0)
        elif begins := re.search(r"\(([\d.]+)(?:-([\d.]+))? fps\)", line):
            sizes[size] = max(sizes.get(size, 0.0), float(begins[2] or begins[1]))
    told = []
    for name, rates in sorted(formats.items(), key=lambda listed: listed[0] != "MJPG")[
        :FORMATS
    ]:  # a call asks for MJPG
        largest = sorted(rates, key=lambda size: -int(size.split("x")[0]))
        shown = [f"{size}@{rates[size]:g}" if rates[size] else size for size in largest[:SIZES]]
        told.append(" ".join([name, *shown, *(["..."] if len(largest) > SIZES else [])]))
    more = [f"{len(formats) - FORMATS} more"] if len(formats) > FORMATS else []
    return ", ".join([*told, *more])


def _open_cure(node: Node) -> str:
    """What lets this user open a device that could not be opened."""
    if node.forbidden:
        return JOIN_GROUP
    return (
        f"start the container with --device {node.path}"
        if "container" in node.fault
        else "unplug it and plug it in again"
    )


def virtual_findings(system: ProbedHost) -> Iterator[Finding]:
    """Where a call program would see the puppet."""
    if system.name == "Linux":
        yield from _linux_virtual(system)
        return
    from realtime.devices.v4l2 import HOW_TO_GET_A_CAMERA
    from realtime.output.virtual_camera import VirtualCamera

    try:
        camera = VirtualCamera((1280, 720), 30.0)
    except OutputBusy:
        yield Finding(
            VIRTUAL,
            VIRTUAL,
            MISSING,
            "in use by another program",
            "stop the virtual camera in OBS, or close that program",
        )
        return
    except OutputError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0].rstrip(".")
        yield Finding(VIRTUAL, VIRTUAL, MISSING, reason, HOW_TO_GET_A_CAMERA.get(system.name, ""))
        return
    camera.close()
    yield Finding(VIRTUAL, VIRTUAL, FINE, camera.name.removeprefix("virtual camera "))


def _linux_virtual(system: ProbedHost) -> Iterator[Finding]:
    """By what the devices say of themselves: opening one for writing would leave some v4l2loopback (0.12) closed to the next program."""
    from realtime.devices.v4l2 import LOAD_LOOPBACK

    loopbacks = [node for node in nodes(system) if node.loopback]
    again, free = f"sudo modprobe -r v4l2loopback && {LOAD_LOOPBACK}", False
    for node in loopbacks:
        what, able = f"virtual camera {node.path} ({node.name})", node.capability
        if able and able.shows:
            both = "; made without exclusive_caps=1, so browsers may not list it" if able.captures else ""
            yield Finding(VIRTUAL, what, FINE, f"ready: --output vcam{both}", again if both else "")
            free = True
    for node in loopbacks:
        what, state, able = (
            f"virtual camera {node.path} ({node.name})",
            OPTIONAL if free else MISSING,
            node.capability,
        )
        if able is None:
            yield Finding(
                VIRTUAL,
                what,
                state,
                node.fault,
                again if node.fault.startswith(f"{node.path} cannot") else _open_cure(node),
            )
        elif not able.shows:
            users = holders(system, node.path)
            seen = (
                f"in use: {users} has it open"
                if users
                else "in use by a program that is hidden from this user, or has ended"
            )
            yield Finding(VIRTUAL, what, state, seen, f"close {users}" if users else again)
    if not loopbacks:
        yield _no_loopback(system)


def _no_loopback(system: ProbedHost) -> Finding:
    """Loaded, built, unpacked, or not there at all: each wants another command."""
    from realtime.devices.v4l2 import HOW_TO_GET_A_CAMERA, LOAD_LOOPBACK

    modules = system.root / "lib/modules" / system.release
    if (system.root / "sys/module/v4l2loopback").is_dir():
        why, cure = (
            "v4l2loopback is loaded, but without a device",
            f"sudo modprobe -r v4l2loopback && {LOAD_LOOPBACK}",
        )
    elif any(modules.rglob("v4l2loopback.ko*")):
        why, cure = "v4l2loopback is installed, but not loaded", LOAD_LOOPBACK
    elif any((system.root / "usr/src").glob("v4l2loopback-*")):
        why = f"v4l2loopback is installed, but not built for this kernel ({system.release})"
        cure = f"sudo apt install linux-headers-{system.release} && sudo dkms autoinstall && {LOAD_LOOPBACK}"
    else:
        why = "v4l2loopback is not installed"
        cure = (
            WINDOWS_ITSELF
            if system.under_windows
            else _for_this_distribution(system, HOW_TO_GET_A_CAMERA["Linux"])
        )
    return Finding(VIRTUAL, VIRTUAL, MISSING, why, cure)


def _for_this_distribution(system: ProbedHost, debian: str) -> str:
    told = system.text("etc/os-release")
    kinds = set(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)"?', told, re.MULTILINE))
    names = {name for kind in kinds for name in kind.split()}
    for family, install in (
        ("arch", "sudo pacman -S v4l2loopback-dkms"),
        ("suse", "sudo zypper install v4l2loopback-kmp-default"),
        ("fedora", "sudo dnf install akmod-v4l2loopback"),  # of RPM Fusion
    ):
        if family in names:
            return debian.replace("sudo apt install v4l2loopback-dkms", install)
    return debian


def window_findings(system: ProbedHost) -> Iterator[Finding]:
    """Whether a preview can be shown."""
    from realtime.output.window import has_screen

    if has_screen():
        yield Finding(WINDOW, WINDOW, FINE, "a screen for --output window")
    else:
        cure = "log in at its desktop, or by ssh -X; files need no screen: --output out.mp4"
        yield Finding(
            WINDOW,
            WINDOW,
            OPTIONAL,
            "no screen: DISPLAY names no X server that answers (Wayland's desktops have one, too)",
            cure,
        )
