"""From a driver's readings to their profile: where rest is, how noisy it is, how far each AU goes.

Readings are (T, 29 or 41) in the order of EXPRESSION, smoothed as they are live: what a filter takes off a
peak is made up for. Head and gaze, where they are in it, have no range to be learnt: degrees are degrees.
"""

import numpy as np

from engines.face.action_units import SIDED, WIDE
from engines.face.au_estimator import index
from realtime.tracking.driver_profile import MOST_GAIN, MOST_NOISE, Profile
from realtime.tracking.resting_face import resting

NOISE_PERCENTILE = 99.0  # of the distance from neutral at rest
BEYOND = 1.25  # times that: a lesson shows a second or two of rest, a call hours
LEAST_NOISE = 0.005
FULL_PERCENTILE = 99.0  # one picture in a hundred may be the tracker's mistake
STEP_PERCENTILE = 85.0  # of the seconds in which one thing was asked for: what was held
# An AU that went no further above its noise was not shown: it keeps the general scale. With MOST_GAIN, 0.2
# fill 90 %.
SHOWN = 0.2
# Of the way to `full`, is 1 on the puppet: a smile in a call is smaller than one on request, and the filter
# flattens short peaks.
EFFORT = 0.9
CLEAR = 2.0  # times the noise
BLINKED = 0.5  # of AU45: a shut eye reads 0.7 and more; eyes that were narrowed by less were not shut

_LIDS = index(["AU45"])


def of_clip(readings: np.ndarray) -> Profile:
    """A profile from a clip in which the driver does as they like: rest is where the face does least."""
    readings = readings[:, : len(WIDE)]
    rest = resting(readings)
    neutral = np.median(readings[rest], axis=0)
    full = np.percentile(readings, FULL_PERCENTILE, axis=0)
    peaks = blink_peaks(readings)
    if len(peaks):
        full[_LIDS] = np.median(peaks, axis=0)
    return make(readings[rest], neutral, full)


def of_steps(rest: np.ndarray, steps: list[np.ndarray]) -> Profile:
    """A profile from a guided lesson: readings of the resting face, and of each thing that was asked for."""
    full = np.max([np.percentile(step, STEP_PERCENTILE, axis=0) for step in steps], axis=0)
    return make(rest, np.median(rest, axis=0), full)


def make(rest: np.ndarray, neutral: np.ndarray, full: np.ndarray) -> Profile:
    """A profile from readings.

    Args:
        rest: (T, 29 or more) at rest.
        neutral: (29 or more,) their middle.
        full: (29 or more,) the strongest of the driver.
    """
    rest, neutral, full = (values[..., : len(WIDE)] for values in (rest, neutral, full))
    awake = rest[:, _LIDS].max(axis=1) - neutral[_LIDS].max() < 0.2  # a blink is no tremble
    away = np.abs(rest[awake] - neutral) if awake.any() else np.zeros((1, len(WIDE)))
    noise = np.clip(BEYOND * np.percentile(away, NOISE_PERCENTILE, axis=0), LEAST_NOISE, MOST_NOISE)
    way = full - neutral
    shown = (way - noise >= SHOWN) & (way >= CLEAR * noise)
    shown[_LIDS] &= full[_LIDS] >= BLINKED
    full = np.where(shown, full, 1.0)
    way = np.where(shown, EFFORT * way, full - neutral) - noise
    gain = np.minimum(1 / np.maximum(way, 1 / MOST_GAIN), MOST_GAIN)
    for au in SIDED:  # a side that was not shown goes with the one that was, or the face would be crooked
        right, left = index([au])
        if shown[right] != shown[left]:
            gain[[right, left]] = gain[right if shown[right] else left]
    return Profile(
        neutral=neutral.astype(np.float32),
        full=full.astype(np.float32),
        noise=noise.astype(np.float32),
        gain=gain.astype(np.float32),
    )


def blink_peaks(readings: np.ndarray) -> np.ndarray:
    """(N, 2): both lids at the height of each blink."""
    lids = readings[:, _LIDS].mean(axis=1)
    shut = lids > np.median(lids) + max(0.2, 0.5 * float(np.ptp(lids)))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shut.astype(int), [0]])))
    blinks = zip(edges[::2], edges[1::2], strict=True)
    peaks = [readings[first:end, _LIDS].max(axis=0) for first, end in blinks]
    return np.array(peaks).reshape(-1, len(_LIDS))
