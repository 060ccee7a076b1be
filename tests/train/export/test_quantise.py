"""The INT8 variant: how one is made of a small generator and real crops, and what the one that ships does."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nncf", reason="quantising needs NNCF: pip install -e '.[int8]'")
onnx = pytest.importorskip("onnx", reason="quantising needs ONNX: pip install -e '.[train]'")
torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.backends.openvino import OpenVino  # noqa: E402
from engines.bundle import Variant, load_bundle  # noqa: E402
from engines.errors import DataError, EngineError  # noqa: E402
from tests.support.small_runs import TINY  # noqa: E402
from train import __main__ as command  # noqa: E402
from train.export import quantise as step  # noqa: E402
from train.export.int8_search import (  # noqa: E402
    convolutions,
    fold_half_weights,
    quantised,
    restore_float,
    store_half_weights,
)
from train.export.onnx_export import export, staging_folder  # noqa: E402
from train.networks.compact import CompactGenerator  # noqa: E402
from train.networks.paper import PaperGenerator, PaperShape  # noqa: E402


def busy(generator):
    """A generator whose every layer does something: new ones begin with zeros."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            if weight.ndim > 1:
                torch.nn.init.kaiming_normal_(weight, nonlinearity="relu")
                weight *= 0.3 if "second" in name or "film" in name else 1.0
    return generator.eval()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A bundle of 64 px, without variants."""
    torch.manual_seed(0)  # biases, which `busy` leaves as they are: else they depend on the tests before
    return export(
        busy(CompactGenerator(TINY)), tmp_path_factory.mktemp("small") / "small", {"images_seen": 0}
    )[0]


@pytest.fixture
def mine(small, tmp_path):
    """A copy of it."""
    return shutil.copytree(small.folder, tmp_path / "mine")


@pytest.fixture
def toy_people(corpus, corpus_folder, monkeypatch):
    """The toy corpus, of whose faces every second one is held out: by their names, none is."""
    held = np.arange(len(corpus)) % 2 == 0
    monkeypatch.setattr(step, "load_corpus", lambda folders: replace(corpus, held_out=held))
    monkeypatch.setattr(step, "TRIED", 2)
    monkeypatch.setattr(step, "CHECKED", 3)
    return corpus_folder


def examples(bundle, count=6):
    rng = np.random.default_rng(0)
    size, aus = bundle.size_px, len(bundle.aus)
    return [
        (rng.integers(0, 256, (size, size, 3), dtype=np.uint8), rng.uniform(-1, 1, aus).astype(np.float32))
        for _ in range(count)
    ]


def kinds(model):
    """How often each kind of node is there."""
    found = [node.op_type for node in model.graph.node]
    return {kind: found.count(kind) for kind in set(found)}


def run_both(path, bundle, given):
    """Colour, attention, flow of a graph by ONNX Runtime and by OpenVINO, in FP32 except for its integers."""
    onnxruntime = pytest.importorskip(
        "onnxruntime", reason="needs ONNX Runtime: pip install -e '.[reference]'"
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    variant = replace(bundle, folder=path.parent, variants={"fp32": Variant(path.name, "")})
    engine = OpenVino().open(variant, "fp32", OpenVino().compile(variant, "fp32"), threads=1)
    for crop, aus in given:
        theirs = session.run(["colour", "attention", "flow"], {"image": crop[None], "aus": aus[None]})
        ours = engine.run(crop, aus)
        yield (
            [part[0].astype(float) for part in theirs],
            [part.astype(float) for part in (ours.colour, ours.attention, ours.flow)],
        )


def test_only_convolutions_are_quantised_and_every_one_of_them(small):
    original, _ = fold_half_weights(onnx.load(small.onnx))
    before, after = kinds(original), kinds(quantised(original, examples(small)))
    assert (
        after.pop("QuantizeLinear") == before["Conv"] and after.pop("DequantizeLinear") == 2 * before["Conv"]
    )
    assert after.pop("Cast") <= before.pop("Cast") and after == before


def test_weights_fill_half_of_their_range_so_that_no_cpu_saturates(small):
    model = quantised(fold_half_weights(onnx.load(small.onnx))[0], examples(small))
    eight = [
        onnx.numpy_helper.to_array(weight)
        for weight in model.graph.initializer
        if weight.data_type == onnx.TensorProto.INT8
    ]
    weights = [weight for weight in eight if weight.ndim == 4]
    assert (
        len(weights) == len(convolutions(model))
        and max(np.abs(weight.astype(int)).max() for weight in weights) <= 64
    )
    assert min(np.abs(weight.astype(int)).max(axis=(1, 2, 3)).min() for weight in weights) >= 60, (
        "channel by channel"
    )


def test_convolutions_that_are_put_back_compute_what_they_did(small, tmp_path):
    original, half = fold_half_weights(onnx.load(small.onnx))
    whole, names = quantised(original, examples(small)), convolutions(original)
    one_less = restore_float(whole, original, names[:1])
    assert kinds(one_less)["QuantizeLinear"] == len(names) - 1 and kinds(whole)["QuantizeLinear"] == len(
        names
    )
    onnx.save(store_half_weights(restore_float(whole, original, names), half), str(tmp_path / "none.onnx"))
    variant = replace(small, folder=tmp_path, variants={"fp32": Variant("none.onnx", "")})
    engines = [
        OpenVino().open(bundle, "fp32", OpenVino().compile(bundle, "fp32")) for bundle in (small, variant)
    ]
    for crop, aus in examples(small, 3):
        exact, again = (engine.run(crop, aus) for engine in engines)
        assert (
            np.abs(exact.flow - again.flow).max() < 1e-3
            and np.abs(exact.colour.astype(int) - again.colour).max() <= 1
        )


def test_two_runtimes_agree_on_a_quantised_graph(small, tmp_path):
    original, half = fold_half_weights(onnx.load(small.onnx))
    whole = quantised(original, examples(small))
    onnx.save(
        store_half_weights(restore_float(whole, original, convolutions(original)[-1:]), half),
        str(tmp_path / "some.onnx"),
    )
    for theirs, ours in run_both(tmp_path / "some.onnx", small, examples(small, 3)):
        assert np.abs(theirs[0] - ours[0]).mean() < 0.2 and np.abs(theirs[2] - ours[2]).mean() < 0.05


def test_the_command_adds_a_variant_and_records_how_it_was_made(mine, toy_people, capsys, monkeypatch):
    monkeypatch.setattr(step, "TARGETS", {name: 10 * value for name, value in step.TARGETS.items()})
    monkeypatch.setattr(step, "MAX_COLOUR", 4.0)  # the weights are noise, and noise forgives nothing
    before = json.loads((mine / "bundle.json").read_text())
    assert (
        command.main(["quantise", str(mine), "--corpus", str(toy_people), "--faces", "3", "--seed", "5"]) == 0
    )
    bundle, out = load_bundle(mine), capsys.readouterr().out
    assert "mean differences from FP32: colour" in out and "generator-int8.onnx" in out
    calibration = bundle.variants["int8"].calibration
    assert (
        calibration["by"].startswith("nncf ")
        and calibration["preset"] == "mixed"
        and calibration["seed"] == 5
        and calibration["edits"] == 3
    )
    assert (
        calibration["corpora"][0]["faces"] > 0
        and calibration["corpora"][0]["people"] > 0
        and set(calibration["differences"]) >= {"colour", "flow_px"}
    )
    assert set(calibration["left_in_float"]) < set(convolutions(onnx.load(bundle.onnx)))
    after = json.loads((mine / "bundle.json").read_text())
    assert {**after, "variants": 0} == {**before, "variants": 0} and not mine.with_name("mine.part").exists()
    assert "int8" not in OpenVino().precisions(replace(bundle, variants={}))


def test_the_same_seed_makes_the_same_edits_and_another_seed_others(mine, toy_people):
    bundle, corpus = load_bundle(mine), step.load_corpus([toy_people])
    engine = OpenVino().open(bundle, "fp32", OpenVino().compile(bundle, "fp32"))
    first, again, other = (
        [aus for _, aus in step.edits_of(corpus, engine, 4, seed, held_out=False)] for seed in (1, 1, 2)
    )
    assert (np.array(first) == np.array(again)).all() and not (np.array(first) == np.array(other)).all()


@pytest.mark.slow
def test_a_variant_whose_colours_are_wrong_is_refused_and_nothing_is_written(
    mine, toy_people, monkeypatch, capsys
):
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    monkeypatch.setattr(step, "TARGETS", {name: 1e9 for name in step.TARGETS})  # nothing is put back
    monkeypatch.setattr(step, "MAX_COLOUR", 1e-6)
    assert (
        command.main(["quantise", str(mine), "--corpus", str(toy_people), "--faces", "2"])
        == DataError.exit_status
    )
    output = capsys.readouterr().err
    assert "nothing was written" in output and "grey levels" in output
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == before and not mine.with_name(
        "mine.part"
    ).exists()


def test_a_generator_that_bears_no_quantising_is_refused_and_nothing_is_written(
    mine, toy_people, monkeypatch, capsys
):
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    monkeypatch.setattr(step, "_choose", lambda original, *_others: convolutions(original))
    assert (
        command.main(["quantise", str(mine), "--corpus", str(toy_people), "--faces", "2"])
        == DataError.exit_status
    )
    assert "leave it without INT8" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == before


def test_convolutions_are_put_back_worst_first_until_the_targets_hold(small, tmp_path, monkeypatch):
    original, _ = fold_half_weights(onnx.load(small.onnx))
    whole, names, tried = quantised(original, examples(small, 2)), convolutions(original), []
    cost = {
        name: {"/generator/out/Conv": 0.5, "/generator/stem/Conv": 0.3}.get(name, 0.005) for name in names
    }

    def in_eight_bits(path):
        model = onnx.load(path)
        dequantised = {
            name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output
        }
        return [
            node.name for node in model.graph.node if node.op_type == "Conv" and node.input[0] in dequantised
        ]

    def differences(variant, _known):
        tried.append(in_eight_bits(variant.graph("int8")))
        return {"colour": sum(cost[name] for name in tried[-1]), "blended": 0.0, "flow_px": 0.0}

    monkeypatch.setattr(
        step, "_opened", lambda bundle: replace(bundle, variants={"int8": Variant(step.FILE, "")})
    )
    monkeypatch.setattr(step, "differences", differences)
    monkeypatch.setattr(step, "TARGETS", {"colour": 0.6, "blended": 0.1, "flow_px": 0.03})
    kept = step._choose(original, whole, [], replace(small, folder=tmp_path), lambda _: None)
    assert kept == ["/generator/out/Conv"] and [len(each) for each in tried] == [
        *[1] * len(names),
        *[len(names)] * 2,  # whether all can be opened together, and how good they are
        len(names) - 1,
    ]
    monkeypatch.setattr(step, "TARGETS", {"colour": 0.4, "blended": 0.1, "flow_px": 0.03})
    cost["/generator/up_eighth/Conv"] = 0.31
    kept = step._choose(original, whole, [], replace(small, folder=tmp_path), lambda _: None)
    assert kept == [name for name in names if cost[name] >= 0.31], "named in the graph's order"


def test_larger_crops_than_the_corpus_has_are_refused(tmp_path, toy_people):
    shutil.copytree(load_bundle("default").folder, tmp_path / "large")
    with pytest.raises(DataError, match="256 px crops and the corpus has 64 px"):
        step.quantise(tmp_path / "large", [toy_people])


def test_the_papers_network_without_flow_is_quantised_too(tmp_path):
    bundle, _ = export(
        busy(PaperGenerator(PaperShape(size_px=64, width=8, blocks=1))),
        tmp_path / "paper",
        {"images_seen": 0},
    )
    original, _ = fold_half_weights(onnx.load(bundle.onnx))
    model = quantised(original, examples(bundle, 2))
    assert (
        kinds(model)["QuantizeLinear"] >= len(convolutions(original)) - 1
        and kinds(original)["ConvTranspose"] == 2
    )
    onnx.save(model, str(tmp_path / "whole.onnx"))
    variant = replace(bundle, folder=tmp_path, variants={"int8": Variant("whole.onnx", "")})
    engine = OpenVino().open(variant, "int8", OpenVino().compile(variant, "int8"))
    assert engine.run(*examples(bundle, 1)[0]).flow is None


def test_without_nncf_the_message_names_what_to_install(mine, monkeypatch, capsys):
    monkeypatch.setitem(
        command.STEPS, "quantise", lambda options: (_ for _ in ()).throw(ModuleNotFoundError(name="nncf"))
    )
    assert command.main(["quantise", str(mine), "--corpus", "nowhere"]) == DataError.exit_status
    assert "pip install -e '.[int8]'" in capsys.readouterr().err


def test_a_bundle_is_written_beside_its_folder_however_that_is_named(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert {staging_folder(Path(name)) for name in (".", "../link", "../mine")} == {
        tmp_path.resolve() / "mine.part"
    }


def test_quantising_sends_no_telemetry():
    """In a process of its own: within pytest nncf is silent anyway."""
    code = (
        "import train.export.int8_search; from nncf.telemetry.wrapper import NNCFTelemetryStub, telemetry; "
        "assert isinstance(telemetry, NNCFTelemetryStub)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert done.returncode == 0, done.stderr


def test_a_convolution_that_keeps_the_others_from_being_opened_stays_in_float():
    def opens(kept):
        if "shade" not in kept:
            raise EngineError("No suitable implementations")

    assert step._unfit(["stem", "shade", "out"], lambda _kept: None) == []
    assert step._unfit(["stem", "shade", "out"], opens) == ["shade"]
    with pytest.raises(EngineError, match="leave it without"):
        step._unfit(["stem", "out"], opens)
