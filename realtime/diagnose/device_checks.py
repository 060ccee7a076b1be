"""Checks of video devices: which cameras give a picture, where the puppet's pictures could go.

Nothing stays open or running.
"""

import json
import re
from collections.abc import Iterator

from engines.errors import DriverError, OutputBusy, OutputError
from realtime.devices.remedies import (
    GET_VIRTUAL_CAMERA,
    JOIN_VIDEO_GROUP,
    LOAD_LOOPBACK,
    RELOAD_LOOPBACK,
    STOP_OBS,
    install_loopback,
)
from realtime.devices.v4l2 import Node, NodeFault, holders, nodes
from realtime.diagnose.camera_probe import NO_PICTURE, CameraProbePicture, ProbedHost, ProbeFailed
from realtime.diagnose.finding import FINE, MISSING, OPTIONAL, Finding

CAMERA, VIRTUAL, WINDOW = "camera", "virtual camera", "window"
PLUG_IN = "plug a camera in; or drive with a clip, a picture or an AU curve: --driver clip.mp4"
WINDOWS_ITSELF = "run it under Windows itself: Linux under Windows (WSL) has no video devices"
REPLUG = "unplug it and plug it in again"
ALLOW = {
    "Darwin": 'open "x-apple.systempreferences:com.apple.preference.security?Privacy_Camera", '
    "allow your terminal, and start it again",
    "Windows": "start ms-settings:privacy-webcam, and let desktop apps use the camera",
}
# Listed pixel formats, and sizes of each, the largest first: kernel drivers can have dozens.
MAX_FORMATS = 4
MAX_SIZES = 4
MAX_CAMERAS = 4  # indexes tried where the system lists none
LIST_WINDOWS_CAMERAS = (
    "Get-CimInstance Win32_PnPEntity | "
    "Where-Object { $_.PNPClass -in 'Camera', 'Image' } | ForEach-Object { $_.Name }"
)


# --- cameras
# -----------------------------------------------------------------------------------------------------------


def camera_findings(host: ProbedHost) -> Iterator[Finding]:
    """Each camera, opened for one picture."""
    none = True
    for found in _linux_cameras(host) if host.name == "Linux" else _other_cameras(host):
        yield found  # at once: it is kept if the next camera hangs
        none = False
    if none:
        cure = WINDOWS_ITSELF if host.under_windows else PLUG_IN
        yield Finding(CAMERA, CAMERA, MISSING, "no camera is connected", cure)


def _linux_cameras(host: ProbedHost) -> Iterator[Finding]:
    for node in nodes(host):
        what = f"camera webcam:{node.index} ({node.name})"
        able = node.capability
        fed = host.text(f"sys/class/video4linux/video{node.index}/format")
        if node.loopback and (able is None or not fed):
            continue  # an idle virtual camera. One that is fed is a camera: a phone, say
        if able is None:
            yield Finding(CAMERA, what, MISSING, node.detail, _open_cure(node))
        elif able.captures and (node.loopback or not able.converts):  # else metadata, a codec, a radio
            yield _probed(host, node, what)


def _probed(host: ProbedHost, node: Node, what: str) -> Finding:
    try:
        picture = host.first_picture(f"webcam:{node.index}")
    except DriverError as error:
        if users := holders(host, node.path):
            return Finding(CAMERA, what, MISSING, f"busy: {users} uses it", f"close {users}")
        cure = f"close programs that use it (sudo fuser -v {node.path} names them), or {REPLUG}"
        return Finding(CAMERA, what, MISSING, _reason(error), cure)
    listed = modes(host.run(["v4l2-ctl", "-d", str(node.path), "--list-formats-ext"]) or "")
    return Finding(CAMERA, what, FINE, _gives(picture, node.index) + (f"; modes {listed}" if listed else ""))


def _other_cameras(host: ProbedHost) -> Iterator[Finding]:
    """By index, as OpenCV counts them; the system's names are in no certain order."""
    names = _camera_names(host)
    known = f"; the system lists {', '.join(names)}" if names else ""
    for index in range(MAX_CAMERAS):
        label = f" ({names[0]})" if len(names) == 1 and index == 0 else ""
        what = f"camera webcam:{index}{label}"
        try:
            picture = host.first_picture(f"webcam:{index}")
        except DriverError as error:
            if index == 0 and names:
                yield Finding(CAMERA, what, MISSING, _reason(error) + known, ALLOW[host.name])
            return
        yield Finding(CAMERA, what, FINE, _gives(picture, index) + ("" if label or index else known))


def _camera_names(host: ProbedHost) -> list[str]:
    """The cameras that macOS or Windows lists."""
    if host.name == "Darwin":
        try:
            listed = json.loads(host.run(["system_profiler", "SPCameraDataType", "-json"]) or "{}")
        except ValueError:
            return []
        return [camera["_name"] for camera in listed.get("SPCameraDataType", []) if "_name" in camera]
    lines = (host.run(["powershell", "-NoProfile", "-Command", LIST_WINDOWS_CAMERAS]) or "").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _gives(picture: CameraProbePicture, index: int) -> str:
    option = f"--driver webcam{f':{index}' if index else ''}"
    return f"gives {picture.width_px}x{picture.height_px}, {picture.fps:g} a second, by {option}"


def _reason(error: DriverError) -> str:
    return error.reason if isinstance(error, ProbeFailed) else NO_PICTURE


def modes(listed: str) -> str:
    """The output of `v4l2-ctl --list-formats-ext` in short: "MJPG 1280x720@30 640x480@30, YUYV
    640x480@30"; "" for none."""
    formats = sorted(_parse_modes(listed).items(), key=lambda entry: entry[0] != "MJPG")  # a call takes MJPG
    shown = []
    for name, rates in formats[:MAX_FORMATS]:
        largest = sorted(rates, key=lambda size: -int(size.split("x")[0]))
        sizes = [f"{size}@{rates[size]:g}" if rates[size] else size for size in largest[:MAX_SIZES]]
        shown.append(" ".join([name, *sizes, *(["..."] if len(largest) > MAX_SIZES else [])]))
    if len(formats) > MAX_FORMATS:
        shown.append(f"{len(formats) - MAX_FORMATS} more")
    return ", ".join(shown)


def _parse_modes(listed: str) -> dict[str, dict[str, float]]:
    """The same -> {pixel format: {size: highest rate in Hz, 0 where none is listed}}."""
    formats: dict[str, dict[str, float]] = {}
    rates: dict[str, float] = {}  # of the newest format
    size = ""
    for line in listed.splitlines():
        if found := re.search(r"\[\d+\]: '(.{4})'", line):
            rates = formats.setdefault(found[1].strip(), {})
        elif found := re.search(r"Size: \w+ (\d+x\d+(?: - \d+x\d+)?)", line):
            size = found[1].replace(" ", "")
            rates.setdefault(size, 0.0)
        elif found := re.search(r"\(([\d.]+)(?:-([\d.]+))? fps\)", line):
            rates[size] = max(rates.get(size, 0.0), float(found[2] or found[1]))
    return formats


def _open_cure(node: Node) -> str:
    """What lets this user open a device that could not be opened."""
    if node.fault is NodeFault.FORBIDDEN:
        return JOIN_VIDEO_GROUP
    if node.fault is NodeFault.ABSENT:
        return f"start the container with --device {node.path}"
    return REPLUG


# --- virtual cameras
# ---------------------------------------------------------------------------------------------------


def virtual_findings(host: ProbedHost) -> Iterator[Finding]:
    """The virtual cameras in which a call program would see the puppet."""
    if host.name == "Linux":
        yield from _linux_virtual(host)
        return
    from realtime.output.virtual_camera import VirtualCamera  # needs NumPy, which may be what is missing

    try:
        camera = VirtualCamera((1280, 720), 30.0)
    except OutputBusy:
        cure = f"{STOP_OBS}, or close that program"
        yield Finding(VIRTUAL, VIRTUAL, MISSING, "in use by another program", cure)
        return
    except OutputError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0].rstrip(".")
        yield Finding(VIRTUAL, VIRTUAL, MISSING, reason, GET_VIRTUAL_CAMERA.get(host.name, ""))
        return
    camera.close()
    yield Finding(VIRTUAL, VIRTUAL, FINE, camera.name.removeprefix("virtual camera "))


def _linux_virtual(host: ProbedHost) -> Iterator[Finding]:
    """By their capabilities: v4l2loopback 0.12 may refuse the next program once one was opened for
    writing."""
    loopbacks = [node for node in nodes(host) if node.loopback]
    if not loopbacks:
        yield _no_loopback(host)
    ready = [node for node in loopbacks if node.capability and node.capability.shows]
    yield from map(_ready_loopback, ready)
    state = OPTIONAL if ready else MISSING
    for node in loopbacks:
        if node not in ready:
            yield _unusable_loopback(host, node, state)


def _loopback_name(node: Node) -> str:
    return f"virtual camera {node.path} ({node.name})"


def _ready_loopback(node: Node) -> Finding:
    what = _loopback_name(node)
    if node.capability and node.capability.captures:
        detail = "ready: --output vcam; made without exclusive_caps=1, so browsers may not list it"
        return Finding(VIRTUAL, what, FINE, detail, RELOAD_LOOPBACK)
    return Finding(VIRTUAL, what, FINE, "ready: --output vcam")


def _unusable_loopback(host: ProbedHost, node: Node, state: str) -> Finding:
    what = _loopback_name(node)
    if node.capability is None:
        cure = RELOAD_LOOPBACK if node.fault is NodeFault.UNOPENABLE else _open_cure(node)
        return Finding(VIRTUAL, what, state, node.detail, cure)
    if users := holders(host, node.path):
        return Finding(VIRTUAL, what, state, f"in use: {users} has it open", f"close {users}")
    detail = "in use by a program that is hidden from this user, or has ended"
    return Finding(VIRTUAL, what, state, detail, RELOAD_LOOPBACK)


def _no_loopback(host: ProbedHost) -> Finding:
    """v4l2loopback without a device, not loaded, not built, or not installed: each has another command."""
    modules = host.root / "lib/modules" / host.release
    if (host.root / "sys/module/v4l2loopback").is_dir():
        why = "v4l2loopback is loaded, but without a device"
        cure = RELOAD_LOOPBACK
    elif any(modules.rglob("v4l2loopback.ko*")):
        why = "v4l2loopback is installed, but not loaded"
        cure = LOAD_LOOPBACK
    elif any((host.root / "usr/src").glob("v4l2loopback-*")):
        why = f"v4l2loopback is installed, but not built for this kernel ({host.release})"
        cure = f"sudo apt install linux-headers-{host.release} && sudo dkms autoinstall && {LOAD_LOOPBACK}"
    else:
        why = "v4l2loopback is not installed"
        cure = WINDOWS_ITSELF if host.under_windows else install_loopback(host)
    return Finding(VIRTUAL, VIRTUAL, MISSING, why, cure)


# --- windows
# -----------------------------------------------------------------------------------------------------------


def window_findings(_host: ProbedHost) -> Iterator[Finding]:
    """Whether a preview can be shown."""
    from realtime.output.window import has_screen  # needs OpenCV, which may be what is missing

    if has_screen():
        yield Finding(WINDOW, WINDOW, FINE, "a screen for --output window")
        return
    detail = "no screen: DISPLAY names no X server that answers (Wayland's desktops have one, too)"
    cure = "log in at its desktop, or by ssh -X; files need no screen: --output out.mp4"
    yield Finding(WINDOW, WINDOW, OPTIONAL, detail, cure)
