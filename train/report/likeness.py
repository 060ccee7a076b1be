"""Do edited faces look like real ones?

The Frechet distance on identity features, beside what two groups of real people are apart.

The held-out people are split into two halves. One half stays as it is. The other is edited: each face is
given the expression that another photo of its half really shows, as in GANimation's training, so that both
halves show as much expression. Both distances, edited and real, are of the same counts, so they have the same
bias, and their difference is the edit's.

Faces are compared whole, and mouths and eyes by themselves: an identity network is made not to see how well
teeth and lids are drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from engines.face.landmarks import FaceReader
from train.data.corpus import FaceCorpus
from train.identity import Embed
from train.report import measures
from train.report.sweep import held_out_faces

WHOLE = "face"  # the view that tells people apart

# A crop, its own intensities (29,), and the number of the face in the corpus -> the edited crop, or None.
EditFace = Callable[[np.ndarray, np.ndarray, int], np.ndarray | None]


@dataclass(frozen=True)
class HeldOutHalves:
    """Numbers of held-out faces in a corpus, no person in both, equally many."""

    real: np.ndarray
    edited: np.ndarray


def split_held_out(corpus: FaceCorpus, count: int) -> HeldOutHalves:
    """`count` held-out faces or as many as there are, in two halves by person, the same ones every time.

    Raises DataError.
    """
    faces = held_out_faces(corpus)[:count]
    people = np.random.default_rng(11).permutation(np.unique(corpus.person[faces]))
    first = np.isin(corpus.person[faces], people[: (len(people) + 1) // 2])
    size = min(int(first.sum()), int((~first).sum()))
    return HeldOutHalves(faces[first][:size], faces[~first][:size])


def features(
    corpus: FaceCorpus,
    faces: np.ndarray,
    views: dict[str, Embed],
    reader: FaceReader,
    edit: EditFace | None,
    title: str,
) -> dict[str, np.ndarray]:
    """(n, D) of each view of the faces that are found, edited by `edit` or as they are."""
    rows: dict[str, list[np.ndarray]] = {view: [] for view in views}
    for number in tqdm(faces, desc=title, unit="face", disable=None, leave=False):
        photo = corpus.picture(int(number))
        crop = photo if edit is None else edit(photo, corpus.own(number), int(number))
        found = reader.read(crop) if crop is not None else []
        if found and crop is not None:
            for view, embed in views.items():
                rows[view].append(embed(crop, found[0].landmarks_px))
    return {view: np.array(seen) for view, seen in rows.items()}


def distances(
    corpus: FaceCorpus, halves: HeldOutHalves, identity: Embed, parts: dict[str, Embed], edit: EditFace
) -> dict:
    """Frechet distances of edited and of real faces to the other half; None for too few faces.

    parts: what embeds a part of a face, by the part's name; its distances are "frechet_NAME_edited" and the
    like.
    """
    views = {WHOLE: identity, **parts}
    with FaceReader() as reader:
        here = features(corpus, halves.real, views, reader, None, "real faces")
        there = features(corpus, halves.edited, views, reader, None, "other real faces")
        drawn = features(corpus, halves.edited, views, reader, edit, "edited faces")
    size = min(len(found[WHOLE]) for found in (here, there, drawn))
    known = size >= 2
    found: dict = {"frechet_samples": size, "frechet_parts": list(parts)}
    for view in views:
        name = "frechet" if view == WHOLE else f"frechet_{view}"
        real, other, edited = (rows[view][:size] for rows in (here, there, drawn))
        found[f"{name}_edited"] = measures.frechet(real, edited) if known else None
        found[f"{name}_real"] = measures.frechet(real, other) if known else None
        found[f"{name}_same_people"] = measures.frechet(other, edited) if known else None
    strangers = np.sum(here[WHOLE][:size] * there[WHOLE][:size], axis=1) if known else None
    return found | {
        "frechet_features": int(here[WHOLE].shape[1]) if known else None,
        "identity_cosine_strangers": None if strangers is None else float(np.mean(strangers)),
    }


def borrowed_expressions(corpus: FaceCorpus, halves: HeldOutHalves) -> Callable[[int], np.ndarray]:
    """Number of a face in the edited half -> the intensities (29,) of another face of that half."""
    lender = dict(zip(halves.edited.tolist(), np.roll(halves.edited, 1).tolist(), strict=True))
    return lambda number: corpus.own(lender[number])
