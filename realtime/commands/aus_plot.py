"""AUs over time as one picture, by Matplotlib: a row for each AU, both its sides in one, gaps without a face.

Head and gaze have a row for each AU and its opposite, about a line in the middle. A single moment gives bars.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from engines.face.action_units import GAZE, LEFT, MEANING, sides, wholes
from engines.face.action_units import HEAD as HEAD_AUS

# In pixels: of the picture, of the names on its left, and of the margin on its right.
WIDTH = 1400
LABELS = 300
MARGIN = 20
PLOT = WIDTH - LABELS - MARGIN
# In pixels: of a row with the gap below it, of the title, and of the time axis.
ROW = 46
HEAD = 50
FOOT = 40
CURVE_HEIGHT = ROW - 12
DPI = (
    64  # a power of two, so that pixels divided by it are exact and the figure has the size that it was given
)
INK, GRID, GAP = "#3c3c3c", "#e1e1e1", "#e6ebf0"
BOTH, RIGHT_SIDE, LEFT_SIDE = "#145a8c", "#dc5a28", "#1478aa"
MAX_TICKS = 10


@dataclass(frozen=True)
class _Line:
    """One curve of a row; of a single moment, one bar."""

    values: np.ndarray  # (T,); NaN without a face
    colour: str
    share: tuple[float, float] = (0.0, 1.0)  # of the row's height that its bar takes, from below


@dataclass(frozen=True)
class _Row:
    """An AU, or an AU and its opposite."""

    name: str
    meaning: str
    lines: tuple[_Line, ...]
    signed: bool = False  # from -1 to 1 instead of from 0


def draw(
    names: Sequence[str], times_s: Sequence[float], aus: Sequence[np.ndarray | None], title: str
) -> np.ndarray:
    """Draws the plot.

    Args:
        names: of N AUs.
        times_s: T moments.
        aus: at each moment (N,) intensities, 0 to 1, or None without a face.

    Returns: (H, WIDTH, 3) uint8 BGR.
    """
    values = np.array([np.full(len(names), np.nan) if each is None else each for each in aus], np.float64)
    times = np.asarray(times_s, np.float64)
    rows = _rows(names, values)
    height = HEAD + ROW * len(rows) + FOOT
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    _write(figure, MARGIN, 30, title, size=16)
    if len({line.colour for row in rows for line in row.lines} - {BOTH}):
        _write(figure, WIDTH - 150, 26, "right", colour=RIGHT_SIDE)
        _write(figure, WIDTH - 150, 44, "left of the person", colour=LEFT_SIDE)
    for number, row in enumerate(rows):
        bottom = HEAD + ROW * (number + 1) - 8
        _write(figure, MARGIN, bottom - 8, row.name)
        _write(figure, MARGIN + 90, bottom - 8, row.meaning)
        box = (LABELS / WIDTH, 1 - bottom / height, PLOT / WIDTH, CURVE_HEIGHT / height)
        axes = figure.add_axes(box)
        _draw_row(axes, row, times)
        _draw_scale(axes, times)
        if number == len(rows) - 1:
            axes.tick_params(axis="x", labelbottom=True)
        elif number == 0 and len(times) == 1 and rows[-1].signed != row.signed:
            axes.tick_params(axis="x", labeltop=True)  # the rows above have another scale than the last one
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., 2::-1])


def _rows(names: Sequence[str], values: np.ndarray) -> list[_Row]:
    """The rows of (T, N) values, in the order of `names`; AUs of head and gaze with their opposites last."""
    pose = (*HEAD_AUS, *GAZE)
    pairs = [pair for pair in zip(pose[::2], pose[1::2], strict=True) if set(pair) <= set(names)]
    paired = {au for pair in pairs for au in pair}

    def column(au: str) -> np.ndarray:
        return values[:, list(names).index(au)]

    rows = []
    for au in (au for au in wholes(names) if au not in paired):
        lines = [_Line(np.clip(column(au), 0, 1), BOTH)] if au in names else []
        for side in sides(au):
            if side != au and side in names:
                left = side.endswith(LEFT)
                share = (0.0, 0.5) if left else (0.5, 1.0)
                lines.append(_Line(np.clip(column(side), 0, 1), LEFT_SIDE if left else RIGHT_SIDE, share))
        rows.append(_Row(au, MEANING[au], tuple(lines)))
    for au, opposite in pairs:
        signed = np.clip(column(au) - column(opposite), -1, 1)
        meaning = f"{MEANING[au]} / {MEANING[opposite].split()[-1]}"
        rows.append(_Row(f"{au}/{opposite[2:]}", meaning, (_Line(signed, BOTH),), signed=True))
    return rows


def _draw_row(axes: Axes, row: _Row, times: np.ndarray) -> None:
    """The curves of a row over time, or its bars at a single moment."""
    least = -1 if row.signed else 0
    if len(times) == 1:
        for line in row.lines:
            if np.isfinite(line.values[0]):
                low, high = line.share
                axes.barh(low, line.values[0], high - low, align="edge", color=line.colour)
        axes.set_ylim(0, 1)
        axes.set_xlim(least, 1)
        if row.signed:
            axes.axvline(0, color=GRID)
        return
    if row.signed:
        axes.axhline(0, color=GRID, linewidth=1, zorder=0)
    for line in row.lines:
        axes.plot(times, line.values, color=line.colour, linewidth=1.3, clip_on=False)
    absent = ~np.isfinite(row.lines[0].values)
    if absent.any():
        # From the last moment with a face to the first one with it again.
        absent[:-1] |= absent[1:]
        axes.fill_between(times, least, 1, where=absent, color=GAP, linewidth=0, zorder=0)
    axes.set_ylim(least, 1)
    axes.set_xlim(times[0], max(times[-1], times[0] + 1e-6))


def _draw_scale(axes: Axes, times: np.ndarray) -> None:
    """The lines at a row's least and greatest value, and the labels of time (of a moment: intensity),
    hidden."""
    axes.set_yticks([])
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("top", "bottom"))
        spine.set_color(GRID)
    axes.tick_params(axis="x", length=0, pad=4, labelsize=13, labelcolor=INK, labelbottom=False)
    if len(times) > 1:
        axes.xaxis.set_major_locator(MaxNLocator(MAX_TICKS, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g} s")
    else:
        low, high = axes.get_xlim()
        axes.set_xticks([low, (low + high) / 2, high])
        axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")


def _write(figure: Figure, x_px: int, y_px: int, text: str, colour: str = INK, size: int = 13) -> None:
    """Text whose baseline begins at a pixel, counted from the upper left; `size` in points."""
    height_px = figure.get_figheight() * DPI
    figure.text(x_px / WIDTH, 1 - y_px / height_px, text, color=colour, fontsize=size, parse_math=False)
