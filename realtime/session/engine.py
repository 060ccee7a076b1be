"""The engine of a run: opened at its start, in a thread of its own, closed at its end."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack

import numpy as np

from engines.backends.interface import Edit
from engines.bundle import Bundle, load_bundle
from engines.runtime.failover import FailoverEngine, load_live
from engines.runtime.load import LoadOptions
from realtime.process.log import say
from realtime.process.worker import Worker
from realtime.session.config import DrawingConfig

POLL_S = 0.2  # between two looks for Ctrl-C, which Windows does not bring to a thread that waits


class OpeningEngine:
    """An Engine that is opened while a photo is prepared for it: what needs more than its bundle waits."""

    def __init__(self, bundle: Bundle, open_it: Callable[[], FailoverEngine]):
        """open_it: called in another thread."""
        self.bundle = bundle
        self._opened: Future[FailoverEngine] = Future()
        Worker(
            lambda: self._opened.set_result(open_it()), "open the engine", self._opened.set_exception
        ).start()

    @property
    def name(self) -> str:
        return self.ready().name

    def run(self, crop: np.ndarray, aus: np.ndarray) -> Edit:
        return self.ready().run(crop, aus)

    def ready(self) -> FailoverEngine:
        """Waits until it is open. Raises EngineError."""
        while not self._opened.done():
            wait([self._opened], POLL_S)
        return self._opened.result()

    def close(self) -> None:
        """Waits for nothing: an engine that is still being opened is closed then."""
        self._opened.add_done_callback(_close)


def open_engine(config: DrawingConfig, stack: ExitStack, wait: bool) -> OpeningEngine:
    """The config's engine, which `stack` closes. Raises EngineError where there is no such bundle.

    Args:
        wait: for the best one to be compiled; else a better one than is ready takes over while pictures are
            drawn.
    """
    options = LoadOptions(notify=say, face_model=config.face_model)
    bundle = load_bundle(config.engine)
    engine = OpeningEngine(bundle, lambda: load_live(bundle, config.device, options, wait=wait))
    stack.callback(engine.close)
    return engine


def _close(opened: Future[FailoverEngine]) -> None:
    if opened.exception():
        return
    engine = opened.result()
    if not engine.close():  # a worker stands for the thread that hangs: `shutdown.leave` looks for workers
        Worker(engine.join, "open engines").start()
