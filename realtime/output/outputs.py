"""Where the puppet's pictures go: virtual camera, window, video file. Pictures in, nothing back.

An output is opened before the first frame, so that a missing device is told at once, takes pictures of one size, and is
closed whatever happens. `main_thread` marks those that a system lets only the main thread touch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from engines.errors import OutputError
from realtime.audio.microphone import Microphone
from realtime.output.live_recording import LiveRecording
from realtime.output.reconnecting_virtual_camera import ReconnectingVirtualCamera
from realtime.output.video_file import VIDEO_SUFFIXES, VideoFile
from realtime.output.virtual_camera import VirtualCamera
from realtime.output.window import Window


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
    text: str,
    size: tuple[int, int],
    fps: float,
    live: bool = False,
    say: Callable[[str], None] = lambda _sentence: None,
    sound: Microphone | None = None,
    delay_s: Callable[[], float] = lambda: 0.0,
) -> Output:
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
