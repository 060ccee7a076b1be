"""Samples a second of adversarial training: paper and compact networks, FP32 and bf16, in turn.

Machines are noisy, so the variants take turns and medians and ratios count. FLOPs of the forward passes are
counted, those of the others follow from them, and are set against the fastest matrix product that this
machine shows. Data: random pictures, or a corpus; then the loader is measured beside the training, as a share
of a step that waits for it and of one core that it uses.
"""

import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from train.command_line import parse
from train.data.corpus import load_corpus
from train.distributed import computes_in_bf16
from train.networks.from_shape import generator_of
from train.recipes.factory import make
from train.recipes.recipe import Batch, Turn
from train.schedule import BatchNumbers, Schedule
from train.trainer import TrainingRun

VARIANTS = (("paper", False), ("paper", True), ("compact", False), ("compact", True))
ROUNDS = 2
MATRICES = (1024, 2048, 4096)  # sides of the matrix products that show the machine's peak
LOADED_STEPS = 40


class Variant:
    """One network in one precision, with a batch to train on."""

    def __init__(self, model: str, bf16: bool, size_px: int, batch: int, compiled: bool, folder: Path):
        options = parse(
            [
                "fit",
                "--corpus",
                "-",
                "--out",
                "-",
                "--recipe",
                "ganimation",
                "--model",
                model,
                "--size",
                str(size_px),
            ]
        )
        self.name = f"{model} {'bf16' if bf16 else 'fp32'}{' compiled' if compiled else ''}"
        self.recipe = make(options, size_px)
        self.run = TrainingRun(
            self.recipe, folder / self.name, Schedule(batch=batch, bf16=bf16, compile=compiled)
        )
        self.samples = random_samples(
            size_px, batch, generator_of(self.recipe.networks).shape.au_count, self.run.group.device
        )
        self.times_s: dict[str, list[float]] = {"critic": [], "generator": []}

    def turn(self, name: str) -> Turn:
        return next(turn for turn in self.recipe.turns(4) if turn.networks == (name,))

    def once(self, name: str) -> None:
        self.run.take(self.turn(name), [self.recipe.batch(self.samples)], self.samples)
        if self.run.group.device.type == "cuda":
            torch.cuda.synchronize()

    def time(self, name: str, seconds: float) -> None:
        """Repeats a turn for some seconds (once at least) and keeps each one's time."""
        if not self.times_s[name]:
            self.once(name)  # warm: allocations, compilation
        until_s, count = time.perf_counter() + seconds, 0
        while not count or time.perf_counter() < until_s:
            started_s = time.perf_counter()
            self.once(name)
            self.times_s[name].append(time.perf_counter() - started_s)
            count += 1

    def flops(self) -> float:
        """Of one critic turn a sample.

        A backward pass costs two forward ones; the penalty is a forward pass, the half of a backward pass
        that goes down to the picture, and the backward pass of both: in all g + (2 + 4) c + (1 + 1 + 4) c.
        """
        batch = self.recipe.batch(self.samples)
        photo = batch["picture"][:1]
        counts = []
        for name, inputs in (("generator", (photo, batch["own"][:1])), ("critic", (photo,))):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                self.recipe.networks[name](*inputs)
            counts.append(counter.get_total_flops())
        return float(counts[0] + 12 * counts[1])


def random_samples(size_px: int, batch: int, aus: int, device: torch.device) -> Batch:
    rng = np.random.default_rng(0)
    arrays = {
        "picture": rng.integers(0, 256, (batch, size_px, size_px, 3), dtype=np.uint8),
        "own": rng.random((batch, aus), np.float32),
        "wanted": rng.random((batch, aus), np.float32),
        "mix": rng.random(batch, np.float32),
    }
    return {name: torch.from_numpy(value).to(device) for name, value in arrays.items()}


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of matrix products, the best of five of each size."""
    best = 0.0
    for side in MATRICES:
        a = torch.randn(side, side, device=device).to(dtype)
        for _ in range(5):
            started_s = time.perf_counter()
            a @ a
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = max(best, 2 * side**3 / (time.perf_counter() - started_s))
    return best


def measure(
    corpora: list[Path], size_px: int = 128, batch: int = 16, seconds: float = 8.0, compiled: bool = False
) -> str:
    """The table as text. Raises DataError when a corpus cannot be used, before anything is timed."""
    corpus = load_corpus(corpora) if corpora else None
    with tempfile.TemporaryDirectory() as folder:
        halves = computes_in_bf16()
        variants = [
            Variant(model, bf16, size_px, batch, False, Path(folder))
            for model, bf16 in VARIANTS
            if halves or not bf16
        ]
        compact = variants[-1]  # in the better precision
        if compiled:
            variants.append(Variant("compact", halves, size_px, batch, True, Path(folder)))
        for _ in range(ROUNDS):
            for variant in variants:
                for name in ("critic", "generator"):
                    variant.time(name, seconds / ROUNDS / 2)
        device = variants[0].run.group.device
        peaks = {dtype: matrix_peak(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
        lines = [
            f"{device}, {torch.get_num_threads()} threads, {size_px} px, batch {batch}, PyTorch "
            f"{torch.__version__}; medians",
            f"matrix peak: {peaks[torch.float32] / 1e9:.0f} GFLOP/s fp32, {peaks[torch.bfloat16] / 1e9:.0f} "
            "bf16",
            f"{'network':<24}{'critic/s':>9}{'ratio':>7}{'generator/s':>13}{'5 + 1/s':>9}"
            f"{'GFLOP a critic sample':>23}{'of peak':>9}",
        ]
        first = None
        for variant in variants:
            critic_s, generator_s = (
                statistics.median(variant.times_s[name]) for name in ("critic", "generator")
            )
            first = first or critic_s
            flops = variant.flops()
            peak = peaks[torch.bfloat16 if "bf16" in variant.name else torch.float32]
            both = 5 * batch / (5 * critic_s + generator_s)
            lines.append(
                f"{variant.name:<24}{batch / critic_s:>9.1f}{first / critic_s:>7.2f}"
                f"{batch / generator_s:>13.1f}{both:>9.1f}"
                f"{flops / 1e9:>23.1f}{flops * batch / critic_s / peak:>8.0%}"
            )
        if corpus:
            lines.append(loader_share(compact, corpus, batch))
    return "\n".join(lines)


def loader_share(variant: Variant, corpus, batch: int) -> str:
    """What the loader costs a real run of the fastest variant: shares of a step's time and of a core."""
    data = variant.recipe.dataset(corpus, 0)
    started_s = time.process_time()
    for number in range(2 * batch):
        data[number]
    sample_s = (time.process_time() - started_s) / (2 * batch)
    cv2.setNumThreads(1)  # as in train.trainer: OpenCV's threads do not survive the fork
    loader = iter(
        DataLoader(
            data,
            batch_sampler=BatchNumbers(0, batch * (LOADED_STEPS + 5), batch, 0, 1),
            num_workers=1,
            prefetch_factor=4,
        )
    )
    for _ in range(5):
        variant.run.advance(next(loader))
    waited_s, started_s = 0.0, time.perf_counter()
    for _ in range(LOADED_STEPS):
        asked_s = time.perf_counter()
        samples = next(loader)
        waited_s += time.perf_counter() - asked_s
        variant.run.advance(samples)
    whole_s = time.perf_counter() - started_s
    step_ms = 1000 * whole_s / LOADED_STEPS
    return (
        f"loader, one process, beside {variant.name}: {100 * waited_s / whole_s:.1f} % of a step waits for "
        f"data ({step_ms:.0f} ms a step of {batch}); "
        f"a sample costs {1000 * sample_s:.2f} ms of one core, "
        f"{100 * sample_s * batch / (whole_s / LOADED_STEPS):.1f} % of a step"
    )
