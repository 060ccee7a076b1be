"""Whether the driver's face may be believed, picture by picture. The one place where that is decided.

A face is believed when it is the driver's, in view, turned towards the camera, with nothing before it, in enough light.
What is not believed moves nothing: the puppet holds, eases and rests (realtime/puppet/tracking_loss.py). Every fault has two limits, one
at which it begins and a lower one at which it ends, so that a face at a boundary does not flap. Believing costs no time:
the verdict on a picture needs no later one. Times are the pictures' own. Knows no AUs.
"""

from dataclasses import dataclass

import numpy as np

from engines.face.landmarks import Face
from engines.face.mesh import align
from realtime.messages import Frame
from realtime.tracking.driver_lock import DriverLock
from realtime.tracking.lighting import LightingMonitor
from realtime.tracking.occlusion import ANOTHER, OcclusionDetector, distance

LOST, TINY, ELSEWHERE, OUTSIDE, TURNED, COVERED, DARK = (
    "face lost",
    "too far",
    "somebody else",
    "half outside",
    "turned away",
    "face covered",
    "too dark",
)


@dataclass(frozen=True)
class Hysteresis:
    """Where a fault begins, and where it ends."""

    begins: float
    ends: float

    def broken(self, value: float, already: bool) -> bool:
        return value > (self.ends if already else self.begins)


NARROW = Hysteresis(-40, -44)  # minus the face's width in px: AUs of narrower ones are noise
# Share of landmarks outside the picture. Three clips slid out of their frame at each edge: the largest error of an AU is 0.1 in full view,
# 0.1-0.3 at a share of 0.1, 0.2-0.5 at 0.2, 0.5-0.9 at 0.45; which edge matters little, since the mesh is fitted as a whole.
OUT = Hysteresis(0.15, 0.10)
# Degrees as the tracker reads them. Photos turned by their meshes: three AUs are off by 0.25 at a yaw of 30 and by 0.4 at 35, where the
# reading itself stops following; by 0.3 at pitch 26 down (chin in, lids in shadow) and at 32 up. Speakers of 12 clips stay within 22.
YAW, DOWN, UP = Hysteresis(32, 27), Hysteresis(27, 23), Hysteresis(34, 29)
# Roll is taken out by the alignment. Two speakers' clips turned further and further: AUs off by 0.1-0.2 upright, 0.2-0.3 up to 70
# degrees, 0.3-0.45 at 85; the shipped driver's go wrong at 45, which the skull tells. The tracker itself holds on beyond 110.
ROLL = Hysteresis(60, 52)
# Noise over light (realtime/tracking/lighting.py). Lit rooms: below 0.016. AUs of a still face tremble by 0.1 from peak to peak at 0.04, by 0.3 at
# 0.08, by 0.5 at 0.15; at 0.25 every second picture is lost.
DIM = Hysteresis(0.07, 0.055)  # the screen says so, the puppet goes on
BLIND = Hysteresis(0.22, 0.17)
CALM_FROM, CALM_FULL = 0.025, 0.09  # from no smoothing beyond the usual to all of it
LOST_S = 0.3  # a hand makes the tracker lose the face and find it by turns; the word on the screen stays
LIGHT_S = 0.1  # between two looks at the light
SETTLED_S = 1.0  # of a face after which its usual shape says whether it is another person's


@dataclass(frozen=True)
class Validation:
    """What is thought of one picture."""

    believed: bool
    note: str = ""  # two words for the screen
    calm: float = 0.0  # 0..1: how much more than usual the AUs should be smoothed


class FaceValidator:
    """Judges the pictures of one driver in turn."""

    def __init__(self) -> None:
        self._seat, self._skull, self._light = DriverLock(), OcclusionDetector(), LightingMonitor()
        self._fault = LOST  # of the picture before; "" when it was believed
        self._dim, self._looking = False, True
        self._lit_s = self._began_s = self._seen_s = 0.0
        self._former: np.ndarray | None = None  # the skull of who had the seat before
        self.newcomer = False  # whether the last picture showed that another person has taken the seat

    def view(self, frame: Frame) -> np.ndarray:
        """(H, W, 3) uint8: what of a frame the tracker may look at."""
        return self._seat.view(frame.image, frame.captured_s, self._looking)

    def judge(self, face: Face | None, frame: Frame) -> Validation:
        """What to think of the face that was found in `view(frame)`."""
        self._fault = self._find_fault(face, frame)
        if self._fault:
            self.newcomer = False
            return Validation(False, self._fault)
        self.newcomer = self._is_newcomer(frame.captured_s)
        darkness = self._light.darkness
        self._dim = DIM.broken(darkness, self._dim)
        calm = float(np.clip((darkness - CALM_FROM) / (CALM_FULL - CALM_FROM), 0, 1))
        return Validation(True, DARK if self._dim else "", max(calm, self._skull.doubt))

    def _find_fault(self, face: Face | None, frame: Frame) -> str:
        """The first thing that is wrong with a face; what lies behind it cannot be judged."""
        time_s, before = frame.captured_s, self._fault
        self._looking = face is None
        if face is None:
            return before if before == COVERED and time_s - self._seen_s < LOST_S else LOST
        self._seen_s = time_s
        if self._seat.empty(time_s):  # anybody's: what was known of the driver is history
            self._former = self._former if self._skull.usual is None else self._skull.usual
            self._seat, self._skull, self._began_s = DriverLock(), OcclusionDetector(), time_s
        if before in (LOST, COVERED, ELSEWHERE) and not self._seat.is_drivers(face, time_s):
            return ELSEWHERE
        if NARROW.broken(face.box_px[0] - face.box_px[2], before == TINY):
            return TINY
        aligned, pose = align(face.mesh_px)
        out = OUT.broken(outside(face, frame.image.shape), before == OUTSIDE)
        turned = _turned(pose.angles_deg, before == TURNED)
        if self._skull.covered(aligned, time_s, plain=not out and not turned):
            self._seat.keep(face, frame.image.shape, time_s)
            return COVERED
        self._seat.take(face, time_s)
        if out or turned:
            return OUTSIDE if out else TURNED
        if time_s - self._lit_s >= LIGHT_S or time_s < self._lit_s:
            self._light.measure(frame.image, face, time_s)
            self._lit_s = time_s
        return DARK if BLIND.broken(self._light.darkness, before == DARK) else ""

    def _is_newcomer(self, time_s: float) -> bool:
        if self._former is None or time_s - self._began_s < SETTLED_S:
            return False
        former, self._former = self._former, None
        return distance(former, self._skull.usual) > ANOTHER


def outside(face: Face, shape: tuple[int, ...]) -> float:
    """Share of landmarks that lie outside a picture of this shape (H, W, ...)."""
    height, width = shape[:2]
    return float(
        np.mean(((face.landmarks_px < 0) | (face.landmarks_px > (width - 1, height - 1))).any(axis=1))
    )


def _turned(angles_deg: np.ndarray, already: bool) -> bool:
    pitch, yaw, roll = map(float, angles_deg)
    return any(
        limit.broken(angle, already)
        for limit, angle in ((YAW, abs(yaw)), (DOWN, pitch), (UP, -pitch), (ROLL, abs(roll)))
    )
