"""Refits the estimator's scales and the motion basis from a corpus."""

import json
from pathlib import Path

import numpy as np

from engines.face import au_estimator
from train.estimator.fit_eyes_and_brows import fit_brows, fit_lids, fit_resting
from train.estimator.fit_scales import fit_scales

SCALES = Path(au_estimator.__file__).with_name("expression.json")


def write_scales(parts: dict[str, dict], path: Path) -> None:
    """Puts newly fitted parts of expression.json ("scales", "brows", "lids", "resting") in the place of
    earlier ones.
    """
    stored = json.loads(path.read_text()) | {"version": au_estimator.VERSION} | parts
    path.write_text(json.dumps(stored, indent=1) + "\n")
    au_estimator.forget_scales()


def refit_eyes_and_brows(folders: list[Path]) -> str:
    """Fits lids, brows and what resting faces read to prepared corpora and writes them; the rest stays.

    Returns text.
    """
    from train.data.corpus import load_corpus
    from train.synthesis.blendshape_net import BlendshapeNet

    corpus = load_corpus(folders)
    photos = np.flatnonzero(~corpus.is_clip)
    meshes = corpus.meshes(photos)
    write_eyes_and_brows(meshes, BlendshapeNet()(meshes))
    return f"lids, brows and resting faces are fitted to {len(photos)} photos"


def write_eyes_and_brows(meshes: np.ndarray, shapes: np.ndarray) -> None:
    """Meshes (N, 478, 3) and blendshapes (N, 52) of photos -> "lids", "brows" and "resting" of
    expression.json.
    """
    write_scales({"lids": fit_lids(meshes, shapes), "brows": fit_brows(meshes, shapes)}, SCALES)
    write_scales({"resting": fit_resting(meshes, shapes)}, SCALES)  # as they are read with the others


def refit(folders: list[Path]) -> str:
    """Fits scales and basis to prepared corpora and writes them; returns the estimator's answer to each AU as
    text.
    """
    from train.data.corpus import load_corpus
    from train.estimator.fit_motion import calibrated, fit_basis
    from train.synthesis.blendshape_net import BlendshapeNet
    from train.synthesis.deform import BASIS, WHOLE, basis

    corpus = load_corpus(folders)
    meshes = corpus.meshes(np.arange(len(corpus)))  # 5.7 KB a face: the fit wants them all at once
    shapes = BlendshapeNet()(meshes)
    photo = ~corpus.is_clip
    scales = fit_scales(meshes[photo], shapes[photo], meshes[~photo], shapes[~photo], corpus.person[~photo])
    write_scales({"scales": scales}, SCALES)
    write_eyes_and_brows(meshes[photo], shapes[photo])
    _, person, photos = np.unique(corpus.person, return_inverse=True, return_counts=True)
    several = photos[person] > 1
    found, answer = calibrated(
        fit_basis(meshes[several], shapes[several], person[several], corpus.is_clip[several]), corpus
    )
    np.save(BASIS, found)
    basis.cache_clear()
    head = "asked    " + " ".join(f"{au[2:]:>4}" for au in WHOLE)
    rows = [
        f"{au:<9}" + " ".join(f"{100 * value:4.0f}" for value in row)
        for au, row in zip(WHOLE, answer, strict=True)
    ]
    return "the estimator's answer to pictures of a full unit of each AU, percent\n" + "\n".join(
        [head, *rows]
    )
