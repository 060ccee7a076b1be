"""Pseudo-pairs from single photos: one face in two expressions, the change of AUs and the flow between them.

Three kinds. warp: the photo -> the photo with its mesh moved by the wanted change (a mouth is painted where
lips part). reversed: the photo moved away from its expression -> the photo, so that real pixels are the
target. clip: two frames of one person. Pair number i is a pure function of (seed, i): a resumed run sees
exactly the pairs it would have seen.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from torch.utils.data import Dataset

from engines.face.action_units import WIDE
from train.data.corpus import Corpus, faces_of
from train.data.jitter import apply_jitter, apply_jitter_to_mesh, draw_jitter, mirrored, mirrored_aus
from train.data.labels import opening
from train.synthesis.changes import add_blink, draw_change
from train.synthesis.deform import moved
from train.synthesis.lids import close_lids
from train.synthesis.mouths import RIM, needs_mouth, paint_mouth
from train.synthesis.regions import face_mask, loss_weights, shut_lips
from train.synthesis.warp import flow_between, polygon_mask, warp_picture

KINDS = {"warp": 0.50, "reversed": 0.36, "clip": 0.14}
# Sharp pictures, drawn more often than their number; the rest shares what is left
SOURCE_SHARES = {"nobody_adults": 0.22, "drivers": 0.13}
BLINK_SHARE = {"warp": 0.2, "reversed": 0.04}  # of pairs that blink besides; opening shut eyes is a guess
CLIP_POSE_DEG = 5.0  # frames of a clip that are paired look the same way within this
MAX_YAW_DEG = 32.0  # beyond, a moved mesh folds at the far side of the nose


@dataclass(frozen=True)
class Pair:
    """picture + change -> target; all in crop pixels of size S. Colour order BGR."""

    picture: np.ndarray  # (S, S, 3) uint8
    target: np.ndarray  # (S, S, 3) uint8
    change: np.ndarray  # (29,) float32, -1..1
    flow: np.ndarray  # (S/2, S/2, 2) float32, crop pixels
    flow_weight: np.ndarray  # (S/2, S/2) float32
    weight: np.ndarray  # (S, S) float32, how much each target pixel counts
    # (S, S) float32, 1 where the target shows what no warp of the picture can: the inside of a mouth, a lid
    painted: np.ndarray
    mouth: np.ndarray  # (S, S) float32, 1 inside a painted mouth
    # (S/2, S/2, 2) float32, where in train.teeth a painted mouth's pixels lie, outer eye distances
    teeth: np.ndarray


class PairSource(Dataset):
    """An endless, seekable stream of pairs of a corpus' training people, or of those held out.

    Raises DataError when there is no such face.
    """

    def __init__(self, corpus: Corpus, seed: int = 0, length: int = 10**9, held_out: bool = False):
        self.corpus, self.seed, self.length = corpus, seed, length
        faces = faces_of(corpus, held_out)
        facing = faces[np.abs(corpus.angles_deg[faces, 1]) < MAX_YAW_DEG]
        faces = facing if len(facing) else faces
        self._by_source = {name: faces[corpus.is_from(name)[faces]] for name in SOURCE_SHARES}
        self._other = faces[~corpus.is_from(*SOURCE_SHARES)[faces]]
        self._strong = [
            faces[corpus.aus[faces, i] >= np.quantile(corpus.aus[faces, i], 0.94)] for i in range(len(WIDE))
        ]
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
        picture, mesh, own = self._jittered(self._draw_face(rng), rng)
        others = self.corpus.own(self._draw_face(rng))
        change = draw_change(rng, own, others, towards_rest=kind == "reversed")
        if rng.random() < BLINK_SHARE[kind]:
            add_blink(rng, own, change)
        return (
            _reversed_pair(picture, mesh, own, change)
            if kind == "reversed"
            else _warp_pair(picture, mesh, own, change)
        )

    def _clip_pair(self, rng: np.random.Generator) -> Pair:
        corpus = self.corpus
        first = int(rng.choice(self._clips))
        same = self._clips[corpus.person[self._clips] == corpus.person[first]]
        alike = same[
            np.abs(corpus.angles_deg[same] - corpus.angles_deg[first])[:, :2].max(axis=1) < CLIP_POSE_DEG
        ]
        some = rng.choice(alike, size=min(6, len(alike)), replace=False)
        second = int(some[np.argmax(np.abs(corpus.own(some) - corpus.own(first)).sum(axis=1))])
        pictures = [corpus.picture(first), corpus.picture(second)]
        meshes = [corpus.mesh(first), corpus.mesh(second)]
        change = corpus.own(second) - corpus.own(first)
        if rng.random() < 0.5:
            pictures = [picture[:, ::-1] for picture in pictures]
            meshes = [mirrored(mesh, corpus.size_px) for mesh in meshes]
            change = mirrored_aus(change)
        flow = flow_between(meshes[1], meshes[0], corpus.size_px)
        pair = _finished(
            pictures[0],
            pictures[1],
            change,
            flow,
            meshes[0],
            meshes[1],
            unknown=_hidden_mouth(meshes[0], meshes[1], corpus.size_px),
        )
        face = face_mask(meshes[1], corpus.size_px)  # behind the face, frames differ for other reasons
        half_face = face[::2, ::2]
        return replace(
            pair,
            flow=pair.flow * half_face[..., None],
            flow_weight=pair.flow_weight * half_face * 0.5,
            weight=pair.weight * (0.05 + 0.95 * face) * 0.7,
        )

    def _draw_face(self, rng: np.random.Generator) -> int:
        if rng.random() < 0.4:  # an AU first, then a face that shows it: smiles are frequent, frowns are not
            return int(rng.choice(self._strong[rng.integers(len(WIDE))]))
        place = rng.random()
        for name, share in SOURCE_SHARES.items():
            if place < share and len(self._by_source[name]):
                return int(rng.choice(self._by_source[name]))
            place -= share
        return int(rng.choice(self._other if len(self._other) else self._all))

    def _jittered(self, face: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mirror, matrix = draw_jitter(self.corpus.size_px, rng)
        picture = apply_jitter(self.corpus.picture(face), mirror, matrix)
        mesh = apply_jitter_to_mesh(self.corpus.mesh(face), self.corpus.size_px, mirror, matrix)
        own = self.corpus.own(face)
        return _relit(picture, rng), mesh, mirrored_aus(own) if mirror else own


def _warp_pair(picture: np.ndarray, mesh: np.ndarray, own: np.ndarray, change: np.ndarray) -> Pair:
    size, target_mesh = len(picture), moved(mesh, own, change)
    gap, target_gap = _gap(mesh), _gap(target_mesh)
    flow = flow_between(target_mesh, shut_lips(mesh, gap, target_gap), size)
    target, flow, painted = close_lids(warp_picture(picture, flow), flow, picture, mesh, target_mesh)
    if needs_mouth(gap, target_gap):
        target, mouth, teeth = paint_mouth(target, moved(mesh, own, -own), target_mesh)
        pair = _finished(picture, target, change, flow, mesh, target_mesh, painted=np.maximum(painted, mouth))
        return replace(pair, mouth=mouth, teeth=np.ascontiguousarray(teeth[::2, ::2]))
    return _finished(picture, target, change, flow, mesh, target_mesh, painted=painted)


def _reversed_pair(picture: np.ndarray, mesh: np.ndarray, own: np.ndarray, change: np.ndarray) -> Pair:
    size, source_mesh = len(picture), moved(mesh, own, change)
    source = warp_picture(
        picture, flow_between(source_mesh, shut_lips(mesh, _gap(mesh), _gap(source_mesh)), size)
    )
    flow = flow_between(mesh, source_mesh, size)
    return _finished(
        source, picture, -change, flow, source_mesh, mesh, unknown=_hidden_mouth(source_mesh, mesh, size)
    )


def _gap(mesh: np.ndarray) -> float:
    """Between the inner lips, outer eye distances."""
    return float(opening(mesh)[0])


def _hidden_mouth(source_mesh: np.ndarray, target_mesh: np.ndarray, size_px: int) -> np.ndarray:
    """(S, S) float32, 1 inside a target's mouth that the source does not show."""
    if needs_mouth(_gap(source_mesh), _gap(target_mesh)):
        return polygon_mask(target_mesh[RIM, :2], size_px)
    return np.zeros((size_px, size_px), np.float32)


def _finished(
    picture: np.ndarray,
    target: np.ndarray,
    change: np.ndarray,
    flow: np.ndarray,
    mesh: np.ndarray,
    target_mesh: np.ndarray,
    painted: np.ndarray | None = None,
    unknown: np.ndarray | None = None,
) -> Pair:
    size = len(picture)
    nothing = np.zeros((size, size), np.float32)
    painted = nothing if painted is None else painted
    weight, flow_weight = loss_weights(mesh, target_mesh, painted, nothing if unknown is None else unknown)
    half_flow = cv2.resize(flow, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    teeth = np.zeros((size // 2, size // 2, 2), np.float32)
    return Pair(
        picture, target, change.astype(np.float32), half_flow, flow_weight, weight, painted, nothing, teeth
    )


def _relit(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gamma, gains = np.exp(rng.uniform(-0.25, 0.25)), rng.uniform(0.92, 1.08, 3)
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    table = np.clip(255 * levels**gamma * gains * rng.uniform(0.85, 1.12) + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(picture), table[:, None, :])
