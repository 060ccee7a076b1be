"""The first picture of a camera, taken in a process of its own, which may hang or crash."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from engines.errors import CameraBusy, DriverError
from realtime.devices.host import ROOT, Host

# For the process' start (1 s), opening (on Windows up to 3 s) and the first picture (1 s where exposure is
# slow).
PICTURE_TIMEOUT_S = 6.0
NO_PICTURE = "gives no picture"


@dataclass(frozen=True)
class CameraProbePicture:
    """The first picture of a camera, opened as a call opens it."""

    width_px: int
    height_px: int
    fps: float  # nominal


class ProbeFailed(DriverError):
    """A camera that gave no picture."""

    def __init__(self, message: str, reason: str):
        """
        Args:
            message: one sentence for the user of a call.
            reason: the same as a predicate, without that user's options: "gives no picture".
        """
        super().__init__(message)
        self.reason = reason


def first_picture(camera: str, timeout_s: float = PICTURE_TIMEOUT_S) -> CameraProbePicture:
    """Opens a camera (as --driver names it) as a call does, and closes it after one picture.

    Raises ProbeFailed.
    """
    module = "from realtime.diagnose.camera_probe import show"
    command = [sys.executable, "-P", "-c", f"import sys; {module}; show(sys.argv[1])", camera]
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            env=os.environ | paths,
        )
    except subprocess.TimeoutExpired as error:
        reason = f"gave no picture within {timeout_s:g} s"
        raise ProbeFailed(f"It {reason}.", reason) from error
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        message = f"The program that opened it failed (exit status {done.returncode})"
        raise ProbeFailed(f"{message}.", message) from error
    if "error" in answer:
        raise ProbeFailed(answer["error"], answer["reason"])
    return CameraProbePicture(**answer)


def show(camera: str) -> None:
    """In the process of its own: prints the first picture's size, or what is wrong, as JSON."""
    from realtime.sources.camera import Camera, NoPicture  # OpenCV may be what crashes

    try:
        opened = Camera(camera)
        frame = opened.read()
        fps = opened.fps
        opened.close()
    except DriverError as error:
        refused = isinstance(error, CameraBusy | NoPicture)
        print(json.dumps({"error": str(error), "reason": NO_PICTURE if refused else str(error).rstrip(".")}))
        return
    height_px, width_px = frame.image.shape[:2]
    print(json.dumps({"width_px": width_px, "height_px": height_px, "fps": round(fps, 2)}))


@dataclass(frozen=True)
class ProbedHost(Host):
    """A host whose cameras can be opened for one picture."""

    first_picture: Callable[[str], CameraProbePicture] = first_picture
