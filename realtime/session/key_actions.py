"""What keys do to a live run besides its switches: strength, groups, another photo, a recording.

For the main thread.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from engines.errors import OutputError
from engines.face.action_units import GROUPS
from realtime.output.live_recording import LiveRecording
from realtime.process.log import answer, say
from realtime.puppet.animator import Animator
from realtime.puppet.settings import STRENGTH, Settings
from realtime.session.output_fanout import OutputFanout
from realtime.session.photo_switcher import PhotoSwitcher

STRENGTH_STEP = 0.1


class Recalibrated(Protocol):
    """What follows a driver: an ExpressionTracker or a ReadingTracker."""

    @property
    def has_rest(self) -> bool:
        """Whether the driver has a resting face that could be learnt."""
        ...

    def recalibrate(self) -> None:
        """Learns it again."""
        ...


class KeyActions:
    """Acts on an animator and the outputs; `actions` are for Controls."""

    def __init__(
        self,
        animator: Animator,
        outputs: OutputFanout,
        tracker: Recalibrated | None,
        photo_switcher: PhotoSwitcher,
        open_recording: Callable[[str], LiveRecording],
    ):
        """
        Args:
            animator: whose settings keys change.
            outputs: get a recording.
            tracker: of the driver, None where a curve drives.
            photo_switcher: closed with this.
            open_recording: a file's name -> an output. Raises OutputError.
        """
        self._animator = animator
        self._outputs = outputs
        self._tracker = tracker
        self._photo_switcher = photo_switcher
        self._open_recording = open_recording
        self._recording: LiveRecording | None = None
        self.recordings: list[LiveRecording] = []  # all that were begun

    def actions(self) -> dict[str, Callable[[], None]]:
        """By the names of controls.KEYS."""
        actions: dict[str, Callable[[], None]] = {
            "stronger": partial(self._change_strength, STRENGTH_STEP),
            "weaker": partial(self._change_strength, -STRENGTH_STEP),
            "next photo": self._photo_switcher.next,
            "record": self._record,
            **{group: partial(self._toggle, group) for group in GROUPS},
        }
        if self._tracker and self._tracker.has_rest:  # a picture has none that could be learnt
            actions["recalibrate"] = partial(self._recalibrate, self._tracker)
        return actions

    @property
    def recording(self) -> LiveRecording | None:
        """What is being recorded into, begun by a key."""
        return self._recording

    def close(self) -> None:
        """Finishes a recording."""
        self._photo_switcher.close()
        if self._recording:
            self._finish(self._recording)

    def _change_strength(self, step: float) -> None:
        def change(settings: Settings) -> Settings:
            strength = min(STRENGTH[1], max(STRENGTH[0], round(settings.strength + step, 2)))
            return settings.with_flags(strength=strength)

        self._animator.change_settings(change)

    def _toggle(self, group: str) -> None:
        def change(settings: Settings) -> Settings:
            groups = tuple(g for g in GROUPS if (g in settings.groups) != (g == group))
            return settings.with_flags(groups=groups)

        self._animator.change_settings(change)

    @staticmethod
    def _recalibrate(tracker: Recalibrated) -> None:
        tracker.recalibrate()
        answer("Look straight and at rest for a second.")

    def _record(self) -> None:
        if self._recording:
            return self._finish(self._recording)
        try:
            self._recording = self._open_recording(time.strftime("puppet-%Y%m%d-%H%M%S.mp4"))
        except OutputError as error:
            return say(str(error))
        self._outputs.add(self._recording)
        self.recordings.append(self._recording)
        answer(f"Recording into {self._recording.name}; r ends it.")

    def _finish(self, recording: LiveRecording) -> None:
        self._recording = None
        self._outputs.remove(recording)
        try:
            recording.close()
        except OutputError as error:  # the call goes on
            return say(str(error))
        say(f"wrote {recording.written}")
