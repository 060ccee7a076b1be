"""A corpus seen at another size, so that an engine of 128 px is measured on a corpus of 256 px.

Crops of any size show the same square.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from engines.errors import DataError
from train.data.corpus import FaceCorpus


@dataclass(frozen=True)
class ScaledCorpus:
    """What reports use of a Corpus, with smaller pictures."""

    corpus: FaceCorpus
    size_px: int

    def __len__(self) -> int:
        return len(self.corpus)

    def picture(self, i: int) -> np.ndarray:
        """(size_px, size_px, 3) uint8 BGR."""
        return cv2.resize(self.corpus.picture(i), (self.size_px, self.size_px), interpolation=cv2.INTER_AREA)

    @property
    def aus(self) -> np.ndarray:
        return self.corpus.aus

    @property
    def angles_deg(self) -> np.ndarray:
        return self.corpus.angles_deg

    @property
    def person(self) -> np.ndarray:
        return self.corpus.person

    @property
    def is_clip(self) -> np.ndarray:
        return self.corpus.is_clip

    @property
    def held_out(self) -> np.ndarray:
        return self.corpus.held_out

    @property
    def held_out_sources(self) -> tuple[str, ...]:
        return self.corpus.held_out_sources

    def own(self, i) -> np.ndarray:
        """Intensities 0..1 of one face (29,) or of several (n, 29)."""
        return self.corpus.own(i)

    def is_from(self, *sources: str) -> np.ndarray:
        return self.corpus.is_from(*sources)


def at_size(corpus: FaceCorpus, size_px: int) -> FaceCorpus:
    """The corpus with pictures of size_px.

    Raises DataError when its own are smaller: enlarged ones would be blamed on the engine.
    """
    if corpus.size_px == size_px:
        return corpus
    if corpus.size_px < size_px:
        raise DataError(
            f"The engine edits {size_px} px crops and the corpus has {corpus.size_px} px: prepare it with "
            f"--size {size_px}."
        )
    return ScaledCorpus(corpus, size_px)
