"""From a run to a bundle, and back: ONNX, INT8, TensorRT, latency."""
