"""Two results of --benchmark side by side: medians, their ratio, and what else differs between the runs."""

import json
from pathlib import Path
from typing import Any

from engines.errors import DataError

PASSES = {"throughput": "as fast as it goes", "delay": "as in a call"}
COSTS = "core_ms_by_stage"
NOTED = ("engine", "canvas", "driver", "driver_size")  # that should be equal, beside machine and versions


def compare(first: str, second: str) -> str:
    """The text for people. Raises DataError for a file that no --benchmark --json wrote."""
    a, b = _read(first), _read(second)
    try:
        rows = [row for name, title in PASSES.items() for row in _rows(a[name], b[name], title)]
        rows += _cost_rows(a.get(COSTS, {}), b.get(COSTS, {}))
        rows.append(("peak memory, MB", a["peak_memory_mb"], b["peak_memory_mb"]))
        lines = [f"A {first}", f"B {second}", *_differences(a, b), "", _line("", "A", "B", "B / A")]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{first} or {second} is of another version of this program: measure both anew with "
            "--benchmark --json FILE."
        ) from error
    return "\n".join([*lines, *(_line(name, f"{x:.1f}", f"{y:.1f}", _ratio(x, y)) for name, x, y in rows)])


def _read(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except ValueError:
        found = None
    if not isinstance(found, dict) or not PASSES.keys() <= found.keys():
        raise DataError(f"{path} is no result of a benchmark: write one with --benchmark --json FILE.")
    return found


def _differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """A line for each thing that was not the same in both runs."""
    pairs = {name: (a[name], b[name]) for name in NOTED}
    for part in ("machine", "versions"):
        names = [*a[part], *(name for name in b[part] if name not in a[part])]
        pairs |= {name: (a[part].get(name, "-"), b[part].get(name, "-")) for name in names}
    changed = [f"  {name}: {before} -> {after}" for name, (before, after) in pairs.items() if before != after]
    return ["Not the same in both:", *changed] if changed else ["Same engine, driver, machine and packages."]


def _rows(a: dict[str, Any], b: dict[str, Any], title: str) -> list[tuple[str, float, float]]:
    """Name, A and B of the figures of a pass; stages that only one of the two has are left out."""
    rows = [
        (f"{title}: pictures a second", a["fps"], b["fps"]),
        (f"{title}: core-ms a picture", a["cpu_ms_per_picture"], b["cpu_ms_per_picture"]),
    ]
    for stage in a["stages"]:
        if stage in b["stages"]:
            before, after = a["stages"][stage], b["stages"][stage]
            rows += [
                (f"  {stage}, {name}, ms", before[f"{key}_ms"], after[f"{key}_ms"])
                for key, name in (("p50", "median"), ("p95", "95 %"))
            ]
    return rows


def _cost_rows(a: dict[str, float], b: dict[str, float]) -> list[tuple[str, float, float]]:
    """Of the pass in one thread; stages that only one of the two has are left out."""
    both = [stage for stage in a if stage in b]
    if not both:
        return []
    whole = ("in one thread: core-ms a picture", sum(a.values()), sum(b.values()))
    return [whole, *((f"  {stage}", a[stage], b[stage]) for stage in both)]


def _ratio(before: float, after: float) -> str:
    return f"{after / before:.2f}" if before else "-"


def _line(name: str, *cells: str) -> str:
    return f"{name:<44}" + "".join(f"{cell:>10}" for cell in cells)
