"""The training loop.

Progress is counted in images seen; nothing else is a clock. Losses are a Recipe's.

A step: load a batch; for each turn of the recipe compute its loss and its gradients (averaged over
processes), then step its optimiser and its moving average. Every few minutes a checkpoint is written; every
few thousand images follow figures on held-out people, the attention guard's adjustment, and a grid of
samples.
"""

import json
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from engines.errors import DataError, OutputError
from engines.face.action_units import WIDE
from engines.face.au_estimator import VERSION
from train import checkpoint
from train.data.corpus import Corpus
from train.data.faces import FaceSamples
from train.data.folders import make_folder
from train.data.resident import ResidentFaces
from train.distributed import ProcessGroup
from train.recipes.recipe import Batch, Recipe, Turn
from train.run_log import RunLog
from train.schedule import BatchNumbers, Schedule, rate_share
from train.signals import StopOnSignal, ignore_ctrl_c
from train.warm_start import start_with_weights_of

HELD_OUT_SEED, HELD_OUT_SAMPLES, HELD_OUT_BATCH = 10**6, 48, 16


class TrainingRun:
    """One run of a recipe in a folder: a new one, or one resumed from its checkpoint."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        plan: Schedule,
        start_from: Path | None = None,
        estimator: str = VERSION,
    ):
        """Loads the checkpoint in `out`, if there is one.

        Args:
            recipe: what is trained.
            out: folder of the run.
            plan: how long and how fast.
            start_from: another run, whose averaged networks a new run starts with.
            estimator: version of the AU estimator that made the labels.

        Raises:
            DataError: the folder's checkpoint is of another recipe, network, AU set or estimator, or
                `start_from` does not fit.
        """
        self.estimator = estimator
        self.recipe = recipe
        self.out = out
        self.plan = plan
        self.group = ProcessGroup(plan.bf16)
        if plan.batch % (self.group.processes * plan.accumulate):
            raise DataError(
                f"A batch of {plan.batch} does not divide into {self.group.processes} processes of "
                f"{plan.accumulate} micro-batches: choose another --batch."
            )
        make_folder(out, OutputError)
        self.networks = {
            name: net.to(device=self.group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for name, net in recipe.networks.items()
        }
        self.averages = {
            name: deepcopy(self.networks[name]).requires_grad_(False) for name in recipe.averaged
        }
        if plan.compile:
            for name in recipe.averaged:
                self.networks[name].compile()
        self.rate = plan.rate or recipe.rate
        self.optimisers = {
            name: torch.optim.Adam(net.parameters(), self.rate, betas=recipe.betas)
            for name, net in self.networks.items()
        }
        self.resident: ResidentFaces | None = None  # where the faces are, if not on disk
        self.seen = self.step = 0
        self.guard = getattr(recipe, "guard", None)
        self.started_from: dict[str, Any] | None = None  # provenance
        if checkpoint.find(self.folder) and start_from:
            raise DataError(
                f"{out} already holds a run: leave out --start-from to resume it, or choose another --out."
            )
        if start_from:
            self.started_from = start_with_weights_of(start_from, recipe, self.networks, self.averages)
        elif checkpoint.find(self.folder):
            self._take_up(checkpoint.read_state(self.folder))
        self._check_together()

    @property
    def folder(self) -> Path:
        return self.out / "checkpoint"

    def _take_up(self, state: dict[str, Any]) -> None:
        mine = self._identity()
        theirs = {name: state.get(name) for name in mine}
        if theirs != mine:
            other = ", ".join(name for name in mine if theirs[name] != mine[name])
            raise DataError(
                f"{self.folder} is of another run ({other} differ): choose another --out, or the options it "
                "was begun with."
            )
        checkpoint.load(self.folder, self.networks, self.averages, self.optimisers)
        self.seen, self.step, self.started_from = state["seen"], state["step"], state.get("started_from")
        if self.guard:
            self.guard.factor = state["guard"]

    def _check_together(self) -> None:
        """Raises DataError when processes stand at different places: hosts that do not share a disk."""
        mine = float(np.float32(self.seen))
        if self.group.any(self.group.mean({"seen": mine})["seen"] != mine):
            raise DataError(
                f"The processes found different checkpoints in {self.out}: give an --out on a disk that all "
                "hosts share."
            )

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on, as JSON gives it back."""
        recipe = self.recipe
        return json.loads(
            json.dumps(
                {
                    "recipe": recipe.name,
                    "shape": recipe.shape,
                    "aus": WIDE,
                    "estimator": self.estimator,
                    "seed": self.plan.seed,
                }
            )
        )

    def save(self) -> None:
        state = {**self._identity(), "seen": self.seen, "step": self.step, "processes": self.group.processes}
        state |= {"guard": self.guard.factor if self.guard else None, "started_from": self.started_from}
        checkpoint.save(self.folder, self.networks, self.averages, self.optimisers, state)

    def advance(self, samples: Batch) -> dict[str, float]:
        """One batch: every turn of the recipe.

        Returns the terms. Raises DataError when a loss is no longer a number.
        """
        samples = {name: value.to(self.group.device, non_blocking=True) for name, value in samples.items()}
        if self.resident:
            samples = self.resident.fill(samples)
        count = len(next(iter(samples.values()))) // self.plan.accumulate
        parts = [
            {name: value[i * count : (i + 1) * count] for name, value in samples.items()}
            for i in range(self.plan.accumulate)
        ]
        batches = [self.recipe.batch(part) for part in parts]
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = self.rate * rate_share(self.plan, self.seen)
        figures: dict[str, float] = {}
        for turn in self.recipe.turns(self.step):
            figures |= self.take(turn, batches, samples)
        self.seen += self.plan.batch
        self.step += 1
        return figures

    def take(self, turn: Turn, batches: list[Batch], samples: Batch) -> dict[str, float]:
        """One turn on the micro-batches that `samples` became.

        No weight is moved by a loss or a gradient that is no number.
        """
        for name, network in self.networks.items():
            network.requires_grad_(name in turn.networks)
        moving = [self.networks[name] for name in turn.networks]
        for name in turn.networks:
            self.optimisers[name].zero_grad(set_to_none=True)
        sums: dict[str, Any] = {}
        for batch in batches:
            with self.group.autocast():
                loss, terms = turn.loss(batch)
            # Before backward: grid_sample's crashes on a flow that is no number
            if self.group.any(not torch.isfinite(loss.detach())):
                self._stop(
                    samples, "loss", [name for name, value in terms.items() if not math.isfinite(value)]
                )
            (loss / len(batches)).backward()
            for name, value in {f"loss_{'_'.join(turn.networks)}": loss.detach(), **terms}.items():
                sums[name] = sums.get(name, 0.0) + value / len(batches)
        figures = self.group.mean(sums)
        self.group.average_gradients(moving)
        norms = {
            name: torch.nn.utils.clip_grad_norm_(network.parameters(), self.recipe.clip or float("inf"))
            for name, network in zip(turn.networks, moving, strict=True)
        }
        if not all(torch.isfinite(norm) for norm in norms.values()):
            self._stop(
                samples, "gradient", [name for name, norm in norms.items() if not torch.isfinite(norm)]
            )
        for name in turn.networks:
            self.optimisers[name].step()
            if name in self.averages:
                self._average(name)
        return figures

    @torch.no_grad()
    def _average(self, name: str) -> None:
        optimiser, weights = self.optimisers[name], list(self.networks[name].parameters())
        # This network's own steps, not the run's
        moved = max((float(slot["step"]) for slot in optimiser.state.values()), default=0.0)
        # A short average at first, so that grids show the network, not its beginning
        kept = min(self.plan.average, moved / (moved + 10))
        for slow, fast in zip(self.averages[name].parameters(), weights, strict=True):
            slow.lerp_(fast, 1 - kept)

    def _stop(self, samples: Batch, what: str, where: list[str]) -> None:
        """Saves the batch, and no checkpoint: the same weights would meet the same batch again."""
        path = self.out / f"bad_batch{self.group.rank or ''}.npz"
        arrays: dict[str, Any] = {name: value.cpu().numpy() for name, value in samples.items()}
        np.savez(path, **arrays)
        raise DataError(
            f"The {what} is no longer a number after {self.seen} images "
            f"({', '.join(where) or 'on another process'}); the batch is in {path}. "
            "Start again from the last checkpoint with a lower --rate."
        )

    def agree(self, over: bool) -> bool:
        """Whether any process wants to stop; also sets every process' guard to that of the main process."""
        if self.group.processes == 1:
            return over
        mine = self.guard.factor if self.guard and self.group.main else 0.0
        shared = self.group.mean({"over": float(over), "guard": mine})
        if self.guard:
            self.guard.factor = shared["guard"] * self.group.processes
        return shared["over"] > 0

    def held_out_batch(self, corpus: Corpus) -> Batch | None:
        """Samples of held-out people, the same ones every time; None when the corpus holds no one out."""
        if not corpus.held_out.any():
            return None
        data = self.recipe.dataset(corpus, HELD_OUT_SEED, held_out=True)
        samples = [data[i] for i in range(HELD_OUT_SAMPLES)]
        return {
            name: torch.from_numpy(np.stack([sample[name] for sample in samples])).to(self.group.device)
            for name in samples[0]
        }

    @torch.no_grad()
    def held_out_figures(self, samples: Batch | None) -> dict[str, float]:
        """The recipe's figures on held-out samples, named "held_out_..."; none without samples."""
        if samples is None:
            return {}
        rows = []
        for i in range(0, HELD_OUT_SAMPLES, HELD_OUT_BATCH):
            part = self.recipe.batch({name: value[i : i + HELD_OUT_BATCH] for name, value in samples.items()})
            rows.append(self.recipe.watch({**self.networks, **self.averages}, part))
        return {f"held_out_{name}": float(np.mean([row[name] for row in rows])) for name in rows[0]}


def fit(
    recipe: Recipe,
    corpus: Corpus,
    out: Path,
    plan: Schedule,
    quiet: bool = False,
    until: int | None = None,
    start_from: Path | None = None,
) -> int:
    """Trains until plan.images are seen, plan.max_s is over, or Ctrl-C; resumes from out/checkpoint, if any.

    Statistics go to out/stats.jsonl and out/tensorboard.

    Args:
        recipe: what is trained.
        corpus: training people and those held out.
        out: folder of the run.
        plan: how long and how fast.
        quiet: no progress bar.
        until: images after which this call ends, if before plan.images.
        start_from: another run, whose averaged weights a new run starts with.

    Returns:
        The images seen in all.

    Raises:
        DataError: the run cannot be resumed or started, or its loss is no longer a number.
    """
    run = TrainingRun(recipe, out, plan, start_from, corpus.estimator)
    group = run.group
    last = min(plan.images, until or plan.images)
    numbers = BatchNumbers(run.seen, last, plan.batch, group.rank, group.processes)
    data = recipe.dataset(corpus, plan.seed)
    if plan.resident:
        if not isinstance(data, FaceSamples):
            raise DataError(
                f"--resident is for the recipe ganimation: {recipe.name} draws its samples from disk."
            )
        data = run.resident = ResidentFaces(data, group.device)
    # OpenCV's threads, if it has any by now, do not survive the fork of a loader: one that lets go of them
    # waits for ever
    cv2.setNumThreads(1)
    loader = DataLoader(
        data,
        batch_sampler=numbers,
        num_workers=plan.workers,
        prefetch_factor=4 if plan.workers else None,
        worker_init_fn=ignore_ctrl_c,
        pin_memory=group.device.type == "cuda",
    )
    log = RunLog(out, run.seen, plan.images, quiet) if group.main else None
    monitor = _RunMonitor(run, corpus, log) if log else None
    started_s = saved_s = time.monotonic()
    try:
        with StopOnSignal() as stop:
            for samples in _without_worker_traceback(loader):
                figures = run.advance(samples)
                over = stop.requested or time.monotonic() - started_s > plan.max_s
                if monitor:
                    monitor.after_step(figures)
                    if time.monotonic() - saved_s > plan.save_every_s:
                        run.save()
                        saved_s = time.monotonic()
                if run.agree(over):
                    break
        if monitor and numbers:
            run.save()
            monitor.at_end()
        group.wait()
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"torch.compile does not manage this network on {group.device} ({reason}): leave out --compile."
        ) from error
    finally:
        if log:
            log.close()
        group.close()
    return run.seen


class _RunMonitor:
    """Logs a run from the main process: statistics, held-out figures, grids; and lets the guard adjust it."""

    def __init__(self, run: TrainingRun, corpus: Corpus, log: RunLog):
        self._run = run
        self._corpus = corpus
        self._log = log
        for note in run.group.notes:
            log.message(note)
        self._held_out = run.held_out_batch(corpus)
        self._recent: deque[dict[str, float]] = deque(maxlen=run.plan.stats_every)

    def after_step(self, figures: dict[str, float]) -> None:
        """Logs the figures of a step.

        What changes the run depends on its count of images only, so that a resumed run is changed at the same
        places.
        """
        run, plan = self._run, self._run.plan
        self._recent.append(figures)
        self._log.advance(plan.batch)
        if run.step % plan.stats_every == 0:
            names = sorted({name for line in self._recent for name in line})
            means = {
                name: float(np.mean([line[name] for line in self._recent if name in line])) for name in names
            }
            self._log.line(run.seen, means)
        if run.seen % plan.report_every < plan.batch:
            held_out = self._report()
            if run.guard and held_out:
                adjustment = run.guard.adjust(held_out["held_out_attention"], run.step)
                if adjustment:
                    self._log.message(f"attention guard after {run.seen} images: {adjustment}")
        if plan.grid_every and run.seen % plan.grid_every < plan.batch:
            self._draw()

    def at_end(self) -> None:
        """Logs held-out figures and a grid once more."""
        self._report()
        if self._run.plan.grid_every:
            self._draw()

    def _report(self) -> dict[str, float]:
        run, held_out = self._run, self._run.held_out_figures(self._held_out)
        guard = {"attention_weight": run.guard.factor} if run.guard else {}
        self._log.line(run.seen, {**held_out, **guard, "rate": run.rate * rate_share(run.plan, run.seen)})
        return held_out

    def _draw(self) -> None:
        grid = self._run.recipe.picture({**self._run.networks, **self._run.averages}, self._corpus)
        if grid is not None:
            self._log.picture(self._run.seen, grid)


def _without_worker_traceback(loader: Iterable[Batch]) -> Iterator[Batch]:
    """The loader's batches. Raises DataError: one of its processes' own, or for a process that died."""
    try:
        yield from loader
    except DataError as error:
        raise DataError(
            str(error)
            .strip()
            .splitlines()[-1]
            .removeprefix(f"{DataError.__module__}.{DataError.__qualname__}: ")
        ) from None
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise DataError(
            "A process that loads pictures died, for want of memory perhaps: start the same fit again, which "
            "goes on from its last checkpoint, with fewer --workers."
        ) from error
