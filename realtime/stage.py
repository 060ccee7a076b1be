"""The puppet's side of a frame's life: what it is told -> a picture. For one thread."""

from dataclasses import replace

import numpy as np

from engines.expression import ESTIMATED
from realtime.frame import Picture, Told
from realtime.idle import Idle
from realtime.overlay import Badge
from realtime.presence import Presence
from realtime.puppet import Puppet
from realtime.retarget import Retarget
from realtime.script import CurveWriter
from realtime.timing import Timings


class Stage:
    """A puppet that knows what it was told last."""

    def __init__(
        self, puppet: Puppet, retarget: Retarget, timings: Timings, record: CurveWriter | None = None, badge: Badge | None = None
    ):  # fmt: skip
        """record: where what is told goes; badge: the mark on every picture."""
        self.puppet, self.badge, self.retarget = puppet, badge, retarget
        self.still = badge.draw(puppet.still.copy()) if badge else puppet.still
        self._timings, self._record = timings, record
        self._presence, self._idle = Presence(), Idle(retarget.settings.seed)
        self.seen = False  # whether the driver's face was ever in view
        self._aus: np.ndarray | None = None  # of the picture that was drawn last
        self._picture = Picture(self.still, 0.0)

    @property
    def note(self) -> str:
        """What is wrong with the words of the driver, in two of them; "" where nothing is."""
        return self._presence.note

    def show(self, told: Told | None, now_s: float) -> Picture:
        """The newest word of the driver, or None when there is none -> the picture for now_s; the same one while nothing changes."""
        shown = self._presence.at(told, now_s)
        self.seen = self.seen or shown is not None
        if self.retarget.settings.idle:
            shown = self._idle.over(shown, now_s)
        if self._record:
            self._record.add(np.zeros(len(ESTIMATED)) if shown is None else shown.expression, now_s)
        if shown is None:  # nobody was seen yet
            return self._picture
        aus = self.retarget(shown.expression)
        if self._aus is None or not np.array_equal(aus, self._aus):
            with self._timings.measure("render"):
                self._picture = Picture(self._marked(self.puppet.render(aus)), shown.captured_s)
            self._aus = aus
        elif told is not None:
            self._picture = replace(self._picture, captured_s=shown.captured_s)
        return self._picture

    def rest(self, now_s: float) -> Picture:
        """The still photo, whatever the driver does; after that his expression comes back by easing in."""
        if self._record:
            self._record.add(np.zeros(len(ESTIMATED)), now_s)
        if self._picture.image is not self.still:
            self._picture, self._aus = Picture(self.still, now_s), None
        self._presence = Presence(shown=0.0)
        return self._picture

    def _marked(self, image: np.ndarray) -> np.ndarray:
        return self.badge.draw(image) if self.badge else image
