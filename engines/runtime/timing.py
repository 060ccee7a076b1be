"""Engines timed against one another, in turns, so that what else the machine does affects all alike."""

import time
from collections.abc import Sequence

import numpy as np

from engines.backends.interface import Engine
from engines.runtime.parity import Case

RUNS_IN_TURN = 10  # of one engine before the next has its turn, as caches are warm in a call, too
WARM_UP_RUNS = 20


def in_turn(engines: Sequence[Engine], cases: Sequence[Case], runs: int) -> list[np.ndarray]:
    """Milliseconds of `runs` edits by each engine, after WARM_UP_RUNS that do not count."""
    times_ms: list[list[float]] = [[] for _ in engines]
    for number in range(-(-(runs + WARM_UP_RUNS) // RUNS_IN_TURN)):
        case = cases[1 + number % (len(cases) - 1)]  # the first changes nothing
        for engine, took_ms in zip(engines, times_ms, strict=True):
            for _ in range(RUNS_IN_TURN):
                started_s = time.perf_counter()
                engine.run(case.crop, case.aus)
                took_ms.append((time.perf_counter() - started_s) * 1000)
    return [np.array(took_ms[WARM_UP_RUNS : WARM_UP_RUNS + runs]) for took_ms in times_ms]
