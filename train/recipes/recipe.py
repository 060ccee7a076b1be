"""The interface of the training loop: a Recipe has networks, data and losses; the loop has everything else.

The loop (train/trainer.py) knows optimisers, devices, precision, averages, checkpoints and clocks, and no
loss. A recipe knows its losses and none of those. So GANimation, the supervised stage, distillation and the
baselines are a file each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from train.data.corpus import Corpus

Batch = dict[str, Tensor]
Networks = Mapping[str, nn.Module]
Loss = Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class Turn:
    """One optimiser step: the networks that it moves, and what it lowers.

    loss: batch -> the total, a mean over the batch, and its unweighted terms (detached scalars) for the
    record. It is called once a micro-batch; it may use any network of the recipe, and only those in
    `networks` get gradients.
    """

    networks: tuple[str, ...]
    loss: Loss


class Recipe(Protocol):
    """What is trained. One that weighs an attention mask has a `guard` (train/attention_guard.py), too."""

    @property
    def name(self) -> str: ...

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Every network with weights to learn, by the name of its file in a checkpoint."""
        ...

    @property
    def averaged(self) -> tuple[str, ...]:
        """Networks whose moving average is kept; it is what is monitored, exported and compared."""
        ...

    @property
    def rate(self) -> float:
        """The learning rate of Adam, where the schedule names none."""
        ...

    @property
    def betas(self) -> tuple[float, float]:
        """Of Adam."""
        ...

    @property
    def clip(self) -> float | None:
        """The largest norm of a network's gradient."""
        ...

    @property
    def shape(self) -> dict[str, Any]:
        """JSON: all that fixes weights and their meaning; a checkpoint with another is refused.

        "generator" is what is exported.
        """
        ...

    def dataset(self, corpus: Corpus, seed: int, held_out: bool = False) -> Dataset:
        """number -> dict of arrays.

        A pure function of (seed, number): whatever is drawn at random is drawn here, so that a resumed run,
        or one on more machines, sees exactly the same samples.
        """
        ...

    def batch(self, samples: Batch) -> Batch:
        """Stacked samples on the device (uint8, channels last) -> float tensors, channels first."""
        ...

    def turns(self, step: int) -> list[Turn]:
        """What is done with batch number `step`, in order."""
        ...

    def watch(self, networks: Networks, batch: Batch) -> dict[str, float]:
        """Figures of (averaged) networks on a held-out batch; "attention" is the batch's mean(A)."""
        ...

    def picture(self, networks: Networks, corpus: Corpus) -> np.ndarray | None:
        """A grid to look at, (H, W, 3) uint8 BGR."""
        ...


class EmotionRecipe(Recipe, Protocol):
    """A baseline's recipe: it shows a face with another emotion."""

    @property
    def emotions(self) -> tuple[str, ...]: ...

    def translate(self, networks: Networks, pictures: Tensor, emotion: str) -> Tensor | None:
        """(B, 3, S, S) in 0..1 -> the same faces with an emotion, 0..1; None for one not trained for."""
        ...


def signed(picture: Tensor) -> Tensor:
    """0..1 -> -1..1, the range in which the papers state their losses."""
    return picture * 2 - 1


def pictures(samples: Tensor) -> Tensor:
    """(B, S, S, 3) uint8 BGR -> (B, 3, S, S) float32 in 0..1, channels-last in memory."""
    return (
        samples.permute(0, 3, 1, 2).to(torch.float32).div_(255).contiguous(memory_format=torch.channels_last)
    )


def detached(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Terms for the record."""
    return {name: value.detach() for name, value in terms.items()}


def critic_ahead(step: int, critic_steps: int, critic: Loss, generator: Loss) -> list[Turn]:
    """The turns of a critic that is trained `critic_steps` times for each time of the generator."""
    turns = [Turn(("critic",), critic)]
    return [*turns, Turn(("generator",), generator)] if step % critic_steps == critic_steps - 1 else turns
