"""Which engine runs: compiled once, used after a check, the next best where one is refused."""

import dataclasses
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from engines.backends.interface import DEVICE_OF, Edit, Target
from engines.bundle import Variant, load_bundle
from engines.errors import EngineError
from engines.runtime import load as loading
from engines.runtime.cache import ENGINE, Cache
from engines.runtime.load import LoadOptions
from tests.support.fake_backends import FakeBackend
from tests.support.fakes import StubEngine

MODEL = StubEngine(flow_px=32, down_px=1.0)


def wrong(edit: Edit) -> Edit:
    return dataclasses.replace(edit, colour=255 - edit.colour)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and the stub as the engine that all are compared with."""
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "engines"))
    monkeypatch.setattr(loading, "baseline_engine", lambda bundle, threads=None: MODEL)
    return Cache()


@pytest.fixture
def on_this_machine(cache, monkeypatch):
    """Sets which backends this machine has: a CPU's, and a GPU's or none; accelerators of Intel by name."""

    def have(cpu: FakeBackend, gpu: FakeBackend | None = None, **intel: FakeBackend):
        def get_gpu():
            if gpu is None:
                raise EngineError("There is no GPU here.")
            gpu.depends_on()
            return gpu

        def accelerator(name: str) -> FakeBackend:
            found = intel.get(name) or FakeBackend(MODEL, name)
            found.unavailable = "" if name in intel else "OpenVINO finds no such device here."
            return found

        monkeypatch.setattr(loading, "OpenVino", lambda: cpu)
        monkeypatch.setattr(loading, "OpenVinoAccelerator", accelerator)
        monkeypatch.setattr(loading, "ProviderBackend", accelerator)
        monkeypatch.setattr(loading, "has_driver", lambda: True)
        monkeypatch.setattr(loading, "gpu_backend", get_gpu)
        return cpu, gpu

    return have


def test_an_engine_is_compiled_and_checked_once(cache):
    backend, messages = FakeBackend(MODEL), []
    for _ in range(3):
        engine = loading.load_checked(
            MODEL.bundle, Target(backend, "int8"), LoadOptions(notify=messages.append)
        )
    assert backend.compiled == ["int8"] and engine.name == "openvino int8"
    assert sum("checking" in sentence for sentence in messages) == 1
    assert cache.entries()[0].about["figures"]["picture mean"] == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda backend, bundle: backend.facts.update(library="openvino 2") or bundle,
        lambda backend, bundle: backend.facts.update(device="another") or bundle,
        lambda backend, bundle: dataclasses.replace(bundle, sha256="1" * 64),
        lambda backend, bundle: dataclasses.replace(
            bundle, variants={"int8": Variant("int8.onnx", "2" * 64)}
        ),
    ],
    ids=["library", "device", "weights", "int8 weights"],
)
def test_it_is_compiled_again_when_what_it_depends_on_changes(cache, change):
    backend = FakeBackend(MODEL)
    loading.load_checked(MODEL.bundle, Target(backend, "int8"))
    loading.load_checked(change(backend, MODEL.bundle), Target(backend, "int8"))
    assert backend.compiled == ["int8", "int8"]


def test_it_is_checked_again_when_the_rules_of_the_check_change(cache, monkeypatch):
    backend = FakeBackend(MODEL)
    loading.load_checked(MODEL.bundle, Target(backend, "int8"))
    monkeypatch.setattr(loading, "rules_digest", lambda: "stricter")
    loading.load_checked(MODEL.bundle, Target(backend, "int8"))
    assert backend.compiled == ["int8", "int8"]


def test_a_refused_engine_is_never_run_and_not_compiled_again(cache):
    backend = FakeBackend(MODEL, edits={"int8": wrong})
    target = Target(backend, "int8")
    with pytest.raises(EngineError, match=r"does not do what stub does .*painted mean"):
        loading.load_checked(MODEL.bundle, target)
    with pytest.raises(EngineError, match=r"was refused when it was compiled .*painted mean"):
        loading.load_checked(MODEL.bundle, target)
    assert backend.compiled == ["int8"]
    assert (cache.entries()[0].folder / ENGINE).stat().st_size == 0, "code that is not trusted is not kept"


def test_where_the_best_is_refused_the_next_best_runs_and_the_reason_is_reported(on_this_machine):
    cpu, _ = on_this_machine(FakeBackend(MODEL, precisions=("int8", "bf16", "fp32"), edits={"int8": wrong}))
    messages = []
    assert loading.load(MODEL.bundle, options=LoadOptions(notify=messages.append)).name == "openvino bf16"
    assert any("painted mean" in sentence and "next best" in sentence for sentence in messages)
    assert cpu.compiled == ["int8", "bf16"]


def test_the_gpu_comes_first_where_there_is_one(on_this_machine):
    on_this_machine(
        FakeBackend(MODEL, precisions=("int8", "fp32")), FakeBackend(MODEL, "tensorrt", ("fp16",))
    )
    assert loading.load(MODEL.bundle).name == "tensorrt fp16"
    assert loading.load(MODEL.bundle, "cpu").name == "openvino int8"
    assert loading.load(MODEL.bundle, "cpu-fp32").name == "openvino fp32"


def test_without_nvidias_driver_its_libraries_are_not_even_imported(on_this_machine, monkeypatch):
    cpu, gpu = on_this_machine(FakeBackend(MODEL), FakeBackend(MODEL, "tensorrt", ("fp16",)))
    assert loading.targets(MODEL.bundle)[0].backend is gpu
    monkeypatch.setattr(loading, "has_driver", lambda: False)
    assert {target.backend for target in loading.targets(MODEL.bundle)} == {cpu}
    assert gpu in {target.backend for target in loading.targets(MODEL.bundle, "gpu")}, "it is asked for"


def test_a_missing_gpu_is_not_reported_by_auto_and_an_error_when_asked_for(on_this_machine):
    on_this_machine(FakeBackend(MODEL, precisions=("int8", "fp32")))
    messages = []
    assert loading.load(MODEL.bundle, "auto", LoadOptions(notify=messages.append)).name == "openvino int8"
    assert not any("GPU" in sentence for sentence in messages)
    with pytest.raises(EngineError, match="no GPU"):
        loading.load(MODEL.bundle, "gpu")


def slow(edit: Edit) -> Edit:
    time.sleep(0.004)
    return edit


def slower(edit: Edit) -> Edit:
    time.sleep(0.012)
    return edit


def test_an_intel_gpu_is_taken_where_it_is_faster_than_the_cpu(on_this_machine):
    cpu = FakeBackend(MODEL, precisions=("int8", "fp32"), edits={"int8": slow})
    on_this_machine(cpu, openvino_gpu=FakeBackend(MODEL, "openvino_gpu", ("fp16",)))
    assert loading.load(MODEL.bundle).name == "openvino_gpu fp16"


def test_an_npu_that_is_slower_is_left_out_by_auto_compiled_once_and_used_when_named(on_this_machine, cache):
    npu = FakeBackend(MODEL, "openvino_npu", ("fp16",), edits={"fp16": slow})
    on_this_machine(FakeBackend(MODEL, precisions=("fp32",)), openvino_npu=npu)
    messages = []
    for _ in range(2):
        engine = loading.load(MODEL.bundle, options=LoadOptions(notify=messages.append))
        assert engine.name == "openvino fp32"
    assert any("ms a picture and the CPU" in sentence for sentence in messages) and npu.compiled == ["fp16"]
    pace = cache.entries()[0].about["pace"]
    assert pace["ms"] > pace["cpu_ms"] > 0
    assert loading.load(MODEL.bundle, "intel-npu").name == "openvino_npu fp16"
    assert npu.compiled == ["fp16"]


def test_accelerators_are_tried_in_turn_and_the_first_that_is_faster_is_taken(on_this_machine):
    cpu = FakeBackend(MODEL, precisions=("int8", "fp32"), edits={"int8": slow})
    fast = FakeBackend(MODEL, "directml", ("fp16",))
    on_this_machine(
        cpu, openvino_npu=FakeBackend(MODEL, "openvino_npu", ("fp16",), edits={"fp16": slower}), directml=fast
    )
    assert loading.load(MODEL.bundle).name == "directml fp16"
    assert loading.load(MODEL.bundle, "directml").name == "directml fp16"


def test_an_intel_gpu_that_draws_something_else_is_refused(on_this_machine):
    gpu = FakeBackend(MODEL, "openvino_gpu", ("fp16",), edits={"fp16": wrong})
    on_this_machine(FakeBackend(MODEL, precisions=("fp32",)), openvino_gpu=gpu)
    assert loading.load(MODEL.bundle).name == "openvino fp32"
    with pytest.raises(EngineError, match="no such device"):
        loading.load(MODEL.bundle, "intel-npu")


def test_devices_are_named_as_they_are_asked_for():
    named = {name: Target(FakeBackend(MODEL, name), "fp16").device for name in DEVICE_OF}
    assert set(named.values()) <= set(loading.DEVICES) and named["openvino_npu"] == "intel-npu"
    assert Target(FakeBackend(MODEL), "int8").device == "cpu-int8"


def test_fp32_is_neither_checked_nor_kept(on_this_machine, cache):
    on_this_machine(FakeBackend(MODEL, precisions=("fp32",)))
    messages = []
    loading.load(MODEL.bundle, options=LoadOptions(notify=messages.append))
    assert not cache.entries() and not any("checking" in sentence for sentence in messages)


def test_an_engine_that_does_not_open_any_more_is_compiled_again(cache):
    backend, messages = FakeBackend(MODEL), []
    target = Target(backend, "int8")
    loading.load_checked(MODEL.bundle, target)
    key = loading.key_of(MODEL.bundle, target)
    cache.store(key, json.dumps({"facts": "of another machine"}).encode())
    assert (
        loading.load_checked(MODEL.bundle, target, LoadOptions(notify=messages.append)).name
        == "openvino int8"
    )
    assert backend.compiled == ["int8", "int8"] and any(
        "cannot open this engine" in sentence for sentence in messages
    )


def test_a_spoilt_engine_is_compiled_again_and_never_opened(cache):
    backend, messages = FakeBackend(MODEL), []
    target = Target(backend, "int8")
    loading.load_checked(MODEL.bundle, target)
    path = cache.entries()[0].folder / ENGINE
    path.write_bytes(path.read_bytes().replace(b"int8", b"evil"))
    opened = len(backend.opened)
    loading.load_checked(MODEL.bundle, target, LoadOptions(notify=messages.append))
    assert (
        backend.compiled == ["int8", "int8"]
        and "not trusted" in messages[0]
        and len(backend.opened) == opened + 1
    )


def test_a_full_disk_is_reported_and_the_engine_runs(cache, monkeypatch):
    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    backend, messages = FakeBackend(MODEL), []
    engine = loading.load_checked(MODEL.bundle, Target(backend, "int8"), LoadOptions(notify=messages.append))
    assert engine.name == "openvino int8" and any("No space left" in sentence for sentence in messages)


def test_two_threads_that_need_the_same_engine_at_once_compile_it_once(cache):
    backend, engines = FakeBackend(MODEL), []
    backend.may_compile.clear()
    threads = [
        threading.Thread(
            target=lambda: engines.append(
                loading.load_checked(MODEL.bundle, Target(backend, "int8"), LoadOptions(cache=Cache()))
            )
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    backend.may_compile.set()
    for thread in threads:
        thread.join()
    assert backend.compiled == ["int8"] and len(engines) == 2


def test_an_engine_compiled_elsewhere_is_checked_like_any_other(cache):
    backend = FakeBackend(MODEL, edits={"bf16": wrong})
    good = backend.compile(MODEL.bundle, "int8", loading.ignore)
    assert loading.store_checked(MODEL.bundle, Target(backend, "int8"), good, made_by="a researcher").passed
    assert cache.entries()[0].about["made_by"] == "a researcher"
    assert not loading.store_checked(MODEL.bundle, Target(backend, "bf16"), good).passed
    backend.compiled.clear()
    assert loading.load_checked(MODEL.bundle, Target(backend, "int8")) and not backend.compiled


def test_unknown_and_missing_devices_are_errors_with_a_remedy():
    bundle = dataclasses.replace(load_bundle("default"), variants={})
    with pytest.raises(EngineError, match="no device 'tpu'; known are auto, gpu, intel-gpu"):
        loading.targets(bundle, "tpu")
    with pytest.raises(EngineError, match="no INT8 variant: make one by python -m train quantise"):
        loading.targets(bundle, "cpu-int8")


# The command itself, in a process of its own.


def engines(*arguments: str, program=("-m", "engines")) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *program, *arguments], capture_output=True, text=True)


@pytest.mark.slow
def test_build_list_verify_and_clear_from_the_command_line(cache):
    if loading.targets(load_bundle("default"), "cpu")[0].precision == "fp32":
        pytest.skip("this CPU computes in FP32 alone, which is not kept in the cache")
    built = engines("build", "--device", "cpu")
    assert built.returncode == 0 and "is ready for default" in built.stdout, built.stderr
    entry = cache.entries()[0]
    listed = engines("engines", "list", program=("run.py",))
    assert (
        listed.returncode == 0
        and entry.folder.name in listed.stdout
        and "1 compiled engines" in listed.stdout
    )
    assert json.loads(engines("list", "--json").stdout)[0]["about"]["key"]["backend"] == "openvino"
    assert engines("verify").returncode == 0
    data = bytearray((entry.folder / ENGINE).read_bytes())
    data[100] ^= 1
    (entry.folder / ENGINE).write_bytes(bytes(data))
    spoilt = engines("verify")
    assert (
        spoilt.returncode == EngineError.exit_status
        and "0 of 1" in spoilt.stdout
        and "not trusted" in spoilt.stdout
    )
    cleared = engines("engines", "clear", program=("run.py",))
    assert "deleted 1" in cleared.stdout and not cache.entries()


@pytest.mark.slow
def test_two_programs_that_build_the_same_engine_compile_it_once(cache):
    if loading.targets(load_bundle("default"), "cpu")[0].precision == loading.UNCHECKED_PRECISION:
        pytest.skip("nothing is compiled for this CPU")
    command = [sys.executable, "-m", "engines", "build", "--device", "cpu-bf16", "cpu"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    messages = [program.communicate(timeout=120)[0] for program in both]
    assert [program.returncode for program in both] == [0, 0], messages
    assert len(cache.entries()) == 1 and sum("checking" in text for text in messages) == 1, messages


def test_faults_of_the_command_are_one_sentence():
    unknown = engines("build", "no-such-bundle")
    assert (
        unknown.returncode == EngineError.exit_status
        and unknown.stderr.count("\n") == 1
        and "no engine bundle" in unknown.stderr
    )
    assert engines("parity", "--device", "tpu").returncode == EngineError.exit_status


def test_the_command_names_its_own_options_for_what_the_library_advises():
    refused = engines("build", "--device", "gpu", "--background")
    assert refused.returncode in (0, EngineError.exit_status)
    assert refused.returncode == 0 or refused.stderr.endswith("or choose --device cpu.\n"), refused.stderr


@pytest.mark.slow
def test_an_engine_is_built_into_the_cache_folder_that_is_named(cache, tmp_path):
    if loading.targets(load_bundle("default"), "cpu")[0].precision == loading.UNCHECKED_PRECISION:
        pytest.skip("nothing is compiled for this CPU")
    built = engines("build", "--device", "cpu", "--cache", str(tmp_path / "elsewhere"))
    assert built.returncode == 0, built.stderr
    assert len(Cache(tmp_path / "elsewhere").entries()) == 1 and not cache.entries()


def test_the_face_model_that_is_named_reads_the_faces_of_the_check(cache, tmp_path):
    (tmp_path / "mine.task").write_bytes(b"another model")
    if loading.targets(load_bundle("default"), "cpu")[0].precision == loading.UNCHECKED_PRECISION:
        pytest.skip("nothing is compiled for this CPU")
    built = engines("build", "--device", "cpu-int8", "--face-model", str(tmp_path / "mine.task"))
    assert built.returncode == EngineError.exit_status and "mine.task is not the pinned one" in built.stderr


@pytest.mark.slow
def test_parity_prints_a_report_and_keeps_its_figures(tmp_path, cache):
    done = engines("parity", "--device", "cpu-fp32", "--json", str(tmp_path / "p.json"))
    assert done.returncode == 0 and "passed" in done.stdout and "picture mean" in done.stdout, done.stderr
    figures = json.loads((tmp_path / "p.json").read_text())[0]
    assert max(row["picture mean"] for row in figures["rows"]) < 0.05 and not np.isnan(
        figures["rows"][1]["flow mean, px"]
    )
