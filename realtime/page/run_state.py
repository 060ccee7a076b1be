"""What a page shows of a live run, as JSON: figures, the driver's face, what is wrong, settings, photos."""

import logging
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from engines.face.action_units import EXPRESSION, MEANING
from realtime.process.log import LOG, RepeatFilter
from realtime.session import photo_shelf
from realtime.session.hud import PuppetTracker, change_from_still
from realtime.session.live_run import LiveRun
from realtime.session.photo_switcher import PhotoSwitcher, ShelfPhoto

KEPT_SENTENCES = 60
DELAY = "capture to output"  # a series of Timings
AUS = [{"name": au, "meaning": MEANING[au]} for au in EXPRESSION]


class Sentences(logging.Handler):
    """The last sentences of the log, each with a number. Use as a context manager."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.addFilter(RepeatFilter())
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT_SENTENCES)
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self._count += 1
        is_warning = record.levelno >= logging.WARNING
        self._kept.append({"number": self._count, "warning": is_warning, "text": record.getMessage()})

    def after(self, number: int) -> list[dict[str, Any]]:
        """Those of a higher number, oldest first."""
        return [each for each in tuple(self._kept) if each["number"] > number]

    def __enter__(self) -> "Sentences":
        LOG.addHandler(self)
        return self

    def __exit__(self, *_exc: object) -> None:
        LOG.removeHandler(self)


def figures(run: LiveRun) -> dict[str, Any]:
    """The rate in pictures a second and the delay in milliseconds, lately."""
    loop, timings = run.loop, run.timings
    return {
        "rate": round(loop.rate.per_second(time.perf_counter()), 1),
        "delay_ms": round(timings.lately(DELAY) * 1000, 1),
        "delay_p95_ms": round(timings.lately(DELAY, percentile=95) * 1000, 1),
        "dropped": sum(loop.dropped.values()),
        "engine": run.engine,
    }


def driver(run: LiveRun) -> dict[str, Any]:
    """Who drives, and how well their face is seen."""
    drivers = run.drivers
    return {
        "chosen": drivers.chosen.name or ", ".join(map(_short, drivers.chosen.drivers)),
        "ended": drivers.ended,
        "opening": drivers.opening,
        "fault": drivers.fault,
        "face": _face(run),
        "well": bool(drivers.chosen.drivers and not drivers.fault and run.loop.animator.seen)
        and not (run.loop.animator.note or drivers.notes),
    }


def _face(run: LiveRun) -> str:
    """In a few words."""
    if not run.drivers.has_face:
        return "not needed: a performance"
    return run.loop.animator.note or ("in view" if run.loop.animator.seen else "not seen yet")


def badge(run: LiveRun) -> list[float] | None:
    """Where the mark is on the pictures: left, top, right, bottom as shares of their sides; None: nowhere."""
    found = run.loop.animator.badge
    if found is None:
        return None
    width, height = run.loop.animator.puppet.size
    rows, columns = found.box
    return [columns.start / width, rows.start / height, columns.stop / width, rows.stop / height]


def settings(run: LiveRun) -> dict[str, Any]:
    found = run.loop.animator.settings
    return {
        "strength": found.strength,
        "head": found.head,
        "gaze": found.gaze,
        "idle": found.idle,
        "symmetric": found.symmetric,
        "groups": list(found.groups),
        "gains": {au: found.aus[au]["gain"] for au in found.aus if "gain" in found.aus[au]},
    }


def photos(switcher: PhotoSwitcher) -> dict[str, Any]:
    return {
        "shown": switcher.shown.number,
        "busy": switcher.busy,
        "shelf": [_photo(switcher, photo) for photo in switcher.photos],
    }


def _photo(switcher: PhotoSwitcher, photo: ShelfPhoto) -> dict[str, Any]:
    return {
        "number": photo.number,
        "name": photo_shelf.called(photo.path),
        "answered": photo.answered,
        "ready": switcher.is_ready(photo),
        "fault": photo.fault,
    }


class Bars:
    """AU by AU what the driver does, what is asked, and what the puppet's own picture shows."""

    def __init__(self, face_model: Path | None):
        self._tracker = PuppetTracker(face_model)

    def __call__(self, run: LiveRun) -> dict[str, list[float] | None]:
        """Three lists in the order of AUS, -1 to 1; the puppet is tracked while this is called."""
        animator = run.loop.animator
        self._tracker.offer(run.loop.shown)
        reading = self._tracker.reading
        shown = None if reading is None else change_from_still(reading, animator.puppet.own)
        return {
            "driver": _rounded(animator.asked),
            "asked": _rounded(animator.target),
            "shown": None if shown is None else _rounded(shown),
        }

    def close(self) -> None:
        self._tracker.__exit__()


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


def _short(text: str) -> str:
    """A value of --driver without the folders of its path."""
    return text if text.startswith("/dev/") else text.replace("\\", "/").rpartition("/")[2]
