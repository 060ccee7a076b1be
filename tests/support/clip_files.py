"""Small clips that are numbered: every frame shows its number in black and white bars."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from engines.video.clip_index import read_index
from realtime.audio.av_sync import RATE_HZ
from realtime.audio.clip_sound import ClipSound

PICTURES_HZ = 30  # at which the sound of a clip is asked for
BITS = 10  # of the number
SIZE = (160, 64)  # (width, height) in pixels
CODECS = {".webm": "libvpx", ".flv": "flv", ".wmv": "wmv2", ".avi": "mpeg4"}


def numbered(number: int) -> np.ndarray:
    """A (64, 160, 3) uint8 picture of a number."""
    bits = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8) * 255
    bars = np.repeat(bits, SIZE[0] // BITS)
    return np.broadcast_to(bars[None, :, None], (SIZE[1], SIZE[0], 3)).copy()


def number_of(image: np.ndarray) -> int:
    """The number that a (H, W, 3) picture shows."""
    bars = image.mean(axis=(0, 2)).reshape(BITS, -1).mean(axis=1)
    return sum(int(bar > 127) << bit for bit, bar in enumerate(bars))


def write_clip(
    path: Path,
    times_s: Iterable[float],
    tick: Fraction = Fraction(1, 90000),
    rate: Fraction = Fraction(30),
    first: int = 0,
    beeps_s: Sequence[float] = (),
    rotation: int = 0,
    pixel_aspect: Fraction = Fraction(1),
    container: dict[str, str] | None = None,
    picture: Callable[[int], np.ndarray] = numbered,
    **options: str,
) -> Path:
    """Writes a clip whose frames are numbered from `first`, at any times.

    Args:
        times_s: of the frames, rising.
        tick: the unit in which times are stored, where the container leaves a choice.
        rate: what the header claims.
        beeps_s: when beeps of a tenth of a second and 1 kHz begin, in its sound; without any it has none.
        rotation: of its display matrix, in degrees.
        pixel_aspect: width of a pixel by its height.
        container: options of the container.
        picture: of a number: (H, W, 3) uint8 RGB.
        options: of the encoder.
    """
    codec = CODECS.get(path.suffix, "libx264")
    with av.open(str(path), "w", options=container) as file:
        stream = file.add_stream(codec, rate=rate, options={"g": "15", **options})
        stream.height, stream.width = picture(first).shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(rotation)
        unit = 1 / rate if codec == "mpeg4" else tick  # AVI counts frames
        if codec != "mpeg4":
            stream.codec_context.time_base = tick
            stream.time_base = tick
        sound = file.add_stream("aac", rate=48000, layout="mono") if beeps_s else None
        for number, time_s in enumerate(times_s, first):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = round(time_s / unit)
            frame.time_base = unit
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if sound:
            tone = av.AudioFrame.from_ndarray(_beeps(beeps_s)[None], format="fltp", layout="mono")
            tone.sample_rate = sound.rate
            tone.pts = 0  # so that the encoder knows where its own delay begins
            tone.time_base = Fraction(1, sound.rate)
            file.mux(sound.encode(tone))
            file.mux(sound.encode(None))
    return path


def _beeps(starts_s: Sequence[float]) -> np.ndarray:
    """(n,) float32 of beeps at 48 kHz; ends half a second after the last one begins."""
    time_s = np.arange(round((max(starts_s) + 0.5) * 48000)) / 48000
    sounds = np.any([(time_s >= start_s) & (time_s < start_s + 0.1) for start_s in starts_s], axis=0)
    return (0.5 * np.sin(2 * np.pi * 1000 * time_s) * sounds).astype(np.float32)


def sound_of(path: Path, length_s: float, **part: float) -> np.ndarray:
    """(n,) the first channel of a clip's sound, asked for as a video does: picture by picture."""
    sound = ClipSound(path, read_index(path).stretches, **part)
    blocks = [sound.until(number / PICTURES_HZ) for number in range(1, round(length_s * PICTURES_HZ) + 1)]
    sound.close()
    samples = np.concatenate(blocks, axis=1)
    assert samples.dtype == np.float32 and samples.shape == (1, len(blocks) * RATE_HZ // PICTURES_HZ)
    return samples[0]


def beeps(samples: np.ndarray, apart_s: float = 0.3) -> list[float]:
    """When beeps begin."""
    loud = np.convolve(np.abs(samples), np.ones(96) / 96, "same") > 0.1
    begins = np.flatnonzero(np.diff(loud.astype(int)) > 0) / RATE_HZ
    return [float(begin_s) for i, begin_s in enumerate(begins) if i == 0 or begin_s - begins[i - 1] > apart_s]
