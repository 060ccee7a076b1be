"""What every engine and every backend is; engines.runtime.load chooses among them. Each backend is one file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engines.bundle import Bundle
from engines.errors import EngineError

Say = Callable[[str], None]  # one sentence for people


def quiet(_sentence: str) -> None:
    """A Say that says nothing."""


@dataclass(frozen=True)
class Edit:
    """What a generator says about one crop. Pixels are BGR."""

    colour: np.ndarray  # (S, S, 3) uint8
    attention: np.ndarray  # (S, S) float32, 1 keeps the photo (moved by the flow)
    flow: (
        np.ndarray | None
    )  # (s, s, 2) float32, crop pixels, out(p) = photo(p + flow(p)); None when the generator has none

    def kept(self) -> "Edit":
        """A copy that outlives the engine's next call."""
        return Edit(
            self.colour.copy(), self.attention.copy(), None if self.flow is None else self.flow.copy()
        )


class Engine(Protocol):
    """A generator that runs. Not thread-safe: one thread calls `run`, and may keep an Edit only until the next call."""

    bundle: Bundle
    name: str  # for people: backend, precision, library version

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        """(S, S, 3) uint8 BGR crop and (N,) float32 in the bundle's order and conditioning -> an Edit.

        A crop that cannot be written to and is the same object as before is taken as unchanged. Raises EngineError on another
        shape, EngineLost when the device has failed.
        """
        ...


class Backend(Protocol):
    """One library that compiles and runs bundles, and what this machine offers it."""

    name: str  # "openvino", "tensorrt", "tensorrt_rtx", "onnxruntime"

    def precisions(self, bundle: Bundle) -> tuple[str, ...]:
        """What this machine computes natively and the bundle offers, best first: of "fp16", "int8", "bf16", "fp32"."""
        ...

    def depends_on(self) -> dict[str, str]:
        """Library version, device, its features, driver: a compiled engine is good for exactly these. Raises EngineError when this machine cannot run one."""
        ...

    def compile(self, bundle: Bundle, precision: str, say: Say) -> bytes:
        """The engine as bytes; may take minutes, and reports its progress. Raises EngineError."""
        ...

    def open(self, bundle: Bundle, precision: str, compiled: bytes, threads: int | None = None) -> Engine:
        """An engine from what `compile` gave. Raises EngineError."""
        ...


@dataclass(frozen=True)
class Target:
    """One backend in one precision."""

    backend: Backend
    precision: str

    @property
    def name(self) -> str:
        return f"{self.backend.name}-{self.precision}"

    @property
    def device(self) -> str:
        """What --device calls it."""
        return "gpu" if self.can_be_lost else f"cpu-{self.precision}"

    @property
    def can_be_lost(self) -> bool:
        """Whether the device can fail while the program goes on: a GPU."""
        return self.backend.name.startswith("tensorrt")


def check_inputs(bundle: Bundle, crop: np.ndarray, aus: np.ndarray) -> None:
    """Raises EngineError with both values when an input is not what the bundle wants."""
    wanted = (bundle.size_px, bundle.size_px, 3)
    if crop.shape != wanted or crop.dtype != np.uint8:
        raise EngineError(
            f"The engine {bundle.name} wants a {wanted} uint8 crop and was given {crop.shape} {crop.dtype}."
        )
    if aus.shape != (len(bundle.aus),):
        raise EngineError(f"The engine {bundle.name} wants {len(bundle.aus)} AUs and was given {aus.shape}.")


def check_signature(bundle: Bundle, ports: dict[str, tuple[int, ...]]) -> None:
    """Raises EngineError when an ONNX file's inputs and outputs are not those that its bundle.json describes."""
    size, flow = bundle.size_px, bundle.flow_px
    wanted = {
        "image": (1, size, size, 3),
        "aus": (1, len(bundle.aus)),
        "colour": (1, size, size, 3),
        "attention": (1, size, size),
    }
    wanted |= {"flow": (1, flow, flow, 2)} if flow else {}
    if ports != wanted:
        raise EngineError(
            f"{bundle.onnx} has {ports} where its bundle.json describes {wanted}: the two files do not belong together."
        )
