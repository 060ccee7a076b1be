"""Pairs of two pictures of one person: frames of a clip, or expressions of somebody who does not exist.

Both pictures are photographs, so the target has what no warp can draw: lids, teeth, folds. The wanted change
is the difference of what the estimator reads in them, the flow is that of their meshes.
"""

from dataclasses import replace

import numpy as np

from engines.face.action_units import WIDE
from train.data.corpus import Corpus
from train.data.jitter import (
    apply_jitter,
    apply_jitter_to_mesh,
    draw_jitter,
    draw_light,
    mirrored,
    mirrored_aus,
    relit,
)
from train.synthesis.lids import shutting_lids
from train.synthesis.pair import Pair, finished, hidden_mouth
from train.synthesis.regions import brows_mask
from train.synthesis.warp import flow_between

SAME_POSE_DEG = 5.0  # pictures that are paired look the same way within this
BEHIND = 0.05  # weight of what is not the face: pictures of one person differ there for other reasons
CANDIDATES = 6  # of which the most different one is taken
# Edits of brows change their thickness and make-up: the mean of many is a smear. Pictures are paired whose
# brows are read alike within this, and brows are left to warps
SAME_BROWS = 0.25
BROWS = [WIDE.index(au) for au in WIDE if au.startswith(("AU01", "AU02", "AU04"))]
# Labels tremble, and who regresses to trembling labels answers less than is asked: a pair shows what it is
# labelled with at a smaller request
ASKED = 0.87
# Teeth that a photo shows are to stay that person's: where only shut mouths are opened, they are painted
# over. So often both pictures show an open mouth
OPEN_SHARE = 0.3
OPEN_AU25 = 0.3
LIPS_APART = WIDE.index("AU25")


class FramesOfClips:
    """Two frames of one clip."""

    def __init__(self, corpus: Corpus, faces: np.ndarray):
        """faces: (n,) numbers of the faces that may be drawn."""
        self._corpus, self._faces = corpus, faces[corpus.is_clip[faces]]

    def __len__(self) -> int:
        return len(self._faces)

    def pair(self, rng: np.random.Generator) -> Pair:
        """A frame, and the most different of some others with the head turned the same way."""
        corpus = self._corpus
        first, alike = _alike(corpus, self._faces, rng)
        second = _most_different(corpus, first, alike, rng)
        pictures = [corpus.picture(first), corpus.picture(second)]
        meshes = [corpus.mesh(first), corpus.mesh(second)]
        change = corpus.own(second) - corpus.own(first)
        if rng.random() < 0.5:
            pictures = [picture[:, ::-1] for picture in pictures]
            meshes = [mirrored(mesh, corpus.size_px) for mesh in meshes]
            change = mirrored_aus(change)
        pair = _between(pictures, meshes, change)
        return replace(pair, flow_weight=pair.flow_weight * 0.5, weight=pair.weight * 0.7)


class Expressions:
    """Two pictures of one synthetic person (train.stylespace)."""

    def __init__(self, corpus: Corpus, faces: np.ndarray):
        """faces: (n,) numbers of the faces that may be drawn."""
        self._corpus, self._faces = corpus, faces
        self._open = faces[corpus.own(faces)[:, LIPS_APART] >= OPEN_AU25]

    def __len__(self) -> int:
        return len(self._faces)

    def pair(self, rng: np.random.Generator) -> Pair | None:
        """A picture, and another one of its person with brows and head held alike; None where there is none.

        Half of the time the most different of some is taken, so that much is learnt from a pair.
        """
        corpus = self._corpus
        both_open = rng.random() < OPEN_SHARE and len(self._open)
        first, alike = _alike(corpus, self._open if both_open else self._faces, rng)
        brows = np.abs(corpus.own(alike)[:, BROWS] - corpus.own(first)[BROWS]).max(axis=1)
        alike = alike[(brows < SAME_BROWS) & (alike != first)]
        if not len(alike):
            return None
        second = _most_different(corpus, first, alike, rng) if rng.random() < 0.5 else int(rng.choice(alike))
        mirror, matrix = draw_jitter(corpus.size_px, rng)
        light = draw_light(rng)
        pictures = [
            relit(apply_jitter(corpus.picture(face), mirror, matrix), light) for face in (first, second)
        ]
        meshes = [
            apply_jitter_to_mesh(corpus.mesh(face), corpus.size_px, mirror, matrix)
            for face in (first, second)
        ]
        change = ASKED * (corpus.own(second) - corpus.own(first))
        pair = _between(pictures, meshes, mirrored_aus(change) if mirror else change)
        elsewhere = 1 - brows_mask(meshes[0], meshes[1], corpus.size_px)
        return replace(
            pair, weight=pair.weight * elsewhere, flow_weight=pair.flow_weight * elsewhere[::2, ::2]
        )


def _alike(corpus: Corpus, faces: np.ndarray, rng: np.random.Generator) -> tuple[int, np.ndarray]:
    """A face, and all of the same person that look the same way, itself among them."""
    first = int(rng.choice(faces))
    same = faces[corpus.person[faces] == corpus.person[first]]
    turned = np.abs(corpus.angles_deg[same] - corpus.angles_deg[first])[:, :2].max(axis=1)
    return first, same[turned < SAME_POSE_DEG]


def _most_different(corpus: Corpus, first: int, others: np.ndarray, rng: np.random.Generator) -> int:
    some = rng.choice(others, size=min(CANDIDATES, len(others)), replace=False)
    return int(some[np.argmax(np.abs(corpus.own(some) - corpus.own(first)).sum(axis=1))])


def _between(pictures: list[np.ndarray], meshes: list[np.ndarray], change: np.ndarray) -> Pair:
    """The pair of two pictures, which is about the face alone."""
    (picture, target), (mesh, target_mesh) = pictures, meshes
    size = len(picture)
    pair = finished(
        picture,
        target,
        change,
        flow_between(target_mesh, mesh, size),
        mesh,
        target_mesh,
        painted=shutting_lids(mesh, target_mesh, size),
        unknown=hidden_mouth(mesh, target_mesh, size),
        photographic=True,
    )
    half_face = pair.face[::2, ::2]
    return replace(
        pair,
        flow=pair.flow * half_face[..., None],
        flow_weight=pair.flow_weight * half_face,
        weight=pair.weight * (BEHIND + (1 - BEHIND) * pair.face),
    )
