"""How fast every engine of this machine is, one picture at a time, and how fast the machine could be (roofline: Williams et al., CACM 2009).

    roofline = max(multiply-adds / peak of the precision, bytes moved / bandwidth of the memory)

The peak is what the same library reaches here on the layer that it likes best, the bandwidth what copying a large array reaches;
bytes are weights, and inputs and outputs of every convolution and product, once each. Engines take turns, so that whatever else
the machine does meets all of them alike. Nothing is taken from the cache or put into it.
"""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.backends import openvino
from engines.backends.interface import Engine, Say, quiet
from engines.bundle import Bundle
from engines.errors import EngineError
from engines.runtime.load import opened, reference, targets
from engines.runtime.parity import Case, compare, stored_cases

RUNS, IN_TURN, WARM = (
    300,
    10,
    20,
)  # 300 runs: three of them are beyond p99; ten in turn, as caches are warm in a call, too
BYTES = {"int8": 1, "bf16": 2, "fp16": 2, "fp32": 4}
COPIED = 1 << 26  # float32: 256 MB, far beyond any cache
GREY = "colour mean"  # the column of a verdict that stands for the error


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

    def told(self, reference_ms: float) -> dict:
        """Ready for JSON. reference_ms: the reference's median."""
        p50 = float(np.median(self.times_ms))
        return {
            "bundle": self.bundle,
            "size_px": self.size_px,
            "engine": self.engine,
            "p50_ms": round(p50, 3),
            "p99_ms": round(float(np.percentile(self.times_ms, 99)), 3),
            "min_ms": round(float(self.times_ms.min()), 3),
            "times_faster": round(reference_ms / p50, 2),
            "grey_levels": round(self.grey_levels, 3),
            "host_kib": round(self.host_bytes / 1024),
            "memory_mb": round(self.memory_bytes / 1e6, 1),
            "roofline_ms": self.roofline_ms and round(self.roofline_ms, 2),
            "of_roofline": self.roofline_ms and round(self.roofline_ms / p50, 2),
        }


def measure(
    bundles: Sequence[Bundle], threads: int | None = None, runs: int = RUNS, say: Say = quiet
) -> dict:
    """Every engine of every bundle; returns what was measured, ready for JSON. Raises EngineError when the reference is missing."""
    bandwidth, peaks, rows = copying(), {}, []
    for bundle in bundles:
        say(f"opening engines of {bundle.name}")
        yard, engines = reference(bundle, threads), []
        for target in targets(bundle):
            try:
                engines.append((opened(bundle, target, threads), target))
            except EngineError as error:
                say(f"{target.name} is left out: {error}")
        times_ms = in_turn([yard, *(engine for engine, _ in engines)], stored_cases(bundle), runs)
        reference_ms = float(np.median(times_ms[0]))
        moved, host = memory_bytes(bundle, "fp32"), host_bytes(bundle)
        rows.append(
            Row(bundle.name, bundle.size_px, yard.name, "fp32", times_ms[0], 0.0, host, moved, None).told(
                reference_ms
            )
        )
        for (engine, target), took_ms in zip(engines, times_ms[1:], strict=True):
            say(f"comparing {engine.name}")
            error = float(np.mean([row[GREY] for row in compare(engine, yard).rows]))
            if not target.can_be_lost and target.precision not in peaks:
                peaks[target.precision] = openvino.peak(target.precision, threads)
            roof_ms = (
                None
                if target.can_be_lost
                else roofline_ms(bundle, target.precision, peaks[target.precision], bandwidth)
            )
            moved = memory_bytes(bundle, target.precision)
            row = Row(
                bundle.name,
                bundle.size_px,
                engine.name,
                target.precision,
                took_ms,
                error,
                host,
                moved,
                roof_ms,
            )
            rows.append(row.told(reference_ms))
    work = {bundle.name: openvino.work(bundle) for bundle in bundles}
    return {
        "machine": f"{openvino.OpenVino().depends_on()['device']}, {os.cpu_count()} cores, {platform.system()}",
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "peak_gmac_s": {precision: round(peak / 1e9, 1) for precision, peak in peaks.items()},
        "bandwidth_gb_s": round(bandwidth / 1e9, 1),
        "work": {
            name: {"gmac": round(products / 1e9, 2), "values": values, "weights": weights}
            for name, (products, values, weights) in work.items()
        },
        "rows": rows,
    }


def in_turn(engines: Sequence[Engine], cases: Sequence[Case], runs: int) -> list[np.ndarray]:
    """Milliseconds of `runs` edits by each engine, after WARM that do not count."""
    times_ms: list[list[float]] = [[] for _ in engines]
    for number in range(-(-(runs + WARM) // IN_TURN)):
        case = cases[1 + number % (len(cases) - 1)]  # the first asks for nothing
        for engine, took in zip(engines, times_ms, strict=True):
            for _ in range(IN_TURN):
                started_s = time.perf_counter()
                engine.run(case.crop, case.aus)
                took.append((time.perf_counter() - started_s) * 1000)
    return [np.array(took[WARM : WARM + runs]) for took in times_ms]


def host_bytes(bundle: Bundle) -> int:
    """What a frame exchanges with an engine once the crop is there: AUs in, colour, attention and flow out."""
    return 4 * len(bundle.aus) + bundle.size_px**2 * (3 + 4) + bundle.flow_px**2 * 2 * 4


def roofline_ms(bundle: Bundle, precision: str, peak: float, bandwidth: float) -> float:
    """The least time that a frame can take. peak: multiply-adds a second; bandwidth: bytes a second."""
    products, _, _ = openvino.work(bundle)
    return 1000 * max(products / peak, memory_bytes(bundle, precision) / bandwidth)


def memory_bytes(bundle: Bundle, precision: str) -> int:
    """What a frame moves between memory and the processor at least, if nothing stays in a cache."""
    _, values, weights = openvino.work(bundle)
    return (values + weights) * BYTES[precision]


def copying() -> float:
    """Bytes a second that one thread reads and writes when it copies."""
    source, goal, seconds = np.ones(COPIED, np.float32), np.empty(COPIED, np.float32), []
    for _ in range(5):
        started_s = time.perf_counter()
        np.copyto(goal, source)
        seconds.append(time.perf_counter() - started_s)
    return 2 * source.nbytes / min(seconds)


def table(result: dict) -> str:
    """The result as text for people."""
    peaks = ", ".join(f"{precision.upper()} {peak:g}" for precision, peak in result["peak_gmac_s"].items())
    lines = [
        f"{result['machine']}; load before: {result['load']}",
        f"peaks: {peaks} GMAC/s; copying: {result['bandwidth_gb_s']:g} GB/s",
        *(
            f"{name}: {work['gmac']:g} GMAC, {work['weights'] / 1e6:.1f} M weights"
            for name, work in result["work"].items()
        ),
        "",
        f"{'engine':<44}{'px':>5}{'p50 ms':>9}{'p99':>8}{'min':>8}{'x ref.':>8}{'roof ms':>9}{'of roof':>9}{'error':>8}{'MB':>7}{'KiB':>6}",
    ]
    for row in result["rows"]:
        roof = (
            (f"{row['roofline_ms']:.2f}", f"{row['of_roofline']:.0%}") if row["roofline_ms"] else ("-", "-")
        )
        lines.append(
            f"{row['engine']:<44}{row['size_px']:>5}{row['p50_ms']:>9.2f}{row['p99_ms']:>8.2f}{row['min_ms']:>8.2f}{row['times_faster']:>8.2f}"
            f"{roof[0]:>9}{roof[1]:>9}{row['grey_levels']:>8.2f}{row['memory_mb']:>7.1f}{row['host_kib']:>6}"
        )
    lines += [
        "",
        "x ref.: times faster than the reference; error: mean of the colours, grey levels; KiB: exchanged with the engine each frame.",
    ]
    return "\n".join(lines)
