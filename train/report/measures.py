"""What is measured on pictures and numbers: small pure functions, each with its unit.

Grey levels are 0..255, whatever the picture's use; a mean over pixels is a mean over the three colours, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

STRONG = 0.3  # of a commanded change: below it the estimator's own tremble is a large share of the answer


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB between two uint8 pictures; 100 when they are equal."""
    error = float(np.mean((a.astype(np.float32) - b) ** 2))
    return 100.0 if error == 0 else 10 * np.log10(255**2 / error)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two (H, W, 3) uint8 pictures, mean of the colours; 1 when they are equal.

    Source: Wang et al., IEEE TIP 2004.
    """
    # The stub lacks this function, and wants a map where the static method of the class has none
    scores, _ = cv2.quality.QualitySSIM_compute(a, b)  # type: ignore[attr-defined]
    return float(np.mean(scores[:3]))


@dataclass(frozen=True)
class CommandResponse:
    """How one AU follows its command."""

    r: float  # Pearson's; 0 when nothing moved
    slope: float  # measured change a unit of commanded change, by least squares
    rmse: float  # of measured minus commanded, AU intensity


def command_response(commanded: np.ndarray, measured: np.ndarray) -> CommandResponse:
    """Commanded and measured changes (n,) of one AU."""
    error = float(np.sqrt(np.mean((measured - commanded) ** 2)))
    moved = commanded.std() > 1e-6 and measured.std() > 1e-6
    r = float(np.corrcoef(commanded, measured)[0, 1]) if moved else 0.0
    return CommandResponse(r, slope(commanded, measured), error)


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least-squares slope of y (n,) on x (n,), with an intercept; 0 when x does not vary."""
    centred = x - x.mean()
    power = float(centred @ centred)
    return float(centred @ y / power) if power > 1e-12 else 0.0


def gain(x: np.ndarray, y: np.ndarray) -> float:
    """Least-squares slope of y (n,) on x (n,) through the origin, for commands that hardly vary."""
    power = float(x @ x)
    return float(x @ y / power) if power > 1e-12 else 0.0


def leakage(commanded: np.ndarray, others: np.ndarray) -> float:
    """Mean |change of an AU that was not commanded| a unit of commanded change: (n,) and (n, k).

    Only strong commands count; NaN without any.
    """
    strong = np.abs(commanded) > STRONG
    return (
        float(np.mean(np.abs(others[strong]) / np.abs(commanded[strong])[:, None]))
        if strong.any()
        else float("nan")
    )


def miss(place: int, commanded: float, measured: np.ndarray) -> float:
    """How far an edit is from its command: |measured - commanded| / |commanded| over all AUs (n,).

    0 is perfect, 1 is what doing nothing gives.
    """
    error = measured.astype(np.float64).copy()
    error[place] -= commanded
    return float(np.linalg.norm(error) / abs(commanded))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance between the Gaussians of two samples (n, D) and (m, D).

    Its unit is that of the features, squared.

        |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)        Heusel et al., NeurIPS 2017, eq. 6

    C1 and C2 are the samples' covariances (over n - 1). It is biased upwards, the more the fewer the samples:
    only distances of equal n and m compare. The root is taken of a symmetric product, so that numpy's eigh
    does.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(c1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ c2 @ root).clip(0)).sum()
    shift = a.mean(axis=0) - b.mean(axis=0)
    return float(max(0.0, shift @ shift + np.trace(c1) + np.trace(c2) - 2 * cross))


def masked_error(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """Mean |a - b| in grey levels of two (H, W, 3) uint8 pictures inside mask (H, W), or NaN."""
    return float(np.abs(a[mask].astype(np.int16) - b[mask]).mean()) if mask.any() else float("nan")


def kept_mask(
    attention: np.ndarray, flow: np.ndarray | None, above: float = 0.99, still_px: float = 0.05
) -> np.ndarray:
    """(S, S) bool: where an edit keeps the photo: A > `above`, and the flow (s, s, 2) is below `still_px`.

    0.05 px move an edge of 20 grey levels a pixel by one level; 1 - A = 0.01 mixes in 2.5 levels of the
    colour at most.
    """
    mask = attention > above
    if flow is None:
        return mask
    length = np.linalg.norm(flow, axis=-1).astype(np.float32)
    return mask & (cv2.resize(length, attention.shape[::-1], interpolation=cv2.INTER_LINEAR) < still_px)


def sharpness(picture: np.ndarray, mask: np.ndarray) -> float:
    """Variance of the Laplacian of a grey picture inside a mask, grey levels squared.

    Args:
        picture: (H, W, 3) uint8.
        mask: (H, W) bool.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F)[mask].var())


def flicker(frames: Sequence[np.ndarray], mask: np.ndarray) -> float:
    """Root mean square of the differences between neighbouring frames inside a mask, grey levels.

    Args:
        frames: (H, W, 3) uint8.
        mask: (H, W) bool.
    """
    squares = [np.mean((b[mask].astype(np.float32) - a[mask]) ** 2) for a, b in pairwise(frames)]
    return float(np.sqrt(np.mean(squares)))


def polygon(points_px: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(height, width) bool: inside a closed outline (n, 2) in pixels."""
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.round(points_px[:, :2]).astype(np.int32)], 1)
    return mask.astype(bool)
