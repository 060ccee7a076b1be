"""The networks: the paper's to the parameter, the compact one's promises, and shapes on disk."""

import dataclasses
import json
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError  # noqa: E402
from engines.face.action_units import PAPER_17, WIDE, translate, wholes  # noqa: E402
from train.losses import gradient_penalty  # noqa: E402
from train.networks.compact import (  # noqa: E402
    LIGHT,
    LIGHTEST,
    MOST_SHADE,
    SHADOW,
    TEETH_UNIT,
    UNSEEN_SHADE,
    CompactGenerator,
    Shape,
    across,
    compose,
    composed,
)
from train.networks.critic import Critic, CriticShape, compact_critic  # noqa: E402
from train.networks.from_shape import build  # noqa: E402
from train.networks.listing import cost, listing  # noqa: E402
from train.networks.paper import PaperGenerator, PaperShape, ResidualBlock  # noqa: E402
from train.networks.vocabulary import shares, translation, views, vocabulary_name, widened  # noqa: E402

TINY = Shape(size_px=32, quarter=8, eighth=8, sixteenth=8, blocks=(1, 1, 1, 1), head=8)
TINY_PAPER = PaperShape(size_px=32, width=4, blocks=1)
TINY_CRITIC = CriticShape(size_px=32, width=4, widest=8, layers=3, unshuffle=2)


def count(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_networks_have_the_papers_parameters():
    with torch.device("meta"):
        assert count(PaperGenerator()) == 8_471_296
        assert count(Critic()) == 44_860_352


def test_the_paper_generator_costs_what_was_measured_at_128_px():
    with torch.device("meta"):
        it = cost(PaperGenerator(), (torch.zeros(1, 3, 128, 128), torch.zeros(1, 17)))
    assert round(it.macs / 1e9, 2) == 10.63


def test_the_counter_of_work_agrees_with_a_sum_by_hand():
    # 3x3 conv, 2 -> 5 channels, on 4x4 pixels with padding: 9 x 2 x 5 x 16 multiply-accumulates, 95 numbers
    it = cost(torch.nn.Conv2d(2, 5, 3, padding=1), (torch.zeros(1, 2, 4, 4),))
    assert (it.macs, it.parameters) == (9 * 2 * 5 * 16, 95)


def test_the_paper_generator_gives_two_masks_in_range_and_moves_nothing():
    generator = PaperGenerator(TINY_PAPER)
    photo, aus = torch.rand(2, 3, 32, 32), torch.rand(2, 17)
    colour, attention, flow = generator(photo, aus)
    assert colour.shape == photo.shape and attention.shape == (2, 1, 32, 32) and flow is None
    assert 0 <= colour.min() and colour.max() <= 1 and 0 < attention.min() and attention.max() < 1
    assert not torch.allclose(colour, generator(photo, 1 - aus)[0]), "the AUs reach the picture"
    kept, painted = torch.ones_like(attention), torch.zeros_like(attention)
    assert torch.equal(compose(photo, colour, kept, None), photo) and torch.equal(
        compose(photo, colour, painted, None), colour
    )


def test_the_papers_normalisation_is_an_affine_instance_norm():
    _conv, norm = ResidualBlock(4).first
    same, x = torch.nn.InstanceNorm2d(4, affine=True), torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        for one in (norm, same):
            one.weight.copy_(torch.tensor([1.0, 2, 3, 4]))
            one.bias.copy_(torch.tensor([0.5, 0, -1, 2]))
    for layout in (torch.contiguous_format, torch.channels_last):
        out = norm(x.contiguous(memory_format=layout))
        assert torch.allclose(out, same(x), atol=1e-5) and out.is_contiguous(memory_format=layout)


def test_no_normalisation_leaks_from_one_picture_to_its_neighbours():
    generator, critic = PaperGenerator(TINY_PAPER), Critic(TINY_CRITIC)
    photo, aus = torch.rand(3, 3, 32, 32), torch.rand(3, 17)
    for network, inputs in ((generator, (photo, aus)), (critic, (photo,))):
        whole, alone = network(*inputs), network(*(value[1:2] for value in inputs))
        assert torch.allclose(whole[0][1:2], alone[0], atol=1e-5) and torch.allclose(
            whole[1][1:2], alone[1], atol=1e-5
        )


@pytest.mark.parametrize("shape", [CriticShape(), compact_critic()], ids=["paper", "compact"])
def test_a_critic_judges_patches_and_reads_aus(shape):
    with torch.device("meta"):
        patches, aus = Critic(shape)(torch.zeros(2, 3, 128, 128))
    assert patches.shape == (2, 1, 2, 2) and aus.shape == (2, 17)


def test_a_critic_can_be_penalised_by_its_gradient():
    critic, pictures = Critic(TINY_CRITIC), torch.rand(2, 2, 3, 32, 32)
    gradient_penalty(lambda picture: critic(picture)[0], *pictures, torch.rand(2, 1, 1, 1)).backward()
    assert all(conv.weight.grad.abs().sum() > 0 for conv in critic.convs) and critic.aus.weight.grad is None


def test_spectral_norm_bounds_the_largest_stretch_of_each_conv():
    critic = Critic(CriticShape(size_px=32, width=4, widest=8, layers=3, spectral=True))
    with torch.no_grad():
        for conv in critic.convs:
            conv.parametrizations.weight.original.mul_(50)
    for _ in range(30):  # each pass in training mode is one power iteration
        critic(torch.rand(1, 3, 32, 32))
    for conv in critic.convs:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_looking_on_without_gradients_moves_nothing_in_a_critic():
    critic = Critic(CriticShape(size_px=32, width=4, widest=8, layers=3, spectral=True))
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    with torch.no_grad():
        critic(torch.rand(1, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())
    critic(torch.rand(1, 3, 32, 32))
    assert any(not torch.equal(value, before[name]) for name, value in critic.state_dict().items())


def test_a_critic_too_deep_for_its_crops_is_refused():
    with pytest.raises(DataError, match="64 px or more, not 32"):
        Critic(CriticShape(size_px=32))


@pytest.mark.parametrize(
    "shape",
    [
        TINY,
        Shape("paper17", 64, flow=False),
        TINY_PAPER,
        PaperShape("wide"),
        PaperShape(conditioning="relative"),
    ],
)
def test_a_generator_comes_back_from_the_json_of_its_shape(shape):
    generator = build(json.loads(json.dumps(shape.as_dict())))
    assert generator.shape == shape
    assert {"model", "conditioning"} <= shape.as_dict().keys()


def test_compact_generators_take_29_aus_and_the_papers_17_by_default():
    assert (Shape().au_names, PaperShape().au_names) == (WIDE, PAPER_17) and (
        Shape().au_count,
        PaperShape().au_count,
    ) == (
        29,
        17,
    )
    assert (Shape("paper17").au_count, PaperShape("wide").au_count) == (17, 29)
    assert [vocabulary_name(aus) for aus in (list(PAPER_17), WIDE)] == ["paper17", "wide"]
    with pytest.raises(DataError, match="none of the vocabularies"):
        vocabulary_name(("AU12", "AU25"))


def test_shapes_written_before_there_were_two_models_are_compact_and_take_17_aus():
    old = {
        "aus": 17,
        "size_px": 32,
        "quarter": 8,
        "eighth": 8,
        "sixteenth": 8,
        "blocks": [1, 1, 1, 1],
        "head": 8,
    }
    seventeen = dataclasses.replace(TINY, vocabulary="paper17")
    assert Shape.from_dict(old) == seventeen and isinstance(build(old), CompactGenerator)
    paper = {"model": "paper", "aus": 17, "size_px": 32, "width": 4, "blocks": 1, "conditioning": "absolute"}
    assert build(paper).shape == TINY_PAPER


def a_little_trained(shape: Shape) -> CompactGenerator:
    torch.manual_seed(0)
    network = CompactGenerator(shape)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network.eval()


@torch.no_grad()
def test_a_widened_generator_answers_symmetric_changes_as_it_did():
    narrow, wide = (
        a_little_trained(dataclasses.replace(TINY, vocabulary="paper17")),
        CompactGenerator(TINY).eval(),
    )
    weights = narrow.state_dict()
    name = "condition.0.weight"
    wide.load_state_dict({**weights, name: widened(weights[name], PAPER_17, wholes(WIDE))})
    photo, change = torch.rand(4, 3, 32, 32), torch.rand(4, 17) * 2 - 1
    change[0] = 0
    for before, after in zip(
        narrow(photo, change), wide(photo, change @ translation(PAPER_17, WIDE)), strict=True
    ):
        assert torch.allclose(before, after, atol=1e-5)
    columns = dict(zip(wholes(WIDE), wide.condition[0].weight.T, strict=True))
    assert all(torch.equal(columns[au], narrow.condition[0].weight[:, i]) for i, au in enumerate(PAPER_17))
    assert not columns["AU18"].any() and not columns["AU22"].any()


def test_tensors_are_translated_as_arrays_are():
    values = torch.rand(3, 29)
    assert torch.allclose(
        values @ translation(WIDE, PAPER_17),
        torch.from_numpy(translate(values.numpy(), WIDE, PAPER_17)),
        atol=1e-6,
    )


def test_each_half_of_the_picture_is_conditioned_on_its_own_side():
    change = torch.zeros(29)
    change[WIDE.index("AU12L")], change[WIDE.index("AU25")] = 0.8, 0.5
    right, left = change @ views(WIDE)
    place = {au: i for i, au in enumerate(wholes(WIDE))}
    assert len(place) == 19 and (right[place["AU12"]], left[place["AU12"]]) == (0, pytest.approx(0.8))
    assert right[place["AU25"]] == left[place["AU25"]] == 0.5
    assert torch.equal(views(PAPER_17), torch.eye(17)[None]), "one view where no sides are known"
    halves = torch.stack([torch.zeros(1, 4), torch.ones(1, 4)], dim=1)
    spread = across(halves, 64)
    assert spread.shape == (1, 4, 1, 64) and not spread[..., :24].any() and (spread[..., 40:] == 1).all()
    assert (spread.diff(dim=-1) >= 0).all() and spread[..., 31:33].mean() == pytest.approx(0.5), (
        "smooth at the middle"
    )


@torch.no_grad()
def test_teeth_are_laid_where_the_network_places_them_and_nowhere_else():
    from train.teeth import EDGE_PX, PX_PER_UNIT, teeth

    generator = CompactGenerator(dataclasses.replace(TINY, teeth=True)).eval()
    photo, change = torch.rand(1, 3, 32, 32), torch.full((1, 29), 0.3)
    bare = CompactGenerator(TINY).eval()(photo, change)[0]  # fresh heads say grey everywhere
    colour, _, flow, inside, where, shade = generator(photo, change, in_parts=True)
    assert shade is None
    assert (inside.shape, where.shape, flow.shape) == ((1, 1, 32, 32), (1, 2, 16, 16), (1, 2, 16, 16))
    assert torch.allclose(colour, bare, atol=0.05) and inside.max() < 0.05, "fresh: hardly anywhere"
    up = -0.05  # outer eye distances: in the middle of an incisor, a quarter of a tooth beside the midline
    generator.out.bias[-4:] = torch.tensor([0.02 / TEETH_UNIT, up / TEETH_UNIT, 20.0, 0.0])
    colour, _, _, inside, where, _ = generator(photo, change, in_parts=True)
    x, y = round(0.02 * PX_PER_UNIT + EDGE_PX[0]), round(up * PX_PER_UNIT + EDGE_PX[1])
    tooth = torch.from_numpy(teeth()[y, x, :3] / 255) * LIGHTEST / 2
    assert where[0, :, 8, 8].tolist() == pytest.approx([0.02, up], abs=1e-6)
    assert torch.allclose(colour[0, :, 16, 16], tooth, atol=0.04) and teeth()[y, x, 3] == pytest.approx(
        1, abs=0.02
    )
    generator.out.bias[-3] = 0.3 / TEETH_UNIT  # far below the edge: clear
    assert torch.allclose(generator(photo, change)[0], bare, atol=1e-3)


@torch.no_grad()
def test_shade_darkens_and_lightens_the_moved_photo_and_leaves_faint_colour_out():
    generator = CompactGenerator(dataclasses.replace(TINY, shade=True)).eval()
    photo, change = torch.rand(1, 3, 32, 32), torch.full((1, 29), 0.5)
    plain = CompactGenerator(TINY)
    plain.load_state_dict({n: v for n, v in generator.state_dict().items() if not n.startswith("shade.")})
    assert torch.equal(generator(photo, change, in_parts=True).shade, torch.zeros(1, 1, 32, 32)), (
        "fresh: none"
    )
    generator.out.bias[12:16] = 2.0  # fainter than FAINT
    assert torch.equal(generator(photo, change)[1], torch.ones(1, 1, 32, 32)), "faint colour is left out"
    generator.shade[2].bias[0] = 0.02
    assert torch.equal(generator(photo, change)[1], torch.ones(1, 1, 32, 32)), "and shade that nobody sees"
    for amount in (-0.8, 0.8):
        generator.shade[2].bias[0] = amount
        shade = generator(photo, change, in_parts=True).shade
        assert shade[0, 0, 16, 16] == pytest.approx(MOST_SHADE * np.tanh(amount), abs=0.03)
        assert not shade[0, 0, 0].any(), "none at the crop's border"
        colour = torch.tensor(SHADOW if amount < 0 else LIGHT)[:, None, None]
        wanted = photo + shade.abs() * (colour - photo)
        seen = photo + (shade.abs() - UNSEEN_SHADE).clamp(min=0) * (colour - photo)
        assert torch.allclose(compose(photo, *generator(photo, change)), seen, atol=1e-5)
        assert torch.allclose(composed(photo, generator(photo, change, in_parts=True)), wanted, atol=1e-5), (
            "as it is learnt"
        )
        assert torch.equal(generator(photo, torch.zeros(1, 29))[1], torch.ones(1, 1, 32, 32))
    generator.out.bias[:12], generator.out.bias[12:16] = 2.0, -20.0  # colour covers everything
    colour, attention, flow = generator(photo, change)
    drawn = generator(photo, change, in_parts=True)
    assert attention[0, 0, 16, 16] < 0.2, "covered"
    assert torch.allclose(compose(photo, colour, attention, flow), composed(photo, drawn), atol=UNSEEN_SHADE)


def test_one_side_opens_the_gate_half_as_far_as_both_and_no_change_keeps_it_shut():
    generator, change = CompactGenerator(TINY), torch.zeros(4, 29)
    change[1, WIDE.index("AU45R")] = change[2, WIDE.index("AU45R")] = change[2, WIDE.index("AU45L")] = -0.16
    change[3, WIDE.index("AU18")] = 0.08
    assert generator.gate(change).flatten().tolist() == pytest.approx([0, 1 / 2, 2 / 3, 1 / 2])
    assert shares(WIDE).sum() == 19 and shares(PAPER_17).tolist() == [1.0] * 17


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"model": "huge"}, "huge.*compact, paper"),
        ({**TINY.as_dict(), "aus": 20}, "20 AUs and wide has 29"),
        ({"aus": 29, "size_px": 32}, "29 AUs and paper17 has 17"),
        ({**TINY_PAPER.as_dict(), "vocabulary": "emoji"}, "'emoji'.*paper17, wide"),
        ({**TINY.as_dict(), "depth": 3}, "depth"),
        ({**TINY.as_dict(), "conditioning": "absolute"}, "absolute compact"),
        ({**TINY_PAPER.as_dict(), "depth": 3}, "depth"),
        ({**TINY_PAPER.as_dict(), "conditioning": "odd"}, "odd"),
    ],
)
def test_a_shape_that_means_another_network_is_refused_in_one_sentence(shape, message):
    with pytest.raises(DataError, match=message):
        build(shape)


def test_a_compact_network_without_flow_paints_only_and_still_keeps_the_photo_at_no_change():
    generator = CompactGenerator(
        Shape(size_px=32, quarter=8, eighth=8, sixteenth=8, blocks=(1, 1, 1, 1), head=8, flow=False)
    )
    photo = torch.rand(2, 3, 32, 32)
    colour, attention, flow = generator(photo, torch.zeros(2, 29))
    assert flow is None and torch.equal(compose(photo, colour, attention, None), photo)
    colour, attention, flow = generator(photo, torch.ones(2, 29))
    assert flow is None and attention.min() < 0.99
    assert count(CompactGenerator(TINY)) - count(generator) == 2 * (8 * 9 + 1)


def test_the_listing_names_every_network_with_its_figures():
    table = listing()
    assert re.search(r"paper generator \| 128 \| 8,471,296 \| 10\.63 \| 33\.9 \| 16\.9", table)
    assert re.search(r"paper critic \| 128 \| 44,860,352", table)
    assert "compact generator | 256" in table and "compact critic | 128" in table
    assert (
        all(f"{name} generator | 128" in table for name in ("stargan", "diat", "icgan"))
        and "cyclegan translator" in table
    )
