"""The benchmark of engines: fair turns, true counts, a roofline that is never beaten."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from engines.backends import openvino
from engines.bundle import load_bundle
from engines.errors import Choice, EngineError
from engines.runtime import benchmark, timing
from engines.runtime.parity import Case
from tests.support.fake_backends import FakeBackend
from tests.support.fakes import StubEngine


class Paced:
    """An engine that takes its time, and notes when it was its turn."""

    def __init__(self, name: str, took_s: float, turns: list[str]):
        self.name, self._took_s, self._turns = name, took_s, turns

    def run(self, crop, aus):
        self._turns.append(self.name)
        time.sleep(self._took_s)


def test_engines_take_turns_and_warm_runs_do_not_count():
    turns: list[str] = []
    engines = [Paced("slow", 0.004, turns), Paced("fast", 0.001, turns)]
    cases = [Case("rest", np.zeros(1), np.zeros(1)), Case("smile", np.zeros(1), np.ones(1))]
    slow, fast = timing.in_turn(engines, cases, runs=30)
    assert len(slow) == len(fast) == 30 and np.median(slow) > 2 * np.median(fast) > 2
    assert turns[:25] == ["slow"] * 10 + ["fast"] * 10 + ["slow"] * 5 and len(turns) == 2 * (
        30 + timing.WARM_UP_RUNS
    )


def test_a_frame_exchanges_its_aus_and_what_the_generator_says():
    bundle = StubEngine(size_px=64, flow_px=32).bundle
    assert benchmark.host_bytes(bundle) == 17 * 4 + 64 * 64 * 3 + 64 * 64 * 4 + 32 * 32 * 2 * 4


def test_the_roofline_is_the_slower_of_computing_and_moving(monkeypatch):
    monkeypatch.setattr(openvino, "work", lambda bundle: (10**9, 10**6, 10**6))
    assert benchmark.roofline_ms(None, "fp32", peak=1e11, bandwidth=1e12) == pytest.approx(10)
    assert benchmark.roofline_ms(None, "fp32", peak=1e12, bandwidth=1e9) == pytest.approx(8)
    assert benchmark.roofline_ms(None, "int8", peak=1e12, bandwidth=1e9) == pytest.approx(2), (
        "a quarter of the bytes"
    )


@pytest.mark.slow
def test_the_work_of_the_shipped_generator_is_what_its_layers_add_up_to():
    torch = pytest.importorskip("torch", reason="counting again needs PyTorch: pip install -e '.[train]'")
    from train.export.restore import restore

    network, products = restore(load_bundle("default")), 0

    def count(module, inputs, output):
        nonlocal products
        depth = module.weight[0].numel()
        products += output.numel() * depth

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, 256, 256), torch.zeros(1, 29))
    found, values, weights = openvino.work(load_bundle("default"))
    assert found == pytest.approx(products, rel=0.001) and weights > 4e6 and values > 5e6


@pytest.mark.slow
def test_the_command_times_every_engine_of_this_machine(tmp_path):
    command = [sys.executable, "-m", "engines", "bench", "--runs", "10", "--json", str(tmp_path / "b.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "b.json").read_text())
    names = [row["engine"] for row in result["rows"]]
    assert len(names) >= 2 and "ONNX Runtime" in names[0] and any("FP32" in name for name in names[1:])
    assert all(
        row["p50_ms"] > 0 and row["min_ms"] <= row["p50_ms"] <= row["p99_ms"] and row["grey_levels"] <= 1
        for row in result["rows"]
    )
    assert result["work"]["default"]["gmac"] == 2.23 and result["bandwidth_gb_s"] > 0.5
    assert all(name in done.stdout for name in names)


@pytest.mark.slow
def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
    command = [
        sys.executable,
        "-m",
        "engines",
        "bench",
        "--runs",
        "1",
        "--json",
        str(tmp_path / "nowhere" / "b.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (
        done.returncode == EngineError.exit_status
        and "cannot be written" in done.stderr
        and "choose another --json" in done.stderr
        and "Traceback" not in done.stderr
    )


def hide(folder, *modules: str) -> dict[str, str]:
    """The environment of a program in which modules are not installed."""
    folder.mkdir()
    for name in modules:
        text = f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')"
        (folder / f"{name}.py").write_text(text)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@pytest.mark.slow
def test_the_base_install_is_measured_and_what_is_not_installed_is_named(tmp_path):
    command = [
        sys.executable,
        "run.py",
        "engines",
        "bench",
        "--runs",
        "10",
        "--json",
        str(tmp_path / "b.json"),
    ]
    environment = hide(
        tmp_path / "hidden", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "onnx", "torch"
    )
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "b.json").read_text())
    first, *others = result["rows"]
    assert first["engine"].endswith("CPU FP32") and first["grey_levels"] == 0 and first["times_faster"] == 1
    assert first["roofline_ms"] > 0, "its peak is known, as OpenVINO runs it"
    assert all(row["p50_ms"] > 0 and row["grey_levels"] <= 1 for row in others)
    assert set(result["left_out"]) == {"ONNX Runtime", "TensorRT"}
    assert "ONNX Runtime: pip install -e '.[reference]'." in done.stdout
    assert "TensorRT is not installed: pip install" in done.stdout and "choose" not in done.stdout


def test_an_engine_that_cannot_be_opened_is_named_and_the_others_are_measured(monkeypatch):
    bundle = load_bundle("default")

    def refuse(bundle, target, threads):
        if target.precision != "fp32":
            raise EngineError("It does not compile", "update it", Choice("device", "cpu"))
        return StubEngine()

    monkeypatch.setattr(benchmark, "compile_unchecked", refuse)
    monkeypatch.setattr(benchmark, "gpu_backend", lambda: FakeBackend(StubEngine(), "tensorrt", ("fp16",)))
    engines, left_out = benchmark.open_engines(bundle, None)
    assert len(engines) == 2 and left_out["tensorrt-fp16"] == "It does not compile: update it."


@pytest.mark.parametrize(
    ("measured", "sentence"),
    [
        ({"cpu-int8": 6.0, "gpu": 9.0}, "gpu: NVIDIA's GPU comes first."),
        ({"reference": 20.0, "cpu-int8": 6.0, "cpu-fp32": 3.0}, "cpu-int8: there is no GPU or NPU."),
        ({"cpu-int8": 6.0, "intel-gpu": 4.0}, "intel-gpu: 4.0 ms against the CPU's 6.0 ms."),
        (
            {"cpu-int8": 6.0, "intel-gpu": 7.0, "intel-npu": 5.0},
            "intel-npu: 5.0 ms against the CPU's 6.0 ms.",
        ),
        ({"cpu-int8": 6.0, "intel-npu": 7.0}, "cpu-int8: intel-npu is slower."),
    ],
)
def test_what_auto_takes_is_said_with_the_reason(measured, sentence):
    rows = [{"engine": device, "p50_ms": p50_ms} for device, p50_ms in measured.items()]
    assert benchmark.taken_by_auto(list(measured), rows) == sentence


def test_where_no_engine_runs_the_benchmark_is_an_error(monkeypatch):
    def refuse(*_arguments):
        raise EngineError("It does not run", "update it")

    for name in ("reference_engine", "gpu_backend", "compile_unchecked"):
        monkeypatch.setattr(benchmark, name, refuse)
    with pytest.raises(
        EngineError, match="No engine of default runs on this machine: It does not run: update"
    ):
        benchmark.open_engines(load_bundle("default"), None)
