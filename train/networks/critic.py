"""Critics: a picture -> how real each patch looks, and the AUs seen in it.

One class; the paper's numbers and a small form.

GANimation (ECCV 2018), sect. 4.1: a PatchGAN with an auxiliary regression head. It has no part in losses, and
is given nothing of where a picture comes from. No normalisation: a penalty on each picture's gradient allows
none across a batch.
"""

import itertools
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm, spectral_norm

from engines.errors import DataError

SLOPE = 0.01  # of LeakyReLU below 0, as in the paper's and StarGAN's code


@dataclass(frozen=True)
class CriticShape:
    """What fixes a critic's weights.

    The defaults are the paper's: 44,860,352 parameters at 128 px and 17 AUs.
    """

    size_px: int = 128
    aus: int = 17  # outputs of the regression head; 0 leaves the head away
    inputs: int = 3  # channels: a picture's, and those of a condition tiled beside it
    width: int = 64  # channels after the first conv; they double with each one, up to `widest`
    widest: int = 2048
    layers: int = 6  # 4x4 convs of stride 2
    # The picture's pixels are first folded into channels by this: dense at low resolution is fast on CPUs
    unshuffle: int = 1
    # Spectral normalisation of every conv (Miyato et al., ICLR 2018) instead of a gradient penalty
    spectral: bool = False
    slope: float = SLOPE

    def as_dict(self) -> dict:
        return {"model": "critic", **asdict(self)}

    @property
    def map_px(self) -> int:
        """Side of the map of patches."""
        return self.size_px // self.unshuffle // 2**self.layers


def compact_critic(size_px: int = 128, spectral: bool = False, aus: int = 17) -> CriticShape:
    """A critic for CPUs: 7,000,000 parameters at 128 px.

    Chosen on two cores in bf16: a step with gradient penalty on the compact generator runs at 63-69 samples a
    second, the paper's at half width at 25-32; one layer less runs at 90-106 and reads AUs worse (MSE .0234
    to .0219 after 1200 steps). The first conv sees 2x2 pixels folded into channels: the paper's first, on
    three channels, is what a CPU is slowest at.
    """
    return CriticShape(size_px=size_px, aus=aus, widest=512, layers=5, unshuffle=2, spectral=spectral)


class Critic(nn.Module):
    """A critic of patches, with a regression head.

    forward(picture (B, 3, S, S) in -1..1) -> patches (B, 1, h, h), higher is more real, unbounded; aus (B,
    N).
    """

    def __init__(self, shape: CriticShape = CriticShape()):
        super().__init__()
        if shape.map_px < 1:
            raise DataError(
                f"A critic of {shape.layers} layers needs crops of {shape.unshuffle * 2**shape.layers} px or "
                f"more, not {shape.size_px}: prepare them larger."
            )
        self.shape = shape
        constrained = spectral_norm if shape.spectral else lambda conv: conv
        widths = [shape.inputs * shape.unshuffle**2] + [
            min(shape.width * 2**i, shape.widest) for i in range(shape.layers)
        ]
        self.convs = nn.ModuleList(
            constrained(nn.Conv2d(n, m, 4, stride=2, padding=1)) for n, m in itertools.pairwise(widths)
        )
        self.patches = constrained(nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False))
        self.aus = (
            constrained(nn.Conv2d(widths[-1], shape.aus, shape.map_px, bias=False)) if shape.aus else None
        )

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        return self.judge(self.features(picture)[-1])

    def judge(self, coarsest: Tensor) -> tuple[Tensor, Tensor]:
        """The last of `features` -> what `forward` returns."""
        aus = self.aus(coarsest).flatten(1) if self.aus else coarsest.new_zeros(len(coarsest), 0)
        return self.patches(coarsest).float(), aus.float()

    def features(self, picture: Tensor) -> list[Tensor]:
        """What each conv sees, (B, C, h, h) from fine to coarse."""
        for norm in self.modules():
            # Its power iteration is state: looking on, without gradients, must not move a run
            if isinstance(norm, _SpectralNorm):
                norm.train(self.training and torch.is_grad_enabled())
        x, seen = F.pixel_unshuffle(picture, self.shape.unshuffle), []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), self.shape.slope)
            seen.append(x)
        return seen
