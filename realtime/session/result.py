"""How a run ended: what is said of it, and signed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from realtime.output.live_recording import LiveRecording
from realtime.output.outputs import Output, VideoFile
from realtime.output.signatures import sign
from realtime.process.log import say
from realtime.process.shutdown import ShutdownHandler
from realtime.session.config import SessionConfig


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    status: int  # exit status
    pictures: int  # that were drawn or sent
    outputs: list[Output]  # to be reported once they are closed
    recordings: Sequence[LiveRecording] = ()  # to be signed once they are closed


def finish(config: SessionConfig, result: Result, shutdown: ShutdownHandler) -> None:
    """Says what was written, and signs it: all devices are closed."""
    shutdown.released()
    _report(config, result.outputs)
    for recording in result.recordings:  # not before: a long one takes seconds
        if recording.whole:
            sign(Path(recording.name))


def _report(config: SessionConfig, outputs: Iterable[Output]) -> None:
    """Says which files were written."""
    for output in outputs:
        if isinstance(output, VideoFile | LiveRecording) and output.frames:
            say(f"wrote {output.written}")
    if config.record:
        say(f"wrote {config.record}: the AU curve that drove the puppet")
    if config.sheet:
        say(f"wrote {config.sheet}: a contact sheet")
