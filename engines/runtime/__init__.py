"""Which engine runs here: compiled once, cached, checked against FP32, replaced while pictures are drawn."""
