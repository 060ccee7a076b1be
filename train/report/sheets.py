"""Sheets of labelled pictures for reports, figures and logs: rows of cells, columns and rows with titles.

Everything is BGR uint8; a sheet is written as PNG and kept under a size that a
page can carry.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from engines import atomic_file
from engines.errors import OutputError
from train.data.folders import make_folder

MAX_BYTES = 3_000_000  # of a PNG: more makes a report slow to open, and no page shows more
GAP_PX = 3
INK = (40, 40, 40)
PAPER = (255, 255, 255)
LINE = (215, 215, 215)  # between cells: a mask that is all white has an edge all the same
FONT = cv2.FONT_HERSHEY_DUPLEX  # the plainest of OpenCV's that is readable at 12 px


def titled(picture: np.ndarray, text: str) -> np.ndarray:
    """A copy with a small title in its upper left corner."""
    out = np.ascontiguousarray(picture.copy())
    scale = fitting_scale(text, out.shape[1] - 6, 0.42)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(out, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width, cv2.LINE_AA)
    return out


def fitting_scale(text: str, width_px: float, scale: float) -> float:
    """The font scale, `scale` or less, at which a line of text is no wider than width_px."""
    (wide, _), _ = cv2.getTextSize(text, FONT, scale, 1)
    return scale * min(1.0, width_px / max(wide, 1))


def text_box(text: str, size: tuple[int, int], scale: float = 0.5) -> np.ndarray:
    """Lines of text in the middle of a white (height, width) box."""
    height, width = size
    box = np.full((height, width, 3), PAPER, np.uint8)
    lines = text.split("\n")
    scale = min(fitting_scale(line, width - 6, scale) for line in lines)
    step = round(36 * scale)
    for number, line in enumerate(lines):
        (wide, tall), _ = cv2.getTextSize(line, FONT, scale, 1)
        y = (height - step * (len(lines) - 1) + tall) // 2 + number * step
        cv2.putText(box, line, (max(0, (width - wide) // 2), y), FONT, scale, INK, 1, cv2.LINE_AA)
    return box


def sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    columns: Sequence[str] = (),
    names: Sequence[str] = (),
    cell_px: int = 160,
    names_px: int = 84,
) -> np.ndarray:
    """Square pictures in rows -> one (H, W, 3) picture; None leaves a cell empty.

    `columns` stand above, `names` to the left.
    """
    wide = max(len(row) for row in rows)
    gap = np.full((cell_px, GAP_PX, 3), LINE, np.uint8)
    lines = []
    if columns:
        head = [text_box("", (26, names_px))] if names else []
        for text in columns:
            head += [text_box(text, (26, cell_px)), text_box("", (26, GAP_PX))]
        lines.append(np.hstack(head))
    for number, row in enumerate(rows):
        line = [text_box(names[number], (cell_px, names_px))] if names else []
        for picture in [*row, *[None] * (wide - len(row))]:
            line += [
                resized_square(picture, cell_px)
                if picture is not None
                else np.full((cell_px, cell_px, 3), PAPER, np.uint8),
                gap,
            ]
        lines += [np.hstack(line), np.full((GAP_PX, sum(part.shape[1] for part in line), 3), LINE, np.uint8)]
    return np.vstack(lines)


def resized_square(picture: np.ndarray, cell_px: int) -> np.ndarray:
    """A picture of any shape resized to a square of cell_px; grey ones (H, W) get three colours."""
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    if picture.shape[:2] == (cell_px, cell_px):
        return picture
    shrinks = picture.shape[0] > cell_px
    return cv2.resize(
        picture, (cell_px, cell_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )


def flow_picture(flow: np.ndarray, full_px: float) -> np.ndarray:
    """(s, s, 2) flow -> (s, s, 3): hue is direction, white is rest, full colour is full_px or more."""
    towards = -flow  # out(p) = photo(p + flow): what is seen has come the other way
    hue = (np.degrees(np.arctan2(towards[..., 1], towards[..., 0])) % 360) / 2
    strength = np.clip(np.linalg.norm(flow, axis=-1) / full_px, 0, 1) * 255
    hsv = np.stack([hue, strength, np.full_like(hue, 255)], axis=-1)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)


def mask_picture(attention: np.ndarray) -> np.ndarray:
    """(S, S) attention 0..1 -> (S, S, 3): white keeps the photo, black is all colour."""
    return cv2.cvtColor((np.clip(attention, 0, 1) * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def write_png(path: Path, picture: np.ndarray, max_bytes: int | None = MAX_BYTES) -> Path:
    """Writes a PNG, made smaller until it has no more than max_bytes; None keeps every pixel.

    Raises OutputError.
    """
    while True:
        encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 6])[1]
        if max_bytes is None or len(encoded) <= max_bytes:
            break
        share = 0.97 * (max_bytes / len(encoded)) ** 0.5
        picture = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    make_folder(path.parent, OutputError)
    _write(path, encoded.tobytes())
    return path


def write_text(path: Path, text: str) -> None:
    """Writes a page. Raises OutputError."""
    _write(path, text.encode())


def _write(path: Path, content: bytes) -> None:
    try:
        atomic_file.write_bytes(path, content)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}): free some space or choose another --out."
        ) from error
