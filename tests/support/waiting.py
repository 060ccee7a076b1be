"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable

# Only a defect takes this long. A loaded machine slows a program that takes 2 s to half a minute, and a short
# patience would test the machine.
PATIENCE_S = 120.0


def wait_for(
    condition: Callable[[], object], patience_s: float = PATIENCE_S, interval_s: float = 0.02
) -> None:
    """Returns when `condition` holds, which is asked every `interval_s`; fails after `patience_s`."""
    end_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end_s, f"it did not happen in {patience_s:g} s"
        time.sleep(interval_s)
