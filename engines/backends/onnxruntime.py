"""Runs a bundle by ONNX Runtime in FP32: slower, of another make, what every other backend is compared with."""

import numpy as np
import onnxruntime

from engines.backends.interface import Edit, check_inputs, check_signature
from engines.bundle import Bundle
from engines.errors import EngineError


class ReferenceEngine:
    """An Engine on the CPU in FP32."""

    def __init__(self, bundle: Bundle, threads: int | None = None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # else its threads keep the cores from who runs next
        try:
            self._session = onnxruntime.InferenceSession(
                str(bundle.onnx), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise EngineError(
                f"ONNX Runtime cannot load {bundle.onnx}: {str(error).splitlines()[0]}"
            ) from error
        check_signature(
            bundle,
            {
                port.name: tuple(port.shape)
                for port in [*self._session.get_inputs(), *self._session.get_outputs()]
            },
        )
        self.bundle = bundle
        self.name = f"ONNX Runtime {onnxruntime.__version__} CPU FP32"
        self._outputs = ["colour", "attention"] + (["flow"] if bundle.flow_px else [])

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        check_inputs(self.bundle, crop, aus)
        out = self._session.run(
            self._outputs, {"image": crop[None], "aus": np.asarray(aus, np.float32)[None]}
        )
        return Edit(out[0][0], out[1][0], out[2][0] if self.bundle.flow_px else None)
