"""From what a driver showed to their profile: where rest is, how much it trembles, how far each AU goes. Knows no pictures.

Readings are (T, 29) intensities in the order of ESTIMATED, smoothed as they are live: what a filter takes off a peak is made up for.
"""

import numpy as np

from engines.face.action_units import SIDED
from engines.face.au_estimator import ESTIMATED, index
from realtime.tracking.driver_profile import MOST_GAIN, MOST_NOISE, Profile
from realtime.tracking.neutral_drift import activity

CALM_SHARE = 0.4  # of a clip's pictures, those in which the face does least, have rest among them: talkers rest between words
NEAR_REST = 0.12  # of every AU but AU45: a picture like a resting one
OPEN = 0.1  # of AU45 above the usual: the eyes are open
BUSIER = 0.5  # of `activity`, for which a look must come nearly three times as often: a smile (1 to 4) that is held is no rest
SELDOM, FEWEST = (
    0.35,
    5,
)  # of how often the most frequent look comes: what comes less often, or in fewer pictures, is passed through
MOST_LOOKS = 400  # pictures that are tried as the middle of rest
NOISE_PERCENTILE = 99.0  # of the distance from neutral at rest
BEYOND = 1.25  # times that: a lesson shows a second or two of rest, a call hours
LEAST_NOISE = 0.005
FULL_PERCENTILE = 99.0  # one picture in a hundred may be the tracker's mistake
STEP_PERCENTILE = 85.0  # of the seconds in which one thing was asked for: what was held
# An AU that went no further above its noise was not shown: it keeps the general scale. With MOST_GAIN, 0.2 fill 90 %.
SHOWN = 0.2
EFFORT = 0.9  # of the way to `full` is 1 on the puppet: nobody grins in a call as they do when told to, and the filter cuts short peaks
CLEAR = 2.0  # times the noise

_LIDS = index(["AU45"])
_OTHERS = [i for i in range(len(ESTIMATED)) if i not in _LIDS]


def of_clip(readings: np.ndarray) -> Profile:
    """A profile from a clip in which the driver does as they like: rest is where the face does least."""
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
    """A profile from readings at rest (T, 29), their middle and the strongest readings (29,) of the driver."""
    awake = rest[:, _LIDS].max(axis=1) - neutral[_LIDS].max() < 0.2  # a blink is no tremble
    away = np.abs(rest[awake] - neutral) if awake.any() else np.zeros((1, len(ESTIMATED)))
    noise = np.clip(BEYOND * np.percentile(away, NOISE_PERCENTILE, axis=0), LEAST_NOISE, MOST_NOISE)
    way = full - neutral
    shown = (way - noise >= SHOWN) & (way >= CLEAR * noise)
    full = np.where(shown, full, 1.0)
    way = np.where(shown, EFFORT * way, full - neutral) - noise
    gain = np.minimum(1 / np.maximum(way, 1 / MOST_GAIN), MOST_GAIN)
    for right, left in map(
        index, ([au] for au in SIDED)
    ):  # a side that was not shown goes with the one that was, or the face would be crooked
        if shown[right] != shown[left]:
            gain[[right, left]] = gain[right if shown[right] else left]
    return Profile(*(values.astype(np.float32) for values in (neutral, full, noise, gain)))


def resting(readings: np.ndarray) -> np.ndarray:
    """(T,) bool: the pictures of one way to look, which comes often and in which the face does little."""
    lids = readings[:, _LIDS].max(axis=1)
    open_eyed = lids <= np.median(lids) + OPEN
    busy = activity(readings)
    calm = np.flatnonzero(open_eyed & (busy <= np.quantile(busy[open_eyed], CALM_SHARE)))
    calm = calm[:: max(1, len(calm) // MOST_LOOKS)]
    near = np.array(
        [open_eyed & (np.abs(readings - readings[i])[:, _OTHERS].max(axis=1) < NEAR_REST) for i in calm]
    )
    often = near.sum(axis=1)
    weight = np.where(
        often >= min(often.max(), max(often.max() * SELDOM, FEWEST)),
        often * np.exp(-(busy[calm] - busy[calm].min()) / BUSIER),
        0,
    )
    return near[np.argmax(weight)]


def blink_peaks(readings: np.ndarray) -> np.ndarray:
    """(N, 2): both lids at the height of each blink."""
    lids = readings[:, _LIDS].mean(axis=1)
    shut = lids > np.median(lids) + max(0.2, 0.5 * float(np.ptp(lids)))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shut.astype(int), [0]])))
    return np.array(
        [readings[a:b, _LIDS].max(axis=0) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    ).reshape(-1, len(_LIDS))
