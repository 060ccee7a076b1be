"""The guest's video devices: drivers loaded and unloaded, a webcam unplugged, and the other programs that
play, read and hold.

    WEBCAM   vivid: a camera with a moving test picture, which can be unplugged
    FACE     v4l2loopback: a camera that shows what another program plays into it, here a clip of a face
    PUPPET   v4l2loopback: the virtual camera that a call would open

The other programs are ffmpeg and v4l2-ctl, in processes of their own. Knows nothing of the puppet.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

CLIP = os.environ.get("VM_CLIP", "")  # raw pictures of a face
WEBCAM, FACE, PUPPET = "/dev/video0", "/dev/video10", "/dev/video20"
FACE_NAME, PUPPET_NAME = "FaceCam", "PuppetCam"  # v4l2loopback splits its labels at spaces
FPS = 10  # an emulated processor tears pictures at 30
CLIP_SIZE = (640, 480)  # of the raw clip that tests/vm/run makes
PATIENCE_S = 30.0  # for another program to start or stop, which takes 1 to 3 s in emulation


def load_webcam(number: int = 0) -> None:
    """Plugs the webcam in as /dev/video{number}."""
    _modprobe(
        "vivid", "n_devs=1", "node_types=0x1", "num_inputs=1", "input_types=0x0", f"vid_cap_nr={number}"
    )
    wait_for(Path(f"/dev/video{number}").exists, "the webcam's device")


def unload_held_webcam() -> None:
    """Takes the webcam's device away under the program that reads it, as unplugging does, and unloads its
    driver.

    The driver is unbound from the device, which is gone at once and for good. `unplug` would not do: the
    kernel gives the device back when the program closes it, and the program, which opens it again half a
    second later, would hold the driver from then on.
    """

    def unloaded() -> bool:
        subprocess.run(["rmmod", "vivid"], capture_output=True)
        return not Path("/sys/module/vivid").exists()

    Path("/sys/bus/platform/drivers/vivid/unbind").write_text("vivid.0")
    assert not Path(WEBCAM).exists(), f"{WEBCAM} is still there"
    wait_for(unloaded, "the end of the webcam's driver, which lasts until the program closes the webcam,")


def load_loopbacks() -> None:
    numbers = ",".join(device.removeprefix("/dev/video") for device in (FACE, PUPPET))
    # 8 buffers: 0.8 s until one is written over; with 32, OpenCV's reader crashes
    options = (
        f"video_nr={numbers}",
        f"card_label={FACE_NAME},{PUPPET_NAME}",
        "exclusive_caps=1,1",
        "max_buffers=8",
    )
    _modprobe("v4l2loopback", "devices=2", *options)
    wait_for(Path(PUPPET).exists, "the virtual camera's device")


def _modprobe(*arguments: str) -> None:
    done = subprocess.run(
        ["modprobe", "-d", os.environ["VM_MODULES"], *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, f"modprobe {' '.join(arguments)}: {done.stderr}"


def unplug(device: str = WEBCAM) -> None:
    """Pulls vivid's plug under the program that reads it.

    It is plugged in again by the kernel when nobody holds it any more.
    """
    subprocess.run(["v4l2-ctl", "-d", device, "-c", "disconnect=1"], check=True, capture_output=True)


def holders(device: str) -> set[int]:
    """The processes that have the device open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == device:
                found.add(int(link.parts[2]))
        except OSError:  # it was closed meanwhile
            continue
    return found


def released(*devices: str) -> None:
    """Asserts that no process has any of them open."""
    for device in devices:
        assert not holders(device), f"{device} is still held"


def wait_for(condition, what: str, patience_s: float = PATIENCE_S) -> None:
    end_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end_s, f"{what} did not come within {patience_s:g} s"
        time.sleep(0.05)


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@contextmanager
def clip_playing() -> Iterator[subprocess.Popen]:
    """Another program plays the clip into FACE, in a loop from its beginning."""
    into = ["-stream_loop", "-1", "-i", CLIP, "-f", "v4l2", FACE]
    raw = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuyv422",
        "-video_size",
        "{}x{}".format(*CLIP_SIZE),
        "-framerate",
        str(FPS),
    ]
    with _running(["ffmpeg", "-v", "error", "-re", *raw, *into]) as player:
        wait_for(lambda: is_camera(FACE), "the clip")
        yield player


def is_camera(device: str) -> bool:
    """Whether it offers pictures; with exclusive_caps a loopback does so only while something is played into
    it.
    """
    done = subprocess.run(["v4l2-ctl", "-d", device, "--all"], capture_output=True, text=True)
    capabilities = done.stdout.partition("Device Caps")[2].partition("Video input")[0]
    return "Video Capture" in capabilities


@contextmanager
def held_by_another(device: str, playing_into: bool = False) -> Iterator[None]:
    """Another program uses the device: reads it, or plays into it."""
    source = [
        "ffmpeg",
        "-v",
        "error",
        "-re",
        "-f",
        "lavfi",
        "-i",
        f"testsrc=size=320x240:rate={FPS}",
        "-pix_fmt",
        "yuv420p",
    ]
    read = ["v4l2-ctl", "-d", device, "--stream-mmap", "--stream-count=0"]
    with _running([*source, "-f", "v4l2", device] if playing_into else read) as program:
        wait_for(lambda: program.poll() is not None or program.pid in holders(device), "the other program")
        time.sleep(1.0)  # from open to streaming
        assert program.poll() is None, f"the other program ended: {program.stderr.read()}"
        yield
    wait_for(lambda: not holders(device) - {os.getpid()}, "the other program's end")


class Reader:
    """Another program that opens the virtual camera as a call does, and keeps every picture.

    Use as a context manager.
    """

    def __init__(self, size: tuple[int, int], device: str = PUPPET):
        self._shape, self._file = (-1, size[1], size[0], 3), Path("/run/read.bgr")
        self._file.unlink(missing_ok=True)
        source = ["-f", "v4l2", "-i", device, "-fps_mode", "passthrough"]
        into = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-flush_packets", "1", str(self._file)]
        self._program = _running(["ffmpeg", "-v", "error", *source, *into])

    def __enter__(self) -> "Reader":
        self._process = self._program.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._program.__exit__(*exc)

    def pictures(self) -> np.ndarray:
        """(count, H, W, 3) uint8 BGR: what it got so far."""
        assert self._process.poll() is None, f"the reader ended: {self._process.stderr.read()}"
        if not self._file.exists():
            return np.empty((0, *self._shape[1:]), np.uint8)
        stored = np.fromfile(self._file, np.uint8)
        whole = stored.size // np.prod(self._shape[1:])
        return stored[: whole * np.prod(self._shape[1:])].reshape(self._shape)
