"""What the preview and the log show of a live run.

Figures, what is wrong, and AU by AU the closed loop: what the driver does, what is asked of the puppet, and
what its own picture shows. All three are changes from rest: of the paper's 17 AUs, 0 to 1; and of the head's
turn and nod and the eyes' look aside, -1 to 1 from the middle: the person's left and up are on the right.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from engines.face import au_estimator
from engines.face.action_units import GROUPS, PAPER_17, WIDE, from_opposites, opposites
from engines.face.landmarks import FaceReader
from realtime.latest_value import Latest
from realtime.messages import RenderedFrame
from realtime.overlay import SHADE, WHITE, write, write_lines
from realtime.process.worker import Worker
from realtime.session.live_loop import LiveLoop
from realtime.timing import Timings

LOOKS_PER_SECOND = 4.0  # at the puppet: enough for the eye, 3 % of a core
UNUSED_S = 2.0  # without a picture, after which the second tracker is closed: the bars are hidden
REFRESH_S = 0.5  # of the figures: percentiles over thousands of samples cost a millisecond
LEAVE_S = 1.0
COLOURS = {"driver": (235, 180, 90), "target": (90, 200, 255), "shown": (130, 220, 120)}  # BGR
WIDTH_SHARE = 0.2  # of the picture's, for the bars
TOP_SHARE = 0.08  # of its height: below the badge
ROWS_SHARE = 0.84  # of its height: above the figures
# Rows of signed bars: the name, and its place in action_units.opposites.
SIGNED_ROWS = (("turn", 0), ("nod", 1), ("look", 4))
SMALLEST_ROW_PX = 9  # a preview that is smaller has no room for bars


class PuppetTracker:
    """Tracks the puppet's own pictures, a few a second, in a thread that runs while pictures are offered."""

    def __init__(self, face_model: Path | None = None):
        """face_model: as in FaceReader."""
        self._face_model = face_model
        # (41,) as au_estimator.read gives it, of the last picture; None without a face in it
        self.reading: np.ndarray | None = None
        self._pictures: Latest[RenderedFrame] = Latest()
        self._worker = Worker(self._track, "puppet's own face")

    def __enter__(self) -> "PuppetTracker":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._pictures.close()
        self._worker.close(LEAVE_S)

    def offer(self, picture: RenderedFrame) -> None:
        """A picture to be tracked; never waits.

        The first one, and the first after a pause, starts the thread.
        """
        self._pictures.put(picture)
        if not self._worker.stopping:
            self._worker.start()

    def _track(self) -> None:
        with FaceReader(video=True, model=self._face_model) as reader:
            while not self._worker.wait(1 / LOOKS_PER_SECOND):
                picture = self._pictures.take(UNUSED_S)
                if picture is None:
                    break
                face = reader.follow(picture.image, time.perf_counter())
                self.reading = None if face is None else au_estimator.read(face)
        self.reading = None


class LiveFigures:
    """A line of figures of a live run, and a line of what is not as it should be (True)."""

    def __init__(self, loop: LiveLoop, timings: Timings, engine: str):
        """engine: the name of what draws."""
        self._loop = loop
        self._timings = timings
        self._engine = engine
        self._line = ""
        self._line_s = -REFRESH_S  # when it was made

    def __call__(self) -> list[tuple[str, bool]]:
        now_s = time.perf_counter()
        if now_s - self._line_s >= REFRESH_S:
            self._line, self._line_s = self._figures(now_s), now_s
        settings = self._loop.animator.settings
        notes = list(self._loop.notes)
        if settings.strength != 1:
            notes.append(f"strength {settings.strength:.0%}")
        notes += [f"{group} off" for group in GROUPS if group not in settings.groups]
        return [(self._line, False), *([(", ".join(notes), True)] if notes else [])]

    def _figures(self, now_s: float) -> str:
        known = self._timings.summary()
        parts = [f"{self._loop.rate.per_second(now_s):.0f} new pictures a second"]
        for series, label in (("capture to output", "camera to output"), ("output clock late", "clock late")):
            if series in known:
                figures = known[series]
                parts.append(f"{label} {figures['p50_ms']:.0f} ms (95 % {figures['p95_ms']:.0f})")
        return ", ".join([*parts, f"dropped {sum(self._loop.dropped.values())}", self._engine])


class Hud:
    """Everything that is written over the preview."""

    def __init__(self, figures: LiveFigures, loop: LiveLoop, puppet_tracker: PuppetTracker):
        self._figures = figures
        self._loop = loop
        self._puppet_tracker = puppet_tracker

    def __call__(self, image: np.ndarray) -> None:
        """Writes it over a (H, W, 3) picture, in place."""
        write_lines(image, self._figures())
        if not has_room_for_bars(image):
            return
        self._puppet_tracker.offer(self._loop.shown)
        animator, reading = self._loop.animator, self._puppet_tracker.reading
        shown = None if reading is None else change_from_still(reading, animator.puppet.own)
        draw_bars(image, (animator.asked, animator.target, shown))


def change_from_still(reading: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(41,) readings of the puppet's picture and of the still photo -> the change, (41,) in the order of
    EXPRESSION.
    """
    pose = from_opposites(opposites(reading) - opposites(own))
    return np.concatenate([(reading - own)[: len(WIDE)], pose])


def has_room_for_bars(image: np.ndarray) -> bool:
    """Whether the bars of `draw_bars` can be read on a picture of this size."""
    return _row_height_px(image) >= SMALLEST_ROW_PX


def _row_height_px(image: np.ndarray) -> int:
    return round(image.shape[0] * ROWS_SHARE) // (len(PAPER_17) + len(SIGNED_ROWS) + 1)  # one for names


def draw_bars(image: np.ndarray, changes: Sequence[np.ndarray | None]) -> None:
    """Draws three bars for each AU, for turn, nod and look along the right edge, in place, where there is
    room.

    Args:
        image: (H, W, 3) uint8 BGR.
        changes: (41,) of the driver, of what is asked of the puppet, and of what it shows; None: no bars.
    """
    if not has_room_for_bars(image):
        return
    height, width = image.shape[:2]
    pitch = _row_height_px(image)
    panel_px = round(width * WIDTH_SHARE)
    letters = max(8, pitch * 5 // 9)
    top = round(height * TOP_SHARE)
    left = width - panel_px
    panel = image[top : top + pitch * (len(PAPER_17) + len(SIGNED_ROWS) + 1), left:]
    panel[:] = (panel * SHADE).astype(np.uint8)
    start = left + letters * 4
    room = width - letters - start
    for number, (name, colour) in enumerate(COLOURS.items()):
        write(image, name, (left + letters // 2 + number * panel_px // 3, top + letters), letters, colour)
    names = [*PAPER_17, *(name for name, _ in SIGNED_ROWS)]
    bars = [None if change is None else _ends(change) for change in changes]
    for row, name in enumerate(names):
        y = top + pitch * (row + 1)
        write(image, name, (left + letters // 2, y + letters), letters, WHITE)
        for bar, (colour, ends) in enumerate(zip(COLOURS.values(), bars, strict=True)):
            if ends is not None:
                above = y + pitch // 8 + bar * pitch // 4
                first, last = (start + round(room * float(end)) for end in ends[row])
                cv2.rectangle(image, (first, above), (last, above + max(1, pitch // 5)), colour, -1)


def _ends(change: np.ndarray) -> np.ndarray:
    """(41,) change -> where the bar of each row begins and ends, (rows, 2), shares of the room."""
    plain = np.clip(au_estimator.paper_17(change), 0, 1)
    signed = 0.5 + 0.5 * np.clip(opposites(change)[[place for _, place in SIGNED_ROWS]], -1, 1)
    first = np.concatenate([np.zeros_like(plain), np.minimum(signed, 0.5)])
    return np.stack([first, np.concatenate([plain, np.maximum(signed, 0.5)])], axis=1)
