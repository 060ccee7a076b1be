"""The mean face onto which every mesh is aligned (engines/mean_face.npy): measured on resting faces.

Knows no AUs.

Crops and AUs are measured on it: with another one, corpora have to be prepared and engines trained again.
"""

from pathlib import Path

import numpy as np

from engines.face import au_estimator
from engines.face.mesh import EYE_OUTER, align, mean_face
from train.data.corpus import load_corpus

MOST_FACES = 20_000  # a mean needs no more, and they are held in memory, 5.7 KB each


def fit_mean_face(mesh: np.ndarray, resting: np.ndarray) -> np.ndarray:
    """Meshes (N, 478, 3) and which of them rest (N,) -> the mean face (478, 3): Procrustes mean, made frontal
    and symmetric.
    """
    mean = mesh[resting][0].astype(np.float64)
    for _ in range(8):
        mean = _unit(mean)
        mean = np.median(align(mesh[resting], mean.astype(np.float32))[0], axis=0)
    u, _, vt = np.linalg.svd(align(mesh, _unit(mean).astype(np.float32))[1].rotation.mean(axis=0))
    mean = mean @ (u @ vt).T  # looks where the average photo looks
    pairs = np.array(
        [(33, 263), (133, 362), (61, 291), (127, 356), (234, 454), (50, 280), (70, 300), (48, 278)]
    )
    across = mean[pairs[:, 1]] - mean[pairs[:, 0]]
    across = (across / np.linalg.norm(across, axis=1, keepdims=True)).sum(axis=0)
    mean = mean @ _turn_onto_x(across / np.linalg.norm(across)).T
    for _ in range(3):
        mean = _unit(mean)
        flipped = mean * np.array([-1, 1, 1])
        twin = np.argmin(np.linalg.norm(mean[:, None] - flipped[None], axis=-1), axis=1)
        mean = (mean + flipped[twin]) / 2
    return _unit(mean).astype(np.float32)


def _unit(mesh: np.ndarray) -> np.ndarray:
    centred = mesh - mesh[list(EYE_OUTER)].mean(axis=0)
    return centred / np.linalg.norm(centred[EYE_OUTER[0]] - centred[EYE_OUTER[1]])


def _turn_onto_x(direction: np.ndarray) -> np.ndarray:
    """(3, 3): the smallest rotation that takes a unit vector to +x."""
    axis, cosine = np.cross(direction, [1, 0, 0]), direction[0]
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + k + k @ k / (1 + cosine)


def refit_mean_face(folders: list[Path], path: Path) -> str:
    """Fits the mean face to prepared corpora into a .npy file; returns how far it lies from the one in use,
    as text. Raises DataError.
    """
    corpus = load_corpus(folders)
    calm = au_estimator.index(("AU01", "AU02", "AU12", "AU26", "AU45"))
    photos = np.flatnonzero(~corpus.is_clip)[:MOST_FACES]
    found = fit_mean_face(corpus.meshes(photos), corpus.aus[photos][:, calm].max(axis=1) < 0.3)
    np.save(path, found)
    apart = np.linalg.norm(found - mean_face(), axis=1)
    return (
        f"{path}: {len(photos)} photos; from the mean face in use, landmarks lie {apart.mean():.4f} apart "
        f"on average, at most {apart.max():.4f} eye distances"
    )
