"""A moved mesh -> a dense flow, and pictures moved by it.

Flow is backward and in crop pixels: out(p) = in(p + flow(p)). Inside the mesh it is linear in each triangle;
between the face's outline and a ring around it, it fades to nothing, so that hair and collar follow a little
and the background stays.
"""

from functools import lru_cache

import cv2
import numpy as np
from numba import njit

from engines.face.landmarks import tessellation
from engines.face.mesh import (
    FACE_OVAL,
    LEFT_LID_BOTTOM,
    LEFT_LID_TOP,
    LIPS_INNER_BOTTOM,
    LIPS_INNER_TOP,
    RIGHT_LID_BOTTOM,
    RIGHT_LID_TOP,
)

RING = 1.42  # the ring of rest, in face radii: wide enough that a dropped chin does not fold the neck


@lru_cache(maxsize=1)
def triangles() -> np.ndarray:
    """(T, 3) int32 over 468 landmarks and 36 ring points: the mesh, eyes and mouth filled, surroundings."""
    strips = []
    for top, bottom in (
        (LIPS_INNER_TOP, LIPS_INNER_BOTTOM),
        (RIGHT_LID_TOP, RIGHT_LID_BOTTOM),
        (LEFT_LID_TOP, LEFT_LID_BOTTOM),
    ):
        for i in range(len(top) - 1):
            strips += [(top[i], top[i + 1], bottom[i]), (bottom[i], top[i + 1], bottom[i + 1])]
    n = len(FACE_OVAL)
    for i in range(n):
        j = (i + 1) % n
        strips += [(FACE_OVAL[i], FACE_OVAL[j], 468 + i), (468 + i, FACE_OVAL[j], 468 + j)]
    return np.concatenate([tessellation(), np.array(strips, np.int32)])


def with_ring(mesh_px: np.ndarray, ring_of: np.ndarray) -> np.ndarray:
    """(504, 2) float32: the first 468 landmarks and the ring around the outline of `ring_of`."""
    oval = ring_of[list(FACE_OVAL), :2]
    centre = (oval.min(axis=0) + oval.max(axis=0)) / 2
    return np.concatenate([mesh_px[:468, :2], centre + RING * (oval - centre)]).astype(np.float32)


def flow_between(target_mesh: np.ndarray, source_mesh: np.ndarray, size_px: int) -> np.ndarray:
    """(S, S, 2) float32 flow that draws the target: where in the source picture a target pixel comes from."""
    flow = np.zeros((size_px, size_px, 2), np.float32)
    _rasterise(with_ring(target_mesh, source_mesh), with_ring(source_mesh, source_mesh), triangles(), flow)
    return flow


@njit(cache=True, nogil=True, fastmath=True)
def _rasterise(target, source, faces, flow):
    height, width = flow.shape[0], flow.shape[1]
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ax, ay, bx, by, cx, cy = (
            target[a, 0],
            target[a, 1],
            target[b, 0],
            target[b, 1],
            target[c, 0],
            target[c, 1],
        )
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(area) < 1e-3:
            continue
        x0, x1 = max(0, int(np.floor(min(ax, bx, cx)))), min(width - 1, int(np.ceil(max(ax, bx, cx))))
        y0, y1 = max(0, int(np.floor(min(ay, by, cy)))), min(height - 1, int(np.ceil(max(ay, by, cy))))
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                wb = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
                wc = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
                wa = 1.0 - wb - wc
                if wa >= -1e-4 and wb >= -1e-4 and wc >= -1e-4:
                    flow[y, x, 0] = wa * source[a, 0] + wb * source[b, 0] + wc * source[c, 0] - x
                    flow[y, x, 1] = wa * source[a, 1] + wb * source[b, 1] + wc * source[c, 1] - y


@lru_cache(maxsize=4)
def _grid(size_px: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(size_px), np.arange(size_px)), axis=-1).astype(np.float32)


def warp_picture(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """(S, S, C) moved by an (S, S, 2) flow."""
    return cv2.remap(
        picture,
        _grid(len(flow)) + flow,
        None,  # type: ignore[call-overload]  # one map of pairs: OpenCV's stub knows two maps only
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def polygon_mask(points_px: np.ndarray, shape: int | tuple[int, int], blur_px: int = 0) -> np.ndarray:
    """(S, S) or (h, w) float32, 1 inside the polygon."""
    mask = np.zeros((shape, shape) if isinstance(shape, int) else shape, np.uint8)
    cv2.fillPoly(mask, [np.round(points_px * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    smooth = cv2.blur(mask, (blur_px, blur_px)) if blur_px else mask
    return smooth.astype(np.float32) / 255


def box_around(
    points: np.ndarray, size_px: int, margin_px: int = 3
) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """The rows and columns of a picture that cover some points, and their left and top."""
    left, top = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin_px, 0)
    right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin_px, size_px)
    return (slice(top, bottom), slice(left, right)), (left, top)
