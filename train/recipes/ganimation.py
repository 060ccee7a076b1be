"""GANimation in full (Pumarola et al., ECCV 2018), unsupervised: photos with AU labels, no pairs.

Eq. 5 and 6: the critic learns to distinguish real photos from edits and to read AUs; once in five steps the
generator learns to fool it, to be read as what was wanted, and to come back to the photo when given the
photo's own AUs. Terms and weights are in train/losses.py.

Conditioning is the generator's: "absolute" (the paper: the wanted AUs) or "relative" (Ling et al., ECCV 2020:
their change; then a change of nothing must give the photo back, too). Three adversaries: "wgan-gp" as in the
paper; "hinge-sn", hinge loss and spectral norm, which costs no second derivative; "hinge-r1", hinge loss and
a penalty on the gradient at real photos only.
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from engines.errors import DataError
from train import losses
from train.attention_guard import AttentionGuard
from train.data.corpus import Corpus
from train.data.faces import FaceSamples
from train.losses import GanimationWeights
from train.networks.compact import compose
from train.networks.critic import Critic, CriticShape
from train.networks.from_shape import Generator, generator_of
from train.recipes.recipe import Batch, Networks, Turn, critic_ahead, detached, pictures, signed
from train.report.grids import grid

Adversary = Literal["wgan-gp", "hinge-sn", "hinge-r1"]
ADVERSARIES: tuple[Adversary, ...] = ("wgan-gp", "hinge-sn", "hinge-r1")
CRITIC_STEPS = 5  # for one of the generator: a Wasserstein critic has to stay near its optimum
# Steps over which the weight of the attention term rises from 0: at once, A closes before C is worth showing
ATTENTION_WARM_UP = 2_000
AttentionTerm = Literal["changed", "kept"]


class Ganimation:
    """A Recipe.

    `generator`: a PaperGenerator or a CompactGenerator; its shape fixes size and conditioning.
    """

    name = "ganimation"
    averaged = ("generator",)
    betas = (0.5, 0.999)  # as in the paper
    rate = 1e-4
    clip = None

    def __init__(
        self,
        generator: Generator,
        critic: CriticShape,
        adversary: Adversary = "wgan-gp",
        weights: GanimationWeights | None = None,
        attention_term: AttentionTerm = "kept",
        critic_steps: int = CRITIC_STEPS,
        attention_warm_up: int = ATTENTION_WARM_UP,
    ):
        """attention_term: "kept" is eq.

        2's || A ||, against copying; "changed" presses on mean(1 - A) instead, for smaller edits.
        """
        shape = generator.shape.as_dict()
        self._au_names = generator.shape.au_names
        fits = (critic.size_px, critic.aus) == (shape["size_px"], len(self._au_names))
        if not fits or critic.spectral != (adversary == "hinge-sn"):
            raise DataError(
                "A critic has the generator's crop size and AUs, and spectral norm exactly with the "
                "adversary hinge-sn."
            )
        self.networks: dict[str, nn.Module] = {"generator": generator, "critic": Critic(critic)}
        self.shape: dict[str, Any] = {
            "generator": shape,
            "critic": critic.as_dict(),
            "adversary": adversary,
            "attention_term": attention_term,
        }
        if attention_term == "changed":
            self.guard = AttentionGuard(rests_until=attention_warm_up)
        else:  # mean(A) starts near .5 and colour may repaint all that it likes: only copying is a fault
            self.guard = AttentionGuard(low=0.0, presses_up=False, rests_until=attention_warm_up)
        self._attention_share = losses.changed_share if attention_term == "changed" else losses.kept_share
        self._relative = shape["conditioning"] == "relative"
        self._size_px = shape["size_px"]
        self._adversary, self._critic_steps, self._warm_up = adversary, critic_steps, attention_warm_up
        self._weights = weights or (GanimationWeights.relative() if self._relative else GanimationWeights())

    def dataset(self, corpus: Corpus, seed: int, held_out: bool = False) -> FaceSamples:
        return FaceSamples(corpus, seed, self._size_px, held_out, aus=self._au_names)

    def batch(self, samples: Batch) -> Batch:
        """Samples on the device -> float tensors.

        Returns:
            picture (B, 3, S, S) 0..1; own, wanted (B, N); mix (B, 1, 1, 1), where the gradient penalty looks
            between real and fake.
        """
        return {
            "picture": pictures(samples["picture"]),
            "own": samples["own"],
            "wanted": samples["wanted"],
            "mix": samples["mix"][:, None, None, None],
        }

    def turns(self, step: int) -> list[Turn]:
        pressure = self.guard.factor * min(1.0, step / max(1, self._warm_up))
        return critic_ahead(
            step,
            self._critic_steps,
            critic=lambda batch: self._critic_loss(self.networks, batch),
            generator=lambda batch: self._generator_loss(self.networks, batch, pressure),
        )

    def _condition(self, to: Tensor, start: Tensor) -> Tensor:
        return to - start if self._relative else to

    def _edit(self, generator: nn.Module, photo: Tensor, aus: Tensor) -> tuple[Tensor, Tensor]:
        """-> the result (B, 3, S, S) in 0..1 and A (B, 1, S, S)."""
        colour, attention, flow = generator(photo, aus)
        return compose(photo, colour, attention, flow), attention

    def _critic_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        critic, photo = networks["critic"], batch["picture"]
        with torch.no_grad():
            fake = signed(
                self._edit(networks["generator"], photo, self._condition(batch["wanted"], batch["own"]))[0]
            )
        real = signed(photo)
        patches, aus = critic(torch.cat([real, fake]))
        real_patches, fake_patches = patches.chunk(2)
        terms = {"expression_real": losses.expression_loss(aus[: len(real)], batch["own"])}
        if self._adversary == "wgan-gp":
            terms["adversarial_critic"] = losses.wasserstein_critic(real_patches, fake_patches)
            terms["penalty"] = losses.gradient_penalty(lambda x: critic(x)[0], real, fake, batch["mix"])
        else:
            terms["adversarial_critic"] = losses.hinge_critic(real_patches, fake_patches)
            if self._adversary == "hinge-r1":
                terms["penalty"] = losses.r1_penalty(lambda x: critic(x)[0], real)
        total = (
            self._weights.adversarial * terms["adversarial_critic"]
            + self._weights.penalty * terms.get("penalty", 0.0)
            + self._weights.expression * terms["expression_real"]
        )
        return total, detached(terms)

    def _generator_loss(
        self, networks: Networks, batch: Batch, pressure: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        generator, photo, own, wanted = networks["generator"], batch["picture"], batch["own"], batch["wanted"]
        fake, attention = self._edit(generator, photo, self._condition(wanted, own))
        again, attention_back = self._edit(generator, fake, self._condition(own, wanted))
        patches, aus = networks["critic"](signed(fake))
        foolish = losses.wasserstein_generator if self._adversary == "wgan-gp" else losses.hinge_generator
        terms = {
            "adversarial_generator": foolish(patches),
            "expression_fake": losses.expression_loss(aus, wanted),
            "cycle": losses.cycle_loss(signed(again), signed(photo)),
            "attention": self._attention_share(attention) + self._attention_share(attention_back),
            "variation": losses.total_variation(attention) + losses.total_variation(attention_back),
        }
        w = self._weights
        total = (
            w.adversarial * terms["adversarial_generator"]
            + w.expression * terms["expression_fake"]
            + w.cycle * terms["cycle"]
            + pressure * w.attention * terms["attention"]
            + w.smooth * terms["variation"]
        )
        if w.reconstruction:
            same, _ = self._edit(generator, photo, self._condition(own, own))
            terms["reconstruction"] = losses.cycle_loss(signed(same), signed(photo))
            total = total + w.reconstruction * terms["reconstruction"]
        return total, detached(terms)

    def watch(self, networks: Networks, batch: Batch) -> dict[str, float]:
        loss, terms = self._generator_loss(networks, batch)
        share = float(terms["attention"]) / 2  # of both passes
        kept = 1 - share if self.guard.presses_up else share
        return {
            "loss": float(loss),
            **{name: float(value) for name, value in terms.items()},
            "attention": kept,
        }

    def picture(self, networks: Networks, corpus: Corpus) -> np.ndarray:
        return grid(generator_of(networks), corpus)
