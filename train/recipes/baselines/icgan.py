"""IcGAN (Perarnau et al., 2016): a conditional GAN, then its inverse.

Source: "Invertible Conditional GANs for image editing", arXiv 1611.06355.

Stage 1: a generator paints faces from noise z and an emotion y; the critic sees y beside the picture, and
real faces with a wrong y as false (Reed et al., ICML 2016). Stage 2: the generator rests; an encoder learns z
from pictures that it painted, another y from photos. An edit is G(E_z(photo), y wanted): what z does not hold
of a face is lost, as in the paper. Not as in it: hinge loss and spectral norm for its log loss, normalisation
within a picture for batch norm, y beside the pixels instead of after the first conv.
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
from train.networks.discrete import Encoder, Painter, class_critic
from train.networks.paper import tiled
from train.recipes.discrete import checked, one_hot, sheet, signed_batch, sizes, unsigned
from train.recipes.recipe import Batch, Networks, Turn, detached, signed

NOISE = 100  # numbers in z, the paper's
# Of stage 1: at 16 faces a step, most of a short run on a CPU; with a GPU give it ten times as many
GAN_STEPS = 1500


class IcGan:
    """A Recipe. shape: size_px (a power of two), width, emotions, gan_steps: where stage 2 begins."""

    name = "icgan"
    averaged = ("generator", "encoder_z", "encoder_y")
    betas = (0.5, 0.999)
    rate = 2e-4
    clip = None

    def __init__(self, size_px: int, width: int, emotions: tuple[str, ...], gan_steps: int = GAN_STEPS):
        self.emotions, self._gan_steps = checked(emotions, 2, None, "icgan"), gan_steps
        labels = len(emotions)
        self.networks: dict[str, nn.Module] = {
            "generator": Painter(size_px, width, NOISE, labels),
            "critic": Critic(class_critic(size_px, width, inputs=3 + labels, spectral=True)),
            "encoder_z": Encoder(size_px, width, NOISE),
            "encoder_y": Encoder(size_px, width, labels),
        }
        self.shape: dict[str, Any] = {
            "model": self.name,
            "size_px": size_px,
            "width": width,
            "emotions": list(emotions),
            "gan_steps": gan_steps,
        }

    @classmethod
    def from_shape(cls, shape: dict[str, Any]) -> "IcGan":
        return cls(*sizes(shape, cls.name), gan_steps=shape["gan_steps"])

    def dataset(self, corpus: Corpus, seed: int, held_out: bool = False) -> EmotionSamples:
        return EmotionSamples(
            corpus, seed, self.shape["size_px"], self.emotions, self.emotions, held_out, noise=NOISE
        )

    def batch(self, samples: Batch) -> Batch:
        return signed_batch(samples)

    def turns(self, step: int) -> list[Turn]:
        if step < self._gan_steps:
            return [
                Turn(("critic",), lambda batch: self._critic_loss(self.networks, batch)),
                Turn(("generator",), lambda batch: self._generator_loss(self.networks, batch)),
            ]
        return [
            # The generator gets no gradient here and does not move; it is named so that its average comes to
            # where it rests.
            Turn(("encoder_z", "generator"), lambda batch: self._noise_loss(self.networks, batch)),
            Turn(("encoder_y",), lambda batch: self._label_loss(self.networks, batch)),
        ]

    def _judged(self, networks: Networks, picture: Tensor, label: Tensor) -> Tensor:
        """Scores of pictures (B, 3, S, S) with labels (B,)."""
        return networks["critic"](
            torch.cat([picture, tiled(one_hot(label, len(self.emotions)), picture)], dim=1)
        )[0]

    def _painted(self, networks: Networks, batch: Batch) -> Tensor:
        return networks["generator"](batch["noise"], one_hot(batch["wanted"], len(self.emotions)))

    def _critic_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """A photo with its own label is real; a painting, and a photo with a wrong label, are not."""
        photo, label, wanted = batch["picture"], batch["label"], batch["wanted"]
        with torch.no_grad():
            fake = self._painted(networks, batch)
        wrong = torch.where(wanted == label, (label + 1) % len(self.emotions), wanted)
        real, made, mismatched = self._judged(
            networks, torch.cat([photo, fake, photo]), torch.cat([label, wanted, wrong])
        ).chunk(3)
        terms = {"adversarial_critic": losses.hinge_critic(real, torch.cat([made, mismatched]))}
        return terms["adversarial_critic"], detached(terms)

    def _generator_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        terms = {
            "adversarial_generator": losses.hinge_generator(
                self._judged(networks, self._painted(networks, batch), batch["wanted"])
            )
        }
        return terms["adversarial_generator"], detached(terms)

    def _noise_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """|| z - E_z(G(z, y')) ||^2 as a mean, on paintings; 1 is what knowing nothing costs."""
        with torch.no_grad():
            fake = self._painted(networks, batch)
        loss = F.mse_loss(networks["encoder_z"](fake), batch["noise"])
        return loss, {"noise": loss.detach()}

    def _label_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """|| y - E_y(x) ||^2 as a mean, on photos."""
        loss = F.mse_loss(
            networks["encoder_y"](batch["picture"]), one_hot(batch["label"], len(self.emotions))
        )
        return loss, {"label": loss.detach()}

    def watch(self, networks: Networks, batch: Batch) -> dict[str, float]:
        """`photo`: L1 between photos and what generator and encoders make of them, in -1..1."""
        own = networks["encoder_y"](batch["picture"])
        again = networks["generator"](networks["encoder_z"](batch["picture"]), own)
        return {
            "adversarial_generator": float(self._generator_loss(networks, batch)[0]),
            "noise": float(self._noise_loss(networks, batch)[0]),
            "label": float(self._label_loss(networks, batch)[0]),
            "photo": float(losses.cycle_loss(again, batch["picture"])),
        }

    @torch.no_grad()
    def translate(self, networks: Networks, pictures: Tensor, emotion: str) -> Tensor | None:
        """(B, 3, S, S) in 0..1 -> faces like them with an emotion, 0..1; None for one not trained for."""
        if emotion not in self.emotions:
            return None
        wanted = torch.full((len(pictures),), self.emotions.index(emotion), device=pictures.device)
        return unsigned(
            networks["generator"](
                networks["encoder_z"](signed(pictures)), one_hot(wanted, len(self.emotions))
            )
        )

    def picture(self, networks: Networks, corpus: Corpus) -> np.ndarray:
        return sheet(self, networks, corpus, self.shape["size_px"])
