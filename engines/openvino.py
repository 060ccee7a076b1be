"""Runs a bundle on the CPU by OpenVINO, in BF16 where the CPU has it. The one file of this room that imports openvino."""

import numpy as np
import openvino as ov

from engines.backends import Edit, check_inputs, check_signature
from engines.bundle import Bundle
from engines.errors import EngineError


class OpenVinoEngine:
    """An Engine on the CPU. Its outputs are views that the next `run` overwrites."""

    def __init__(self, bundle: Bundle, threads: int | None = None, full_precision: bool = False):
        core = ov.Core()
        bf16 = not full_precision and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # pinned threads fight with the tracker's for the same core
            **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
        }
        try:
            model = core.read_model(bundle.onnx)
            check_signature(bundle, {port.any_name: tuple(port.shape) for port in [*model.inputs, *model.outputs]})
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot load {bundle.onnx}: {str(error).strip().splitlines()[-1]}") from error
        self.bundle = bundle
        self.name = f"OpenVINO {ov.__version__.split('-')[0]} CPU {'BF16' if bf16 else 'FP32'}"

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        check_inputs(self.bundle, crop, aus)
        self._request.infer({"image": crop[None], "aus": np.asarray(aus, np.float32)[None]}, share_inputs=True)
        flow = self._request.get_tensor("flow").data[0] if self.bundle.flow_px else None
        return Edit(self._request.get_tensor("colour").data[0], self._request.get_tensor("attention").data[0], flow)
