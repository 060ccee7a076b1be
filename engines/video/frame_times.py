"""When each frame of a clip is shown: time stamps -> places on an even grid of the clip's nominal rate.

Time stamps are what a file says, and files say all sorts of things: times rounded to milliseconds (MKV, WebM,
FLV), jitter, pauses, rates that vary, segments that start again, a stamp that is nonsense. Every frame gets a
place of its own, in order, as near to its time as that allows. Pure arithmetic, in seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

LOWEST_RATE = 1.0  # frames a second; of slower clips each frame takes several places
HIGHEST_RATE = 1000.0
USUAL_RATE = Fraction(30)  # where there is nothing to measure
WHOLE_RATES = tuple(map(Fraction, (*range(1, 61), 72, 75, 90, 100, 120, 144, 165, 200, 240)))
NTSC_RATES = tuple(Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60, 120, 240))
STANDARD_SHARE = 4e-4  # by which a measured rate may differ from a usual one: 30 and 29.97 differ by 1e-3
ROUNDING_S = 1e-3  # of stamps, whatever unit they are stored in: they may come from a file that was coarser
FINE_RATE = 20.0  # from here on a frame that is off by half a place is off by less than anybody sees
EVEN_SHARE = 0.2  # of a place, by which frames of a slower rate may miss theirs on the average
LARGEST_MISS_S = 0.1  # of a frame of a slower rate
MIXED_SHARE = 0.6  # of the middle step: shorter ones are steps of their own, not jitter
MOST_MULTIPLES = 30  # of a measured rate, which are tried
RESTART_S = 0.5  # by which stamps must fall to count as a new segment rather than as disorder
STRAY_S = 1.0  # at most, between the neighbours of a stamp that is nonsense
LONGEST_STILL_S = 600.0  # a longer pause is a stamp of another clock, as of joined files, and is cut short
LOOK_AHEAD = 8  # frames that are waited for before a late one is taken for a pause
JITTER = 0.7  # places between the earliest and the latest of frames whose times only tremble


def without_strays(stamps_s: np.ndarray) -> np.ndarray:
    """Stamps (N,) float64 in the file's order -> the same, NaN for nonsense between two good ones."""
    cleaned = stamps_s.copy()
    if len(stamps_s) < 3:
        return cleaned
    before, stamp, after = stamps_s[:-2], stamps_s[1:-1], stamps_s[2:]
    step_s = after - before
    astray = (stamp < before - RESTART_S) | (stamp > after + RESTART_S)
    cleaned[1:-1][(step_s >= 0) & (step_s < STRAY_S) & astray] = np.nan
    return cleaned


def segments(stamps_s: np.ndarray) -> np.ndarray:
    """Decoding stamps (N,) in the file's order, NaN where unknown -> (N,) int: how often they had started
    again."""
    known = np.flatnonzero(np.isfinite(stamps_s))
    restarts = np.zeros(len(stamps_s), int)
    restarts[known[1:]] = np.diff(stamps_s[known]) < -RESTART_S
    return np.cumsum(restarts)


@dataclass(frozen=True)
class Stretch:
    """A part of a file's own time that is played without a break."""

    segment: int  # as `segments` counts
    from_s: float  # in the file's own time
    start_s: float  # the same moment in the time that is played


@dataclass(frozen=True)
class Timeline:
    """The time that is played, of stamps that may start again."""

    times_s: np.ndarray  # (N,) float64 of each frame, never falling, from 0
    stretches: tuple[Stretch, ...]
    skipped_s: float  # in pauses that were too long to be meant


def timeline(stamps_s: np.ndarray, segment: np.ndarray) -> Timeline:
    """Joins segments end to end, and cuts pauses of more than LONGEST_STILL_S short.

    Args:
        stamps_s: (N,) float64 in the order in which frames are shown: rising within each segment.
        segment: (N,) int, never falling.
    """
    steps_s = np.diff(stamps_s)
    period_s = typical_step_s(steps_s[steps_s > 0])
    new_segment = np.diff(segment) > 0
    too_long = ~new_segment & (steps_s > LONGEST_STILL_S)
    skipped_s = float(np.sum(steps_s[too_long] - period_s))
    steps_s = np.where(new_segment | too_long, period_s, np.maximum(steps_s, 0))
    times_s = np.concatenate([[0.0], np.cumsum(steps_s)])
    starts = [0, *(np.flatnonzero(new_segment | too_long) + 1)]
    stretches = (Stretch(int(segment[i]), float(stamps_s[i]), float(times_s[i])) for i in starts)
    return Timeline(times_s, tuple(stretches), skipped_s)


def typical_step_s(steps_s: np.ndarray) -> float:
    """The step that is usual among positive ones (N,): the shorter one where some are twice as long."""
    steps_s = steps_s[steps_s < LONGEST_STILL_S]
    if not len(steps_s):
        return float(1 / USUAL_RATE)
    short_s, middle_s = np.quantile(steps_s, (0.2, 0.5))
    if short_s > MIXED_SHARE * middle_s:
        return float(middle_s)
    return float(np.median(steps_s[steps_s < 1.5 * short_s]))


def _measured_steps_s(steps_s: np.ndarray) -> list[float]:
    """Steps between frames as they may be meant, without rounding and jitter, of positive steps (N,)."""
    typical_s = typical_step_s(steps_s)
    # Over frames without a pause the errors of single times cancel out.
    together = steps_s < 1.75 * typical_s
    # Where some steps are much shorter than the usual one, they say nothing of it.
    places = np.rint(steps_s / typical_s)
    near = (places >= 1) & (places <= 2)
    return [float(steps_s[together].mean()), float(steps_s[near].sum() / places[near].sum())]


def nominal_rate(times_s: np.ndarray, hints: Sequence[Fraction] = ()) -> Fraction:
    """Frames a second at which every frame has a place of its own.

    Args:
        times_s: (N,) float64, never falling.
        hints: rates that the file claims, which are believed where they agree with the times.
    """
    steps_s = np.diff(times_s)
    rising_s = steps_s[(steps_s > 0) & (steps_s < LONGEST_STILL_S)]
    if not len(rising_s):
        return next((hint for hint in hints if LOWEST_RATE <= hint <= HIGHEST_RATE), USUAL_RATE)
    tolerance = max(STANDARD_SHARE, 1.5 * ROUNDING_S / float(rising_s.sum()))
    rates = [_usual(1 / step_s, tolerance, hints) for step_s in _measured_steps_s(rising_s)]
    rate = min(rates, key=lambda each: _mean_miss(times_s, each))
    multiples = (rate * factor for factor in range(ceil(LOWEST_RATE / rate), MOST_MULTIPLES))
    return next((each for each in multiples if each >= HIGHEST_RATE or _fits(times_s, each)), rate)


def _usual(rate: float, tolerance: float, hints: Sequence[Fraction]) -> Fraction:
    """A measured rate as a fraction: a claimed or a usual one that is as good as the same."""
    rate = min(rate, HIGHEST_RATE)
    for rates in (hints, WHOLE_RATES, NTSC_RATES):
        near = [each for each in rates if abs(float(each) / rate - 1) <= tolerance]
        if near:
            return min(near, key=lambda each: abs(float(each) - rate))
    return Fraction(rate).limit_denominator(1001) or Fraction(1, 1001)


def _misses(times_s: np.ndarray, rate: Fraction) -> np.ndarray:
    """(N,) by how many places frames come after their times, apart from what is the same for most of them."""
    misses = frame_places(times_s, rate) - times_s * float(rate)
    return misses - np.median(misses)


def _mean_miss(times_s: np.ndarray, rate: Fraction) -> float:
    """By how many places frames miss their times on the average."""
    return float(np.abs(_misses(times_s, rate)).mean())


def _fits(times_s: np.ndarray, rate: Fraction) -> bool:
    """Whether every frame has a place near its time."""
    misses = _misses(times_s, rate)
    if misses.max() > 1.5:  # there are more frames than places
        return False
    even = np.abs(misses).mean() <= EVEN_SHARE and np.abs(misses).max() <= LARGEST_MISS_S * rate
    return bool(even or rate >= FINE_RATE)


def frame_places(times_s: np.ndarray, rate: Fraction | float) -> np.ndarray:
    """Times (N,) -> (N,) int, strictly rising from 0: which moment of an even grid each frame begins at.

    A frame that comes late is put where it was due if the frames after it are in time again; otherwise there
    was a pause, in which the frame before is held.
    """
    number = np.arange(len(times_s))
    late = (times_s - times_s[0]) * float(rate) - number  # in places, behind frames without a break
    first = late[:LOOK_AHEAD]
    if (
        first.max() - first.min() < JITTER
    ):  # it is jitter, in which the first frame's time is no better than any
        late = late - (first.max() + first.min()) / 2
    behind = np.rint(late)
    padded = np.concatenate([behind, np.full(LOOK_AHEAD, np.inf)])
    least = np.min([padded[i : i + len(behind)] for i in range(LOOK_AHEAD + 1)], axis=0)
    return number + np.maximum.accumulate(np.maximum(least, 0)).astype(int)


def count_places(
    places: np.ndarray, times_s: np.ndarray, durations_s: np.ndarray, rate: Fraction | float
) -> int:
    """How many places a clip has: its duration on the grid, to half a place.

    Args:
        places: (N,) of its frames, as `frame_places` gives them.
        times_s: (N,) of its frames.
        durations_s: (N,) how long the file says that each is shown; the last one's is believed where the
            others' agree with the times.
    """
    last_s = float(durations_s[-1])
    wrong_s = np.abs(durations_s[:-1] - np.diff(times_s))
    believed = 0 < last_s <= LONGEST_STILL_S and (len(wrong_s) == 0 or np.median(wrong_s) <= ROUNDING_S)
    if not believed:
        last_s = 1 / float(rate)
    duration_s = times_s[-1] - times_s[0] + last_s
    return max(int(places[-1]) + 1, round(duration_s * float(rate)))
