"""Compiles and runs bundles by ONNX Runtime's execution providers: DirectML on Windows, CoreML on macOS.

DirectML reaches the GPUs of AMD, Intel and Qualcomm, CoreML Apple's GPU and neural engine. Both compile when
a session is opened, so what is kept in the cache is the graph; in FP16, which CoreML makes of FP32 by itself.
"""

import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.backends.interface import Notify, ignore
from engines.bundle import Bundle
from engines.errors import Choice, EngineError
from engines.foreign_errors import mapped


@dataclass(frozen=True)
class Provider:
    """One of ONNX Runtime's execution providers."""

    name: str  # ONNX Runtime's
    title: str  # for people
    system: str  # as sys.platform has it
    install: str  # that brings it
    options: tuple[tuple[str, str], ...]
    halved: bool  # whether the graph is given to it in FP16


PROVIDERS = {  # by the backend's name
    "directml": Provider(
        "DmlExecutionProvider", "DirectML", "win32", "pip install -e '.[directml]'", (), halved=True
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider",
        "CoreML",
        "darwin",
        "pip install -e '.[reference]'",
        (("ModelFormat", "MLProgram"), ("MLComputeUnits", "ALL")),
        halved=False,
    ),
}


class ProviderBackend:
    """A Backend: ONNX Runtime with one execution provider."""

    def __init__(self, name: str):
        """name: of PROVIDERS."""
        self.name = name
        self._provider = PROVIDERS[name]

    def precisions(self, _bundle: Bundle) -> tuple[str, ...]:
        return ("fp16",)

    def depends_on(self) -> dict[str, str]:
        """What a compiled engine is valid for. Raises EngineError where the provider is not available."""
        provider, cpu = self._provider, Choice("device", "cpu")
        if sys.platform != provider.system:
            raise EngineError(f"{provider.title} does not exist on {platform.system()}", cpu)
        runtime = _runtime()
        if provider.name not in runtime.available_providers():
            raise EngineError(f"This ONNX Runtime has no {provider.title}", provider.install, cpu)
        return {
            "library": f"onnxruntime {runtime.VERSION}",
            "device": provider.title,
            "machine": platform.machine(),
            "system": platform.platform(),  # its drivers come with the system
        }

    def compile(self, bundle: Bundle, precision: str, notify: Notify = ignore) -> bytes:
        """The graph that a session is opened with. Raises EngineError."""
        notify(f"preparing {bundle.name} for {self._provider.title} in {precision.upper()}")
        if not self._provider.halved:
            return Path(bundle.onnx).read_bytes()
        with mapped("onnx.import", self._provider.title):
            from engines.backends.fp16_graph import to_fp16
        return to_fp16(bundle.onnx).SerializeToString()

    def open(self, bundle: Bundle, precision: str, compiled: bytes, threads: int | None = None) -> Any:
        """An Engine. Raises EngineError where the provider does not take the graph."""
        provider = self._provider
        engine = _runtime().OnnxRuntimeEngine(
            bundle,
            compiled,
            f"{provider.title} {precision.upper()}",
            [(provider.name, dict(provider.options))],  # ONNX Runtime adds the CPU for what it does not take
            threads,
        )
        if provider.name not in engine.providers:
            raise EngineError(
                f"ONNX Runtime went to the CPU, since {provider.title} does not take {bundle.name}",
                Choice("device", "cpu"),
            )
        return engine


def _runtime() -> Any:
    """engines.backends.onnxruntime. Raises EngineError where ONNX Runtime is not installed."""
    with mapped("onnxruntime.import"):
        from engines.backends import onnxruntime
    return onnxruntime
