"""An engine that always answers: the best one that is ready runs, a better one takes over when it is compiled, another when a device fails.

Compiling happens in a program of its own, `python -m engines build`, so that it takes neither this one's interpreter nor, should a
compiler crash, this one with it. What it made is found in the cache. Knows no backend.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.backends.interface import Edit, Engine, Say, Target, quiet
from engines.bundle import DEFAULT, ENGINES, Bundle, load_bundle
from engines.errors import EngineError, EngineLost
from engines.runtime.cache import PLACE_ENV, Cache
from engines.runtime.load import on_cpu, ready, reference, targets, trusted

LAST_OPENING_S = 10.0  # that closing waits for an engine that is being opened: on a GPU it takes seconds


@dataclass(frozen=True)
class EngineAttempt:
    """An engine that can be had."""

    open: Callable[[], Engine]  # may take minutes. Raises EngineError
    can_be_lost: bool  # whether the device under it can fail while the program goes on: a GPU


class FailoverEngine:
    """An Engine. `run` is for one thread; better engines are opened in another, and taken over between two edits."""

    def __init__(
        self,
        first: Engine,
        better: Sequence[EngineAttempt] = (),
        again: EngineAttempt | None = None,
        spare: Engine | None = None,
        say: Say = quiet,
        on_close: Callable[[], None] = lambda: None,
    ):
        """first: runs at once; better: opened in turn, each takes over; again: how to open `first` once more when its device
        fails, and spare: what goes on then, None for an engine that cannot be lost.
        """
        self._running, self._again, self._spare = first, again, spare
        self._say, self._on_close = say, on_close
        self.bundle = first.bundle
        self._opened: deque[tuple[Engine, EngineAttempt]] = (
            deque()
        )  # wait for the next edit, which a face at rest may not need for long
        self._lost = False
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open_in_background(better)

    @property
    def name(self) -> str:
        return self._running.name

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        """As Engine.run. EngineLost leaves it only when there is no spare."""
        while self._opened:  # all in turn: the last may be lost, and the one before is its spare
            self._take_over(*self._opened.popleft())
        try:
            return self._running.run(crop, aus)
        except EngineLost as error:
            self._fall_back(error)
            return self._running.run(crop, aus)

    def close(self) -> None:
        """No other engine takes over any more; what compiles one is ended.

        What opens one is waited for: a program that ends while a library's code runs in another thread is aborted.
        """
        self._closed.set()
        self._on_close()
        for thread in self._threads:
            thread.join(LAST_OPENING_S)

    def _take_over(self, engine: Engine, step: EngineAttempt) -> None:
        if not step.can_be_lost:
            self._spare = None
        elif self._spare is None:
            self._spare = self._running
        self._running, self._again = engine, step
        self._say(f"now on {engine.name}")

    def _fall_back(self, error: EngineLost) -> None:
        """The spare goes on at once. What was lost is opened once more; a second loss is for good."""
        if self._spare is None or self._running is self._spare:
            raise error
        again, self._lost = [] if self._lost or not self._again else [self._again], True
        self._running = self._spare
        self._say(f"{error} Going on with {self.name}{', and trying the other once more' if again else ''}.")
        self._open_in_background(again)

    def _open_in_background(self, steps: Sequence[EngineAttempt]) -> None:
        if steps:
            self._threads.append(
                threading.Thread(target=self._open, args=(steps,), name="open engines", daemon=True)
            )
            self._threads[-1].start()

    def _open(self, steps: Sequence[EngineAttempt]) -> None:
        for step in steps:
            if self._closed.is_set():
                return
            try:
                engine = step.open()
            except EngineError as error:
                if not self._closed.is_set():
                    self._say(f"{error} Staying on {self.name}.")
                continue
            if self._closed.is_set():
                return
            self._opened.append((engine, step))


def load_live(
    bundle: Bundle | str | Path = DEFAULT,
    device: str = "auto",
    threads: int | None = None,
    say: Say = quiet,
    wait: bool = False,
) -> FailoverEngine:
    """The best engine that is ready now; better ones are compiled meanwhile and take over. Raises EngineError.

    Where nothing is in the cache that is FP32 on the CPU, after half a second; then the CPU's best, then the GPU. wait: compile first, for
    work that must not change its engine half-way.
    """
    bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    if device == "reference":
        return FailoverEngine(reference(bundle, threads))
    wanted = targets(bundle, device)
    wanted += [target for target in on_cpu(bundle)[-1:] if target not in wanted]  # FP32: always ready
    workshop = BackgroundCompiler(bundle, threads, say)
    better: list[Target] = []
    for target in wanted:
        try:
            engine = (trusted if wait else ready)(bundle, target, threads, say, workshop.cache)
        except EngineError as error:
            say(f"{error} Going on with the next best.")
            continue
        if engine is not None:
            break
        better.append(target)
    else:
        raise EngineError(f"No engine of {bundle.name} runs on this machine: try --device reference.")
    spare = _first_ready(bundle, on_cpu(bundle), threads, workshop.cache) if target.can_be_lost else None
    return FailoverEngine(engine, workshop.steps(better), workshop.step([target]), spare, say, workshop.close)


def _first_ready(
    bundle: Bundle, wanted: Sequence[Target], threads: int | None, cache: Cache, say: Say = quiet
) -> Engine | None:
    """Opens the first of the targets that is in the cache and was not refused; says why one is not opened."""
    for target in wanted:
        try:
            if engine := ready(bundle, target, threads, say, cache):
                return engine
        except EngineError as error:
            say(str(error))
    return None


class BackgroundCompiler:
    """Compiles engines of one bundle in a program of its own, `python -m engines build`, and opens them from the cache."""

    def __init__(self, bundle: Bundle, threads: int | None, say: Say):
        self._bundle, self._threads, self._say = bundle, threads, say
        self.cache, self._building, self._closed = Cache(), None, False
        if not self.cache.writable():
            say(
                f"The engine cache {self.cache.root} cannot be written: engines are compiled for this run alone; name another by {PLACE_ENV}."
            )
            try:
                self.cache = Cache(Path(tempfile.mkdtemp(prefix="puppet-engines-")))
            except OSError:  # nothing can be written anywhere: an engine in FP32 needs no cache
                return
            weakref.finalize(
                self, shutil.rmtree, self.cache.root, ignore_errors=True
            )  # when the run is over, whichever way

    def steps(self, better: Sequence[Target]) -> list[EngineAttempt]:
        """One for each backend, those that compile fast first."""
        names = list(dict.fromkeys(target.backend.name for target in reversed(better)))
        return [self.step([target for target in better if target.backend.name == name]) for name in names]

    def step(self, wanted: Sequence[Target]) -> EngineAttempt:
        """The first of the targets, best first, that passes its check."""
        return EngineAttempt(lambda: self._open(wanted), wanted[0].can_be_lost)

    def close(self) -> None:
        self._closed = True
        if building := self._building:
            building.terminate()

    def _open(self, wanted: Sequence[Target]) -> Engine:
        faults: list[str] = []
        if (engine := _first_ready(self._bundle, wanted, self._threads, self.cache)) is None:
            self._build([target.device for target in wanted])
            engine = _first_ready(self._bundle, wanted, self._threads, self.cache, faults.append)
        if engine is None:
            raise EngineError(
                " ".join(faults)
                or f"What was compiled for {wanted[0].name} is not to be found in {self.cache.root}."
            )
        return engine

    def _build(self, devices: Sequence[str]) -> None:
        """Raises EngineError with what the building program said last."""
        # -P: what lies in the user's working folder is not imported; --: nor is a bundle's name an option.
        command = [
            sys.executable,
            "-P",
            "-m",
            "engines",
            "build",
            "--background",
            "--device",
            *devices,
            "--",
            str(self._bundle.folder),
        ]
        paths = [str(ENGINES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        places = {PLACE_ENV: str(self.cache.root), "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
        said = ""
        try:
            program = subprocess.Popen(
                command,
                env=os.environ | places,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                start_new_session=True,  # as above on Windows: Ctrl-C is for this program, which ends that one
            )
        except OSError as error:
            raise EngineError(
                f"No other program can be started to compile {' or '.join(devices)} ({error.strerror})."
            ) from error
        with program as self._building:
            if self._closed:
                program.terminate()
            for line in program.stdout:
                said = line.strip() or said
                self._say(f"meanwhile: {said}")
        status, self._building = program.returncode, None
        if status:
            ended = f"The program that compiled {' or '.join(devices)} was ended by {f'signal {-status}' if status < 0 else f'status {status}'}."
            raise EngineError(said if said and status > 0 else ended)
