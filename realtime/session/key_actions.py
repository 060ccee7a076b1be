"""What keys do to a live run besides its switches: stronger, groups, another photo, a recording. For the main thread."""

import time
from collections.abc import Callable
from functools import partial

from engines.errors import OutputError
from engines.face.action_units import GROUPS
from realtime.output.outputs import Output
from realtime.process.log import answer, say
from realtime.puppet.animator import Animator
from realtime.puppet.settings import STRENGTH, Settings
from realtime.session.live_loop import LiveLoop
from realtime.session.photo_switcher import PhotoSwitcher
from realtime.tracking.expression_tracker import ExpressionTracker

STRENGTH_STEP = 0.1


class KeyActions:
    """Acts on a loop and its stage; `actions` are for Controls."""

    def __init__(
        self,
        loop: LiveLoop,
        stage: Animator,
        performer: ExpressionTracker | None,
        album: PhotoSwitcher,
        open_recording: Callable[[str], Output],
    ):
        """performer: None where a curve drives; open_recording: a file's name -> an output."""
        self._loop, self._stage, self._performer, self._album, self._open = (
            loop,
            stage,
            performer,
            album,
            open_recording,
        )
        self._recording: Output | None = None

    def actions(self) -> dict[str, Callable[[], None]]:
        """By the names of controls.KEYS."""
        acts = {
            "stronger": partial(self._change_strength, STRENGTH_STEP),
            "weaker": partial(self._change_strength, -STRENGTH_STEP),
            "next photo": self._album.next,
            "record": self._record,
            **{group: partial(self._toggle, group) for group in GROUPS},
        }
        if self._performer and self._performer.has_rest:  # a picture has none that could be learnt
            acts["recalibrate"] = self._recalibrate
        return acts

    def close(self) -> None:
        """Finishes a recording."""
        self._album.close()
        if self._recording:
            self._finish()

    def _change_strength(self, step: float) -> None:
        def change(settings: Settings) -> Settings:
            strength = min(STRENGTH[1], max(STRENGTH[0], round(settings.strength + step, 2)))
            return settings.with_flags(strength=strength)

        self._stage.change_settings(change)

    def _toggle(self, group: str) -> None:
        def change(settings: Settings) -> Settings:
            groups = tuple(g for g in GROUPS if (g in settings.groups) != (g == group))
            return settings.with_flags(groups=groups)

        self._stage.change_settings(change)

    def _recalibrate(self) -> None:
        self._performer.recalibrate()
        answer("Look straight and at rest for a second.")

    def _record(self) -> None:
        if self._recording:
            return self._finish()
        try:
            self._recording = self._open(time.strftime("puppet-%Y%m%d-%H%M%S.mp4"))
        except OutputError as error:
            return say(str(error))
        self._loop.add(self._recording)
        answer(f"Recording into {self._recording.name}; r ends it.")

    def _finish(self) -> None:
        recording, self._recording = self._recording, None
        self._loop.remove(recording)
        try:
            recording.close()
        except OutputError as error:  # the call goes on
            return say(str(error))
        say(f"wrote {recording.written}")
