"""The supervised stage: pseudo-pairs with dense flow teach the generator what to move and what to paint.

Made the default engine.

Every term is a mean over pixels, so batch size and resolution do not change a weight's meaning.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.face.action_units import WIDE
from train.attention_guard import AttentionGuard
from train.data.corpus import Corpus
from train.networks.compact import CompactGenerator, Shape, compose
from train.networks.from_shape import generator_of
from train.networks.vocabulary import translation
from train.recipes.recipe import Batch, Networks, Turn, detached, pictures
from train.report.grids import grid
from train.synthesis.pairs import PairSource

COLOUR_EVERYWHERE, COLOUR_PAINTED = 0.1, 12.0


@dataclass(frozen=True)
class SupervisedWeights:
    picture: float = 4.0  # L1 of the result in 0..1, weighted by region
    edges: float = 3.0  # L1 of its horizontal and vertical differences: L1 alone is content with a blur
    flow: float = 0.06  # L1 of the flow per pixel of a 256 px crop
    # L1 of C by itself: seen only through 1 - A, C stays poor and A closes over it (LOG, run 1)
    colour: float = 2.0
    detail: float = 6.0  # L1 of the differences of C by itself where it is seen: teeth and lashes are edges
    inside: float = 1.0  # cross-entropy of being inside a painted mouth
    # L1 of where in the teeth a painted mouth's pixels lie, outer eye distances: 0.3 a pixel of a 256 px crop
    teeth: float = 30.0
    open: float = 0.5  # -log(1 - A) where the target shows what no warp can draw
    # mean(1 - A): what the flow can do, colour must not; colour is only as sharp as the crop
    changed: float = 0.02


class Supervised:
    """A Recipe on train.synthesis.pairs."""

    name = "supervised"
    averaged = ("generator",)
    betas = (0.9, 0.99)
    rate = 6e-4
    clip = 1.0

    def __init__(self, shape: Shape = Shape()):
        self.networks = {"generator": CompactGenerator(shape)}
        self.shape: dict[str, Any] = {"generator": shape.as_dict()}
        self.guard = AttentionGuard()
        self._translation = translation(WIDE, shape.au_names)
        self._lays_teeth = shape.teeth

    def dataset(self, corpus: Corpus, seed: int, held_out: bool = False) -> PairSource:
        return PairSource(corpus, seed, held_out=held_out)

    def batch(self, samples: Batch) -> Batch:
        return {
            "picture": pictures(samples["picture"]),
            "target": pictures(samples["target"]),
            "change": samples["change"] @ self._translation.to(samples["change"].device),
            "flow": samples["flow"].permute(0, 3, 1, 2),
            "flow_weight": samples["flow_weight"][:, None],
            "weight": samples["weight"][:, None],
            "painted": samples["painted"][:, None],
            "mouth": samples["mouth"][:, None],
            "teeth": samples["teeth"].permute(0, 3, 1, 2),
        }

    def turns(self, _step: int) -> list[Turn]:
        return [Turn(("generator",), lambda batch: self._loss(self.networks, batch))]

    def _loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        weights = SupervisedWeights(changed=SupervisedWeights.changed * self.guard.factor)
        generator = networks["generator"]
        if not self._lays_teeth:
            colour, attention, flow = generator(batch["picture"], batch["change"])
            return supervised_loss(colour, attention, flow, batch, weights)
        colour, attention, flow, inside, where = generator(batch["picture"], batch["change"], with_mouth=True)
        return supervised_loss(colour, attention, flow, batch, weights, (inside, where))

    def watch(self, networks: Networks, batch: Batch) -> dict[str, float]:
        loss, terms = self._loss(networks, batch)
        return {
            "loss": float(loss),
            **{name: float(value) for name, value in terms.items()},
            "attention": 1 - float(terms["changed"]),
        }

    def picture(self, networks: Networks, corpus: Corpus) -> np.ndarray:
        return grid(generator_of(networks), corpus)


def supervised_loss(
    colour: Tensor,
    attention: Tensor,
    flow: Tensor | None,
    batch: Batch,
    weights: SupervisedWeights = SupervisedWeights(),
    mouth: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs of a generator for batch["picture"] -> the total and its terms (unweighted, detached).

    batch: picture, target (B, 3, S, S) in 0..1; flow (B, 2, S/2, S/2) px; flow_weight (B, 1, S/2, S/2);
    weight, painted (B, 1, S, S). mouth: what a generator that lays teeth predicts of mouths (compact.py); the
    batch's own: mouth (B, 1, S, S), teeth (B, 2, S/2, S/2).
    """
    size = colour.shape[-1]
    result = compose(batch["picture"], colour, attention, flow)
    terms = {
        "picture": weighted_mean((result - batch["target"]).abs(), batch["weight"]),
        "edges": edge_difference(result, batch["target"], batch["weight"]),
        "colour": weighted_mean(
            (colour - batch["target"]).abs(),
            COLOUR_EVERYWHERE * batch["weight"] + COLOUR_PAINTED * batch["painted"],
        ),
        "detail": edge_difference(colour, batch["target"], COLOUR_PAINTED * batch["painted"]),
        "open": weighted_mean(-torch.log(1 - attention + 1e-3), batch["painted"]),
        "changed": (1 - attention).mean(),
    }
    if flow is not None:
        terms["flow"] = weighted_mean((flow - batch["flow"]).abs(), batch["flow_weight"]) * (256 / size)
    if mouth is not None:
        inside, where = mouth
        terms["inside"] = -torch.log(torch.where(batch["mouth"] > 0.5, inside, 1 - inside) + 1e-3).mean()
        terms["teeth"] = weighted_mean((where - batch["teeth"]).abs(), F.avg_pool2d(batch["mouth"], 2))
    total = sum(getattr(weights, name) * value for name, value in terms.items())
    return total, detached(terms)


def weighted_mean(error: Tensor, weight: Tensor) -> Tensor:
    """Mean of (B, C, H, W) errors times (B, 1, H, W) weights.

    It is not divided by the weights, so that a painted mouth adds.
    """
    return (error * weight).mean()


def edge_difference(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Mean L1 between the differences of neighbouring pixels of two (B, C, H, W) pictures."""
    d = a - b
    across = weighted_mean((d[..., 1:] - d[..., :-1]).abs(), weight[..., 1:])
    down = weighted_mean((d[..., 1:, :] - d[..., :-1, :]).abs(), weight[..., 1:, :])
    return (across + down) / 2
