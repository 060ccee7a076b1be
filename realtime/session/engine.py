"""The engine of a run: opened at its start, closed at its end."""

from contextlib import ExitStack

from engines.runtime.failover import FailoverEngine, load_live
from engines.runtime.load import LoadOptions
from realtime.process.log import say
from realtime.process.worker import Worker
from realtime.session.config import DrawingConfig


def open_engine(config: DrawingConfig, stack: ExitStack, wait: bool) -> FailoverEngine:
    """The config's engine, which `stack` closes. Raises EngineError.

    Args:
        wait: for the best one to be compiled; else a better one than is ready takes over while pictures are
            drawn.
    """
    options = LoadOptions(notify=say, face_model=config.face_model)
    engine = load_live(config.engine, config.device, options, wait=wait)
    stack.callback(_close, engine)
    return engine


def _close(engine: FailoverEngine) -> None:
    if not engine.close():  # a worker stands for the thread that hangs: `shutdown.leave` looks for workers
        Worker(engine.join, "open engines").start()
