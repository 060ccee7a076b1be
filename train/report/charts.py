"""The evaluation's two charts, by Matplotlib: answers of all AUs, and commanded against measured changes."""

from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure  # not pyplot: no window system, no global state

from engines.face.action_units import PAPER_17

matplotlib.rcParams["font.size"] = 8


def heat_map(answers: Sequence[Sequence[float]]) -> np.ndarray:
    """Draws 17 x 17 answers a unit of command: rows commanded, columns answered; ideal is the identity.

    (H, W, 3) uint8 BGR.
    """
    values, names = np.array(answers), [au[2:] for au in PAPER_17]
    figure = Figure(figsize=(8.2, 7.2), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("AU answered")
    axes.set_ylabel("AU commanded")
    for (row, column), value in np.ndenumerate(values):
        if abs(value) >= 0.05:  # smaller ones are white, and their numbers noise
            colour = "white" if abs(value) > 0.6 else "black"
            text = f"{value:.2f}".replace("0.", ".")
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=7,
                color=colour,
                weight="bold" if row == column else None,
            )
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("measured change a unit of commanded change")
    return _drawn(figure)


def scatter(au: np.ndarray, commanded: np.ndarray, measured: np.ndarray, table: dict) -> np.ndarray:
    """Draws a panel for each AU: commanded against measured change.

    Args:
        au: (n,) places in PAPER_17 of the swept AUs.
        commanded: (n,) changes.
        measured: (n,) changes of the swept AU.
        table: r and slope by name.

    (H, W, 3) uint8 BGR.
    """
    figure = Figure(figsize=(11, 6.0), layout="constrained")
    panels = figure.subplots(3, 6, sharex=True, sharey=True).ravel()
    for place, (name, panel) in enumerate(zip(PAPER_17, panels, strict=False)):
        mine = (au == place) & np.isfinite(measured)
        panel.plot([-1, 1], [-1, 1], color="0.75", linewidth=0.8, zorder=0)
        panel.axhline(0, color="0.9", linewidth=0.6, zorder=0)
        panel.plot(
            commanded[mine], measured[mine], ".", markersize=5, alpha=0.5, color="tab:blue", markeredgewidth=0
        )
        panel.set_title(f"{name}   r {table[name]['r']:.2f}, slope {table[name]['slope']:.2f}", fontsize=8)
        panel.set_xlim(-1.05, 1.05)
        panel.set_ylim(-1.05, 1.05)
    for panel in panels[len(PAPER_17) :]:
        panel.axis("off")
        panel.text(
            0.5,
            0.5,
            "grey line:\nmeasured =\ncommanded",
            ha="center",
            va="center",
            color="0.5",
            transform=panel.transAxes,
        )
    figure.supxlabel("commanded change")
    figure.supylabel("measured change")
    return _drawn(figure)


def _drawn(figure: Figure) -> np.ndarray:
    figure.set_dpi(110)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return cv2.cvtColor(np.asarray(canvas.buffer_rgba()), cv2.COLOR_RGBA2BGR)
