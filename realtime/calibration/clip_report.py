"""Clips of drivers, measured: how much of 0..1 each AU fills with a profile made of the clip, what is left at rest, which blinks are seen.

`run.py calibrate --report CLIPS` prints it. Blinks are compared with pictures in which somebody saw shut eyes, where those are given:
{"clip": [[first, last], ...]}, pictures counted from 0.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engines.errors import DriverError, SettingsError
from engines.face.action_units import WIDE
from engines.face.au_estimator import ESTIMATED, index
from realtime.calibration.profile_fit import of_clip
from realtime.calibration.pyfeat_recorder import PyFeatRecorder
from realtime.puppet.settings import DEAD_ZONE
from realtime.sources.clip import open_frames
from realtime.sources.frame_source import FileFrames
from realtime.timing import Timings
from realtime.tracking.driver_profile import Profile
from realtime.tracking.expression_tracker import ExpressionTracker
from realtime.tracking.neutral import Neutral
from realtime.tracking.resting_face import resting

REACH_PERCENTILE, REST_PERCENTILE = 99.0, 95.0
SHUT = 0.5  # of the puppet's AU45: its eyes are more shut than open
RISE, OPENED = 0.2, 0.6  # it has risen so far since it was lowest; it has fallen to this share of its height
SLACK = 2  # pictures by which eye and tracker may differ
Spans = list[tuple[int, int]]


def open_clip(path: str) -> FileFrames:
    """Raises DriverError."""
    driver = open_frames(path)
    if not driver.has_rest:
        raise DriverError(f"{path} is a picture: give a clip that shows you at rest and lively.")
    return driver


def readings_of(
    path: str,
    longest_s: float = 600.0,
    onlooker: PyFeatRecorder | None = None,
    face_model: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(T, 41) smoothed readings and (T,) times of the pictures of a clip in which the driver is believed. Raises DriverError.

    onlooker: is shown them too, and closed; that takes its time, so a bar tells.
    """
    readings, times_s, _ = _follow(path, Neutral.absent(), None, longest_s, onlooker, face_model)
    return readings, times_s


def _follow(
    path: str,
    neutral: Neutral | None,
    profile: Profile | None,
    longest_s: float,
    onlooker: PyFeatRecorder | None = None,
    face_model: Path | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a ExpressionTracker tells of a clip: (T, 41) changes, (T,) times, (T,) numbers of the pictures."""
    driver = open_clip(path)
    rows: list[tuple[np.ndarray, float, int]] = []
    try:
        with (
            ExpressionTracker(Timings(), neutral, onlooker, profile, face_model=face_model) as performer,
            tqdm(
                total=driver.length,
                unit="frame",
                desc=Path(path).name,
                leave=False,
                disable=None if onlooker else True,
            ) as bar,
        ):
            number = 0
            while (frame := driver.read()) is not None and frame.captured_s < longest_s:
                told = performer(frame)
                if told.seen:
                    rows.append((told.expression, frame.captured_s, number))
                number += 1
                bar.update()
    finally:
        driver.close()
    changes, times_s, numbers = zip(*rows, strict=True) if rows else ((), (), ())
    return (
        np.array(changes, np.float32).reshape(-1, len(ESTIMATED)),
        np.array(times_s),
        np.array(numbers, int),
    )


def blinks(lids: np.ndarray, numbers: Sequence[int]) -> Spans:
    """First and last picture of each time that AU45 (T,) goes up and comes down again: two blinks in a row are two."""
    found: Spans = []
    first, lowest, highest = None, 1.0, 0.0
    for value, number in zip(lids, numbers, strict=True):
        if first is None:
            lowest = min(lowest, float(value))
            if value >= SHUT and value - lowest >= RISE:
                first, highest = int(number), value
        else:
            highest = max(highest, value)
            if value < OPENED * highest:
                found.append((first, int(number) - 1))
                first, lowest = None, value
    return found if first is None else [*found, (first, int(numbers[-1]))]


def unmatched(spans: Spans, others: Spans) -> Spans:
    """Spans without a partner among others that touches them; each has one at most."""
    left, alone = list(others), []
    for span in spans:
        partner = next(
            (other for other in left if other[0] <= span[1] + SLACK and other[1] >= span[0] - SLACK), None
        )
        if partner is None:
            alone.append(span)
        else:
            left.remove(partner)
    return alone


@dataclass(frozen=True)
class Measured:
    """One clip."""

    name: str
    pictures: int  # in which the driver was believed
    at_rest: int  # of them
    reach: dict[str, float]  # of each AU that moves: what it comes to on the puppet
    bare: dict[str, float]  # the same without a profile
    rest: float  # of the AU that stirs most at rest, after the puppet's dead zone
    worst: str  # which
    seen: Spans  # blinks on the puppet
    labelled: Spans | None

    def row(self) -> str:
        values, bare = list(self.reach.values()), list(self.bare.values())
        low = [f"{au} {value:.2f}" for au, value in self.reach.items() if value < 0.8]
        blinked = f"{len(self.seen):3d} blinks"
        if self.labelled is not None:
            missed, invented = unmatched(self.labelled, self.seen), unmatched(self.seen, self.labelled)
            blinked += f" of {len(self.labelled)}: missed {missed or 'none'}, invented {invented or 'none'}"
        filled = f"{min(values):.2f} .. {np.median(values):.2f}" if values else "-"
        without = f"{min(bare):.2f} .. {np.median(bare):.2f}" if bare else "-"
        return (
            f"{self.name:<16}{self.pictures:5d}{self.at_rest:5d}{len(values):5d}   {filled:>12}   {without:>12}   "
            f"{self.rest:.3f} {self.worst:<6} {blinked}{'; below 0.8: ' + ', '.join(low) if low else ''}"
        )


def measure(path: str, labelled: Spans | None = None, face_model: Path | None = None) -> Measured:
    """Follows a clip three times: for its profile, with it, and without."""
    readings, _, _ = _follow(path, Neutral.absent(), None, 600.0, face_model=face_model)
    if len(readings) < 10:
        raise DriverError(f"{path} hardly shows a face: give a clip of somebody from the front.")
    profile = of_clip(readings)
    told, _, numbers = _follow(path, None, profile, 600.0, face_model=face_model)
    bare, _, _ = _follow(path, None, None, 600.0, face_model=face_model)
    shown = [i for i in range(len(WIDE)) if profile.full[i] < 1]
    quiet = np.maximum(np.abs(told[resting(readings), : len(WIDE)]) - DEAD_ZONE, 0) / (1 - DEAD_ZONE)
    stirs = np.percentile(quiet, REST_PERCENTILE, axis=0)
    reach, without = (np.percentile(changes, REACH_PERCENTILE, axis=0) for changes in (told, bare))
    return Measured(
        Path(path).stem,
        len(told),
        int(resting(readings).sum()),
        {WIDE[i]: float(reach[i]) for i in shown},
        {WIDE[i]: float(without[i]) for i in shown},
        float(stirs.max()),
        WIDE[int(stirs.argmax())] if stirs.any() else "-",
        blinks(told[:, index(["AU45"])].mean(axis=1), numbers),
        labelled,
    )


def report(paths: Sequence[str], labels: str | None = None, face_model: Path | None = None) -> str:
    """The table for people. Raises DriverError, SettingsError."""
    spans = load_spans(labels) if labels else {}
    head = f"{'clip':<16}{'seen':>5}{'rest':>5}{'AUs':>5}   {'range filled':>12}   {'no profile':>12}   at rest      blinks on the puppet"
    rows = [measure(path, spans.get(Path(path).stem), face_model).row() for path in paths]
    return "\n".join([head, *rows])


def load_spans(path: str) -> dict[str, Spans]:
    """The labels of clips. Raises SettingsError."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        return {
            str(name): [(int(first), int(last)) for first, last in spans] for name, spans in found.items()
        }
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror}): check the path given to --blinks."
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(
            f'{path} is no list of blinks ({error}): write {{"clip": [[first, last], ...]}}.'
        ) from error
