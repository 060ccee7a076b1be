"""The networks of the baselines: translators, their critics, and IcGAN's generator and encoder.

All work in -1..1. The translators share GANimation's trunk, so that figure 6 compares methods and not sizes;
where a paper had another one, its recipe states it. No batch statistics anywhere: averages of weights would
not follow them.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.networks.critic import SLOPE, CriticShape
from train.networks.paper import Trunk, tiled


class Translator(nn.Module):
    """Translates a picture into a picture of the same face with another emotion.

    forward(picture (B, 3, S, S), label (B, K) or None where K is 0) -> picture (B, 3, S, S), both in -1..1.
    S: a multiple of 4.
    """

    def __init__(self, width: int, labels: int = 0, blocks: int = 6):
        super().__init__()
        self.trunk = Trunk(3 + labels, width, blocks)
        self.colour = nn.Conv2d(width, 3, 7, padding=3, bias=False)

    def forward(self, picture: Tensor, label: Tensor | None = None) -> Tensor:
        inputs = picture if label is None else torch.cat([picture, tiled(label, picture)], dim=1)
        return torch.tanh(self.colour(self.trunk(inputs)).float())


class Painter(nn.Module):
    """IcGAN's generator, after DCGAN: forward(z (B, Z), label (B, K)) -> picture (B, 3, S, S) in -1..1.

    S: a power of two, 8 or more.
    """

    def __init__(self, size_px: int, width: int, noise: int, labels: int):
        super().__init__()
        widths = _widths(size_px, width)[::-1]  # at 4 px, 8, ..., S / 2
        self.start = nn.Linear(noise + labels, widths[0] * 16)
        self.norms = nn.ModuleList(nn.GroupNorm(1, n) for n in widths)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(n, m, 4, stride=2, padding=1) for n, m in itertools.pairwise([*widths, 3])
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        x = self.start(torch.cat([z, label.to(z.dtype)], dim=1)).unflatten(1, (-1, 4, 4))
        for norm, up in zip(self.norms, self.ups, strict=True):
            x = up(F.relu(norm(x)))
        return torch.tanh(x.float())


class Encoder(nn.Module):
    """The Painter's mirror image: forward(picture (B, 3, S, S) in -1..1) -> (B, outputs)."""

    def __init__(self, size_px: int, width: int, outputs: int):
        super().__init__()
        widths = _widths(size_px, width)  # at S / 2, ..., 8 px, 4
        self.downs = nn.ModuleList(
            nn.Conv2d(n, m, 4, stride=2, padding=1) for n, m in itertools.pairwise([3, *widths])
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, n) for n in widths)
        self.end = nn.Linear(widths[-1] * 16, outputs)

    def forward(self, picture: Tensor) -> Tensor:
        x = picture
        for down, norm in zip(self.downs, self.norms, strict=True):
            x = F.leaky_relu(norm(down(x)), SLOPE)
        return self.end(x.flatten(1)).float()


def _widths(size_px: int, width: int) -> list[int]:
    """Channels at S / 2, S / 4, ..., 4 px: doubling from `width`, up to 16 times it."""
    return [width * min(2**i, 16) for i in range(round(math.log2(size_px)) - 2)]


def class_critic(
    size_px: int, width: int, classes: int = 0, inputs: int = 3, spectral: bool = False
) -> CriticShape:
    """A critic of whole faces, with a head for classes if any; at width 32 and 128 px the compact critic."""
    # Down to a map of 2x2 patches, or coarser than 64 px each
    layers = max(1, min(5, round(math.log2(size_px)) - 2))
    return CriticShape(
        size_px, classes, inputs, 2 * width, 16 * width, layers, unshuffle=2, spectral=spectral
    )


def patch_critic(size_px: int, width: int) -> CriticShape:
    """A critic of patches that see 76x76 px, as near to CycleGAN's 70x70 as convs on folded pixels come."""
    return CriticShape(size_px, 0, 3, 2 * width, 16 * width, layers=3, unshuffle=2)
