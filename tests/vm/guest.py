"""Runs the checks of tests/vm/run in its guest: the project's own code on real V4L2 devices.

    python -m tests.vm.guest [WORD]      WORD: only the checks whose sentence has it

A check is a public function of a check_*.py, and its name is a sentence; they run in the order of CHECKS and
of their files. The engine is tests.support.fakes.StubEngine, which paints the face green as the driver
smiles: a network is for another test. A mark in the clip's corner says how much it smiles where pictures
are counted, so that nothing hangs on what a tracker makes of them.
"""

import faulthandler
import signal
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from tests.vm.watch import FAILED, PASSED, STARTED

# What needs no driver, and what needs them; the last one moves the webcam to another number.
BARE_CHECKS = ("check_bare",)
CHECKS = ("check_camera", "check_virtual_camera", "check_live")
# For one check, by the guest's clock: four times what the longest needs, and twice what wait_for waits. The
# stacks are printed then, and the guest ends. The limit by this machine's clock is the watcher's
# (tests/vm/watch.py).
CHECK_LIMIT_S = 60.0


def without_drawings() -> None:
    """MediaPipe imports Matplotlib for drawings that are not used here; emulated, that takes 20 s."""
    for name in ("matplotlib", "matplotlib.pyplot"):
        sys.modules[name] = ModuleType(name)
    sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]


def checks(file: str, word: str) -> list[Callable[[], None]]:
    """Those of one file whose sentence has the word in it."""
    module = import_module(f"tests.vm.{file}")
    own = [value for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    return [check for check in own if check.__module__ == module.__name__ and word in check.__name__]


def passes(check: Callable[[], None]) -> bool:
    """Runs one check and prints how it went; the line before names it to the watcher."""
    started_s = time.monotonic()
    fault = ""
    sentence = check.__name__.replace("_", " ")
    print(f"{STARTED}{sentence}", flush=True)
    faulthandler.dump_traceback_later(CHECK_LIMIT_S, exit=True)
    try:
        check()
    except (Exception, KeyboardInterrupt):
        fault = traceback.format_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
    print(f"{FAILED if fault else PASSED} {time.monotonic() - started_s:5.1f} s  {sentence}", flush=True)
    if fault:
        print(fault, flush=True)
    return not fault


def report(word: str) -> int:
    """Runs every check; returns the exit status."""
    # tests/vm/init sends it when the watcher asks for the stacks. Imports come after: in emulation they take
    # 20 s.
    faulthandler.register(signal.SIGUSR2, chain=False)
    without_drawings()
    from tests.vm.devices import load_loopbacks, load_webcam

    without_devices = [check for file in BARE_CHECKS for check in checks(file, word)]
    with_devices = [check for file in CHECKS for check in checks(file, word)]
    results = [passes(check) for check in without_devices]
    load_webcam()
    load_loopbacks()
    results += [passes(check) for check in with_devices]
    print(
        f"{sum(results)} passed, {results.count(False)} failed, {time.monotonic():.0f} s by the guest's clock"
    )
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(report((sys.argv[1:] or [""])[0].replace(" ", "_")))
