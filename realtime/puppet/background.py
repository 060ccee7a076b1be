"""A photo taken apart into a person and the background behind, once, at start, without a network.

GrabCut (Rother et al., SIGGRAPH 2004) finds the person from the head's geometry. By how well colour tells
both sides of its edge apart, in the whole picture or near by, it is seen, direction by direction, where it is
sure. There the matte is made
fine by colour, hair by hair, and the background is filled in. Where it is not, everything counts as person,
and the background moves along, less and less away from the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engines.blend import Layers, split
from engines.face.mesh import FACE_OVAL
from realtime.puppet.head import CHIN_Y, HALF_HEIGHT, HALF_WIDTH, HEAD_CENTRE, HeadGeometry, smooth_fall

MOST_PX = (
    1200  # longer side of what is taken apart pixel by pixel; a larger one is, at this size, and scaled up
)
WORK_PX = 208  # GrabCut's longer side: .1 s on one core
ROUNDS = 4
SEED = 11  # of GrabCut's mixtures, which start by chance

# Lengths below are outer eye distances, as in head.py; radii are the head ellipsoid's.
CORE_RADIUS = 0.74  # head in any case: bald heads reach .80 above and .75 aside
LIKELY_RADIUS = 0.95
FAR_RADIUS = 1.75  # background in any case, above the chin
FACE_SHARE = 0.97  # of the mesh's outline: a landmark may lie a little outside the face
OTHER_CLOTH = 24.0  # grey levels between clothes and what the background above would be like there
SMALLEST_GAP = 0.003  # of the picture: background that is smaller and enclosed counts as person

# Half axes of other people's heads, of their faces' halves, and how far up their centres lie, of the height.
OTHER_HEAD = (1.35, 1.45, 0.25)

SECTORS = 40  # directions around the head
EDGE_WIDTH = 0.16  # on each side of the edge, that is looked at
UNSURE_BELOW, SURE_FROM = 0.69, 0.77  # share of its pixels whose colour is on the right side
# The same by the colours of that direction alone, which an edge divides better: dark hair before a wall that
# is dark elsewhere. Of 40 photos, no edge that it found sure was wrong.
NEAR_UNSURE_BELOW, NEAR_SURE_FROM = 0.82, 0.92
# But not where it is finer structured beside the edge than further out: there are curls that the edge missed
BESIDE_EDGE, FURTHER_OUT = (0.04, 0.30), (0.35, 0.70)
CURLS = (1.5, 2.1)  # times as much structure

# Beside GrabCut's edge, that colour decides on: hair flies out further than skin shows through
OUTER_BAND, INNER_BAND = (0.20, 0.11)
BODY_BAND = 0.05  # likewise below the chin, where there are clothes
# Grey levels that a background strays from its smooth fill: below it is fine hair, above a pattern.
# Plain walls stray by 1, painted ones by 3 to 5, grids and stripes by 6 to 11.
PATTERN_NOISE = (4.0, 7.0)
PATTERN_ODDS = 4.0  # log-likelihood from where a colour is the background's, whatever it is in front of
CONTRAST_FLOOR = 400.0  # squared grey levels between person and background below which colour says little
LEAST, MOST = 0.12, 0.92  # of the matte: below and above it is noise
EDGE_GAP = (
    0.02  # an edge passes through the background's own colour, between a halo and the hair: this is closed
)
FLAT_VARIANCE = 16.0  # squared grey levels that colours of one side differ by at least
TEXTURE = 0.035  # structure that is smaller than this is mirrored into the filled background
# Grey levels that it strays by: below it is grain, above it is an edge, which mirrored would be a wrong one
GRAIN = (4.0, 8.0)
# Beside the matte's edge a camera's sharpening, a JPEG's ringing and what colour did not tell of fine hair
# stay. So far from it the background is filled, too, where it strays from a plain one by no more than that:
# an outline of the head would stay behind.
HALO = 0.06  # eye distances
MOST_HALO = 14.0  # grey levels
TEXTURE_REACH = 0.5  # so far in: further than a head turns
CLOTHES_FROM = CHIN_Y - 0.25  # y from which on what is unsure may be clothes, and tells of no background
# A frame around the photo: at most so much of its longer side, and its line strays so many grey levels from
# what is beside it, to one side in so much of its length
FRAME_SHARE, FRAME_STRAYS, FRAME_ALONG = 0.012, 6.0, 0.85
MARGIN = 0.5  # beyond the photo's edge: more than head.py's MOST_MIRRORED lets come into view
QUARTER = 4  # what is smooth is computed on so many times fewer pixels each way
FILL_PX = 240  # longer side of what is filled smoothly


def take_apart(
    picture: np.ndarray, mesh_px: np.ndarray, geometry: HeadGeometry, others: Sequence[np.ndarray] = ()
) -> Layers:
    """The layers of the geometry's box.

    Args:
        picture: (H, W, 3) uint8 BGR.
        mesh_px: (478, 3) of the face, in its pixels.
        geometry: of that face's head.
        others: meshes of other people's faces, who stay where they are.
    """
    box = geometry.box
    part = np.ascontiguousarray(picture[box])
    height, width = part.shape[:2]
    shrink = max(1.0, max(height, width) / MOST_PX)
    size = max(2, round(width / shrink)), max(2, round(height / shrink))
    small, strangers = part, _strangers(others, geometry)
    if shrink > 1:
        small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        strangers = cv2.resize(strangers, size, interpolation=cv2.INTER_AREA)
    outline = (mesh_px[list(FACE_OVAL), :2] - [box[1].start, box[0].start] + 0.5) / shrink - 0.5
    unit_px = geometry.unit_px / shrink
    rough = _rough(small, outline, geometry, unit_px, strangers)
    matte, background = _fine(small, rough, outline, geometry, unit_px, strangers)
    if shrink > 1:
        matte, background = (
            cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR)
            for layer in (matte, background)
        )
    margin_px = min(round(MARGIN * geometry.unit_px), min(height, width) - 1)
    alpha = np.round(matte * 255).astype(np.uint8)
    return split(part, alpha, background, box, geometry.cell_px, margin_px, _frame_px(part))


def _frame_px(part: np.ndarray) -> tuple[int, int, int, int]:
    """How wide a thin frame is above, below, on the left and on the right of a (h, w, 3) uint8 picture.

    A scan's border or a print's edge: an outermost line that is lighter or darker than what stands beside it,
    nearly all along. A head that moves would pull it into the picture, and mirror it there.
    """
    grey = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY).astype(np.int16)
    sides = grey, grey[::-1], grey.T, grey.T[::-1]
    above, below, left, right = (_line_px(side) for side in sides)
    return above, below, left, right


def _line_px(grey: np.ndarray) -> int:
    """The rows of a line along the top of a (h, w) picture; 0 where there is none."""
    most = min(max(2, round(FRAME_SHARE * max(grey.shape))), len(grey) // 4)
    off = grey[:most] - grey[most]
    level = np.median(off, axis=1)
    alike = np.mean(np.sign(off[0]) == np.sign(level[0]))
    if abs(level[0]) < FRAME_STRAYS or alike < FRAME_ALONG:
        return 0
    strays = np.flatnonzero(np.abs(level) > FRAME_STRAYS / 3)
    return int(strays[-1]) + 1


def _strangers(others: Sequence[np.ndarray], geometry: HeadGeometry) -> np.ndarray:
    """(h, w) float32 of the geometry's box: 1 where other people's heads are, smooth at their edges."""
    rows, columns = geometry.box
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    for mesh_px in others:
        outline = mesh_px[list(FACE_OVAL), :2] - [columns.start, rows.start]
        centre, half = (outline.max(axis=0) + outline.min(axis=0)) / 2, np.ptp(outline, axis=0) / 2
        centre = centre - [0, OTHER_HEAD[2] * half[1]]
        axes = np.maximum(half * OTHER_HEAD[:2], 1).round().astype(int)
        cv2.ellipse(mask, centre.round().astype(int).tolist(), axes.tolist(), 0, 0, 360, 1, -1)
    if not mask.any():
        return mask
    x, y = _upright(geometry, *mask.shape)
    own = np.hypot(x / HALF_WIDTH, (y - HEAD_CENTRE[1]) / HALF_HEIGHT) < CORE_RADIUS
    mask[own] = 0
    return cv2.GaussianBlur(mask, (0, 0), max(0.6, 0.03 * geometry.unit_px))


def _upright(geometry: HeadGeometry, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y in eye distances of the geometry's box, scaled to (height, width), float32."""
    rows, columns = geometry.box
    xs = (
        (np.arange(width, dtype=np.float32) + 0.5) * ((columns.stop - columns.start) / width)
        - 0.5
        + columns.start
    )
    ys = (np.arange(height, dtype=np.float32) + 0.5) * ((rows.stop - rows.start) / height) - 0.5 + rows.start
    (origin_x,), (origin_y,) = geometry.upright(np.zeros((1, 2)))
    (unit_x,), (unit_y,) = geometry.upright(np.array([[1.0, 0.0]]))  # a pixel to the right
    cosine, sine = np.float32(unit_x - origin_x), np.float32(unit_y - origin_y)
    x = np.float32(origin_x) + cosine * xs - sine * ys[:, None]
    y = np.float32(origin_y) + sine * xs + cosine * ys[:, None]
    return x, y


def _outlined(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) bool: what lies within an outline (N, 2) of pixels."""
    inside = np.zeros(shape, np.uint8)
    cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], 1)
    return inside > 0


@dataclass(frozen=True)
class _Rough:
    """What GrabCut found."""

    person: np.ndarray  # (h, w) uint8 0 or 1, at its own size
    sure: np.ndarray  # (SECTORS,) 0..1
    models: tuple[np.ndarray, np.ndarray] | None  # mixtures of the person's and the background's colours


def _rough(
    part: np.ndarray, outline: np.ndarray, geometry: HeadGeometry, unit_px: float, strangers: np.ndarray
) -> _Rough:
    shrink = max(1.0, max(part.shape[:2]) / WORK_PX)
    width, height = (max(2, round(side / shrink)) for side in part.shape[1::-1])
    small = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    x, y = _upright(geometry, height, width)
    radius = np.hypot(x / HALF_WIDTH, (y - HEAD_CENTRE[1]) / HALF_HEIGHT)
    centre = outline.mean(axis=0)
    face = _outlined((centre + (outline - centre) * FACE_SHARE + 0.5) / shrink - 0.5, (height, width))
    body = (y > CHIN_Y - 0.1) & (np.abs(x) < 0.6 + 2.0 * (y - CHIN_Y + 0.1))
    neck = (y > 0.9) & (np.abs(x) < 0.3 + 0.15 * np.clip(y - CHIN_Y, 0, 1))
    core = (radius < CORE_RADIUS) & (y < HEAD_CENTRE[1])
    state = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    state[(radius < LIKELY_RADIUS) | body] = cv2.GC_PR_FGD
    state[(radius > FAR_RADIUS) & (y < CHIN_Y - 0.2)] = cv2.GC_BGD
    state[face | neck | core] = cv2.GC_FGD
    strange = cv2.resize(strangers, (width, height), interpolation=cv2.INTER_AREA) > 0.5
    state[strange & ~face & ~core] = cv2.GC_BGD
    if np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)).all() or not face.any():  # no background is in view
        return _Rough(np.ones((height, width), np.uint8), np.zeros(SECTORS), None)
    background_model, person_model = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(SEED)
    models = background_model, person_model
    cv2.grabCut(small, state, (0, 0, 1, 1), *models, ROUNDS, cv2.GC_INIT_WITH_MASK)  # the mask counts, no box
    person = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    person |= _clothes(small, person, body & (y > CHIN_Y) & ~strange, y < CHIN_Y)
    person = _in_one_piece(cv2.morphologyEx(person, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), face)
    colours = small.reshape(-1, 3)
    likely = _log_likelihood(colours, person_model) - _log_likelihood(colours, background_model)
    likely = likely.reshape(height, width)
    right = np.where(person > 0, likely > 0, likely < 0)
    width_px = max(2, round(EDGE_WIDTH * unit_px / shrink))
    return _Rough(person, _sureness(small, person, right, x, y, width_px), (person_model, background_model))


def _clothes(small: np.ndarray, person: np.ndarray, body: np.ndarray, above: np.ndarray) -> np.ndarray:
    """What of the body's place does not look like the background beside the head, (h, w) uint8.

    GrabCut gives dark clothes to a background that has a dark corner.
    """
    behind = above & (person == 0)
    if not behind.any():
        return body.astype(np.uint8)
    image = small.astype(np.float32)
    away = np.linalg.norm(image - fill(image, behind), axis=2)
    return (body & (away > OTHER_CLOTH + 2 * np.median(away[behind]))).astype(np.uint8)


def _in_one_piece(person: np.ndarray, face: np.ndarray) -> np.ndarray:
    """The part that the face belongs to, without small holes."""
    count, parts = cv2.connectedComponents(person, connectivity=4)
    person = (parts == np.bincount(parts[face], minlength=count).argmax()).astype(np.uint8)
    count, parts, figures, _ = cv2.connectedComponentsWithStats(1 - person, connectivity=4)
    small = figures[:, cv2.CC_STAT_AREA] < SMALLEST_GAP * person.size
    return np.where(small[parts], 1, person).astype(np.uint8)


def _sureness(
    small: np.ndarray, person: np.ndarray, right: np.ndarray, x: np.ndarray, y: np.ndarray, width_px: int
) -> np.ndarray:
    """(SECTORS,) 0..1. right: (h, w) bool, where colour alone says the same as the edge."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width_px + 1, 2 * width_px + 1))
    mixed = np.ones((3, 3), np.uint8)  # pixels at the edge, whose colours are of both sides
    outside = cv2.dilate(person, kernel) > person
    inside = cv2.erode(person, kernel) < person
    clear_outside = outside & (cv2.dilate(person, mixed) == 0)
    clear_inside = inside & (cv2.erode(person, mixed) > 0)
    away_px = cv2.distanceTransform(1 - person, cv2.DIST_L2, 3)
    structure = _largest(np.abs(cv2.Laplacian(small, cv2.CV_32F)))
    beside, further = (
        (away_px > low * width_px / EDGE_WIDTH) & (away_px < high * width_px / EDGE_WIDTH)
        for low, high in (BESIDE_EDGE, FURTHER_OUT)
    )
    sector = np.floor(_direction(x, y) + 0.5).astype(int) % SECTORS
    sure = np.ones(SECTORS)
    for number in range(SECTORS):
        away = np.abs(sector - number)
        here = (np.minimum(away, SECTORS - away) <= 1) & (y < CHIN_Y + 1)
        within, without = right[here & inside], right[here & outside]
        if len(within) > 5 and len(without) > 5:
            agrees = min(within.mean(), without.mean())
            near = _divided(small[here & clear_inside], small[here & clear_outside])
            curls = _times(structure[here & beside], structure[here & further])
            sure[number] = max(
                (agrees - UNSURE_BELOW) / (SURE_FROM - UNSURE_BELOW),
                (near - NEAR_UNSURE_BELOW)
                / (NEAR_SURE_FROM - NEAR_UNSURE_BELOW)
                * float(smooth_fall(np.array(curls), *CURLS)),
            )
    sure = np.clip(sure, 0, 1)
    return np.minimum.reduce([np.roll(sure, turn) for turn in (-1, 0, 1)])


def _times(some: np.ndarray, others: np.ndarray) -> float:
    """How many times as much some grey levels (n,) are as others (m,), on average; 1 where there are none."""
    return float((some.mean() + 1) / (others.mean() + 1)) if len(some) and len(others) else 1.0


def _divided(within: np.ndarray, without: np.ndarray) -> float:
    """The share of colours (n, 3) and (m, 3) that one plane leaves on their own side, of the worse side.

    0 where there are too few. Source: Fisher's linear discriminant.
    """
    if min(len(within), len(without)) <= 5:
        return 0.0
    covariance = (np.cov(within, rowvar=False) + np.cov(without, rowvar=False)) / 2
    means = within.mean(axis=0), without.mean(axis=0)
    normal = np.linalg.solve(covariance + np.eye(3) * FLAT_VARIANCE, means[0] - means[1])
    middle = (means[0] + means[1]) @ normal / 2
    return float(min((within @ normal > middle).mean(), (without @ normal <= middle).mean()))


def _direction(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The direction from the head's centre, in sectors, 0 to SECTORS."""
    return (np.arctan2(x, HEAD_CENTRE[1] - y) / (2 * np.pi) + 0.5) * SECTORS - 0.5


def _sure_map(sure: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(h, w) float32: sureness of sectors, smooth between them."""
    place = _direction(x, y)
    low = np.floor(place).astype(int)
    share = place - low
    share = share * share * (3 - 2 * share)
    return (sure[low % SECTORS] * (1 - share) + sure[(low + 1) % SECTORS] * share).astype(np.float32)


def _fine(
    part: np.ndarray,
    rough: _Rough,
    outline: np.ndarray,
    geometry: HeadGeometry,
    unit_px: float,
    strangers: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """-> matte (h, w) float32 0..1, and the background (h, w, 3) uint8."""
    person, sure = rough.person, rough.sure
    height, width = part.shape[:2]
    smooth = cv2.resize(person.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(smooth, (0, 0), max(0.6, 0.4 * width / person.shape[1]))
    mask = (smooth > 0.5).astype(np.uint8)
    within = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    without = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3)
    coarse = _upright(geometry, max(1, height // QUARTER), max(1, width // QUARTER))
    hairy = cv2.resize(smooth_fall(coarse[1], 0.6, CHIN_Y), (width, height))
    outer, inner = ((BODY_BAND + (band - BODY_BAND) * hairy) * unit_px for band in (OUTER_BAND, INNER_BAND))
    surely_person = (within > inner) | _outlined(outline, (height, width))
    surely_behind = without > outer
    matte = surely_person.astype(np.float32)
    rows, columns = np.nonzero(~(surely_person | surely_behind))
    band = rows, columns
    if len(rows):
        matte[band] = _by_colour(
            part, surely_person, surely_behind, within, without, outer, inner, band, unit_px, rough.models
        )
    gap = 2 * max(1, round(EDGE_GAP * unit_px)) + 1
    closed = cv2.morphologyEx(
        matte, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (gap, gap))
    )
    matte = np.where(without < 2 * EDGE_GAP * unit_px, closed, matte)
    matte *= 1 - strangers
    matte[matte < 0.01] = 0
    known = matte == 0
    matte = 1 - (1 - matte) * cv2.resize(_sure_map(sure, *coarse), (width, height))
    matte *= 1 - strangers
    matte[matte < 0.01] = 0
    # Clothes that GrabCut missed below the chin would darken the background beside the jaw
    below = cv2.resize((coarse[1] > CLOTHES_FROM).astype(np.uint8), (width, height)) > 0
    seen = known & ~(below & (matte > 0.5))
    known = seen if seen.any() else known
    image = part.astype(np.float32)
    halo = _halo(image, known, unit_px)
    known &= ~halo
    matte[halo] = np.maximum(matte[halo], 1 / 255)  # `split` raises it to what of the halo is seen
    behind = fill(image, known, seamless=True)
    _add_texture(behind, image, known, unit_px)
    return matte, np.clip(np.round(behind), 0, 255).astype(np.uint8)


def _halo(image: np.ndarray, known: np.ndarray, unit_px: float) -> np.ndarray:
    """(h, w) bool: what beside the matte's edge is no plain background.

    Args:
        image: (h, w, 3) float32.
        known: (h, w) bool, where the matte is 0.
    """
    halo = known & (cv2.distanceTransform(known.astype(np.uint8), cv2.DIST_L2, 3) < HALO * unit_px)
    strays = _largest(cv2.absdiff(image, fill(image, known & ~halo))) * halo
    side = 2 * round(HALO / 2 * unit_px) + 1
    return halo & (cv2.dilate(strays, np.ones((side, side), np.uint8)) < MOST_HALO)


def _by_colour(
    part: np.ndarray,
    surely_person: np.ndarray,
    surely_behind: np.ndarray,
    within: np.ndarray,
    without: np.ndarray,
    outer: np.ndarray,
    inner: np.ndarray,
    band: tuple[np.ndarray, np.ndarray],
    unit_px: float,
    models: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    """(N,) the matte of the pixels of a band, from the colours of what is sure on both sides of it."""
    image = part.astype(np.float32)
    behind = fill(image, surely_behind)
    ring = surely_behind & (without < 2.5 * outer)
    noise = _noise(part, behind, ring, unit_px)[band]
    off = image[band] - behind[band]
    apart = fill(image, surely_person)[band] - behind[band]
    within, without, outer, inner = within[band], without[band], outer[band], inner[band]
    away = np.sqrt((off * off).sum(axis=1))
    edge = np.clip(0.5 + (within - without) / (0.04 * unit_px + 1), 0, 1)
    between = ((off * apart).sum(axis=1) + CONTRAST_FLOOR * edge) / (
        (apart * apart).sum(axis=1) + CONTRAST_FLOOR
    )
    # Neither the background's colour nor, perhaps, the person's.
    another = np.clip((away - 1.2 * noise - 8) / (45 + 1.5 * noise), 0, 1)
    matte = np.clip((np.maximum(between, another) - LEAST) / (MOST - LEAST), 0, 1)
    matte = np.minimum(matte, np.clip((away - 0.8 * noise - 3) / 8, 0, 1) + edge)
    matte *= smooth_fall(without, 0.55 * outer, outer)
    if models is not None:  # a pattern's colours are the background's, however far from their mean
        patterned = 1 - smooth_fall(noise, *PATTERN_NOISE)
        doubtful = np.flatnonzero((matte > 0) & (without > EDGE_GAP * unit_px) & (patterned > 0))
        colours = part[band][doubtful]
        likely = _log_likelihood(colours, models[0]) - _log_likelihood(colours, models[1])
        matte[doubtful] *= 1 - patterned[doubtful] * np.clip(-likely / PATTERN_ODDS, 0, 1)
    return np.maximum(matte, 1 - smooth_fall(within, 0.3 * inner, inner))


def _noise(part: np.ndarray, behind: np.ndarray, ring: np.ndarray, unit_px: float) -> np.ndarray:
    """(h, w) how far the background strays from its own smooth fill around the person, grey levels."""
    height, width = ring.shape
    off = np.zeros((height, width), np.float32)
    places = np.nonzero(ring)
    if not len(places[0]):
        return off
    off[places] = np.linalg.norm(part[places] - behind[places], axis=1)
    size = max(1, width // QUARTER), max(1, height // QUARTER)
    sigma = max(0.5, 0.15 * unit_px / QUARTER)
    weight, total = (
        cv2.GaussianBlur(cv2.resize(field, size, interpolation=cv2.INTER_AREA), (0, 0), sigma)
        for field in (ring.astype(np.float32), off)
    )
    mean = off[places].mean()
    return cv2.resize((total + 0.01 * mean) / (weight + 0.01), (width, height))


def _add_texture(behind: np.ndarray, image: np.ndarray, known: np.ndarray, unit_px: float) -> None:
    """Adds the known side's grain, mirrored at the edge, to what is not known, (h, w, 3), in place."""
    if known.all() or not known.any():
        return
    distance, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    height, width = known.shape
    labels, distance = labels.ravel(), distance.ravel()
    known_places = np.flatnonzero(known)  # places are numbers of pixels, row by row
    nearest = np.zeros(labels.max() + 1, known_places.dtype)
    nearest[labels[known_places]] = known_places
    places = np.flatnonzero(~known.ravel() & (distance < TEXTURE_REACH * unit_px))
    edge = nearest[labels[places]]
    rows, columns = 2 * (edge // width) - places // width, 2 * (edge % width) - places % width
    there = rows * width + columns
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    inside[inside] = known.ravel()[there[inside]]
    places, there = places[inside], there[inside]
    size = max(1, width // QUARTER), max(1, height // QUARTER)
    low, share = (
        cv2.GaussianBlur(
            cv2.resize(field, size, interpolation=cv2.INTER_AREA),
            (0, 0),
            max(0.5, TEXTURE * unit_px / QUARTER),
        )
        for field in (_only(image, known), known.astype(np.float32))
    )
    low = cv2.resize(low / _thrice(np.maximum(share, 1e-3)), (width, height))
    strength = smooth_fall(distance[places], 0.4 * TEXTURE_REACH * unit_px, TEXTURE_REACH * unit_px)
    strays = cv2.resize(_largest(cv2.absdiff(image, low)) * known, size, interpolation=cv2.INTER_AREA)
    strays = cv2.GaussianBlur(strays, (0, 0), max(0.5, TEXTURE * unit_px / QUARTER))
    strength = strength * smooth_fall(cv2.resize(strays, (width, height)).ravel()[there], *GRAIN)
    detail = np.take(image.reshape(-1, 3), there, axis=0) - np.take(low.reshape(-1, 3), there, axis=0)
    behind.reshape(-1, 3)[places] += detail * strength.astype(np.float32)[:, None]


def fill(image: np.ndarray, known: np.ndarray, seamless: bool = False) -> np.ndarray:
    """Smooth colours for what is not known.

    Args:
        image: (h, w, 3) float32.
        known: (h, w) bool.
        seamless: meet the known pixels one by one, at the picture's own size.

    Returns:
        (h, w, 3) float32. Known pixels are only roughly as they were unless seamless.
    """
    height, width = known.shape
    shrink = max(1.0, max(height, width) / FILL_PX)
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small: np.ndarray = cv2.resize(_only(image, known), size, interpolation=cv2.INTER_AREA)
    small /= _thrice(np.maximum(share, 1e-6))
    known_small = share > 0.5
    smooth: np.ndarray = _pull_push(small, known_small)
    small = _only(small, known_small)
    unknown = _thrice(1 - known_small.astype(np.float32))
    for sigma in (8, 8, 4, 4, 2, 2, 1, 1):  # towards the solution of Laplace's equation
        smooth = cv2.GaussianBlur(smooth, (0, 0), sigma)
        smooth *= unknown
        smooth += small
    filled = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    return filled + _pull_push(image - filled, known) if seamless else filled


def _pull_push(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Known pixels as they are, the others from coarser and coarser pictures.

    Source: Gortler et al., SIGGRAPH 1996.
    """
    levels: list[tuple[np.ndarray, np.ndarray]] = [(_only(image, known), known.astype(np.float32))]
    while min(levels[-1][1].shape) > 2:
        colour, share = levels[-1]
        levels.append((cv2.pyrDown(colour), cv2.pyrDown(share)))
    colour, share = levels.pop()
    filled = colour / _thrice(np.maximum(share, 1e-6))
    while levels:
        colour, share = levels.pop()
        above = cv2.pyrUp(filled, dstsize=share.shape[::-1])
        weight = np.minimum(share, 1)
        above *= _thrice(1 - weight)
        filled = colour
        filled /= _thrice(np.maximum(share, 1e-6))
        filled *= _thrice(weight)
        filled += above
    return filled


def _only(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy of an (h, w, 3) image that is 0 where a (h, w) mask is false."""
    return cv2.copyTo(image, mask.view(np.uint8))


def _thrice(field: np.ndarray) -> np.ndarray:
    """A (h, w) field for each channel, (h, w, 3): NumPy takes three times as long with an axis of 1."""
    return cv2.merge((field, field, field))


def _largest(image: np.ndarray) -> np.ndarray:
    """The largest channel of an (h, w, 3) image, (h, w); NumPy is slow along an axis of 3."""
    blue, green, red = cv2.split(image)
    return cv2.max(cv2.max(blue, green), red)


def _log_likelihood(colours: np.ndarray, model: np.ndarray) -> np.ndarray:
    """(N,) of colours (N, 3) under a mixture of five Gaussians, (1, 65) as OpenCV's GrabCut lays it out."""
    weights, means, covariances = model[0, :5], model[0, 5:20].reshape(5, 3), model[0, 20:].reshape(5, 3, 3)
    total = np.full(len(colours), 1e-12, np.float32)
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        covariance = covariance + np.eye(3) * 4.0  # that of a flat wall is 0: two grey levels at least
        root = np.linalg.cholesky(np.linalg.inv(covariance))
        away = (colours - mean).astype(np.float32) @ root.astype(np.float32)
        height = weight / np.sqrt(np.linalg.det(covariance))
        total += np.float32(height) * np.exp(-0.5 * (away * away).sum(axis=1))
    return np.log(total)
