"""From what the driver does to a picture of the puppet, by way of tracking losses and idle life.

For one thread.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from engines.face.action_units import EXPRESSION, WIDE, translate
from realtime.messages import DriverExpression, RenderedFrame
from realtime.overlay import Badge, slate
from realtime.performance.curve_writer import CurveWriter
from realtime.puppet.eyes import Gaze
from realtime.puppet.head import HeadPose
from realtime.puppet.idle_motion import IdleMotion
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.puppet.settings import Settings
from realtime.puppet.tracking_loss import TrackingLossFallback
from realtime.timing import Timings

PHOTO_FADE_S = 0.2  # from one photo to another: short, as two faces at once are nobody's


class Animator:
    """Draws a puppet for each moment from what its driver does."""

    _drawn: tuple[bytes, HeadPose, Gaze] | None  # AUs, pose and gaze of the picture that was drawn last
    _shown: np.ndarray  # (41,) what it was drawn of
    _picture: RenderedFrame

    def __init__(
        self,
        puppet: Puppet,
        retarget: Retarget,
        timings: Timings,
        record: CurveWriter | None = None,
        badge: Badge | None = None,
        followers: Sequence[Callable[[np.ndarray], None]] = (),
    ):
        """record: where every expression that is asked for goes; badge: the mark on every picture.

        followers: called with the same expressions, (41,); they must not wait.
        """
        self.badge, self._timings, self._record, self._followers = badge, timings, record, followers
        self._next: Puppet | None = None
        self._fade: tuple[np.ndarray, float] | None = None  # the picture of the photo before, and since when
        self._settings_lock = threading.Lock()  # held while the settings or the retargeting of a photo change
        self._take(puppet, retarget, 0.0)
        self._fallback = TrackingLossFallback()
        self._idle = IdleMotion(retarget.settings.seed)
        # Another recording, begun and ended at any time: gets each expression (41,) and its time.
        self.recorder: Callable[[np.ndarray, float], None] | None = None
        self.seen = False  # whether the driver's face was ever in view
        self.asked = np.zeros(len(EXPRESSION), np.float32)  # (41,) what the driver did last

    @property
    def note(self) -> str:
        """What is wrong with the driver's tracking, in two words; "" where nothing is."""
        return self._fallback.note

    def show(self, driver: DriverExpression | None, now_s: float) -> RenderedFrame:
        """The picture for a moment; the same object while nothing changes.

        Args:
            driver: their newest expression; None when there is none since the last call.
            now_s: the moment; never earlier than the last one.
        """
        self._change_photo(now_s)
        if driver is not None:
            self.asked = driver.expression
        shown = self._fallback.at(driver, now_s)
        self.seen = self.seen or shown is not None
        if self.settings.idle:
            shown = self._idle.over(shown, now_s)
        self._pass_on(np.zeros(len(EXPRESSION), np.float32) if shown is None else shown.expression, now_s)
        if shown is None:  # nobody was seen yet
            return self._faded(self._picture, now_s)
        retarget = self.retarget  # another thread may replace its settings meanwhile
        aus = retarget(shown.expression)
        pose, gaze = retarget.pose(shown.expression), retarget.gaze(shown.expression)
        asked = aus.tobytes(), pose, gaze
        if asked != self._drawn:
            with self._timings.measure("render"):
                image = self.puppet.render(aus, pose, gaze)
                self._picture = RenderedFrame(self._marked(image), shown.captured_s)
            self._drawn, self._shown = asked, shown.expression
        elif driver is not None:
            self._picture = replace(self._picture, captured_s=shown.captured_s)
        return self._faded(self._picture, now_s)

    def rest(self, now_s: float) -> RenderedFrame:
        """The still photo, whatever the driver does; after that their expression comes back by easing in."""
        self._change_photo(now_s)
        self._fade = None
        self._pass_on(np.zeros(len(EXPRESSION), np.float32), now_s)
        if self._picture.image is not self.still:
            self._picture, self._drawn = RenderedFrame(self.still, 0.0), None
        self._fallback = TrackingLossFallback(shown=0.0)
        return self._picture

    def discard_recording(self) -> None:
        """Throws away what was recorded of this run."""
        if self._record:
            self._record.discard()

    def change(self, puppet: Puppet) -> None:
        """Another photo from the next picture on, into which the one before fades; it has the same size.

        For any thread.
        """
        self._next = puppet

    @property
    def settings(self) -> Settings:
        """The settings in use. For any thread."""
        return self.retarget.settings

    def change_settings(self, change: Callable[[Settings], Settings]) -> None:
        """Replaces the settings by what `change` makes of the present ones, from the next picture on.

        Atomic and for any thread: neither another change nor a photo that is replaced meanwhile is lost.
        """
        with self._settings_lock:
            self.retarget.settings = change(self.retarget.settings)

    @property
    def target(self) -> np.ndarray:
        """(41,) the change from the photo's own expression, pose and gaze that was asked for last."""
        change = self.retarget.wanted(self._shown) - self.retarget.own
        return np.concatenate(
            [translate(change, self.puppet.bundle.aus, WIDE), self.retarget.target_pose(self._shown)]
        )

    def _pass_on(self, expression: np.ndarray, now_s: float) -> None:
        """An expression (41,) to the recording, and to whatever follows it."""
        if self._record:
            self._record.add(expression, now_s)
        if recorder := self.recorder:
            recorder(expression, now_s)
        for follower in self._followers:
            follower(expression)

    def _change_photo(self, now_s: float) -> None:
        puppet, self._next = self._next, None
        if puppet:
            self._fade = self._picture.image, now_s
            with self._settings_lock:
                self._take(puppet, Retarget(puppet.bundle, puppet.own_aus, self.settings), now_s)

    def _faded(self, picture: RenderedFrame, now_s: float) -> RenderedFrame:
        """A picture on its way from that of the photo before; after PHOTO_FADE_S the picture itself."""
        if self._fade is None:
            return picture
        before, since_s = self._fade
        share = (now_s - since_s) / PHOTO_FADE_S
        if share >= 1:
            self._fade = None
            return picture
        return replace(picture, image=cv2.addWeighted(before, 1 - share, picture.image, share, 0))

    def _take(self, puppet: Puppet, retarget: Retarget, now_s: float) -> None:
        self.puppet, self.retarget = puppet, retarget
        self.still = self._marked(puppet.still.copy())
        self.slate = slate(puppet.still)
        self._drawn = None
        self._shown = np.zeros(len(EXPRESSION), np.float32)
        self._picture = RenderedFrame(self.still, now_s)

    def _marked(self, image: np.ndarray) -> np.ndarray:
        return self.badge.draw(image) if self.badge else image
