"""One edit at a time in PyTorch, beside the engine that a call would use: what a compiled engine gains.

PyTorch runs the same weights through the same contract, copies included: the crop goes to the device once,
AUs go up and the generator's outputs come down for every edit. Eager, as people write it, and by
torch.compile, which captures CUDA graphs on a GPU.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from engines.backends.interface import Edit, Engine, check_inputs
from engines.bundle import Bundle, load_bundle
from engines.runtime.load import LoadOptions, load
from engines.runtime.parity import stored_cases
from engines.runtime.timing import in_turn
from train.export.onnx_export import ExportedGenerator
from train.export.restore import restore
from train.networks.from_shape import Generator

RUNS = 100  # of each; eager PyTorch takes 50 ms an edit on two cores
HALF = {"cuda": torch.float16, "cpu": torch.bfloat16}  # what each is fast at


class TorchEngine:
    """An Engine in PyTorch, on the GPU where there is one."""

    def __init__(self, bundle: Bundle, network: Generator, half: bool, compiled: bool):
        self.bundle = bundle
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = HALF[self._device.type] if half else torch.float32
        module = ExportedGenerator(network).eval().to(self._device)
        self._module: Callable[..., tuple[Tensor, ...]] = (
            torch.compile(module, mode="reduce-overhead") if compiled else module
        )
        precision = str(self._dtype).removeprefix("torch.")
        version, mode = torch.__version__.split("+")[0], "compiled" if compiled else "eager"
        self.name = f"PyTorch {version} {self._device.type} {precision} {mode}"
        self._crop: np.ndarray | None = None
        self._image: Tensor | None = None

    @torch.inference_mode()
    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        """As Engine.run."""
        check_inputs(self.bundle, crop, aus)
        if crop is not self._crop or crop.flags.writeable:
            self._crop, self._image = crop, torch.tensor(crop, device=self._device)[None]
        values = torch.from_numpy(np.asarray(aus, np.float32))[None].to(self._device)
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            outputs = self._module(self._image, values)
        colour, attention, *flow = (part[0].cpu().numpy() for part in outputs)
        return Edit(colour, attention, flow[0] if flow else None, self.bundle.shade)


def measure(name: str, runs: int = RUNS, threads: int | None = None) -> str:
    """A table of medians; what PyTorch cannot compile is named and left out.

    Raises EngineError, DataError for a bundle that cannot be used.
    """
    bundle = load_bundle(name)
    network, cases = restore(bundle), stored_cases(bundle)
    if threads:
        torch.set_num_threads(threads)
    engines: list[Engine] = [load(bundle, options=LoadOptions(threads=threads))]
    left_out = []
    for half, compiled in ((False, False), (True, False), (True, True)):
        candidate = TorchEngine(bundle, network, half, compiled)
        try:
            candidate.run(cases[1].crop, cases[1].aus)
        except (
            RuntimeError
        ) as error:  # torch.compile: no compiler on this machine, or a graph that it does not manage
            left_out.append(f"{candidate.name} is left out: {str(error).strip().splitlines()[0][:160]}")
            continue
        engines.append(candidate)
    times_ms = in_turn(engines, cases, runs)
    first_ms = float(np.median(times_ms[0]))
    lines = [f"{'one edit at a time, ' + bundle.name:<52}{'p50 ms':>9}{'p99':>9}{'min':>9}{'ratio':>8}"]
    for engine, took in zip(engines, times_ms, strict=True):
        p50, p99, least = (float(value) for value in (np.median(took), np.percentile(took, 99), took.min()))
        lines.append(f"{engine.name:<52}{p50:>9.2f}{p99:>9.2f}{least:>9.2f}{p50 / first_ms:>8.2f}")
    return "\n".join([*lines, *left_out])
