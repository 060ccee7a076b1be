"""What a live run offers to whatever else plays it than keys: the page. Everything that keys do goes through
the same objects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from realtime.controls import Controls
from realtime.output.outputs import Output
from realtime.session.config import SessionConfig
from realtime.session.driver_switcher import DriverSwitcher
from realtime.session.key_actions import KeyActions
from realtime.session.live_loop import LiveLoop
from realtime.session.live_sound import LiveSound
from realtime.session.output_switcher import OutputSwitcher
from realtime.session.performance_library import PerformanceLibrary, PerformanceRecorder
from realtime.session.photo_switcher import PhotoSwitcher
from realtime.timing import Timings


@dataclass(frozen=True)
class LiveRun:
    """The parts of a live run that can be acted upon, or looked at."""

    config: SessionConfig
    loop: LiveLoop
    controls: Controls
    key_actions: KeyActions
    photos: PhotoSwitcher
    drivers: DriverSwitcher
    outputs: OutputSwitcher
    sound: LiveSound
    performances: PerformanceLibrary
    recorder: PerformanceRecorder
    timings: Timings
    engine: str  # the name of what draws

    @classmethod
    def of(
        cls,
        config: SessionConfig,
        loop: LiveLoop,
        key_actions: KeyActions,
        photos: PhotoSwitcher,
        drivers: DriverSwitcher,
        sound: LiveSound,
        engine: str,
        open_output: Callable[[str], Output],
        opened: Mapping[str, Output],
        say: Callable[[str], None],
    ) -> "LiveRun":
        """A loop and what acts upon it, with what else a page needs.

        Args:
            key_actions, photos: closed by whoever opened them.
            sound: closed with this.
            open_output, opened, say: as OutputSwitcher's.
        """
        library = PerformanceLibrary()
        return cls(
            config=config,
            loop=loop,
            controls=loop.controls,
            key_actions=key_actions,
            photos=photos,
            drivers=drivers,
            outputs=OutputSwitcher(loop.outputs, open_output, opened, say),
            sound=sound,
            performances=library,
            recorder=PerformanceRecorder(loop.animator, library, say),
            timings=loop.timings,
            engine=engine,
        )

    def close(self) -> None:
        """Ends what was begun on the page. Raises OutputError where a recording ended early."""
        try:
            self.recorder.stop()
        finally:
            self.outputs.close()
            self.sound.close()


class RunPage(Protocol):
    """A page beside a live run. All but `attach` and `turn` is for any thread."""

    @property
    def view(self) -> Output:
        """Gets every picture that goes out."""
        ...

    def attach(self, run: LiveRun) -> None:
        """From now on the page shows this run, and acts on it."""
        ...

    def turn(self) -> None:
        """On the main thread, many times a second: does what was asked for on the page."""
        ...

    def detach(self) -> None:
        """The run ends: nothing is shown or done any more."""
        ...
