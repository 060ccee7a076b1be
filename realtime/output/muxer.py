"""One file into which pictures and sound are recorded as they come, each with its own time: H.264 and AAC, by
PyAV.

Written in fragments of half a second, so that a killed program or a full disk loses about a second; at the
end an MP4 gets one index for all of it, as every player expects (FFmpeg's hybrid_fragmented). FFmpeg holds
that index in memory till then, as for every MP4: 72 bytes for each picture and packet of sound, 8 MB an hour
and 21 MB with sound.
"""

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.video.stream import VideoStream

from engines.errors import OutputError
from realtime.output.marks import append_xmp, video_tags
from realtime.output.video_file import FORMATS, aac_stream, h264_stream, sound_frame
from realtime.partial_file import PartialFile

TICK = Fraction(
    1, 90000
)  # of a picture's time, in seconds: what MP4 players expect, and fine enough for every rate
FRAGMENT_S = 0.5
# Pictures held by the encoder, and lost with it. With it and without B-frames encoding is a third cheaper,
# the file a third larger.
LOOKAHEAD = "5"
KEY_FRAME_S = 2.0  # between key frames, to which players seek
DISK_ERRORS = (av.FFmpegError, OSError)  # what every call may raise once the disk is full or gone


class FragmentedMuxer:
    """Encodes pictures and sound into a file. Every call may wait for the disk, and raises DISK_ERRORS."""

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: float,
        with_sound: bool,
        notify: Callable[[str], None] = lambda _sentence: None,
        open_file: Callable[[Path], BinaryIO] | None = None,
    ):
        """
        Args:
            size: (width, height) in pixels.
            fps: nominal.
            notify, open_file: as PartialFile's.

        Raises: OutputError when the file cannot be recorded.
        """
        self._file = PartialFile(path, notify, open_file)
        self.frames = 0
        self.sound_samples = 0
        self._pts = -1  # of the last picture, in TICKs
        self._duration = max(1, round(1 / (fps * TICK)))  # of the last picture, in TICKs
        try:
            self._container = av.open(
                self._file, "w", format=FORMATS[path.suffix.lower()], options=_options(path)
            )
            self._container.metadata.update(video_tags(path))
            self._pictures = self._add_pictures(size, fps)
            self._sound = aac_stream(self._container, "mono") if with_sound else None
        except (av.FFmpegError, ValueError) as error:
            self._file.discard()
            raise OutputError(f"{path} cannot be recorded ({error}): choose another --output.") from error

    def _add_pictures(self, size: tuple[int, int], fps: float) -> VideoStream:
        rate = Fraction(fps).limit_denominator(1001)
        options = {"bf": "0", "rc-lookahead": LOOKAHEAD, "g": str(max(1, round(fps * KEY_FRAME_S)))}
        stream = h264_stream(self._container, size, rate, **options)
        stream.codec_context.framerate = rate
        stream.codec_context.time_base = TICK
        stream.time_base = TICK
        return stream

    def add_picture(self, image: np.ndarray, time_s: float) -> None:
        """Adds a (H, W, 3) uint8 BGR picture, time_s after the beginning; times that do not rise move up."""
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        self._pts = max(round(time_s / TICK), self._pts + 1)
        frame.pts = self._pts
        frame.time_base = TICK
        self._mux_pictures(frame)
        self.frames += 1

    def add_sound(self, samples: np.ndarray) -> None:
        """Adds (n,) float32 samples, -1 to 1, at RATE_HZ behind the sound so far."""
        if self._sound is None:
            raise ValueError("the file was opened without sound")
        frame = sound_frame(samples[None], "mono", self.sound_samples)
        self.sound_samples += len(samples)
        self._container.mux(self._sound.encode(frame))

    def finish(self) -> None:
        """Writes the index and gives the file its name; without a picture there is none."""
        if self.frames:
            self._mux_pictures(None)
            if self._sound:
                self._container.mux(self._sound.encode(None))
            self._container.close()
            append_xmp(self._file, self._file.suffix)
            self._file.finish()
        else:
            self._file.discard()

    def salvage(self) -> None:
        """After a failure: gives the name to what is on the disk. Raises OSError."""
        with suppress(*DISK_ERRORS):  # the failure that led here, once more
            self._container.close()
        self._file.salvage()

    def _mux_pictures(self, frame: av.VideoFrame | None) -> None:
        """Encodes a picture; None: those that the encoder holds."""
        for packet in self._pictures.encode(frame):
            packet.duration = self._duration
            self._container.mux(packet)


def _options(path: Path) -> dict[str, str]:
    """FFmpeg's options of a container that is written in fragments."""
    if path.suffix.lower() == ".mkv":
        return {"cluster_time_limit": str(round(FRAGMENT_S * 1e3))}
    # delay_moov: the sound's encoder starts before 0, which only an index that is written late can express.
    return {"movflags": "hybrid_fragmented+delay_moov", "frag_duration": str(round(FRAGMENT_S * 1e6))}
