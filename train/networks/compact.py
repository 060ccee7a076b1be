"""The compact generator: a photo's crop and a change of AUs -> colour, attention, flow.

A U-net of dense 3x3 convolutions at 1/4, 1/8 and 1/16 of the crop, reached by pixel-unshuffle (dense at low
resolution is what CPUs are fast at), modulated by the AUs (FiLM: Perez et al., AAAI 2018). No normalisation:
residual branches start at zero instead, so there are no statistics to fold or to go wrong in half precision.

    out = A * warp(photo, flow) + (1 - A) * C        (GANimation eq. 1, with the photo moved by the flow)

Three facts are built in, not learnt. A zero change is exactly the identity: flow and 1 - A are multiplied by
a gate that is 0 there. The crop's edge is exactly the photo: both are multiplied by a window that is 0 at the
border. And sides: crops are upright, so each half of the picture is conditioned on the AUs of its own side
(FiLM alone is the same everywhere; LOG, run 3). Teeth are a constant picture that is laid into mouths: the
network only predicts where.

Folds and the shadows of cheeks are shade: the moved photo is darkened or lightened by a smooth field, which
leaves its grain as it is. To an engine that is no more than faint dark red or white colour (`joined`), so the
equation above stays what it is.
"""

from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.blend import FAINT
from engines.errors import DataError
from train.networks.vocabulary import WIDE, HasVocabulary, shares, views, with_vocabulary
from train.teeth import EDGE_PX, PX_PER_UNIT, teeth

# The flow head's unit in pixels of a 256 px crop, so that its weights are of the others' size
FLOW_UNIT_PX = 16.0
# The unit of the head that predicts where in the teeth a pixel lies, outer eye distances, likewise
TEETH_UNIT = 0.15
LIGHTEST = 1.6  # the teeth's brightness at most, of the picture's own
# Sum of |change|, of two sides their mean, at which half of an edit is let through: far below any visible
# expression
GATE_HALF = 0.08
# Of the crop's side, over which the condition of the right half blends into that of the left half
MIDDLE_SHARE = 0.12
WINDOW_SHARE = 0.06  # of the crop's side, over which edits fade out at its border
SHADE_WIDTH = 16  # channels of the branch that draws it, at 1/2
MOST_SHADE = 0.4  # of the way to the colours below
# BGR. In the shadow skin keeps more of its red than of the rest: towards black it looks bruised
SHADOW, LIGHT = (0.0, 0.0, 0.18), (1.0, 1.0, 1.0)
UNSEEN_SHADE = 0.015  # two grey levels on skin: weaker shade is not drawn, and there the photo's pixels stay


@dataclass(frozen=True)
class Shape(HasVocabulary):
    """What fixes a compact generator's weights."""

    vocabulary: str = WIDE  # of its AU inputs, a name in engines.face.action_units.VOCABULARIES
    size_px: int = 256
    quarter: int = 48  # channels at 1/4
    eighth: int = 128  # channels at 1/8
    sixteenth: int = 192  # channels at 1/16
    blocks: tuple[int, int, int, int] = (2, 3, 2, 1)  # residual blocks: 1/8 down, 1/16, 1/8 up, 1/4 up
    head: int = 24  # channels at 1/2
    flow: bool = True  # without it nothing is moved: only colour can change the photo
    teeth: bool = False  # lays train.teeth into mouths instead of painting teeth from memory
    shade: bool = False  # darkens and lightens what the flow has moved; wants a flow

    def as_dict(self) -> dict:
        return {"model": "compact", "conditioning": "relative", **asdict(self)}

    @classmethod
    def from_dict(cls, written: dict) -> "Shape":
        """Back from JSON.

        Checkpoints older than some key lack it. Raises DataError for another network, meaning or key.
        """
        sizes = with_vocabulary({**written, "blocks": tuple(written.get("blocks", cls.blocks))})
        model, conditioning = sizes.pop("model", "compact"), sizes.pop("conditioning", "relative")
        unknown = sizes.keys() - {field.name for field in fields(cls)}
        if model != "compact" or conditioning != "relative" or unknown:
            raise DataError(
                f"These weights are of a {conditioning} {model} "
                f"network{f' with {sorted(unknown)}' if unknown else ''}, "
                "not of a relative compact one: train a new one, or use the version that wrote them."
            )
        return cls(**sizes)


class Block(nn.Module):
    """x + conv(relu(film(conv(relu(x))))), channels kept."""

    def __init__(self, channels: int, condition: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(condition, 2 * channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        _zero(self.second)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = across(self.film(condition), x.shape[-1]).chunk(2, dim=1)
        h = self.first(F.relu(x)) * (1 + scale) + shift
        return x + self.second(F.relu(h))


def _zero(conv: nn.Conv2d) -> None:
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def across(values: Tensor, width: int) -> Tensor:
    """Spreads the values of each half of the face over the columns, blended at the middle.

    Args:
        values: (B, V, C), V views.
        width: columns.

    Returns:
        (B, C, 1, width); (B, C, 1, 1) of a single view.
    """
    if values.shape[1] == 1:
        return values[:, 0, :, None, None]
    # The person's right is the picture's left
    place = (torch.arange(width, device=values.device, dtype=values.dtype) + 0.5) / width
    left = ((place - 0.5) / MIDDLE_SHARE + 0.5).clamp(0, 1)
    right_half, left_half = values[:, 0, :, None, None], values[:, 1, :, None, None]
    return right_half + (left_half - right_half) * left


Answer = tuple[Tensor, Tensor, Tensor | None]  # colour, attention, flow


class Drawn(NamedTuple):
    """What a compact generator draws, before it is joined to what an engine answers."""

    colour: Tensor  # (B, 3, S, S) 0..1
    attention: Tensor  # (B, 1, S, S) 0..1: 1 shows the moved photo
    flow: Tensor | None  # (B, 2, S/2, S/2) px of the crop
    inside: Tensor | None = None  # (B, 1, S, S) 0..1: how much of a pixel lies inside a mouth that is painted
    where: Tensor | None = None  # (B, 2, S/2, S/2): where in train.teeth it lies, outer eye distances
    # (B, 1, S, S) within +-MOST_SHADE: how far the moved photo goes to SHADOW, below 0, or to LIGHT
    shade: Tensor | None = None


class CompactGenerator(nn.Module):
    """The compact generator.

    forward(photo (B, 3, S, S) in 0..1, change (B, N)) -> colour (B, 3, S, S) 0..1, attention (B, 1, S, S),
    flow (B, 2, S/2, S/2) px or None.

    With `in_parts` what it draws, before it is joined to that.
    """

    views: Tensor
    row: Tensor
    row_edge: Tensor  # (1, 2, 1, 1) of x and y: pixels of train.teeth -> grid_sample's coordinates
    row_scale: Tensor
    shares: Tensor
    window: Tensor
    half_window: Tensor

    def __init__(self, shape: Shape = Shape()):
        super().__init__()
        self.shape = shape
        q, e, s, condition = shape.quarter, shape.eighth, shape.sixteenth, 128
        self.register_buffer("views", views(shape.au_names), persistent=False)
        self.condition = nn.Sequential(
            nn.Linear(self.views.shape[-1], condition), nn.ReLU(), nn.Linear(condition, condition), nn.ReLU()
        )
        self.stem = nn.Conv2d(3 * 16, q, 3, padding=1)
        self.down_eighth = nn.Conv2d(4 * q, e, 3, padding=1)
        self.eighth_down = nn.ModuleList(Block(e, condition) for _ in range(shape.blocks[0]))
        self.down_sixteenth = nn.Conv2d(4 * e, s, 3, padding=1)
        self.bottom = nn.ModuleList(Block(s, condition) for _ in range(shape.blocks[1]))
        self.up_eighth = nn.Conv2d(s, 4 * e, 3, padding=1)
        self.eighth_up = nn.ModuleList(Block(e, condition) for _ in range(shape.blocks[2]))
        self.up_quarter = nn.Conv2d(e, 4 * q, 3, padding=1)
        self.quarter_up = nn.ModuleList(Block(q, condition) for _ in range(shape.blocks[3]))
        self.to_half = nn.Conv2d(q, 4 * shape.head, 3, padding=1)
        self.mix_half = nn.Conv2d(shape.head, shape.head, 3, padding=1)
        # Colour and attention, shuffled to full size; at half size: flow; where in train.teeth, whether
        # inside a mouth, how light.
        self._mouth = 4 * 4 + 2 * shape.flow  # the first of the mouth's
        self.out = nn.Conv2d(shape.head, self._mouth + 4 * shape.teeth, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        bias = torch.zeros(self.out.out_channels)
        bias[12:16] = 2.0  # attention starts at 0.88: mostly the photo, yet not saturated
        if shape.teeth:
            bias[self._mouth + 2] = -3.0  # nowhere inside a mouth
        self.out.bias = nn.Parameter(bias)
        if shape.shade:
            # A branch of its own: what it learns changes nothing else
            last = nn.Conv2d(SHADE_WIDTH, 1, 3, padding=1)
            _zero(last)
            first = nn.Conv2d(shape.head + 2 * shape.flow, SHADE_WIDTH, 3, padding=1)
            self.shade = nn.Sequential(first, nn.ReLU(), last)
        if shape.teeth:
            row = torch.from_numpy(teeth() / np.array([255, 255, 255, 1], np.float32))
            # (1, 4, h, w): BGR times alpha, alpha
            self.register_buffer("row", row.permute(2, 0, 1)[None].contiguous(), persistent=False)
            height, width = row.shape[:2]
            edge, scale = (
                torch.tensor(EDGE_PX, dtype=torch.float32),
                torch.tensor([2 / (width - 1), 2 / (height - 1)]),
            )
            self.register_buffer("row_edge", edge[None, :, None, None], persistent=False)
            self.register_buffer("row_scale", scale[None, :, None, None], persistent=False)
        self.register_buffer("shares", shares(shape.au_names), persistent=False)
        self.register_buffer("window", _window(shape.size_px), persistent=False)
        self.register_buffer("half_window", _window(shape.size_px // 2), persistent=False)

    def forward(
        self, photo: Tensor, change: Tensor, in_parts: bool = False, only_shade: bool = False
    ) -> Drawn | Answer:
        """only_shade: gradients reach the branch of shade alone."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not only_shade):
            y2 = self._features(photo, change)
            heads = self.out(F.relu(self.mix_half(y2)) + y2)
        seen, heads = torch.cat([y2, heads[:, 16 : self._mouth]], dim=1), heads.float()
        fine = F.pixel_shuffle(heads[:, :16], 2)  # (B, 4, S, S)
        gate = self.gate(change)
        colour, inside, where = torch.sigmoid(fine[:, :3]), None, None
        if self.shape.teeth:
            colour, inside, where = self._with_teeth(colour, heads[:, self._mouth :])
        attention = 1 - gate * self.window * _smooth(1 - torch.sigmoid(fine[:, 3:]))
        flow = (
            gate * self.half_window * heads[:, 16:18] * (FLOW_UNIT_PX * self.shape.size_px / 256)
            if self.shape.flow
            else None
        )
        shade = None
        if self.shape.shade:
            smooth = F.interpolate(
                _smooth(self.shade(seen).float()), scale_factor=2.0, mode="bilinear", align_corners=False
            )
            shade = gate * self.window * MOST_SHADE * torch.tanh(smooth)
        drawn = Drawn(colour, attention, flow, inside, where, shade)
        return drawn if in_parts else joined(drawn)

    def _features(self, photo: Tensor, change: Tensor) -> Tensor:
        """(B, head, S/2, S/2): what the heads are read from."""
        c = self.condition((change[:, None, None, :] @ self.views).squeeze(2))  # (B, V, 128)
        x4 = self.stem(F.pixel_unshuffle(photo * 2 - 1, 4))  # (B, q, S/4, S/4)
        x8 = self.down_eighth(F.pixel_unshuffle(F.relu(x4), 2))
        for block in self.eighth_down:
            x8 = block(x8, c)
        x16 = self.down_sixteenth(F.pixel_unshuffle(F.relu(x8), 2))
        for block in self.bottom:
            x16 = block(x16, c)
        y8 = F.pixel_shuffle(self.up_eighth(F.relu(x16)), 2) + x8
        for block in self.eighth_up:
            y8 = block(y8, c)
        y4 = F.pixel_shuffle(self.up_quarter(F.relu(y8)), 2) + x4
        for block in self.quarter_up:
            y4 = block(y4, c)
        # Shuffle by 2, mix, shuffle by 2: a direct shuffle by 4 leaves a comb of period 4.
        return F.relu(F.pixel_shuffle(self.to_half(F.relu(y4)), 2))

    def _with_teeth(self, colour: Tensor, mouth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lays teeth into a mouth.

        Args:
            colour: (B, 3, S, S).
            mouth: heads (B, 4, S/2, S/2).

        Returns:
            Colour with teeth; how much of a pixel lies inside a mouth (B, 1, S, S); where in train.teeth it
            lies (B, 2, S/2, S/2), outer eye distances.
        """
        where = mouth[:, :2] * TEETH_UNIT
        fine = F.interpolate(
            torch.cat([where, mouth[:, 2:]], dim=1), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        inside, light = torch.sigmoid(fine[:, 2:3]), LIGHTEST * torch.sigmoid(fine[:, 3:])
        # Both coordinates at once: stacked, they would be copied twice in the exported graph
        places = (fine[:, :2] * PX_PER_UNIT + self.row_edge) * self.row_scale - 1
        row = self.row.expand(len(colour), -1, -1, -1)
        laid = F.grid_sample(
            row, places.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=True
        )
        return colour * (1 - inside * laid[:, 3:]) + inside * light * laid[:, :3], inside, where

    def gate(self, change: Tensor) -> Tensor:
        """(B, N) -> (B, 1, 1, 1): 0 for no change, 1/2 at GATE_HALF, towards 1."""
        amount = (change.abs() * self.shares).sum(dim=1)[:, None, None, None]
        return amount / (amount + GATE_HALF)


def joined(drawn: Drawn) -> Answer:
    """What an engine answers. Shade s becomes faint colour, T its SHADOW or LIGHT:

    A' = A (1 - |s|)        (1 - A') C' = A |s| T + (1 - A) C

    |s| less UNSEEN_SHADE.
    """
    colour, attention, flow = drawn[:3]
    if drawn.shade is None:
        return colour, attention, flow
    attention, amount = without_faint(attention), (drawn.shade.abs() - UNSEEN_SHADE).clamp(min=0)
    kept = attention * (1 - amount)
    added = attention * amount * _shade_colour(drawn.shade) + (1 - attention) * colour
    return added / (1 - kept).clamp(min=1e-3), kept, flow


def _shade_colour(shade: Tensor) -> Tensor:
    """(B, 1, S, S) -> (B, 3, S, S): SHADOW below 0, LIGHT above."""
    shadow, light = (shade.new_tensor(colour)[:, None, None] for colour in (SHADOW, LIGHT))
    return torch.where(shade > 0, light, shadow)


def without_faint(attention: Tensor) -> Tensor:
    """Attention (B, 1, S, S) that is all photo where colour would be FAINT.

    Blending does the same for engines without shade.
    """
    return (attention / (1 - FAINT)).clamp(max=1)


def _smooth(field: Tensor) -> Tensor:
    """(B, 1, h, w): each value the mean of its neighbourhood of 3 x 3."""
    return F.avg_pool2d(F.pad(field, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def _window(size_px: int) -> Tensor:
    """(1, 1, S, S): 0 on the border, 1 inside, a smooth step of WINDOW_SHARE between."""
    edge = torch.minimum(torch.arange(size_px), torch.arange(size_px).flip(0)) / (WINDOW_SHARE * size_px)
    ramp = edge.clamp(0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return (ramp[:, None] * ramp[None, :])[None, None]


def warp(photo: Tensor, flow: Tensor) -> Tensor:
    """(B, C, S, S) moved by a flow (B, 2, s, s) in pixels of S: out(p) = photo(p + flow(p)).

    Edges are repeated.
    """
    size = photo.shape[-1]
    if flow.shape[-1] != size:
        flow = F.interpolate(flow, size=(size, size), mode="bilinear", align_corners=False)
    steps = torch.arange(size, device=photo.device, dtype=torch.float32)
    x = (steps[None, None, :] + flow[:, 0]) * (2 / (size - 1)) - 1
    y = (steps[None, :, None] + flow[:, 1]) * (2 / (size - 1)) - 1
    return F.grid_sample(
        photo, torch.stack([x, y], dim=-1), mode="bilinear", padding_mode="border", align_corners=True
    )


def compose(photo: Tensor, colour: Tensor, attention: Tensor, flow: Tensor | None) -> Tensor:
    """GANimation eq.

    1: A = 1 keeps the photo, here moved by the flow where there is one. All in 0..1, (B, 3, S, S).
    """
    return attention * (photo if flow is None else warp(photo, flow)) + (1 - attention) * colour


def composed(photo: Tensor, drawn: Drawn) -> Tensor:
    """The same of what a compact generator draws, (B, 3, S, S) in 0..1.

    Its gradient reaches shade that is 0, which `joined` does not let through.
    """
    colour, attention, flow = drawn[:3]
    if drawn.shade is None:
        return compose(photo, colour, attention, flow)
    moved = photo if flow is None else warp(photo, flow)
    # Not |shade| times the way: that has no gradient at 0
    way = _shade_colour(drawn.shade) - moved
    moved = moved + drawn.shade * torch.where(drawn.shade > 0, way, -way)
    attention = without_faint(attention)
    return attention * moved + (1 - attention) * colour
