"""What may run beside MediaPipe's estimator: it corrects the change of AUs, or only records."""

from typing import Protocol

import numpy as np

from engines.face.landmarks import Face
from realtime.messages import Frame


class SecondaryEstimator(Protocol):
    """Sees every valid frame of the driver after the first estimator."""

    def __call__(self, change: np.ndarray, frame: Frame, face: Face) -> np.ndarray:
        """Returns the change of AUs from neutral, corrected or as it came.

        Args:
            change: (N,) float32 in the order of `au_estimator.ESTIMATED`, -1..1.
            frame: the driver's frame that it was estimated from.
            face: the face in it.
        """
        ...

    def relearn(self) -> None:
        """Starts learning the driver's neutral again."""
        ...

    def close(self) -> None: ...
