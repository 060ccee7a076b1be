"""Keeps to the driver's place in the frame: a face that turns up elsewhere is not the driver's.

MediaPipe follows one face, and once that is lost or crossed by another, takes the next best. The mesh does
not tell people apart well enough in a single frame (realtime/tracking/occlusion.py), but a head that was lost
comes back where it was.
"""

import numpy as np

from engines.face.landmarks import Face

GONE_S = 3.0  # without the driver, after which the next face in view becomes theirs
# Face widths from where the driver was: a head that sways or ducks; people side by side are 1.5 or more
# apart.
NEAR = 0.8
# Times as large or as small: leaning to or from the camera is less, a person behind the driver is half as
# large.
SIZE_RATIO = 1.6
# Face widths of the frame left visible around the lost face: a head at NEAR, with a margin that the detector
# needs.
MARGIN = 0.7
GREY = 127


class DriverLock:
    """Remembers one driver's place."""

    def __init__(self) -> None:
        self._box: np.ndarray | None = None  # left, top, right, bottom in pixels
        self._locked_s = 0.0
        self._elsewhere = False

    def view(self, image: np.ndarray, time_s: float, searching: bool) -> np.ndarray:
        """Returns the picture for the tracker, grey outside the driver's place while they are searched for.

        Args:
            image: (H, W, 3) uint8; returned itself where nothing has to be masked.
            time_s: when it was captured.
            searching: whether the tracker lost the face.
        """
        if self._box is None or time_s - self._locked_s > GONE_S or not (searching or self._elsewhere):
            return image
        height, width = image.shape[:2]
        margin = MARGIN * (self._box[2] - self._box[0])
        left, top = np.maximum(self._box[:2] - margin, 0).astype(int)
        right, bottom = np.minimum(self._box[2:] + margin, (width, height)).astype(int)
        masked = np.full_like(image, GREY)
        masked[top:bottom, left:right] = image[top:bottom, left:right]
        return masked

    def matches(self, face: Face, time_s: float) -> bool:
        """Whether a face, found again or covered until now, is where the driver's was."""
        self._elsewhere = False
        if self._box is None or time_s - self._locked_s > GONE_S:
            return True
        box = np.array(face.box_px)
        width = box[2] - box[0]
        width_before = self._box[2] - self._box[0]
        away_px = np.linalg.norm(box[:2] + box[2:] - self._box[:2] - self._box[2:]) / 2
        same_size = 1 / SIZE_RATIO < width / width_before < SIZE_RATIO
        self._elsewhere = bool(away_px > NEAR * width_before or not same_size)
        return not self._elsewhere

    def update(self, face: Face, time_s: float) -> None:
        """Locks on to the driver's face, which is here at time_s."""
        self._box = np.array(face.box_px)
        self._locked_s = time_s
        self._elsewhere = False

    def hold(self, face: Face, shape: tuple[int, ...], time_s: float) -> None:
        """Keeps the place while the face is covered: what covers it may be another person who walks past.

        Args:
            face: what the tracker found. Its place is taken over only if the driver's reaches out of the
                frame: there drivers come back from.
            shape: (H, W, ...) of the frame.
            time_s: when it was captured.
        """
        self._locked_s = time_s
        if self._box is not None and (
            (self._box[:2] < 0).any() or (self._box[2:] > (shape[1], shape[0])).any()
        ):
            self._box = np.array(face.box_px)

    def expired(self, time_s: float) -> bool:
        """Whether the driver has been away so long that the next face may be any person's."""
        return self._box is not None and time_s - self._locked_s > GONE_S
