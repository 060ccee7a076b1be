"""Action units: their names, what they mean, and the vocabularies that bundles, estimators and curves speak.

An AU is always addressed by name; a vocabulary is an ordered tuple of names, and only a bundle fixes one. So
an expression that speaks one vocabulary can be handed to an engine that speaks another (`translate`). Ten
AUs can also be named by side: AU12L is the lip corner puller of the person's left, and AU12 the mean of both.

Source: Ekman, Friesen, Hager, "Facial Action Coding System" (2002); order of PAPER_17: Pumarola et al.,
"GANimation"
(ECCV 2018), after OpenFace.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

PAPER_17: tuple[str, ...] = (
    "AU01",
    "AU02",
    "AU04",
    "AU05",
    "AU06",
    "AU07",
    "AU09",
    "AU10",
    "AU12",
    "AU14",
    "AU15",
    "AU17",
    "AU20",
    "AU23",
    "AU25",
    "AU26",
    "AU45",
)
# AUs that people move on one side alone: brows, lids, cheeks, upper lip, mouth corners.
SIDED: tuple[str, ...] = ("AU02", "AU04", "AU05", "AU06", "AU07", "AU10", "AU12", "AU14", "AU15", "AU45")
RIGHT, LEFT = "R", "L"  # the person's, not the picture's


def sides(au: str) -> tuple[str, ...]:
    """("AU12R", "AU12L") for "AU12"; the name itself where an AU knows no sides."""
    return (au + RIGHT, au + LEFT) if au in SIDED else (au,)


def whole(au: str) -> str:
    """ "AU12" for "AU12L"; the name itself where it names no side."""
    return au[:-1] if au[:-1] in SIDED else au


def wholes(aus: Sequence[str]) -> tuple[str, ...]:
    """The AUs of a vocabulary without their sides, in order: the 17 of the paper, and 19 of the wide one."""
    return tuple(dict.fromkeys(map(whole, aus)))


# The paper's 17 with sides, pucker and funnel: winks, crooked smiles and "oo".
WIDE: tuple[str, ...] = tuple(name for au in PAPER_17 for name in sides(au)) + ("AU18", "AU22")
# Where the head and the eyes point. An AU and its opposite exclude each other; left and right are the
# person's own.
HEAD: tuple[str, ...] = ("AU51", "AU52", "AU53", "AU54", "AU55", "AU56", "AU57", "AU58")
GAZE: tuple[str, ...] = ("AU61", "AU62", "AU63", "AU64")
# All that a driver can express; networks and corpora speak its first 29 names, which are WIDE.
EXPRESSION: tuple[str, ...] = WIDE + HEAD + GAZE

HEAD_FULL_DEG = 30.0  # what 1.0 of AU51 to AU56 means
NEARNESS_FULL = 1.25  # AU57 of 1.0: the face appears larger by this factor; AU58: smaller
GAZE_FULL_SIDEWAYS = 0.28  # eye widths that the iris moves at AU61 or AU62 of 1.0
GAZE_FULL_UPWARDS = 0.16  # and at AU63 or AU64

MEANING: dict[str, str] = {
    "AU01": "inner brow raiser",
    "AU02": "outer brow raiser",
    "AU04": "brow lowerer",
    "AU05": "upper lid raiser",
    "AU06": "cheek raiser",
    "AU07": "lid tightener",
    "AU09": "nose wrinkler",
    "AU10": "upper lip raiser",
    "AU12": "lip corner puller",
    "AU14": "dimpler",
    "AU15": "lip corner depressor",
    "AU17": "chin raiser",
    "AU18": "lip pucker",
    "AU20": "lip stretcher",
    "AU22": "lip funneler",
    "AU23": "lip tightener",
    "AU25": "lips part",
    "AU26": "jaw drop",
    "AU45": "blink",
    "AU51": "head turn left",
    "AU52": "head turn right",
    "AU53": "head up",
    "AU54": "head down",
    "AU55": "head tilt left",
    "AU56": "head tilt right",
    "AU57": "head forward",
    "AU58": "head back",
    "AU61": "eyes turn left",
    "AU62": "eyes turn right",
    "AU63": "eyes up",
    "AU64": "eyes down",
}
MEANING |= {
    au + side: f"{MEANING[au]}, {name}" for au in SIDED for side, name in ((RIGHT, "right"), (LEFT, "left"))
}

# Parts of the face that are driven, mixed and switched off together; every AU of EXPRESSION is in one, by
# its whole.
GROUPS: dict[str, tuple[str, ...]] = {
    "brows": ("AU01", "AU02", "AU04"),
    "eyes": ("AU05", "AU06", "AU07", "AU45"),
    "mouth": (
        "AU09",
        "AU10",
        "AU12",
        "AU14",
        "AU15",
        "AU17",
        "AU18",
        "AU20",
        "AU22",
        "AU23",
        "AU25",
        "AU26",
    ),  # the nose moves with it
    "head": HEAD,
    "gaze": GAZE,
}

VOCABULARIES: dict[str, tuple[str, ...]] = {"paper17": PAPER_17, "wide": WIDE}

_POSE = len(WIDE)  # where HEAD and GAZE begin in EXPRESSION: an AU at even distance, its opposite behind it
_TURNS = len(HEAD) // 2


def opposites(expression: np.ndarray) -> np.ndarray:
    """Head and gaze of expressions (..., 41) as signed values, each an AU minus its opposite.

    Returns:
        (..., 6) float32: head turn (left +), nod (up +), tilt (left +), nearness (forward +); eyes sideways
        (left +), up (+). In units of the AUs; left is the person's own.
    """
    pose = np.asarray(expression, np.float32)[..., _POSE:]
    return pose[..., 0::2] - pose[..., 1::2]


def from_opposites(signed: np.ndarray) -> np.ndarray:
    """Signed head and gaze (..., 6), as `opposites` gives them -> HEAD and GAZE (..., 12) float32, none
    below 0."""
    signed = np.asarray(signed, np.float32)
    pairs = np.stack([np.maximum(signed, 0), np.maximum(-signed, 0)], axis=-1)
    return pairs.reshape(*signed.shape[:-1], 2 * signed.shape[-1])


def head_pose(expression: np.ndarray) -> np.ndarray:
    """Where the head of expressions (..., 41) points.

    Returns:
        (..., 4) float32, an AU minus its opposite: turn (left +), nod (up +), tilt (left +), of HEAD_FULL_DEG
        degrees a unit; nearness (forward +), a factor of NEARNESS_FULL a unit.
    """
    return opposites(expression)[..., :_TURNS]


def gaze(expression: np.ndarray) -> np.ndarray:
    """Where the eyes of expressions (..., 41) look: (..., 2) float32, sideways (left +) and up (+).

    A unit is GAZE_FULL_SIDEWAYS or GAZE_FULL_UPWARDS of an eye's width.
    """
    return opposites(expression)[..., _TURNS:]


def translate(values: np.ndarray, spoken: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """(..., len(spoken)) intensities or changes in another vocabulary, (..., len(wanted)) float32.

    A side that is not spoken takes what is said of both; both take the mean of their sides; what is not
    spoken at all is 0.
    """
    if tuple(spoken) == tuple(wanted):
        return np.array(values, np.float32)
    return (np.asarray(values, np.float32) @ _projection(tuple(spoken), tuple(wanted))).astype(np.float32)


@lru_cache(maxsize=16)
def _projection(spoken: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """(len(spoken), len(wanted)) float32."""
    place = {name: i for i, name in enumerate(spoken)}
    matrix = np.zeros((len(spoken), len(wanted)), np.float32)
    for column, name in enumerate(wanted):
        both = [side for side in sides(name) if side in place]
        if name in place:
            matrix[place[name], column] = 1
        elif whole(name) in place:
            matrix[place[whole(name)], column] = 1
        elif both:
            matrix[[place[side] for side in both], column] = 1 / 2
    return matrix
