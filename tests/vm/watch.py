"""Runs the guest of tests/vm/run, prints its lines, and ends it when a check, or all of them, take too long.

    python -m tests.vm.watch CHECK_LIMIT_S LIMIT_S COMMAND...

COMMAND starts the guest: its console is the command's standard input and output. The guest's own clock is of
no use for a limit: under emulation it counts instructions, and a second of it lasts from 1 to 30 s. So the
limits here are by this machine's clock:

    CHECK_LIMIT_S   for each check, and for the start before the first one, without the time for which the
                    guest waited for a processor. Then the guest is asked what it waits for, its answer is
                    printed, the guest ends, and the check has failed.
    LIMIT_S         for all of them together. When no check has failed, the machine is too slow or too busy
                    for them, which is a skip.

Exit status: 0 every check passed; 1 one failed; 77 skipped; 90 to 92 the guest could not mount this machine's
files; another one: the guest's checks ended with it.
"""

import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

# What the guest prints: the line before a check, the beginning of the line after it, and its exit status at
# the end.
STARTED = "CHECK="
PASSED = "passed"
FAILED = "FAILED"
EXIT = "GUEST_EXIT="

HIDDEN = (STARTED, EXIT)
POWER_DOWN = "reboot: Power down"
START = "the guest's start"
LOOK_S = 0.2  # between two looks at the limits
ANSWER_S = 15.0  # for the stacks, which take 1 to 5 s to print in emulation
MOST_LINES = 1000  # not printed yet; then the guest waits
SKIPPED = 77


class Watch:
    """The guest, seen from this machine: which check runs, since when, and how the guest ended."""

    def __init__(self, command: list[str], check_limit_s: float, limit_s: float, answer_s: float = ANSWER_S):
        """Starts the command. answer_s: how long the guest may take to say what it waits for."""
        self._check_limit_s = check_limit_s
        self._limit_s = limit_s
        self._answer_s = answer_s
        self._started_s = time.monotonic()
        self._passed = 0
        self._failed = 0
        self._status: int | None = None  # the guest's own
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_LINES)  # None: the guest has ended
        self._guest = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._begin(START)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def run(self) -> int:
        """Prints what the guest prints until it ends or a limit is reached.

        Returns:
            The exit status: 0, 1, SKIPPED, or the guest's own when it could not start.
        """
        while True:
            if self._check_s() > self._check_limit_s:
                self._ask()
                return self._fail(f"no result in {self._check_limit_s:g} s; the guest's answer is above")
            if time.monotonic() - self._started_s > self._limit_s:
                return self._out_of_time()
            try:
                line = self._lines.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            if line is None:
                return self._ended()
            self._take(line)

    def close(self) -> None:
        """Ends the guest, if it still runs."""
        self._guest.kill()
        self._guest.wait()
        with suppress(OSError):  # what was still to be written
            self._guest.stdin.close()
        self._listener.join(1.0)

    def _listen(self) -> None:
        with self._guest.stdout as lines:
            for line in lines:
                self._lines.put(line.replace("\r", "").rstrip("\n"))
        self._lines.put(None)

    def _take(self, line: str) -> None:
        """Notes what a line says, and prints it unless it is meant for this class alone."""
        if line.startswith(STARTED):
            self._begin(line.removeprefix(STARTED))
        elif line.startswith(PASSED):
            self._passed += 1
            self._begin("")
        elif line.startswith(FAILED):
            self._failed += 1
            self._begin("")
        elif line.startswith(EXIT):
            self._status = int(line.removeprefix(EXIT))
        self._print(line)

    @staticmethod
    def _print(line: str) -> None:
        if not line.startswith(HIDDEN) and POWER_DOWN not in line:
            print(line, flush=True)

    def _begin(self, check: str) -> None:
        """check: the one that runs now; "" between two of them and after the last one."""
        self._check = check
        self._check_started_s = time.monotonic()
        self._check_waited_s = self._waited_s()

    def _check_s(self) -> float:
        """How long the check has run, without the time for which the guest waited for a processor."""
        return time.monotonic() - self._check_started_s - (self._waited_s() - self._check_waited_s)

    def _waited_s(self) -> float:
        """How long the guest was ready to run while other processes ran; 0 where the system does not say."""
        waited_ns = [0]
        for file in Path(f"/proc/{self._guest.pid}/task").glob("*/schedstat"):
            with suppress(OSError, IndexError, ValueError):  # the thread has ended
                waited_ns.append(int(file.read_text().split()[1]))
        return max(waited_ns) / 1e9  # of the thread that is the guest's processor

    def _ask(self) -> None:
        """Asks the guest what it waits for, and prints its answer."""
        print(f"what the guest does in {self._sentence()}:", flush=True)
        try:
            self._guest.stdin.write("\n")
            self._guest.stdin.flush()
        except OSError:  # it has just ended
            return
        ends_s = time.monotonic() + self._answer_s
        while (left_s := ends_s - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left_s)
            except queue.Empty:
                return
            if line is None:
                return
            self._print(line)

    def _sentence(self) -> str:
        return self._check or "the time between two checks"

    def _fail(self, reason: str) -> int:
        print(f"{FAILED}  {self._sentence()}: {reason}", flush=True)
        return 1

    def _out_of_time(self) -> int:
        if self._failed:
            return self._fail(f"all the checks together took more than {self._limit_s:g} s")
        run_s = time.monotonic() - self._check_started_s
        print(
            f"tests/vm/run: skipped: this machine is too slow or too busy: in {self._limit_s:g} s "
            f"{self._passed} checks passed, and this one had run for {run_s:.0f} s: {self._sentence()}.",
            flush=True,
        )
        return SKIPPED

    def _ended(self) -> int:
        if self._status is None:
            return self._fail("the guest ended without a status")
        if self._status and self._check and self._check != START:
            return self._fail(
                f"it ended the checks with status {self._status}, or took too long by the guest's clock"
            )
        return self._status


def _leave(_number: int, _frame: object) -> NoReturn:
    sys.exit(130)


def main(arguments: list[str]) -> int:
    """Runs the guest; ends it when this process is asked to end."""
    signal.signal(signal.SIGTERM, _leave)
    check_limit_s, limit_s, *command = arguments
    watch = Watch(command, float(check_limit_s), float(limit_s))
    try:
        return watch.run()
    finally:
        watch.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
