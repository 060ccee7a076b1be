"""A picture of a corpus' labels: one panel for each AU, or for each side of it, one line for each source.

Knows numbers and names only.
"""

from pathlib import Path

import numpy as np

from engines.errors import DataError
from engines.face.action_units import WIDE

EDGES = np.linspace(-0.5, 1.5, 41)  # unclipped measures; the outermost bins take what lies beyond
AT_ONCE = 65536  # faces counted at a time, so that memory does not grow with the corpus


def count(aus: np.ndarray, source: np.ndarray, sources: int) -> np.ndarray:
    """Measures (N, A) and source numbers (N,) -> (sources, A, bins) int64."""
    bins = len(EDGES) - 1
    found = np.zeros((sources, aus.shape[1], bins), np.int64)
    for start in range(0, len(aus), AT_ONCE):
        some, of = aus[start : start + AT_ONCE], source[start : start + AT_ONCE].astype(np.int64)
        place = np.clip(np.searchsorted(EDGES, some, side="right") - 1, 0, bins - 1)
        for au in range(aus.shape[1]):
            found[:, au] += np.bincount(of * bins + place[:, au], minlength=sources * bins).reshape(
                sources, bins
            )
    return found


def check_matplotlib() -> None:
    """Raises DataError when Matplotlib is missing: before hours of labelling, not after them."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise DataError("The histograms of a corpus need matplotlib: pip install -e '.[train]'") from error


def write_histograms(aus: np.ndarray, source: np.ndarray, sources: list[str], path: Path) -> None:
    """Draws the share of each source's faces by measured AU to a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = count(aus, source, len(sources))
    middles = (EDGES[1:] + EDGES[:-1]) / 2
    figure = Figure(figsize=(15, 13), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(5, 6, sharex=True)  # the last panel is the legend's
    for au, panel in enumerate(axes.flat):
        if au >= len(WIDE):
            panel.axis("off")
            continue
        for number, name in enumerate(sources):
            share = 100 * counts[number, au] / max(counts[number, au].sum(), 1)
            panel.step(
                middles, share, where="mid", label=f"{name} ({counts[number, au].sum()})", linewidth=1.2
            )
        panel.axvspan(0, 1, color="0.95", zorder=0)
        panel.set_title(WIDE[au], fontsize=10)
        panel.set_ylim(bottom=0)
    axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center", fontsize=9, frameon=False)
    figure.supxlabel("measured intensity, unclipped (0 rest, 1 the strongest; grey: what is kept)")
    figure.supylabel("faces of the source, %")
    figure.savefig(path, dpi=80)
