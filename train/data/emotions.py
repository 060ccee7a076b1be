"""Seven emotions as action units: a face's AUs -> the emotion that it clearly shows, and back.

For the baselines.

EMFACS names which AUs make an emotion, on both sides of the face: of a sided AU the mean counts. A face is
scored for each by a weighted mean of those AUs above their usual level, less the AUs that are evidence
against it; it gets a label when one score is high and clearly the highest.

Of 28,050 faces (UTK, LFW, clips, portraits) 11.0 % are neutral, 30.2 % happy, 2.2 % surprised, 1.4 % sad, 5.7
% angry, 4.9 % disgusted, 2.0 % afraid; 42.4 % show nothing clear. Photos of people who pose or speak hold
little disgust and fear: to the eye, those two are mostly wrinkled noses and wide, worried mouths, and weak
labels. Happy, neutral and surprised are sound. Source: Friesen & Ekman, EMFACS-7 (1983); FACS Investigator's
Guide (2002), table 10-2.
"""

import numpy as np

from engines.face.action_units import PAPER_17, WIDE, translate
from engines.face.au_estimator import paper_17

# Full expressions, as intensities 0..1; AUs that are not named are 0.
PROTOTYPES: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"AU06": 0.8, "AU12": 0.9, "AU25": 0.4},
    "surprised": {"AU01": 0.9, "AU02": 0.9, "AU05": 0.8, "AU25": 0.6, "AU26": 0.6},
    "sad": {"AU01": 0.7, "AU04": 0.5, "AU15": 0.8, "AU17": 0.4},
    "angry": {"AU04": 0.9, "AU05": 0.4, "AU07": 0.7, "AU17": 0.3, "AU23": 0.7},
    "disgusted": {"AU04": 0.4, "AU07": 0.5, "AU09": 0.9, "AU10": 0.7, "AU17": 0.3},
    "afraid": {"AU01": 0.9, "AU02": 0.6, "AU04": 0.6, "AU05": 0.8, "AU20": 0.7, "AU25": 0.5, "AU26": 0.3},
}
EMOTIONS: tuple[str, ...] = tuple(PROTOTYPES)

# What an AU usually measures on a face that does not show it: medians of 28,050 photos and frames.
USUAL = {
    "AU05": 0.11,
    "AU06": 0.27,
    "AU07": 0.45,
    "AU09": 0.09,
    "AU10": 0.17,
    "AU12": 0.10,
    "AU15": 0.11,
    "AU20": 0.09,
    "AU25": 0.14,
}
# Weight of each AU as evidence for an emotion (those above 0 add up to 1) or against it.
EVIDENCE: dict[str, dict[str, float]] = {
    "happy": {"AU12": 0.7, "AU06": 0.3, "AU04": -0.2, "AU15": -0.5, "AU01": -0.2},
    "surprised": {
        "AU01": 0.2,
        "AU02": 0.25,
        "AU05": 0.2,
        "AU25": 0.1,
        "AU26": 0.25,
        "AU04": -0.5,
        "AU12": -0.5,
        "AU20": -0.3,
    },
    "sad": {
        "AU15": 0.5,
        "AU01": 0.2,
        "AU04": 0.15,
        "AU17": 0.15,
        "AU12": -0.7,
        "AU09": -0.4,
        "AU02": -0.1,
        "AU26": -0.2,
    },
    "angry": {
        "AU04": 0.5,
        "AU23": 0.25,
        "AU07": 0.15,
        "AU17": 0.1,
        "AU12": -0.7,
        "AU01": -0.4,
        "AU15": -0.2,
        "AU09": -0.2,
    },
    "disgusted": {"AU09": 0.55, "AU10": 0.35, "AU04": 0.1, "AU12": -0.5, "AU02": -0.3, "AU26": -0.2},
    "afraid": {"AU20": 0.35, "AU01": 0.25, "AU05": 0.2, "AU02": 0.1, "AU25": 0.1, "AU12": -0.6, "AU15": -0.3},
}
CLEAR, AHEAD = 0.34, 0.06  # least score of a label, and how far it leads the next
RESTING = 0.14  # no emotion scores more on a neutral face


def _row(values: dict[str, float]) -> np.ndarray:
    return np.array([values.get(au, 0.0) for au in PAPER_17], np.float32)


_USUAL = _row(USUAL)
_EVIDENCE = np.stack([_row(EVIDENCE[name]) for name in EMOTIONS[1:]])


def scores(aus: np.ndarray) -> np.ndarray:
    """(N, 29) measures -> (N, 6) scores of EMOTIONS[1:]: at most 1, below 0 where AUs contradict."""
    shown = np.clip((paper_17(aus) - _USUAL) / (1 - _USUAL), 0, 1)
    return shown @ _EVIDENCE.T


def classify(aus: np.ndarray) -> np.ndarray:
    """(N, 29) measures -> (N,) int64 places in EMOTIONS, or -1 where no emotion is clear."""
    score = scores(aus)
    ranked = np.sort(score, axis=1)
    best, second = ranked[:, -1], ranked[:, -2]
    label = np.where((best >= CLEAR) & (best - np.maximum(second, 0) >= AHEAD), score.argmax(axis=1) + 1, -1)
    return np.where(best < RESTING, 0, label).astype(np.int64)


def prototype(name: str) -> np.ndarray:
    """(29,) float32 intensities of one of EMOTIONS in full, in the order of WIDE.

    Raises KeyError for another name.
    """
    return translate(_row(PROTOTYPES[name]), PAPER_17, WIDE)
