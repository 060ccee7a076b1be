"""From a bundle to an engine that may be trusted: which backends this machine has, what is in the cache, what must be compiled and checked first.

    targets   what could run here, best first            ->  TensorRT FP16, OpenVINO INT8, BF16, FP32
    trusted   one of them: from the cache, or compiled, compared with the FP32 reference (engines.runtime.parity), and kept
    load      the best that passes; waits for it

engines.runtime.failover.load_live does not wait: the best that is ready now, and a better one takes over while it runs

FP32 is not compared: it is what the others are compared with, by ONNX Runtime where that is installed.
"""

from pathlib import Path

from engines.backends.interface import Backend, Engine, Say, Target, quiet
from engines.backends.openvino import OpenVino
from engines.bundle import DEFAULT, FORMAT, Bundle, load_bundle
from engines.errors import EngineError
from engines.runtime.cache import Cache, Key
from engines.runtime.parity import ParityResult, compare, rules

DEVICES = ("auto", "gpu", "cpu", "cpu-int8", "cpu-bf16", "cpu-fp32", "reference")
FULL = "fp32"  # the precision that needs no check


def load(
    bundle: Bundle | str | Path = DEFAULT, device: str = "auto", threads: int | None = None, say: Say = quiet
) -> Engine:
    """The best engine on a device that passes its check; compiles it first where need be, which can take minutes on a GPU.

    device: one of DEVICES; "auto" is the GPU where there is one, then the CPU; "reference" is ONNX Runtime in FP32, slow. threads: CPU
    threads, all by default. Raises EngineError when nothing that was asked for runs here.
    """
    bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    if device == "reference":
        return reference(bundle, threads)
    wanted = targets(bundle, device)
    for target in wanted[:-1]:
        try:
            return trusted(bundle, target, threads, say)
        except EngineError as error:
            say(f"{error} Going on with the next best.")
    return trusted(bundle, wanted[-1], threads, say)


def targets(bundle: Bundle, device: str = "auto") -> list[Target]:
    """What could run a bundle here, best first. Raises EngineError when a device was asked for that cannot be had."""
    if device not in DEVICES:
        raise EngineError(f"There is no device {device!r}; known are {', '.join(DEVICES)}.")
    if device == "gpu":
        return _of(gpu(), bundle)
    if device == "auto":
        try:
            return [*_of(gpu(), bundle), *on_cpu(bundle)]
        except EngineError:  # no GPU: nothing to tell, this is most people's machine
            return on_cpu(bundle)
    if device == "cpu":
        return on_cpu(bundle)
    precision = device.removeprefix("cpu-")
    chosen = [target for target in on_cpu(bundle) if target.precision == precision]
    if not chosen and precision == "int8" and "int8" not in bundle.variants:
        raise EngineError(
            f"{bundle.name} has no INT8 form: make one by python -m train quantise, or take another --device."
        )
    if not chosen:
        raise EngineError(
            f"This CPU does not compute in {precision.upper()}: take --device cpu, which chooses what it does best."
        )
    return chosen


def on_cpu(bundle: Bundle) -> list[Target]:
    """What the CPU runs, best first; FP32 last, always."""
    return _of(OpenVino(), bundle)


def gpu() -> Backend:
    """TensorRT on this machine's GPU. Raises EngineError, one sentence, where that cannot be had."""
    from engines.backends.tensorrt import TensorRt

    backend = TensorRt()
    backend.depends_on()
    return backend


def _of(backend: Backend, bundle: Bundle) -> list[Target]:
    return [Target(backend, precision) for precision in backend.precisions(bundle)]


def reference(bundle: Bundle, threads: int | None = None) -> Engine:
    """ONNX Runtime in FP32. Raises EngineError where it is not installed."""
    try:
        from engines.backends.onnxruntime import ReferenceEngine
    except ImportError as error:
        raise EngineError(
            "The reference backend needs ONNX Runtime: pip install -e '.[reference]'."
        ) from error
    return ReferenceEngine(bundle, threads)


def yardstick(bundle: Bundle, threads: int | None = None) -> Engine:
    """What compiled engines are compared with: the reference, or OpenVINO in FP32 where ONNX Runtime is not installed."""
    try:
        return reference(bundle, threads)
    except EngineError:
        return trusted(bundle, Target(OpenVino(), FULL), threads)


def key_of(bundle: Bundle, target: Target) -> Key:
    """What a compiled engine of a target is good for. Raises EngineError when this machine cannot run one."""
    facts = {
        "bundle": bundle.sha256,
        "graph": bundle.variants.get(target.precision, {}).get("sha256", bundle.sha256),
        "format": str(FORMAT),
        "backend": target.backend.name,
        "precision": target.precision,
        "rules": rules(),
        "shapes": f"image {bundle.size_px}x{bundle.size_px}x3, aus {' '.join(bundle.aus)} {bundle.conditioning}, flow {bundle.flow_px}",
    }
    return Key(f"{bundle.name}-{target.name}", facts | target.backend.depends_on())


def trusted(
    bundle: Bundle, target: Target, threads: int | None = None, say: Say = quiet, cache: Cache | None = None
) -> Engine:
    """An engine that does what the FP32 reference does. Raises EngineError when it does not, or cannot be made."""
    if target.precision == FULL:
        return opened(bundle, target, threads, say)
    cache, key = cache or Cache(), key_of(bundle, target)
    engine = _from_cache(cache, key, bundle, target, threads, say)
    if engine is None:
        with cache.building(key, say):
            engine = _from_cache(cache, key, bundle, target, threads, quiet) or _make(
                cache, key, bundle, target, threads, say
            )
    return engine


def ready(
    bundle: Bundle, target: Target, threads: int | None = None, say: Say = quiet, cache: Cache | None = None
) -> Engine | None:
    """The same, but only if nothing has to be compiled for it."""
    if target.precision == FULL:
        return trusted(bundle, target, threads, say)
    return _from_cache(cache or Cache(), key_of(bundle, target), bundle, target, threads, say)


def opened(bundle: Bundle, target: Target, threads: int | None = None, say: Say = quiet) -> Engine:
    """Compiled and opened without a check and without the cache: for those who measure. Raises EngineError."""
    return target.backend.open(
        bundle, target.precision, target.backend.compile(bundle, target.precision, say), threads
    )


def keep(
    bundle: Bundle, target: Target, compiled: bytes, say: Say = quiet, made_by: str = ""
) -> ParityResult:
    """Checks an engine that was compiled elsewhere for this machine, and keeps it as if it had been compiled here. Raises EngineError."""
    return _check(Cache(), key_of(bundle, target), bundle, target, compiled, None, say, made_by)[1]


def _from_cache(
    cache: Cache, key: Key, bundle: Bundle, target: Target, threads: int | None, say: Say
) -> Engine | None:
    """Raises EngineError for an engine that was refused before: compiling it again would take time and change nothing."""
    found = cache.find(key, say)
    if found is None:
        return None
    if found.about.get("faults"):
        raise EngineError(
            f"{key.name} was refused when it was compiled ({'; '.join(found.about['faults'])}): it is not used."
        )
    try:
        return target.backend.open(bundle, target.precision, found.compiled, threads)
    except EngineError as error:
        say(str(error))
        return None


def _make(cache: Cache, key: Key, bundle: Bundle, target: Target, threads: int | None, say: Say) -> Engine:
    compiled = target.backend.compile(bundle, target.precision, say)
    engine, verdict = _check(cache, key, bundle, target, compiled, threads, say)
    verdict.require()
    return engine


def _check(
    cache: Cache,
    key: Key,
    bundle: Bundle,
    target: Target,
    compiled: bytes,
    threads: int | None,
    say: Say,
    made_by: str = "",
) -> tuple[Engine, ParityResult]:
    """Opens, compares and keeps: an engine that is refused is kept as refused, without its code."""
    engine = target.backend.open(bundle, target.precision, compiled, threads)
    say(f"checking {engine.name} against the FP32 reference")
    verdict = compare(engine, yardstick(bundle, threads))
    about = {
        "engine": engine.name,
        "figures": verdict.figures,
        "faults": verdict.faults,
        "reference": verdict.reference,
    }
    cache.store(
        key, compiled if verdict.passed else b"", say, made_by=made_by or target.backend.name, **about
    )
    return engine, verdict
