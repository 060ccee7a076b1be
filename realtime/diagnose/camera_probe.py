"""The first picture of a camera, taken in a process of its own: one that hangs or crashes is ended at a deadline."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from engines.errors import DriverError
from realtime.devices.host import ROOT, Host

PICTURE_S = 6.0  # for the program's start (1 s), opening (on Windows up to 3 s) and the first picture (1 s where exposure is slow)


@dataclass(frozen=True)
class CameraProbePicture:
    """The first picture of a camera, opened as a call opens it."""

    width_px: int
    height_px: int
    fps: float  # that it promises


def first_picture(camera: str, deadline_s: float = PICTURE_S) -> CameraProbePicture:
    """Opens a camera (as --driver names it) like a call does, and lets it go after one picture. Raises DriverError."""
    command = [
        sys.executable,
        "-P",
        "-c",
        "import sys; from realtime.diagnose.camera_probe import show; show(sys.argv[1])",
        camera,
    ]
    places = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            stdin=subprocess.DEVNULL,
            env=os.environ | places,
        )
    except subprocess.TimeoutExpired as error:
        raise DriverError(f"It gave no picture within {deadline_s:g} s.") from error
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise DriverError(f"The program that opened it failed (exit status {done.returncode}).") from error
    if "error" in answer:
        raise DriverError(answer["error"])
    return CameraProbePicture(**answer)


def show(camera: str) -> None:
    """In the program of its own: prints the first picture's size as JSON."""
    from realtime.sources.camera import Camera

    try:
        opened = Camera(camera)
        frame, fps = opened.read(), opened.fps
        opened.close()
        height_px, width_px = frame.image.shape[:2]
        print(json.dumps({"width_px": width_px, "height_px": height_px, "fps": round(fps, 2)}))
    except DriverError as error:
        print(json.dumps({"error": str(error)}))


@dataclass(frozen=True)
class ProbedHost(Host):
    """A host whose cameras can be opened for one picture."""

    first_picture: Callable[[str], CameraProbePicture] = first_picture
