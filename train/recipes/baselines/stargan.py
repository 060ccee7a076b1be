"""StarGAN (Choi et al., CVPR 2018): one generator for several emotions, chosen by a label.

As in the paper: generator (GANimation's trunk was StarGAN's first), a critic that also classifies, WGAN-GP
(eq. 8), classes (eq. 2 and 3), reconstruction (eq. 4), weights 1 and 10, five steps of the critic for one of
the generator. Smaller: by default half the width, and a critic whose first conv sees folded pixels.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train import losses
from train.data.corpus import Corpus
from train.data.domains import EmotionSamples
from train.networks.critic import Critic
from train.networks.discrete import Translator, class_critic
from train.recipes.discrete import checked, one_hot, sheet, signed_batch, sizes, unsigned
from train.recipes.recipe import Batch, Networks, Turn, critic_ahead, detached, signed

PENALTY, CLASSES, RECONSTRUCTION = 10.0, 1.0, 10.0  # λ_gp, λ_cls, λ_rec
CRITIC_STEPS = 5


class StarGan:
    """A Recipe. shape: size_px, width (the paper's is 64), emotions."""

    name = "stargan"
    averaged = ("generator",)
    betas = (0.5, 0.999)
    rate = 1e-4
    clip = None

    def __init__(self, size_px: int, width: int, emotions: tuple[str, ...]):
        self.emotions = checked(emotions, 2, None, "stargan")
        self.networks: dict[str, nn.Module] = {
            "generator": Translator(width, labels=len(emotions)),
            "critic": Critic(class_critic(size_px, width, classes=len(emotions))),
        }
        self.shape: dict[str, Any] = {
            "model": self.name,
            "size_px": size_px,
            "width": width,
            "emotions": list(emotions),
        }

    @classmethod
    def from_shape(cls, shape: dict[str, Any]) -> "StarGan":
        return cls(*sizes(shape, cls.name))

    def dataset(self, corpus: Corpus, seed: int, held_out: bool = False) -> EmotionSamples:
        return EmotionSamples(corpus, seed, self.shape["size_px"], self.emotions, self.emotions, held_out)

    def batch(self, samples: Batch) -> Batch:
        return signed_batch(samples)

    def turns(self, step: int) -> list[Turn]:
        return critic_ahead(
            step,
            CRITIC_STEPS,
            lambda batch: self._critic_loss(self.networks, batch),
            lambda batch: self._generator_loss(self.networks, batch),
        )

    def _critic_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 5: L_D = -L_adv + λ_cls L_cls^r, with eq. 8's penalty."""
        critic, real = networks["critic"], batch["picture"]
        with torch.no_grad():
            fake = networks["generator"](real, one_hot(batch["wanted"], len(self.emotions)))
        patches, classes = critic(torch.cat([real, fake]))
        terms = {
            "adversarial_critic": losses.wasserstein_critic(*patches.chunk(2)),
            "penalty": losses.gradient_penalty(lambda x: critic(x)[0], real, fake, batch["mix"]),
            "classes_real": F.cross_entropy(classes[: len(real)], batch["label"]),
        }
        total = terms["adversarial_critic"] + PENALTY * terms["penalty"] + CLASSES * terms["classes_real"]
        return total, detached(terms)

    def _generator_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 6: L_G = L_adv + λ_cls L_cls^f + λ_rec L_rec."""
        generator, real = networks["generator"], batch["picture"]
        fake = generator(real, one_hot(batch["wanted"], len(self.emotions)))
        again = generator(fake, one_hot(batch["label"], len(self.emotions)))
        patches, classes = networks["critic"](fake)
        terms = {
            "adversarial_generator": losses.wasserstein_generator(patches),
            "classes_fake": F.cross_entropy(classes, batch["wanted"]),
            "reconstruction": losses.cycle_loss(again, real),
        }
        total = (
            terms["adversarial_generator"]
            + CLASSES * terms["classes_fake"]
            + RECONSTRUCTION * terms["reconstruction"]
        )
        return total, detached(terms)

    def watch(self, networks: Networks, batch: Batch) -> dict[str, float]:
        loss, terms = self._generator_loss(networks, batch)
        return {"loss": float(loss), **{name: float(value) for name, value in terms.items()}}

    @torch.no_grad()
    def translate(self, networks: Networks, pictures: Tensor, emotion: str) -> Tensor | None:
        """(B, 3, S, S) in 0..1 -> the same faces with an emotion, 0..1; None for one not trained for."""
        if emotion not in self.emotions:
            return None
        wanted = torch.full((len(pictures),), self.emotions.index(emotion), device=pictures.device)
        return unsigned(networks["generator"](signed(pictures), one_hot(wanted, len(self.emotions))))

    def picture(self, networks: Networks, corpus: Corpus) -> np.ndarray:
        return sheet(self, networks, corpus, self.shape["size_px"])
