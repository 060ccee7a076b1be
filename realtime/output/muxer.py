"""One file that pictures and sound are recorded into as they come, each with its own time: H.264 and AAC, by PyAV.

Written in fragments of half a second, so that a program killed or a full disk loses about a second; at the end an MP4 gets one
index for all of it, as every player wants (FFmpeg's hybrid_fragmented). FFmpeg holds that index in memory till then, as it does for
every MP4: 72 bytes a picture or packet of sound, 8 MB an hour and 21 MB with sound.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engines.errors import OutputError
from realtime.audio.av_sync import RATE_HZ
from realtime.output.video_file import h264_stream
from realtime.partial_file import PartialFile

TICK = Fraction(1, 90000)  # of a picture's time: what MP4 players expect, and fine enough for every rate
FRAGMENT_S = 0.5
LOOKAHEAD = "5"  # pictures held by the encoder, lost with it; without frames that refer to later ones: a third cheaper, a third larger
KEY_EVERY_S = 2.0  # players seek to these
SOUND_BITS = 96_000  # a second; more than enough for one voice
FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}


class FragmentedMuxer:
    """Pictures and sound in, a file out. Every call may wait for the disk, and raises OSError or av.FFmpegError once it is full."""

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: float,
        sounds: bool,
        say: Callable[[str], None] = lambda _sentence: None,
        open_file: Callable[[Path], BinaryIO] | None = None,
    ):
        """fps: nominal; sounds: whether there will be sound; say, open_file: as PartialFile's. Raises OutputError."""
        import av

        self._av, self._file = av, PartialFile(path, say, open_file)
        self.frames = 0
        self.sound_samples = 0
        self._pts = -1
        self._duration = max(1, round(1 / (fps * TICK)))  # of the last picture
        try:
            self._container = av.open(
                self._file, "w", format=FORMATS[path.suffix.lower()], options=_options(path)
            )
            rate = Fraction(fps).limit_denominator(1001)
            keys = str(max(1, round(fps * KEY_EVERY_S)))
            self._pictures = h264_stream(
                self._container, size, rate, **{"bf": "0", "rc-lookahead": LOOKAHEAD, "g": keys}
            )
            codec = self._pictures.codec_context
            codec.framerate, codec.time_base, self._pictures.time_base = rate, TICK, TICK
            self._sounds = self._container.add_stream("aac", rate=RATE_HZ, layout="mono") if sounds else None
            if self._sounds:
                self._sounds.bit_rate = SOUND_BITS
        except (av.FFmpegError, ValueError) as error:
            self._file.discard()
            raise OutputError(f"{path} cannot be recorded ({error}): choose another --output.") from error

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """What a call may raise for the disk's sake."""
        return self._av.FFmpegError, OSError

    def add_picture(self, image: np.ndarray, time_s: float) -> None:
        """(H, W, 3) uint8 BGR, and its time since the beginning; it rises."""
        frame = self._av.VideoFrame.from_ndarray(image, format="bgr24")
        self._pts = max(round(time_s / TICK), self._pts + 1)
        frame.pts, frame.time_base = self._pts, TICK
        self._mux(self._pictures, frame)
        self.frames += 1

    def add_sound(self, samples: np.ndarray) -> None:
        """(n,) float32, -1 to 1: what follows the sound so far."""
        frame = self._av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples, np.float32)[None], format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self.sound_samples, Fraction(1, RATE_HZ)
        self.sound_samples += len(samples)
        self._mux(self._sounds, frame)

    def finish(self) -> None:
        """Gives the whole file its name; without a picture there is none."""
        if self.frames:
            self._mux(self._pictures, None)
            if self._sounds:
                self._mux(self._sounds, None)
            self._container.close()
            self._file.finish()
        else:
            self._file.discard()

    def salvage(self) -> None:
        """After a fault: what was stored gets the name. Raises OSError."""
        try:
            self._container.close()
        except self.faults:  # the one that led here, once more
            pass
        self._file.salvage()

    def _mux(self, stream, frame) -> None:
        for packet in stream.encode(frame):
            if stream is self._pictures:
                packet.duration = self._duration
            self._container.mux(packet)


def _options(path: Path) -> dict[str, str]:
    if path.suffix.lower() == ".mkv":
        return {"cluster_time_limit": str(round(FRAGMENT_S * 1e3))}
    # delay_moov: the encoder of sound starts before 0, which only an index that is written late can say
    return {"movflags": "hybrid_fragmented+delay_moov", "frag_duration": str(round(FRAGMENT_S * 1e6))}
