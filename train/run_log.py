"""The log of a run: a progress bar, a JSONL of statistics, TensorBoard scalars and pictures.

Only the main process makes one. A resumed run drops the lines beyond its checkpoint, so that every count of
images stands once in stats.jsonl; the first line after it averages fewer steps.
"""

import json
from pathlib import Path

import cv2
import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from train.report.sheets import write_png


class RunLog:
    """Opened at `seen` images out of `images`; `quiet` hides the bar only."""

    def __init__(self, out: Path, seen: int, images: int, quiet: bool = False):
        self._out = out
        path = out / "stats.jsonl"
        kept = (
            [line for line in path.read_text().splitlines() if _images_of(line) <= seen]
            if path.exists()
            else []
        )
        path.write_text("".join(line + "\n" for line in kept))
        self._stats = open(path, "a")
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=seen)
        self._bar = tqdm(total=images, initial=seen, unit="img", disable=quiet, smoothing=0.05)

    def advance(self, images: int) -> None:
        self._bar.update(images)

    def line(self, seen: int, figures: dict[str, float]) -> None:
        """One line of statistics after `seen` images."""
        self._stats.write(json.dumps({"seen": seen, **figures}) + "\n")
        self._stats.flush()
        for name, value in figures.items():
            self._board.add_scalar(name, value, seen)
        self._bar.set_postfix(
            {name: f"{value:.3g}" for name, value in figures.items() if name.startswith(("loss", "held_out"))}
        )

    def picture(self, seen: int, grid: np.ndarray) -> None:
        """Keeps a grid (H, W, 3) uint8 BGR as grid-SEEN.png, and at half size in TensorBoard."""
        write_png(self._out / f"grid-{seen:08d}.png", grid, max_bytes=None)
        half = cv2.resize(grid, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        self._board.add_image("grid", half[:, :, ::-1].copy(), seen, dataformats="HWC")

    def message(self, text: str) -> None:
        """Prints a line above the progress bar."""
        self._bar.write(text)

    def close(self) -> None:
        self._stats.close()
        self._board.close()
        self._bar.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _images_of(line: str) -> float:
    """The images that a line stands for; infinitely many for one that a killed run left half written."""
    try:
        return json.loads(line)["seen"]
    except ValueError:
        return float("inf")
