"""The geometry of a head in one photo: how deep each place lies, how far it follows the head, and the map
that a pose makes of it.

Works on a coarse grid over the part of the picture that can move. Lengths named in units are outer eye
distances of the mean face, as in an aligned mesh: x to the picture's right, y down, z away from the camera,
before the photo's own roll.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from engines.blend import Box, Displacement, Layers, sampled
from engines.face.mesh import align

# Across the longer side of the moving part: a cell is a twentieth of an eye distance, the map is smooth
GRID_CELLS = 112

# The head around the face mesh. The mean face is 1.62 wide and reaches from y -0.58 to 1.31; a head with its
# hair is wider and taller.
HEAD_CENTRE = (0.0, 0.20, 0.62)  # at the depth of the ears' front, the rearmost points of the mesh
HALF_WIDTH, HALF_HEIGHT = 1.27, 1.80  # .78 of the face's width, .95 of its height
BULGE = 0.75  # how far the ellipsoid stands before its centre
# A seventh of the face's height above the chin, a quarter of its width behind the ears
NECK_JOINT = (0.0, 1.03, 1.02)
CHIN_Y = 1.31

# Head radii: up to where a place follows the head, and from where on it does not
WHOLLY, NOT_AT_ALL = (1.15, 1.85)
NOT_AT_ALL_ABOVE = 1.41  # straight above, where a radius is longer: within 1.4 head widths of the centre
NECK_FROM, NECK_TO = 1.05, 2.55  # y between which the neck (and hair beside it) follows less and less
SHOULDERS_SHARE = 1 / 6  # of the head's own shift
SHOULDERS_TO = 4.2  # y from which on the shoulders are still
SHOULDERS_WIDTH = (1.6, 3.2)  # x between which they follow less and less
# Y around the joint over which the swing of the head ends: below it a turn shifts, and the body does not
# swing
ARM_BEND = 0.3

SPREAD = 0.08  # of a landmark's depth over its surroundings
SMOOTHING = 0.08  # of the depths: less leaves folds beside the nose
PRIOR_WEIGHT = 0.02  # of the ellipsoid where landmarks are dense; where there are none it stands alone
# Depths are taken so many times as deep. MediaPipe's are flat, and smoothing flattens them: with this, turned
# heads are measured
# again at .99 of their yaw and .85 of their pitch, at .64 and .58 without, median of 19 photos.
RELIEF = 1.45
NOD_GAIN = 1.06  # for what pitch still lacks; more of it squeezes chins

# Of the map's inverse. At 10 degrees nothing is left; at the limits a fiftieth of an eye distance in a
# thousandth of the cells, beside noses, where a real head hides what is behind.
FIXED_POINT_STEPS = 12
LEAST_ROOM = 0.2  # share of its area that a place may be squeezed to, in 99 % of the head
FOLDED = 0.03  # the same in 99.9 %: what is squeezed so far is hidden behind a nose or a cheek
MOST_STRETCH = 1.9
LIMITS_DEG = (6.0, 9.0, 12.0, 15.0, 18.0, 21.0, 24.0, 27.0, 30.0)  # that are tried
KNEE = 4.0  # how suddenly a limit sets in: at half of it an angle loses 1.5 %, at .8 of it 8 %
MOST_NOD_DEG = 13.0  # beyond, a chin seems to grow: what is under it was not in the photo
CUT = 0.5  # share of matte at the photo's edge that counts as the person
MOST_MIRRORED = 0.30  # of the photo that may come into view, mirrored at its edge
WITH_HAND_DEG = 6.0  # a hand at the head bends with it: up to this it is not seen


@dataclass(frozen=True)
class HeadPose:
    """A pose relative to the photo's own. Angles as in engines.face.mesh.Pose."""

    pitch_deg: float = 0.0  # chin down is positive
    yaw_deg: float = 0.0  # towards the picture's right is positive
    roll_deg: float = 0.0  # clockwise is positive
    scale: float = 1.0  # nearer is above 1

    @property
    def at_rest(self) -> bool:
        return self == HeadPose()


@dataclass(frozen=True)
class Limits:
    """How far a photo's head can be moved, degrees."""

    up: float
    down: float
    left: float  # towards the picture's left
    right: float
    tilt: float

    @property
    def turn(self) -> float:
        """The smaller one of left and right."""
        return min(self.left, self.right)


class HeadGeometry:
    """Prepared for one picture and the mesh of its face. `box` is the part of the picture that can move;
    `follows`, (h, w) float32 of its cells, is the share of the head's way that each takes."""

    def __init__(self, mesh_px: np.ndarray, photo: Box):
        """mesh_px:

        (478, 3) in picture pixels; photo: where the photo lies in the picture: nothing moves beyond.
        """
        _, pose = align(mesh_px)
        self.unit_px = float(pose.scale)
        self._own_deg = pose.angles_deg
        placed = np.array([HEAD_CENTRE, NECK_JOINT]) @ pose.rotation.T * self.unit_px + pose.translation
        self.centre_px, self._joint_px = placed  # (3,) each
        roll = np.radians(self._own_deg[2])
        self._upright = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]]) / self.unit_px
        self._own_turn = rotation(self._own_deg)
        self._lay_grid(photo)
        across, down = self.upright(self._grid_px)
        depth = self._depths(mesh_px, across, down) - self.centre_px[2]
        self._depth = (depth * RELIEF + self.centre_px[2] - self._joint_px[2]).astype(np.float32)
        self._x = self._grid_px[..., 0] - np.float32(self._joint_px[0])
        arm = (self._grid_px[..., 1] - self._joint_px[1]) / self.unit_px
        bend = np.clip(arm, -ARM_BEND, ARM_BEND)
        arm = np.minimum(arm, -ARM_BEND) + ARM_BEND - (ARM_BEND - bend) ** 2 / (4 * ARM_BEND)
        self._y = (arm * self.unit_px).astype(np.float32)
        above = down < HEAD_CENTRE[1]
        aside = across / HALF_WIDTH
        radius = np.where(above, np.hypot(aside, (down - HEAD_CENTRE[1]) / HALF_HEIGHT), np.abs(aside))
        above_share = np.clip((HEAD_CENTRE[1] - down) / HALF_HEIGHT / np.maximum(radius, 1e-6), 0, 1)
        ends = NOT_AT_ALL + (NOT_AT_ALL_ABOVE - NOT_AT_ALL) * above_share
        follows = smooth_fall(radius, WHOLLY, ends) * smooth_fall(down, NECK_FROM, NECK_TO)
        shoulders = smooth_fall(-down, -NECK_TO, -NECK_FROM) * smooth_fall(down, NECK_TO, SHOULDERS_TO)
        shoulders = shoulders * smooth_fall(np.abs(across), *SHOULDERS_WIDTH)
        self.follows, self._shoulders = follows.astype(np.float32), shoulders.astype(np.float32)
        self._edges: list[
            tuple[tuple, np.ndarray, int]
        ] = []  # where in a map, which of it, and the sign of inwards
        self._most_deg = LIMITS_DEG[-1]
        self.limits = self._find_limits()

    def share_at(self, places_px: np.ndarray) -> np.ndarray:
        """(n, 2) picture pixels -> (n,) share of the head's way that each takes."""
        cells = (places_px - self._grid_px[0, 0]) / self.cell_px
        return sampled(self.follows, cells[None].astype(np.float32))[0]

    def heed_hand(self) -> None:
        """Limits the head to what a hand beside it bears."""
        self._most_deg = WITH_HAND_DEG
        self.limits = self._find_limits()

    def upright(self, places_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., 2) picture pixels -> x and y in units."""
        local = (places_px - self.centre_px[:2]) @ self._upright.T
        return local[..., 0] + HEAD_CENTRE[0], local[..., 1] + HEAD_CENTRE[1]

    def heed_edges(self, layers: Layers) -> None:
        """Limits the head further where the photo's edge cuts the person off.

        What a turn brings into view there is the photo mirrored at its edge, which the eye takes for hair or
        cloth while it is narrow.
        """
        height, width = self.follows.shape
        rows, columns = (slice(layers.margin_px, side - layers.margin_px) for side in layers.matte.shape)
        coarse = (
            cv2.resize(layers.matte[rows, columns], (width, height), interpolation=cv2.INTER_AREA) > CUT * 255
        )
        moving = coarse & (np.maximum(self.follows, self._shoulders) > 0)
        self._edges = [
            (np.s_[0, :, 1], moving[0], 1),
            (np.s_[-1, :, 1], moving[-1], -1),
            (np.s_[:, 0, 0], moving[:, 0], 1),
            (np.s_[:, -1, 0], moving[:, -1], -1),
        ]
        self.limits = self._find_limits()

    def limited(self, pose: HeadPose) -> HeadPose:
        """The pose as far as this photo bears it.

        About one axis it nears that axis' limit, about several at once it ends a little earlier.
        """
        limits = self.limits
        shares = (
            pose.pitch_deg / (limits.down if pose.pitch_deg > 0 else limits.up),
            pose.yaw_deg / (limits.right if pose.yaw_deg > 0 else limits.left),
            pose.roll_deg / limits.tilt,
        )
        eased = (1 + sum(abs(share) ** KNEE for share in shares)) ** (-1 / KNEE)
        return HeadPose(pose.pitch_deg * eased, pose.yaw_deg * eased, pose.roll_deg * eased, pose.scale)

    def displacement(self, pose: HeadPose) -> Displacement:
        """The map of a pose; the pose should be `limited`."""
        cells = self._forward_px(pose) / self.cell_px
        grid = self._index
        back = -cells
        for _ in range(FIXED_POINT_STEPS):
            back = -sampled(cells, grid + back, border=cv2.BORDER_REPLICATE)
        return Displacement(back * self.cell_px)

    def _forward_px(self, pose: HeadPose) -> np.ndarray:
        """(h, w, 2) float32: how far what is seen in each cell goes."""
        moved = self._own_deg + [pose.pitch_deg * NOD_GAIN, pose.yaw_deg, pose.roll_deg]
        turn = rotation(moved) @ self._own_turn.T * pose.scale
        arm = self.centre_px - self._joint_px
        shift = ((turn @ arm - arm)[:2] * SHOULDERS_SHARE).astype(np.float32)
        (xx, xy, xz), (yx, yy, yz) = turn[:2].astype(np.float32)
        dx = (xx - 1) * self._x + xy * self._y + xz * self._depth
        dy = yx * self._x + (yy - 1) * self._y + yz * self._depth
        return np.dstack(
            [
                dx * self.follows + shift[0] * self._shoulders,
                dy * self.follows + shift[1] * self._shoulders,
            ]
        )

    def _lay_grid(self, photo: Box) -> None:
        low, high = np.array([photo[1].start, photo[0].start]), np.array([photo[1].stop, photo[0].stop])
        half_px = SHOULDERS_WIDTH[1] * self.unit_px
        above_px = HALF_HEIGHT * NOT_AT_ALL * self.unit_px
        below_px = (SHOULDERS_TO - HEAD_CENTRE[1]) * self.unit_px
        centre = self.centre_px[:2]
        first = np.clip(np.floor(centre - [half_px, above_px]).astype(int), low, high - 1)
        last = np.clip(np.ceil(centre + [half_px, below_px]).astype(int), first + 1, high)
        self.box: Box = (slice(first[1], last[1]), slice(first[0], last[0]))
        self.cell_px = 2 * -(-int((last - first).max()) // (2 * GRID_CELLS))
        width, height = -(-(last - first) // self.cell_px)
        cells = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
        self._index = cells.astype(np.float32)
        self._grid_px = ((cells + 0.5) * self.cell_px - 0.5 + first).astype(np.float32)

    def _depths(self, mesh_px: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
        """(h, w) depth of what each cell shows, pixels: of landmarks, and of an ellipsoid around them."""
        radius = np.hypot(across / HALF_WIDTH, (down - HEAD_CENTRE[1]) / HALF_HEIGHT)
        bulge = (1 + np.cos(np.pi * np.clip(radius / 1.1, 0, 1))) / 2
        prior = self.centre_px[2] - BULGE * self.unit_px * bulge
        height, width = across.shape
        places = (mesh_px[:468, :2] - self._grid_px[0, 0]) / self.cell_px
        inside = ((places >= 0) & (places < [width - 1, height - 1])).all(axis=1)
        places, landmarks = places[inside], mesh_px[:468, 2][inside]
        weight, depth = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
        corner, share = places.astype(int), places % 1
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):  # bilinear
            part = np.abs(1 - dx - share[:, 0]) * np.abs(1 - dy - share[:, 1])
            np.add.at(weight, (corner[:, 1] + dy, corner[:, 0] + dx), part)
            np.add.at(depth, (corner[:, 1] + dy, corner[:, 0] + dx), part * landmarks)
        cell = self.cell_px / self.unit_px
        # Landmarks a cell, on average over a face seen from the front.
        density = 468 / (1.62 * 1.89 * np.pi / 4) * cell**2
        weights = cv2.GaussianBlur(weight, (0, 0), SPREAD / cell) / density
        depths = cv2.GaussianBlur(depth, (0, 0), SPREAD / cell) / density
        blended = (depths + PRIOR_WEIGHT * prior) / (weights + PRIOR_WEIGHT)
        return cv2.GaussianBlur(blended.astype(np.float32), (0, 0), SMOOTHING / cell)

    def _find_limits(self) -> Limits:
        return Limits(
            up=min(MOST_NOD_DEG, self._most("pitch_deg", -1)),
            down=min(MOST_NOD_DEG, self._most("pitch_deg", 1)),
            left=self._most("yaw_deg", -1),
            right=self._most("yaw_deg", 1),
            tilt=min(self._most("roll_deg", 1), self._most("roll_deg", -1)),
        )

    def _most(self, axis: str, sign: int) -> float:
        """The largest angle about one axis that squeezes and stretches nothing too far; half of the first
        that is tried where none is.
        """
        best = LIMITS_DEG[0] / 2
        for angle in LIMITS_DEG:
            if angle > self._most_deg or not self._bears(HeadPose(**{axis: sign * angle})):
                return best
            best = angle
        return best

    def _bears(self, pose: HeadPose) -> bool:
        moved = self._forward_px(pose) / self.cell_px
        most = MOST_MIRRORED * self.unit_px / self.cell_px
        if any((sign * moved[place] > most)[cut].any() for place, cut, sign in self._edges):
            return False
        by_y, by_x = (np.gradient(moved, axis=axis) for axis in (0, 1))
        area = (1 + by_x[..., 0]) * (1 + by_y[..., 1]) - by_x[..., 1] * by_y[..., 0]
        area = area[self.follows > 0.3]
        folded, squeezed, stretched = np.quantile(area, (0.001, 0.01, 0.99)) if area.size else (1, 1, 1)
        return bool(folded > FOLDED and squeezed > LEAST_ROOM and stretched < MOST_STRETCH)


def rotation(angles_deg: np.ndarray) -> np.ndarray:
    """(3,) pitch, yaw, roll as of engines.face.mesh.Pose -> (3, 3)."""
    pitch, yaw, roll = np.radians(angles_deg)
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    about_y = [[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]]
    about_z = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    return np.array(about_z) @ np.array(about_y) @ np.array(about_x)


def smooth_fall(x: np.ndarray, start: float | np.ndarray, end: float | np.ndarray) -> np.ndarray:
    """1 up to start, 0 from end on, smooth between."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return 1 - t * t * (3 - 2 * t)
