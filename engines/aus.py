"""Action units: their names, what they mean, and the vocabularies that bundles, estimators and curves speak.

An AU is always addressed by name; a vocabulary is an ordered tuple of names, and only a bundle fixes one. So an
expression that speaks one vocabulary can be handed to an engine that speaks another (`translate`): left and right AUs
or AU18 can be added here without any loop knowing.

Source: Ekman, Friesen, Hager, "Facial Action Coding System" (2002); order of PAPER_17: Pumarola et al., "GANimation"
(ECCV 2018), after OpenFace.
"""

from collections.abc import Sequence

import numpy as np

MEANING: dict[str, str] = {
    "AU01": "inner brow raiser", "AU02": "outer brow raiser", "AU04": "brow lowerer", "AU05": "upper lid raiser",
    "AU06": "cheek raiser", "AU07": "lid tightener", "AU09": "nose wrinkler", "AU10": "upper lip raiser",
    "AU12": "lip corner puller", "AU14": "dimpler", "AU15": "lip corner depressor", "AU17": "chin raiser",
    "AU20": "lip stretcher", "AU23": "lip tightener", "AU25": "lips part", "AU26": "jaw drop", "AU45": "blink",
}  # fmt: skip

PAPER_17: tuple[str, ...] = tuple(MEANING)

VOCABULARIES: dict[str, tuple[str, ...]] = {"paper17": PAPER_17}


def translate(values: np.ndarray, spoken: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """(..., len(spoken)) intensities re-ordered into (..., len(wanted)) float32; an AU that is not spoken is 0."""
    out = np.zeros((*np.shape(values)[:-1], len(wanted)), np.float32)
    place = {name: i for i, name in enumerate(spoken)}
    for i, name in enumerate(wanted):
        if name in place:
            out[..., i] = np.asarray(values)[..., place[name]]
    return out
