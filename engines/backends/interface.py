"""What every engine and every backend is; engines.runtime.load chooses one. Each backend is one file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engines.bundle import Bundle
from engines.errors import EngineError

Notify = Callable[[str], None]  # receives one sentence for the user


def ignore(_message: str) -> None:
    """A Notify that drops every message."""


@dataclass(frozen=True)
class Edit:
    """What a generator answers about one crop. Pixels are BGR."""

    colour: np.ndarray  # (S, S, 3) uint8
    attention: np.ndarray  # (S, S) float32, 1 keeps the photo (moved by the flow)
    # (s, s, 2) float32, crop pixels, out(p) = photo(p + flow(p)); None when the generator has none
    flow: np.ndarray | None
    shade: bool = False  # of Bundle: whether colour that is faint beside a flow is seen

    def kept(self) -> "Edit":
        """A copy that outlives the engine's next call."""
        flow = None if self.flow is None else self.flow.copy()
        return Edit(self.colour.copy(), self.attention.copy(), flow, self.shade)


class Engine(Protocol):
    """A generator that runs.

    Not thread-safe: one thread calls `run`, and may keep an Edit only until the next call.
    """

    bundle: Bundle

    @property
    def name(self) -> str:
        """For people: backend, precision, library version."""
        ...

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        """Runs the generator once.

        Args:
            crop: (S, S, 3) uint8 BGR. One that is read-only and the same object as before is taken as
                unchanged.
            aus: (N,) float32 in the bundle's order and conditioning.

        Raises:
            EngineError: an input has another shape.
            EngineLost: the device has failed.
        """
        ...


class Backend(Protocol):
    """One library that compiles and runs bundles, and what this machine offers it."""

    @property
    def name(self) -> str:
        """ "openvino", or one of DEVICE_OF."""
        ...

    def precisions(self, bundle: Bundle) -> tuple[str, ...]:
        """What this machine computes natively and the bundle offers, best first.

        Of "fp16", "int8", "bf16" and "fp32".
        """
        ...

    def depends_on(self) -> dict[str, str]:
        """Library version, device, its features, driver: a compiled engine is valid for exactly these.

        Raises:
            EngineError: this machine cannot run an engine of this backend.
        """
        ...

    def compile(self, bundle: Bundle, precision: str, notify: Notify) -> bytes:
        """The engine as bytes. May take minutes, and reports its progress. Raises EngineError."""
        ...

    def open(self, bundle: Bundle, precision: str, compiled: bytes, threads: int | None = None) -> Engine:
        """An engine from what `compile` returned. threads: of the CPU, None for all. Raises EngineError."""
        ...


CPU_BACKEND = "openvino"
# Devices that are not the CPU, of engines.runtime.load.DEVICES, by the backend's name
DEVICE_OF = {
    "tensorrt": "gpu",
    "tensorrt_rtx": "gpu",
    "openvino_gpu": "intel-gpu",
    "openvino_npu": "intel-npu",
    "directml": "directml",
    "coreml": "coreml",
}
NVIDIA = "gpu"


@dataclass(frozen=True)
class Target:
    """One backend in one precision."""

    backend: Backend
    precision: str
    must_win: bool = False  # used only where it was measured to be faster than the CPU

    @property
    def name(self) -> str:
        return f"{self.backend.name}-{self.precision}"

    @property
    def device(self) -> str:
        """The device's name, of engines.runtime.load.DEVICES."""
        return DEVICE_OF.get(self.backend.name, f"cpu-{self.precision}")

    @property
    def is_timed(self) -> bool:
        """Whether it is timed against the CPU when it is checked: what may be a small device."""
        return self.can_be_lost and self.device != NVIDIA

    @property
    def can_be_lost(self) -> bool:
        """Whether the device can fail while the program goes on: all but the CPU."""
        return self.backend.name != CPU_BACKEND


def check_inputs(bundle: Bundle, crop: np.ndarray, aus: np.ndarray) -> None:
    """Raises EngineError with both values when an input is not what the bundle takes."""
    expected = (bundle.size_px, bundle.size_px, 3)
    if crop.shape != expected or crop.dtype != np.uint8:
        raise EngineError(
            f"The engine {bundle.name} wants a {expected} uint8 crop and was given {crop.shape} {crop.dtype}."
        )
    if aus.shape != (len(bundle.aus),):
        raise EngineError(f"The engine {bundle.name} wants {len(bundle.aus)} AUs and was given {aus.shape}.")


def check_signature(bundle: Bundle, ports: dict[str, tuple[int, ...]]) -> None:
    """Raises EngineError when an ONNX file's inputs and outputs are not those that its bundle.json describes.

    Args:
        ports: the shape of each input and output, by name.
    """
    size = bundle.size_px
    expected = {
        "image": (1, size, size, 3),
        "aus": (1, len(bundle.aus)),
        "colour": (1, size, size, 3),
        "attention": (1, size, size),
    }
    if bundle.flow_px:
        expected["flow"] = (1, bundle.flow_px, bundle.flow_px, 2)
    if ports != expected:
        raise EngineError(
            f"{bundle.onnx} has {ports} where its bundle.json describes {expected}: the two files do not "
            "belong together",
            "export the engine again",
        )
