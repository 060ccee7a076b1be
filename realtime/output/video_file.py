"""Pictures into an H.264 file that browsers play, by PyAV: one at an even rate when all are drawn in turn.

A recording of a live run, with times of its own, is recording.py's.
"""

import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engines import atomic_file
from engines.errors import OutputError
from realtime.partial_file import check_writable, lock

VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv"}
CRF = "18"  # x264's: no difference is seen, at a third of the size of 12


def h264_stream(container, size: tuple[int, int], rate: Fraction, **options: str):
    """A stream of (width, height) yuv420p pictures, nominally `rate` a second, in an open container."""
    stream = container.add_stream("libx264", rate=rate, options={"crf": CRF, "preset": "veryfast", **options})
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    stream.codec_context.thread_count = 1  # the generator needs the cores more
    return stream


class VideoFile:
    """Pictures drawn in turn, with the index in front, for players that stream. Nothing of it is to be had before `close`.

    It is written beside its name, hidden: cut off, it would be of no use.
    """

    main_thread, closed = False, False

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float):
        import av

        self._av, self._path = av, Path(path)
        self.name = str(path)
        self._partial = atomic_file.temporary_path(self._path)
        check_writable(path, "--output")
        rate = Fraction(fps).limit_denominator(1001)
        self._tick = 1 / rate
        self.frames = 0
        self._broken = False
        options = {"movflags": "+faststart"} if self._path.suffix.lower() != ".mkv" else {}
        try:
            self._held = _hold(self._partial, path)
            try:
                self._container = av.open(
                    os.path.abspath(self._partial), "w", options=options
                )  # FFmpeg takes "a:" for a protocol
                self._stream = h264_stream(self._container, size, rate)
            except BaseException:  # Ctrl-C, too
                with self._held:
                    self._partial.unlink(missing_ok=True)
                raise
        except (av.FFmpegError, OSError, ValueError) as error:
            raise OutputError(
                f"{path} cannot be written ({getattr(error, 'strerror', None) or error}): choose another --output."
            ) from error

    @property
    def written(self) -> str:
        """What was written, for people."""
        return f"{self.name}: {self.frames} pictures at {float(1 / self._tick):g} a second"

    def send(self, image: np.ndarray, time_s: float) -> None:
        frame = self._av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts, frame.time_base = round(time_s / self._tick), self._tick
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (self._av.FFmpegError, OSError) as error:
            self._broken = True
            raise OutputError(
                f"{self._path} cannot be written any further ({error}): free some space and try again."
            ) from error
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
        with self._held:
            if self.frames and not fault and not self._broken:
                try:
                    atomic_file.commit(self._partial, self._path)
                    return
                except OSError as error:
                    fault = error
            with suppress(
                OSError
            ):  # a folder that is gone or has become read-only: what is left there is hidden
                self._partial.unlink(missing_ok=True)
        if fault and not self._broken:  # else it was told already
            raise OutputError(
                f"{self._path} could not be finished ({fault}): free some space and try again."
            ) from fault

    def _flush(self) -> None:
        for packet in self._stream.encode(None):
            self._container.mux(packet)


def _hold(partial: Path, path: str | Path) -> BinaryIO:
    """Creates the file, as the muxer opens it late, and marks it as being written while this is open. Raises OSError, OutputError."""
    held = open(partial, "ab")
    try:
        free = lock(held)
    except BaseException:  # Ctrl-C
        with held:
            partial.unlink(missing_ok=True)
        raise
    if not free:
        held.close()
        raise OutputError(f"{path} is being written by another program: choose another --output.")
    if os.name == "nt":
        held.close()  # an open file cannot be given its name there, and two writers hinder one another anyway
    return held
