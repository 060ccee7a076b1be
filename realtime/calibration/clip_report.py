"""Measures clips of drivers with a profile made of each: the range of every AU, what is left at rest, blinks.

`run.py calibrate --report CLIPS` prints it. Blinks are compared with labels by eye, where those are given:
{"clip": [[first, last], ...]}, frames with shut eyes, counted from 0.
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
from realtime.process.log import say
from realtime.puppet.settings import DEAD_ZONE
from realtime.sources.clip import open_frames
from realtime.sources.frame_source import FileFrames
from realtime.timing import Timings
from realtime.tracking.driver_profile import Profile
from realtime.tracking.expression_tracker import ExpressionTracker
from realtime.tracking.neutral import Neutral
from realtime.tracking.resting_face import resting
from realtime.tracking.secondary_estimator import SecondaryEstimator

REACH_PERCENTILE = 99.0  # one frame in a hundred may be the tracker's mistake
REST_PERCENTILE = 95.0
SHUT = 0.5  # of the puppet's AU45: its eyes are more shut than open
RISE = 0.2  # of AU45 since it was lowest, with which a blink begins
OPENED = 0.6  # of the height of a blink, below which it ends
SLACK = 2  # frames by which labels and tracker may differ
REACHED = 0.8  # AUs that come to less are listed
FEWEST = 10  # frames with a valid face in a clip
LONGEST_S = 600.0
Spans = list[tuple[int, int]]  # first and last frame


def open_clip(path: str) -> FileFrames:
    """Opens a clip.

    Raises:
        DriverError: it cannot be read, or is a single picture.
    """
    driver = open_frames(path, say=say)
    if not driver.has_rest:
        raise DriverError(f"{path} is a picture: give a clip that shows you at rest and lively.")
    return driver


def readings_of(
    path: str,
    longest_s: float = LONGEST_S,
    second: SecondaryEstimator | None = None,
    face_model: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The readings of a clip's frames with a valid face.

    Args:
        path: of the clip.
        longest_s: how much of it is read.
        second: gets the frames too, and is closed; that takes time, so a progress bar is shown.
        face_model: as for ExpressionTracker.

    Returns: (T, 41) smoothed readings, and (T,) times in seconds.

    Raises:
        DriverError: the clip cannot be read.
    """
    readings, times_s, _ = _track(path, Neutral.absent(), None, longest_s, second, face_model)
    return readings, times_s


def _track(
    path: str,
    neutral: Neutral | None,
    profile: Profile | None,
    longest_s: float = LONGEST_S,
    second: SecondaryEstimator | None = None,
    face_model: Path | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs an ExpressionTracker over a clip.

    Returns: of the frames with a valid face, (T, 41) changes, (T,) times in seconds, (T,) numbers from 0.
    """
    driver = open_clip(path)
    rows: list[tuple[np.ndarray, float, int]] = []
    try:
        with (
            ExpressionTracker(Timings(), neutral, second, profile, face_model=face_model) as tracker,
            tqdm(
                total=driver.length,
                unit="frame",
                desc=Path(path).name,
                leave=False,
                disable=None if second else True,
            ) as bar,
        ):
            number = 0
            while (frame := driver.read()) is not None and frame.captured_s < longest_s:
                expression = tracker(frame)
                if expression.seen:
                    rows.append((expression.expression, frame.captured_s, number))
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


def blinks(lids: np.ndarray, numbers: Sequence[int] | np.ndarray) -> Spans:
    """The blinks in AU45: each time that it goes up and comes down again, two in a row being two.

    Args:
        lids: (T,) AU45, 0..1.
        numbers: (T,) of its frames.
    """
    found: Spans = []
    first: int | None = None
    lowest = 1.0
    highest = 0.0
    for value, number in zip(map(float, lids), map(int, numbers), strict=True):
        if first is None:
            lowest = min(lowest, value)
            if value >= SHUT and value - lowest >= RISE:
                first = number
                highest = value
        else:
            highest = max(highest, value)
            if value < OPENED * highest:
                found.append((first, number - 1))
                first = None
                lowest = value
    return found if first is None else [*found, (first, int(numbers[-1]))]


def unmatched(spans: Spans, others: Spans) -> Spans:
    """The spans without a match among others: one that touches them, and is no other span's match."""
    left = list(others)
    alone = []
    for span in spans:
        match = next(
            (other for other in left if other[0] <= span[1] + SLACK and other[1] >= span[0] - SLACK), None
        )
        if match is None:
            alone.append(span)
        else:
            left.remove(match)
    return alone


@dataclass(frozen=True)
class ClipMeasurement:
    """What is measured of one clip."""

    name: str
    frames: int  # with a valid face
    at_rest: int  # of them
    reach: dict[str, float]  # by AU, of those that move: what it comes to on the puppet
    reach_without_profile: dict[str, float]
    rest: float  # of the AU that moves most at rest, beyond the puppet's dead zone
    worst: str  # which
    blinks: Spans  # on the puppet
    labelled_blinks: Spans | None

    def row(self) -> str:
        """A line of the table."""
        low = [f"{au} {value:.2f}" for au, value in self.reach.items() if value < REACHED]
        return (
            f"{self.name:<16}{self.frames:5d}{self.at_rest:5d}{len(self.reach):5d}   "
            f"{_range(self.reach):>12}   {_range(self.reach_without_profile):>12}   "
            f"{self.rest:.3f} {self.worst:<6} {self._blinks_column()}"
            f"{f'; below {REACHED}: ' + ', '.join(low) if low else ''}"
        )

    def _blinks_column(self) -> str:
        column = f"{len(self.blinks):3d} blinks"
        if self.labelled_blinks is None:
            return column
        missed = unmatched(self.labelled_blinks, self.blinks)
        invented = unmatched(self.blinks, self.labelled_blinks)
        return (
            f"{column} of {len(self.labelled_blinks)}: missed {missed or 'none'}, "
            f"invented {invented or 'none'}"
        )


def _range(reach: dict[str, float]) -> str:
    """The lowest and the median value, for people."""
    values = list(reach.values())
    return f"{min(values):.2f} .. {np.median(values):.2f}" if values else "-"


def measure(
    path: str, labelled_blinks: Spans | None = None, face_model: Path | None = None
) -> ClipMeasurement:
    """Tracks a clip three times: for its profile, with it, and without.

    Raises:
        DriverError: the clip cannot be read, or shows too little of a face.
    """
    readings, _, _ = _track(path, Neutral.absent(), None, face_model=face_model)
    if len(readings) < FEWEST:
        raise DriverError(f"{path} hardly shows a face", "give a clip of a person from the front")
    profile = of_clip(readings)
    changes, _, numbers = _track(path, None, profile, face_model=face_model)
    without_profile, _, _ = _track(path, None, None, face_model=face_model)
    shown = [i for i in range(len(WIDE)) if profile.full[i] < 1]
    at_rest = resting(readings)
    beyond = np.maximum(np.abs(changes[at_rest, : len(WIDE)]) - DEAD_ZONE, 0) / (1 - DEAD_ZONE)
    moves = np.percentile(beyond, REST_PERCENTILE, axis=0)
    reach = np.percentile(changes, REACH_PERCENTILE, axis=0)
    reach_without = np.percentile(without_profile, REACH_PERCENTILE, axis=0)
    return ClipMeasurement(
        name=Path(path).stem,
        frames=len(changes),
        at_rest=int(at_rest.sum()),
        reach={WIDE[i]: float(reach[i]) for i in shown},
        reach_without_profile={WIDE[i]: float(reach_without[i]) for i in shown},
        rest=float(moves.max()),
        worst=WIDE[int(moves.argmax())] if moves.any() else "-",
        blinks=blinks(changes[:, index(["AU45"])].mean(axis=1), numbers),
        labelled_blinks=labelled_blinks,
    )


def report(paths: Sequence[str], labels: str | None = None, face_model: Path | None = None) -> str:
    """The table of several clips, for people.

    Args:
        paths: of the clips.
        labels: the file of labelled blinks; None for none.
        face_model: as for ExpressionTracker.

    Raises:
        DriverError: a clip cannot be read.
        SettingsError: the labels cannot be read.
    """
    spans = load_spans(labels) if labels else {}
    head = (
        f"{'clip':<16}{'seen':>5}{'rest':>5}{'AUs':>5}   {'range filled':>12}   {'no profile':>12}   "
        "at rest      blinks on the puppet"
    )
    rows = [measure(path, spans.get(Path(path).stem), face_model).row() for path in paths]
    return "\n".join([head, *rows])


def load_spans(path: str) -> dict[str, Spans]:
    """The labelled blinks by the name of the clip.

    Raises:
        SettingsError: the file cannot be read.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        return {
            str(name): [(int(first), int(last)) for first, last in spans] for name, spans in found.items()
        }
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror})", "check the path given to --blinks"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"{path} is no list of blinks ({error})", 'write {"clip": [[first, last], ...]}'
        ) from error
