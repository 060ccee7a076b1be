"""Engines compiled by OpenVINO: what this CPU is offered, what a compiled engine depends on, and that opening
one changes nothing.
"""

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from engines.backends import openvino
from engines.backends.openvino import OpenVino
from engines.bundle import Variant, load_bundle
from engines.errors import EngineError, EngineLost

AVAILABLE = openvino.ov.Core().available_devices
EVERYTHING = {"BF16", "FP32", "INT8", "EXPORT_IMPORT"}


@pytest.fixture(scope="module")
def bundle():
    return load_bundle("default")


@pytest.fixture
def cpu(monkeypatch, tmp_path):
    """A CPU of the test's choice: OpenVINO's capabilities, and what /proc/cpuinfo lists, None where there is
    none.
    """

    def become(capabilities: set[str], cpuinfo: str | None) -> None:
        monkeypatch.setattr(openvino, "_capabilities", lambda core: capabilities)
        if cpuinfo is not None:
            (tmp_path / "cpuinfo").write_text(cpuinfo)
        monkeypatch.setattr(openvino, "CPUINFO", tmp_path / "cpuinfo")

    return become


def test_an_accelerator_compiles_and_opens_as_the_cpu_does(bundle, monkeypatch):
    """OpenVINO's CPU in the place of a GPU: the same calls with the same settings."""
    monkeypatch.setitem(openvino.OTHER_DEVICES, "openvino_gpu", "CPU")
    backend = openvino.OpenVinoAccelerator("openvino_gpu")
    facts = backend.depends_on()
    assert facts["device"] and facts["driver"] == "unknown" and backend.precisions(bundle) == ("fp16",)
    messages = []
    engine = backend.open(bundle, "fp16", backend.compile(bundle, "fp16", messages.append))
    assert engine.name.endswith("CPU FP16") and "in FP16" in messages[0]
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 256, (bundle.size_px, bundle.size_px, 3), dtype=np.uint8)
    edit = engine.run(crop, np.full(len(bundle.aus), 0.3, np.float32))
    assert edit.colour.shape == crop.shape and 0 <= edit.attention.min() < edit.attention.max() <= 1


def test_a_missing_accelerator_is_named_with_what_helps():
    missing = [name for name, device in openvino.OTHER_DEVICES.items() if device not in str(AVAILABLE)]
    for name in missing:
        with pytest.raises(EngineError, match="here: install Intel's driver"):
            openvino.OpenVinoAccelerator(name).depends_on()


@pytest.mark.parametrize(
    ("capabilities", "cpuinfo", "offered"),
    [
        (
            EVERYTHING,
            "processor : 0\nflags : fpu avx2 avx512f avx512_vnni avx512_bf16\n",
            ("int8", "bf16", "fp32"),
        ),
        (EVERYTHING - {"BF16"}, "flags\t\t: fpu avx2 avx_vnni\n", ("int8", "fp32")),
        (
            EVERYTHING - {"BF16"},
            "flags : fpu sse4_1 avx2\n",
            ("fp32",),
        ),  # 8-bit products in three instructions, not one
        (EVERYTHING - {"BF16"}, "Features\t: fp asimd asimddp\n", ("int8", "fp32")),  # ARM
        (EVERYTHING - {"BF16"}, None, ("int8", "fp32")),  # no Linux: OpenVINO's list alone
        (EVERYTHING - {"BF16", "INT8"}, None, ("fp32",)),
    ],
)
def test_precisions_are_what_the_instructions_do_natively(cpu, bundle, capabilities, cpuinfo, offered):
    cpu(capabilities, cpuinfo)
    assert (
        OpenVino().precisions(replace(bundle, variants={"int8": Variant("generator-int8.onnx", "")}))
        == offered
    )


def test_a_bundle_without_an_int8_variant_is_not_offered_in_int8(cpu, bundle):
    cpu(EVERYTHING, "flags : avx512_vnni\n")
    assert OpenVino().precisions(replace(bundle, variants={})) == ("bf16", "fp32")


def test_a_compiled_engine_depends_on_the_settings_that_it_is_compiled_with(monkeypatch):
    before, settings = OpenVino().depends_on(), openvino._settings
    monkeypatch.setattr(
        openvino, "_settings", lambda *given: settings(*given) | {"PERFORMANCE_HINT": "THROUGHPUT"}
    )
    assert OpenVino().depends_on() != before


def test_a_compiled_engine_depends_on_library_cpu_and_instructions(cpu):
    before = OpenVino().depends_on()
    assert "openvino 20" in before["library"] and before["device"] and before["machine"] and before["system"]
    cpu(EVERYTHING, "flags : avx2 avx512_vnni\n")
    assert OpenVino().depends_on()["instructions"] == "avx2 avx512_vnni"
    cpu(EVERYTHING - {"BF16"}, "flags : avx2\n")
    other = OpenVino().depends_on()
    assert other["instructions"] == "avx2" and "BF16" not in other["capabilities"].split()


def test_a_machine_without_a_cpu_plugin_gets_one_sentence(monkeypatch):
    class Nothing:
        available_devices = ()

    monkeypatch.setattr(openvino, "_core_of", lambda process: Nothing())
    with pytest.raises(EngineError, match="does not know this machine's CPU"):
        OpenVino().depends_on()


@pytest.mark.parametrize("precision", ["int8", "bf16", "fp32"])
def test_an_engine_in_two_parts_answers_as_the_whole_graph_does(bundle, precision):
    messages: list[str] = []
    backend, core, rng = OpenVino(), openvino._core(), np.random.default_rng(1)
    parts = backend.open(bundle, precision, backend.compile(bundle, precision, messages.append), threads=1)
    graph = core.read_model(bundle.graph(precision))
    whole = openvino.OpenVinoEngine(
        bundle, core.compile_model(graph, "CPU", openvino._settings(core, precision, 1)), precision
    )
    crops = [rng.integers(0, 256, (256, 256, 3), dtype=np.uint8) for _ in range(2)]
    crops[1].flags.writeable = False
    for number, place in enumerate((0, 1, 1, 0, 1)):
        if place == 0:  # a writable crop may have changed in place
            crops[0][:] = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
        aus = rng.uniform(-1, 1, len(bundle.aus)).astype(np.float32)
        a, b = parts.run(crops[place], aus), whole.run(crops[place], aus)
        same = (
            (a.colour == b.colour).all() and (a.attention == b.attention).all() and (a.flow == b.flow).all()
        )
        assert same, number
    assert parts.name.endswith(precision.upper()) and "default" in messages[0]


def test_the_photos_part_is_computed_once_for_a_crop_that_cannot_change(bundle):
    engine, crop = (
        OpenVino().open(bundle, "fp32", OpenVino().compile(bundle, "fp32")),
        np.zeros((256, 256, 3)),
    )
    crop = crop.astype(np.uint8)
    crop.flags.writeable = False
    runs = []
    infer = engine._photo.infer
    engine._photo = SimpleNamespace(infer=lambda *given, **options: runs.append(infer(*given, **options)))
    for _ in range(3):
        engine.run(crop, np.zeros(len(bundle.aus), np.float32))
    assert len(runs) == 1
    engine.run(crop.copy(), np.zeros(len(bundle.aus), np.float32))
    engine.run(crop, np.zeros(len(bundle.aus), np.float32))
    assert len(runs) == 3


@pytest.mark.parametrize("compiled", [b"", b"no engine" * 100])
def test_bytes_that_are_no_engine_are_refused_with_what_to_do(bundle, compiled):
    with pytest.raises(EngineError, match=r"cannot open the compiled engine of default.*compile it again"):
        OpenVino().open(bundle, "fp32", compiled)


def test_a_compiled_engine_of_another_bundle_is_refused(bundle):
    compiled = OpenVino().compile(bundle, "fp32")
    with pytest.raises(EngineError, match="do not belong together"):
        OpenVino().open(replace(bundle, aus=bundle.aus[:17]), "fp32", compiled)


def test_a_failure_while_running_is_a_lost_engine_not_a_traceback(bundle):
    class Broken:
        def infer(self, *_inputs, **_options):
            raise RuntimeError("Exception from core\ncannot allocate memory")

    engine = OpenVino().open(bundle, "fp32", OpenVino().compile(bundle, "fp32"))
    engine._request = Broken()
    with pytest.raises(EngineLost, match=r"failed while it ran default .cannot allocate memory"):
        engine.run(np.zeros((256, 256, 3), np.uint8), np.zeros(len(bundle.aus), np.float32))


@pytest.mark.skipif(os.name != "posix", reason="Windows has no signal stacks")
def test_a_signal_after_the_last_engine_was_dropped_elsewhere_is_no_crash():
    """OpenVINO's CPU plugin lends the thread that loads it a signal stack, and takes it back when it is
    unloaded.
    """
    script = (
        "import gc, signal, threading\n"
        "from engines.runtime.load import load\n"
        "kept = [load('default', 'cpu-fp32')]\n"
        "drop = threading.Thread(target=lambda: (kept.clear(), gc.collect()))\n"
        "drop.start(); drop.join()\n"
        "received = []\n"
        "signal.signal(signal.SIGUSR1, lambda *_: received.append(True))\n"
        "signal.raise_signal(signal.SIGUSR1)\n"
        "assert received\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["compact without flow", "paper"])
def test_ports_are_known_by_the_contracts_names_whatever_else_they_are_called(model, tmp_path):
    pytest.importorskip("torch", reason="exporting needs PyTorch: pip install -e '.[train]'")
    from tests.support.small_runs import TINY
    from train.export.onnx_export import export
    from train.networks.compact import CompactGenerator
    from train.networks.paper import PaperGenerator, PaperShape

    paper = PaperGenerator(PaperShape(size_px=64, width=8, blocks=1))
    network = paper if model == "paper" else CompactGenerator(replace(TINY, flow=False))
    small, _ = export(network.eval(), tmp_path / "small", {})
    for precision in ("bf16", "fp32"):
        engine = OpenVino().open(small, precision, OpenVino().compile(small, precision))
        assert engine.run(
            np.zeros((64, 64, 3), np.uint8), np.zeros(len(small.aus), np.float32)
        ).attention.shape == (64, 64)
