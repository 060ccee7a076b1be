"""Pictures into an H.264 file that browsers play, by PyAV, at an even rate: for runs that draw all pictures
in turn.

A recording of a live run, whose pictures have times of their own, is live_recording.py's.
"""

import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from engines import atomic_file
from engines.errors import OutputError
from realtime.partial_file import check_writable, lock

VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv"}
CRF = "18"  # x264's: no difference is seen, at a third of the size of 12


def h264_stream(
    container: OutputContainer, size: tuple[int, int], rate: Fraction, **options: str
) -> VideoStream:
    """Adds a stream of yuv420p pictures to an open container.

    Args:
        size: (width, height) in pixels.
        rate: nominal pictures a second.
        options: x264's.
    """
    stream = container.add_stream("libx264", rate=rate, options={"crf": CRF, "preset": "veryfast", **options})
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1  # the generator needs the cores more
    return stream


class VideoFile:
    """An Output into a file with its index in front, for players that stream. It has its name once it is
    closed.

    It is written beside its name, hidden: a file that was cut off could not be played.
    """

    main_thread = False
    closed = False

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float):
        """
        Args:
            size: (width, height) in pixels.

        Raises: OutputError when the file cannot be written, or another program writes it.
        """
        self._path = Path(path)
        self.name = str(path)
        self._partial = atomic_file.temporary_path(self._path)
        check_writable(path, "--output")
        rate = Fraction(fps).limit_denominator(1001)
        self._tick = 1 / rate  # a picture's duration in seconds
        self.frames = 0
        self._discarded = False
        try:
            self._held = _hold(self._partial, path)
            try:
                self._open(size, rate)
            except BaseException:  # Ctrl-C, too
                with self._held:
                    self._partial.unlink(missing_ok=True)
                raise
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{path} cannot be written ({reason}): choose another --output.") from error

    def _open(self, size: tuple[int, int], rate: Fraction) -> None:
        options = {"movflags": "+faststart"} if self._path.suffix.lower() != ".mkv" else {}
        # An absolute path: FFmpeg takes "a:" for a protocol.
        self._container = av.open(os.path.abspath(self._partial), "w", options=options)
        self._stream = h264_stream(self._container, size, rate)

    @property
    def written(self) -> str:
        """What was written, for the user."""
        return f"{self.name}: {self.frames} pictures at {float(1 / self._tick):g} a second"

    def send(self, image: np.ndarray, time_s: float) -> None:
        """As Output's. Raises OutputError when the file cannot be written."""
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts = round(time_s / self._tick)
        frame.time_base = self._tick
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            self._discarded = True
            raise OutputError(
                f"{self._path} cannot be written any further ({error}): free some space and try again."
            ) from error
        self.frames += 1

    def discard(self) -> None:
        """Makes `close` delete what was written, and leave what was at the name before."""
        self._discarded = True

    def close(self) -> None:
        """Gives the file its name. Raises OutputError when that fails and `send` did not raise before."""
        fault: Exception | None = None
        for finish in (self._flush, self._container.close):
            try:
                finish()
            except (av.FFmpegError, OSError) as error:
                fault = error
        with self._held:
            if self.frames and not fault and not self._discarded:
                try:
                    atomic_file.commit(self._partial, self._path)
                    return
                except OSError as error:
                    fault = error
            # Where the folder is gone or has become read-only, a hidden file is left.
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)
        if fault and not self._discarded:
            raise OutputError(
                f"{self._path} could not be finished ({fault}): free some space and try again."
            ) from fault

    def _flush(self) -> None:
        self._container.mux(self._stream.encode(None))


def _hold(partial: Path, path: str | Path) -> BinaryIO:
    """Creates the file, which the muxer opens late, and locks it for as long as the returned one is open.

    Raises: OSError; OutputError when another program holds it.
    """
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
        held.close()  # Windows renames no open file, and locks what is written anyway
    return held
