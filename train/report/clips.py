"""The frames of clips, for reports: each once, at its time, whatever is wrong with the file."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.errors import DataError, DriverError
from engines.video.clip_reader import ClipReader


@dataclass(frozen=True)
class TimedFrame:
    """A frame of a clip."""

    image: np.ndarray  # (H, W, 3) uint8 BGR, upright
    place: int  # on the grid of the clip's nominal rate, from 0; held until that of the next frame
    time_s: float  # of its place


def frames_of(
    path: Path, say: Callable[[str], None] = lambda _sentence: None
) -> Generator[TimedFrame, None, None]:
    """Every frame of a clip that can be decoded, in order.

    Args:
        say: called at the end, or where the reader is left, with a sentence for each thing that was wrong.

    Raises: DataError when there is no video in it.
    """
    try:
        with ClipReader(path) as clip:
            try:
                while (frame := clip.read()) is not None:
                    yield TimedFrame(frame.image, frame.place, float(frame.place / clip.rate))
            finally:
                for note in clip.notes:
                    say(note)
    except DriverError as error:
        raise DataError(error.what, *error.remedies) from error


def frame_at(path: Path, place: int) -> np.ndarray:
    """The picture that a clip shows at a place of its grid: (H, W, 3) uint8 BGR. Raises DataError."""
    shown: np.ndarray | None = None
    for frame in frames_of(path):
        if shown is not None and frame.place > place:
            break
        shown = frame.image
    assert shown is not None  # or frames_of has raised
    return shown
