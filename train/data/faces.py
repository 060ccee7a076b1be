"""Samples for adversarial training: a photo of a face, its AUs, and the AUs that the edit shall have.

Sample number i is a pure function of (seed, i): a resumed run, or one on more machines, sees exactly the
same. Source: GANimation, section 5: wanted AUs are those of another photo, and noise.
"""

import cv2
import numpy as np
from torch.utils.data import Dataset

from engines.errors import DataError
from engines.face.action_units import WIDE, translate
from train.data.balanced_order import BalancedOrder
from train.data.corpus import Corpus
from train.data.emotions import classify
from train.data.jitter import apply_jitter, draw_jitter, mirrored_aus

NOISE = 0.1  # U(-0.1, 0.1) on the wanted AUs, as in the paper's code


class FaceSamples(Dataset):
    """An endless, seekable stream of a corpus' training people (or those held out), balanced by expression.

    An item: picture (S, S, 3) uint8 BGR; own, wanted (N,) float32 in 0..1, N the AUs of the vocabulary `aus`;
    mix () float32 in 0..1, where between a real and a made picture the gradient penalty looks; label ()
    int64, a place in EMOTIONS or -1. Raises DataError when the corpus' crops are smaller than size_px.
    """

    def __init__(
        self,
        corpus: Corpus,
        seed: int,
        size_px: int,
        held_out: bool = False,
        balance: float = 0.5,
        length: int = 10**9,
        aus: tuple[str, ...] = WIDE,
    ):
        if size_px > corpus.size_px:
            raise DataError(
                f"The corpus has crops of {corpus.size_px} px, {size_px} px are wanted: prepare it with "
                f"--size {size_px}."
            )
        self.corpus = corpus
        self.seed = seed
        self.size_px = size_px
        self.length = length
        self.aus = aus
        self.order = BalancedOrder(corpus, seed, balance, held_out=held_out)
        # Wanted AUs are always those of training people, also when the photos are of people held out
        others = np.flatnonzero(~corpus.held_out).astype(np.int32)
        self._others = others if len(others) else self.order.faces

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        cv2.setNumThreads(1)
        rng = self.rng(number)
        picture = self.corpus.picture(self.order[number])
        mirror, matrix = draw_jitter(len(picture), rng)
        picture = apply_jitter(picture, mirror, matrix)
        return {"picture": np.ascontiguousarray(self.sized(picture)), **self.labels(number, rng, mirror)}

    def rng(self, number: int) -> np.random.Generator:
        """The random numbers of one sample: first its jitter is drawn from them, then its labels."""
        return np.random.default_rng((self.seed, number, 0xFACE))

    def sized(self, picture: np.ndarray) -> np.ndarray:
        """A crop of the corpus at size_px."""
        smaller = self.size_px < len(picture)
        return (
            cv2.resize(picture, (self.size_px, self.size_px), interpolation=cv2.INTER_AREA)
            if smaller
            else picture
        )

    def labels(self, number: int, rng: np.random.Generator, mirror: bool) -> dict[str, np.ndarray]:
        """A sample without its picture: own, wanted, mix, label as above.

        Args:
            number: of the sample.
            rng: the sample's own, after its jitter was drawn.
            mirror: whether the picture is mirrored.
        """
        shown = self.corpus.own(self.order[number])
        shown = mirrored_aus(shown) if mirror else shown
        own = translate(shown, WIDE, self.aus)
        other = translate(self.corpus.own(int(rng.choice(self._others))), WIDE, self.aus)
        wanted = np.clip(other + rng.uniform(-NOISE, NOISE, len(other)), 0, 1)
        return {
            "own": own,
            "wanted": wanted.astype(np.float32),
            "mix": np.array(rng.random(), np.float32),
            "label": classify(shown[None])[0],
        }
