"""The paper's generator, to the parameter: photo and AUs -> colour mask and attention mask.

GANimation (Pumarola et al., ECCV 2018), sect. 4.1, on the encoder, residual blocks and decoder of Johnson et
al. (ECCV 2016) as StarGAN uses them: 8,471,296 parameters at 17 AUs. It moves nothing: its flow is
None.
"""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.networks.vocabulary import PAPER, HasVocabulary


@dataclass(frozen=True)
class PaperShape(HasVocabulary):
    """What fixes the paper generator's weights and what its AUs mean."""

    vocabulary: str = PAPER  # of its AU inputs
    size_px: int = 128  # any multiple of 4: the network is convolutional, this is what it was trained at
    width: int = 64  # channels at full size; twice that at 1/2, four times at 1/4
    blocks: int = 6
    # Intensities wanted, or their change from the photo's own
    conditioning: Literal["absolute", "relative"] = "absolute"

    def as_dict(self) -> dict:
        return {"model": "paper", **asdict(self)}


class Trunk(nn.Module):
    """(B, inputs, S, S) -> (B, width, S, S): conv 7x7, two halvings, residual blocks, two doublings.

    No bias: each conv is normalised.
    """

    def __init__(self, inputs: int, width: int, blocks: int):
        super().__init__()
        self.stem = _normalised(nn.Conv2d(inputs, width, 7, padding=3, bias=False), width)
        self.down = nn.ModuleList(
            _normalised(nn.Conv2d(n, 2 * n, 4, stride=2, padding=1, bias=False), 2 * n)
            for n in (width, 2 * width)
        )
        self.blocks = nn.ModuleList(ResidualBlock(4 * width) for _ in range(blocks))
        self.up = nn.ModuleList(
            _normalised(nn.ConvTranspose2d(n, n // 2, 4, stride=2, padding=1, bias=False), n // 2)
            for n in (4 * width, 2 * width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for halve in self.down:
            x = F.relu(halve(x))
        for block in self.blocks:
            x = block(x)
        for double in self.up:
            x = F.relu(double(x))
        return x


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), two 3x3, channels kept."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = _normalised(nn.Conv2d(channels, channels, 3, padding=1, bias=False), channels)
        self.second = _normalised(nn.Conv2d(channels, channels, 3, padding=1, bias=False), channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


class PaperGenerator(nn.Module):
    """The paper's generator.

    forward(photo (B, 3, S, S) in 0..1, aus (B, N)) -> colour (B, 3, S, S) 0..1, attention (B, 1, S, S), None.

    With "relative" conditioning the AUs are the wanted change; that no change keeps the photo is then learnt,
    not built in.
    """

    def __init__(self, shape: PaperShape = PaperShape()):
        super().__init__()
        self.shape = shape
        self.trunk = Trunk(3 + shape.au_count, shape.width, shape.blocks)
        self.colour = nn.Conv2d(shape.width, 3, 7, padding=3, bias=False)
        self.attention = nn.Conv2d(shape.width, 1, 7, padding=3, bias=False)

    def forward(self, photo: Tensor, aus: Tensor) -> tuple[Tensor, Tensor, None]:
        x = self.trunk(torch.cat([photo * 2 - 1, tiled(aus, photo)], dim=1))
        colour, attention = self.colour(x).float(), self.attention(x).float()
        return (torch.tanh(colour) + 1) / 2, torch.sigmoid(attention), None


def tiled(condition: Tensor, picture: Tensor) -> Tensor:
    """(B, N) repeated over the pixels of (B, C, H, W): (B, N, H, W)."""
    return condition.to(picture.dtype)[:, :, None, None].expand(-1, -1, *picture.shape[2:])


class InstanceNorm(nn.GroupNorm):
    """Affine instance norm (B, C, H, W), as GroupNorm with a channel a group.

    PyTorch's kernels want whole planes: on a CPU, with channels last, the generator's forward and backward
    pass takes 60 ms a sample and core this way, 74 with nn.InstanceNorm2d, and 116 with GroupNorm left to
    channels last (width 32, 128 px, bf16).
    """

    def __init__(self, channels: int):
        super().__init__(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x.contiguous())
        return (
            out.contiguous(memory_format=torch.channels_last)
            if x.is_contiguous(memory_format=torch.channels_last)
            else out
        )


def _normalised(conv: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, InstanceNorm(channels))
