"""From a bundle back to its network: to learn on, or to be exported at another size."""

import dataclasses
import json

import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.bundle import load_bundle  # noqa: E402
from engines.errors import DataError  # noqa: E402
from tests.support.small_runs import NARROW, TINY, plan, supervised  # noqa: E402
from train import __main__ as command  # noqa: E402
from train import checkpoint  # noqa: E402
from train.export.onnx_export import export  # noqa: E402
from train.export.restore import resized, restore  # noqa: E402
from train.networks.compact import CompactGenerator  # noqa: E402
from train.networks.paper import PaperGenerator, PaperShape  # noqa: E402
from train.recipes.supervised import Supervised  # noqa: E402
from train.trainer import TrainingRun, fit  # noqa: E402


def exported(network, folder):
    """A bundle of a network whose weights are all different from each other, and from a fresh network's."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return export(
        network.eval(), folder, {"shape": {"generator": network.shape.as_dict()}, "images_seen": 7}
    )[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: CompactGenerator(TINY),
        lambda: CompactGenerator(NARROW),
        lambda: CompactGenerator(dataclasses.replace(TINY, teeth=True)),
    ],
    ids=["compact", "17 AUs", "teeth"],
)
def test_every_parameter_comes_back_as_it_was_rounded(tmp_path, make):
    network = make()
    back = restore(exported(network, tmp_path / "mine")).state_dict()
    for name, value in network.state_dict().items():
        assert torch.allclose(back[name], value, atol=1e-3, rtol=1e-3), name


def test_the_engine_that_ships_can_be_learnt_on(tmp_path, corpus):
    recipe = Supervised(restore(load_bundle("default")).shape)
    run = TrainingRun(recipe, tmp_path / "mine", plan(), load_bundle("default").folder)
    assert (
        run.started_from["bundle"] == "default"
        and run.started_from["sha256"] == load_bundle("default").sha256
    )
    for networks in (run.networks, run.averages):
        assert torch.equal(networks["generator"].stem.weight, restore(load_bundle("default")).stem.weight)


def test_a_bundle_of_17_aus_starts_a_run_of_29(tmp_path, corpus):
    bundle = exported(CompactGenerator(NARROW), tmp_path / "narrow")
    fit(supervised(), corpus, tmp_path / "wide", plan(images=4), quiet=True, start_from=bundle.folder)
    assert checkpoint.read_state(tmp_path / "wide" / "checkpoint")["started_from"]["bundle"] == "narrow"
    with pytest.raises(DataError, match="another network"):
        fit(
            supervised(dataclasses.replace(TINY, head=12)),
            corpus,
            tmp_path / "other",
            plan(images=4),
            quiet=True,
            start_from=bundle.folder,
        )


def test_a_bundle_is_exported_again_at_another_size(tmp_path, capsys):
    exported(CompactGenerator(TINY), tmp_path / "mine")
    assert (
        command.main(["export", str(tmp_path / "mine"), "--size", "128", "--out", str(tmp_path / "larger")])
        == 0
    )
    larger, before = load_bundle(tmp_path / "larger"), load_bundle(tmp_path / "mine")
    assert (larger.size_px, larger.flow_px) == (128, 64) and larger.training["exported_from"] == before.sha256
    assert larger.training["images_seen"] == 7 and larger.training["shape"]["generator"]["size_px"] == 128
    assert torch.equal(restore(larger).stem.weight, restore(before).stem.weight)


def test_sizes_that_cannot_be_halved_are_refused():
    with pytest.raises(DataError, match="100 px is no multiple of 16"):
        resized(CompactGenerator(TINY), 100)


def test_a_bundle_that_has_no_shape_or_a_wrong_one_is_refused(tmp_path):
    exported(CompactGenerator(TINY), tmp_path / "mine")
    path = tmp_path / "mine" / "bundle.json"
    written = json.loads(path.read_text())
    for training in ({}, {"shape": "wide"}, {"shape": {"generator": 5}}):
        path.write_text(json.dumps(written | {"training": training}))
        with pytest.raises(DataError, match="lacks its network's shape"):
            restore(load_bundle(tmp_path / "mine"))
    shape = written["training"]["shape"]["generator"]
    path.write_text(json.dumps(written | {"training": {"shape": {"generator": shape | {"head": 12}}}}))
    with pytest.raises(DataError, match="lacks"):
        restore(load_bundle(tmp_path / "mine"))


def test_the_papers_network_needs_its_run(tmp_path):
    bundle = exported(PaperGenerator(PaperShape(size_px=64, width=8, blocks=1)), tmp_path / "paper")
    with pytest.raises(DataError, match=r"lacks trunk\.stem.*use the run that it was exported from"):
        restore(bundle)


def test_what_is_neither_a_run_nor_a_bundle_is_one_sentence(tmp_path, capsys):
    (tmp_path / "default").mkdir()  # a folder of one's own hides the engine of that name
    assert (
        command.main(["export", str(tmp_path / "default"), "--out", str(tmp_path / "out")])
        == DataError.exit_status
    )
    assert "is not a checkpoint" in capsys.readouterr().err
