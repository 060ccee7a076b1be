"""Refits the estimator's scales and the motion basis from a corpus."""

import json
from pathlib import Path

import numpy as np

from engines.face import au_estimator
from train.estimator.fit_scales import fit_scales


def write_scales(scales: dict[str, dict[str, float]], path: Path) -> None:
    path.write_text(
        json.dumps(
            {"version": au_estimator.VERSION, "unit": "outer eye distances, degrees", "scales": scales},
            indent=1,
        )
        + "\n"
    )


def refit(folders: list[Path]) -> str:
    """Fits scales and basis to prepared corpora and writes them; returns the estimator's answer to each AU as text."""
    from train.data.corpus import load_corpus
    from train.estimator.fit_motion import calibrated, fit_basis
    from train.synthesis.blendshape_net import BlendshapeNet
    from train.synthesis.deform import BASIS, WHOLE, basis

    corpus = load_corpus(folders)
    meshes = corpus.meshes(np.arange(len(corpus)))  # 5.7 KB a face: the fit wants them all at once
    shapes = BlendshapeNet()(meshes)
    photo = ~corpus.is_clip
    scales = fit_scales(meshes[photo], shapes[photo], meshes[~photo], shapes[~photo], corpus.person[~photo])
    write_scales(scales, Path(au_estimator.__file__).with_name("expression.json"))
    au_estimator.mesh_scales.cache_clear()
    _, person, photos = np.unique(corpus.person, return_inverse=True, return_counts=True)
    several = photos[person] > 1
    found, answer = calibrated(
        fit_basis(meshes[several], shapes[several], person[several], corpus.is_clip[several]), corpus
    )
    np.save(BASIS, found)
    basis.cache_clear()
    head = "told     " + " ".join(f"{au[2:]:>4}" for au in WHOLE)
    rows = [
        f"{au:<9}" + " ".join(f"{100 * value:4.0f}" for value in row)
        for au, row in zip(WHOLE, answer, strict=True)
    ]
    return "the estimator's answer to pictures of a full unit of each AU, percent\n" + "\n".join(
        [head, *rows]
    )
