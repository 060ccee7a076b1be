"""Samples by emotion, for the baselines: a face that clearly shows one, and the emotion that it shall show.

Sample number i is a pure function of (seed, i), noise and mixes included. Emotions are drawn equally often,
however rare they are. Labels come from the AUs (train/data/emotions.py); faces without a clear one are left
out.
"""

import cv2
import numpy as np
from torch.utils.data import Dataset

from engines.errors import DataError
from train.data.corpus import Corpus
from train.data.emotions import EMOTIONS, classify
from train.data.jitter import apply_jitter, draw_jitter


class EmotionSamples(Dataset):
    """An endless, seekable stream of a corpus' training people, or of those held out.

    An item: picture (S, S, 3) uint8 BGR of a face that shows sources[label]; label, wanted () int64, places
    in `sources` and `targets`; mix () float32 in 0..1; other (S, S, 3), another's face that shows
    targets[wanted], if `pairs`; noise (n,) float32, normal, if `noise` is n. Raises DataError for an unknown
    emotion, one that no training face shows, or crops smaller than size_px.
    """

    def __init__(
        self,
        corpus: Corpus,
        seed: int,
        size_px: int,
        sources: tuple[str, ...],
        targets: tuple[str, ...],
        held_out: bool = False,
        pairs: bool = False,
        noise: int = 0,
        length: int = 10**9,
    ):
        if size_px > corpus.size_px:
            raise DataError(
                f"The corpus has crops of {corpus.size_px} px, {size_px} px are wanted: prepare it with "
                f"--size {size_px}."
            )
        self.corpus, self.seed, self.size_px, self.length = corpus, seed, size_px, length
        self.sources, self.targets, self._pairs, self._noise = sources, targets, pairs, noise
        shown = classify(corpus.aus)
        self.faces = {name: _faces(shown, corpus.held_out, name, held_out) for name in (*sources, *targets)}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng((self.seed, number, 0xE307))
        label, wanted = int(rng.integers(len(self.sources))), int(rng.integers(len(self.targets)))
        item = {
            "picture": self._picture(self.sources[label], rng),
            "label": np.array(label, np.int64),
            "wanted": np.array(wanted, np.int64),
            "mix": np.array(rng.random(), np.float32),
        }
        if self._pairs:
            item["other"] = self._picture(self.targets[wanted], rng)
        if self._noise:
            item["noise"] = rng.standard_normal(self._noise, np.float32)
        return item

    def _picture(self, emotion: str, rng: np.random.Generator) -> np.ndarray:
        picture = self.corpus.picture(int(rng.choice(self.faces[emotion])))
        picture = apply_jitter(picture, *draw_jitter(len(picture), rng))
        if self.size_px < len(picture):
            picture = cv2.resize(picture, (self.size_px, self.size_px), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(picture)


def _faces(shown: np.ndarray, held_out: np.ndarray, emotion: str, wants_held_out: bool) -> np.ndarray:
    """Which faces show an emotion.

    Where none of the held-out people does, training people stand in, so that a run can be monitored.
    """
    if emotion not in EMOTIONS:
        raise DataError(f"There is no emotion called {emotion!r}: choose among {', '.join(EMOTIONS)}.")
    whole = shown == EMOTIONS.index(emotion)
    found = np.flatnonzero(whole & (held_out == wants_held_out))
    if len(found) == 0 and wants_held_out:
        found = np.flatnonzero(whole)
    if len(found) == 0:
        raise DataError(
            f"No training face of this corpus looks clearly {emotion}: leave it out of --emotions, or "
            "prepare more faces."
        )
    return found.astype(np.int32)
