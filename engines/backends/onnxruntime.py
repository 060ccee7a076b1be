"""Runs a bundle by ONNX Runtime; in FP32 on the CPU it is what every other backend is compared with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from engines.backends.interface import Edit, check_inputs, check_signature
from engines.bundle import Bundle
from engines.foreign_errors import mapped

ERRORS_ONLY = 3  # ONNX Runtime's log level
CPU = "CPUExecutionProvider"
VERSION = onnxruntime.__version__


def available_providers() -> list[str]:
    """Names of the execution providers that the installed ONNX Runtime has."""
    return onnxruntime.get_available_providers()


class OnnxRuntimeEngine:
    """An Engine of ONNX Runtime."""

    def __init__(
        self, bundle: Bundle, graph: Path | bytes, what: str, providers: Sequence[Any], threads: int | None
    ):
        """
        Args:
            graph: ONNX, or its file.
            what: device and precision, for people.
            providers: as ONNX Runtime's, the preferred first.
            threads: of the CPU; None for all.

        Raises: EngineError.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = ERRORS_ONLY
        options.enable_mem_pattern = list(providers) == [CPU]  # DirectML has none
        # Its threads would otherwise keep the cores busy after a run, from whatever runs next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        given = graph if isinstance(graph, bytes) else str(graph)
        with mapped("onnxruntime.load", bundle.onnx):
            self._session = onnxruntime.InferenceSession(given, options, providers=list(providers))
        ports = [*self._session.get_inputs(), *self._session.get_outputs()]
        check_signature(bundle, {port.name: tuple(port.shape) for port in ports})
        self.bundle = bundle
        self.name = f"ONNX Runtime {VERSION} {what}"
        self._outputs = ["colour", "attention"] + (["flow"] if bundle.flow_px else [])

    @property
    def providers(self) -> list[str]:
        """Names of the execution providers that the session uses."""
        return self._session.get_providers()

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        check_inputs(self.bundle, crop, aus)
        inputs = {"image": crop[None], "aus": np.asarray(aus, np.float32)[None]}
        with mapped("onnxruntime.run", self.bundle.name):
            colour, attention, *flow = self._session.run(self._outputs, inputs)
        return Edit(colour[0], attention[0], flow[0][0] if flow else None, self.bundle.shade)


class ReferenceEngine(OnnxRuntimeEngine):
    """An Engine on the CPU in FP32."""

    def __init__(self, bundle: Bundle, threads: int | None = None):
        """threads: None for all. Raises EngineError."""
        super().__init__(bundle, bundle.onnx, "CPU FP32", [CPU], threads)
