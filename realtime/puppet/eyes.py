"""Eyes that look: irises moved between the lids of one photo, in the photo's own pixels, and lids that follow
a look up or down.

Each eye is taken apart once, at start: the white as it would be without the iris, and the iris, completed
where a lid covers it.

    photo = iris + (1 - matte) * white          of every pixel of the opening

A gaze lays the iris elsewhere, and lowers or lifts the lids over it. Upper lids that are raised (AU05) show
more of both: what a generator paints there is a blur.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from engines.blend import Box, sampled
from engines.face.au_estimator import lid_scale
from engines.face.crop import Crop, cut
from engines.face.mesh import LEFT_LID_BOTTOM, LEFT_LID_TOP, RIGHT_LID_BOTTOM, RIGHT_LID_TOP
from realtime.puppet.background import fill
from realtime.puppet.head import smooth_fall

# Lengths are eye widths, from corner to corner.
LID_FALLS, LID_RISES = 0.8, 0.6  # of what the iris goes down or up, the upper lid's share
LOWER_FALLS, LOWER_RISES = 0.35, 0.2  # the lower lid's
FOLD, BELOW = 0.42, 0.30  # above and below the lids: where the skin is still again
UPPER_RIM, LOWER_RIM = 0.015, 0.03  # lashes, and the lower lid's wet rim, which belong to the lids
EDGE = 0.02  # feather of the opening
LID_BLUR = 0.02  # on both sides of a lid's edge: where lid and eye are mixed
LIMBUS = (0.94, 1.16)  # iris radii between which the iris passes into the white
BESIDE_IRIS = 1.4  # iris radii from where the white is the photo's own, gradually from the iris on
CLEAN = 1.22  # iris radii from where the white is surely white
DARKER = 0.6  # share of the white that is left out when it is continued behind the iris
RINGS = 18  # of the iris, a twelfth of its radius wide, whose means stand in for what nothing shows
LEAST_OPEN, WELL_OPEN = 0.08, 0.18  # height of an opening: no movement below, all of it above
# Irises are moved so many times as far aside as they are asked to. Landmarks, which drivers are read by, see
# only half of an iris that is moved between lids that stay. By where the eyes are darkest puppets look .89 as
# far aside as their drivers with this, .67 with 1.35 (train/LOG.md).
ASIDE_GAIN = 1.6
# The same upwards and downwards, of which landmarks see a third, as the lids go along
UPRIGHT_GAIN = 1.7
MOST_UPRIGHT = 0.17  # beyond, lids would cover the iris, or the white under it would be larger than eyes show
CORNER = 0.15  # an iris' centre comes no nearer to a corner
KNEE = 4.0  # how suddenly these limits set in
EXACT_UNTIL = (
    0.15  # of a gaze: up to there what taking apart and laying together leaves is made good, less and less
)
IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))  # centre, ring


@dataclass(frozen=True)
class Gaze:
    """Where the eyes look, relative to the photo's own gaze, in eye widths."""

    right: float = 0.0  # towards the picture's right
    down: float = 0.0

    @property
    def at_rest(self) -> bool:
        return self == Gaze()


@dataclass(frozen=True)
class Look:
    """What the eyes do: where they look, and how far their upper lids are raised."""

    gaze: Gaze = Gaze()
    raised: tuple[float, float] = (0.0, 0.0)  # the right lid first: AU05, 0..1

    @property
    def at_rest(self) -> bool:
        return self == Look()

    def rounded(self, gaze_step: float, lid_step: float) -> "Look":
        right, down = (round(each / gaze_step) * gaze_step for each in (self.gaze.right, self.gaze.down))
        one, other = (round(each / lid_step) * lid_step for each in self.raised)
        return Look(Gaze(right, down), (one, other))


class Eyes:
    """Both eyes of a photo. They move together."""

    def __init__(self, picture: np.ndarray, mesh_px: np.ndarray):
        """picture: (H, W, 3) uint8; mesh_px: (478, 3) of its face, in its pixels."""
        self._pair = (
            _Eye(picture, mesh_px, RIGHT_LID_TOP, RIGHT_LID_BOTTOM),
            _Eye(picture, mesh_px, LEFT_LID_TOP, LEFT_LID_BOTTOM),
        )
        self._freedom = min(eye.freedom for eye in self._pair)
        self._room = min(eye.room_left for eye in self._pair), min(eye.room_right for eye in self._pair)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """What a gaze may change."""
        return tuple(eye.box for eye in self._pair)

    def look(self, look: Look) -> tuple[np.ndarray, ...]:
        """The pixels of each box, (h, w, 3) uint8, when the eyes do that."""
        aside = look.gaze.right * ASIDE_GAIN * self._freedom
        aside = _eased(aside, self._room[aside > 0])
        down = _eased(look.gaze.down * UPRIGHT_GAIN * self._freedom, MOST_UPRIGHT)
        lift = lid_scale().full - lid_scale().rest
        return tuple(
            eye.look(aside, down, lift * eye.freedom * share)
            for eye, share in zip(self._pair, look.raised, strict=True)
        )


class CropWithEyes:
    """The crop that the generator is shown, whose eyes look as the picture's do: what it paints of them it
    paints so.
    """

    def __init__(self, shown: np.ndarray, picture: np.ndarray, crop: Crop, boxes: tuple[Box, ...]):
        """shown: (S, S, 3) uint8, the crop of the picture at rest, (H, W, 3) uint8; boxes: of the eyes."""
        self._shown = shown
        self._eyes = [_EyeInCrop.of(picture, crop, box) for box in boxes]

    def of(self, looking: tuple[np.ndarray, ...]) -> np.ndarray:
        """What `Eyes.look` says -> (S, S, 3) uint8, read-only."""
        shown = self._shown.copy()
        for eye, pixels in zip(self._eyes, looking, strict=True):
            if eye is not None:
                eye.draw(shown, pixels)
        shown.flags.writeable = False  # engines may keep what cannot change
        return shown


@dataclass(frozen=True)
class _EyeInCrop:
    place: Box  # of the crop
    crop: Crop  # of the box's pixels
    at_rest: np.ndarray  # what it cuts out of the picture at rest, int16

    @classmethod
    def of(cls, picture: np.ndarray, crop: Crop, box: Box) -> "_EyeInCrop | None":
        """None outside the crop."""
        rows, columns = box
        corners = np.array([[x, y] for y in (rows.start, rows.stop) for x in (columns.start, columns.stop)])
        in_crop = crop.to_crop(corners)
        left, top = np.clip(np.floor(in_crop.min(axis=0)).astype(int), 0, crop.size_px)
        right, bottom = np.clip(np.ceil(in_crop.max(axis=0)).astype(int) + 1, 0, crop.size_px)
        if left >= right or top >= bottom:
            return None
        matrix = crop.crop_from_frame.copy()
        matrix[:, 2] = crop.to_crop(np.array([columns.start, rows.start])) - [left, top]
        small = Crop(matrix, int(max(right - left, bottom - top)))
        place = slice(top, bottom), slice(left, right)
        return cls(place, small, cut(picture[box], small).astype(np.int16))

    def draw(self, shown: np.ndarray, pixels: np.ndarray) -> None:
        """Adds to (S, S, 3) uint8, in place, what has changed in the box."""
        changed = cut(pixels, self.crop) - self.at_rest
        place = shown[self.place]
        height, width = place.shape[:2]
        place[:] = np.clip(place + changed[:height, :width], 0, 255)


def _eased(value: float, most: float) -> float:
    """A value that nears a limit instead of meeting it."""
    return value / (1 + (abs(value) / most) ** KNEE) ** (1 / KNEE)


class _Eye:
    """One eye, taken apart."""

    def __init__(
        self, picture: np.ndarray, mesh_px: np.ndarray, top: tuple[int, ...], bottom: tuple[int, ...]
    ):
        """top, bottom: lid contours from corner to corner."""
        points = mesh_px[:, :2].astype(np.float64)
        start, end = sorted((points[top[0]], points[top[-1]]), key=lambda corner: corner[0])
        self._start, self._width_px = start, max(1.0, float(np.linalg.norm(end - start)))
        along = (end - start) / self._width_px
        self._axes = np.array([along, [-along[1], along[0]]])  # rows: along the eye, down from it
        upper, lower = (
            self._contour(points[list(top)], UPPER_RIM),
            self._contour(points[list(bottom)], -LOWER_RIM),
        )
        ring = min(IRISES, key=lambda ring: np.linalg.norm(points[ring[0]] - (start + end) / 2))
        self._centre = self._local(points[ring[0]])
        self._radius = max(
            0.05, float(np.linalg.norm(self._local(points[list(ring[1:])]) - self._centre, axis=1).mean())
        )
        height = float(np.interp(self._centre[0], *lower.T) - np.interp(self._centre[0], *upper.T))
        self.freedom = float(np.clip((height - LEAST_OPEN) / (WELL_OPEN - LEAST_OPEN), 0, 1))
        self.room_left = max(0.02, self._centre[0] - CORNER)
        self.room_right = max(0.02, 1 - CORNER - self._centre[0])
        self._lay_grid(picture, upper, lower)
        self._take_apart()
        self._left_over = np.zeros_like(self._photo)
        self._left_over = self._photo - self.look(0.0, 0.0)

    def _local(self, places_px: np.ndarray) -> np.ndarray:
        """(..., 2) pixels -> along and down the eye, in eye widths from its corner on the picture's left."""
        return (places_px - self._start) @ self._axes.T / self._width_px

    def _contour(self, points_px: np.ndarray, rim: float) -> np.ndarray:
        contour = self._local(points_px)
        contour = contour[np.argsort(contour[:, 0])]
        contour[:, 1] += rim * np.sin(np.pi * np.clip(contour[:, 0], 0, 1))
        return contour

    def _lay_grid(self, picture: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> None:
        """Cuts the eye out of the picture; sets each pixel's place and, at its place along the eye, that of
        the lids.
        """
        high_lid, low_lid = upper[:, 1].min(), lower[:, 1].max()
        self.box = self._around(
            [-0.06, high_lid - FOLD - 0.06], [1.06, low_lid + BELOW + 0.06], picture.shape
        )
        inner = self._around([-0.03, high_lid - 0.14], [1.03, low_lid + 0.08], picture.shape)
        # Within the box, what the opening never leaves.
        around_rows, around_columns = self.box
        self._inner = (
            slice(
                max(0, inner[0].start - around_rows.start),
                min(inner[0].stop, around_rows.stop) - around_rows.start,
            ),
            slice(
                max(0, inner[1].start - around_columns.start),
                min(inner[1].stop, around_columns.stop) - around_columns.start,
            ),
        )
        rows, columns = self.box
        self._photo = picture[self.box].astype(np.float32)
        grid = np.stack(
            np.meshgrid(np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)), axis=-1
        )
        self._places = (grid - [columns.start, rows.start]).astype(np.float32)
        local = self._local(grid).astype(np.float32)
        self._a, self._b = np.ascontiguousarray(local[..., 0]), np.ascontiguousarray(local[..., 1])
        self._top = np.interp(self._a, *upper.T).astype(np.float32)
        self._bottom = np.interp(self._a, *lower.T).astype(np.float32)
        self._arch = np.sqrt(np.maximum(np.sin(np.pi * np.clip(self._a, 0, 1)), 0)).astype(np.float32)
        self._between_corners = ((self._a > 0) & (self._a < 1)).astype(np.float32)

    def _around(self, low: list[float], high: list[float], shape: tuple[int, ...]) -> Box:
        """The upright box of pixels that covers a box of the eye's own."""
        corners = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
        corners = self._start + self._width_px * corners @ self._axes
        least = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, [shape[1] - 1, shape[0] - 1])
        most = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, least + 1, [shape[1], shape[0]])
        return slice(int(least[1]), int(most[1])), slice(int(least[0]), int(most[0]))

    def _opening(self, top: np.ndarray, bottom: np.ndarray, part: Box) -> np.ndarray:
        """(h, w) 0..1: what is between the lids."""
        b = self._b[part]
        room = np.minimum(b - top[part], bottom[part] - b)
        return np.clip(room * np.float32(1 / EDGE) + np.float32(0.5), 0, 1) * self._between_corners[part]

    def _take_apart(self) -> None:
        """The white, (h, w, 3) float32, and the iris, (h, w, 4) float32: colours times the matte, and the
        matte.
        """
        photo, everything = self._photo, np.s_[:, :]
        radius = np.hypot(self._a - self._centre[0], self._b - self._centre[1]) / self._radius
        opening = self._opening(self._top, self._bottom, everything)
        bare = fill(photo, self._whitest((opening > 0.99) & (radius > CLEAN)), seamless=True)
        matte = smooth_fall(radius, *LIMBUS).astype(np.float32)
        seen = self._opening(self._top, self._bottom - LID_BLUR, everything)
        visible = (seen * smooth_fall(radius, CLEAN, CLEAN + 0.1)).astype(np.float32)[..., None]
        iris = photo - (1 - matte[..., None]) * bare
        behind_lids = self._completed(iris, visible, radius) * (matte > 0)[..., None]
        iris = np.dstack([iris * visible + behind_lids * (1 - visible), matte])
        iris[radius > LIMBUS[1]] = 0
        self._iris = np.ascontiguousarray(iris[self._inner], np.float32)
        with_edges = self._opening(self._top - LID_BLUR, self._bottom + LID_BLUR, everything)
        shown = with_edges * (1 - smooth_fall(radius, LIMBUS[1], BESIDE_IRIS))
        self._white = (bare + (photo - bare) * shown[..., None])[self._inner].astype(np.float32)

    def _whitest(self, white: np.ndarray) -> np.ndarray:
        """(h, w) bool: of the white, all above the iris' centre, where the lid's shadow belongs to it, and
        below what neither a corner nor a lid darkens that the mesh misses."""
        below = white & (self._b > self._centre[1])
        if not below.any():
            return white
        light = self._photo.min(axis=2)
        return white & ~(below & (light < np.quantile(light[below], DARKER)))

    def _completed(self, iris: np.ndarray, visible: np.ndarray, radius: np.ndarray) -> np.ndarray:
        """(h, w, 3): the iris as its other half shows it, mirrored, and where that is covered, too, the mean
        of its ring.
        """
        mirrored = np.stack([self._a, 2 * self._centre[1] - self._b], axis=-1)
        places = self._start + mirrored @ self._axes * self._width_px - [self.box[1].start, self.box[0].start]
        seen = np.dstack([iris * visible, visible]).astype(np.float32)
        other = sampled(seen, places.astype(np.float32))
        ring = np.minimum(radius * 12, RINGS - 1).astype(int).ravel()
        count = np.bincount(ring, visible.ravel(), RINGS)
        known = np.flatnonzero(count > 0.5)
        if not len(known):
            return other[..., :3]
        sums = [np.bincount(ring, (iris[..., [c]] * visible).ravel(), RINGS) for c in range(3)]
        place = radius * 12 - 0.5  # of ring centres
        means = np.dstack([np.interp(place, known, total[known] / count[known]) for total in sums])
        return other[..., :3] + means * (1 - other[..., 3:])

    def look(self, aside: float, down: float, raised: float = 0.0) -> np.ndarray:
        """(h, w, 3) uint8: the box when iris and upper lid are shifted by so many eye widths."""
        top, bottom, skin, white = self._top, self._bottom, self._photo, self._white
        if down or raised:
            upper = np.float32(down * (LID_FALLS if down > 0 else LID_RISES) - raised) * self._arch
            lower = np.float32(down * (LOWER_FALLS if down > 0 else LOWER_RISES)) * self._arch
            top, bottom = top + upper, bottom + lower
            above = self._b < (top + bottom) / 2
            skin = self._skin(
                np.where(above, upper, lower),
                np.where(above, (top - self._b) / FOLD, (self._b - bottom) / BELOW),
            )
            # A lid that closes slides over the white; one that opens takes it along.
            white = self._stretched_white(np.minimum(upper, 0), np.maximum(lower, 0))
        shift = np.array([aside, down]) @ self._axes * self._width_px
        inner = self._inner
        size = self._iris.shape[1::-1]
        iris = cv2.warpAffine(
            self._iris, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), size, flags=cv2.INTER_CUBIC
        )
        ball = iris[..., :3] + (1 - iris[..., 3:]) * white
        opening = self._opening(top, bottom, inner)[..., None]
        picture = skin.copy()
        picture[inner] += opening * (ball - picture[inner])
        exact = 1 - max(abs(aside), abs(down), raised) / EXACT_UNTIL
        if exact > 0:
            picture += np.float32(exact) * self._left_over
        return np.clip(picture + 0.5, 0, 255).astype(np.uint8)

    def _stretched_white(self, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """(h, w, 3) float32 of the inner box: the white, with the lids' shadows, between lids that have moved
        by (h, w) eye widths."""
        inner = self._inner
        top, bottom = self._top[inner] + upper[inner], self._bottom[inner] + lower[inner]
        share = np.clip((self._b[inner] - top) / np.maximum(bottom - top, EDGE), 0, 1)
        lid = upper[inner] + (lower[inner] - upper[inner]) * share
        moved = (lid * self._width_px)[..., None] * self._axes[1].astype(np.float32)
        places = self._places[inner] - self._places[inner][0, 0]
        return sampled(self._white, places - moved, border=cv2.BORDER_REPLICATE)

    def _skin(self, lid: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """(h, w, 3) float32: the skin around an eye whose lids have moved by (h, w) eye widths, at distances
        of 0 to 1 from them.
        """
        t = np.clip(distance, 0, 1)
        moved = (lid * (1 - t * t * (3 - 2 * t)) * self._width_px)[..., None] * self._axes[1].astype(
            np.float32
        )
        return sampled(self._photo, self._places - moved, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
