"""A pair of training: a picture, a wanted change of AUs, what comes of it, and what of that counts."""

from dataclasses import dataclass

import cv2
import numpy as np

from train.data.labels import opening
from train.synthesis.mouths import RIM, needs_mouth
from train.synthesis.regions import face_mask, loss_weights
from train.synthesis.warp import polygon_mask


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
    # (S, S) float32, 0 where it is open whether a mouth is painted: one that only the target shows
    decided: np.ndarray
    # (S/2, S/2, 2) float32, where in train.teeth a painted mouth's pixels lie, outer eye distances
    teeth: np.ndarray
    face: np.ndarray  # (S, S) float32, 1 inside the target's face
    photographic: np.ndarray  # (1,) float32: 1 where the target is a photograph as it is


def finished(
    picture: np.ndarray,
    target: np.ndarray,
    change: np.ndarray,
    flow: np.ndarray,
    mesh: np.ndarray,
    target_mesh: np.ndarray,
    painted: np.ndarray | None = None,
    unknown: np.ndarray | None = None,
    photographic: bool = False,
) -> Pair:
    """A pair with its weights.

    Args:
        picture, target: (S, S, 3) uint8 BGR.
        change: (29,).
        flow: (S, S, 2) from the target back into the picture, crop pixels.
        mesh, target_mesh: (478, 3), crop pixels.
        painted: (S, S), 1 where the target shows what no warp of the picture can.
        unknown: (S, S), 1 where nobody can know what the target shows.
        photographic: whether the target is a photograph as it is.
    """
    size = len(picture)
    nothing = np.zeros((size, size), np.float32)
    painted = nothing if painted is None else painted
    unknown = nothing if unknown is None else unknown
    weight, flow_weight = loss_weights(mesh, target_mesh, painted, unknown)
    half_flow = cv2.resize(flow, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    return Pair(
        picture,
        target,
        change.astype(np.float32),
        half_flow,
        flow_weight,
        weight,
        painted,
        mouth=nothing,
        decided=1 - unknown,
        teeth=np.zeros((size // 2, size // 2, 2), np.float32),
        face=face_mask(target_mesh, size),
        photographic=np.full(1, photographic, np.float32),
    )


def gap(mesh: np.ndarray) -> float:
    """Between the inner lips of a mesh (478, 3), outer eye distances."""
    return float(opening(mesh)[0])


def hidden_mouth(source_mesh: np.ndarray, target_mesh: np.ndarray, size_px: int) -> np.ndarray:
    """(S, S) float32, 1 inside a target's mouth that the source does not show."""
    if needs_mouth(gap(source_mesh), gap(target_mesh)):
        return polygon_mask(target_mesh[RIM, :2], size_px)
    return np.zeros((size_px, size_px), np.float32)
