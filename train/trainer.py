"""The training loop.

Progress is counted in images seen; nothing else is a clock. Knows no loss: those are a Recipe's.

A step: a batch in; for each turn of the recipe its loss, its gradients (averaged over processes), its
optimiser, its moving average. Every few minutes a checkpoint; every few thousand images held-out figures, the
attention guard's say, and a grid to look at.
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
    """One run of a recipe in a folder: made new, or taken up where its checkpoint stands."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        plan: Schedule,
        start_from: Path | None = None,
        estimator: str = VERSION,
    ):
        """start_from: another run, whose averaged networks this one begins with; estimator: that of the labels.

        Raises DataError when the folder's checkpoint is of another recipe, network, AU set or estimator, or
        cannot be started from.
        """
        self.estimator = estimator
        self.recipe, self.out, self.plan, self.place = recipe, out, plan, ProcessGroup(plan.bf16)
        if plan.batch % (self.place.processes * plan.accumulate):
            raise DataError(
                f"A batch of {plan.batch} does not divide into {self.place.processes} processes of "
                f"{plan.accumulate} micro-batches: choose another --batch."
            )
        make_folder(out, OutputError)
        self.networks = {
            name: net.to(self.place.device, memory_format=torch.channels_last)
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
                f"{out} already holds a run: leave out --start-from to go on with it, or choose another "
                "--out."
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
        if self.place.any(self.place.mean({"seen": mine})["seen"] != mine):
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
        state = {**self._identity(), "seen": self.seen, "step": self.step, "processes": self.place.processes}
        state |= {"guard": self.guard.factor if self.guard else None, "started_from": self.started_from}
        checkpoint.save(self.folder, self.networks, self.averages, self.optimisers, state)

    def advance(self, samples: Batch) -> dict[str, float]:
        """One batch: every turn of the recipe.

        Returns the terms. Raises DataError when a loss is no longer a number.
        """
        samples = {name: value.to(self.place.device, non_blocking=True) for name, value in samples.items()}
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
            with self.place.autocast():
                loss, terms = turn.loss(batch)
            # Before backward: grid_sample's crashes on a flow that is no number
            if self.place.any(not torch.isfinite(loss.detach())):
                self._stop(
                    samples, "loss", [name for name, value in terms.items() if not math.isfinite(value)]
                )
            (loss / len(batches)).backward()
            for name, value in {f"loss_{'_'.join(turn.networks)}": loss.detach(), **terms}.items():
                sums[name] = sums.get(name, 0.0) + value / len(batches)
        figures = self.place.mean(sums)
        self.place.average_gradients(moving)
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
        path = self.out / f"bad_batch{self.place.rank or ''}.npz"
        np.savez(path, **{name: value.cpu().numpy() for name, value in samples.items()})
        raise DataError(
            f"The {what} is no longer a number after {self.seen} images "
            f"({', '.join(where) or 'on another process'}); the batch is in {path}. "
            "Start again from the last checkpoint with a lower --rate."
        )

    def agree(self, over: bool) -> bool:
        """Whether any process wants to stop; besides, all take the main process' guard."""
        if self.place.processes == 1:
            return over
        mine = self.guard.factor if self.guard and self.place.main else 0.0
        said = self.place.mean({"over": float(over), "guard": mine})
        if self.guard:
            self.guard.factor = said["guard"] * self.place.processes
        return said["over"] > 0

    def held_out_batch(self, corpus: Corpus) -> Batch | None:
        """Samples of people that training does not see, the same ones every time; None when the corpus holds
        nobody out.
        """
        if not corpus.held_out.any():
            return None
        data = self.recipe.dataset(corpus, HELD_OUT_SEED, held_out=True)
        samples = [data[i] for i in range(HELD_OUT_SAMPLES)]
        return {
            name: torch.from_numpy(np.stack([sample[name] for sample in samples])).to(self.place.device)
            for name in samples[0]
        }

    @torch.no_grad()
    def held_out_figures(self, samples: Batch | None) -> dict[str, float]:
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
    """Trains until plan.images (or, in this call, `until`) are seen, plan.max_s is over, or Ctrl-C; goes on
    from out/checkpoint, or begins with the averaged weights of the run `start_from`.

    Returns the images seen in all. Statistics go to out/stats.jsonl and out/tensorboard. Raises DataError.
    """
    run = TrainingRun(recipe, out, plan, start_from, corpus.estimator)
    place, last = run.place, min(plan.images, until or plan.images)
    numbers = BatchNumbers(run.seen, last, plan.batch, place.rank, place.processes)
    data = recipe.dataset(corpus, plan.seed)
    if plan.resident:
        if not isinstance(data, FaceSamples):
            raise DataError(
                f"--resident is for the recipe ganimation: {recipe.name} draws its samples from disk."
            )
        data = run.resident = ResidentFaces(data, place.device)
    # OpenCV's threads, if it has any by now, do not survive the fork of a loader: one that lets go of them
    # waits for ever
    cv2.setNumThreads(1)
    loader = DataLoader(
        data,
        batch_sampler=numbers,
        num_workers=plan.workers,
        prefetch_factor=4 if plan.workers else None,
        worker_init_fn=ignore_ctrl_c,
        pin_memory=place.device.type == "cuda",
    )
    record = RunLog(out, run.seen, plan.images, quiet) if place.main else None
    watcher = _RunMonitor(run, corpus, record) if record else None
    started_s = saved_s = time.monotonic()
    try:
        with StopOnSignal() as stop:
            for samples in _without_worker_traceback(loader):
                figures = run.advance(samples)
                over = stop.requested or time.monotonic() - started_s > plan.max_s
                if watcher:
                    watcher.look(figures)
                    if time.monotonic() - saved_s > plan.save_every_s:
                        run.save()
                        saved_s = time.monotonic()
                if run.agree(over):
                    break
        if watcher and numbers:
            run.save()
            watcher.sum_up()
        place.wait()
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"torch.compile does not manage this network on {place.device} ({reason}): leave out --compile."
        ) from error
    finally:
        if record:
            record.close()
        place.close()
    return run.seen


class _RunMonitor:
    """Turns what the main process sees of a run into lines, held-out figures, pictures and the guard's acts."""

    def __init__(self, run: TrainingRun, corpus: Corpus, record: RunLog):
        self._run, self._corpus, self._record = run, corpus, record
        self._held_out = run.held_out_batch(corpus)
        self._recent: deque[dict[str, float]] = deque(maxlen=run.plan.stats_every)

    def look(self, figures: dict[str, float]) -> None:
        """After each step.

        What acts on the run depends on its count of images only, so that a resumed run acts alike.
        """
        run, plan = self._run, self._run.plan
        self._recent.append(figures)
        self._record.advance(plan.batch)
        if run.step % plan.stats_every == 0:
            names = sorted({name for line in self._recent for name in line})
            means = {
                name: float(np.mean([line[name] for line in self._recent if name in line])) for name in names
            }
            self._record.line(run.seen, means)
        if run.seen % plan.report_every < plan.batch:
            held_out = self._report()
            said = (
                run.guard.look(held_out["held_out_attention"], run.step) if run.guard and held_out else None
            )
            if said:
                self._record.say(f"attention guard after {run.seen} images: {said}")
        if plan.grid_every and run.seen % plan.grid_every < plan.batch:
            self._draw()

    def sum_up(self) -> None:
        self._report()
        if self._run.plan.grid_every:
            self._draw()

    def _report(self) -> dict[str, float]:
        run, held_out = self._run, self._run.held_out_figures(self._held_out)
        guard = {"attention_weight": run.guard.factor} if run.guard else {}
        self._record.line(run.seen, {**held_out, **guard, "rate": run.rate * rate_share(run.plan, run.seen)})
        return held_out

    def _draw(self) -> None:
        grid = self._run.recipe.picture({**self._run.networks, **self._run.averages}, self._corpus)
        if grid is not None:
            self._record.picture(self._run.seen, grid)


def _without_worker_traceback(loader: Iterable[Batch]) -> Iterator[Batch]:
    """The loader's batches; a DataError of one of its processes without the traceback that comes with it."""
    try:
        yield from loader
    except DataError as error:
        raise DataError(
            str(error)
            .strip()
            .splitlines()[-1]
            .removeprefix(f"{DataError.__module__}.{DataError.__qualname__}: ")
        ) from None
