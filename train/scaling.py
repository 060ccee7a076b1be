"""How training and preparing scale: with processes here, measured; with hosts, on paper.

    python -m train.scaling processes --corpus corpus --photos faces/ --processes 1 2 [-- options of fit]
    python -m train.scaling hosts --step-ms 315 --batch 16 --gradient-mb 17 --loader-ms 1.25 --cores 2

`processes` trains the same global batch with each number of processes, and prepares the same photos with as
many workers. What a start costs is not counted: images are counted from the first step on, and of `prepare`
the time for one photo is taken off. The processes share this machine's cores, so what it shows is what they
cost one another; hosts have cores of their own.

`hosts` puts measured times into a model: every host draws and trains a batch of its own, and then gradients
are averaged by a ring (Patarasuk and Yuan, JPDC 2009). In each of 2 (n - 1) turns every host sends an n-th of
the gradients to its neighbour:

    step(n) = max(step, loader) + 2 (n - 1) (gradients / n / bandwidth + delay)
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engines.errors import DataError

POLL_S = 0.02  # between two looks at a run's statistics
DELAY_MS = 0.1  # of one message between hosts of a room
GBITS = (1.0, 10.0, 25.0)  # of a network
HOSTS = (1, 2, 4, 8, 16)


def step_ms(
    hosts: int,
    compute_ms: float,
    loader_ms: float,
    gradient_mb: float,
    gbit: float,
    delay_ms: float = DELAY_MS,
) -> float:
    """A step of so many hosts, by the model above.

    Args:
        compute_ms: of a step of one host with its own batch.
        loader_ms: that its loaders take to draw that batch.
        gradient_mb: of all networks that learn, megabytes.
        gbit: of the network between hosts, each way, gigabits a second.
    """
    turns = 2 * (hosts - 1)
    part_ms = gradient_mb * 8 / gbit / hosts  # a megabit through a gigabit a second takes a millisecond
    return max(compute_ms, loader_ms) + turns * (part_ms + delay_ms)


def hosts_table(
    compute_ms: float,
    batch: int,
    gradient_mb: float,
    loader_ms: float,
    cores: int,
    delay_ms: float = DELAY_MS,
) -> str:
    """HOSTS x GBITS: milliseconds a step, images a second, the share of what as many single hosts do.

    Args:
        batch: of one host.
        loader_ms: of one core, a sample.
        cores: of a host that draw samples beside the training.
    """
    drawing_ms = loader_ms * batch / cores
    lines = [
        f"{batch} images a host and step: {compute_ms:.0f} ms of training, {drawing_ms:.0f} ms of drawing "
        f"beside it; {gradient_mb:.1f} MB of gradients, {delay_ms} ms a message",
        f"{'hosts':>6}{'Gbit/s':>8}{'ms a step':>11}{'of that gradients':>19}{'images/s':>10}"
        f"{'efficiency':>12}",
    ]
    alone_ms = step_ms(1, compute_ms, drawing_ms, gradient_mb, 1.0, delay_ms)
    for hosts in HOSTS:
        for gbit in GBITS if hosts > 1 else GBITS[:1]:
            whole_ms = step_ms(hosts, compute_ms, drawing_ms, gradient_mb, gbit, delay_ms)
            network = f"{gbit:g}" if hosts > 1 else "-"
            lines.append(
                f"{hosts:>6}{network:>8}{whole_ms:>11.0f}{whole_ms - alone_ms:>19.0f}"
                f"{hosts * batch / whole_ms * 1000:>10.0f}{alone_ms / whole_ms:>12.0%}"
            )
    return "\n".join(lines)


def fit_rate(corpus: Path, processes: int, images: int, options: Sequence[str]) -> float:
    """Images a second of `fit` from its second step on, by so many processes. Raises DataError."""
    with tempfile.TemporaryDirectory() as folder:
        stats, said = Path(folder) / "run" / "stats.jsonl", Path(folder) / "said"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        command = [
            sys.executable, *(launcher if processes > 1 else ()), "-m", "train", "fit",
            "--corpus", str(corpus), "--out", str(stats.parent), "--images", str(images),
            "--stats-every", "1", "--grid-every", "0", "--quiet", *options,
        ]  # fmt: skip
        seen: list[tuple[float, int]] = []  # when, and after how many images
        with said.open("w") as output:
            run = subprocess.Popen(command, env=_environment(processes), stdout=output, stderr=output)
            while run.poll() is None:
                lines = [line for line in _lines(stats) if "loss_generator" in line]
                if lines and (not seen or lines[-1]["seen"] > seen[-1][1]):
                    seen.append((time.perf_counter(), int(lines[-1]["seen"])))
                time.sleep(POLL_S)
        if run.returncode or len(seen) < 2:
            raise DataError(f"fit by {processes} processes did not run: {_last_line(said)}")
    (begun_s, first), (ended_s, last) = seen[0], seen[-1]
    return (last - first) / (ended_s - begun_s)


def prepare_rate(photos: Path, workers: int) -> float:
    """Photos a second of `prepare` by so many workers, without its start. Raises DataError."""
    names = sorted(path for path in photos.iterdir() if path.is_file())
    if len(names) < 2:
        raise DataError(f"{photos} has {len(names)} files: give a folder of some hundred photos.")
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "one"
        one.mkdir()
        shutil.copy(names[0], one)
        start_s = _prepare_s(one, Path(folder) / "first", workers)
        whole_s = _prepare_s(photos, Path(folder) / "all", workers)
    return (len(names) - 1) / max(whole_s - start_s, 1e-3)


def _prepare_s(photos: Path, out: Path, workers: int) -> float:
    command = [
        sys.executable,
        "-m",
        "train",
        "prepare",
        "--out",
        str(out),
        "--workers",
        str(workers),
        str(photos),
    ]
    started_s = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"prepare by {workers} workers did not run: {done.stderr.strip().splitlines()[-1:]}")
    return time.perf_counter() - started_s


def _environment(processes: int) -> dict[str, str]:
    """Each process computes with its part of the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // processes)
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "ACCELERATE_USE_CPU": "true"}


def _lines(stats: Path) -> list[dict[str, float]]:
    """What is whole of a run's statistics."""
    whole = stats.read_text().rpartition("\n")[0].splitlines() if stats.exists() else []
    return [json.loads(line) for line in whole]


def _last_line(path: Path) -> str:
    return next((line for line in reversed(path.read_text().splitlines()) if line.strip()), "it said nothing")


def processes_table(
    corpus: Path | None, photos: Path | None, processes: Sequence[int], images: int, options: Sequence[str]
) -> str:
    """What each number of processes reaches, and the ratio to the first. Raises DataError."""
    rates: dict[str, Callable[[int], float]] = {}
    if corpus:
        rates["fit"] = lambda count: fit_rate(corpus, count, images, options)
    if photos:
        rates["prepare"] = lambda count: prepare_rate(photos, count)
    lines = [f"{'':<10}{'processes':>10}{'a second':>10}{'ratio':>8}"]
    for name, rate in rates.items():
        reached = [rate(count) for count in processes]
        lines += [
            f"{name:<10}{count:>10}{a_second:>10.1f}{a_second / reached[0]:>8.2f}"
            for count, a_second in zip(processes, reached, strict=True)
        ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m train.scaling", description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(required=True)
    here = kinds.add_parser("processes", help="measured, on this machine")
    here.add_argument("--corpus", type=Path, help="for fit")
    here.add_argument("--photos", type=Path, help="a folder, for prepare")
    here.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    here.add_argument("--images", type=int, default=640, help="that fit sees (default: %(default)s)")
    here.add_argument("options", nargs="*", metavar="-- OPTION", help="of fit")
    here.set_defaults(
        table=lambda given: processes_table(
            given.corpus, given.photos, given.processes, given.images, given.options
        )
    )
    paper = kinds.add_parser("hosts", help="on paper, from measured times")
    paper.add_argument(
        "--step-ms", type=float, required=True, help="of one host, as train throughput prints it"
    )
    paper.add_argument("--batch", type=int, required=True, help="of that step")
    paper.add_argument("--gradient-mb", type=float, required=True, help="4 bytes a parameter: train networks")
    paper.add_argument(
        "--loader-ms", type=float, required=True, help="a sample, of one core: train throughput"
    )
    paper.add_argument("--cores", type=int, default=1, help="of a host that load (default: %(default)s)")
    paper.add_argument("--delay-ms", type=float, default=DELAY_MS, help="of a message (default: %(default)s)")
    paper.set_defaults(
        table=lambda given: hosts_table(
            given.step_ms, given.batch, given.gradient_mb, given.loader_ms, given.cores, given.delay_ms
        )
    )
    given = parser.parse_args(arguments)
    try:
        print(given.table(given))
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
