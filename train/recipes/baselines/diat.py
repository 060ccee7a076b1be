"""DIAT (Li, Zuo and Zhang, 2016): one target emotion, and an identity loss on features.

Source: "Deep Identity-aware Transfer of Facial Attributes", arXiv 1610.05586.

A transform network, a critic that knows faces of that emotion, and an identity loss on features. Here as its
form DIAT-A: the features are the attribute critic's own, not VGG-Face's. Not as in the paper: GANimation's
trunk; the Wasserstein loss with its gradient penalty; each layer's difference relative to the layer's size,
as a Wasserstein critic's features have no fixed scale; no denoising network after it. A run learns one
emotion, from neutral faces.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from train import losses
from train.data.corpus import Corpus
from train.data.domains import EmotionSamples
from train.networks.critic import Critic
from train.networks.discrete import Translator, class_critic
from train.recipes.discrete import checked_one, sheet, signed_batch, sizes, unsigned
from train.recipes.recipe import Batch, Networks, Turn, critic_ahead, detached, signed

PENALTY = 10.0
IDENTITY = 10.0  # of relative feature differences, which are of the order of 1
CRITIC_STEPS = 5


class Diat:
    """A Recipe. shape: size_px, width, emotions: one."""

    name = "diat"
    averaged = ("generator",)
    betas = (0.5, 0.999)
    rate = 1e-4
    clip = None

    def __init__(self, size_px: int, width: int, emotions: tuple[str, ...] = ("happy",)):
        self.emotions = checked_one(emotions, "diat")
        self.networks: dict[str, nn.Module] = {
            "generator": Translator(width),
            "critic": Critic(class_critic(size_px, width)),
        }
        self.shape: dict[str, Any] = {
            "model": self.name,
            "size_px": size_px,
            "width": width,
            "emotions": list(emotions),
        }

    @classmethod
    def from_shape(cls, shape: dict[str, Any]) -> "Diat":
        return cls(*sizes(shape, cls.name))

    def dataset(self, corpus: Corpus, seed: int, held_out: bool = False) -> EmotionSamples:
        return EmotionSamples(
            corpus, seed, self.shape["size_px"], ("neutral",), self.emotions, held_out, pairs=True
        )

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
        """The attribute loss: faces that show the emotion are real, transformed ones are not."""
        critic, real = networks["critic"], batch["other"]
        with torch.no_grad():
            fake = networks["generator"](batch["picture"])
        terms = {
            "adversarial_critic": losses.wasserstein_critic(*critic(torch.cat([real, fake]))[0].chunk(2)),
            "penalty": losses.gradient_penalty(lambda x: critic(x)[0], real, fake, batch["mix"]),
        }
        return terms["adversarial_critic"] + PENALTY * terms["penalty"], detached(terms)

    def _generator_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Attribute loss and adaptive perceptual identity loss."""
        critic, photo = networks["critic"], batch["picture"]
        if not isinstance(critic, Critic):
            raise TypeError(f"{type(critic).__name__} is no Critic")
        fake = networks["generator"](photo)
        with torch.no_grad():
            of_photo = critic.features(photo)
        of_fake = critic.features(fake)
        terms = {
            "adversarial_generator": losses.wasserstein_generator(critic.patches(of_fake[-1]).float()),
            "identity": perceptual(of_fake, of_photo),
        }
        return terms["adversarial_generator"] + IDENTITY * terms["identity"], detached(terms)

    def watch(self, networks: Networks, batch: Batch) -> dict[str, float]:
        loss, terms = self._generator_loss(networks, batch)
        return {"loss": float(loss), **{name: float(value) for name, value in terms.items()}}

    @torch.no_grad()
    def translate(self, networks: Networks, pictures: Tensor, emotion: str) -> Tensor | None:
        """(B, 3, S, S) in 0..1 -> the same faces with the emotion, 0..1; None for one not trained for."""
        return unsigned(networks["generator"](signed(pictures))) if emotion in self.emotions else None

    def picture(self, networks: Networks, corpus: Corpus) -> np.ndarray:
        return sheet(self, networks, corpus, self.shape["size_px"])


def perceptual(made: list[Tensor], photo: list[Tensor]) -> Tensor:
    """The mean over layers of |made - photo|^2 / |photo|^2: 0 for the same features, 1 for none at all."""
    ratios = [
        (a.float() - b.float()).square().mean() / b.float().square().mean().clamp(min=1e-8)
        for a, b in zip(made, photo, strict=True)
    ]
    return torch.stack(ratios).mean()
