"""CycleGAN (Zhu et al., ICCV 2017): two translators, neutral to one emotion and back, and two patch critics.

As in the paper: least-squares adversarial loss (sect. 4), cycle (eq. 2) with weight 10, identity (sect. 5.2)
with half of that, Adam 2e-4. Not as in it: no buffer of earlier pictures, because a resumed run could not
repeat itself; GANimation's trunk; critics without normalisation. A run learns one emotion.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from train import losses
from train.data.corpus import Corpus
from train.data.domains import EmotionSamples
from train.networks.critic import Critic
from train.networks.discrete import Translator, patch_critic
from train.recipes.discrete import checked_one, sheet, signed_batch, sizes, unsigned
from train.recipes.recipe import Batch, Networks, Turn, detached, signed

CYCLE, IDENTITY = 10.0, 5.0


class CycleGan:
    """A Recipe. shape: size_px, width (the paper's is 64), emotions: one."""

    name = "cyclegan"
    averaged = ("to_emotion", "to_neutral")
    betas = (0.5, 0.999)
    rate = 2e-4
    clip = None

    def __init__(self, size_px: int, width: int, emotions: tuple[str, ...] = ("happy",)):
        self.emotions = checked_one(emotions, "cyclegan")
        self.networks: dict[str, nn.Module] = {
            "to_emotion": Translator(width),
            "to_neutral": Translator(width),
            "critic_emotion": Critic(patch_critic(size_px, width)),
            "critic_neutral": Critic(patch_critic(size_px, width)),
        }
        self.shape: dict[str, Any] = {
            "model": self.name,
            "size_px": size_px,
            "width": width,
            "emotions": list(emotions),
        }

    @classmethod
    def from_shape(cls, shape: dict[str, Any]) -> "CycleGan":
        return cls(*sizes(shape, cls.name))

    def dataset(self, corpus: Corpus, seed: int, held_out: bool = False) -> EmotionSamples:
        return EmotionSamples(
            corpus, seed, self.shape["size_px"], ("neutral",), self.emotions, held_out, pairs=True
        )

    def batch(self, samples: Batch) -> Batch:
        return signed_batch(samples)

    def turns(self, _step: int) -> list[Turn]:
        return [
            Turn(("to_emotion", "to_neutral"), lambda batch: self._translators_loss(self.networks, batch)),
            Turn(
                ("critic_emotion", "critic_neutral"), lambda batch: self._critics_loss(self.networks, batch)
            ),
        ]

    def _translators_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 3: L_GAN(G, D_Y) + L_GAN(F, D_X) + λ L_cyc, and the identity loss of sect. 5.2.

        Terms are of both directions.
        """
        to_emotion, to_neutral = networks["to_emotion"], networks["to_neutral"]
        neutral, emotional = batch["picture"], batch["other"]
        made_emotional, made_neutral = to_emotion(neutral), to_neutral(emotional)
        terms = {
            "adversarial_generator": least_squares(networks["critic_emotion"](made_emotional)[0], 1)
            + least_squares(networks["critic_neutral"](made_neutral)[0], 1),
            "cycle": losses.cycle_loss(to_neutral(made_emotional), neutral)
            + losses.cycle_loss(to_emotion(made_neutral), emotional),
            "identity": losses.cycle_loss(to_emotion(emotional), emotional)
            + losses.cycle_loss(to_neutral(neutral), neutral),
        }
        return terms["adversarial_generator"] + CYCLE * terms["cycle"] + IDENTITY * terms[
            "identity"
        ], detached(terms)

    def _critics_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Sect. 4: (D(y) - 1)^2 + D(G(x))^2, halved, for each domain."""
        with torch.no_grad():
            made_emotional, made_neutral = (
                networks["to_emotion"](batch["picture"]),
                networks["to_neutral"](batch["other"]),
            )
        terms = {}
        for name, real, fake in (
            ("emotion", batch["other"], made_emotional),
            ("neutral", batch["picture"], made_neutral),
        ):
            real_patches, fake_patches = networks[f"critic_{name}"](torch.cat([real, fake]))[0].chunk(2)
            terms[f"critic_{name}"] = (least_squares(real_patches, 1) + least_squares(fake_patches, 0)) / 2
        return terms["critic_emotion"] + terms["critic_neutral"], detached(terms)

    def watch(self, networks: Networks, batch: Batch) -> dict[str, float]:
        loss, terms = self._translators_loss(networks, batch)
        return {"loss": float(loss), **{name: float(value) for name, value in terms.items()}}

    @torch.no_grad()
    def translate(self, networks: Networks, pictures: Tensor, emotion: str) -> Tensor | None:
        """(B, 3, S, S) in 0..1 -> the same with an emotion or neutral, 0..1; None for another emotion."""
        if emotion not in (*self.emotions, "neutral"):
            return None
        return unsigned(networks["to_neutral" if emotion == "neutral" else "to_emotion"](signed(pictures)))

    def picture(self, networks: Networks, corpus: Corpus) -> np.ndarray:
        return sheet(self, networks, corpus, self.shape["size_px"])


def least_squares(scores: Tensor, wanted: float) -> Tensor:
    """The mean of (D - wanted)^2: LSGAN, Mao et al., ICCV 2017."""
    return (scores - wanted).square().mean()
