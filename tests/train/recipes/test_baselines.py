"""The baselines of figure 6: networks learn in their turn only, samples repeat, recipes translate."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError  # noqa: E402
from train.data.domains import EmotionSamples  # noqa: E402
from train.data.emotions import EMOTIONS, classify, prototype  # noqa: E402
from train.networks.discrete import Encoder, Painter, Translator  # noqa: E402
from train.recipes.baselines.cyclegan import CycleGan, least_squares  # noqa: E402
from train.recipes.baselines.diat import Diat, perceptual  # noqa: E402
from train.recipes.baselines.icgan import IcGan  # noqa: E402
from train.recipes.baselines.stargan import CRITIC_STEPS, StarGan  # noqa: E402

SIZE, WIDTH = 32, 4
THREE = ("neutral", "happy", "surprised")
SHADE = {"neutral": 40, "happy": 120, "surprised": 200}  # the faces of the toy corpus: one grey an emotion


class ToyCorpus:
    """Grey squares in the place of faces: the shade is the emotion.

    Every fifth person is held out, and none of them is surprised.
    """

    size_px = SIZE

    def __init__(self, each: int = 10):
        self.shown = [name for name in THREE for _ in range(each)]
        self.aus = np.stack([prototype(name) for name in self.shown])
        self.held_out = np.array([i % 5 == 0 and name != "surprised" for i, name in enumerate(self.shown)])
        self.is_clip = np.zeros(len(self.shown), bool)
        self.angles_deg = np.zeros((len(self.shown), 3), np.float32)

    def __len__(self) -> int:
        return len(self.shown)

    def picture(self, i: int) -> np.ndarray:
        return np.full((SIZE, SIZE, 3), SHADE[self.shown[i]], np.uint8)


def stargan() -> StarGan:
    return StarGan(SIZE, WIDTH, THREE)


def painting() -> IcGan:
    return IcGan(SIZE, WIDTH, THREE)


def inverting() -> IcGan:
    return IcGan(SIZE, WIDTH, THREE, gan_steps=0)


def cyclegan() -> CycleGan:
    return CycleGan(SIZE, WIDTH, ("happy",))


def diat() -> Diat:
    return Diat(SIZE, WIDTH, ("happy",))


MAKERS = [stargan, cyclegan, diat, painting, inverting]
every_recipe = pytest.mark.parametrize("make", MAKERS, ids=[make.__name__ for make in MAKERS])


def first_batch(recipe, count: int = 4):
    torch.manual_seed(0)
    data = recipe.dataset(ToyCorpus(), seed=3)
    samples = [data[i] for i in range(count)]
    return recipe.batch(
        {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}
    )


def frozen_but(recipe, names) -> None:
    """As the training loop does before a turn."""
    for name, network in recipe.networks.items():
        network.requires_grad_(name in names)
        network.zero_grad(set_to_none=True)


@every_recipe
def test_each_turn_gives_gradients_to_its_own_networks_only(make):
    recipe = make()
    batch = first_batch(recipe)
    turns = recipe.turns(CRITIC_STEPS - 1)
    trained = set()
    for turn in turns:
        frozen_but(recipe, turn.networks)
        loss, terms = turn.loss(batch)
        assert (
            torch.isfinite(loss)
            and loss.ndim == 0
            and all(not value.requires_grad for value in terms.values())
        )
        loss.backward()
        moved = {
            name
            for name, net in recipe.networks.items()
            if any(p.grad is not None and p.grad.any() for p in net.parameters())
        }
        # Named for its average's sake; it must not move
        resting = {"generator"} if make is inverting else set()
        assert moved == set(turn.networks) - resting
        trained |= moved
    if make not in (painting, inverting):
        assert trained == set(recipe.networks)


@pytest.mark.slow
@every_recipe
def test_a_few_steps_on_one_batch_lower_each_turns_loss(make):
    recipe = make()
    batch = first_batch(recipe)
    for turn in recipe.turns(CRITIC_STEPS - 1):
        frozen_but(recipe, turn.networks)
        optimiser = torch.optim.Adam(
            [p for name in turn.networks for p in recipe.networks[name].parameters()], 1e-3, recipe.betas
        )
        values = []
        for _ in range(12):
            loss, _ = turn.loss(batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            values.append(loss.item())
        assert min(values[6:]) < values[0], turn.networks


@every_recipe
def test_a_translation_is_a_picture_in_range_and_unknown_emotions_have_none(make):
    recipe, photos = make(), torch.rand(2, 3, SIZE, SIZE)
    known = [name for name in EMOTIONS if recipe.translate(recipe.networks, photos, name) is not None]
    assert set(recipe.emotions) <= set(known) and "afraid" not in known
    for name in known:
        made = recipe.translate(recipe.networks, photos, name)
        assert made.shape == photos.shape and made.min() >= 0 and made.max() <= 1 and not made.requires_grad
    if len(recipe.emotions) > 1:
        assert not torch.equal(
            *(recipe.translate(recipe.networks, photos, name) for name in recipe.emotions[:2])
        ), "the label has an effect"


@every_recipe
def test_averaged_networks_suffice_to_translate(make):
    recipe, photos = make(), torch.rand(1, 3, SIZE, SIZE)
    averages = {name: recipe.networks[name] for name in recipe.averaged}
    assert recipe.translate(averages, photos, "happy") is not None


@every_recipe
def test_a_recipe_comes_back_from_the_json_of_its_shape(make):
    recipe = make()
    again = type(recipe).from_shape(json.loads(json.dumps(recipe.shape)))
    assert again.shape == recipe.shape and again.turns(0)[0].networks == recipe.turns(0)[0].networks
    for name, network in recipe.networks.items():
        again.networks[name].load_state_dict(network.state_dict())
    with pytest.raises(DataError, match="odd"):
        type(recipe).from_shape({**recipe.shape, "model": "odd"})


@every_recipe
def test_a_recipe_can_be_watched_and_drawn(make):
    recipe, corpus = make(), ToyCorpus()
    data = recipe.dataset(corpus, seed=1, held_out=True)
    samples = [data[i] for i in range(2)]
    batch = recipe.batch(
        {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}
    )
    with torch.no_grad():
        assert all(np.isfinite(value) for value in recipe.watch(recipe.networks, batch).values())
    drawn = recipe.picture(recipe.networks, corpus)
    assert drawn.dtype == np.uint8 and drawn.shape[1] == SIZE * (1 + len(recipe.emotions))


def test_stargan_steps_its_critic_five_times_for_one_step_of_its_generator():
    names = [turn.networks for step in range(10) for turn in stargan().turns(step)]
    assert names.count(("critic",)) == 10 and names.count(("generator",)) == 2


def test_icgan_paints_first_and_learns_the_way_back_afterwards():
    recipe = IcGan(SIZE, WIDTH, THREE, gan_steps=2)
    assert [turn.networks for turn in recipe.turns(1)] == [("critic",), ("generator",)]
    assert [turn.networks for turn in recipe.turns(2)] == [("encoder_z", "generator"), ("encoder_y",)]


def test_the_least_squares_loss_by_hand():
    assert least_squares(torch.tensor([1.0, 3.0]), 1) == 2 and least_squares(torch.tensor([1.0, 3.0]), 0) == 5


def test_the_perceptual_loss_is_relative_to_the_layer():
    photo = [torch.full((1, 2, 2, 2), 2.0), torch.full((1, 4, 1, 1), 10.0)]
    assert perceptual(photo, photo) == 0
    assert perceptual([torch.zeros_like(layer) for layer in photo], photo) == 1
    assert perceptual([photo[0] + 1, photo[1]], photo) == 0.125  # 1 / 4 in one of two layers


@pytest.mark.parametrize("side", [32, 128])
def test_the_baselines_networks_keep_the_size(side):
    with torch.device("meta"):
        picture, label = torch.zeros(2, 3, side, side), torch.zeros(2, 3)
        assert (
            Translator(WIDTH, labels=3)(picture, label).shape
            == Translator(WIDTH)(picture).shape
            == picture.shape
        )
        assert Painter(side, WIDTH, 10, 3)(torch.zeros(2, 10), label).shape == picture.shape
        assert Encoder(side, WIDTH, 10)(picture).shape == (2, 10)


def test_a_sample_is_a_function_of_seed_and_number():
    def drawn(seed: int, number: int) -> dict[str, np.ndarray]:
        return EmotionSamples(ToyCorpus(), seed, SIZE, THREE, THREE, pairs=True, noise=5)[number]

    once, again = drawn(1, 17), drawn(1, 17)
    assert all(np.array_equal(once[name], again[name]) for name in once)
    assert not np.array_equal(once["noise"], drawn(1, 18)["noise"]) and not np.array_equal(
        once["noise"], drawn(2, 17)["noise"]
    )


def test_pictures_show_their_labels_and_emotions_come_equally_often():
    corpus = ToyCorpus()
    corpus.shown[11:20] = ["neutral"] * 9  # one happy face among twenty neutral ones
    corpus.aus = np.stack([prototype(name) for name in corpus.shown])
    corpus.held_out[:] = False
    data = EmotionSamples(corpus, 0, SIZE, THREE, ("happy", "surprised"), pairs=True)
    items = [data[i] for i in range(150)]
    for item in items:
        assert item["picture"][16, 16, 0] == SHADE[THREE[item["label"]]]
        assert item["other"][16, 16, 0] == SHADE[("happy", "surprised")[item["wanted"]]]
    assert np.bincount([item["label"] for item in items]).min() > 35


def test_held_out_people_never_train_and_stand_ins_are_found_where_no_one_is_held_out():
    corpus = ToyCorpus()
    training = EmotionSamples(corpus, 0, SIZE, THREE, THREE)
    assert not any(corpus.held_out[faces].any() for faces in training.faces.values())
    watching = EmotionSamples(corpus, 0, SIZE, THREE, THREE, held_out=True)
    assert corpus.held_out[watching.faces["happy"]].all() and len(watching.faces["surprised"])


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (lambda: StarGan(SIZE, WIDTH, ("happy",)), "2 or more"),
        (lambda: StarGan(SIZE, WIDTH, ("happy", "happy")), "different"),
        (lambda: StarGan(SIZE, WIDTH, ("happy", "smug")), "smug.*neutral, happy"),
        (lambda: CycleGan(SIZE, WIDTH, ("happy", "sad")), "exactly 1"),
        (lambda: Diat(SIZE, WIDTH, ("neutral",)), "not neutral"),
        (lambda: StarGan(SIZE, WIDTH, ("happy", "sad")).dataset(ToyCorpus(), 0), "clearly sad"),
        (lambda: StarGan(64, WIDTH, THREE).dataset(ToyCorpus(), 0), "--size 64"),
    ],
)
def test_what_cannot_be_learnt_is_refused_in_one_sentence(begin, message):
    with pytest.raises(DataError, match=message):
        begin()


def test_the_toy_faces_are_labelled_as_they_are_meant():
    assert [EMOTIONS[place] for place in classify(ToyCorpus(1).aus)] == list(THREE)
