"""What the preview tells of a live run: figures, what is wrong, and AU by AU the closed loop: what the driver does, what the puppet
is told, and what its own picture shows. All three are changes from rest, 0 to 1, of the paper's 17 AUs.
"""

import threading
import time
from collections.abc import Sequence

import cv2
import numpy as np

from engines.face import au_estimator
from engines.face.action_units import GROUPS, PAPER_17
from engines.face.landmarks import FaceReader
from realtime.latest_value import Latest
from realtime.messages import RenderedFrame
from realtime.overlay import SHADE, WHITE, write, write_lines
from realtime.session.live_loop import LiveLoop
from realtime.timing import Timings

LOOKS_A_SECOND = 4.0  # at the puppet: enough for the eye, 3 % of a core
REFRESH_S = 0.5  # of the figures: percentiles over thousands of samples cost a millisecond
LEAVE_S = 1.0
COLOURS = {"driver": (235, 180, 90), "told": (90, 200, 255), "shown": (130, 220, 120)}  # BGR
WIDTH_SHARE = 0.2  # of the picture's, for the bars
TOP_SHARE, ROWS_SHARE = 0.08, 0.84  # of its height: between the badge and the figures
SMALLEST_ROW_PX = 9  # a preview that is smaller has no room for bars


class Remeasured:
    """Tracks the puppet's own pictures, a few a second, in a thread of its own. Use as a context manager."""

    def __init__(self) -> None:
        self.aus: np.ndarray | None = (
            None  # (29,) 0..1 as last seen; None while no face is found in the picture
        )
        self._pictures: Latest[RenderedFrame] = Latest()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._work, name="puppet's own face", daemon=True)

    def __enter__(self) -> "Remeasured":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._leaving.set()
        self._pictures.close()
        self._thread.join(LEAVE_S)

    def look(self, picture: RenderedFrame) -> None:
        """Offers a picture; never waits."""
        self._pictures.put(picture)

    def _work(self) -> None:
        with FaceReader(video=True) as reader:
            while not self._leaving.wait(1 / LOOKS_A_SECOND):
                if picture := self._pictures.take(1 / LOOKS_A_SECOND):
                    face = reader.follow(picture.image, time.perf_counter())
                    self.aus = None if face is None else au_estimator.estimate(face)


class LiveFigures:
    """What a preview and a log tell of a live run: a line of figures, and one of what is not as it should be (true)."""

    def __init__(self, loop: LiveLoop, timings: Timings, engine: str):
        self._loop, self._timings, self._engine = loop, timings, engine
        self._line, self._line_s = "", -REFRESH_S

    def __call__(self) -> list[tuple[str, bool]]:
        now_s = time.perf_counter()
        if now_s - self._line_s >= REFRESH_S:
            self._line, self._line_s = self._figures(now_s), now_s
        how = self._loop.stage.settings
        off = [f"{group} off" for group in GROUPS if group not in how.groups]
        notes = [*self._loop.notes, *([f"strength {how.strength:.0%}"] if how.strength != 1 else []), *off]
        return [(self._line, False), *([(", ".join(notes), True)] if notes else [])]

    def _figures(self, now_s: float) -> str:
        known = self._timings.summary()
        parts = [f"{self._loop.rate.per_second(now_s):.0f} new pictures a second"]
        for name, said in (("capture to output", "camera to output"), ("output clock late", "clock late")):
            if name in known:
                parts.append(f"{said} {known[name]['p50_ms']:.0f} ms (95 % {known[name]['p95_ms']:.0f})")
        return ", ".join([*parts, f"dropped {sum(self._loop.dropped.values())}", self._engine])


class Hud:
    """Everything that is written over the preview."""

    def __init__(self, figures: LiveFigures, loop: LiveLoop, again: Remeasured):
        self._figures, self._loop, self._again = figures, loop, again

    def __call__(self, image: np.ndarray) -> None:
        """Writes it over a (H, W, 3) picture, in place."""
        stage, measured = self._loop.stage, self._again.aus
        self._again.look(self._loop.shown)
        write_lines(image, self._figures())
        draw_bars(
            image, (stage.asked, stage.told, None if measured is None else measured - stage.puppet.own_aus)
        )


def draw_bars(image: np.ndarray, changes: Sequence[np.ndarray | None]) -> None:
    """Three bars an AU along the right edge, in place: (29,) changes of driver, told and shown; None leaves a bar out."""
    height, width = image.shape[:2]
    pitch = round(height * ROWS_SHARE) // (len(PAPER_17) + 1)
    if pitch < SMALLEST_ROW_PX:
        return
    panel_px, letters, top = round(width * WIDTH_SHARE), max(8, pitch * 5 // 9), round(height * TOP_SHARE)
    left = width - panel_px
    panel = image[top : top + pitch * (len(PAPER_17) + 1), left:]
    panel[:] = (panel * SHADE).astype(np.uint8)
    start = left + letters * 4
    room = width - letters - start
    for number, (name, colour) in enumerate(COLOURS.items()):
        write(image, name, (left + letters // 2 + number * panel_px // 3, top + letters), letters, colour)
    values = [None if change is None else au_estimator.paper_17(change) for change in changes]
    for row, au in enumerate(PAPER_17):
        y = top + pitch * (row + 1)
        write(image, au, (left + letters // 2, y + letters), letters, WHITE)
        for bar, (colour, value) in enumerate(zip(COLOURS.values(), values, strict=True)):
            if value is not None:
                above = y + pitch // 8 + bar * pitch // 4
                end = start + round(room * float(np.clip(value[row], 0, 1)))
                cv2.rectangle(image, (start, above), (end, above + max(1, pitch // 5)), colour, -1)
