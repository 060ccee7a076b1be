"""Which recipe, networks and vocabulary the options of `fit` mean; students follow their teachers."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError  # noqa: E402
from engines.face.au_estimator import paper_17  # noqa: E402
from engines.runtime.load import LoadOptions, load  # noqa: E402
from tests.support.small_runs import NARROW, SMALL_CRITIC, TINY, lines, plan, supervised  # noqa: E402
from train import __main__ as command  # noqa: E402
from train.command_line import parse  # noqa: E402
from train.export.onnx_export import export  # noqa: E402
from train.networks.compact import CompactGenerator, Shape  # noqa: E402
from train.networks.paper import PaperGenerator, PaperShape  # noqa: E402
from train.recipes.distil import Distil  # noqa: E402
from train.recipes.factory import make  # noqa: E402
from train.recipes.ganimation import Ganimation  # noqa: E402
from train.synthesis.pairs import PairSource  # noqa: E402
from train.trainer import fit  # noqa: E402


def made(*options: str, corpus_size_px: int = 64):
    """The recipe that `fit` would train with these options."""
    return make(parse(["fit", "--corpus", "c", "--out", "o", *options]), corpus_size_px)


@pytest.mark.parametrize(
    ("options", "aus"),
    [
        (["--channels", "8", "16", "16"], 29),
        (["--channels", "8", "16", "16", "--vocabulary", "paper17"], 17),
        (["--recipe", "ganimation", "--channels", "8", "16", "16"], 17),
        (["--recipe", "ganimation", "--channels", "8", "16", "16", "--vocabulary", "wide"], 29),
        (["--model", "paper", "--width", "8"], 17),
        (["--model", "paper", "--width", "8", "--vocabulary", "wide"], 29),
    ],
)
def test_a_vocabulary_is_chosen_by_recipe_and_option_and_samples_have_it(corpus, options, aus):
    recipe = made(*options)
    assert (
        recipe.networks["generator"].shape.au_count == aus
        and recipe.shape.get("critic", {}).get("aus", aus) == aus
    )
    data = recipe.dataset(corpus, 0)
    batch = recipe.batch({name: torch.as_tensor(value)[None] for name, value in data[0].items()})
    for name in {"change", "own", "wanted"} & batch.keys():
        assert batch[name].shape == (1, aus), name


def test_a_supervised_generator_of_the_papers_aus_gets_the_means_of_both_sides(corpus):
    samples = {name: torch.from_numpy(value)[None] for name, value in PairSource(corpus, 0)[1].items()}
    wide, paper = (supervised(shape).batch(samples)["change"] for shape in (TINY, NARROW))
    assert torch.equal(wide, samples["change"]) and np.abs(wide.numpy()).max() > 0.1
    assert paper.numpy() == pytest.approx(paper_17(samples["change"].numpy()), abs=1e-6)


def test_the_papers_recipe_trains_the_papers_networks_to_the_parameter():
    with torch.device("meta"):
        networks = made("--model", "paper", "--size", "128", corpus_size_px=256).networks
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert counts == {"generator": 8_471_296, "critic": 44_860_352}


def test_a_critic_that_reads_other_aus_than_its_generator_takes_is_refused():
    with pytest.raises(DataError, match="the generator's crop size and AUs"):
        Ganimation(PaperGenerator(PaperShape("wide", 64, 8, 1)), SMALL_CRITIC)


def test_the_papers_networks_are_asked_for_by_their_name():
    recipe = made("--model", "paper", "--width", "8", "--size", "64", corpus_size_px=256)
    assert recipe.name == "ganimation" and recipe.shape["generator"]["conditioning"] == "absolute"
    assert recipe.shape["adversary"] == "wgan-gp" and recipe.shape["attention_term"] == "kept"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "distil"], "--teacher"),
        (["--size", "128"], "prepare it with --size 128"),
        (
            ["--recipe", "ganimation", "--size", "64", "--conditioning", "absolute"],
            "--conditioning means nothing to ganimation with --model compact",
        ),
        (["--adversary", "hinge-sn"], "--adversary means nothing to supervised"),
        (["--recipe", "stargan", "--vocabulary", "wide"], "--vocabulary means nothing to stargan"),
        (["--teacher", "default", "--vocabulary", "wide"], "--vocabulary means nothing to distil"),
        (["--recipe", "stargan", "--channels", "8", "16", "16"], "--channels means nothing to stargan"),
        (["--recipe", "ganimation", "--size", "40"], "a multiple of 16"),
        (["--recipe", "icgan", "--size", "48"], "a power of two"),
        (["--images", "8"], "less than one batch"),
        (["--teacher", "default"], "prepare it with --size 256"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_sentence(
    corpus_folder, tmp_path, capsys, options, message
):
    assert (
        command.main(["fit", "--corpus", str(corpus_folder), "--out", str(tmp_path / "run"), *options]) == 8
    )
    output = capsys.readouterr().err
    assert message in output and "Traceback" not in output and output.count("\n") == 1


def some_teacher(folder: Path, shape: Shape):
    """A bundle that does something to every AU."""
    torch.manual_seed(3)
    teacher = CompactGenerator(shape)
    for parameter in teacher.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return export(teacher.eval(), folder, {})[0]


@pytest.mark.slow
def test_a_student_learns_from_a_bundle(corpus, tmp_path):
    teacher = some_teacher(tmp_path / "teacher", TINY)
    torch.manual_seed(0)
    student = Distil(dataclasses.replace(TINY, quarter=4, eighth=8, sixteenth=8), teacher)
    fit(student, corpus, tmp_path / "run", plan(images=160), quiet=True)
    losses = lines(tmp_path / "run", "loss_generator")
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_a_student_takes_its_teachers_vocabulary(corpus, tmp_path):
    teacher = some_teacher(tmp_path / "teacher", NARROW)
    student = made("--teacher", str(teacher.folder), "--channels", "8", "16", "16")
    assert student.networks["generator"].shape.vocabulary == "paper17"
    with pytest.raises(DataError, match="takes other AUs than wide"):
        Distil(TINY, teacher)
    lesson = student.dataset(corpus, 0)[3]
    assert lesson["change"] == pytest.approx(paper_17(lesson["wanted"] - lesson["own"]), abs=1e-6) and lesson[
        "change"
    ].shape == (17,)
    direct = load(teacher, "cpu", LoadOptions(threads=1)).run(lesson["picture"], lesson["change"])
    assert np.abs(lesson["attention"] - direct.attention).max() < 1e-3, "both get the same input"
