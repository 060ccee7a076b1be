"""The supervised stage's loss. Every term is a mean over pixels, so batch size and resolution do not change a weight's meaning."""

from dataclasses import dataclass

import torch
from torch import Tensor

from train.networks.compact import compose

COLOUR_EVERYWHERE, COLOUR_PAINTED = 0.1, 4.0


@dataclass(frozen=True)
class Weights:
    picture: float = 4.0  # L1 of the result in 0..1, weighted by region
    edges: float = 3.0  # L1 of its horizontal and vertical differences: L1 alone is content with a blur
    flow: float = 0.06  # L1 of the flow per pixel of a 256 px crop
    colour: float = 2.0  # L1 of C by itself: seen only through 1 - A, C stays poor and A closes over it (LOG, run 1)
    open: float = 0.5  # -log(1 - A) where the target shows what no warp can draw
    changed: float = 0.02  # mean(1 - A): what the flow can do, colour must not; colour is only as sharp as the crop


def supervised_loss(
    colour: Tensor, attention: Tensor, flow: Tensor, batch: dict[str, Tensor], weights: Weights = Weights()
) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs of a generator for batch["picture"] -> the total and its terms (unweighted, detached).

    batch: picture, target (B, 3, S, S) in 0..1; flow (B, 2, S/2, S/2) px; flow_weight (B, 1, S/2, S/2); weight, painted (B, 1, S, S).
    """
    size = colour.shape[-1]
    result = compose(batch["picture"], colour, attention, flow)
    terms = {
        "picture": weighted_mean((result - batch["target"]).abs(), batch["weight"]),
        "edges": edge_difference(result, batch["target"], batch["weight"]),
        "flow": weighted_mean((flow - batch["flow"]).abs(), batch["flow_weight"]) * (256 / size),
        "colour": weighted_mean((colour - batch["target"]).abs(), COLOUR_EVERYWHERE * batch["weight"] + COLOUR_PAINTED * batch["painted"]),
        "open": weighted_mean(-torch.log(1 - attention + 1e-3), batch["painted"]),
        "changed": (1 - attention).mean(),
    }
    total = sum(getattr(weights, name) * value for name, value in terms.items())
    return total, {name: value.detach() for name, value in terms.items()}


def weighted_mean(error: Tensor, weight: Tensor) -> Tensor:
    """Mean of (B, C, H, W) errors times (B, 1, H, W) weights; not divided by the weights, so that a painted mouth adds."""
    return (error * weight).mean()


def edge_difference(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Mean L1 between the differences of neighbouring pixels of two (B, C, H, W) pictures."""
    d = a - b
    across = weighted_mean((d[..., 1:] - d[..., :-1]).abs(), weight[..., 1:])
    down = weighted_mean((d[..., 1:, :] - d[..., :-1, :]).abs(), weight[..., 1:, :])
    return (across + down) / 2


def to_batch(samples: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the pair loader yields (uint8, channels last) -> float tensors, channels first, 0..1."""

    def picture(x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2).to(torch.float32).div_(255).contiguous(memory_format=torch.channels_last)

    return {
        "picture": picture(samples["picture"]),
        "target": picture(samples["target"]),
        "change": samples["change"],
        "flow": samples["flow"].permute(0, 3, 1, 2),
        "flow_weight": samples["flow_weight"][:, None],
        "weight": samples["weight"][:, None],
        "painted": samples["painted"][:, None],
    }
