"""ONNX Runtime's execution providers: real sessions with the CPU in their place; what is said without."""

import dataclasses
import sys

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install -e '.[reference]'")
pytest.importorskip("onnx", reason="an FP16 graph needs onnx: pip install onnx")

from engines.backends import onnxruntime as runtime
from engines.backends import providers
from engines.backends.onnxruntime import CPU, ReferenceEngine
from engines.backends.providers import PROVIDERS, ProviderBackend
from engines.bundle import load_bundle
from engines.errors import EngineError, EngineLost


@pytest.fixture(scope="module")
def bundle():
    return load_bundle("default")


@pytest.fixture
def here(monkeypatch):
    """Every provider is of this system; ONNX Runtime's CPU stands in its place."""
    for name, provider in PROVIDERS.items():
        changed = dataclasses.replace(provider, name=CPU, system=sys.platform, options=())
        monkeypatch.setitem(providers.PROVIDERS, name, changed)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_an_engine_answers_as_the_reference_does(bundle, here, name):
    backend = ProviderBackend(name)
    assert backend.depends_on()["device"] == PROVIDERS[name].title
    messages = []
    compiled = backend.compile(bundle, *backend.precisions(bundle), messages.append)
    engine = backend.open(bundle, "fp16", compiled, threads=1)
    assert PROVIDERS[name].title in messages[0] and engine.name.endswith(f"{PROVIDERS[name].title} FP16")
    crop = np.random.default_rng(0).integers(0, 256, (bundle.size_px, bundle.size_px, 3), dtype=np.uint8)
    aus = np.full(len(bundle.aus), 0.3, np.float32)
    expected = ReferenceEngine(bundle, 1).run(crop, aus)
    edit = engine.run(crop, aus)
    assert np.abs(edit.colour.astype(int) - expected.colour).mean() < 1
    assert np.abs(edit.flow - expected.flow).mean() < 0.05


def test_only_directml_is_given_halves(bundle, here):
    sizes = {name: len(ProviderBackend(name).compile(bundle, "fp16")) for name in PROVIDERS}
    assert sizes["coreml"] == bundle.onnx.stat().st_size
    assert ProviderBackend("directml").compile(bundle, "fp16") != bundle.onnx.read_bytes()


def test_a_provider_of_another_system_is_refused_before_anything_is_imported(monkeypatch):
    monkeypatch.setattr(providers, "_runtime", lambda: pytest.fail("imported"))
    monkeypatch.setattr(providers.sys, "platform", "linux")
    for name in PROVIDERS:
        with pytest.raises(EngineError, match=f"{PROVIDERS[name].title} does not exist on "):
            ProviderBackend(name).depends_on()


def test_an_onnx_runtime_without_the_provider_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setattr(providers.sys, "platform", "win32")
    with pytest.raises(EngineError, match=r"has no DirectML: pip install -e '.\[directml\]'"):
        ProviderBackend("directml").depends_on()


def test_a_session_that_went_to_the_cpu_is_no_engine_of_the_provider(bundle, here, monkeypatch):
    monkeypatch.setattr(runtime.OnnxRuntimeEngine, "providers", ["AnotherExecutionProvider"])
    backend = ProviderBackend("coreml")
    with pytest.raises(EngineError, match="went to the CPU, since CoreML does not take default"):
        backend.open(bundle, "fp16", backend.compile(bundle, "fp16"))


def test_a_device_that_fails_while_it_runs_is_lost(bundle, here):
    backend = ProviderBackend("coreml")
    engine = backend.open(bundle, "fp16", backend.compile(bundle, "fp16"))

    class Broken:
        def run(self, *_arguments):
            raise RuntimeError("device removed")

    engine._session = Broken()
    crop = np.zeros((bundle.size_px, bundle.size_px, 3), np.uint8)
    with pytest.raises(EngineLost, match="device removed"):
        engine.run(crop, np.zeros(len(bundle.aus), np.float32))


def test_what_is_no_graph_is_refused(bundle, here):
    with pytest.raises(EngineError, match="ONNX Runtime cannot load"):
        ProviderBackend("coreml").open(bundle, "fp16", b"nothing")
