"""A new run that begins with what another one has learnt."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from safetensors.torch import load_file  # noqa: E402

from engines.errors import DataError  # noqa: E402
from engines.face.action_units import PAPER_17, WIDE, wholes  # noqa: E402
from engines.face.au_estimator import VERSION  # noqa: E402
from tests.support.small_runs import NARROW, TINY, lines, plan, small_paper, supervised  # noqa: E402
from train import __main__ as command  # noqa: E402
from train import checkpoint  # noqa: E402
from train.networks.vocabulary import widened  # noqa: E402
from train.trainer import TrainingRun, fit  # noqa: E402


def averaged(run: Path) -> dict[str, torch.Tensor]:
    """The averaged generator's weights on disk."""
    return load_file(run / "checkpoint" / "generator.average.safetensors")


@pytest.mark.slow
def test_a_new_run_begins_with_the_averaged_weights_of_another_one_widened(corpus, tmp_path):
    fit(supervised(NARROW), corpus, tmp_path / "first", plan(images=24), quiet=True)
    old, condition = averaged(tmp_path / "first"), "condition.0.weight"
    run = TrainingRun(supervised(), tmp_path / "second", plan(), tmp_path / "first")
    for weights in (run.networks["generator"].state_dict(), run.averages["generator"].state_dict()):
        assert all(torch.equal(weights[name], value) for name, value in old.items() if name != condition)
        assert (
            torch.equal(weights[condition], widened(old[condition], PAPER_17, wholes(WIDE)))
            and weights[condition].shape[1] == 19
        )
    assert (run.seen, run.step) == (0, 0) and not run.optimisers["generator"].state, "and nothing else"
    before = lines(tmp_path / "first", "loss_generator")
    fit(supervised(), corpus, tmp_path / "second", plan(images=8), quiet=True, start_from=tmp_path / "first")
    assert np.mean(lines(tmp_path / "second", "loss_generator")) < np.mean(before[:2]), (
        "what was learnt is still known"
    )


@pytest.mark.slow
def test_a_run_keeps_in_mind_where_it_began(corpus, tmp_path):
    fit(supervised(), corpus, tmp_path / "first", plan(images=8), quiet=True)
    fit(
        supervised(),
        corpus,
        tmp_path / "second",
        plan(images=8),
        quiet=True,
        start_from=tmp_path / "first" / "checkpoint",
    )
    fit(supervised(), corpus, tmp_path / "second", plan(images=16), quiet=True)
    first = {"run": "first", "recipe": "supervised", "seen": 8, "estimator": VERSION}
    assert checkpoint.read_state(tmp_path / "second" / "checkpoint")["started_from"] == first
    fit(supervised(), corpus, tmp_path / "third", plan(images=4), quiet=True, start_from=tmp_path / "second")
    assert checkpoint.read_state(tmp_path / "third" / "checkpoint")["started_from"] == {
        **first, "run": "second", "seen": 16, "started_from": first
    }  # fmt: skip


@pytest.mark.slow
def test_a_generator_that_paints_teeth_can_start_one_that_lays_them(corpus, tmp_path):
    fit(supervised(), corpus, tmp_path / "first", plan(images=24), quiet=True)
    laying = TrainingRun(
        supervised(dataclasses.replace(TINY, teeth=True)), tmp_path / "second", plan(), tmp_path / "first"
    ).averages["generator"]
    painting = TrainingRun(supervised(), tmp_path / "third", plan(), tmp_path / "first").averages["generator"]
    photo, change = torch.rand(2, 3, TINY.size_px, TINY.size_px), torch.rand(2, 29)
    with torch.no_grad():
        (before, *kept), (after, *same) = painting(photo, change), laying(photo, change)
    assert all(torch.equal(a, b) for a, b in zip(kept, same, strict=True)), "attention and flow"
    assert torch.allclose(before, after, atol=0.06)
    with pytest.raises(DataError, match=r"another network .teeth differ"):
        TrainingRun(supervised(), tmp_path / "fourth", plan(), _laid(corpus, tmp_path))


def test_a_generator_without_shade_can_start_one_that_has_it_but_not_the_other_way_round(corpus, tmp_path):
    shaded = dataclasses.replace(TINY, shade=True)
    fit(supervised(), corpus, tmp_path / "first", plan(images=4), quiet=True)
    before = TrainingRun(supervised(), tmp_path / "second", plan(), tmp_path / "first").averages["generator"]
    after = TrainingRun(supervised(shaded), tmp_path / "third", plan(), tmp_path / "first").averages[
        "generator"
    ]
    photo, change = torch.rand(2, 3, TINY.size_px, TINY.size_px), torch.rand(2, 29)
    with torch.no_grad():
        old, new = (network(photo, change, in_parts=True) for network in (before, after))
    assert all(torch.equal(a, b) for a, b in zip(old[:3], new[:3], strict=True)) and not new.shade.any()
    fit(supervised(shaded), corpus, tmp_path / "shaded", plan(images=4), quiet=True)
    with pytest.raises(DataError, match="another network"):
        TrainingRun(supervised(TINY), tmp_path / "fourth", plan(), tmp_path / "shaded")


def _laid(corpus, tmp_path) -> Path:
    """A run whose generator lays teeth."""
    fit(
        supervised(dataclasses.replace(TINY, teeth=True)),
        corpus,
        tmp_path / "laid",
        plan(images=4),
        quiet=True,
    )
    return tmp_path / "laid"


def test_a_critic_begins_anew_when_its_generator_does_not(corpus, tmp_path):
    fit(small_paper(), corpus, tmp_path / "first", plan(images=16), quiet=True)
    fresh = [p.clone() for p in small_paper().networks["critic"].parameters()]
    run = TrainingRun(small_paper(), tmp_path / "second", plan(), tmp_path / "first")
    old = averaged(tmp_path / "first")
    assert all(
        torch.equal(value, old[name]) for name, value in run.networks["generator"].state_dict().items()
    )
    assert all(torch.equal(a, b) for a, b in zip(fresh, run.networks["critic"].parameters(), strict=True))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (lambda: supervised(dataclasses.replace(TINY, head=4)), "another network .head differ"),
        (
            lambda: supervised(dataclasses.replace(NARROW, quarter=4)),
            "another network .quarter, vocabulary differ",
        ),
        (lambda: supervised(NARROW), "another network .vocabulary differ"),
        (small_paper, "another network .model differ"),
    ],
)
def test_a_run_of_another_network_is_no_beginning(corpus, tmp_path, recipe, message):
    fit(supervised(), corpus, tmp_path / "first", plan(images=4), quiet=True)
    with pytest.raises(DataError, match=message):
        TrainingRun(recipe(), tmp_path / "second", plan(), tmp_path / "first")


def test_a_run_that_goes_on_takes_no_other_beginning(corpus_folder, corpus, tmp_path, capsys):
    fit(supervised(), corpus, tmp_path / "first", plan(images=4), quiet=True)
    before = (tmp_path / "first" / "checkpoint" / "generator.safetensors").read_bytes()
    for out, start, message in (
        ("first", "first", "already holds a run"),
        ("second", "nowhere", "nowhere/checkpoint is not a checkpoint"),
    ):
        arguments = [
            "fit",
            "--corpus",
            str(corpus_folder),
            "--out",
            str(tmp_path / out),
            "--start-from",
            str(tmp_path / start),
        ]
        assert command.main([*arguments, "--fp32", "--quiet"]) == 8
        output = capsys.readouterr().err
        assert message in output and output.count("\n") == 1
    assert (tmp_path / "first" / "checkpoint" / "generator.safetensors").read_bytes() == before
