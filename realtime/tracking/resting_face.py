"""What a resting face can read: which moments of a clip show one, and what of a reading cannot be rest.
Knows no pictures.

AUs that rest near 0 on every face are not taken for rest above what nine tenths of a corpus' resting faces
read. It was measured by `python -m train estimator --eyes-and-brows` (train/estimator/fit_eyes_and_brows.py)
and stands in engines/face/expression.json.
"""

import numpy as np

from engines.face.action_units import GROUPS, WIDE, sides, whole
from engines.face.au_estimator import index, resting_faces

# of a clip's pictures, those in which the face does least, have rest among them: talkers rest between words
CALM_SHARE = 0.4
NEAR_REST = 0.12  # of every AU but AU45: a picture like a resting one
OPEN = 0.1  # of AU45 above the usual: the eyes are open
# of `activity`, for which a look must come nearly three times as often: a smile (1 to 4) that is held is no
# rest
BUSIER = 0.5
SELDOM = 0.35  # of how often the most frequent look comes: what comes less often is passed through
FEWEST = 5  # pictures of a look that is not passed through
MOST_LOOKS = 400  # pictures that are tried as the middle of rest
SLACK = 0.1  # above what resting faces read, that a reading may be wrong or a face may be a rare one
NARROWEST = 0.6  # of AU45: eyes that are narrow by nature, or in the sun, read so; a shut one 0.7 and more

# Of a clip's pictures, those with the lips nearest to each other show how far they shut. A talker's calmest
# moments have parted lips: taken for shut ones, they made every word with little lips a shut mouth.
SHUT_PERCENTILE = 10.0

LIPS = index(["AU25"])
_LIDS = index(["AU45"])
_OTHERS = [i for i in range(len(WIDE)) if i not in _LIDS]
# What says how busy a face is: AUs that rest near 0 on every face and that an expression raises. Lids follow
# the gaze; AU14, AU15, AU17, AU20 and AU23 rest anywhere, and a smile takes them away. A smile counts twice:
# nothing else is held as long.
_BUSY = {
    "AU01": 1,
    "AU02": 1,
    "AU04": 1,
    "AU06": 1,
    "AU09": 1,
    "AU10": 1,
    "AU12": 2,
    "AU18": 1,
    "AU22": 1,
    "AU25": 1,
    "AU26": 1,
}
_WEIGHT = np.array([_BUSY.get(whole(au), 0) / len(sides(whole(au))) for au in WIDE], np.float32)
# AUs that rest near 0, and what a driver did whose readings say otherwise; the first one that applies is
# reported. AU18 is none of them: full lips, and lips under a moustache, read as puckered by up to .8 at rest.
_DOING = {
    "smiled": ("AU12",),
    "had your mouth open": ("AU25", "AU26"),
    "pursed your lips": ("AU22",),
    "had your eyes shut": ("AU45",),
}
_REPORTED = index([au for aus in _DOING.values() for au in aus])
# Limited, too, but not reported: noses and upper lips differ so much that a reading above the limit says
# little.
_LIMITED = [*_REPORTED, *index(["AU09", "AU10"])]
# What an open or smiling mouth is made of and what it bends besides: these readings say nothing of rest then.
_UNKNOWN = index([*GROUPS["mouth"], "AU06", "AU07"])


def activity(aus: np.ndarray) -> np.ndarray:
    """How much a face does: (..., 29 or 41) intensities, or differences of them, -> (...,); 0 to 12."""
    return aus[..., : len(WIDE)] @ _WEIGHT


def limits() -> np.ndarray:
    """(29,) float32: what cannot be rest above; infinite for AUs that rest anywhere."""
    highest = np.full(len(WIDE), np.inf, np.float32)
    highest[_LIMITED] = resting_faces()["p90"][_LIMITED]
    highest[_LIDS] = np.maximum(highest[_LIDS], NARROWEST)
    return highest


def plausible_rest(aus: np.ndarray) -> tuple[np.ndarray, str]:
    """Readings (29,) that were taken for rest -> what can be rest of them (29,), and what the driver did
    instead.

    The latter is "" where they rested, else what follows on "you", as in "smiled". What they did, and what
    such an expression bends besides, is then as it is on most resting faces, and nothing else above nine
    tenths of them.
    """
    highest, faces = limits(), resting_faces()
    rest = np.minimum(aus, highest)
    above = aus - highest > SLACK
    doing = next((name for name, names in _DOING.items() if above[index(names)].any()), "")
    if above[[i for i in _REPORTED if i not in _LIDS]].any():
        rest = np.minimum(rest, faces["p90"])
        rest[_UNKNOWN] = faces["median"][_UNKNOWN]
    return rest.astype(np.float32), doing


def with_lips_shut(rest: np.ndarray, readings: np.ndarray) -> np.ndarray:
    """A rest (29,) whose AU25 begins where the lips of readings (T, 29 or 41) shut, or come nearest to it."""
    shut = np.maximum(np.percentile(readings[:, LIPS], SHUT_PERCENTILE, axis=0), 0)
    rest = rest.copy()
    rest[LIPS] = np.minimum(rest[LIPS], shut)
    return rest


def resting(readings: np.ndarray) -> np.ndarray:
    """Readings (T, 29 or 41) of a clip -> (T,) bool: the pictures of one look that comes often and in which
    the face does little."""
    aus = readings[:, : len(WIDE)]
    lids = aus[:, _LIDS].max(axis=1)
    open_eyed = lids <= np.median(lids) + OPEN
    busy = activity(aus)
    calm = np.flatnonzero(open_eyed & (busy <= np.quantile(busy[open_eyed], CALM_SHARE)))
    calm = calm[:: max(1, len(calm) // MOST_LOOKS)]
    near = np.array([open_eyed & (np.abs(aus - aus[i])[:, _OTHERS].max(axis=1) < NEAR_REST) for i in calm])
    often = near.sum(axis=1)
    weight = np.where(
        often >= min(often.max(), max(often.max() * SELDOM, FEWEST)),
        often * np.exp(-(busy[calm] - busy[calm].min()) / BUSIER),
        0,
    )
    return near[np.argmax(weight)]
