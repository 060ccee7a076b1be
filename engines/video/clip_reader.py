"""The frames of a clip, each once, upright, at its place in time; damaged ones are left out and reported."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.stream import VideoStream

from engines.errors import DriverError
from engines.video.clip_index import ClipIndex, open_container, packets, read_index

MAX_PIXELS = 40_000_000  # of a frame: 8K; damaged headers claim more
MAX_PIXEL_ASPECT = 4.0  # of pixels that are not square; more is a damaged header
UNNOTICED_SHARE = 0.25  # of frames that no decoder error explains and that are missing all the same


@dataclass(frozen=True)
class ClipFrame:
    """A frame of a clip."""

    image: np.ndarray  # (H, W, 3) uint8 BGR, upright, with square pixels
    number: int  # among the clip's frames, from 0; that of a damaged frame is left out
    place: int  # on the grid of the clip's nominal rate, from 0


class ClipReader:
    """Reads a video file, by PyAV. Use as a context manager, or close it."""

    def __init__(self, path: str | Path, index: ClipIndex | None = None, first: int = 0):
        """
        Args:
            index: of the same file, where it was read before.
            first: number of the frame to begin with, in the index.

        Raises: DriverError when there is no video in it.
        """
        self.index = index or read_index(path)
        self._path = path
        self._container = open_container(path)
        self._stream = self._track()
        self._stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        self._stream.thread_type = "AUTO"
        self._pixel_aspect = float(self._stream.sample_aspect_ratio or 1)
        self._errors = 0
        self._read = 0
        self._first = first
        self._next = 0  # the first frame of the index that can come now
        self._pts: int | None = None  # of the frame before
        self._ended = False
        if first and self.index.can_seek:
            self._container.seek(int(self.index.pts[first]), stream=self._stream)
        self._frames = self._decode()

    @property
    def rate(self) -> Fraction:
        """Nominal frames a second."""
        return self.index.rate

    @property
    def length(self) -> int:
        """Places in all; the frame before is held at those that have no frame."""
        return self.index.length

    def read(self) -> ClipFrame | None:
        """The next frame that can be decoded; None after the last.

        Raises: DriverError when there is not a single one.
        """
        frame = next(self._frames, None)
        if frame is None:
            self._ended = True
            if not self._read:
                raise DriverError(f"{self._path} cannot be decoded", "convert it to MP4 (H.264) first")
        else:
            self._read += 1
        return frame

    @property
    def damaged(self) -> int:
        """How many frames could not be decoded, as far as it was read.

        Some codecs have packets without a picture, so what is missing counts where the decoder found an
        error, or where much is missing. The frame in which a file was cut does not count.
        """
        count = len(self.index.pts)
        missing = (count if self._ended else self._next) - self._first - self._read
        uncounted = int(self.index.cut)
        explained = self._errors > uncounted or missing > UNNOTICED_SHARE * count
        return missing if explained and missing > uncounted else 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was wrong with the file, as far as it was read: a sentence each."""
        if not self.damaged:
            return self.index.notes
        are = "is" if self.damaged == 1 else "are"
        which = f"{self.damaged} of {len(self.index.pts)} frames {are} damaged"
        return (*self.index.notes, f"{self._path}: {which}, and the frame before is held instead.")

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> "ClipReader":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _track(self) -> VideoStream:
        stream = self._container.streams[self.index.track]
        assert isinstance(stream, VideoStream)  # as when it was indexed
        return stream

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """What the decoder makes of the packets, past those that it cannot decode."""
        context = self._stream.codec_context
        for packet in packets(self._container, self._stream):
            try:
                yield from context.decode(packet)
            except (av.FFmpegError, ValueError):
                self._errors += 1
        try:
            yield from context.decode(None)
        except (av.FFmpegError, ValueError):
            self._errors += 1

    def _decode(self) -> Iterator[ClipFrame]:
        for frame in self._decoded():
            if self._next >= len(self.index.pts):
                return  # more pictures than packets: there is no time for them
            number = self.index.find(frame.pts, self._next, self._pts)
            self._pts = frame.pts
            self._next = number + 1
            if number < self._first:  # the way from a key frame
                continue
            try:
                image = None if frame.is_corrupt else upright(frame, self._pixel_aspect)
            except (av.FFmpegError, ValueError):
                image = None
            if image is None:
                self._errors += 1
                continue
            yield ClipFrame(image, number, int(self.index.places[number]))


def upright(frame: av.VideoFrame, pixel_aspect: float = 1.0) -> np.ndarray:
    """A decoded frame -> (H, W, 3) uint8 BGR as it is meant to be seen.

    It is turned and mirrored by its display matrix (ISO/IEC 14496-12, 6.2.2), to the nearest right angle.

    Args:
        pixel_aspect: width of a pixel by its height.
    """
    image: np.ndarray = frame.to_ndarray(format="bgr24")
    if pixel_aspect != 1 and 1 / MAX_PIXEL_ASPECT <= pixel_aspect <= MAX_PIXEL_ASPECT:
        width_px = max(1, round(image.shape[1] * pixel_aspect))
        image = cv2.resize(image, (width_px, image.shape[0]), interpolation=cv2.INTER_AREA)
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if isinstance(side_data, SideData):
        image = displayed(image, np.frombuffer(bytes(side_data), np.int32))
    return np.ascontiguousarray(image)


def displayed(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """An (H, W, 3) image as a display matrix shows it.

    Args:
        matrix: (9,) [a b u, c d v, x y w]: a point (p, q) goes to (a p + c q, b p + d q).
    """
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        image = image.transpose(1, 0, 2)
        across, down = c, b
    else:
        across, down = a, d
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
