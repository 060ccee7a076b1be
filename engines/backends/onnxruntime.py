"""Runs a bundle by ONNX Runtime in FP32: slower, and what every other backend is compared with."""

import numpy as np
import onnxruntime

from engines.backends.interface import Edit, check_inputs, check_signature
from engines.bundle import Bundle
from engines.foreign_errors import mapped

ERRORS_ONLY = 3  # ONNX Runtime's log level


class ReferenceEngine:
    """An Engine on the CPU in FP32."""

    def __init__(self, bundle: Bundle, threads: int | None = None):
        """threads: None for all. Raises EngineError."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = ERRORS_ONLY
        # Its threads would otherwise keep the cores busy after a run, from whatever runs next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with mapped("onnxruntime.load", bundle.onnx):
            self._session = onnxruntime.InferenceSession(
                str(bundle.onnx), options, providers=["CPUExecutionProvider"]
            )
        ports = [*self._session.get_inputs(), *self._session.get_outputs()]
        check_signature(bundle, {port.name: tuple(port.shape) for port in ports})
        self.bundle = bundle
        self.name = f"ONNX Runtime {onnxruntime.__version__} CPU FP32"
        self._outputs = ["colour", "attention"] + (["flow"] if bundle.flow_px else [])

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        check_inputs(self.bundle, crop, aus)
        inputs = {"image": crop[None], "aus": np.asarray(aus, np.float32)[None]}
        colour, attention, *flow = self._session.run(self._outputs, inputs)
        return Edit(colour[0], attention[0], flow[0][0] if flow else None)
