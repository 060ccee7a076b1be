"""Pseudo-pairs: one face in two expressions, with the change of AUs and the flow between them, from single photos.

Three kinds. warp: the photo -> the photo with its mesh moved by the wanted change (donor mouths where lips part).
reversed: the photo moved away from its expression -> the photo, so that real pixels are the target. clip: two frames of one
person. Pair number i is a pure function of (seed, i): a resumed run sees exactly the pairs it would have seen.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from torch.utils.data import Dataset

from engines.expression import ESTIMATED
from engines.mesh import (
    FACE_OVAL,
    LEFT_LID_BOTTOM,
    LEFT_LID_TOP,
    LIPS_INNER_BOTTOM,
    LIPS_INNER_TOP,
    LIPS_OUTER,
    RIGHT_LID_BOTTOM,
    RIGHT_LID_TOP,
    align,
)
from train.data.corpus import Corpus, faces_of
from train.data.deform import moved
from train.data.jitter import jittered, mirrored
from train.data.mouths import RIM, MouthBank, opening
from train.data.warp import draw, flow_between, polygon_mask

KINDS = {"warp": 0.42, "reversed": 0.43, "clip": 0.15}
SOURCE_SHARES = {"nobody_adults": 0.22, "drivers": 0.13}  # sharp pictures, drawn more often than their number; the rest shares what is left
# AUs that act together in real faces; sampled besides single AUs.
TOGETHER = (("AU06", "AU12"), ("AU01", "AU02"), ("AU25", "AU26"), ("AU15", "AU17"), ("AU06", "AU12", "AU25"), ("AU12", "AU25"),
            ("AU01", "AU02", "AU05", "AU25", "AU26"), ("AU04", "AU07"), ("AU04", "AU09", "AU10"), ("AU17", "AU23"), ("AU01", "AU04", "AU15"),
            ("AU20", "AU25"), ("AU09", "AU10"), ("AU06", "AU12", "AU25", "AU26"), ("AU07", "AU45"))  # fmt: skip
EVERY_GROUP = (
    ("AU01", "AU02", "AU04"),
    ("AU05", "AU06", "AU07", "AU45"),
    ("AU09", "AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23", "AU25", "AU26"),
)
# How often a single AU is drawn: those that speech and looking around use most, and the blink, whose flow is small and hard to find.
OFTEN = {"AU45": 3.0, "AU01": 4.0, "AU02": 4.0, "AU04": 1.5, "AU12": 1.5, "AU15": 2.0, "AU23": 2.0, "AU25": 1.5, "AU26": 1.5}
BLINK_SHARE = {"warp": 0.2, "reversed": 0.04}  # of pairs that blink besides: people blink in any expression; opening shut eyes is a guess
CLIP_POSE_DEG = 5.0  # frames of a clip that are paired look the same way within this
SHUT_LIPS = 0.014  # outer eye distances by which shut lips overlap their detected inner rim, so that no teeth are left between
RIGHT_BROW = [70, 63, 105, 66, 107, 55, 65, 52, 53, 46]
LEFT_BROW = [300, 293, 334, 296, 336, 285, 295, 282, 283, 276]
INDEX = {au: i for i, au in enumerate(ESTIMATED)}
_SINGLE = np.array([OFTEN.get(au, 1.0) for au in ESTIMATED]) / sum(OFTEN.get(au, 1.0) for au in ESTIMATED)


@dataclass(frozen=True)
class Pair:
    """picture + change -> target; all in crop pixels of size S. Colour order BGR."""

    picture: np.ndarray  # (S, S, 3) uint8
    target: np.ndarray  # (S, S, 3) uint8
    change: np.ndarray  # (17,) float32, -1..1
    flow: np.ndarray  # (S/2, S/2, 2) float32, crop pixels
    flow_weight: np.ndarray  # (S/2, S/2) float32
    weight: np.ndarray  # (S, S) float32, how much each target pixel counts
    painted: np.ndarray  # (S, S) float32, 1 where the target shows what no warp of the picture can: the inside of a mouth


class Pairs(Dataset):
    """An endless, seekable stream of pairs of a corpus' training people, or of those held out. Raises DataError when there is no such face."""

    def __init__(self, corpus: Corpus, seed: int = 0, length: int = 10**9, held_out: bool = False):
        self.corpus, self.seed, self.length = corpus, seed, length
        faces = faces_of(corpus, held_out)
        self.bank = MouthBank(corpus)
        self._by_source = {name: faces[corpus.is_from(name)[faces]] for name in SOURCE_SHARES}
        self._other = faces[~corpus.is_from(*SOURCE_SHARES)[faces]]
        self._strong = [faces[corpus.aus[faces, i] >= np.quantile(corpus.aus[faces, i], 0.94)] for i in range(len(ESTIMATED))]
        self._clips = faces[corpus.is_clip[faces]]
        self._all = faces

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        cv2.setNumThreads(1)
        pair = self.pair(number)
        return {name: np.ascontiguousarray(value) for name, value in vars(pair).items()}

    def pair(self, number: int) -> Pair:
        rng = np.random.default_rng((self.seed, number))
        kind = rng.choice(list(KINDS), p=list(KINDS.values()))
        if kind == "clip":
            if len(self._clips):
                return self._clip_pair(rng)
            kind = "warp"
        face = self._draw_face(rng)
        picture, mesh, own = self._jittered(face, rng)
        change = self._draw_change(rng, own, towards_rest=kind == "reversed")
        if rng.random() < BLINK_SHARE[kind]:
            change[INDEX["AU45"]] = np.clip(rng.uniform(0.3, 1.0) - own[INDEX["AU45"]], -1, 1)
        return self._reversed_pair(picture, mesh, own, change) if kind == "reversed" else self._warp_pair(picture, mesh, own, change, rng)

    def _warp_pair(self, picture: np.ndarray, mesh: np.ndarray, own: np.ndarray, change: np.ndarray, rng: np.random.Generator) -> Pair:
        size = len(picture)
        target_mesh = moved(mesh, own, change)
        flow = flow_between(target_mesh, shut(mesh, target_mesh), size)
        target = draw(picture, flow)
        painted = np.zeros((size, size), np.float32)
        if needs_mouth(mesh, target_mesh):
            donor = self.bank.pick(target_mesh, float(align(mesh)[1].angles_deg[1]), rng)
            if donor is not None:
                target, painted = self.bank.paint(target, target_mesh, donor)
        return _finished(picture, target, change, flow, (mesh, target_mesh), painted)

    def _reversed_pair(self, picture: np.ndarray, mesh: np.ndarray, own: np.ndarray, change: np.ndarray) -> Pair:
        size = len(picture)
        source_mesh = moved(mesh, own, change)
        source = draw(picture, flow_between(source_mesh, shut(mesh, source_mesh), size))
        flow = flow_between(mesh, source_mesh, size)
        return _finished(source, picture, -change, flow, (source_mesh, mesh), hidden_mouth(source_mesh, mesh, size))

    def _clip_pair(self, rng: np.random.Generator) -> Pair:
        corpus = self.corpus
        first = int(rng.choice(self._clips))
        same = self._clips[corpus.person[self._clips] == corpus.person[first]]
        close = same[np.abs(corpus.angles_deg[same] - corpus.angles_deg[first])[:, :2].max(axis=1) < CLIP_POSE_DEG]
        some = rng.choice(close, size=min(6, len(close)), replace=False)
        second = int(some[np.argmax(np.abs(corpus.own(some) - corpus.own(first)).sum(axis=1))])
        pictures, meshes = [corpus.picture(first), corpus.picture(second)], [corpus.mesh(first), corpus.mesh(second)]
        if rng.random() < 0.5:
            pictures, meshes = [p[:, ::-1] for p in pictures], [mirrored(m, corpus.size_px) for m in meshes]
        size = corpus.size_px
        flow = flow_between(meshes[1], meshes[0], size)
        pair = _finished(
            pictures[0],
            pictures[1],
            corpus.own(second) - corpus.own(first),
            flow,
            (meshes[0], meshes[1]),
            hidden_mouth(meshes[0], meshes[1], size),
        )
        face = polygon_mask(meshes[1][list(FACE_OVAL), :2], size, blur_px=9)  # behind the face, frames differ for other reasons
        half_face = face[::2, ::2]
        return Pair(
            pair.picture,
            pair.target,
            pair.change,
            pair.flow * half_face[..., None],
            pair.flow_weight * half_face * 0.5,
            pair.weight * (0.05 + 0.95 * face) * 0.7,
            pair.painted,
        )

    def _draw_face(self, rng: np.random.Generator) -> int:
        if rng.random() < 0.4:  # an AU first, then a face that shows it: smiles are frequent, frowns are not
            return int(rng.choice(self._strong[rng.integers(len(ESTIMATED))]))
        place = rng.random()
        for name, share in SOURCE_SHARES.items():
            if place < share and len(self._by_source[name]):
                return int(rng.choice(self._by_source[name]))
            place -= share
        return int(rng.choice(self._other if len(self._other) else self._all))

    def _jittered(self, face: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        picture, mesh = jittered(self.corpus.picture(face), self.corpus.mesh(face), rng)
        return _relit(picture, rng), mesh, self.corpus.own(face)

    def _draw_change(self, rng: np.random.Generator, own: np.ndarray, towards_rest: bool) -> np.ndarray:
        wanted = own.copy()
        choice = rng.random()
        if towards_rest and choice < 0.55:
            wanted *= rng.uniform(0, 0.6)
            if rng.random() < 0.3:
                self._set_some(rng, wanted)
        elif choice < 0.4:
            self._set_some(rng, wanted)
        elif choice < 0.8:
            other = self.corpus.own(self._draw_face(rng))
            for group in EVERY_GROUP:
                if rng.random() < 0.75:
                    places = [INDEX[au] for au in group]
                    wanted[places] = other[places]
        else:
            wanted *= rng.uniform(0, 0.5)
            self._set_some(rng, wanted)
        return np.clip(wanted - own, -1, 1).astype(np.float32)

    @staticmethod
    def _set_some(rng: np.random.Generator, wanted: np.ndarray) -> None:
        """Sets one AU, or some that act together, to a level."""
        level = rng.uniform(0.3, 1.0) if rng.random() < 0.85 else 0.0
        names = TOGETHER[rng.integers(len(TOGETHER))] if rng.random() < 0.5 else (str(rng.choice(ESTIMATED, p=_SINGLE)),)
        for name in names:
            wanted[INDEX[name]] = np.clip(level * rng.uniform(0.8, 1.2), 0, 1) if len(names) > 1 else level


_LIDS = [list(top) + list(bottom[-2:0:-1]) for top, bottom in ((RIGHT_LID_TOP, RIGHT_LID_BOTTOM), (LEFT_LID_TOP, LEFT_LID_BOTTOM))]


def needs_mouth(source_mesh: np.ndarray, target_mesh: np.ndarray) -> bool:
    """Whether the target's lips part so much more than the source's that the warp alone would stretch lips or teeth."""
    before, after = float(opening(source_mesh)[0]), float(opening(target_mesh)[0])
    return after > 0.05 and after > 1.7 * before + 0.02


def hidden_mouth(source_mesh: np.ndarray, target_mesh: np.ndarray, size_px: int) -> np.ndarray:
    """(S, S) float32, 1 inside a target's mouth that the source does not show."""
    if needs_mouth(source_mesh, target_mesh):
        return polygon_mask(target_mesh[RIM, :2], size_px)
    return np.zeros((size_px, size_px), np.float32)


def shut(mesh: np.ndarray, target_mesh: np.ndarray) -> np.ndarray:
    """The source mesh with its inner lip rim drawn into the lips as far as the target shuts them, so that no teeth are left."""
    before, after = float(opening(mesh)[0]), float(opening(target_mesh)[0])
    closing = np.clip(1 - after / 0.04, 0, 1) * np.clip((before - after) / 0.02, 0, 1)
    if closing == 0:
        return mesh
    mesh = mesh.copy()
    unit = np.linalg.norm(mesh[33, :2] - mesh[263, :2])
    for inner, outer in (
        (LIPS_INNER_TOP, (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)),
        (LIPS_INNER_BOTTOM, (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)),
    ):
        inner, outer = list(inner)[1:-1], list(outer)[1:-1]
        way = mesh[outer, :2] - mesh[inner, :2]
        length = np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-3)
        mesh[inner, :2] += way / length * np.minimum(SHUT_LIPS * unit * closing, 0.5 * length)
    return mesh


def _finished(
    picture: np.ndarray,
    target: np.ndarray,
    change: np.ndarray,
    flow: np.ndarray,
    meshes: tuple[np.ndarray, np.ndarray],
    painted: np.ndarray,
) -> Pair:
    """`meshes`: of the picture and of the target; eyes and lips count where they are in either, or a shut eye would count for nothing."""
    size, (before, after) = len(picture), meshes
    face = polygon_mask(after[list(FACE_OVAL), :2], size, blur_px=9)
    eyes = sum(polygon_mask(_around(before, after, lids, 1.5), size, blur_px=5) for lids in _LIDS)
    lips = polygon_mask(_around(before, after, list(LIPS_OUTER), 1.15), size, blur_px=5)
    brows = sum(polygon_mask(_around(before, after, brow, 1.3), size, blur_px=5) for brow in (RIGHT_BROW, LEFT_BROW))
    weight = 0.4 + 0.6 * face + 4.0 * eyes + 2.5 * brows + 1.5 * lips + 3.0 * painted
    flow_weight = (0.3 + 0.7 * face + 5.0 * eyes + 4.0 * brows + 2.0 * lips) * (1 - painted)
    half = lambda a: cv2.resize(a, (size // 2, size // 2), interpolation=cv2.INTER_AREA)  # noqa: E731
    return Pair(picture, target, change.astype(np.float32), half(flow), half(flow_weight), weight, painted)


def _around(before: np.ndarray, after: np.ndarray, points: list[int], factor: float) -> np.ndarray:
    """The hull of some landmarks of both meshes, grown."""
    both = np.concatenate([before[points, :2], after[points, :2]]).astype(np.float32)
    return _grown(cv2.convexHull(both)[:, 0], factor)


def _grown(points: np.ndarray, factor: float) -> np.ndarray:
    centre = points.mean(axis=0)
    return centre + (points - centre) * np.array([1 + (factor - 1) / 3, factor])


def _relit(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gamma, gains = np.exp(rng.uniform(-0.25, 0.25)), rng.uniform(0.92, 1.08, 3)
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    table = np.clip(255 * levels**gamma * gains * rng.uniform(0.85, 1.12) + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(picture), table[:, None, :])
