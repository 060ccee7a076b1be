"""Parts of a large picture, in which a face that is small in the whole is large enough to be found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

SMALLEST_FACE_PX = 80.0  # height of a face that is looked for; smaller ones are too coarse to be animated
# Height of a face that MediaPipe's detector finds, of the side of what it is shown: on 60 portraits scaled
# down, all at 0.16, 93 % at 0.13, none at 0.09.
FOUND_SHARE = 0.15
STEP = 2 / 3  # of a tile's side: a face of a third of it is whole in one of them
NEAR_SHARE = 0.4  # height of a face in the square around it that is looked at again


@dataclass(frozen=True)
class Tile:
    """A part of a picture."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)


def tiles(shape: Sequence[int], smallest_face_px: float) -> Iterator[list[Tile]]:
    """Overlapping tiles of half the picture's longer side, of a quarter of it, and so on.

    Args:
        shape: (H, W, ...) of the picture.
        smallest_face_px: height of the smallest face that shall be found.

    Yields: the tiles of one size, until faces of smallest_face_px are found in them.
    """
    height, width = shape[:2]
    side = float(max(height, width))
    while FOUND_SHARE * side > smallest_face_px:
        side /= 2
        yield [
            Tile(left, top, min(width, left + int(side)), min(height, top + int(side)))
            for top, left in product(_starts(height, side), _starts(width, side))
        ]


def around(box_px: Sequence[float], shape: Sequence[int]) -> Tile:
    """The square around a face (left, top, right, bottom), as far as the picture of (H, W, ...) shows it."""
    left, top, right, bottom = box_px
    half = max(right - left, bottom - top) / NEAR_SHARE / 2
    across, down = (left + right) / 2, (top + bottom) / 2
    return Tile(
        max(0, int(across - half)),
        max(0, int(down - half)),
        min(shape[1], int(across + half) + 1),
        min(shape[0], int(down + half) + 1),
    )


def _starts(length: int, side: float) -> list[int]:
    """Where tiles begin along one side of the picture, the last one at its end."""
    room = length - side
    if room <= 0:
        return [0]
    count = int(-(-room // (side * STEP)))
    return [round(room * number / count) for number in range(count + 1)]


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two boxes (left, top, right, bottom): their common area over that of their union."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (one, other)]
    return width * height / max(sum(areas) - width * height, 1.0)
