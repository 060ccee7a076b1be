"""Eyes that shut: an upper lid of smooth skin slides over a still eyeball, down to a line of lashes.

A warp alone would squash the iris and pull lashes over the stretched skin of an open eye's narrow lid. So the
lid is drawn: its colour runs from the crease above to the skin below the eye, both the photo's own.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from engines.face.mesh import LEFT_LID_BOTTOM, LEFT_LID_TOP, RIGHT_LID_BOTTOM, RIGHT_LID_TOP, mirror_index
from train.synthesis.deform import CREASE
from train.synthesis.warp import _rasterise, box_around, polygon_mask

BELOW = (25, 110, 24, 23, 22, 26, 112)  # skin under the right eye, column by column over RIGHT_LID_TOP[1:-1]
SLIDES = 0.12  # share of its opening by which an eye must narrow before the lid is drawn, fully from SHUTS on
SHUTS = 0.45
LASHES, LASH_UNITS = 0.36, 0.020  # brightness, of the skin's; thickness of the line, outer eye distances
BULGE = 0.05  # how much lighter the middle of a lid is: it lies on a ball
_TEXTURE = (56, 24)  # px, of the lid's colours before they are drawn
_COLUMNS = np.array([(x, y) for y in (1.5, 2.0, 21.0, 21.5) for x in np.linspace(0, 55, 9)], np.float32)
_STRIPS = np.array(
    [t for r in (0, 9, 18) for i in range(r, r + 8) for t in ((i, i + 1, 9 + i), (9 + i, i + 1, 10 + i))],
    np.int32,
)


@dataclass(frozen=True)
class _Eye:
    top: list[int]  # lid margins, corner to corner, 9 landmarks
    bottom: list[int]
    crease: list[int]  # 7 columns
    below: list[int]


def _eyes() -> tuple[_Eye, _Eye]:
    left = mirror_index()
    return (
        _Eye(list(RIGHT_LID_TOP), list(RIGHT_LID_BOTTOM), list(CREASE[0]), list(BELOW)),
        _Eye(
            list(LEFT_LID_TOP),
            list(LEFT_LID_BOTTOM),
            left[list(CREASE[0])].tolist(),
            left[list(BELOW)].tolist(),
        ),
    )


def shutting_lids(mesh: np.ndarray, target_mesh: np.ndarray, size_px: int) -> np.ndarray:
    """(S, S) float32, 1 where a lid lies in the target and the picture shows an eyeball; meshes (478, 3)."""
    shut = np.zeros((size_px, size_px), np.float32)
    for eye in _eyes():
        share = np.clip((_narrowed(eye, mesh, target_mesh) - SLIDES) / (SHUTS - SLIDES), 0, 1)
        before, after = (
            polygon_mask(m[[*eye.top, *eye.bottom[-2:0:-1]], :2], size_px, blur_px=3)
            for m in (mesh, target_mesh)
        )
        shut = np.maximum(shut, share * np.clip(before - after, 0, 1))
    return shut.astype(np.float32)


def _narrowed(eye: _Eye, mesh: np.ndarray, target_mesh: np.ndarray) -> float:
    """The share of its opening that an eye loses."""
    before, after = (
        np.linalg.norm(m[eye.top[1:-1], :2] - m[eye.bottom[1:-1], :2], axis=1).mean()
        for m in (mesh, target_mesh)
    )
    return float(1 - after / max(before, 1e-3))


def close_lids(
    target: np.ndarray, flow: np.ndarray, source: np.ndarray, mesh: np.ndarray, target_mesh: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws the lids of eyes that a target shuts.

    Args:
        target: (S, S, 3) uint8, the source after the warp.
        flow: (S, S, 2) of the warp.
        source: (S, S, 3) uint8 before the warp.
        mesh: (478, 3) of the source.
        target_mesh: (478, 3) of the target.

    Returns the target, the flow, 0 on eyeballs, and the (S, S) float32 mask of what was painted.
    """
    target, flow, painted = target.copy(), flow.copy(), np.zeros(target.shape[:2], np.float32)
    for eye in _eyes():
        narrowed = _narrowed(eye, mesh, target_mesh)
        if narrowed > SLIDES:
            _close_eye(
                target,
                flow,
                painted,
                source,
                mesh,
                target_mesh,
                eye,
                min(1.0, (narrowed - SLIDES) / (SHUTS - SLIDES)),
            )
    return target, flow, painted


def _close_eye(target, flow, painted, source, mesh, target_mesh, eye: _Eye, amount: float) -> None:
    """One eye, in place, `amount` 0..1."""
    size, unit = len(target), float(np.linalg.norm(mesh[33, :2] - mesh[263, :2]))
    margin, lower, crease = target_mesh[eye.top, :2], target_mesh[eye.bottom, :2], target_mesh[eye.crease, :2]
    box, corner = box_around(np.concatenate([margin, lower, crease]), size, margin_px=8)
    shape = box[0].stop - box[0].start, box[1].stop - box[1].start
    if min(shape) < 4:
        return
    margin, lower, crease = (points - corner for points in (margin, lower, crease))
    ball = polygon_mask(np.concatenate([margin, lower[-2:0:-1]]), shape, 3)[..., None]
    out = target[box] * (1 - ball) + source[box] * ball
    flow[box] *= 1 - ball
    upper = np.concatenate([margin[:1], crease, margin[-1:]])
    lid = polygon_mask(np.concatenate([upper, margin[-2:0:-1]]), shape, 5) * np.float32(amount)
    out += (_lid_skin(source, mesh, eye, upper, margin, shape) - out) * lid[..., None]
    line = np.zeros(shape, np.uint8)
    places = np.round((margin + [0, 0.3 * LASH_UNITS * unit]) * 16).astype(np.int32)
    cv2.polylines(line, [places], False, 255, max(1, round(LASH_UNITS * unit)), cv2.LINE_AA, 4)
    along = (np.arange(shape[1]) - margin[:, 0].mean()) / max(np.ptp(margin[:, 0]) / 2, 1)
    lashes = (
        cv2.GaussianBlur(line, (3, 3), 0.7)
        / np.float32(255)
        * np.float32(amount)
        * np.clip(1.25 - along**2, 0, 0.9).astype(np.float32)
    )
    out *= 1 - (1 - LASHES) * lashes[..., None]
    target[box] = np.clip(out + 0.5, 0, 255).astype(np.uint8)
    painted[box] = np.maximum(painted[box], np.maximum(lid, lashes))


def _lid_skin(
    source: np.ndarray,
    mesh: np.ndarray,
    eye: _Eye,
    upper: np.ndarray,
    margin: np.ndarray,
    shape: tuple[int, int],
) -> np.ndarray:
    """(h, w, 3) float32: colours of the lid between its upper edge and its margin, 9 points each."""
    rows = []
    for columns in (eye.crease, eye.below):
        colours = np.array([_colour(source, place) for place in mesh[columns, :2]], np.float32)
        rows.append(cv2.blur(colours[None], (3, 1))[0])
    texture = cv2.resize(
        np.stack([rows[0], 0.45 * rows[0] + 0.55 * rows[1]]), _TEXTURE, interpolation=cv2.INTER_LINEAR
    )
    texture *= (1 + BULGE * np.sin(np.pi * np.linspace(0, 1, _TEXTURE[1])))[:, None, None].astype(np.float32)
    out = np.array([0, 6.0])
    around = np.concatenate([upper - out, upper, margin, margin + out])
    # Corners, outwards, so that a blurred mask's edge finds colours, too
    around[::9, 0] -= 6 * np.sign(margin[-1, 0] - margin[0, 0])
    around[8::9, 0] += 6 * np.sign(margin[-1, 0] - margin[0, 0])
    way = np.zeros((*shape, 2), np.float32)
    _rasterise(around.astype(np.float32), _COLUMNS, _STRIPS, way)
    xs, ys = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    return cv2.remap(
        texture, way[..., 0] + xs, way[..., 1] + ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _colour(picture: np.ndarray, place: np.ndarray, radius_px: int = 3) -> np.ndarray:
    """Mean colour around a place that is moved into the picture."""
    x, y = np.clip(np.round(place).astype(int), radius_px, len(picture) - 1 - radius_px)
    return picture[y - radius_px : y + radius_px + 1, x - radius_px : x + radius_px + 1].mean(axis=(0, 1))
