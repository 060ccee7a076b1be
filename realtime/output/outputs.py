"""Where the puppet's pictures go: virtual camera, window, video file. Pictures in, nothing back.

An output is opened before the first frame, so that a missing device is told at once, takes pictures of one size, and is
closed whatever happens. `main_thread` marks those that a system lets only the main thread touch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from engines.errors import OutputError
from realtime.audio.microphone import Microphone
from realtime.output.live_recording import LiveRecording
from realtime.output.reconnecting_virtual_camera import ReconnectingVirtualCamera
from realtime.output.video_file import VIDEO_SUFFIXES, VideoFile
from realtime.output.virtual_camera import VirtualCamera
from realtime.output.window import Window
from realtime.partial_file import check_writable

SHEET_SUFFIXES = {".png", ".jpg"}


class Output(Protocol):
    """A consumer of pictures."""

    name: str
    main_thread: bool
    closed: bool  # by the user

    def send(self, image: np.ndarray, time_s: float) -> None:
        """One (H, W, 3) uint8 BGR picture of the size given at opening, and its time in seconds since the output began; it rises.

        An output may keep the picture for a moment: it is not changed afterwards.
        """
        ...

    def close(self) -> None: ...


class NullOutput:
    """Takes pictures and forgets them: for benchmarks."""

    name, main_thread, closed = "none", False, False

    def send(self, image: np.ndarray, time_s: float) -> None:
        pass

    def close(self) -> None:
        pass


def open_output(
    text: str, size: tuple[int, int], fps: float, live: bool = False, say: Callable[[str], None] = lambda _sentence: None,
    sound: Microphone | None = None, delay_s: Callable[[], float] = lambda: 0.0,
) -> Output:  # fmt: skip
    """vcam, vcam:NAME, window, none or a video file. Raises OutputError.

    live: pictures come at their own time, and `send` must not wait. say is told what changes later, one sentence each. sound and
    delay_s belong to live files: see LiveRecording.
    """
    kind, _, rest = text.partition(":")
    if kind == "vcam":
        return (
            ReconnectingVirtualCamera(lambda: VirtualCamera(size, fps, rest or None), say)
            if live
            else VirtualCamera(size, fps, rest or None)
        )
    if text == "window":
        return Window(size)
    if text == "none":
        return NullOutput()
    if Path(text).suffix.lower() in VIDEO_SUFFIXES:
        return LiveRecording(text, size, fps, sound, delay_s, say) if live else VideoFile(text, size, fps)
    raise OutputError(f"--output {text} is none of vcam, window, none and FILE.mp4 (or .mov, .mkv).")


class ContactSheet:
    """An output that keeps a few pictures at even distances, for a look at a whole clip at once."""

    main_thread, closed = False, False

    def __init__(self, path: str | Path, expected: int, columns: int = 6, rows: int = 4, width_px: int = 240):
        if Path(path).suffix.lower() not in SHEET_SUFFIXES:
            raise OutputError(f"--sheet {path} is not a picture's name: end it with {' or '.join(sorted(SHEET_SUFFIXES))}.")
        check_writable(path, "--sheet")
        self.name, self._path = str(path), Path(path)
        self._columns, self._count, self._width, self._expected = columns, columns * rows, width_px, max(1, expected)
        self._number, self._kept = 0, []

    def send(self, image: np.ndarray, time_s: float) -> None:
        if len(self._kept) < self._count and self._number * self._count // self._expected >= len(self._kept):
            height = round(image.shape[0] * self._width / image.shape[1])
            self._kept.append(cv2.resize(image, (self._width, height), interpolation=cv2.INTER_AREA))
        self._number += 1

    def discard(self) -> None:
        """Makes `close` write nothing."""
        self._kept = []

    def close(self) -> None:
        if not self._kept:
            return
        blank = np.zeros_like(self._kept[0])
        cells = self._kept + [blank] * (-len(self._kept) % self._columns)
        sheet = np.vstack([np.hstack(cells[i : i + self._columns]) for i in range(0, len(cells), self._columns)])
        write_picture(self._path, sheet, "--sheet")


def write_picture(path: Path, picture: np.ndarray, option: str) -> None:
    """(H, W, 3) uint8 BGR into a file of the kind that its name says; `option`: where that came from. Raises OutputError."""
    encoded = cv2.imencode(path.suffix.lower(), picture)[1].tobytes()  # OpenCV's own files cannot have every name on Windows
    try:
        path.write_bytes(encoded)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): free some space or choose another {option}.") from error
