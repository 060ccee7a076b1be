"""How fast every engine of this machine is, one picture at a time, and how fast the machine could be.

The bound is the roofline (Williams et al., CACM 2009):

    roofline = max(multiply-adds / peak of the precision, bytes moved / bandwidth of the memory)

The peak is what the same library reaches here on the layer that it likes best, the bandwidth what copying a
large array reaches; bytes are weights, and inputs and outputs of every convolution and product, once each.
Engines take turns, so that whatever else the machine does affects all of them alike. Nothing is taken from
the cache or put into it.
"""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.backends import openvino
from engines.backends.interface import Engine, Notify, Target, ignore
from engines.bundle import Bundle
from engines.errors import EngineError
from engines.runtime.load import (
    ACCELERATORS,
    DEVICES,
    UNCHECKED_PRECISION,
    accelerator_targets,
    compile_unchecked,
    cpu_targets,
    gpu_backend,
    reference_engine,
)
from engines.runtime.parity import compare, stored_cases
from engines.runtime.timing import in_turn

RUNS = 300  # of each engine: three of them are beyond p99
COPIES = 5  # the fastest counts
BYTES = {"int8": 1, "bf16": 2, "fp16": 2, "fp32": 4}
COPIED_VALUES = 1 << 26  # float32: 256 MB, far beyond any cache
ERROR_COLUMN = "colour mean"  # of a parity report: grey levels, where colour is painted


@dataclass(frozen=True)
class Row:
    """One engine, measured."""

    bundle: str
    size_px: int
    engine: str
    precision: str
    times_ms: np.ndarray  # (RUNS,) float64
    grey_levels: float  # mean error of the colours against the reference, over all cases
    host_bytes: int  # that a frame sends to the engine and fetches from it
    memory_bytes: int  # weights, and what convolutions and products read and write, once each
    roofline_ms: float | None  # None where no peak is known

    def as_json(self, baseline_ms: float) -> dict[str, Any]:
        """Ready for JSON. baseline_ms: median of the engine that the others are compared with."""
        p50 = float(np.median(self.times_ms))
        return {
            "bundle": self.bundle,
            "size_px": self.size_px,
            "engine": self.engine,
            "p50_ms": round(p50, 3),
            "p99_ms": round(float(np.percentile(self.times_ms, 99)), 3),
            "min_ms": round(float(self.times_ms.min()), 3),
            "times_faster": round(baseline_ms / p50, 2),
            "grey_levels": round(self.grey_levels, 3),
            "host_kib": round(self.host_bytes / 1024),
            "memory_mb": round(self.memory_bytes / 1e6, 1),
            "roofline_ms": self.roofline_ms and round(self.roofline_ms, 2),
            "of_roofline": self.roofline_ms and round(self.roofline_ms / p50, 2),
        }


@dataclass(frozen=True)
class MeasuredEngine:
    """An engine that takes part."""

    engine: Engine
    precision: str
    device: str  # of engines.runtime.load.DEVICES

    @property
    def on_cpu(self) -> bool:
        """By OpenVINO, whose peak is known."""
        return self.device.startswith("cpu")


def measure(
    bundles: Sequence[Bundle], threads: int | None = None, runs: int = RUNS, notify: Notify = ignore
) -> dict[str, Any]:
    """Times every engine of every bundle that this machine and what is installed can run.

    Args:
        threads: of the CPU; None for all.
        runs: edits by each engine.

    Returns:
        what was measured, ready for JSON; "left_out" names each engine that could not be, and why.

    Raises:
        EngineError: not even FP32 on the CPU runs.
    """
    bandwidth = copy_bandwidth()
    peaks: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    taken: dict[str, str] = {}
    for bundle in bundles:
        notify(f"opening engines of {bundle.name}")
        engines, missing = open_engines(bundle, threads)
        for name, why in missing.items():
            notify(f"left out: {name}. {why}")
        left_out |= missing
        for precision in {each.precision for each in engines if each.on_cpu} - set(peaks):
            peaks[precision] = openvino.peak(precision, threads)
        measured = _measure_bundle(bundle, engines, runs, peaks, bandwidth, notify)
        taken[bundle.name] = taken_by_auto([each.device for each in engines], measured)
        rows += measured
    work = {bundle.name: openvino.work(bundle) for bundle in bundles}
    processor = openvino.OpenVino().depends_on()["device"]
    return {
        "machine": f"{processor}, {os.cpu_count()} cores, {platform.system()}",
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "peak_gmac_s": {precision: round(peak / 1e9, 1) for precision, peak in peaks.items()},
        "bandwidth_gb_s": round(bandwidth / 1e9, 1),
        "work": {
            name: {"gmac": round(products / 1e9, 2), "values": values, "weights": weights}
            for name, (products, values, weights) in work.items()
        },
        "left_out": left_out,
        "rows": rows,
        "auto": taken,
    }


def taken_by_auto(devices: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Which of the measured engines --device auto takes if it passes its check, and why: a sentence.

    Args:
        devices: of each row, of engines.runtime.load.DEVICES.
        rows: as `Row.as_json` gives them.
    """
    by_device: dict[str, Mapping[str, Any]] = {}
    in_order = sorted(zip(devices, rows, strict=True), key=lambda each: DEVICES.index(each[0]))
    for device, row in in_order:  # of the CPU's precisions the best comes first
        by_device.setdefault("cpu" if device.startswith("cpu") else device, row)
    if "gpu" in by_device:
        return f"{by_device['gpu']['engine']}: NVIDIA's GPU comes first."
    cpu = by_device.get("cpu")
    for device in ACCELERATORS:
        found = by_device.get(device)
        if found and cpu and found["p50_ms"] < cpu["p50_ms"]:
            against = f"{found['p50_ms']:.1f} ms against the CPU's {cpu['p50_ms']:.1f} ms"
            return f"{found['engine']}: {against}."
    if cpu is None:
        return "nothing: the CPU has no engine."
    slower = ", ".join(device for device in ACCELERATORS if device in by_device)
    return f"{cpu['engine']}: " + (f"{slower} is slower." if slower else "there is no GPU or NPU.")


def _measure_bundle(
    bundle: Bundle,
    engines: Sequence[MeasuredEngine],
    runs: int,
    peaks: Mapping[str, float],
    bandwidth: float,
    notify: Notify,
) -> list[dict[str, Any]]:
    """A row for each engine, ready for JSON; the first engine is the baseline of the others."""
    baseline = engines[0].engine
    times_ms = in_turn([each.engine for each in engines], stored_cases(bundle), runs)
    rows = []
    for each, took_ms in zip(engines, times_ms, strict=True):
        grey_levels = 0.0
        if each.engine is not baseline:
            notify(f"comparing {each.engine.name}")
            differences = compare(each.engine, baseline).rows
            painted = [row[ERROR_COLUMN] for row in differences if row[ERROR_COLUMN] is not None]
            grey_levels = float(np.mean(painted)) if painted else 0.0
        roof_ms = None
        if each.on_cpu:
            roof_ms = roofline_ms(bundle, each.precision, peaks[each.precision], bandwidth)
        row = Row(
            bundle=bundle.name,
            size_px=bundle.size_px,
            engine=each.engine.name,
            precision=each.precision,
            times_ms=took_ms,
            grey_levels=grey_levels,
            host_bytes=host_bytes(bundle),
            memory_bytes=memory_bytes(bundle, each.precision),
            roofline_ms=roof_ms,
        )
        rows.append(row.as_json(float(np.median(times_ms[0]))))
    return rows


def open_engines(bundle: Bundle, threads: int | None) -> tuple[list[MeasuredEngine], dict[str, str]]:
    """Opens every engine that this machine and what is installed can run.

    Returns:
        the engines, first the baseline: ONNX Runtime, or OpenVINO in FP32 where that is not installed; and
        what is left out: the name of a library or a target, and why.

    Raises:
        EngineError: there is no engine at all.
    """
    engines = []
    left_out = {}
    candidates = cpu_targets(bundle)
    try:
        engines.append(MeasuredEngine(reference_engine(bundle, threads), UNCHECKED_PRECISION, "reference"))
    except EngineError as error:
        left_out["ONNX Runtime"] = _reason(error)
        candidates = [candidates[-1], *candidates[:-1]]  # FP32 becomes the baseline
    try:
        backend = gpu_backend()
        candidates += [Target(backend, precision) for precision in backend.precisions(bundle)]
    except EngineError as error:
        left_out["TensorRT"] = _reason(error)
    candidates += accelerator_targets(bundle)
    for target in candidates:
        try:
            engine = compile_unchecked(bundle, target, threads)
        except EngineError as error:
            left_out[target.name] = _reason(error)
            continue
        engines.append(MeasuredEngine(engine, target.precision, target.device))
    if not engines:
        raise EngineError(f"No engine of {bundle.name} runs on this machine: {' '.join(left_out.values())}")
    return engines, left_out


def _reason(error: EngineError) -> str:
    """What happened and what to install; that another device could be chosen is no help to a benchmark."""
    remedies = [each for each in error.remedies if isinstance(each, str)]
    return EngineError(error.what, *remedies).sentence()


def host_bytes(bundle: Bundle) -> int:
    """Bytes that a frame exchanges with an engine besides the crop: AUs; colour, attention and flow."""
    aus = 4 * len(bundle.aus)
    colour_and_attention = bundle.size_px**2 * (3 + 4)
    flow = bundle.flow_px**2 * 2 * 4
    return aus + colour_and_attention + flow


def roofline_ms(bundle: Bundle, precision: str, peak: float, bandwidth: float) -> float:
    """The least time that a frame can take. peak: multiply-adds a second; bandwidth: bytes a second."""
    products, _, _ = openvino.work(bundle)
    return 1000 * max(products / peak, memory_bytes(bundle, precision) / bandwidth)


def memory_bytes(bundle: Bundle, precision: str) -> int:
    """What a frame moves between memory and the processor at least, if nothing stays in a cache."""
    _, values, weights = openvino.work(bundle)
    return (values + weights) * BYTES[precision]


def copy_bandwidth() -> float:
    """Bytes a second that one thread reads and writes when it copies."""
    source = np.ones(COPIED_VALUES, np.float32)
    target = np.empty(COPIED_VALUES, np.float32)
    seconds = []
    for _ in range(COPIES):
        started_s = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - started_s)
    return 2 * source.nbytes / min(seconds)


def table(result: dict[str, Any]) -> str:
    """What `measure` returned as text for people."""
    peaks = ", ".join(f"{precision.upper()} {peak:g}" for precision, peak in result["peak_gmac_s"].items())
    lines = [
        f"{result['machine']}; load before: {result['load']}",
        f"peaks: {peaks} GMAC/s; copying: {result['bandwidth_gb_s']:g} GB/s",
    ]
    for name, work in result["work"].items():
        lines.append(f"{name}: {work['gmac']:g} GMAC, {work['weights'] / 1e6:.1f} M weights")
    lines += [
        "",
        f"{'engine':<44}{'px':>5}{'p50 ms':>9}{'p99':>8}{'min':>8}{'x ref.':>8}{'roof ms':>9}{'of roof':>9}"
        f"{'error':>8}{'MB':>7}{'KiB':>6}",
    ]
    for row in result["rows"]:
        roof_ms, of_roof = "-", "-"
        if row["roofline_ms"]:
            roof_ms, of_roof = f"{row['roofline_ms']:.2f}", f"{row['of_roofline']:.0%}"
        lines.append(
            f"{row['engine']:<44}{row['size_px']:>5}{row['p50_ms']:>9.2f}{row['p99_ms']:>8.2f}{row['min_ms']:>8.2f}"
            f"{row['times_faster']:>8.2f}{roof_ms:>9}{of_roof:>9}{row['grey_levels']:>8.2f}{row['memory_mb']:>7.1f}"
            f"{row['host_kib']:>6}"
        )
    lines += [
        "",
        "x ref.: times faster than the first row; error: mean of the colours where they are painted, grey "
        "levels; KiB: exchanged with the engine each frame.",
    ]
    lines += [f"auto takes for {name}: {taken}" for name, taken in result["auto"].items()]
    lines += [f"Left out: {name}. {why}" for name, why in result["left_out"].items()]
    return "\n".join(lines)
