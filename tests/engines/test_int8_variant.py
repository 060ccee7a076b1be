"""The INT8 variant that ships, on the shipped photos: beside FP32, by OpenVINO and by ONNX Runtime.

Needs no NNCF.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.backends.interface import Edit
from engines.backends.openvino import OpenVino
from engines.bundle import load_bundle
from engines.runtime.parity import colour_difference
from realtime.puppet.puppet import Puppet
from tests.support.fakes import speak

ASKED = (
    {"AU06": 0.8, "AU12": 1.0, "AU25": 0.6},
    {"AU01": 0.9, "AU02": 0.9, "AU05": 0.7, "AU25": 0.8, "AU26": 0.8},
    {"AU04": 1.0, "AU15": 0.7, "AU17": 0.7},
    {"AU45L": 1.0, "AU12R": 0.8},
)


@pytest.fixture(scope="module")
def bundle():
    return load_bundle("default")


@pytest.fixture(scope="module")
def engines(bundle):
    """FP32 and INT8."""
    return [
        OpenVino().open(bundle, precision, OpenVino().compile(bundle, precision))
        for precision in ("fp32", "int8")
    ]


def crop_of(photo, engine):
    return Puppet(photo, engine)._crop_picture


def test_the_shipped_variant_says_how_it_was_made_and_is_small(bundle):
    calibration = bundle.variants["int8"].calibration
    assert (
        calibration["by"].startswith("nncf ")
        and calibration["crops"] >= 100
        and calibration["differences"]["colour"] <= 1.0
    )
    assert calibration["corpora"] == bundle.training["corpora"], "ranges are of what it was trained on"
    assert bundle.graph("int8").stat().st_size < 0.65 * bundle.onnx.stat().st_size


def test_no_change_is_exactly_the_identity_in_int8(engines, photo):
    rng, exact_rest = np.random.default_rng(0), np.zeros(len(engines[1].bundle.aus), np.float32)
    for crop in (crop_of(photo, engines[1]), rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)):
        edit = engines[1].run(crop, exact_rest)
        assert (edit.attention == 1).all() and not edit.flow.any()


def test_the_crops_edge_is_exactly_the_photo_in_int8(engines, photo):
    edit = engines[1].run(crop_of(photo, engines[1]), speak(engines[1].bundle.aus, AU12=1.0, AU26=1.0))
    assert (
        (edit.attention[[0, -1]] == 1).all()
        and (edit.attention[:, [0, -1]] == 1).all()
        and not edit.flow[[0, -1]].any()
    )


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: " ".join(asked))
def test_int8_differs_from_fp32_by_less_than_a_grey_level(engines, photo, asked):
    aus, exact, ours = speak(engines[0].bundle.aus, **asked), *(Puppet(photo, engine) for engine in engines)
    a, b = exact.edit(aus), ours.edit(aus)
    assert colour_difference(b, a) < 1.0
    assert (
        np.linalg.norm(a.flow - b.flow, axis=-1).mean() < 0.1
        and np.abs(a.attention - b.attention).mean() < 0.001
    )
    assert (
        np.abs(exact.render(aus).astype(int) - ours.render(aus)).mean() < 0.5
    )  # at 896 px, where a tenth of a crop's pixel is three times as many


def test_onnxruntime_reads_the_variant_and_agrees_with_openvino(bundle, engines, photo):
    onnxruntime = pytest.importorskip(
        "onnxruntime", reason="needs ONNX Runtime: pip install -e '.[reference]'"
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(bundle.graph("int8")), options, providers=["CPUExecutionProvider"]
    )
    in_fp32 = replace(
        bundle, variants={"fp32": bundle.variants["int8"]}
    )  # what is no integer in FP32, as ONNX Runtime has it
    engine = OpenVino().open(in_fp32, "fp32", OpenVino().compile(in_fp32, "fp32"))
    crop = crop_of(photo, engine)
    for asked in ASKED:
        aus = speak(bundle.aus, **asked)
        theirs, ours = (
            session.run(["colour", "attention", "flow"], {"image": crop[None], "aus": aus[None]}),
            engine.run(crop, aus),
        )
        assert colour_difference(ours, Edit(*(part[0] for part in theirs))) < 0.3
        assert (
            np.abs(theirs[1][0] - ours.attention).mean() < 5e-4
            and np.abs(theirs[2][0] - ours.flow).mean() < 0.02
        )


def test_the_variant_is_the_shipped_generator_and_no_other(bundle):
    """The FP32 weights that both files hold are the same."""
    onnx = pytest.importorskip("onnx", reason="needs ONNX: pip install -e '.[train]'")
    whole, eight = (
        {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(path).graph.initializer}
        for path in map(Path, (bundle.onnx, bundle.graph("int8")))
    )
    same = [name for name in whole if name in eight]
    assert len(same) >= 20 and all((whole[name] == eight[name]).all() for name in same)
