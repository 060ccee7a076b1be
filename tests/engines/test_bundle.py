import json
import shutil

import numpy as np
import pytest

from engines.bundle import ENGINES, load_bundle, sha256_of, write_description
from engines.errors import EngineError
from engines.face import au_estimator
from engines.face.action_units import EXPRESSION, PAPER_17, VOCABULARIES, WIDE, translate
from engines.runtime.load import load
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from tests.support.fakes import speak


@pytest.fixture
def copy(tmp_path):
    """A copy of the shipped bundle, to be changed."""
    folder = tmp_path / "mine"
    shutil.copytree(ENGINES / "default", folder)
    return folder


def rewrite(folder, **changes):
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_shipped_bundle_is_whole_small_and_described():
    bundle = load_bundle("default")
    assert bundle.aus in VOCABULARIES.values() and bundle.conditioning == "relative" and bundle.size_px == 256
    assert sum(file.stat().st_size for file in bundle.folder.iterdir()) <= 16e6
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "UTKFace" in card and "licence" in card.lower()
    assert bundle.training["images_seen"] > 0 and bundle.training["corpora"]


@pytest.mark.parametrize(
    ("aus", "estimator"),
    [(PAPER_17, "mediapipe-mesh-1"), (PAPER_17, "mediapipe-mesh-2"), (WIDE, "mediapipe-mesh-2")],
)
def test_bundles_of_this_estimator_and_of_the_one_before_sides_are_read(copy, aus, estimator):
    rewrite(copy, aus=list(aus), estimator=estimator)
    bundle = load_bundle(copy)
    assert (bundle.aus, bundle.estimator) == (aus, estimator) and estimator in au_estimator.COMPATIBLE


def test_a_bundle_of_an_unknown_estimator_is_refused_by_name(copy):
    rewrite(copy, estimator="mediapipe-mesh-99")
    with pytest.raises(
        EngineError,
        match=f"AUs by mediapipe-mesh-99, this program measures by {au_estimator.VERSION}.*would not match",
    ):
        load_bundle(copy)


def test_a_bundle_has_its_folder_s_name_wherever_the_user_stands(copy, monkeypatch):
    monkeypatch.chdir(copy)
    assert load_bundle(".").name == load_bundle("../mine").name == "mine"


def test_a_missing_bundle_names_those_that_ship():
    with pytest.raises(EngineError, match="default"):
        load_bundle("no-such-engine")


def test_a_changed_onnx_is_refused(copy):
    data = bytearray((copy / "generator.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "generator.onnx").write_bytes(bytes(data))
    with pytest.raises(EngineError, match="SHA-256"):
        load_bundle(copy)


def test_a_missing_onnx_is_refused(copy):
    (copy / "generator.onnx").unlink()
    with pytest.raises(EngineError, match="missing"):
        load_bundle(copy)


def with_variant(folder, data=b"another graph", **changes):
    """Puts a variant for INT8 beside a copy's generator.onnx."""
    (folder / "other.onnx").write_bytes(data)
    rewrite(
        folder,
        variants={"int8": {"file": "other.onnx", "sha256": sha256_of(folder / "other.onnx"), **changes}},
    )


def test_a_variant_is_the_graph_of_its_precision_and_of_no_other(copy):
    with_variant(copy, calibration={"seed": 3})
    bundle = load_bundle(copy)
    assert bundle.graph("int8") == copy / "other.onnx" and bundle.variants["int8"].calibration == {"seed": 3}
    assert bundle.graph("bf16") == bundle.graph("fp32") == bundle.onnx


def test_a_bundle_without_variants_is_read_and_written_without_them(copy):
    rewrite(copy, variants={})
    stored = json.loads((copy / "bundle.json").read_text())
    del stored["variants"]
    (copy / "bundle.json").write_text(json.dumps(stored))
    bundle = load_bundle(copy)
    assert bundle.variants == {} and bundle.graph("int8") == bundle.onnx
    write_description(bundle)
    assert json.loads((copy / "bundle.json").read_text()) == stored


def test_a_description_is_written_as_it_is_read(copy):
    with_variant(copy, calibration={"crops": 5})
    before = json.loads((copy / "bundle.json").read_text())
    write_description(load_bundle(copy))
    assert json.loads((copy / "bundle.json").read_text()) == before


def test_a_changed_variant_is_refused_by_its_own_name(copy):
    with_variant(copy)
    (copy / "other.onnx").write_bytes(b"another graph, changed")
    with pytest.raises(EngineError, match=r"other\.onnx.*SHA-256"):
        load_bundle(copy)


def test_a_missing_variant_is_refused_by_its_own_name(copy):
    with_variant(copy)
    (copy / "other.onnx").unlink()
    with pytest.raises(EngineError, match=r"other\.onnx is missing"):
        load_bundle(copy)


@pytest.mark.parametrize(
    "changes", [{"file": "../other.onnx"}, {"file": "/etc/passwd"}, {"file": None}, {"sha256": None}]
)
def test_a_variant_outside_its_folder_or_unpinned_is_refused(copy, changes):
    with_variant(copy, **changes)
    with pytest.raises(EngineError, match="get the bundle again"):
        load_bundle(copy)


@pytest.mark.parametrize("precision", ["fp32", "int4", "../int8"])
def test_a_variant_that_would_pass_for_the_reference_or_is_unknown_is_refused(copy, precision):
    rewrite(copy, variants={precision: {"file": "generator.onnx", "sha256": load_bundle("default").sha256}})
    with pytest.raises(EngineError, match="known are int8"):
        load_bundle(copy)


@pytest.mark.parametrize("variants", [["int8"], {"int8": 5}, "int8"])
def test_variants_of_another_shape_are_refused(copy, variants):
    rewrite(copy, variants=variants)
    with pytest.raises(EngineError, match="not a bundle description"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"aus": ["AU01", "AU99"]}, "another AU set"),
        ({"aus": ["AU01", "AU01"]}, "another AU set"),
        ({"crop_rule": "similarity-9"}, "crops"),
        ({"estimator": "openface-2"}, "openface-2"),
        ({"conditioning": "sideways"}, "conditioning"),
        ({"format": 99}, "format 99"),
        ({"sha256": "short"}, "SHA-256"),
    ],
)
def test_a_bundle_of_another_kind_is_refused(copy, changes, fragment):
    rewrite(copy, **changes)
    with pytest.raises(EngineError, match=fragment):
        load_bundle(copy)


def test_a_description_that_is_not_json_is_refused(copy):
    (copy / "bundle.json").write_text("{")
    with pytest.raises(EngineError, match=r"bundle\.json"):
        load_bundle(copy)


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_a_description_of_another_onnx_is_refused(copy, device):
    rewrite(copy, aus=["AU01", "AU12"])
    with pytest.raises(EngineError, match="do not belong together"):
        load(copy, device)


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_a_file_that_is_no_onnx_is_refused(copy, device):
    (copy / "generator.onnx").write_bytes(b"not a model" * 100)
    rewrite(copy, sha256=sha256_of(copy / "generator.onnx"))
    with pytest.raises(EngineError, match="cannot load"):
        load(copy, device)


def test_an_unknown_device_is_refused():
    with pytest.raises(EngineError, match="tpu"):
        load("default", "tpu")


def test_inputs_of_another_shape_are_refused_with_both_shapes(engine):
    with pytest.raises(EngineError, match=r"\(256, 256, 3\).*\(128, 128, 3\)"):
        engine.run(np.zeros((128, 128, 3), np.uint8), np.zeros(len(engine.bundle.aus), np.float32))
    with pytest.raises(EngineError, match=f"wants {len(engine.bundle.aus)} AUs and was given .5,"):
        engine.run(np.zeros((256, 256, 3), np.uint8), np.zeros(5, np.float32))


@pytest.mark.slow
def test_backends_agree_on_a_face(photo):
    """OpenVINO in FP32 must equal the reference; BF16 may differ by what the eye cannot see."""
    rng, reference = np.random.default_rng(3), Puppet(photo, load("default", "reference"))
    changes = [rng.uniform(-0.3, 0.9, len(reference.bundle.aus)).astype(np.float32) for _ in range(3)]
    for device, worst_mean in (("cpu-fp32", 0.05), ("cpu", 0.8)):
        other = Puppet(photo, load("default", device))
        for change in changes:
            a, b = reference.edit(change), other.edit(change)
            assert np.abs(a.flow - b.flow).mean() < (0.02 if device == "cpu-fp32" else 0.25)
            assert np.abs(a.attention - b.attention).mean() < 0.01
            box = np.abs(reference.render(change).astype(int) - other.render(change))
            assert box[box > 0].size == 0 or box.mean() < worst_mean


def in_another_vocabulary(folder, aus):
    """Gives a bundle another vocabulary, by a product in front of its graph."""
    onnx = pytest.importorskip("onnx")
    model, bundle = onnx.load(folder / "generator.onnx"), load_bundle(folder)
    port = next(port for port in model.graph.input if port.name == "aus")
    port.type.tensor_type.shape.dim[1].dim_value = len(aus)
    for node in model.graph.node:
        node.input[:] = ["own_aus" if name == "aus" else name for name in node.input]
    matrix = translate(np.eye(len(aus)), aus, bundle.aus)
    model.graph.initializer.append(onnx.numpy_helper.from_array(matrix, "own_from_other"))
    model.graph.node.insert(0, onnx.helper.make_node("MatMul", ["aus", "own_from_other"], ["own_aus"]))
    onnx.save(model, folder / "generator.onnx")
    rewrite(folder, aus=list(aus), sha256=sha256_of(folder / "generator.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("aus", VOCABULARIES.values(), ids=VOCABULARIES)
def test_a_real_engine_of_either_vocabulary_is_driven_by_the_same_expression(copy, photo, engine, aus):
    in_another_vocabulary(copy, aus)
    asked, pictures = speak(EXPRESSION, AU12=0.8, AU26=0.6, AU45=0.7), []
    for driven in (engine, load(copy)):
        puppet = Puppet(photo, driven, (256, 256))
        pictures.append(puppet.render(Retarget(driven.bundle, puppet.own_aus)(asked)).astype(int))
    assert driven.bundle.aus == aus
    assert np.abs(pictures[0] - pictures[1]).mean() < 0.2 < 0.5 < np.abs(pictures[0] - puppet.still).mean()
