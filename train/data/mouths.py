"""Donor mouths: what to show between lips that part, where the photo's own were shut.

A small bank of real open mouths. A target whose lips the warp has opened gets the inside of the donor whose opening is
the most alike, fitted rim to rim and matched in brightness.
"""

import cv2
import numpy as np

from engines.mesh import LIPS_INNER_BOTTOM, LIPS_INNER_TOP
from train.data.corpus import Corpus
from train.data.labels import opening
from train.data.warp import _rasterise, draw, polygon_mask

MIN_GAP = 0.10  # outer eye distances between a donor's lips: less shows only teeth
MAX_YAW_DEG = 22.0
BANK = 400
RIM = list(LIPS_INNER_TOP) + list(LIPS_INNER_BOTTOM[-2:0:-1])  # the inner lip contour, once around: 20 points
SKIN = [205, 425, 50, 280, 18, 164]  # cheeks, chin and under the nose: what brightness is compared on
# Top and bottom rim, 11 points each, joined by strips of triangles.
_TOP, _BOTTOM = np.arange(11), np.arange(11, 22)
_STRIPS = np.array(
    [t for i in range(10) for t in ((_TOP[i], _TOP[i + 1], _BOTTOM[i]), (_BOTTOM[i], _TOP[i + 1], _BOTTOM[i + 1]))], np.int32
)


class MouthBank:
    """Real open mouths of a corpus' training people."""

    def __init__(self, corpus: Corpus, seed: int = 0):
        shapes = corpus.opening
        usable = (shapes[:, 0] > MIN_GAP) & (np.abs(corpus.angles_deg[:, 1]) < MAX_YAW_DEG) & ~corpus.held_out
        found = np.flatnonzero(usable)
        sharp = corpus.is_from("nobody_adults", "drivers")  # 512 px originals show teeth, 180 px ones smears
        order = np.random.default_rng(seed).permutation(found)
        order = order[np.argsort(~sharp[order], kind="stable")]
        wide = order[shapes[order, 0] > 0.28][: BANK // 2]  # wide mouths are rare everywhere: take them from anywhere
        self.faces = np.unique(np.concatenate([wide, order[: BANK - len(wide)]]))
        self.shapes = shapes[self.faces]
        self.yaw = corpus.angles_deg[self.faces, 1]
        self._corpus = corpus

    def pick(self, target_mesh: np.ndarray, yaw_deg: float, rng: np.random.Generator) -> int | None:
        """One of the five mouths most alike in opening and yaw, or None when the bank is empty."""
        if len(self.faces) == 0:
            return None
        gap, width = opening(target_mesh)
        distance = np.abs(self.shapes[:, 0] - gap) * 2 + np.abs(self.shapes[:, 1] - width) + np.abs(self.yaw - yaw_deg) / 60
        return int(rng.choice(np.argsort(distance)[:5]))

    def paint(self, target: np.ndarray, target_mesh: np.ndarray, donor: int) -> tuple[np.ndarray, np.ndarray]:
        """The (S, S, 3) target with the donor's mouth between its lips, and the (S, S) float32 mask of what was painted."""
        size = target.shape[0]
        face = int(self.faces[donor])
        picture, mesh = self._corpus.picture(face), self._corpus.mesh(face)
        rims = [
            np.concatenate([m[list(LIPS_INNER_TOP), :2], m[list(LIPS_INNER_BOTTOM), :2]]).astype(np.float32) for m in (target_mesh, mesh)
        ]
        flow = np.zeros((size, size, 2), np.float32)
        _rasterise(rims[0], rims[1], _STRIPS, flow)
        inside = draw(picture, flow).astype(np.float32) * _brightness(target, target_mesh, picture, mesh)
        mask = polygon_mask(target_mesh[RIM, :2], size, blur_px=3)
        painted = target * (1 - mask[..., None]) + inside * mask[..., None]
        return np.clip(painted + 0.5, 0, 255).astype(np.uint8), mask


def _brightness(target: np.ndarray, target_mesh: np.ndarray, donor: np.ndarray, donor_mesh: np.ndarray) -> np.ndarray:
    """(3,) gains that give the donor's skin the target's colour, held within what light does."""
    gains = _skin(target, target_mesh) / np.maximum(_skin(donor, donor_mesh), 8)
    overall = np.clip(gains.mean(), 0.45, 1.5)
    return np.clip(gains / gains.mean(), 0.85, 1.15) * overall


def _skin(picture: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    small = cv2.blur(picture, (9, 9))
    places = np.clip(np.round(mesh[SKIN, :2]).astype(int), 0, len(picture) - 1)
    return small[places[:, 1], places[:, 0]].astype(np.float32).mean(axis=0)
