"""Shade, and the critic beside the supervised loss: who teaches them, what they learn; a run resumes."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError  # noqa: E402
from tests.support.small_runs import TINY, lines, plan  # noqa: E402
from train.networks.compact import Drawn, composed  # noqa: E402
from train.networks.critic import Critic  # noqa: E402
from train.recipes.supervised import (  # noqa: E402
    HEARD,
    PAINTED,
    PENALTY,
    PENALTY_EVERY,
    SHADED,
    SILENT,
    Supervised,
    critic_loss,
    critic_of,
    heard,
    judgement,
    taught,
)
from train.synthesis.pairs import PairSource  # noqa: E402
from train.synthesis.regions import UNKNOWN  # noqa: E402
from train.trainer import fit  # noqa: E402

SIZE = TINY.size_px


@pytest.fixture
def critic() -> Critic:
    torch.manual_seed(1)
    return Critic(critic_of(TINY)).eval()


@pytest.fixture
def batch() -> dict:
    torch.manual_seed(2)
    return {
        "picture": torch.rand(4, 3, SIZE, SIZE),
        "target": torch.rand(4, 3, SIZE, SIZE),
        "change": torch.zeros(4, TINY.au_count),
        "weight": torch.full((4, 1, SIZE, SIZE), 2.0),  # eyes and lips
        "decided": torch.ones(4, 1, SIZE, SIZE),
        "face": torch.ones(4, 1, SIZE, SIZE),
        "photographic": torch.ones(4, 1, 1, 1),
        "counts": torch.full((4, 1, SIZE, SIZE), PAINTED / 2),
    }


def test_a_result_like_its_target_lacks_nothing_and_another_one_does(critic, batch):
    _, same = judgement(critic, batch["target"], batch)
    _, other = judgement(critic, batch["target"].flip(3), batch)
    assert same["features"] == 0 < other["features"]


def test_only_photographs_teach_what_is_real(critic, batch):
    batch["photographic"] *= 0
    _, terms = judgement(critic, batch["target"].flip(3), batch)
    assert terms["features"] == terms["adversarial_generator"] == 0 < terms["expression_fake"]
    batch["result"] = batch["target"].flip(3)
    assert critic_loss(critic, batch)[1]["adversarial_critic"] == 0


def test_what_is_not_the_face_is_not_looked_at(critic, batch):
    batch["face"][..., SIZE // 2 :] = 0
    result = batch["target"].clone()
    result[..., SIZE // 2 :] = 0
    total, terms = judgement(critic, result, batch)
    assert terms["features"] == 0
    assert total.item() == pytest.approx(judgement(critic, batch["target"], batch)[0].item())


def test_the_critic_looks_where_the_generator_paints(critic, batch):
    batch["result"] = batch["target"].flip(3)
    everywhere = critic_loss(critic, batch)[1]["adversarial_critic"]
    batch["counts"][..., SIZE // 2 :] = 0
    half = critic_loss(critic, batch)[1]["adversarial_critic"]
    assert 0.3 * everywhere < half < 0.7 * everywhere
    batch["counts"] *= 0
    assert critic_loss(critic, batch)[1]["adversarial_critic"] == 0


@pytest.mark.parametrize("shaded", [False, True])
def test_the_critic_teaches_eyes_and_lips_and_of_skin_the_shade(critic, batch, shaded):
    skin = np.s_[..., SIZE // 2 :]
    batch["weight"][skin] = 1.0
    parts = {
        "colour": batch["target"].flip(3),
        "attention": torch.full((4, 1, SIZE, SIZE), 0.5),
        "shade": torch.full((4, 1, SIZE, SIZE), -0.1) if shaded else None,
    }
    drawn = Drawn(
        flow=None, **{name: part if part is None else part.requires_grad_() for name, part in parts.items()}
    )
    result = composed(batch["picture"], drawn)
    learnt, batch["counts"] = taught(result, drawn, batch)
    assert torch.allclose(learnt, result, atol=1e-6)
    assert (batch["counts"][skin] == (SHADED if shaded else 0)).all()
    judgement(critic, learnt, batch)[0].backward()
    assert drawn.colour.grad[skin].abs().max() == 0 < drawn.colour.grad[..., : SIZE // 2].abs().max()
    assert drawn.attention.grad[skin].abs().max() == 0
    if shaded:
        assert drawn.shade.grad[skin].abs().max() > 0


def test_the_generator_hears_of_a_critic_that_has_learnt_something():
    shares = [heard(step) for step in (0, SILENT, HEARD, 10 * HEARD)]
    assert shares == [0.0, 0.0, 1.0, 1.0]


def test_a_step_with_a_penalty_presses_on_the_critics_slope_and_stands_for_all_that_have_none(critic, batch):
    batch["result"] = batch["target"].flip(3)
    without, _ = critic_loss(critic, batch)
    total, terms = critic_loss(critic, batch, penalised=True)
    added = PENALTY * PENALTY_EVERY * terms["penalty"].item()
    assert (total - without).item() == pytest.approx(added, rel=1e-3)
    with torch.no_grad():
        critic.patches.weight *= 2
    _, steeper = critic_loss(critic, batch, penalised=True)
    assert steeper["penalty"].item() == pytest.approx(4 * terms["penalty"].item(), rel=1e-3)


def test_a_mouth_that_only_the_target_shows_is_looked_at_as_any_other(critic, batch):
    batch["result"] = batch["target"].flip(3)
    shown = critic_loss(critic, batch)[1]["adversarial_critic"]
    hidden = batch | {"decided": batch["decided"].clone(), "weight": batch["weight"].clone()}
    hidden["decided"][..., SIZE // 2 :, :] = 0
    hidden["weight"][..., SIZE // 2 :, :] *= UNKNOWN
    assert critic_loss(critic, hidden)[1]["adversarial_critic"].item() == pytest.approx(shown.item())


def test_only_photographs_teach_shade(corpus):
    recipe = Supervised(dataclasses.replace(TINY, shade=True))
    samples = [PairSource(corpus, 0)[number] for number in range(4)]
    batch = recipe.batch(
        {name: torch.stack([torch.from_numpy(s[name]) for s in samples]) for name in samples[0]}
    )
    generator = recipe.networks["generator"]
    for photographic in (0.0, 1.0):
        generator.zero_grad()
        batch["photographic"] = torch.full((4, 1, 1, 1), photographic)
        recipe.turns(0)[0].loss(batch)[0].backward()
        assert generator.shade[2].weight.grad.any() == bool(photographic)
        assert generator.out.weight.grad[:16].any(), "colour learns from both"


def test_shade_can_be_learnt_alone_from_photographs_and_leaves_all_else_as_it_was(corpus, tmp_path):
    shape = dataclasses.replace(TINY, teeth=True, shade=True)
    recipe = Supervised(shape, critic=True, only_shade=True)
    before = {name: value.clone() for name, value in recipe.networks["generator"].state_dict().items()}
    source = recipe.dataset(corpus, 0)
    assert all(source[number]["photographic"] == 1 for number in range(12))
    fit(recipe, corpus, tmp_path, plan(images=12), quiet=True)
    moved = {
        name
        for name, value in recipe.networks["generator"].state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved and all(name.startswith("shade.") for name in moved)
    with pytest.raises(DataError, match="--no-shade"):
        Supervised(TINY, only_shade=True)


def test_a_critic_learns_to_tell_results_from_targets(critic, batch):
    batch["result"] = batch["target"].mean(dim=(2, 3), keepdim=True).expand_as(batch["target"])
    adam = torch.optim.Adam(critic.train().parameters(), 2e-3)
    found = []
    for _ in range(30):
        loss, terms = critic_loss(critic, batch)
        adam.zero_grad()
        loss.backward()
        adam.step()
        found.append(terms["adversarial_critic"].item())
    assert found[0] == pytest.approx(2, abs=0.3) and found[-1] < 1.4


def test_a_run_with_a_critic_moves_both_networks_and_resumes_exactly(corpus, tmp_path):
    def recipe() -> Supervised:
        torch.manual_seed(0)
        return Supervised(TINY, critic=True)

    start = {name: [p.clone() for p in net.parameters()] for name, net in recipe().networks.items()}
    whole, halves = recipe(), recipe()
    short = {"images": 32, "save_every_s": 1e9}
    fit(whole, corpus, tmp_path / "whole", plan(**short), quiet=True)
    fit(halves, corpus, tmp_path / "halves", plan(**short), quiet=True, until=16)
    halves = recipe()
    fit(halves, corpus, tmp_path / "halves", plan(**short), quiet=True)
    for name, before in start.items():
        after, resumed = (list(r.networks[name].parameters()) for r in (whole, halves))
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)), name
        assert all(torch.equal(a, b) for a, b in zip(after, resumed, strict=True)), name
    assert lines(tmp_path / "whole", "adversarial_critic") == lines(tmp_path / "halves", "adversarial_critic")
