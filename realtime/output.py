"""Where the puppet's pictures go: virtual camera, video file, and by window.py the screen. Pictures in, nothing back.

An output is opened before the first frame, so that a missing device is told at once, takes pictures of one size, and is
closed whatever happens. `main_thread` marks those that a system lets only the main thread touch.
"""

import os
import platform
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from engines.errors import OutputError
from realtime.window import Window

VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv"}
SHEET_SUFFIXES = {".png", ".jpg"}
LOAD_LOOPBACK = (
    "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Puppet"  # exclusive_caps: browsers list no camera that is also an output
)
HOW_TO_GET_A_CAMERA = {
    "Linux": f"sudo apt install v4l2loopback-dkms && {LOAD_LOOPBACK}",
    "Darwin": "install OBS 30 or newer, start its virtual camera once, then stop it",
    "Windows": "install OBS (or Unity Capture)",
}


def check_writable(path: str | Path, option: str) -> None:
    """Raises OutputError now for a file that could not be written later. Leaves what stands there as it is."""
    path = Path(path)
    if os.path.isdir(path) or not os.path.isdir(path.absolute().parent):
        why = "it is a folder" if os.path.isdir(path) else f"there is no folder {path.parent}"
        raise OutputError(f"{path} cannot be written, as {why}: choose another {option}.")
    if not os.access(path if os.path.exists(path) else path.absolute().parent, os.W_OK):
        raise OutputError(f"{path} cannot be written (permission denied): choose another {option}.")


class Output(Protocol):
    """A consumer of pictures."""

    name: str
    main_thread: bool
    closed: bool  # by the user

    def send(self, image: np.ndarray, time_s: float) -> None:
        """One (H, W, 3) uint8 BGR picture of the size given at opening, and its time in seconds since the output began; it rises."""
        ...

    def close(self) -> None: ...


class VirtualCamera:
    """A camera that call programs see, by pyvirtualcam. Raises OutputError when the system has none."""

    main_thread, closed = False, False

    def __init__(self, size: tuple[int, int], fps: float, device: str | None = None):
        import pyvirtualcam

        try:
            self._camera = pyvirtualcam.Camera(*size, fps, fmt=pyvirtualcam.PixelFormat.BGR, device=device)
        except RuntimeError as error:
            how = HOW_TO_GET_A_CAMERA.get(platform.system(), "see pyvirtualcam's README for this system")
            what = str(error).strip().splitlines()[0].rstrip(".")
            raise OutputError(f"There is no virtual camera ({what}): {how}; or write a file now with --output out.mp4.") from error
        self.name = f"virtual camera {self._camera.device}"

    def send(self, image: np.ndarray, time_s: float) -> None:
        self._camera.send(image)

    def close(self) -> None:
        self._camera.close()


class VideoFile:
    """An H.264 MP4 that browsers play, by PyAV. Written beside its name and renamed at `close`: what stands there is whole."""

    main_thread, closed = False, False

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float):
        import av

        self._av, self._path = av, Path(path)
        self.name = str(path)
        self._partial = self._path.with_name(f".{self._path.name}.part{self._path.suffix}")
        check_writable(path, "--output")
        try:
            self._partial.open("wb").close()  # the muxer opens late; a folder that forbids writing is told now
            options = {"movflags": "+faststart"} if self._path.suffix.lower() != ".mkv" else {}
            self._container = av.open(str(self._partial), "w", options=options)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise OutputError(
                f"{path} cannot be written ({getattr(error, 'strerror', None) or error}): choose another --output."
            ) from error
        rate = Fraction(fps).limit_denominator(1001)
        self._tick = 1 / rate
        self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
        self._stream.width, self._stream.height, self._stream.pix_fmt = size[0], size[1], "yuv420p"
        self._stream.codec_context.thread_count = 1  # the generator needs the cores more
        self.frames = 0
        self._broken = False

    def send(self, image: np.ndarray, time_s: float) -> None:
        frame = self._av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts, frame.time_base = round(time_s / self._tick), self._tick  # live, late ticks are left out; the clock goes on
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (self._av.FFmpegError, OSError) as error:
            self._broken = True
            raise OutputError(f"{self._path} cannot be written any further ({error}): free some space and try again.") from error
        self.frames += 1

    def discard(self) -> None:
        """Makes `close` throw away what was written, and leave what stood there before."""
        self._broken = True

    def close(self) -> None:
        fault = None
        for finish in (self._flush, self._container.close):
            try:
                finish()
            except (self._av.FFmpegError, OSError) as error:
                fault = error
        if self.frames and not fault and not self._broken:
            self._partial.replace(self._path)
            return
        self._partial.unlink(missing_ok=True)
        if fault and not self._broken:  # else it was told already
            raise OutputError(f"{self._path} could not be finished ({fault}): free some space and try again.") from fault

    def _flush(self) -> None:
        for packet in self._stream.encode(None):
            self._container.mux(packet)


class Nothing:
    """Takes pictures and forgets them: for benchmarks."""

    name, main_thread, closed = "none", False, False

    def send(self, image: np.ndarray, time_s: float) -> None:
        pass

    def close(self) -> None:
        pass


def open_output(text: str, size: tuple[int, int], fps: float) -> Output:
    """vcam, vcam:DEVICE, window, none or a video file. Raises OutputError."""
    kind, _, rest = text.partition(":")
    if kind == "vcam":
        return VirtualCamera(size, fps, rest or None)
    if text == "window":
        return Window(size)
    if text == "none":
        return Nothing()
    if Path(text).suffix.lower() in VIDEO_SUFFIXES:
        return VideoFile(text, size, fps)
    raise OutputError(f"--output {text} is none of vcam, window, none and FILE.mp4 (or .mov, .mkv).")


class ContactSheet:
    """An output that keeps a few pictures at even distances, for a look at a whole clip at once."""

    main_thread, closed = False, False

    def __init__(self, path: str | Path, expected: int, columns: int = 6, rows: int = 4, width_px: int = 240):
        if Path(path).suffix.lower() not in SHEET_SUFFIXES:
            raise OutputError(f"--sheet {path} is not a picture's name: end it with {' or '.join(sorted(SHEET_SUFFIXES))}.")
        check_writable(path, "--sheet")
        self.name, self._path = str(path), Path(path)
        self._every = max(1, expected // (columns * rows))
        self._columns, self._count, self._width = columns, columns * rows, width_px
        self._number, self._kept = 0, []

    def send(self, image: np.ndarray, time_s: float) -> None:
        if self._number % self._every == 0 and len(self._kept) < self._count:
            height = round(image.shape[0] * self._width / image.shape[1])
            self._kept.append(cv2.resize(image, (self._width, height), interpolation=cv2.INTER_AREA))
        self._number += 1

    def close(self) -> None:
        if not self._kept:
            return
        blank = np.zeros_like(self._kept[0])
        cells = self._kept + [blank] * (-len(self._kept) % self._columns)
        sheet = np.vstack([np.hstack(cells[i : i + self._columns]) for i in range(0, len(cells), self._columns)])
        if not cv2.imwrite(str(self._path), sheet):
            raise OutputError(f"The contact sheet {self._path} cannot be written: choose another place.")
