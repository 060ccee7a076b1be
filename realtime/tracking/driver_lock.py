"""Where the driver sits, so that nobody else is taken for them: a face that turns up elsewhere is not the driver's.

MediaPipe follows one face, and once that is lost or crossed by another, takes the next best. The mesh does not tell
people apart well enough for a single picture (realtime/tracking/occlusion.py), but a head that was lost comes back where it was.
"""

import numpy as np

from engines.face.landmarks import Face

GONE_S = 3.0  # after so long without the driver, whoever is in view has the seat
NEAR = 0.8  # face widths from where the driver was: a head that sways or ducks; people side by side are 1.5 or more apart
CLOSER = 1.6  # times as large or as small: a lean is less, somebody behind the driver is half as large
AROUND = 0.7  # face widths of the picture left open around the lost face: a head at NEAR with a margin that the detector wants
GREY = 127


class DriverLock:
    """Remembers one driver's place."""

    def __init__(self) -> None:
        self._box: np.ndarray | None = None  # left, top, right, bottom in pixels
        self._taken_s = 0.0
        self._elsewhere = False

    def view(self, image: np.ndarray, time_s: float, looking: bool) -> np.ndarray:
        """The (H, W, 3) picture for the tracker: while it is `looking` for a driver who sat here lately, grey outside their place."""
        if self._box is None or time_s - self._taken_s > GONE_S or not (looking or self._elsewhere):
            return image
        height, width = image.shape[:2]
        margin = AROUND * (self._box[2] - self._box[0])
        left, top = np.maximum(self._box[:2] - margin, 0).astype(int)
        right, bottom = np.minimum(self._box[2:] + margin, (width, height)).astype(int)
        masked = np.full_like(image, GREY)
        masked[top:bottom, left:right] = image[top:bottom, left:right]
        return masked

    def is_drivers(self, face: Face, time_s: float) -> bool:
        """Whether a face, found again or covered until now, is where the driver's was."""
        self._elsewhere = False
        if self._box is None or time_s - self._taken_s > GONE_S:
            return True
        box = np.array(face.box_px)
        width, before = box[2] - box[0], self._box[2] - self._box[0]
        away = np.linalg.norm(box[:2] + box[2:] - self._box[:2] - self._box[2:]) / 2
        self._elsewhere = bool(away > NEAR * before or not 1 / CLOSER < width / before < CLOSER)
        return not self._elsewhere

    def take(self, face: Face, time_s: float) -> None:
        """The driver's face is here now."""
        self._box, self._taken_s, self._elsewhere = np.array(face.box_px), time_s, False

    def keep(self, face: Face, shape: tuple[int, ...], time_s: float) -> None:
        """Something is before the driver's face, which may be somebody's who walks past: the place stays, unless it is half outside
        a picture of this shape (H, W, ...), where drivers come back from."""
        self._taken_s = time_s
        if self._box is not None and (
            (self._box[:2] < 0).any() or (self._box[2:] > (shape[1], shape[0])).any()
        ):
            self._box = np.array(face.box_px)

    def empty(self, time_s: float) -> bool:
        """Whether the driver has been away so long that the next face is anybody's."""
        return self._box is not None and time_s - self._taken_s > GONE_S
