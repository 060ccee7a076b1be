"""A table of every network: parameters, work and size. It counts; it measures no time.

MAC: multiply-accumulates of convolutions and matrix products for one picture, as PyTorch's own counter sees
them (its figure is FLOP, two for each); activations, normalisation and warps are not in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from train.networks.compact import CompactGenerator, Shape
from train.networks.critic import Critic, CriticShape, compact_critic
from train.networks.discrete import Encoder, Painter, Translator, class_critic, patch_critic
from train.networks.paper import PaperGenerator, PaperShape

NOISE = 100  # IcGAN's


@dataclass(frozen=True)
class Entry:
    """A line of the table: the network and what one picture's forward pass takes."""

    name: str
    size_px: int
    build: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Tensor, ...]]


def _paper(name: str, shape: PaperShape) -> Entry:
    return Entry(name, shape.size_px, lambda: PaperGenerator(shape), lambda: _generator_inputs(shape))


def _compact(name: str, shape: Shape) -> Entry:
    return Entry(name, shape.size_px, lambda: CompactGenerator(shape), lambda: _generator_inputs(shape))


def _generator_inputs(shape: Shape | PaperShape) -> tuple[Tensor, Tensor]:
    return torch.zeros(1, 3, shape.size_px, shape.size_px), torch.zeros(1, shape.au_count)


def _critic(name: str, shape: CriticShape) -> Entry:
    return Entry(
        name,
        shape.size_px,
        lambda: Critic(shape),
        lambda: (torch.zeros(1, shape.inputs, shape.size_px, shape.size_px),),
    )


def _baselines(size_px: int = 128, width: int = 32, emotions: int = 5) -> list[Entry]:
    """The networks of figure 6's baselines, as `fit` makes them by default."""

    def translator(name: str, labels: int) -> Entry:
        inputs = (3, size_px, size_px)
        return Entry(
            name,
            size_px,
            lambda: Translator(width, labels),
            lambda: (
                (torch.zeros(1, *inputs), torch.zeros(1, labels)) if labels else (torch.zeros(1, *inputs),)
            ),
        )

    return [
        translator("stargan generator", emotions),
        _critic("stargan critic", class_critic(size_px, width, classes=emotions)),
        translator("cyclegan translator, one of two", 0),
        _critic("cyclegan critic, one of two", patch_critic(size_px, width)),
        translator("diat generator", 0),
        _critic("diat critic", class_critic(size_px, width)),
        Entry(
            "icgan generator",
            size_px,
            lambda: Painter(size_px, width, NOISE, emotions),
            lambda: (torch.zeros(1, NOISE), torch.zeros(1, emotions)),
        ),
        _critic("icgan critic", class_critic(size_px, width, inputs=3 + emotions)),
        Entry(
            "icgan encoder",
            size_px,
            lambda: Encoder(size_px, width, NOISE),
            lambda: (torch.zeros(1, 3, size_px, size_px),),
        ),
    ]


def entries() -> list[Entry]:
    """Every network that `python -m train` can train, at the sizes that matter."""
    shipped = Shape(quarter=32, eighth=96, sixteenth=192)  # channels of the engine that ships
    return [
        _paper("paper generator", PaperShape()),
        _critic("paper critic", CriticShape()),
        _compact("compact generator", shipped),
        _compact("compact generator", replace(shipped, size_px=128)),
        _compact("compact generator without flow", replace(shipped, size_px=128, flow=False)),
        _critic("compact critic", compact_critic()),
        *_baselines(),
    ]


@dataclass(frozen=True)
class Cost:
    """What a network weighs: trained numbers, and multiply-accumulates for one picture."""

    parameters: int
    macs: int


def cost(network: nn.Module, inputs: tuple[Tensor, ...]) -> Cost:
    """Counts parameters, and the MACs of network(*inputs) on a batch of one."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(*inputs)
    return Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)


def listing() -> str:
    """The table, as Markdown."""
    lines = ["| network | px | parameters | GMAC | MB fp32 | MB fp16 |", "|---|--:|--:|--:|--:|--:|"]
    for entry in entries():
        with torch.device("meta"):  # shapes without numbers: nothing is drawn and nothing computed
            it = cost(entry.build(), entry.inputs())
        sizes = f"{it.parameters * 4 / 1e6:.1f} | {it.parameters * 2 / 1e6:.1f}"
        lines.append(
            f"| {entry.name} | {entry.size_px} | {it.parameters:,} | {it.macs / 1e9:.2f} | {sizes} |"
        )
    return "\n".join(lines)
