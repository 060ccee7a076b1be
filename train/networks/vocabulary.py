"""The AU vocabulary of a generator, one of engines.face.action_units.VOCABULARIES, and how it is widened.

Shapes written before there were two vocabularies name none: they have the paper's 17.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.errors import DataError
from engines.face.action_units import LEFT, RIGHT, VOCABULARIES, translate, whole, wholes

PAPER, WIDE = "paper17", "wide"


class HasVocabulary:
    """The AU inputs of a shape that has a `vocabulary`."""

    vocabulary: str

    @property
    def au_names(self) -> tuple[str, ...]:
        """Names of the generator's AU inputs, in order."""
        return VOCABULARIES[self.vocabulary]

    @property
    def au_count(self) -> int:
        return len(self.au_names)


def with_vocabulary(written: Mapping[str, Any]) -> dict[str, Any]:
    """A shape's JSON with its vocabulary by name, and no count.

    Raises DataError for AUs that this version does not know.
    """
    sizes = dict(written)
    count, name = sizes.pop("aus", None), sizes.setdefault("vocabulary", PAPER)
    if name not in VOCABULARIES:
        raise DataError(
            f"This network has the AU vocabulary {name!r}, which is none of this version's "
            f"({', '.join(VOCABULARIES)}): train a new one."
        )
    if count not in (None, len(VOCABULARIES[name])):
        raise DataError(
            f"This network takes {count} AUs and {name} has {len(VOCABULARIES[name])}: train one on this "
            "version's labels."
        )
    return sizes


def vocabulary_name(aus: Sequence[str]) -> str:
    """The name of the vocabulary that has exactly these AUs. Raises DataError when none has."""
    for name, known in VOCABULARIES.items():
        if known == tuple(aus):
            return name
    raise DataError(
        f"These {len(aus)} AUs are none of the vocabularies that networks are trained on "
        f"({', '.join(VOCABULARIES)})."
    )


def shares(aus: Sequence[str]) -> Tensor:
    """(N,) float32: 1/2 for each side of an AU, 1 for a whole one: sums of both vocabularies agree."""
    return torch.tensor([1.0 if whole(name) == name else 0.5 for name in aus])


def views(aus: Sequence[str]) -> Tensor:
    """(V, N, W) float32: `change @ views` are the whole AUs of each half of the face, right half first.

    One view where the vocabulary has no sides.
    """
    known, halves = wholes(aus), (RIGHT, LEFT) if set(aus) - set(wholes(aus)) else ("",)
    seen = torch.zeros(len(halves), len(aus), len(known))
    for row, name in enumerate(aus):
        for view, half in enumerate(halves):
            if whole(name) == name or name.endswith(half):
                seen[view, row, known.index(whole(name))] = 1
    return seen


def widened(weight: Tensor, before: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """Weights (C, len(before)) of a layer that takes AUs -> (C, len(wanted)), as a layer that takes others.

    So each side has half of what the whole had, and AUs that were not known have 0.
    """
    return weight @ translation(wanted, before).to(weight).T


def translation(given: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """(len(given), len(wanted)) float32: `values @ translation` is action_units.translate on tensors."""
    return torch.from_numpy(translate(np.eye(len(given), dtype=np.float32), given, wanted))
