"""Where the puppet's pictures go: virtual camera, window, video file; and what drives it, to an avatar.

An output is opened before the first frame, so that a missing device is reported at once, takes pictures of
one size, and is closed whatever happens.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from engines.errors import OutputError
from realtime.audio.clip_sound import ClipSound
from realtime.audio.microphone import Microphone
from realtime.output.live_recording import LiveRecording
from realtime.output.reconnecting_virtual_camera import ReconnectingVirtualCamera
from realtime.output.video_file import VIDEO_SUFFIXES, VideoFile
from realtime.output.virtual_camera import VirtualCamera
from realtime.output.vmc_sender import VmcSender
from realtime.output.window import Window


class Output(Protocol):
    """A consumer of pictures."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def main_thread(self) -> bool:
        """Whether the operating system lets only the main thread use it."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the user closed it."""
        ...

    def send(self, image: np.ndarray, time_s: float) -> None:
        """Takes one picture.

        Args:
            image: (H, W, 3) uint8 BGR, of the size given at opening; not changed afterwards, as an output may
            keep it for a while.
            time_s: seconds since the output began; it rises.

        Raises: OutputError when the output takes no more.
        """
        ...

    def close(self) -> None: ...


class NullOutput:
    """An Output that drops its pictures: for benchmarks."""

    name = "none"
    main_thread = False
    closed = False

    def send(self, image: np.ndarray, time_s: float) -> None:
        pass

    def close(self) -> None:
        pass


def open_output(
    text: str,
    size: tuple[int, int],
    fps: float,
    live: bool = False,
    notify: Callable[[str], None] = lambda _sentence: None,
    sound: Microphone | None = None,
    delay_s: Callable[[], float] = lambda: 0.0,
    clip_sound: Callable[[], ClipSound | None] = lambda: None,
) -> Output:
    """Opens the output that a value of --output names: vcam, vcam:NAME, window, none, a video file, or
    vmc:HOST:PORT.

    Args:
        size: (width, height) in pixels.
        live: pictures come at their own time, and `send` must not wait.
        notify: called with one sentence for the user at each later change.
        sound, delay_s: of live files, see LiveRecording.
        clip_sound: opens the sound of files that are drawn frame by frame, for each of its own.

    Raises: OutputError.
    """
    kind, _, rest = text.partition(":")
    if kind == "vcam":
        device = rest or None
        if live:
            return ReconnectingVirtualCamera(lambda: VirtualCamera(size, fps, device), notify)
        return VirtualCamera(size, fps, device)
    if kind == "vmc":
        return VmcSender(text, notify)
    if text == "window":
        return Window(size)
    if text == "none":
        return NullOutput()
    if Path(text).suffix.lower() in VIDEO_SUFFIXES:
        if live:
            return LiveRecording(text, size, fps, sound, delay_s, notify)
        return VideoFile(text, size, fps, clip_sound())
    raise OutputError(
        f"--output {text} is none of vcam, window, none, FILE.mp4 (or .mov, .mkv) and vmc:HOST:PORT."
    )
