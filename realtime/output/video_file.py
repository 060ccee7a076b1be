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
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from engines import atomic_file
from engines.errors import OutputError
from realtime.audio.av_sync import RATE_HZ
from realtime.audio.clip_sound import ClipSound
from realtime.output.marks import append_xmp, video_tags
from realtime.output.signatures import sign
from realtime.partial_file import check_writable, lock

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}  # FFmpeg's, by suffix
VIDEO_SUFFIXES = set(FORMATS)
SOUND_BITS = {"mono": 96_000, "stereo": 160_000}  # a second: more than a voice needs, enough for music
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


def aac_stream(container: OutputContainer, layout: str) -> AudioStream:
    """Adds a stream of sound at RATE_HZ to an open container. layout: "mono" or "stereo"."""
    stream = container.add_stream("aac", rate=RATE_HZ, layout=layout)
    stream.bit_rate = SOUND_BITS[layout]
    return stream


def sound_frame(samples: np.ndarray, layout: str, position: int) -> av.AudioFrame:
    """Samples for an encoder.

    Args:
        samples: (channels, n) float32, -1 to 1, at RATE_HZ.
        layout: "mono" or "stereo".
        position: samples before them.
    """
    samples = np.ascontiguousarray(samples, np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
    frame.sample_rate = RATE_HZ
    frame.pts = position
    frame.time_base = Fraction(1, RATE_HZ)
    return frame


class VideoFile:
    """An Output into a file with its index in front, for players that stream. It has its name once it is
    closed.

    It is written beside its name, hidden: a file that was cut off could not be played.
    """

    main_thread = False
    closed = False

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float, sound: ClipSound | None = None):
        """
        Args:
            size: (width, height) in pixels.
            sound: goes into the file in step with the pictures; it is closed with it.

        Raises: OutputError when the file cannot be written, or another program writes it.
        """
        self._path = atomic_file.followed(path)
        self.name = str(path)
        self._partial = atomic_file.temporary_path(self._path)
        check_writable(path, "--output")
        rate = Fraction(fps).limit_denominator(1001)
        self._tick = 1 / rate  # a picture's duration in seconds
        self.frames = 0
        self._discarded = False
        self._sound = sound
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
        kind = FORMATS[Path(self.name).suffix.lower()]
        options = {"movflags": "+faststart"} if kind != "matroska" else {}
        # An absolute path: FFmpeg takes "a:" for a protocol.
        self._container = av.open(os.path.abspath(self._partial), "w", format=kind, options=options)
        self._container.metadata.update(video_tags(Path(self.name)))
        self._stream = h264_stream(self._container, size, rate)
        if self._sound:
            self._sound_stream = aac_stream(self._container, self._sound.layout)
            self._sound_samples = 0

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_fault: object) -> None:
        """Closes it; whatever was raised, Ctrl-C too, leaves what was at the name before."""
        if kind:
            self.discard()
        self.close()

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
            self._add_sound(time_s + float(self._tick))
        except (av.FFmpegError, OSError) as error:
            self._discarded = True
            raise OutputError(
                f"{self.name} cannot be written any further ({error}): free some space and try again."
            ) from error
        self.frames += 1

    def discard(self) -> None:
        """Makes `close` delete what was written, and leave what was at the name before."""
        self._discarded = True

    def close(self) -> None:
        """Gives the file its name. Raises OutputError when that fails and `send` did not raise before."""
        fault: Exception | None = None
        if self._sound:
            self._sound.close()
        for finish in (self._flush, self._container.close, self._mark):
            try:
                finish()
            except (av.FFmpegError, OSError) as error:
                fault = error
        with self._held:
            if self.frames and not fault and not self._discarded:
                try:
                    atomic_file.commit(self._partial, self._path)
                    sign(self._path)
                    return
                except OSError as error:
                    fault = error
            # Where the folder is gone or has become read-only, a hidden file is left.
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)
        if fault and not self._discarded:
            raise OutputError(
                f"{self.name} could not be finished ({fault}): free some space and try again."
            ) from fault

    def _add_sound(self, end_s: float) -> None:
        """Adds the sound up to a time in the file."""
        if self._sound and (samples := self._sound.until(end_s)).size:
            frame = sound_frame(samples, self._sound.layout, self._sound_samples)
            self._sound_samples += samples.shape[1]
            self._container.mux(self._sound_stream.encode(frame))

    def _flush(self) -> None:
        self._container.mux(self._stream.encode(None))
        if self._sound:
            self._container.mux(self._sound_stream.encode(None))

    def _mark(self) -> None:
        if self.frames:
            with open(self._partial, "r+b") as file:
                append_xmp(file, Path(self.name).suffix)


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
