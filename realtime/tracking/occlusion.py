"""Whether something covers the face: a skull keeps its shape, a mesh that is fitted to a hand does not.

The tracker gives 478 landmarks whatever it sees, and no confidence. But the points that no expression moves, freed from
pose, differ from those of a moment ago by the tracker's tremble alone, until something covers the face and the mesh gives
way. Measured on 12 clips of people who speak, laugh and grimace (3429 pictures), on the shipped driver, and on the same with
a drawn hand that passes, covers the mouth, covers the eyes (tests/support/disturbances.py). Lengths are outer eye distances.
Neither the speed of AUs, nor the colours at the landmarks, nor MediaPipe's own thresholds tell the two apart as well.
"""

import numpy as np

from engines.face.mesh import RIGID, mean_face

# RIGID, and the edge of the face before the ears, which a hand at the mouth pulls along first.
SKULL = (*RIGID, 93, 323, 132, 361)
DEPTH_SHARE = 0.5  # of an error in depth that counts: depth is guessed and trembles most

MOMENT_S = 0.25  # how long ago "a moment ago" is: a hand arrives faster, a head turns and the tracker drifts more slowly
USUAL_S = 3.0  # over which a person's usual shape is averaged
# From a moment ago. Clean: half below 0.007, 99 % below 0.022, all below 0.034. Under a hand: half above 0.06.
COVERED = 0.024  # 15 of 3609 clean pictures lie above, in the quickest turns of a head
SURELY = 0.034  # no clean picture lies above: from here on it takes a while to be believed again
LIVELY_S = (
    0.05  # between pictures; heads turn further between slower ones: the limit grows from COVERED to SURELY
)
DOUBTED = 0.017  # 5 % of clean pictures lie above; a hand needs two or three pictures from here to COVERED
RELEASE_S = 0.08  # "a moment ago" while it is covered: the way back is the quicker seen
FAR = 0.040  # after less than SURELY, more than this from both is covered still: a slow camera saw a hand come in few pictures
BACK = 0.026  # from the shape before the hand, or from the usual one: people wander 0.01-0.05 from theirs in a clip, hands reach 0.06-0.09
CALM_S = 0.2  # and so for so long: the tracker smooths, and needs that to let go of a hand
# A covered face that keeps its new shape may be a wrong idea of the old one: learnt with a hand at the chin, glasses put on.
GIVE_UP_S = 3.0  # if the new shape is as much like a face as the old; hands are less so (0.04-0.07 from the mean face; people 0.02-0.05)
GIVE_UP_WORSE_S = 30.0  # if it is less so: longer than a chin rests on a hand
ANOTHER = 0.02  # between usual shapes: one person's at two times 0.003-0.016 (12 of 13), two persons' 0.021-0.06 (9 of 10)


class OcclusionDetector:
    """Follows the shape of one driver's skull."""

    def __init__(self) -> None:
        self._recent: np.ndarray | None = None  # (29, 3) a moment ago, while believed
        self._now = self._usual = np.zeros((len(SKULL), 3))  # a moment ago, believed or not; on average
        self._began_s = self._time_s = self._covered_s = self._astray_s = 0.0
        self._peak = 0.0  # of what was measured since it was covered; 0 while it is not
        self.doubt = 0.0  # 0..1: 1 at COVERED

    def covered(self, aligned: np.ndarray, time_s: float, plain: bool = True) -> bool:
        """Whether an aligned mesh (478, 3) at time_s cannot be this driver's face laid open. Call it with every one.

        plain: whether it is in full view; one that is turned away or cut by the picture's edge bends by itself, and teaches nothing.
        """
        shape = aligned[list(SKULL)] * (1, 1, DEPTH_SHARE)
        if self._recent is None:
            self._recent, self._now, self._usual, self._began_s = shape, shape, shape, time_s
        elapsed_s, self._time_s = time_s - self._time_s, time_s
        moved = distance(shape, self._now)
        self._now = self._now + _share(elapsed_s, MOMENT_S if self._peak <= SURELY else RELEASE_S) * (
            shape - self._now
        )
        limit = COVERED + (SURELY - COVERED) * min(1.0, max(0.0, elapsed_s - LIVELY_S) / MOMENT_S)
        self.doubt = float(np.clip((moved * COVERED / limit - DOUBTED) / (COVERED - DOUBTED), 0, 1))
        if not plain:
            return False
        if not self._peak and moved > limit:
            self._covered_s = time_s
        if self._peak or moved > limit:
            self._peak = max(self._peak, moved)
            if self._still_covered(shape, moved > limit, time_s):
                return True
            self._peak = 0.0
        self._recent = self._now
        since_s = max(MOMENT_S, time_s - self._began_s)  # the first seconds count alike
        self._usual = self._usual + _share(elapsed_s, min(USUAL_S, since_s)) * (shape - self._usual)
        return False

    def _still_covered(self, shape: np.ndarray, moves: bool, time_s: float) -> bool:
        slightly = self._peak <= SURELY
        near = min(distance(shape, self._recent), distance(shape, self._usual))
        if not moves and near <= (FAR if slightly else BACK):
            return not slightly and time_s - self._astray_s < CALM_S
        self._astray_s = time_s
        like_a_face = _unlike_a_face(shape) <= _unlike_a_face(self._usual)
        if moves or time_s - self._covered_s < (GIVE_UP_S if like_a_face else GIVE_UP_WORSE_S):
            return True
        self._usual, self._began_s = shape, time_s
        return False

    @property
    def usual(self) -> np.ndarray | None:
        """(29, 3) this driver's own shape, by which people can be told apart; None before anybody came."""
        return None if self._recent is None else self._usual


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square distance of two shapes, outer eye distances."""
    return float(np.sqrt(((one - other) ** 2).sum(axis=-1).mean()))


def _unlike_a_face(shape: np.ndarray) -> float:
    return distance(shape, mean_face()[list(SKULL)] * (1, 1, DEPTH_SHARE))


def _share(elapsed_s: float, time_s: float) -> float:
    """How much of a step an average over time_s follows in elapsed_s."""
    return 1 - float(np.exp(-max(0.0, elapsed_s) / time_s))
