"""How long a run is, how fast it learns, and which samples each batch holds: functions of the images seen."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. Times in seconds; `batch` is that of all processes together."""

    images: int = 160_000
    batch: int = 16
    rate: float | None = None  # Adam's; the recipe's own by default
    # Share of the images after which the rate falls linearly, to 1 % of itself: the paper's 20 and 10 epochs
    decay_from: float = 2 / 3
    warm_up: int = 4_000  # images over which the rate rises
    average: float = 0.998  # per step, of the moving average that is exported
    accumulate: int = 1  # micro-batches of one step: the same gradient in less memory
    seed: int = 0
    max_s: float = float("inf")
    save_every_s: float = 240.0
    # Images between held-out figures, and between adjustments by the attention guard
    report_every: int = 4_000
    grid_every: int = 12_000  # images; 0 for no grids
    # Steps whose mean is a line of statistics, so that a critic's noise does not hide a trend
    stats_every: int = 50
    workers: int = 1
    bf16: bool = True
    resident: bool = False  # faces kept on the device
    # torch.compile on the averaged networks; a critic with a penalty cannot be (second derivatives)
    compile: bool = False


def rate_share(plan: Schedule, seen: int) -> float:
    """The learning rate after `seen` images, as a share of the plan's."""
    if seen < plan.warm_up:
        return (seen + plan.batch) / (plan.warm_up + plan.batch)
    left = 1 - max(0.0, seen / plan.images - plan.decay_from) / (1 - plan.decay_from)
    return max(0.01, left)


class BatchNumbers:
    """The sample numbers of this process' batches: each process takes its own part of every global batch."""

    def __init__(self, first: int, last: int, batch: int, rank: int, processes: int):
        self._starts = range(
            first + rank * (batch // processes), last - batch + 1 + rank * (batch // processes), batch
        )
        self._part = batch // processes

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(start, start + self._part)) for start in self._starts)
