"""The sound of a clip, in step with the frames that are played of it: cut and stretched, without gaps.

Sound has time stamps of its own, which pause and start again as those of frames do. Samples are put where
their stamps say, by the stretches of time that the frames were found in; a pause becomes silence. Stretching
keeps the pitch (FFmpeg's atempo).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil, log2
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.filter import Graph
from av.stream import Disposition

from engines.errors import DriverError
from engines.video.clip_index import open_container, packets
from engines.video.frame_times import RESTART_S, Stretch
from realtime.audio.av_sync import RATE_HZ

SLACK_S = 0.02  # by which stamps may be wrong: a viewer notices 45 ms (ITU-R BT.1359), an ear each correction
SILENCE_S = 1.0  # of a block at most
BLOCK = 4096  # samples that are stretched at once


def has_sound(path: str | Path) -> bool:
    """Whether a clip has a track of sound. Raises DriverError where it cannot be opened."""
    with open_container(path) as container:
        return bool(container.streams.audio)


class ClipSound:
    """The sound of a part of a clip, as consecutive samples. Close it."""

    def __init__(
        self,
        path: str | Path,
        stretches: Sequence[Stretch],
        start_s: float = 0.0,
        end_s: float = float("inf"),
        speed: float = 1.0,
    ):
        """
        Args:
            stretches: how the clip's own time becomes the time that is played.
            start_s, end_s: of the part, in the time that is played.
            speed: how many times as fast the part is played.

        Raises: DriverError when the clip has no sound that can be decoded.
        """
        self._stretches = stretches
        self._start_s = start_s
        self._end_s = end_s
        self._container = open_container(path)
        self._stream = _track(self._container.streams.audio, path)
        self.layout = "mono" if self._stream.channels == 1 else "stereo"
        blocks = self._placed()
        self._blocks = blocks if speed == 1 else _stretched(blocks, speed, self.layout)
        self._waiting: deque[np.ndarray] = deque()
        self._samples = 0  # returned so far

    @property
    def channels(self) -> int:
        return 1 if self.layout == "mono" else 2

    def until(self, end_s: float) -> np.ndarray:
        """The next samples, up to end_s after the beginning of what is played: silence after the last.

        Returns: (channels, n) float32, -1 to 1, at RATE_HZ.
        """
        count = max(0, round(end_s * RATE_HZ) - self._samples)
        self._samples += count
        taken = []
        while count:
            block = self._waiting.popleft() if self._waiting else next(self._blocks, None)
            if block is None:
                block = np.zeros((self.channels, count), np.float32)
            taken.append(block[:, :count])
            if block.shape[1] > count:
                self._waiting.appendleft(block[:, count:])
            count -= taken[-1].shape[1]
        return np.concatenate([np.zeros((self.channels, 0), np.float32), *taken], axis=1)

    def close(self) -> None:
        self._container.close()

    def _placed(self) -> Iterator[np.ndarray]:
        """Blocks that follow one another from start_s to end_s, each where its stamp says."""
        position_s = self._start_s
        for block, block_s in self._timed():
            late_s = block_s - position_s
            if abs(late_s) > SLACK_S or position_s == self._start_s:
                for silence in _silence(min(late_s, self._end_s - position_s), self.channels):
                    yield silence
                    position_s += silence.shape[1] / RATE_HZ
                block = block[:, max(0, round(-late_s * RATE_HZ)) :]
            if position_s >= self._end_s:
                return
            left_s = self._end_s - position_s
            if block.shape[1] > left_s * RATE_HZ:
                block = block[:, : round(left_s * RATE_HZ)]
            position_s += block.shape[1] / RATE_HZ
            if block.size:
                yield block

    def _timed(self) -> Iterator[tuple[np.ndarray, float]]:
        """Blocks at RATE_HZ with the times at which they are played."""
        resampler = av.AudioResampler("fltp", self.layout, RATE_HZ)
        expected_s: float | None = None  # of the next frame, in the file's time
        kind: tuple[str, str, int] | None = None  # of the frames that the resampler takes
        next_s = 0.0  # when the next block is played
        segment = 0
        for frame in self._decoded():
            frame_s = (expected_s or 0.0) if frame.time is None else frame.time
            frame_kind = frame.format.name, frame.layout.name, frame.sample_rate
            if expected_s is None or abs(frame_s - expected_s) > SLACK_S or frame_kind != kind:
                segment += expected_s is not None and frame_s < expected_s - RESTART_S
                next_s = self._played_s(frame_s, segment)
                resampler = av.AudioResampler("fltp", self.layout, RATE_HZ)
                expected_s = frame_s
                kind = frame_kind
            expected_s += frame.samples / frame.sample_rate
            for resampled in resampler.resample(frame):
                block = resampled.to_ndarray()
                yield block, next_s
                next_s += block.shape[1] / RATE_HZ

    def _played_s(self, file_s: float, segment: int) -> float:
        """When a moment of the file is played."""
        own = [each for each in self._stretches if each.segment == segment] or list(self._stretches[-1:])
        stretch = max((each for each in own if each.from_s <= file_s + SLACK_S), default=own[0], key=_from_s)
        return stretch.start_s + file_s - stretch.from_s

    def _decoded(self) -> Iterator[av.AudioFrame]:
        """What can be decoded, past what is damaged."""
        for packet in packets(self._container, self._stream):
            try:
                yield from self._stream.codec_context.decode(packet)
            except (av.FFmpegError, ValueError):
                continue


def _from_s(stretch: Stretch) -> float:
    return stretch.from_s


def _track(streams: Sequence[AudioStream], path: str | Path) -> AudioStream:
    """The track that is meant to be heard. Raises DriverError where none can be decoded."""
    decodable = [each for each in streams if each.codec_context is not None]
    if not decodable:
        raise DriverError(
            f"The sound of {path} is of an unknown kind", "convert the clip to MP4 (H.264, AAC)"
        )
    return min(decodable, key=lambda each: (not each.disposition & Disposition.default, each.index))


def _silence(duration_s: float, channels: int) -> Iterator[np.ndarray]:
    """Blocks of silence."""
    left = max(0, round(duration_s * RATE_HZ))
    while left:
        count = min(left, round(SILENCE_S * RATE_HZ))
        yield np.zeros((channels, count), np.float32)
        left -= count


def _stretched(blocks: Iterator[np.ndarray], speed: float, layout: str) -> Iterator[np.ndarray]:
    """Blocks played `speed` times as fast, at the same pitch."""
    graph = Graph()
    tick = Fraction(1, RATE_HZ)
    nodes = [graph.add_abuffer(sample_rate=RATE_HZ, format="fltp", layout=layout, time_base=tick)]
    steps = max(1, ceil(abs(log2(speed))))  # atempo blends from half to twice the tempo
    nodes += [graph.add("atempo", f"{speed ** (1 / steps):.9f}") for _ in range(steps)]
    nodes.append(graph.add("abuffersink"))
    graph.link_nodes(*nodes).configure()
    position = 0
    for block in blocks:
        for start in range(0, block.shape[1], BLOCK):
            piece = np.ascontiguousarray(block[:, start : start + BLOCK])
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate = RATE_HZ
            frame.pts = position
            frame.time_base = tick
            position += piece.shape[1]
            graph.push(frame)
            yield from _pulled(graph)
    graph.push(None)
    yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[np.ndarray]:
    """What a graph has ready."""
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, av.AudioFrame):
            yield frame.to_ndarray()
