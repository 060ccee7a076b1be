"""The order in which training sees faces: number -> face, a pure function of (seed, number).

So a stopped run resumes from the number that it had reached, in the middle of an epoch too, and several
machines agree without communication. An epoch draws as many faces as there are. Rare expressions are drawn
more often than their number, and faces come a few shards at a time, so that a disk is read nearly from one
end to the other.
"""

import numpy as np

from engines.face.action_units import WIDE, whole, wholes
from train.data.corpus import Corpus, faces_of

SHOWN = 0.4  # intensity from which on an AU names a face's expression; below, the face rests
BUCKETS = wholes(WIDE)  # a smile is a smile, whichever side of it is stronger
RESTING = len(BUCKETS)  # the bucket of faces that show no AU
AT_ONCE = 65536  # faces looked at together: bounds memory
KEPT_EPOCHS = 2  # the one that is being read, and the one that is read ahead
_BUCKET_OF = np.array([BUCKETS.index(whole(name)) for name in WIDE], np.int8)


def expression_of(aus: np.ndarray) -> np.ndarray:
    """The expression of each face.

    Args:
        aus: (N, 29) measures.

    Returns:
        (N,) int8: index into BUCKETS of the strongest AU, or RESTING when none reaches SHOWN.
    """
    found = np.empty(len(aus), np.int8)
    for start in range(0, len(aus), AT_ONCE):
        some = np.clip(aus[start : start + AT_ONCE], 0, 1)
        found[start : start + AT_ONCE] = np.where(
            some.max(axis=1) >= SHOWN, _BUCKET_OF[some.argmax(axis=1)], RESTING
        )
    return found


def shares(counts: np.ndarray, balance: float) -> np.ndarray:
    """Faces in each bucket -> the bucket's share of an epoch, as counts ** (1 - balance).

    So a balance of 0 leaves the counts, and 1 makes buckets equal.
    """
    weights = np.where(counts > 0, np.maximum(counts, 1) ** (1.0 - balance), 0.0)
    return weights / weights.sum()


class BalancedOrder:
    """The faces of a corpus' training people (or of those held out), endlessly, epoch after epoch.

    balance: 0 draws every face once an epoch, 1 draws every expression equally often. window: shards shuffled
    together; 8 shards of 1000 faces mix people and sources well, and stay in the page cache of a small
    machine (~300 MB). Raises DataError when there is no such face.
    """

    def __init__(
        self, corpus: Corpus, seed: int, balance: float = 0.5, window: int = 8, held_out: bool = False
    ):
        self.seed, self.window = seed, window
        self.faces = faces_of(corpus, held_out)
        self.expression = expression_of(corpus.aus)[self.faces]
        counts = np.bincount(self.expression, minlength=RESTING + 1)
        # An epoch, by bucket
        self.times = (shares(counts, balance) * len(self.faces) / np.maximum(counts, 1)).astype(np.float32)
        self._shard = corpus.shard[self.faces].astype(np.int32)
        self._shards = int(self._shard.max()) + 1
        self._epochs: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        """Faces in an epoch."""
        return len(self.faces)

    def __getitem__(self, number: int) -> int:
        epoch, place = divmod(int(number), len(self.faces))
        return int(self.epoch(epoch)[place])

    def epoch(self, epoch: int) -> np.ndarray:
        """(len,) int32: the faces of an epoch in order."""
        found = self._epochs.get(epoch)
        if found is None:
            found = self._epochs[epoch] = self._drawn(np.random.default_rng((self.seed, epoch, 0x0DE2)))
            while len(self._epochs) > KEPT_EPOCHS:
                self._epochs.pop(next(iter(self._epochs)), None)
        return found

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        count = len(self.faces)
        shuffled = rng.permutation(count)
        # Systematic sampling: a face that is due 1.3 times comes once or twice, and all together come exactly
        # `count` times.
        due = np.cumsum(self.times[self.expression[shuffled]], dtype=np.float64)
        due *= count / due[-1]
        due[-1] = count
        marks = np.floor(due + rng.random()).astype(np.int64)
        drawn = np.repeat(shuffled, np.diff(marks, prepend=0))
        window = rng.permutation(self._shards) // self.window  # shards in a new order, so many at a time
        # `drawn` is shuffled but for copies of a face, which lie side by side
        drawn = drawn[rng.permutation(count)]
        return self.faces[drawn[np.argsort(window[self._shard[drawn]], kind="stable")]]
