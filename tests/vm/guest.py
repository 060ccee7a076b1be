"""Runs the checks of tests/vm/run, in its guest, and reports them: the project's own code on real V4L2 devices.

    python -m tests.vm.guest [WORD]      WORD: only the checks whose sentence has it

A check is a public function of a check_*.py, and its name is a sentence; they run in the order of CHECKS and of their files.
The engine is tests.support.fakes.StubEngine, which paints the face green as the driver smiles: a network is for another test.
A mark in the clip's corner tells the smile where pictures are counted, so that nothing hangs on what a tracker makes of them.
"""

import faulthandler
import sys
import time
import traceback
from collections.abc import Callable
from types import ModuleType

from tests.vm import check_bare, check_camera, check_live, check_virtual_camera
from tests.vm.devices import load_loopbacks, load_webcam

CHECKS = (
    check_camera,
    check_virtual_camera,
    check_live,
)  # with the drivers loaded; the last one moves the webcam to another number
LONGEST_S = 90.0  # for one check; where it hangs is told then, and the guest ends


def without_drawings() -> None:
    """MediaPipe imports Matplotlib for drawings that nobody asks for; emulated, that takes 20 s."""
    for name in ("matplotlib", "matplotlib.pyplot"):
        sys.modules[name] = ModuleType(name)
    sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]


def checks(module: ModuleType, word: str) -> list[Callable[[], None]]:
    """Those of one file whose sentence has the word in it."""
    own = [value for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    return [check for check in own if check.__module__ == module.__name__ and word in check.__name__]


def passes(check: Callable[[], None]) -> bool:
    """Runs one check and tells how it went."""
    started_s, fault = time.monotonic(), ""
    faulthandler.dump_traceback_later(LONGEST_S, exit=True)
    try:
        check()
    except (Exception, KeyboardInterrupt):
        fault = traceback.format_exc()
    print(
        f"{'FAILED' if fault else 'passed'} {time.monotonic() - started_s:5.1f} s  {check.__name__.replace('_', ' ')}",
        flush=True,
    )
    if fault:
        print(fault, flush=True)
    return not fault


def report(word: str) -> int:
    """Every check, told as it ends; returns the exit status."""
    without_drawings()
    results = [passes(check) for check in checks(check_bare, word)]
    load_webcam()
    load_loopbacks()
    results += [passes(check) for module in CHECKS for check in checks(module, word)]
    print(
        f"{sum(results)} passed, {results.count(False)} failed, {time.monotonic():.0f} s by the guest's clock"
    )
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(report((sys.argv[1:] or [""])[0].replace(" ", "_")))
