"""Detects that something covers the face: a skull keeps its shape, a mesh that is fitted to a hand does not.

The tracker returns 478 landmarks whatever it sees, and no confidence. The points that no expression moves,
freed from pose, differ from those of a moment ago by the tracker's jitter alone, until something covers the
face and the mesh gives way. Measured on 12 clips of people who speak, laugh and grimace (3429 frames), on the
shipped driver, and on the same clips with a drawn hand that passes, covers the mouth, covers the eyes
(tests/support/disturbances.py). Lengths are in outer eye distances. Neither the speed of AUs, nor the colours
at the landmarks, nor MediaPipe's own thresholds separate covered from clear as well.
"""

import numpy as np

from engines.face.mesh import RIGID, mean_face
from realtime.timing import ema_weight

# RIGID, and the edge of the face before the ears, which a hand at the mouth pulls along first.
SKULL = (*RIGID, 93, 323, 132, 361)
DEPTH_SHARE = 0.5  # of an error in depth that counts: depth is estimated and jitters most

# How long ago "a moment ago" is: a hand arrives faster, a head turns and the tracker drifts more slowly.
MOMENT_S = 0.25
USUAL_S = 3.0  # over which a driver's usual shape is averaged
# Distance from a moment ago. Clear: half below 0.007, 99 % below 0.022, all below 0.034. Under a hand: half
# above 0.06.
COVERED = 0.024  # 15 of 3609 clear frames lie above, in the quickest turns of a head
CERTAIN = 0.034  # no clear frame lies above: from here on it takes a while to be valid again
# Between frames; heads turn further between slower ones: the limit grows from COVERED to CERTAIN.
FAST_INTERVAL_S = 0.05
SUSPECT = 0.017  # 5 % of clear frames lie above; a hand needs two or three frames from here to COVERED
RELEASE_S = 0.08  # "a moment ago" while it is covered: the return is seen sooner
# After less than CERTAIN, more than this from both reference shapes is still covered: a slow camera saw a
# hand arrive within few frames.
FAR = 0.040
# From the shape before the hand, or from the usual one: people wander 0.01-0.05 from theirs in a clip, hands
# reach 0.06-0.09.
NEAR = 0.026
CALM_S = 0.2  # for which it has to be near: the tracker smooths, and needs that to let go of a hand
# A covered face that keeps its new shape may have a wrong reference: learnt with a hand at the chin, or
# glasses put on. If the new shape is as much like a face as the old; hands are less so (0.04-0.07 from the
# mean face; people 0.02-0.05).
GIVE_UP_S = 3.0
GIVE_UP_UNLIKE_S = 30.0  # if it is less so: longer than a chin rests on a hand
# Between usual shapes: one person's at two times 0.003-0.016 (12 of 13), two persons' 0.021-0.06 (9 of 10).
ANOTHER_PERSON = 0.02


class OcclusionDetector:
    """Follows the shape of one driver's skull."""

    def __init__(self) -> None:
        self._valid: np.ndarray | None = None  # (29, 3) a moment ago, while the face was clear
        self._recent = np.zeros((len(SKULL), 3))  # a moment ago, clear or not
        self._usual = np.zeros((len(SKULL), 3))  # on average
        self._began_s = 0.0
        self._time_s = 0.0
        self._covered_s = 0.0  # when it was covered
        self._far_s = 0.0  # when it was last far from its references
        self._peak = 0.0  # the largest distance since it was covered; 0 while it is not
        self.suspicion = 0.0  # 0..1: 1 at COVERED

    def is_covered(self, aligned: np.ndarray, time_s: float, in_full_view: bool = True) -> bool:
        """Returns whether an aligned mesh cannot be this driver's uncovered face. Call it with every mesh.

        Args:
            aligned: (478, 3) landmarks freed from pose, in outer eye distances.
            time_s: when its frame was captured.
            in_full_view: False for a face that is turned away or cut by the frame's edge: its mesh bends by
                itself, so it is not judged and nothing is learnt from it.
        """
        shape = aligned[list(SKULL)] * (1, 1, DEPTH_SHARE)
        if self._valid is None:
            self._valid = self._recent = self._usual = shape
            self._began_s = time_s
        elapsed_s = time_s - self._time_s
        self._time_s = time_s
        change = distance(shape, self._recent)
        moment_s = MOMENT_S if self._peak <= CERTAIN else RELEASE_S
        self._recent = self._recent + ema_weight(elapsed_s, moment_s) * (shape - self._recent)
        limit = COVERED + (CERTAIN - COVERED) * min(1.0, max(0.0, elapsed_s - FAST_INTERVAL_S) / MOMENT_S)
        self.suspicion = float(np.clip((change * COVERED / limit - SUSPECT) / (COVERED - SUSPECT), 0, 1))
        if not in_full_view:
            return False
        changes = change > limit
        if not self._peak and changes:
            self._covered_s = time_s
        if self._peak or changes:
            self._peak = max(self._peak, change)
            if self._is_still_covered(shape, self._valid, changes, time_s):
                return True
            self._peak = 0.0
        self._valid = self._recent
        since_s = max(MOMENT_S, time_s - self._began_s)  # in the first seconds every frame counts alike
        self._usual = self._usual + ema_weight(elapsed_s, min(USUAL_S, since_s)) * (shape - self._usual)
        return False

    def _is_still_covered(self, shape: np.ndarray, valid: np.ndarray, changes: bool, time_s: float) -> bool:
        """Whether a face that was covered still is.

        Args:
            shape: (29, 3) in this frame.
            valid: (29, 3) before it was covered.
            changes: whether it differs from a moment ago by more than the limit.
            time_s: of the frame.
        """
        uncertain = self._peak <= CERTAIN
        off = min(distance(shape, valid), distance(shape, self._usual))
        if not changes and off <= (FAR if uncertain else NEAR):
            return not uncertain and time_s - self._far_s < CALM_S
        self._far_s = time_s
        like_a_face = _off_mean_face(shape) <= _off_mean_face(self._usual)
        if changes or time_s - self._covered_s < (GIVE_UP_S if like_a_face else GIVE_UP_UNLIKE_S):
            return True
        self._usual = shape
        self._began_s = time_s
        return False

    @property
    def usual(self) -> np.ndarray | None:
        """(29, 3) this driver's own shape, which differs between people; None before the first mesh."""
        return None if self._valid is None else self._usual


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square distance of two shapes (29, 3), in outer eye distances."""
    return float(np.sqrt(((one - other) ** 2).sum(axis=-1).mean()))


def _off_mean_face(shape: np.ndarray) -> float:
    """Distance of a shape (29, 3) from the mean face's."""
    return distance(shape, mean_face()[list(SKULL)] * (1, 1, DEPTH_SHARE))
