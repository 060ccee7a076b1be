"""Action units: their names, what they mean, and the vocabularies that bundles, estimators and curves speak.

An AU is always addressed by name; a vocabulary is an ordered tuple of names, and only a bundle fixes one. So an
expression that speaks one vocabulary can be handed to an engine that speaks another (`translate`). Ten AUs can also be named
by side: AU12L is the lip corner puller of the person's left, and AU12 the mean of both.

Source: Ekman, Friesen, Hager, "Facial Action Coding System" (2002); order of PAPER_17: Pumarola et al., "GANimation"
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
}
MEANING |= {
    au + side: f"{MEANING[au]}, {name}" for au in SIDED for side, name in ((RIGHT, "right"), (LEFT, "left"))
}

# Parts of the face that are driven, mixed and switched off together; every AU of WIDE is in one of them, by its whole.
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
}

VOCABULARIES: dict[str, tuple[str, ...]] = {"paper17": PAPER_17, "wide": WIDE}


def translate(values: np.ndarray, spoken: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """(..., len(spoken)) intensities or changes in another vocabulary, (..., len(wanted)) float32.

    A side that is not spoken takes what is said of both; both take the mean of their sides; what is not spoken at all is 0.
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
