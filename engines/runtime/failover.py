"""An engine that always answers.

The best one that is ready runs, a better one takes over once it is compiled, another when a device fails.

Compiling happens in a program of its own, `python -m engines build`: it takes neither this interpreter's time
nor, should a compiler crash, this program with it. What it made is found in the cache. Knows no backend.
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
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engines import environment
from engines.backends.interface import Edit, Engine, Notify, Target, ignore
from engines.bundle import DEFAULT, ENGINES, Bundle, load_bundle
from engines.errors import Choice, EngineError, EngineLost
from engines.runtime.cache import Cache
from engines.runtime.load import (
    LoadOptions,
    cpu_targets,
    load_cached,
    load_checked,
    reference_engine,
    targets,
)

MAX_OPENING_S = 10.0  # that closing waits for an engine that is being opened: on a GPU it takes seconds


@dataclass(frozen=True)
class EngineAttempt:
    """An engine that may become available."""

    open: Callable[[], Engine]  # may take minutes. Raises EngineError
    can_be_lost: bool  # whether the device under it can fail while the program goes on: a GPU


class FailoverEngine:
    """An Engine that is replaced while it runs.

    `run` is for one thread; better engines are opened in another, and take over between two edits.
    """

    def __init__(
        self,
        first: Engine,
        better: Sequence[EngineAttempt] = (),
        retry: EngineAttempt | None = None,
        spare: Engine | None = None,
        notify: Notify = ignore,
        on_close: Callable[[], None] = lambda: None,
    ):
        """
        Args:
            first: runs at once.
            better: opened in turn, each takes over.
            retry: how to open `first` once more when its device fails.
            spare: what runs then; None for an engine that cannot be lost.
        """
        self._running = first
        self._retry = retry
        self._spare = spare
        self._notify = notify
        self._on_close = on_close
        self.bundle = first.bundle
        # Wait for the next edit, which a face at rest may not need for long.
        self._opened: deque[tuple[Engine, EngineAttempt]] = deque()
        self._lost = False  # whether a device has failed before
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open_in_background(better)

    @property
    def name(self) -> str:
        return self._running.name

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        """As Engine.run. Raises EngineLost only when there is no spare."""
        while self._opened:  # all in turn: the last may be lost, and the one before is its spare
            self._take_over(*self._opened.popleft())
        try:
            return self._running.run(crop, aus)
        except EngineLost as error:
            self._fall_back(error)
            return self._running.run(crop, aus)

    def close(self) -> bool:
        """Ends what compiles engines; none takes over any more.

        What opens one is waited for, up to MAX_OPENING_S: a program that ends while a library's code runs in
        another thread is aborted. Returns whether it has ended.
        """
        self._closed.set()
        self._on_close()
        for thread in self._threads:
            thread.join(MAX_OPENING_S)
        return not any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Waits for what opens engines, without a limit."""
        for thread in self._threads:
            thread.join()

    def _take_over(self, engine: Engine, attempt: EngineAttempt) -> None:
        if not attempt.can_be_lost:
            self._spare = None
        elif self._spare is None:
            self._spare = self._running
        self._running = engine
        self._retry = attempt
        self._notify(f"now on {engine.name}")

    def _fall_back(self, error: EngineLost) -> None:
        """Goes on with the spare. What was lost is opened once more; a second loss is for good."""
        if self._spare is None or self._running is self._spare:
            raise error
        retries = [] if self._lost or not self._retry else [self._retry]
        self._lost = True
        self._running = self._spare
        retrying = ", and trying the other once more" if retries else ""
        self._notify(f"{error} Going on with {self.name}{retrying}.")
        self._open_in_background(retries)

    def _open_in_background(self, attempts: Sequence[EngineAttempt]) -> None:
        if attempts:
            thread = threading.Thread(target=self._open, args=(attempts,), name="open engines", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _open(self, attempts: Sequence[EngineAttempt]) -> None:
        for attempt in attempts:
            if self._closed.is_set():
                return
            try:
                engine = attempt.open()
            except EngineError as error:
                if not self._closed.is_set():
                    self._notify(f"{error} Staying on {self.name}.")
                continue
            if self._closed.is_set():
                return
            self._opened.append((engine, attempt))


def load_live(
    bundle: Bundle | str | Path = DEFAULT,
    device: str = "auto",
    options: LoadOptions | None = None,
    wait: bool = False,
) -> FailoverEngine:
    """The best engine that is ready now; better ones are compiled meanwhile and take over.

    Where nothing is in the cache that is FP32 on the CPU, after half a second; then the CPU's best, then the
    GPU.

    Args:
        bundle: or its name, or its folder.
        device: one of engines.runtime.load.DEVICES.
        wait: compile first, for work that must not change its engine half-way.

    Raises:
        EngineError: nothing that was asked for runs here.
    """
    options = options or LoadOptions()
    bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    if device == "reference":
        return FailoverEngine(reference_engine(bundle, options.threads))
    candidates = targets(bundle, device)
    fp32 = cpu_targets(bundle)[-1]  # always ready
    candidates += [] if fp32 in candidates else [fp32]
    compiler = BackgroundCompiler(bundle, options)
    options = compiler.options
    better: list[Target] = []
    for target in candidates:
        try:
            engine = (load_checked if wait else load_cached)(bundle, target, options)
        except EngineError as error:
            options.notify(f"{error} Going on with the next best.")
            continue
        if engine is not None:
            break
        better.append(target)
    else:
        raise EngineError(f"No engine of {bundle.name} runs on this machine", Choice("device", "reference"))
    spare = None
    if target.can_be_lost:
        spare = _first_cached(bundle, cpu_targets(bundle), replace(options, notify=ignore))
    return FailoverEngine(
        engine,
        compiler.attempts(better),
        compiler.attempt([target]),
        spare,
        options.notify,
        compiler.close,
    )


def _first_cached(bundle: Bundle, candidates: Sequence[Target], options: LoadOptions) -> Engine | None:
    """Opens the first of the targets that is in the cache and was not refused; reports why others are not."""
    for target in candidates:
        try:
            if engine := load_cached(bundle, target, options):
                return engine
        except EngineError as error:
            options.notify(str(error))
    return None


class BackgroundCompiler:
    """Compiles engines of one bundle in a program of its own, and opens them from the cache."""

    def __init__(self, bundle: Bundle, options: LoadOptions):
        self._bundle = bundle
        self._building: subprocess.Popen[str] | None = None
        self._closed = False
        self.options = options  # with a cache that can be written, where there is one
        if options.cache.writable():
            return
        options.notify(
            f"The engine cache {options.cache.root} cannot be written: engines are compiled for this run "
            f"alone; name another folder by {environment.ENGINE_CACHE}."
        )
        try:
            folder = Path(tempfile.mkdtemp(prefix="puppet-engines-"))
        except OSError:  # nothing can be written anywhere: an engine in FP32 needs no cache
            return
        self.options = replace(options, cache=Cache(folder))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # however the run ends

    def attempts(self, better: Sequence[Target]) -> list[EngineAttempt]:
        """One for each backend, those that compile fast first."""
        names = list(dict.fromkeys(target.backend.name for target in reversed(better)))
        return [self.attempt([target for target in better if target.backend.name == name]) for name in names]

    def attempt(self, candidates: Sequence[Target]) -> EngineAttempt:
        """The first of the targets, best first, that passes its check."""
        return EngineAttempt(lambda: self._open(candidates), candidates[0].can_be_lost)

    def close(self) -> None:
        self._closed = True
        if building := self._building:
            building.terminate()

    def _open(self, candidates: Sequence[Target]) -> Engine:
        faults: list[str] = []
        if engine := _first_cached(self._bundle, candidates, replace(self.options, notify=ignore)):
            return engine
        self._build([target.device for target in candidates])
        if engine := _first_cached(self._bundle, candidates, replace(self.options, notify=faults.append)):
            return engine
        raise EngineError(
            " ".join(faults)
            or f"What was compiled for {candidates[0].name} is not to be found in {self.options.cache.root}."
        )

    def _build(self, devices: Sequence[str]) -> None:
        """Raises EngineError with the last line that the program printed, or its exit status."""
        last_line = ""
        try:
            program = self._start(devices)
        except OSError as error:
            raise EngineError(
                f"No other program can be started to compile {' or '.join(devices)} ({error.strerror})."
            ) from error
        self._building = program
        with program:
            if self._closed:
                program.terminate()
            for line in program.stdout or ():
                last_line = line.strip() or last_line
                self.options.notify(f"meanwhile: {last_line}")
        status = program.returncode
        self._building = None
        if status < 0 or (status and not last_line):
            how = f"signal {-status}" if status < 0 else f"status {status}"
            raise EngineError(f"The program that compiled {' or '.join(devices)} was ended by {how}.")
        if status:
            raise EngineError(last_line)

    def _start(self, devices: Sequence[str]) -> subprocess.Popen[str]:
        """Starts `python -m engines build`. Raises OSError."""
        # -P: what lies in the user's working folder is not imported; --: nor is a bundle's name taken for an
        # option.
        command = [sys.executable, "-P", "-m", "engines", "build", "--background"]
        command += ["--cache", str(self.options.cache.root)]
        if self.options.face_model:
            command += ["--face-model", str(self.options.face_model)]
        command += ["--device", *devices, "--", str(self._bundle.folder)]
        paths = [str(ENGINES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C is for this program, which then ends that one; the first of these does it on Windows.
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            start_new_session=True,
        )
