"""What shows between lips that part, where the photo's own were shut: layers of teeth, tongue and dark.

Upper teeth hang on the skull, so that they keep still while lips move over them, until a lip has risen by a
tooth's height: then it takes them along, as motion that is stronger than life would else leave a dark gap
above them. Lower teeth and tongue go with the jaw. One mouth for all faces, matched in brightness: a
generator that is shown another donor's mouth each time learns the mean of all mouths, a blur (LOG, run 1);
one that is always shown the same mouth learns its teeth.
"""

import cv2
import numpy as np

from engines.face.mesh import LIPS_INNER_BOTTOM, LIPS_INNER_TOP, Pose, align
from train.synthesis.warp import box_around, polygon_mask
from train.teeth import places, teeth

RIM = list(LIPS_INNER_TOP) + list(LIPS_INNER_BOTTOM[-2:0:-1])  # the inner lip contour, once around: 20 points
SKIN = [205, 425, 50, 280, 18, 164]  # cheeks, chin and under the nose: what brightness is compared on
TEETH_SKIN = 118.0  # grey level of the skin that the teeth came with
# Of the teeth: they differ less from face to face than skin does, and are white in no photo
LIGHT = 0.4, 1.08
# Outer eye distances of upper teeth below the resting upper lip: 4 mm, as an opening jaw draws the lip down
# with it
SHOWN_AT_REST = 0.045
# Height of the front teeth: a lip that rises further takes them along, or smiles would show a dark gap above
# them
TOOTH = 0.115
# Half widths of a mouth: up to the first its lips hide the teeth, from the second on they show; at rest .28
ROUND, NARROW = 0.175, 0.215
# Share of the corners' lift that the row follows at the sides: smiles curve, and a straight row leaves their
# corners dark
ARCH = 0.6
# Mouths of a greater half width show a wider row, up to so many times: dark corners look like gaps
ROW_HALF, WIDER = 0.27, 1.25
ARC = 0.9  # how far teeth lie back at the sides: z = ARC * x^2, outer eye distances
DARK, TONGUE = np.array([26.0, 22.0, 46.0]), np.array([80.0, 72.0, 145.0])  # BGR at TEETH_SKIN
LOWER_TEETH = (0.82, 0.72)  # size and brightness, of the upper ones'
RIM_SHADE_UNITS = 0.035  # over which lips darken what lies behind them


def needs_mouth(gap_before: float, gap_after: float) -> bool:
    """Whether lips part so far that a warp alone would stretch lips or teeth.

    Args:
        gap_before: inner lip gap, outer eye distances.
        gap_after: likewise.
    """
    return gap_after > 0.035 and gap_after > 1.7 * gap_before + 0.02


def paint_mouth(
    target: np.ndarray, rest: np.ndarray, target_mesh: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paints a mouth between a target's lips.

    Args:
        target: (S, S, 3) uint8, already warped.
        rest: (478, 3) the photo's mesh without its expression.
        target_mesh: (478, 3) the target's.

    Returns the picture, the (S, S) float32 mask of what was painted, and (S, S, 2) float32 where in
    train.teeth each of its pixels lies.
    """
    size = len(target)
    box, (left, top) = box_around(target_mesh[RIM, :2], size)
    if box[0].start >= box[0].stop or box[1].start >= box[1].stop:
        return target, np.zeros((size, size), np.float32), np.zeros((size, size, 2), np.float32)
    _, pose = align(rest)
    light = float(np.clip(np.sqrt(_skin_level(target, target_mesh) / TEETH_SKIN), *LIGHT))
    mask = polygon_mask(target_mesh[RIM, :2], size, blur_px=3)
    xs, ys = np.meshgrid(
        np.arange(left, box[1].stop, dtype=np.float32), np.arange(top, box[0].stop, dtype=np.float32)
    )
    x, y = _in_units(xs, ys, rest[13, :2], pose)
    jaw = (target_mesh - rest)[[148, 152, 377], :2].mean(axis=0)
    # Units below the lower lip as the jaw alone would carry it
    _, below = _in_units(xs, ys, rest[14, :2] + jaw, pose)
    gap = float(np.linalg.norm(target_mesh[13, :2] - target_mesh[14, :2]) / pose.scale)
    layer = np.broadcast_to(DARK, (*x.shape, 3)).astype(np.float32).copy()
    tongue = np.exp(-((x / 0.19) ** 4) - ((below + 0.01) / max(0.08, 0.32 * gap)) ** 2)[..., None] * np.clip(
        (gap - 0.08) / 0.12, 0, 1
    )
    layer += (TONGUE - layer) * 0.85 * tongue
    small, dim = LOWER_TEETH
    upper, lower = _upper_row(x, y, rest, target_mesh, pose), np.stack([x, -(below + 0.012)], axis=-1) / small
    # Both rows are clear between their edges
    is_lower = (upper[..., 1:] > 0) & (lower[..., 1:] < upper[..., 1:])
    where = np.where(is_lower, lower, upper).astype(np.float32)
    row = cv2.remap(teeth(), *places(where), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    layer = layer * (1 - row[..., 3:]) + row[..., :3] * np.where(is_lower, np.float32(dim), np.float32(1))
    depth = cv2.distanceTransform((mask[box] > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / (
        RIM_SHADE_UNITS * float(pose.scale)
    )
    layer *= (light * (0.6 + 0.4 * np.clip(depth, 0, 1)))[..., None]
    shown, painted = mask[box][..., None], target.copy()
    painted[box] = np.clip(target[box] * (1 - shown) + layer * shown + 0.5, 0, 255).astype(np.uint8)
    shown_teeth = np.zeros((size, size, 2), np.float32)
    shown_teeth[box] = where
    return painted, mask, shown_teeth


def _upper_row(
    x: np.ndarray, y: np.ndarray, rest: np.ndarray, target_mesh: np.ndarray, pose: Pose
) -> np.ndarray:
    """Where pixels lie in the upper row of teeth.

    Args:
        x: of pixels, from the resting upper lip, outer eye distances.
        y: likewise.
        rest: (478, 3) the mesh without expression.
        target_mesh: (478, 3) the target's.
        pose: of `rest`.

    Returns:
        (..., 2) right of the midline and below the incisors' edge.

    All in outer eye distances. How much of a tooth shows depends on how far the lip has risen, the row's
    sides and width on the corners.
    """

    def units(points: np.ndarray) -> np.ndarray:
        return np.stack(
            _in_units(points[:, 0].astype(np.float32), points[:, 1].astype(np.float32), rest[13, :2], pose),
            axis=-1,
        )

    rims = units(target_mesh[[13, 78, 308], :2])
    lip, corners = rims[0, 1], rims[1:]
    rest_corners = units(rest[[78, 308], :2])
    half = float(corners[1, 0] - corners[0, 0]) / 2
    lift = float(np.clip(rest_corners[:, 1].mean() - (corners[:, 1].mean() - lip), 0, 0.2))
    shown = np.clip(SHOWN_AT_REST - lip, 0, TOOTH) * np.clip((half - ROUND) / (NARROW - ROUND), 0, 1)
    edge = lip + shown - ARCH * lift * np.minimum((x / half) ** 2, 1.2)
    return np.stack([x / np.clip(half / ROW_HALF, 1, WIDER), y - edge], axis=-1)


def _in_units(
    xs: np.ndarray, ys: np.ndarray, origin: np.ndarray, pose: Pose
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels -> x and y in the face's own frame, outer eye distances from `origin` (2,) px.

    The frame is an arc that lies back at the sides.
    """
    axes = pose.scale * pose.rotation[:2]  # columns: where right, down and back go in the picture
    inverse = np.linalg.inv(axes[:, :2]).astype(np.float32)
    xs, ys, back = xs - np.float32(origin[0]), ys - np.float32(origin[1]), np.float32(0)
    for _ in range(2):
        px, py = xs - np.float32(axes[0, 2]) * back, ys - np.float32(axes[1, 2]) * back
        x, y = inverse[0, 0] * px + inverse[0, 1] * py, inverse[1, 0] * px + inverse[1, 1] * py
        back = ARC * np.minimum(x**2, 0.1)
    return x, y


def _skin_level(picture: np.ndarray, mesh: np.ndarray) -> float:
    """Mean grey level of the skin around a mouth."""
    small = cv2.blur(picture, (9, 9))
    places = np.clip(np.round(mesh[SKIN, :2]).astype(int), 0, len(picture) - 1)
    return float(small[places[:, 1], places[:, 0]].mean())
