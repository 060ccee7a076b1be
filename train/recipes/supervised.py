"""The supervised stage: pairs with dense flow teach the generator what to move and what to paint.

Made the default engine. L1 answers with the mean of all that might be there, which is a blur. So a critic may
look on, conditional on the photo (Isola et al., CVPR 2017): of patches of the face, mouth and eyes most, it
says whether they are photographed, and of the whole how far the AUs moved, as GANimation's does (ECCV 2018,
eq. 3). Where the target is a photograph, the generator learns to be taken for one and to be seen by the
critic's layers as the target is (feature matching: Wang et al., CVPR 2018).

Every term is a mean over pixels, so batch size and resolution do not change a weight's meaning.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.errors import DataError
from engines.face.action_units import WIDE
from train import losses
from train.attention_guard import AttentionGuard
from train.data.corpus import Corpus
from train.networks.compact import CompactGenerator, Drawn, Shape, composed
from train.networks.critic import Critic, CriticShape
from train.networks.from_shape import generator_of
from train.networks.vocabulary import translation
from train.recipes.recipe import Batch, Networks, Turn, detached, pictures, signed
from train.report.grids import grid
from train.synthesis.pairs import PairSource
from train.synthesis.regions import UNKNOWN

COLOUR_EVERYWHERE, COLOUR_PAINTED = 0.1, 12.0
# A critic's first scores lie within a tenth of 0: without a gain a hinge of one is thousands of images away.
# Spectral norm holds them there, and was left for R1 (LOG, run 10)
SCORE_GAIN = 12.0
PENALTY, PENALTY_EVERY = 0.03, 16  # γ of R1, which is taken every so many steps
# Steps in which a critic that knows nothing yet looks on in silence, and is heard more and more: else its
# first gradients are noise, and stains on skin that stay
SILENT, HEARD = 100, 300
PAINTED = 0.05  # mean of `_shown` over photographic pairs: `_patch_weight` then has a mean near 1
SHADED = 0.02  # how much skin counts for the critic where it can be shaded, beside what is painted
LEAST_COUNT = 0.4  # weight of a pixel, below which painting it costs no more
CRITIC_READS = 20.0  # weight of a critic's reading of AUs in its own loss, where squared errors are small


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
    # The same, but the more the less a pixel counts: eyes and lips may be painted, skin has to gain forty
    # grey levels by it, and is shaded instead. At a tenth of it colour crept over cheeks and chins: a comb,
    # stains beside mouths that smile (LOG, runs on pairs)
    skin: float = 0.6
    shade: float = 0.02  # mean |shade|: light that says nothing of the expression stays the photo's


@dataclass(frozen=True)
class CriticWeights:
    """Of what a critic adds to the supervised loss."""

    adversarial: float = 0.04  # hinge
    features: float = 1.0  # L1 of what the critic's layers see
    expression: float = 1.0  # squared error of the change of AUs that the critic reads


def heard(step: int) -> float:
    """The share of what a critic says that its generator is told, so many steps into a run."""
    return min(max(step - SILENT, 0) / (HEARD - SILENT), 1.0)


def critic_of(shape: Shape) -> CriticShape:
    """The critic of a generator: it sees photo and picture, 6 channels, in patches of a sixteenth."""
    return CriticShape(
        shape.size_px, len(shape.au_names), inputs=6, widest=256, layers=3, unshuffle=2, slope=0.2
    )


class Supervised:
    """A Recipe on train.synthesis.pairs."""

    name = "supervised"
    averaged = ("generator",)
    betas = (0.9, 0.99)
    rate = 6e-4
    clip = 1.0

    def __init__(self, shape: Shape = Shape(), critic: bool = False, only_shade: bool = False):
        """How the generator learns.

        Args:
            critic: train one beside the generator, and by it.
            only_shade: of the generator train the branch of shade alone: all else it draws stays as it is.

        Raises DataError for only_shade of a generator that has none.
        """
        if only_shade and not shape.shade:
            raise DataError("--only-shade trains what --no-shade leaves out: give one of them.")
        self.networks: dict[str, nn.Module] = {"generator": CompactGenerator(shape)}
        self.shape: dict[str, Any] = {"generator": shape.as_dict()}
        self._critic = Critic(critic_of(shape)) if critic else None
        if self._critic is not None:
            self.networks["critic"] = self._critic
            self.shape["critic"] = self._critic.shape.as_dict()
        self.guard = AttentionGuard()
        self._translation = translation(WIDE, shape.au_names)
        self._only_shade = only_shade

    def dataset(self, corpus: Corpus, seed: int, held_out: bool = False) -> PairSource:
        return PairSource(corpus, seed, held_out=held_out, photographic=self._only_shade)

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
            "decided": samples["decided"][:, None],
            "face": samples["face"][:, None],
            "photographic": samples["photographic"][:, :, None, None],
            "teeth": samples["teeth"].permute(0, 3, 1, 2),
        }

    def turns(self, step: int) -> list[Turn]:
        generator = Turn(("generator",), lambda batch: self._loss(self.networks, batch, heard(step)))
        critic = self._critic
        if critic is None:
            return [generator]
        penalised = step % PENALTY_EVERY == 0
        # It looks at what the generator just drew of the same batch
        return [generator, Turn(("critic",), lambda batch: critic_loss(critic, batch, penalised))]

    def _loss(self, networks: Networks, batch: Batch, told: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """told: the share of what the critic says that counts."""
        weights = SupervisedWeights(changed=SupervisedWeights.changed * self.guard.factor)
        drawn = networks["generator"](
            batch["picture"], batch["change"], in_parts=True, only_shade=self._only_shade
        )
        if drawn.shade is not None:  # a warped photo has no folds, and says nothing of them
            drawn = drawn._replace(shade=drawn.shade * batch["photographic"])
        result = composed(batch["picture"], drawn)
        total, terms = supervised_loss(result, drawn, batch, weights)
        if self._critic is None:
            return total, terms
        batch["result"] = result.detach()
        learnt, batch["counts"] = taught(result, drawn, batch, self._only_shade)
        judged, more = judgement(self._critic, learnt, batch)
        return total + told * judged, terms | more

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
    result: Tensor, drawn: Drawn, batch: Batch, weights: SupervisedWeights = SupervisedWeights()
) -> tuple[Tensor, dict[str, Tensor]]:
    """The result and parts of a generator for batch["picture"] -> total and terms (unweighted, detached).

    batch: picture, target (B, 3, S, S) in 0..1; flow (B, 2, S/2, S/2) px; flow_weight (B, 1, S/2, S/2);
    weight, painted (B, 1, S, S). For a generator that lays teeth: mouth, decided (B, 1, S, S), teeth
    (B, 2, S/2, S/2).
    """
    colour, attention, flow = drawn[:3]
    size = colour.shape[-1]
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
        "skin": ((1 - attention) / (batch["weight"] / _known(batch)).clamp(min=LEAST_COUNT)).mean(),
    }
    if flow is not None:
        terms["flow"] = weighted_mean((flow - batch["flow"]).abs(), batch["flow_weight"]) * (256 / size)
    if drawn.inside is not None and drawn.where is not None:
        surprise = -torch.log(torch.where(batch["mouth"] > 0.5, drawn.inside, 1 - drawn.inside) + 1e-3)
        terms["inside"] = weighted_mean(surprise, batch["decided"])
        terms["teeth"] = weighted_mean((drawn.where - batch["teeth"]).abs(), F.avg_pool2d(batch["mouth"], 2))
    if drawn.shade is not None:
        terms["shade"] = drawn.shade.abs().mean()
    total = sum(getattr(weights, name) * value for name, value in terms.items())
    return total, detached(terms)


def taught(result: Tensor, drawn: Drawn, batch: Batch, only_shade: bool = False) -> tuple[Tensor, Tensor]:
    """What of a result a critic may teach, and where it looks.

    Args:
        result: (B, 3, S, S), of what was `drawn`.
        only_shade: of all that was drawn, shade alone is learnt.

    Returns:
        The same values, whose gradients end at skin but for those of shade; how much each pixel counts for
        the critic, (B, 1, S, S).
    """
    if only_shade:  # skin is what it is for: all of the face counts alike
        return result, torch.full_like(drawn.attention.detach(), PAINTED)
    beyond = _beyond_skin(batch)
    counts = beyond * (1 - drawn.attention).detach()
    skin = result.detach()  # told of skin, the generator paints folds, coarse and with a comb
    if drawn.shade is not None:
        skin, counts = composed(batch["picture"], _only_shade(drawn)), counts + SHADED * (1 - beyond)
    return beyond * result + (1 - beyond) * skin, counts


def judgement(
    critic: Critic, result: Tensor, batch: Batch, weights: CriticWeights = CriticWeights()
) -> tuple[Tensor, dict[str, Tensor]]:
    """What a critic says of results (B, 3, S, S) in 0..1 -> the total and its terms (unweighted, detached).

    batch: as of `supervised_loss`, and change (B, N), face, counts (B, 1, S, S), photographic (B, 1, 1, 1).
    """
    seen = _seen(critic, result, batch)
    wanted = _seen(critic, batch["target"], batch)
    counts = _patch_weight(batch, seen.patches)
    unlike = [
        weighted_mean((a - b.detach()).abs(), batch["photographic"])
        for a, b in zip(seen.features, wanted.features, strict=True)
    ]
    terms = {
        "adversarial_generator": losses.hinge_generator(seen.patches, counts),
        "features": torch.stack(unlike).mean(),
        "expression_fake": losses.expression_loss(seen.aus, batch["change"]),
    }
    total = (
        weights.adversarial * terms["adversarial_generator"]
        + weights.features * terms["features"]
        + weights.expression * terms["expression_fake"]
    )
    return total, detached(terms)


def critic_loss(critic: Critic, batch: Batch, penalised: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """The critic's own loss on targets and on batch["result"] (B, 3, S, S); batch as of `judgement`.

    penalised: with R1, for all of PENALTY_EVERY steps (Karras et al., CVPR 2020, appendix B).
    """
    real, fake = _seen(critic, batch["target"], batch), _seen(critic, batch["result"], batch)
    counts = _patch_weight(batch, real.patches)
    terms = {
        "adversarial_critic": losses.hinge_critic(real.patches, fake.patches, counts),
        "expression_real": losses.expression_loss(real.aus, batch["change"]),
        "adversarial_blind": 2 * counts.mean(),  # what a critic scores that knows nothing
    }
    total = terms["adversarial_critic"] + CRITIC_READS * terms["expression_real"]
    if penalised:
        terms["penalty"] = losses.r1_penalty(
            lambda picture: _seen(critic, picture, batch).patches * counts, batch["target"]
        )
        total = total + PENALTY * PENALTY_EVERY * terms["penalty"]
    return total, detached(terms)


@dataclass(frozen=True)
class _Seen:
    features: list[Tensor]
    patches: Tensor  # (B, 1, h, h)
    aus: Tensor  # (B, N)


def _seen(critic: Critic, picture: Tensor, batch: Batch) -> _Seen:
    """What the critic sees in a picture beside the photo, each confined to the target's face."""
    both = torch.cat([signed(batch["picture"]), signed(picture)], dim=1) * batch["face"]
    features = critic.features(both)
    patches, aus = critic.judge(features[-1])
    return _Seen(features, SCORE_GAIN * patches, aus)


def _patch_weight(batch: Batch, patches: Tensor) -> Tensor:
    """(B, 1, h, h): patches of photographs, by how much the generator paints there and what they show.

    What it only moves is a photograph anyway: counted, a critic takes thousands of images to see more.
    """
    return F.adaptive_avg_pool2d(_shown(batch), patches.shape[-1]) / PAINTED


def _shown(batch: Batch) -> Tensor:
    """(B, 1, S, S): how much each pixel counts for the critic.

    A mouth that only the target shows counts in full: what no pixel of it says, mouths in general do.
    """
    shown = batch["weight"] / _known(batch) * batch["face"] * batch["photographic"]
    return shown * batch["counts"]


def _only_shade(drawn: Drawn) -> Drawn:
    """The same, of which gradients reach the shade alone."""
    flow = None if drawn.flow is None else drawn.flow.detach()
    return Drawn(drawn.colour.detach(), drawn.attention.detach(), flow, shade=drawn.shade)


def _beyond_skin(batch: Batch) -> Tensor:
    """(B, 1, S, S), 0..1: what counts more than skin: eyes, brows, lips (train/synthesis/regions.py)."""
    return (batch["weight"] / _known(batch) - 1).clamp(0, 1)


def _known(batch: Batch) -> Tensor:
    """(B, 1, S, S): what the weights were multiplied by where nobody can know what the target shows."""
    return UNKNOWN + (1 - UNKNOWN) * batch["decided"]


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
