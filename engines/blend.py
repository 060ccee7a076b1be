"""An edit drawn into a picture at the picture's own resolution. The only place where attention meets pixels.

    out = A * moved(photo) + (1 - A) * C      GANimation (ECCV 2018), eq. 1, with the photo moved by the flow

Flow, attention and colour are scaled up from the crop; wherever attention says "photo", or nearly so beside a
flow, the picture's own pixels are shown, so that a sharp photo stays sharp. Pixels outside the crop are not
touched: they are the photo's, byte for byte.

With a head that moves, the photo is a person before a background (`Layers`), and the person's pixels are
sampled once, by the head's map and the flow together; colour and attention go along:

    out(q) = person(p + flow(p)) + (1 - matte(p + flow(p))) * background(q)          p = q + away(q)
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from engines.backends.interface import Edit
from engines.face.crop import Crop

# How the photo's pixels are moved. Full single AUs on faces of 640 - 830 px keep .93 of the photo's sharpness
# (variance of the Laplacian), .62 by bilinear and .99 by Lanczos sampling, in 3.9, 1.6 and 20 ms of one core
# for a crop of 640 px.
SAMPLING = cv2.INTER_CUBIC
# What moves is sampled between its pixels, and bicubic sampling takes some detail off. So much of what a blur
# of PREFILTER_SIGMA pixels takes off is added before, that it is as sharp as by Lanczos: two photos turned by
# 7 degrees keep .95 and .98 of their sharpness instead of .91 and .93.
PREFILTER, PREFILTER_SIGMA = 0.1, 0.7
UNSEEN = 1 / 512  # of 1 - A: less colour than this changes no pixel by more than half a grey level
# Of 1 - A, where the flow moves the photo: fainter colour draws nothing that can be seen, but as it is no
# sharper than the crop it veils the photo's own grain. Full single AUs on four photos keep .89 of their
# sharpness with all of it, .92 without what is fainter than .1, .93 without .2, .94 without .3.
FAINT = 0.2
STILL_PX = 1 / 64  # a map that goes no further moves nothing that can be seen
MIRROR_PACE = (
    0.6  # beyond the picture's edge it is repeated so slowly that what stands further in comes into view late
)
STRIP_CELLS = 8  # of the refined map: moving pixels are drawn strip by strip, each as wide as it must be

Box = tuple[slice, slice]  # rows, columns of the picture


@dataclass(frozen=True)
class Layers:
    """A part of a still picture as a person before a background: `split` makes them, `over` joins them."""

    # The person has `margin_px` around the box: mirrored where the picture's edge cuts them off.
    person: np.ndarray  # (h + 2 margins, w + 2 margins, 3) uint8 BGR, times the matte
    matte: np.ndarray  # (h + 2 margins, w + 2 margins) uint8: 255 is all person
    margin_px: int
    background: np.ndarray  # (h, w, 3) uint8 BGR; the picture itself wherever the matte is 0
    box: Box
    cell_px: int  # even: side of the cells of the maps that move them
    # (h', w') float32 of half cells with a border of one: above 0 where one or its neighbour shows the person
    occupied: np.ndarray


@dataclass(frozen=True)
class Displacement:
    """Where the person's pixels come from: what is drawn at a place is found at that place + away_px."""

    away_px: np.ndarray  # (h, w, 2) float32, a cell each; the first begins at the box's corner


def split(
    picture: np.ndarray,
    matte: np.ndarray,
    background: np.ndarray,
    box: Box,
    cell_px: int,
    margin_px: int,
    frame_px: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Layers:
    """Takes a picture apart so that `over` gives it back bit by bit.

    Where the matte leaves less to the person than the picture needs, it is raised.

    Args:
        picture: (h, w, 3) uint8 BGR.
        matte: (h, w) uint8, 255 where everything is the person's.
        background: (h, w, 3) uint8 BGR, used where the matte is above 0.
        box: where the picture lies in a larger one.
        cell_px, margin_px: as of Layers.
        frame_px: how wide a frame the picture has above, below, on the left and on the right. The person is
            not drawn with it: what stands beside it takes its place.
    """
    edge = (matte > 0) & (matte < 255)
    pixel, behind = picture[edge].astype(np.int32), background[edge].astype(np.int32)
    darker = (behind - pixel) * 255 / np.maximum(behind, 1)
    brighter = (pixel - behind) * 255 / np.maximum(255 - behind, 1)
    matte = matte.copy()
    matte[edge] = np.maximum(matte[edge], np.ceil(np.maximum(darker, brighter).max(axis=-1)).clip(0, 255))
    background = np.where(matte[..., None] > 0, background, picture)
    person = cv2.subtract(picture, _veiled(background, matte))
    occupied = _occupied(matte, cell_px // 2)
    person, matte = _with_margin(person, matte, margin_px, frame_px)
    return Layers(person, matte, margin_px, background, box, cell_px, occupied)


def prefiltered(picture: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 with as much more detail as sampling between its pixels takes off."""
    blurred = cv2.GaussianBlur(picture, (3, 3), PREFILTER_SIGMA)
    return cv2.addWeighted(picture, 1 + PREFILTER, blurred, -PREFILTER, 0)


def prefiltered_layers(layers: Layers, share: np.ndarray) -> Layers:
    """Layers whose person is `prefiltered` wherever nothing of the background shows through.

    Args:
        share: (h', w') float32 of cells, 0..1: how much of it, 0 where the person never moves.
    """
    height, width = layers.background.shape[:2]
    full = cv2.resize(share, (width, height))
    full = cv2.copyMakeBorder(full, *(layers.margin_px,) * 4, cv2.BORDER_REPLICATE)
    full[cv2.erode(layers.matte, np.ones((3, 3), np.uint8)) < 255] = 0
    person = cv2.blendLinear(prefiltered(layers.person), layers.person, full, 1 - full)
    return replace(layers, person=np.where(full[..., None] > 0, person, layers.person))


def _with_margin(
    person: np.ndarray, matte: np.ndarray, margin_px: int, frame_px: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The same with a margin: mirrored, but no more of the person than the edge itself cuts."""
    width_px = 2 * max(1, margin_px // 8) + 1  # a few hairs or grains at the edge are no person that is cut
    solid = cv2.morphologyEx(matte, cv2.MORPH_OPEN, np.ones((width_px, width_px), np.uint8))
    most = cv2.copyMakeBorder(solid, *(margin_px,) * 4, cv2.BORDER_REPLICATE)
    most[margin_px : margin_px + matte.shape[0], margin_px : margin_px + matte.shape[1]] = 255
    rows, columns = (
        _mirrored(side, margin_px, *frame)
        for side, frame in zip(matte.shape, (frame_px[:2], frame_px[2:]), strict=True)
    )
    person, matte = (np.take(np.take(layer, rows, axis=0), columns, axis=1) for layer in (person, matte))
    too_much = matte > most
    share = most[too_much] / matte[too_much].astype(np.float32)
    person[too_much] = (person[too_much] * share[:, None]).astype(np.uint8)
    matte[too_much] = most[too_much]
    return person, matte


def _mirrored(side_px: int, margin_px: int, before_px: int, after_px: int) -> np.ndarray:
    """Which row or column stands at each place of a side with margins, whose ends are a frame."""
    beyond = np.round(np.arange(1, margin_px + 1) * MIRROR_PACE).astype(int)
    first, last = before_px, side_px - 1 - after_px
    places = np.concatenate([first + beyond[::-1], np.clip(np.arange(side_px), first, last), last - beyond])
    return np.clip(places, 0, side_px - 1)


def over(person: np.ndarray, matte: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(h, w, 3), (h, w) and (h, w, 3) uint8 as of Layers -> the picture that they make, (h, w, 3) uint8."""
    return cv2.add(person, _veiled(background, matte))


def sampled(
    image: np.ndarray,
    places: np.ndarray,
    interpolation: int = cv2.INTER_LINEAR,
    border: int = cv2.BORDER_CONSTANT,
    outside: float = 0,
) -> np.ndarray:
    """An image at places of its own pixels.

    Args:
        image: (h, w) or (h, w, channels).
        places: (H, W, 2) float32, x and y.
        interpolation, border: of OpenCV's.
        outside: what is beyond the image, for a constant border.

    Returns:
        (H, W) or (H, W, channels) of the image's type.
    """
    # OpenCV's stubs know no map that holds x and y.
    return cv2.remap(  # type: ignore[call-overload]
        image, places, None, interpolation, borderMode=border, borderValue=outside
    )


def _veiled(background: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """The background as much as the matte lets through."""
    return cv2.multiply(background, cv2.cvtColor(255 - matte, cv2.COLOR_GRAY2BGR), scale=1 / 255)


class Blender:
    """Draws edits of one crop of one still picture."""

    def __init__(
        self,
        crop: Crop,
        still: np.ndarray,
        flow_px: int,
        sampling: int = SAMPLING,
        window: Box | None = None,
    ):
        """Prepares what depends on the picture alone.

        Args:
            crop: of the still picture.
            still: (H, W, 3) uint8 BGR.
            flow_px: side of the flow field, 0 for engines without one.
            sampling: one of OpenCV's, for moved pixels.
            window: the part of `still` that is drawn, by default all; the rest can be moved into view.
        """
        self._still, self._crop, self._sampling = still, crop, sampling
        height, width = still.shape[:2]
        self._window = window or (slice(0, height), slice(0, width))
        self._box = self._covering(0, 0, crop.size_px - 1, crop.size_px - 1)
        # A flow cell is `step` crop pixels wide; its value belongs to the cell's centre.
        step = crop.size_px / flow_px if flow_px else 1.0
        self._frame_from_flow = crop.frame_from_crop @ np.array(
            [[step, 0, (step - 1) / 2], [0, step, (step - 1) / 2], [0, 0, 1]]
        )
        self._flow_from_frame = cv2.invertAffineTransform(self._frame_from_flow)
        self._turn = crop.frame_from_crop[:, :2].T.astype(np.float32)  # flow vectors, crop -> canvas pixels
        ys, xs = np.mgrid[self._box]
        self._places = np.stack([xs, ys], axis=-1).astype(np.float32)  # canvas pixels of the box

    def blend(self, picture: np.ndarray, edit: Edit) -> None:
        """Draws an edit into the window's picture, (H, W, 3) uint8, in place; the crop's outside stays."""
        region = self._shown(self._box)
        if edit.flow is None:
            picture[region] = self._still[self._box]
        else:
            flow = _scaled(edit.flow @ self._turn, self._frame_from_flow, self._box, outside=0)
            picture[region] = sampled(self._still, self._places + flow, self._sampling, cv2.BORDER_REPLICATE)
        kept = _kept(edit)
        seen = _painted(kept)
        if seen is not None:
            painted = self._covering(*seen)
            attention = _scaled(kept, self._crop.frame_from_crop, painted, outside=1)
            colour = _scaled(edit.colour, self._crop.frame_from_crop, painted, outside=0)
            region = self._shown(painted)
            picture[region] = cv2.blendLinear(picture[region], colour, attention, 1 - attention)

    def blend_moved(
        self, picture: np.ndarray, edit: Edit | None, layers: Layers, displacement: Displacement
    ) -> None:
        """Draws the person moved into the window's picture, in place; the outside of the layers' box stays.

        Args:
            picture: (H, W, 3) uint8 BGR, that shows the still picture.
            edit: of the crop, which moves along; None where the face stays as it is.
            layers, displacement: the person, and where their pixels go.
        """
        shown = _common(layers.box, self._window)
        if shown is None:
            return
        rows, columns = _relative(shown, layers.box)
        coarse = _CoarseMap(displacement, layers)
        places = coarse.refined()
        if edit is not None and edit.flow is not None:
            where = cv2.transform(places.values, self._flow_from_frame)
            flow = (edit.flow @ self._turn).astype(np.float32)
            places.values += sampled(flow, where)
        corner = np.array([layers.box[1].start, layers.box[0].start], np.float32)
        places.values = places.values - corner
        strips = places.moving(layers.occupied, (rows, columns))
        places.values += layers.margin_px
        for part in strips:
            where = places.at(*part)
            person = sampled(layers.person, where, self._sampling, cv2.BORDER_REPLICATE)
            matte = sampled(layers.matte, where, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
            picture[self._shown(_absolute(part, layers.box))] = over(person, matte, layers.background[part])
        if edit is not None:
            coarse.values = cv2.transform(coarse.values, self._crop.crop_from_frame)
            self._paint(picture, edit, coarse, (rows, columns), layers.box)

    def _paint(
        self, picture: np.ndarray, edit: Edit, crop_places: "_CoarseMap", within: Box, box: Box
    ) -> None:
        """Draws an edit's colour into the window's picture, in place.

        Args:
            crop_places: where each place of the layers' box lies in the crop.
            within: what is shown of the box, counted from its corner.
            box: of the layers.
        """
        kept = _kept(edit)
        seen = _painted(kept)
        covered = crop_places.covering(*seen) if seen else None
        painted = _common(covered, within) if covered else None
        if painted is None:
            return
        where = np.ascontiguousarray(crop_places.at(*painted))
        attention = sampled(kept, where, outside=1)
        colour = sampled(edit.colour, where)
        region = self._shown(_absolute(painted, box))
        picture[region] = cv2.blendLinear(picture[region], colour, attention, 1 - attention)

    def _covering(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The upright box of the still picture that covers a box of the crop, within the window."""
        corners = self._crop.to_frame(
            np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
        )
        rows, columns = self._window
        least, most = np.array([columns.start, rows.start]), np.array([columns.stop, rows.stop])
        low = np.clip(np.floor(corners.min(axis=0)).astype(int), least, most - 1)
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, low + 1, most)
        return slice(low[1], high[1]), slice(low[0], high[0])

    def _shown(self, box: Box) -> Box:
        """A box of the still picture -> of the window's picture."""
        return _relative(box, self._window)


class _CoarseMap:
    """A place for each cell of a box and of a border around it, which scaling up needs."""

    def __init__(self, displacement: Displacement, layers: Layers):
        box, self.cell_px = layers.box, layers.cell_px
        height, width = displacement.away_px.shape[:2]
        xs = box[1].start + (np.arange(-1, width + 1) + 0.5) * self.cell_px - 0.5
        ys = box[0].start + (np.arange(-1, height + 1) + 0.5) * self.cell_px - 0.5
        away = cv2.copyMakeBorder(displacement.away_px, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
        away[..., 0] += xs.astype(np.float32)
        away[..., 1] += ys.astype(np.float32)[:, None]
        self.values = away

    def refined(self) -> "_CoarseMap":
        """The same on cells of half the side."""
        finer = object.__new__(_CoarseMap)
        finer.cell_px = self.cell_px // 2
        finer.values = cv2.resize(self.values, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[1:-1, 1:-1]
        finer.values = np.ascontiguousarray(finer.values)
        return finer

    def at(self, rows: slice, columns: slice) -> np.ndarray:
        """(h, w, 2) float32 the map at every pixel of a part of the box; rows and columns from its corner."""
        cell = self.cell_px
        first = rows.start // cell, columns.start // cell
        last = -(-rows.stop // cell), -(-columns.stop // cell)
        part = self.values[first[0] : last[0] + 2, first[1] : last[1] + 2]
        if cell > 1:
            part = cv2.resize(part, None, fx=cell, fy=cell, interpolation=cv2.INTER_LINEAR)
        top, left = cell + rows.start - first[0] * cell, cell + columns.start - first[1] * cell
        return part[top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]

    def moving(self, occupied: np.ndarray, within: Box) -> list[Box]:
        """Strips outside which the picture stays, for a map whose values are counted from the box's corner.

        Args:
            occupied: as of Layers, of this map's cells.
            within: what is shown, counted from the box's corner.
        """
        cell = self.cell_px
        height, width = self.values.shape[:2]
        xs = ((np.arange(-1, width - 1) + 0.5) * cell - 0.5).astype(np.float32)
        ys = ((np.arange(-1, height - 1) + 0.5) * cell - 0.5).astype(np.float32)
        away = np.maximum(np.abs(self.values[..., 0] - xs), np.abs(self.values[..., 1] - ys[:, None]))
        where = (self.values + 0.5) / cell + 0.5
        after = sampled(occupied, where, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        active = ((away > STILL_PX) & ((occupied > 0) | (after > 0))).astype(np.uint8)
        active = cv2.dilate(active, np.ones((3, 3)))
        strips = []
        for top in range(1, height - 1, STRIP_CELLS):
            columns = np.flatnonzero(active[top : top + STRIP_CELLS].any(axis=0))
            if len(columns):
                left, right = (columns[0] - 1) * cell, columns[-1] * cell
                strip = slice((top - 1) * cell, (top - 1 + STRIP_CELLS) * cell), slice(max(0, left), right)
                if part := _common(strip, within):
                    strips.append(part)
        return strips

    def covering(self, left: float, top: float, right: float, bottom: float) -> Box | None:
        """The part of the map's box whose values lie within the given box; None where there is none."""
        x, y = self.values[..., 0], self.values[..., 1]
        within = (x > left - 1) & (x < right + 1) & (y > top - 1) & (y < bottom + 1)
        rows, columns = np.flatnonzero(within.any(axis=1)), np.flatnonzero(within.any(axis=0))
        if not len(rows):
            return None
        cell = self.cell_px  # a cell more on each side; the map's own border is one as well
        return (
            slice(max(0, (rows[0] - 2) * cell), (rows[-1] + 1) * cell),
            slice(max(0, (columns[0] - 2) * cell), (columns[-1] + 1) * cell),
        )


def compose(crop: np.ndarray, edit: Edit) -> np.ndarray:
    """An edit drawn on its own crop, by the code that draws it live: (S, S, 3) uint8."""
    picture = crop.copy()
    flow_px = 0 if edit.flow is None else len(edit.flow)
    Blender(Crop(np.eye(2, 3), len(crop)), crop, flow_px).blend(picture, edit)
    return picture


def _kept(edit: Edit) -> np.ndarray:
    """(S, S) float32: how much of the photo is kept; A, but all of it where colour would be a FAINT veil."""
    if edit.flow is None or edit.shade:
        return edit.attention
    return np.minimum(edit.attention * (1 / (1 - FAINT)), 1)


def _painted(attention: np.ndarray) -> tuple[int, int, int, int] | None:
    """left, top, right, bottom of the crop's colour, as painting costs by the pixel; None without any."""
    seen = attention < 1 - UNSEEN
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not len(rows):
        return None
    last = len(attention) - 1  # a pixel more, as far as bilinear scaling spreads, but none outside the crop
    return max(columns[0] - 1, 0), max(rows[0] - 1, 0), min(columns[-1] + 1, last), min(rows[-1] + 1, last)


def _common(one: Box, other: Box) -> Box | None:
    """What two boxes share; None where they share nothing."""
    parts = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)]
    return None if any(part.start >= part.stop for part in parts) else (parts[0], parts[1])


def _absolute(box: Box, outer: Box) -> Box:
    """A box counted from the corner of another -> of the picture."""
    rows, columns = (
        slice(inner.start + around.start, inner.stop + around.start)
        for inner, around in zip(box, outer, strict=True)
    )
    return rows, columns


def _occupied(matte: np.ndarray, cell_px: int) -> np.ndarray:
    """As Layers.occupied, for cells of a side."""
    height, width = (-(-side // (2 * cell_px)) * 2 for side in matte.shape)  # whole cells of twice the side
    below, right = height * cell_px - matte.shape[0], width * cell_px - matte.shape[1]
    grown = cv2.copyMakeBorder(matte, 0, below, 0, right, cv2.BORDER_REPLICATE)
    cells = grown.reshape(height, cell_px, width, cell_px).max(axis=(1, 3))
    cells = cv2.copyMakeBorder(cells, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return cv2.dilate((cells > 0).astype(np.float32), np.ones((3, 3)))


def _relative(box: Box, outer: Box) -> Box:
    """A box counted from the corner of another."""
    rows, columns = (
        slice(inner.start - around.start, inner.stop - around.start)
        for inner, around in zip(box, outer, strict=True)
    )
    return rows, columns


def _scaled(field: np.ndarray, frame_from_field: np.ndarray, box: Box, outside: float) -> np.ndarray:
    """What the generator says, scaled to the picture's pixels in a box."""
    rows, columns = box
    box_from_field = frame_from_field.copy()
    box_from_field[:, 2] -= columns.start, rows.start
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return cv2.warpAffine(
        field,
        box_from_field,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[outside] * 3,
    )
