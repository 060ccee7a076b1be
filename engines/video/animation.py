"""Pictures that move (GIF, WebP, PNG, AVIF) read as clips are, by Pillow."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from engines.errors import DriverError, SourceError
from engines.face.photo import animation_durations_s, animation_frames
from engines.video import frame_times
from engines.video.clip_reader import ClipFrame


class AnimationReader:
    """The frames of a picture that moves, at their places in time, as ClipReader gives a clip's."""

    def __init__(self, path: str | Path):
        """Raises DriverError when there is no picture in it."""
        self.notes: tuple[str, ...] = ()  # what was wrong with the file
        durations: list[float] = []
        try:
            durations.extend(animation_durations_s(path))
        except SourceError as error:
            if not durations:
                raise DriverError(error.what, *error.remedies) from error
            self.notes = (f"{error} Its first {len(durations)} pictures are played.",)
        durations_s = np.array(durations)
        times_s = np.concatenate([[0.0], np.cumsum(durations_s)[:-1]])
        self.rate: Fraction = frame_times.nominal_rate(times_s)
        self._places = frame_times.frame_places(times_s, self.rate)
        self.length = frame_times.count_places(self._places, times_s, durations_s, self.rate)
        self._frames = animation_frames(path)
        self._next = 0  # number of the next frame

    def read(self) -> ClipFrame | None:
        """The next frame; None after the last that can be read."""
        if self._next == len(self._places):
            return None
        frame = ClipFrame(next(self._frames), self._next, int(self._places[self._next]))
        self._next += 1
        return frame

    def close(self) -> None:
        self._frames.close()
