"""The training loop of the supervised stage. Progress is counted in images seen; nothing else is a clock.

Each step: pairs in, generator, loss, Adam, moving average. Every few minutes a checkpoint, a line of held-out figures
and a grid to look at. The attention guard warns when mean(A) leaves its band: at 1 the generator has learnt to copy.
"""

import json
import signal
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from engines.errors import DataError
from engines.expression import ESTIMATED, VERSION
from train import checkpoint
from train.data.corpus import Corpus
from train.data.pairs import Pairs
from train.networks.compact import CompactGenerator, Shape
from train.recipes.supervised import supervised_loss, to_batch
from train.report.grids import write_grid

ATTENTION_BAND = (0.70, 0.997)  # of mean(A) over a batch of edits: below, colour repaints the face; above, edits are copies
HELD_OUT_PAIRS = 48


@dataclass(frozen=True)
class Plan:
    """What a run does. Times in seconds."""

    images: int = 160_000
    batch: int = 16
    rate: float = 6e-4
    decay_from: float = 0.65  # share of the images after which the rate falls linearly to 1 % of itself
    warm_up: int = 4_000  # images over which the rate rises
    average: float = 0.998  # per step, of the moving average that is exported
    seed: int = 0
    max_s: float = float("inf")
    save_every_s: float = 240.0
    grid_every_s: float = 480.0
    workers: int = 1
    bf16: bool = True


def rate_at(plan: Plan, seen: int) -> float:
    """Learning rate after `seen` images."""
    if seen < plan.warm_up:
        return plan.rate * (seen + plan.batch) / (plan.warm_up + plan.batch)
    left = 1 - max(0.0, seen / plan.images - plan.decay_from) / (1 - plan.decay_from)
    return plan.rate * max(0.01, left)


def fit(corpus: Corpus, out: Path, plan: Plan, shape: Shape = Shape(), quiet: bool = False, until: int | None = None) -> list[float]:
    """Trains until plan.images (or, in this call, `until`) are seen or plan.max_s is over; goes on from out/checkpoint.

    Returns this call's losses.

    Raises DataError when the checkpoint is of another network or AU set, or when the loss is no longer a number.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    network = CompactGenerator(shape).to(memory_format=torch.channels_last)
    average = deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.Adam(network.parameters(), plan.rate, betas=(0.9, 0.99))
    seen, folder = 0, out / "checkpoint"
    if folder.exists():
        state = checkpoint.read_state(folder)
        if (state["shape"], state["aus"], state["estimator"]) != (_plain(shape), list(ESTIMATED), VERSION):
            raise DataError(f"{folder} is of another network, AU set or estimator: choose another --out.")
        checkpoint.load(folder, network, average, optimiser)
        seen = state["seen"]
    pairs, held_out = Pairs(corpus, plan.seed), _held_out_batch(corpus)
    loader = iter(
        DataLoader(
            Subset(pairs, range(seen, min(plan.images, until or plan.images))),
            plan.batch,
            num_workers=plan.workers,
            drop_last=True,
            prefetch_factor=4 if plan.workers else None,
        )
    )
    losses: list[float] = []
    started = last_save = last_grid = time.monotonic()
    stop = _StopOnSignal()

    def keep() -> None:
        checkpoint.save(
            folder,
            network,
            average,
            optimiser,
            {"seen": seen, "shape": _plain(shape), "aus": list(ESTIMATED), "estimator": VERSION, "seed": plan.seed},
        )

    with open(out / "stats.jsonl", "a") as stats, tqdm(total=plan.images, initial=seen, unit="img", disable=quiet) as bar, stop:
        for samples in loader:
            batch = to_batch(samples)
            for group in optimiser.param_groups:
                group["lr"] = rate_at(plan, seen)
            with torch.autocast("cpu", torch.bfloat16, enabled=plan.bf16):
                colour, attention, flow = network(batch["picture"], batch["change"])
            loss, terms = supervised_loss(colour.float(), attention.float(), flow.float(), batch)
            if not torch.isfinite(loss):
                np.savez(out / "bad_batch.npz", **{k: v.numpy() for k, v in samples.items()})
                keep()
                raise DataError(
                    f"The loss is no longer a number after {seen} images; the batch is in {out}/bad_batch.npz. Lower --rate and start from the last checkpoint."
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            seen += plan.batch
            with torch.no_grad():  # a short average at first, so that early grids show the network and not its beginning
                keep_share = min(plan.average, (seen / plan.batch) / (seen / plan.batch + 10))
                for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                    slow.lerp_(fast, 1 - keep_share)
            losses.append(float(loss.detach()))
            bar.update(plan.batch)
            now = time.monotonic()
            over = stop.asked or now - started > plan.max_s
            if now - last_save > plan.save_every_s or over:
                line = {
                    "seen": seen,
                    "loss": float(np.mean(losses[-100:])),
                    "rate": rate_at(plan, seen),
                    **{k: float(v) for k, v in terms.items()},
                    **held_out_figures(average, held_out),
                }
                stats.write(json.dumps(line) + "\n")
                stats.flush()
                bar.set_postfix(loss=f"{line['loss']:.3f}", held_out=f"{line['held_out']:.3f}")
                _guard(line["held_out_attention"], bar)
                keep()
                last_save = now
            if now - last_grid > plan.grid_every_s or over:
                write_grid(average, corpus, out / f"grid-{seen:07d}.png")
                last_grid = now
            if over:
                break
        keep()
    return losses


def _plain(shape: Shape) -> dict:
    return json.loads(json.dumps(shape.as_dict()))


def _held_out_batch(corpus: Corpus) -> dict[str, torch.Tensor] | None:
    if not corpus.held_out.any():
        return None
    pairs = Pairs(corpus, seed=10**6, held_out=True)
    samples = [pairs[i] for i in range(HELD_OUT_PAIRS)]
    return to_batch({name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]})


@torch.no_grad()
def held_out_figures(network: CompactGenerator, batch: dict[str, torch.Tensor] | None) -> dict[str, float]:
    """Loss, its terms and mean(A) on pairs of people that training does not see."""
    if batch is None:
        return {"held_out": float("nan"), "held_out_attention": float("nan")}
    totals, terms, attentions = [], [], []
    for i in range(0, HELD_OUT_PAIRS, 16):
        part = {name: value[i : i + 16] for name, value in batch.items()}
        outputs = network(part["picture"], part["change"])
        total, term = supervised_loss(*outputs, part)
        totals.append(float(total))
        terms.append({f"held_out_{name}": float(value) for name, value in term.items()})
        attentions.append(float(outputs[1].mean()))
    means = {name: float(np.mean([term[name] for term in terms])) for name in terms[0]}
    return {"held_out": float(np.mean(totals)), "held_out_attention": float(np.mean(attentions)), **means}


def _guard(attention: float, bar: tqdm) -> None:
    low, high = ATTENTION_BAND
    if attention > high:
        bar.write(
            f"WARNING: mean(A) is {attention:.4f}, above {high}: the generator is learning to copy. Lower the weight `changed` or check the AU labels."
        )
    elif attention < low:
        bar.write(f"WARNING: mean(A) is {attention:.4f}, below {low}: colour repaints the face. Raise the weight `changed`.")


class _StopOnSignal:
    """Turns Ctrl-C and SIGTERM into a clean end after the step in hand."""

    asked = False

    def __enter__(self) -> "_StopOnSignal":
        self._old = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, *_args: object) -> None:
        self.asked = True

    def __exit__(self, *_exc: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
