"""From a bundle to an engine that may be used.

Which backends this machine has, what is in the cache, what must be compiled and checked first:

    targets        what could run here, best first   ->  TensorRT, other GPUs and NPUs, the CPU
    load_checked   one of them: from the cache, or compiled, compared with the FP32 reference and kept
    load           the best that passes its check; waits for it

engines.runtime.failover.load_live does not wait: it returns the best that is ready now, and a better one
takes over while it runs.

FP32 is not compared: it is what the others are compared with, by ONNX Runtime where that is installed. A
GPU that is not NVIDIA's, or an NPU, is timed against the CPU when it is checked, too: a small one may be
slower, and "auto" takes it only where it is faster.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engines.backends.interface import CPU_BACKEND, DEVICE_OF, NVIDIA, Backend, Engine, Notify, Target, ignore
from engines.backends.openvino import OpenVino, OpenVinoAccelerator
from engines.backends.providers import ProviderBackend
from engines.backends.tensorrt import TensorRt, has_driver
from engines.bundle import DEFAULT, FORMAT, Bundle, load_bundle
from engines.errors import Choice, EngineError
from engines.foreign_errors import mapped
from engines.runtime.cache import Cache, Key
from engines.runtime.parity import ParityResult, compare, rules_digest, stored_cases
from engines.runtime.timing import in_turn

# Devices that are not NVIDIA's GPU, in the order in which "auto" tries them
ACCELERATORS = tuple(device for device in DEVICE_OF.values() if device != NVIDIA)
DEVICES = ("auto", "gpu", *ACCELERATORS, "cpu", "cpu-int8", "cpu-bf16", "cpu-fp32", "reference")
UNCHECKED_PRECISION = "fp32"
TIMED_RUNS = 30  # of an engine and of the CPU, in turn


@dataclass(frozen=True)
class LoadOptions:
    """How engines are loaded, whichever they are."""

    threads: int | None = None  # of the CPU; None for all
    notify: Notify = ignore  # receives the progress, one sentence at a time
    cache: Cache = field(default_factory=Cache)
    face_model: Path | None = None  # reads the faces in the comparison; None for the default one


def load(
    bundle: Bundle | str | Path = DEFAULT, device: str = "auto", options: LoadOptions | None = None
) -> Engine:
    """The best engine on a device that passes its check; compiles it first where that is needed.

    Compiling can take minutes on a GPU.

    Args:
        bundle: or its name, or its folder.
        device: one of DEVICES. "auto" is NVIDIA's GPU where there is one, then those of ACCELERATORS that are
            faster than the CPU, then the CPU; "reference" is ONNX Runtime in FP32, which is slow.

    Raises:
        EngineError: nothing that was asked for runs here.
    """
    options = options or LoadOptions()
    bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    if device == "reference":
        return reference_engine(bundle, options.threads)
    *better, last = targets(bundle, device)
    for target in better:
        try:
            return load_checked(bundle, target, options)
        except EngineError as error:
            options.notify(f"{error} Going on with the next best.")
    return load_checked(bundle, last, options)


def targets(bundle: Bundle, device: str = "auto") -> list[Target]:
    """What could run a bundle here, best first.

    Raises EngineError when the device is unknown or not available.
    """
    if device not in DEVICES:
        raise EngineError(f"There is no device {device!r}; known are {', '.join(DEVICES)}.")
    if device == "gpu":
        return _targets_of(gpu_backend(), bundle)
    if device in ACCELERATORS:
        backend = accelerator(device)
        backend.depends_on()
        return _targets_of(backend, bundle)
    if device == "auto":
        return [*nvidia_targets(bundle), *accelerator_targets(bundle), *cpu_targets(bundle)]
    if device == "cpu":
        return cpu_targets(bundle)
    precision = device.removeprefix("cpu-")
    chosen = [target for target in cpu_targets(bundle) if target.precision == precision]
    if not chosen and precision == "int8" and "int8" not in bundle.variants:
        raise EngineError(
            f"{bundle.name} has no INT8 variant", "make one by python -m train quantise", Choice("device")
        )
    if not chosen:
        raise EngineError(f"This CPU does not compute in {precision.upper()}", Choice("device", "cpu"))
    return chosen


def nvidia_targets(bundle: Bundle) -> list[Target]:
    """NVIDIA's GPU, where this machine has one that can be used."""
    if not has_driver():
        return []
    try:
        return _targets_of(gpu_backend(), bundle)
    except EngineError:  # most machines have no GPU: nothing to report
        return []


def accelerator_targets(bundle: Bundle) -> list[Target]:
    """Those of ACCELERATORS that this machine has; each must be faster than the CPU to be used."""
    found = []
    for device in ACCELERATORS:
        backend = accelerator(device)
        try:
            backend.depends_on()
        except EngineError:  # most machines have none
            continue
        found += [Target(backend, precision, must_win=True) for precision in backend.precisions(bundle)]
    return found


def accelerator(device: str) -> Backend:
    """The backend of one of ACCELERATORS, whether this machine has the device or not."""
    name = next(name for name, its_device in DEVICE_OF.items() if its_device == device)
    return OpenVinoAccelerator(name) if name.startswith(CPU_BACKEND) else ProviderBackend(name)


def cpu_targets(bundle: Bundle) -> list[Target]:
    """What the CPU runs, best first; FP32 last, always."""
    return _targets_of(OpenVino(), bundle)


def gpu_backend() -> Backend:
    """TensorRT on this machine's GPU. Raises EngineError where that is not available."""
    backend = TensorRt()
    backend.depends_on()
    return backend


def _targets_of(backend: Backend, bundle: Bundle) -> list[Target]:
    return [Target(backend, precision) for precision in backend.precisions(bundle)]


def reference_engine(bundle: Bundle, threads: int | None = None) -> Engine:
    """ONNX Runtime in FP32. Raises EngineError where it is not installed."""
    with mapped("onnxruntime.import"):
        from engines.backends.onnxruntime import ReferenceEngine
    return ReferenceEngine(bundle, threads)


def baseline_engine(bundle: Bundle, threads: int | None = None) -> Engine:
    """What compiled engines are compared with.

    The reference, or OpenVINO in FP32 where ONNX Runtime is not installed.
    """
    try:
        return reference_engine(bundle, threads)
    except EngineError:
        return compile_unchecked(bundle, Target(OpenVino(), UNCHECKED_PRECISION), threads)


def key_of(bundle: Bundle, target: Target) -> Key:
    """What a compiled engine of a target is valid for. Raises EngineError when it cannot run here."""
    variant = bundle.variants.get(target.precision)
    image = f"image {bundle.size_px}x{bundle.size_px}x3"
    facts = {
        "bundle": bundle.sha256,
        "graph": variant.sha256 if variant else bundle.sha256,
        "format": str(FORMAT),
        "backend": target.backend.name,
        "precision": target.precision,
        "rules": rules_digest(),
        "shapes": f"{image}, aus {' '.join(bundle.aus)} {bundle.conditioning}, flow {bundle.flow_px}",
    }
    return Key(f"{bundle.name}-{target.name}", facts | target.backend.depends_on())


def load_checked(bundle: Bundle, target: Target, options: LoadOptions | None = None) -> Engine:
    """An engine that does what the FP32 reference does; compiles it where it is not in the cache.

    Raises:
        EngineError: it does something else, or cannot be compiled or opened.
    """
    options = options or LoadOptions()
    if target.precision == UNCHECKED_PRECISION:
        return compile_unchecked(bundle, target, options.threads, options.notify)
    key = key_of(bundle, target)
    engine = _from_cache(key, bundle, target, options, options.notify)
    if engine is None:
        with options.cache.building(key, options.notify):
            engine = _from_cache(key, bundle, target, options, ignore) or _compile_checked(
                key, bundle, target, options
            )
    return engine


def load_cached(bundle: Bundle, target: Target, options: LoadOptions | None = None) -> Engine | None:
    """The same, but None where it would have to be compiled first."""
    options = options or LoadOptions()
    if target.precision == UNCHECKED_PRECISION:
        return load_checked(bundle, target, options)
    return _from_cache(key_of(bundle, target), bundle, target, options, options.notify)


def compile_unchecked(
    bundle: Bundle, target: Target, threads: int | None = None, notify: Notify = ignore
) -> Engine:
    """Compiled and opened without a check and without the cache, for measurements. Raises EngineError."""
    compiled = target.backend.compile(bundle, target.precision, notify)
    return target.backend.open(bundle, target.precision, compiled, threads)


def store_checked(
    bundle: Bundle, target: Target, compiled: bytes, notify: Notify = ignore, made_by: str = ""
) -> ParityResult:
    """Checks an engine that was compiled elsewhere, and keeps it as if it had been compiled here.

    Args:
        made_by: the compiler's name; "" for the target's backend.

    Raises:
        EngineError: it cannot be opened.
    """
    options = LoadOptions(notify=notify)
    return _check(key_of(bundle, target), bundle, target, compiled, options, made_by)[1]


def _from_cache(
    key: Key, bundle: Bundle, target: Target, options: LoadOptions, notify: Notify
) -> Engine | None:
    """A cached engine, opened; None where there is none or it does not open any more.

    Raises EngineError for an engine that was refused before: compiling it again would take time and change
    nothing.
    """
    found = options.cache.find(key, notify)
    if found is None:
        return None
    if faults := "; ".join(found.about.get("faults", ())):
        raise EngineError(f"{key.name} was refused when it was compiled ({faults}): it is not used.")
    _check_pace(target, found.about.get("pace", {}))
    try:
        return target.backend.open(bundle, target.precision, found.compiled, options.threads)
    except EngineError as error:
        notify(str(error))
        return None


def _compile_checked(key: Key, bundle: Bundle, target: Target, options: LoadOptions) -> Engine:
    compiled = target.backend.compile(bundle, target.precision, options.notify)
    engine, result, pace = _check(key, bundle, target, compiled, options)
    result.require()
    _check_pace(target, pace)
    return engine


def _check_pace(target: Target, pace: Mapping[str, float]) -> None:
    """Raises EngineError for an engine that must be faster than the CPU and was measured not to be."""
    took_ms, cpu_ms = pace.get("ms"), pace.get("cpu_ms")
    if target.must_win and took_ms and cpu_ms and took_ms >= cpu_ms:
        raise EngineError(
            f"{target.name} takes {took_ms:.1f} ms a picture and the CPU {cpu_ms:.1f} ms: it is not used"
        )


def _timed_ms(bundle: Bundle, engine: Engine, threads: int | None) -> dict[str, float]:
    """Median milliseconds of an engine and of the CPU's best, in turn; nothing where that does not run."""
    try:
        cpu = compile_unchecked(bundle, cpu_targets(bundle)[0], threads)
    except EngineError:
        return {}
    times_ms = in_turn([engine, cpu], stored_cases(bundle), TIMED_RUNS)
    return {name: float(np.median(took_ms)) for name, took_ms in zip(("ms", "cpu_ms"), times_ms, strict=True)}


def _check(
    key: Key, bundle: Bundle, target: Target, compiled: bytes, options: LoadOptions, made_by: str = ""
) -> tuple[Engine, ParityResult, dict[str, float]]:
    """Opens, compares, times and keeps: an engine that is refused is kept as refused, without its code."""
    engine = target.backend.open(bundle, target.precision, compiled, options.threads)
    options.notify(f"checking {engine.name} against the FP32 reference")
    result = compare(engine, baseline_engine(bundle, options.threads), face_model=options.face_model)
    pace = _timed_ms(bundle, engine, options.threads) if result.passed and target.is_timed else {}
    options.cache.store(
        key,
        compiled if result.passed else b"",
        options.notify,
        made_by=made_by or target.backend.name,
        engine=engine.name,
        figures=result.figures,
        faults=result.faults,
        reference=result.reference,
        pace=pace,
    )
    return engine, result, pace
