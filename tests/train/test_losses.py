"""GANimation's terms against numbers worked out by hand; weights mean the same at every batch size."""

import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from train.losses import (  # noqa: E402
    GanimationWeights,
    changed_share,
    cycle_loss,
    expression_loss,
    gradient_penalty,
    hinge_critic,
    hinge_generator,
    interpolated,
    kept_share,
    r1_penalty,
    total_variation,
    wasserstein_critic,
    wasserstein_generator,
)


def test_the_wasserstein_terms_are_differences_of_mean_scores():
    real, fake = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.5, -1.5]])
    assert wasserstein_critic(real, fake) == -0.5 - 2.0
    assert wasserstein_generator(fake) == 0.5


def test_the_hinge_stops_rewarding_scores_beyond_one():
    # real: max(0, 1-2) = 0 and max(0, 1-.5) = .5, mean .25; fake: max(0, 1-3) = 0 and max(0, 1+1) = 2, mean 1
    assert hinge_critic(torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 1.0])) == 1.25
    assert hinge_generator(torch.tensor([-3.0, 1.0])) == 1.0


def test_interpolates_lie_between_and_have_no_history():
    real, fake = torch.full((2, 3, 2, 2), 1.0), torch.full((2, 3, 2, 2), -1.0, requires_grad=True)
    between = interpolated(real, fake, torch.tensor([0.25, 1.0]).reshape(2, 1, 1, 1))
    assert between[0].unique() == -0.5 and between[1].unique() == 1.0 and not between.requires_grad


def linear(slope: float):
    """A critic of gradient `slope` at each of a picture's n numbers: its norm is |slope| sqrt(n)."""
    weight = torch.tensor(slope, requires_grad=True)
    return weight, lambda picture: weight * picture.flatten(1).sum(dim=1, keepdim=True)


@pytest.mark.parametrize("slope", [0.0, 0.25, 0.5, -0.5])
def test_the_gradient_penalty_is_two_sided_around_a_norm_of_one(slope):
    # (2, 3, 2, 2): 12 numbers a picture, norm = |slope| sqrt(12), whatever the pictures are
    weight, score_of = linear(slope)
    penalty = gradient_penalty(
        score_of, torch.rand(2, 3, 2, 2), torch.rand(2, 3, 2, 2), torch.rand(2, 1, 1, 1)
    )
    assert penalty.item() == pytest.approx((abs(slope) * 12**0.5 - 1) ** 2, rel=1e-5)
    if slope:  # d/dslope (|slope| r - 1)^2 = 2 (|slope| r - 1) r sign(slope), r = sqrt(12)
        penalty.backward()
        expected = 2 * (abs(slope) * 12**0.5 - 1) * 12**0.5 * (1 if slope > 0 else -1)
        assert weight.grad.item() == pytest.approx(expected, rel=1e-5)


def test_the_penalty_is_taken_at_the_mix():
    # D(x) = x^2 / 2 on one number: the slope is x itself; x = mix 3 + (1 - mix) 1
    def score_of(picture):
        return picture.square().sum(dim=(1, 2, 3)) / 2

    real, fake = torch.full((2, 1, 1, 1), 3.0), torch.full((2, 1, 1, 1), 1.0)
    mix = torch.tensor([1.0, 0.5]).reshape(2, 1, 1, 1)  # slopes 3 and 2: ((3-1)^2 + (2-1)^2) / 2
    assert gradient_penalty(score_of, real, fake, mix).item() == pytest.approx(2.5)


def test_the_penalised_score_is_the_mean_over_patches():
    _, score_of = linear(0.5)
    arguments = (torch.rand(1, 3, 2, 2), torch.rand(1, 3, 2, 2), torch.rand(1, 1, 1, 1))
    patches = gradient_penalty(lambda x: score_of(x)[:, :, None, None].expand(-1, 1, 4, 4), *arguments)
    assert patches.item() == pytest.approx(gradient_penalty(score_of, *arguments).item())


def test_twice_the_side_halves_the_gradient_norm_of_the_same_critic():
    # Mean brightness: slope 1/n at n numbers, norm 1/sqrt(n). 12 numbers, then 48.
    def score_of(picture):
        return picture.mean(dim=(1, 2, 3))

    for side, norm in ((2, 12**-0.5), (4, 48**-0.5)):
        picture, mix = torch.rand(1, 3, side, side), torch.rand(1, 1, 1, 1)
        assert gradient_penalty(score_of, picture, picture, mix).item() == pytest.approx(
            (norm - 1) ** 2, rel=1e-5
        )


def test_r1_is_half_the_squared_gradient_on_real_pictures():
    weight, score_of = linear(0.5)
    penalty = r1_penalty(score_of, torch.rand(3, 3, 2, 2))
    penalty.backward()
    assert penalty.item() == pytest.approx(0.25 * 12 / 2) and weight.grad.item() == pytest.approx(0.5 * 12)


def test_a_penalty_leaves_no_gradient_on_what_it_was_given():
    _, score_of = linear(0.5)
    real, fake = torch.rand(1, 3, 2, 2), torch.rand(1, 3, 2, 2, requires_grad=True)
    (gradient_penalty(score_of, real, fake, torch.rand(1, 1, 1, 1)) + r1_penalty(score_of, real)).backward()
    assert fake.grad is None and not real.requires_grad


def test_kept_and_changed_shares_are_each_others_complement():
    attention = torch.tensor([[[[1.0, 0.5], [0.25, 0.25]]]])
    assert kept_share(attention) == 0.5 and changed_share(attention) == 0.5
    assert kept_share(torch.ones(1, 1, 2, 2)) == 1 and changed_share(torch.ones(1, 1, 2, 2)) == 0


def test_total_variation_is_the_mean_squared_step_of_both_directions():
    # rows 0 1 / 0 0.5: across 1 and .25, mean .625; down 0 and .25, mean .125
    assert total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 0.5]]]])) == 0.375
    assert total_variation(torch.full((2, 1, 4, 4), 0.3)) == 0


def test_the_weight_of_total_variation_is_the_papers_sum_at_its_batch_and_size():
    attention = torch.rand(25, 1, 128, 128)
    as_sum = 1e-5 * (attention.diff(dim=2).square().sum() + attention.diff(dim=3).square().sum())
    assert (GanimationWeights().smooth * total_variation(attention)).item() == pytest.approx(
        as_sum.item(), rel=0.04
    )


def test_the_expression_loss_is_the_mean_square_over_aus_and_batch():
    assert (
        expression_loss(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([[1.0, 1.0], [0.5, 0.0]]))
        == (1 + 0.25) / 4
    )


def test_the_cycle_loss_is_the_mean_absolute_difference():
    assert cycle_loss(torch.tensor([[[[-1.0, 1.0]]]]), torch.tensor([[[[1.0, 0.5]]]])) == 1.25


def test_the_weights_are_the_papers_per_mean():
    weights = GanimationWeights()
    assert (weights.adversarial, weights.penalty, weights.expression, weights.cycle) == (1, 10, 160, 10)
    assert (weights.attention, weights.smooth, weights.reconstruction) == (0.1, 8, 0)
    relative = GanimationWeights.relative()
    assert (relative.expression, relative.cycle, relative.reconstruction, relative.penalty) == (
        150,
        30,
        30,
        10,
    )


def test_doubling_the_batch_changes_no_term():
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.rand(*shape, generator=generator)

    real, fake, mix, attention = drawn(2, 3, 4, 4), drawn(2, 3, 4, 4), drawn(2, 1, 1, 1), drawn(2, 1, 4, 4)
    conv = torch.nn.Conv2d(3, 4, 3)
    terms = {
        "critic": lambda r, f, m, a: wasserstein_critic(conv(r), conv(f)),
        "hinge": lambda r, f, m, a: hinge_critic(conv(r), conv(f)),
        "penalty": lambda r, f, m, a: gradient_penalty(lambda x: conv(x).square(), r, f, m),
        "r1": lambda r, f, m, a: r1_penalty(lambda x: conv(x).square(), r),
        "kept": lambda r, f, m, a: kept_share(a),
        "smooth": lambda r, f, m, a: total_variation(a),
        "expression": lambda r, f, m, a: expression_loss(r.mean(dim=(2, 3)), f.mean(dim=(2, 3))),
        "cycle": lambda r, f, m, a: cycle_loss(r, f),
    }
    once = (real, fake, mix, attention)
    twice = tuple(torch.cat([value, value]) for value in once)
    for name, term in terms.items():
        assert term(*twice).item() == pytest.approx(term(*once).item(), rel=1e-4), name


def test_tiling_to_twice_the_side_changes_no_weight_of_attention_or_cycle():
    generator = torch.Generator().manual_seed(0)
    attention = torch.rand(1, 1, 32, 32, generator=generator)
    tiled = attention.tile(1, 1, 2, 2)
    assert kept_share(tiled).item() == pytest.approx(kept_share(attention).item(), rel=1e-5)
    assert total_variation(tiled).item() == pytest.approx(total_variation(attention).item(), rel=0.05), (
        "but for the seam"
    )
    assert cycle_loss(tiled, 1 - tiled).item() == pytest.approx(
        cycle_loss(attention, 1 - attention).item(), rel=1e-5
    )
