"""AUs over time as one picture: a row for each AU, both its sides in one, gaps where there was no face. Of a single moment, bars.

Head and gaze have a row for each AU and its opposite, about a line in the middle.

Drawn by OpenCV, which the base install has; knows nothing of estimators.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from engines.face.action_units import GAZE, LEFT, MEANING, sides, wholes
from engines.face.action_units import HEAD as HEAD_AUS

WIDTH, LABELS, MARGIN = 1400, 300, 20  # pixels: of the picture, of the names on its left
ROW, HEAD, FOOT = 46, 50, 40
PLOT = WIDTH - LABELS - MARGIN
PAPER, INK, GRID, GAP = (255, 255, 255), (60, 60, 60), (225, 225, 225), (240, 235, 230)  # BGR
BOTH, RIGHT_SIDE, LEFT_SIDE = (140, 90, 20), (40, 90, 220), (170, 120, 20)
FINE = 4  # subpixel bits of OpenCV's lines: 1/16 pixel
TICKS = 10  # at most


def draw(
    names: Sequence[str], times_s: Sequence[float], aus: Sequence[np.ndarray | None], title: str
) -> np.ndarray:
    """AU names, moments (T,), and at each (len(names),) intensities 0..1 or None without a face -> (H, W, 3) uint8 BGR."""
    pairs = _pairs(names)
    rows = [au for au in wholes(names) if au not in (name for pair in pairs for name in pair)]
    picture = np.full((HEAD + ROW * (len(rows) + len(pairs)) + FOOT, WIDTH, 3), PAPER, np.uint8)
    values = np.array([np.full(len(names), np.nan) if one is None else one for one in aus], np.float64)
    times = np.asarray(times_s, np.float64)
    across = LABELS + (times - times[0]) / max(times[-1] - times[0], 1e-6) * PLOT
    _write(picture, title, (MARGIN, 30), 0.6)
    if any(name not in wholes(names) for name in names):
        _write(picture, "right", (WIDTH - 150, 30), 0.5, RIGHT_SIDE)
        _write(picture, "left of the person", (WIDTH - 150, 46), 0.4, LEFT_SIDE)
    for number, au in enumerate(rows):
        bottom = HEAD + ROW * (number + 1) - 8
        _row(picture, au, MEANING[au], bottom)
        if len(times) > 1:
            _gaps(picture, across, values, bottom)
        for name in [name for name in names if name == au or name in sides(au)]:
            colour = BOTH if name == au else LEFT_SIDE if name.endswith(LEFT) else RIGHT_SIDE
            heights = bottom - np.clip(values[:, names.index(name)], 0, 1) * (ROW - 12)
            if len(times) > 1:
                _curve(picture, across, heights, colour)
            elif np.isfinite(heights[0]):
                _bar(picture, float(values[0, names.index(name)]), bottom, name, colour)
    for number, (au, opposite) in enumerate(pairs, len(rows)):
        bottom = HEAD + ROW * (number + 1) - 8
        _row(picture, f"{au}/{opposite[2:]}", f"{MEANING[au]} / {MEANING[opposite].split()[-1]}", bottom)
        middle = bottom - (ROW - 12) // 2
        cv2.line(picture, (LABELS, middle), (LABELS + PLOT, middle), GRID, 1)
        signed = np.clip(values[:, names.index(au)] - values[:, names.index(opposite)], -1, 1)
        if len(times) > 1:
            _gaps(picture, across, values, bottom)
            _curve(picture, across, middle - signed * (ROW - 12) / 2, BOTH)
        elif np.isfinite(signed[0]):
            start, end = LABELS + PLOT // 2, LABELS + round((1 + signed[0]) / 2 * PLOT)
            cv2.rectangle(picture, (start, bottom - ROW + 12), (end, bottom - 1), BOTH, cv2.FILLED)
    _axis(picture, times)
    return picture


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """AUs of head and gaze with their opposites, where both are in a vocabulary."""
    pose = (*HEAD_AUS, *GAZE)
    return [pair for pair in zip(pose[::2], pose[1::2], strict=True) if set(pair) <= set(names)]


def _row(picture: np.ndarray, name: str, meaning: str, bottom: int) -> None:
    """Its name and the lines of its least and its most."""
    _write(picture, name, (MARGIN, bottom - 8), 0.5)
    _write(picture, meaning, (MARGIN + 60 + 12 * ("/" in name) * 2, bottom - 8), 0.42)
    for height in (bottom, bottom - (ROW - 12)):
        cv2.line(picture, (LABELS, height), (LABELS + PLOT, height), GRID, 1)


def _curve(
    picture: np.ndarray, across: np.ndarray, heights: np.ndarray, colour: tuple[int, int, int]
) -> None:
    points = np.column_stack([across, heights])
    for piece in np.split(points, np.flatnonzero(~np.isfinite(heights))):
        piece = piece[np.isfinite(piece[:, 1])]
        fixed = np.round(piece * 2**FINE).astype(np.int32)
        cv2.polylines(picture, [fixed], False, colour, 1, cv2.LINE_AA, FINE)


def _bar(picture: np.ndarray, value: float, bottom: int, name: str, colour: tuple[int, int, int]) -> None:
    half = (ROW - 12) // 2
    top = bottom - 2 * half if not name.endswith(LEFT) else bottom - half
    deep = half if name[-1].isalpha() else 2 * half
    cv2.rectangle(picture, (LABELS, top), (LABELS + round(value * PLOT), top + deep - 1), colour, cv2.FILLED)


def _gaps(picture: np.ndarray, across: np.ndarray, values: np.ndarray, bottom: int) -> None:
    """Moments without a face, shaded."""
    for place in np.flatnonzero(~np.isfinite(values[:, 0])):
        start = across[place - 1] if place else across[place]
        cv2.rectangle(
            picture, (int(start), bottom - ROW + 12), (int(across[place]) + 1, bottom), GAP, cv2.FILLED
        )


def _axis(picture: np.ndarray, times: np.ndarray) -> None:
    bottom = picture.shape[0] - FOOT + 22
    if len(times) < 2:
        for level in (0, 0.5, 1):
            _write(picture, f"{level:g}", (LABELS + round(level * PLOT) - 8, bottom), 0.42)
        return
    lasts = times[-1] - times[0]
    step = next(
        step
        for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600, np.inf)
        if lasts / step <= TICKS
    )
    for tick in np.arange(0, lasts + 1e-9, step if np.isfinite(step) else lasts / TICKS):
        _write(picture, f"{times[0] + tick:g} s", (LABELS + round(tick / lasts * PLOT) - 10, bottom), 0.42)


def _write(
    picture: np.ndarray, text: str, place: tuple[int, int], size: float, colour: tuple[int, int, int] = INK
) -> None:
    shown = text.encode("ascii", "replace").decode()  # OpenCV's letters are ASCII
    cv2.putText(picture, shown, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
