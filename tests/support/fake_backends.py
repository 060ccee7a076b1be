"""Fake backends: they compile to bytes that describe themselves, and their engines may be wrong, slow, or
lost.
"""

import json
import threading

import numpy as np

from engines.backends.interface import Edit, check_inputs
from engines.bundle import Bundle
from engines.errors import EngineError, EngineLost


class Imitation:
    """An engine that changes what another answers; can be made to fail at its next calls."""

    def __init__(self, model, name: str = "imitation", edit=lambda edit: edit, aus=lambda aus: aus):
        self.bundle = model.bundle
        self.name = name
        self._model = model
        self._edit = edit
        self._aus = aus
        self.calls = 0
        self.failures = 0  # calls that are still to fail

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        check_inputs(self.bundle, crop, aus)
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise EngineLost(f"The device under {self.name} failed.")
        return self._edit(self._model.run(crop, self._aus(aus)))


class FakeBackend:
    """A Backend whose engines imitate `model`; counts what it compiles."""

    def __init__(
        self,
        model,
        name: str = "openvino",
        precisions: tuple[str, ...] = ("int8", "bf16"),
        edits: dict | None = None,
    ):
        self.name = name
        self.facts = {"library": f"{name} 1", "device": "fake"}
        self.compiled: list[str] = []  # precisions, in order
        self.opened: list[Imitation] = []
        self._model = model
        self._precisions = precisions
        self._edits = edits or {}
        self.may_compile = threading.Event()
        self.may_compile.set()
        self.unavailable = ""

    def precisions(self, _bundle: Bundle) -> tuple[str, ...]:
        return self._precisions

    def depends_on(self) -> dict[str, str]:
        if self.unavailable:
            raise EngineError(self.unavailable)
        return dict(self.facts)

    def compile(self, bundle: Bundle, precision: str, notify) -> bytes:
        notify(f"compiling {precision}")
        self.may_compile.wait(10)
        self.compiled.append(precision)
        return json.dumps({"precision": precision, "facts": self.facts, "bundle": bundle.sha256}).encode()

    def open(self, bundle: Bundle, precision: str, compiled: bytes, threads: int | None = None) -> Imitation:
        if json.loads(compiled)["facts"] != self.facts:
            raise EngineError(f"{self.name} cannot open this engine.")
        engine = Imitation(
            self._model, f"{self.name} {precision}", self._edits.get(precision, lambda edit: edit)
        )
        self.opened.append(engine)
        return engine
