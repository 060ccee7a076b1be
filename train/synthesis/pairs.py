"""Pairs of training: one face in two expressions, the change of AUs and the flow between them.

Four kinds. warp: a photo -> the photo with its mesh moved by the wanted change (a mouth is painted where lips
part). reversed: the photo moved away from its expression -> the photo, so that real pixels are the target.
clip: two frames of one person. expressions: two pictures of one synthetic person. Pair number i is a pure
function of (seed, i): a resumed run sees exactly the pairs it would have seen.
"""

from dataclasses import replace

import cv2
import numpy as np
from torch.utils.data import Dataset

from engines.face.action_units import WIDE
from train.data.corpus import Corpus, faces_of
from train.data.inputs import EXPRESSIONS_SOURCE, SYNTHETIC_SOURCE
from train.data.jitter import apply_jitter, apply_jitter_to_mesh, draw_jitter, draw_light, mirrored_aus, relit
from train.synthesis.changes import add_blink, draw_change
from train.synthesis.deform import moved
from train.synthesis.lids import close_lids
from train.synthesis.mouths import needs_mouth, paint_mouth
from train.synthesis.pair import Pair, finished, gap, hidden_mouth
from train.synthesis.regions import shut_lips
from train.synthesis.two_pictures import Expressions, FramesOfClips
from train.synthesis.warp import flow_between, warp_picture

# Shares of the kinds, without synthetic people in several expressions and with them: those teach what is
# photographed, warps what the synthetic do not do (one side of a mouth, a funnel, brows) and real skin
KINDS = {"warp": 0.50, "reversed": 0.36, "clip": 0.14}
KINDS_WITH_EXPRESSIONS = {"expressions": 0.50, "warp": 0.26, "reversed": 0.14, "clip": 0.10}
# Of pairs whose targets are photographs
PHOTOGRAPHIC = {"expressions": 0.70, "clip": 0.15, "reversed": 0.15}
# Sharp pictures, drawn more often than their number; the rest shares what is left
SHARP_SHARES = {(SYNTHETIC_SOURCE, EXPRESSIONS_SOURCE): 0.22, ("drivers",): 0.13}
BLINK_SHARE = {"warp": 0.2, "reversed": 0.04}  # of pairs that blink besides; opening shut eyes is a guess
MAX_YAW_DEG = 32.0  # beyond, a moved mesh folds at the far side of the nose


class PairSource(Dataset):
    """An endless, seekable stream of pairs of a corpus' training people, or of those held out.

    photographic: only pairs whose targets are photographs as they are.
    Raises DataError when there is no such face.
    """

    def __init__(
        self,
        corpus: Corpus,
        seed: int = 0,
        length: int = 10**9,
        held_out: bool = False,
        photographic: bool = False,
    ):
        self.corpus, self.seed, self.length = corpus, seed, length
        faces = faces_of(corpus, held_out)
        facing = faces[np.abs(corpus.angles_deg[faces, 1]) < MAX_YAW_DEG]
        faces = facing if len(facing) else faces
        self._sharp = {names: faces[corpus.is_from(*names)[faces]] for names in SHARP_SHARES}
        self._other = faces[~corpus.is_from(*(name for names in SHARP_SHARES for name in names))[faces]]
        self._strong = [
            faces[corpus.aus[faces, i] >= np.quantile(corpus.aus[faces, i], 0.94)] for i in range(len(WIDE))
        ]
        self._clips = FramesOfClips(corpus, faces)
        self._expressions = Expressions(corpus, faces[corpus.is_from(EXPRESSIONS_SOURCE)[faces]])
        self._photographic = photographic
        self._kinds = PHOTOGRAPHIC if photographic else KINDS_WITH_EXPRESSIONS
        if not len(self._expressions) and not photographic:
            self._kinds = KINDS
        self._all = faces

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        cv2.setNumThreads(1)
        pair = self.pair(number)
        return {name: np.ascontiguousarray(value) for name, value in vars(pair).items()}

    def pair(self, number: int) -> Pair:
        rng = np.random.default_rng((self.seed, number))
        kind = rng.choice(list(self._kinds), p=list(self._kinds.values()))
        if kind == "clip" and len(self._clips):
            return self._clips.pair(rng)
        shown = self._expressions.pair(rng) if kind == "expressions" and len(self._expressions) else None
        if shown is not None:
            return shown
        return self._moved("reversed" if self._photographic or kind == "reversed" else "warp", rng)

    def _moved(self, kind: str, rng: np.random.Generator) -> Pair:
        """A pair of one photo: a warp or a reversed one."""
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

    def _draw_face(self, rng: np.random.Generator) -> int:
        if rng.random() < 0.4:  # an AU first, then a face that shows it: smiles are frequent, frowns are not
            return int(rng.choice(self._strong[rng.integers(len(WIDE))]))
        place = rng.random()
        for names, share in SHARP_SHARES.items():
            if place < share and len(self._sharp[names]):
                return int(rng.choice(self._sharp[names]))
            place -= share
        return int(rng.choice(self._other if len(self._other) else self._all))

    def _jittered(self, face: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mirror, matrix = draw_jitter(self.corpus.size_px, rng)
        picture = apply_jitter(self.corpus.picture(face), mirror, matrix)
        mesh = apply_jitter_to_mesh(self.corpus.mesh(face), self.corpus.size_px, mirror, matrix)
        own = self.corpus.own(face)
        return relit(picture, draw_light(rng)), mesh, mirrored_aus(own) if mirror else own


def _warp_pair(picture: np.ndarray, mesh: np.ndarray, own: np.ndarray, change: np.ndarray) -> Pair:
    size, target_mesh = len(picture), moved(mesh, own, change)
    before, after = gap(mesh), gap(target_mesh)
    flow = flow_between(target_mesh, shut_lips(mesh, before, after), size)
    target, flow, painted = close_lids(warp_picture(picture, flow), flow, picture, mesh, target_mesh)
    if needs_mouth(before, after):
        target, mouth, teeth = paint_mouth(target, moved(mesh, own, -own), target_mesh)
        pair = finished(picture, target, change, flow, mesh, target_mesh, painted=np.maximum(painted, mouth))
        return replace(pair, mouth=mouth, teeth=np.ascontiguousarray(teeth[::2, ::2]))
    return finished(picture, target, change, flow, mesh, target_mesh, painted=painted)


def _reversed_pair(picture: np.ndarray, mesh: np.ndarray, own: np.ndarray, change: np.ndarray) -> Pair:
    size, source_mesh = len(picture), moved(mesh, own, change)
    source = warp_picture(
        picture, flow_between(source_mesh, shut_lips(mesh, gap(mesh), gap(source_mesh)), size)
    )
    flow = flow_between(mesh, source_mesh, size)
    unknown = hidden_mouth(source_mesh, mesh, size)
    return finished(source, picture, -change, flow, source_mesh, mesh, unknown=unknown, photographic=True)
