"""PyTorch, one edit at a time, as an engine like any other."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import EngineError  # noqa: E402
from engines.runtime.load import load  # noqa: E402
from tests.support.small_runs import TINY  # noqa: E402
from train import __main__ as command  # noqa: E402
from train.export.latency import TorchEngine  # noqa: E402
from train.export.onnx_export import export  # noqa: E402
from train.export.restore import restore  # noqa: E402
from train.networks.compact import CompactGenerator  # noqa: E402


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    network = CompactGenerator(TINY)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return export(
        network.eval(), tmp_path_factory.mktemp("bundles") / "small", {"shape": {"generator": TINY.as_dict()}}
    )[0]


@pytest.mark.parametrize("half", [False, True], ids=["full", "half"])
def test_pytorch_answers_as_the_reference_does(bundle, half):
    engine, reference, rng = (
        TorchEngine(bundle, restore(bundle), half, False),
        load(bundle, "reference"),
        np.random.default_rng(0),
    )
    for _ in range(2):  # another crop in the same array is another crop
        crop, aus = (
            rng.integers(0, 256, (64, 64, 3), dtype=np.uint8),
            rng.uniform(-1, 1, len(bundle.aus)).astype(np.float32),
        )
        ours, theirs = engine.run(crop, aus), reference.run(crop, aus)
        assert np.abs(ours.colour.astype(int) - theirs.colour).mean() < (2 if half else 0.05)
        assert np.abs(ours.flow - theirs.flow).mean() < (0.1 if half else 1e-3)


def test_a_crop_that_cannot_change_goes_to_the_device_once(bundle):
    engine, crop, aus = (
        TorchEngine(bundle, restore(bundle), False, False),
        np.zeros((64, 64, 3), np.uint8),
        np.ones(len(bundle.aus), np.float32),
    )
    engine.run(crop, aus)
    first = engine._image
    crop[:] = 200
    engine.run(crop, aus)
    assert engine._image is not first and int(engine._image.max()) == 200
    crop.flags.writeable = False
    kept = engine._image
    engine.run(crop, aus)
    assert engine._image is kept


@pytest.mark.slow
def test_the_command_sets_pytorch_beside_the_engine_of_a_call(bundle, capsys):
    assert command.main(["latency", "--engine", str(bundle.folder), "--runs", "5"]) == 0
    output = capsys.readouterr().out
    assert "OpenVINO" in output and "float32 eager" in output and output.count("PyTorch") == 3, (
        "compiled, or left out with its reason"
    )
    assert command.main(["latency", "--engine", "nobody"]) == EngineError.exit_status
