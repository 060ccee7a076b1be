"""The outputs of a live run, and the sound that its files get."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from engines.errors import OutputError
from realtime.audio.microphone import Microphone
from realtime.output.live_recording import LiveRecording
from realtime.output.outputs import VIDEO_SUFFIXES, Output, open_output
from realtime.process.log import say
from realtime.session.config import SessionConfig
from realtime.timing import Timings

LIVE_SIZE = (1280, 720)  # what call programs ask a camera for
NO_LIVE_FILE = (
    "--sound is recorded beside live pictures: drive with a camera, and name a file with --output FILE.mp4."
)


def open_live_output(
    name: str, size: tuple[int, int], fps: float, sound: Microphone | None, timings: Timings
) -> Output:
    """An output of a live run; in a file the sound is as late as the pictures are. Raises OutputError."""
    return open_output(name, size, fps, True, say, sound, lambda: timings.lately("capture to output"))


def open_live_recording(
    path: str, size: tuple[int, int], fps: float, sound: Microphone | None, timings: Timings
) -> LiveRecording:
    """The same for a file that a key starts. Raises OutputError."""
    return LiveRecording(path, size, fps, sound, lambda: timings.lately("capture to output"), say)


def open_sound(config: SessionConfig, names: Sequence[str], stack: ExitStack) -> Microphone | None:
    """The microphone, where one is asked for.

    Raises DriverError, and OutputError where no file would take its sound.
    """
    if not config.sound:
        return None
    if not any(Path(name).suffix.lower() in VIDEO_SUFFIXES for name in names):
        raise OutputError(NO_LIVE_FILE)
    sound = Microphone(config.sound, say)
    stack.callback(sound.close)
    return sound
