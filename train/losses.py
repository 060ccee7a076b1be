"""GANimation's loss, term by term, with the paper's equations; and alternatives to its gradient penalty.

Equations: Pumarola et al., "GANimation", ECCV 2018, arXiv 1807.09251v2. Eq. 1 (the composition) is
`train.networks.compact.compose`; eq. 6 (the minimax) is the training loop: one network's Turn lowers `critic`
terms, the other's lowers `generator` terms.

Every term is a mean, over the batch and over pixels or patches: neither batch size nor the number of patches
changes what a weight means, and resolution only where a docstring states it. Pictures are in -1..1 (sect. 5),
AUs in 0..1. Networks are passed in: a critic as `score_of`, a function picture (B, 3, S, S) ->
scores (B, ...).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ScoreOf = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class GanimationWeights:
    """Eq. 5: L = L_I + λ_y L_y + λ_A (L_A(there) + L_A(back)) + λ_idt L_idt, each term a mean as below.

    The paper's λ_y = 4000 meets a mean divided by its batch of 25 once more in the authors' code: 4000 / 25 =
    160. Its total variation is a sum over the batch's pixels: 1e-5 x 2 x 25 x 128 x 128 = 8.2 for the mean of
    `total_variation`.
    """

    adversarial: float = 1.0
    penalty: float = 10.0  # λ_gp
    expression: float = 160.0  # λ_y
    cycle: float = 10.0  # λ_idt
    attention: float = 0.1  # λ_A, of `kept_share` (the paper) or `changed_share`
    smooth: float = 8.0  # λ_A λ_TV
    reconstruction: float = 0.0  # no change must give the photo back; only relative AUs have such an input

    @classmethod
    def relative(cls) -> "GanimationWeights":
        """For changes of AUs instead of intensities.

        Source: Ling et al., "Toward Fine-grained Facial Expression Manipulation", ECCV 2020.
        """
        return cls(expression=150.0, cycle=30.0, reconstruction=30.0)


# --- realism: the critic's displayed loss in sect. 4.2, "image adversarial loss" ---


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(I | y))] - E[D(I)], sect. 4.2 without its penalty: scores of any shape -> a scalar."""
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """-E[D(G(I | y))], sect. 4.2: the generator's part of the same loss."""
    return -fake.mean()


def interpolated(real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """mix x real + (1 - mix) x fake, detached: pictures (B, 3, S, S) and mix (B, 1, 1, 1) in 0..1."""
    return (mix * real + (1 - mix) * fake).detach()


def gradient_penalty(score_of: ScoreOf, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E[(|| grad D(I~) ||_2 - 1)^2] on interpolates I~, sect. 4.2 (Gulrajani et al., NIPS 2017): two-sided.

    D(I~) is the mean over a picture's patches, the score that `wasserstein_critic` uses (the authors' code
    takes their sum, which with its 2x2 patches asks for a slope a quarter of this one). mix: (B, 1, 1, 1),
    uniform in 0..1, given and not drawn, so that a resumed run repeats itself. The norm is over all of a
    picture's pixels, as in the paper. So resolution counts: the same critic on a picture of twice the side,
    each pixel doubled, has half the norm, and may be twice as steep.
    """
    norm = _score_gradient(score_of, interpolated(real, fake, mix)).flatten(1).norm(dim=1)
    return (norm - 1).square().mean()


def hinge_critic(real: Tensor, fake: Tensor, counts: Tensor | float = 1.0) -> Tensor:
    """E[max(0, 1 - D(I))] + E[max(0, 1 + D(G))]: Lim and Ye, 2017. Needs no penalty.

    With spectral norm: Miyato et al., ICLR 2018. counts: how much each score does, of mean 1.
    """
    return (F.relu(1 - real) * counts).mean() + (F.relu(1 + fake) * counts).mean()


def hinge_generator(fake: Tensor, counts: Tensor | float = 1.0) -> Tensor:
    """-E[D(G)], as with Wasserstein; counts as above."""
    return -(fake * counts).mean()


def r1_penalty(score_of: ScoreOf, real: Tensor) -> Tensor:
    """E[|| grad D(I) ||_2^2] / 2 on real pictures: Mescheder et al., ICML 2018, eq.

    9 without its γ. Resolution counts as above, squared.
    """
    return _score_gradient(score_of, real.detach()).flatten(1).square().sum(dim=1).mean() / 2


def _score_gradient(score_of: ScoreOf, pictures: Tensor) -> Tensor:
    """Gradient of each picture's mean score, (B, 3, S, S) float32, differentiable by the critic's weights."""
    pictures = pictures.requires_grad_()
    scores = score_of(pictures).reshape(len(pictures), -1).mean(dim=1).sum()
    return torch.autograd.grad(scores, pictures, create_graph=True)[0].float()


# --- attention: eq. 2 ---


def kept_share(attention: Tensor) -> Tensor:
    """mean(A), eq.

    2's E[|| A ||_2] as the authors' code has it (a mean, not a root of squares). A = 1 keeps the photo.

    Lowering it asks for change everywhere; it is there against copying ("the masks can easily saturate to
    1"), while critic and cycle loss hold still whatever need not move.
    """
    return attention.mean()


def changed_share(attention: Tensor) -> Tensor:
    """mean(1 - A): the share that is painted.

    NOT eq. 2 but its opposite, for losses that already make the generator move.

    Lowering it asks for small edits, and copying costs nothing: a weight too high lets A saturate at 1. (The
    first arXiv version printed eq. 1 with A and 1 - A exchanged; its || A ||_2 is this one.)
    """
    return (1 - attention).mean()


def total_variation(attention: Tensor) -> Tensor:
    """Eq. 2's total variation, Σ_ij (A_{i+1,j} - A_ij)^2 + (A_{i,j+1} - A_ij)^2, here as a mean.

    (B, 1, S, S) -> scalar. A sum over B pictures has 2 B S^2 of them, whence `GanimationWeights.smooth`. The
    mean measures how rough a mask is per pixel: drawn at twice the resolution a smooth mask has a quarter of
    it, a texture of fixed period in pixels the same.
    """
    down, across = attention.diff(dim=2).square(), attention.diff(dim=3).square()
    return (down.mean() + across.mean()) / 2


# --- expression and identity: eq. 3 and 4 ---


def expression_loss(estimated: Tensor, wanted: Tensor) -> Tensor:
    """Eq. 3, either half: the mean over AUs and batch of (D_y(I) - y)^2, both (B, N).

    Photos and their own AUs train the critic; results and the wanted AUs train the generator.
    """
    return F.mse_loss(estimated, wanted)


def cycle_loss(again: Tensor, photo: Tensor) -> Tensor:
    """Eq. 4: || G(G(I | y_f) | y_o) - I ||_1 as a mean over pixels and colours, in -1..1: (B, 3, S, S) twice.

    Also the reconstruction of relative AUs, || G(I | 0) - I ||_1 (Ling et al. 2020).
    """
    return F.l1_loss(again, photo)
