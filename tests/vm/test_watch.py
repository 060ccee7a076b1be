"""tests/vm/watch.py with a shell for a guest: limits, and what is printed when one is reached."""

import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.vm.watch import SKIPPED, Watch

ROOT = Path(__file__).parents[2]
SHORT_S = 1.0  # long enough for a shell to print a line on a busy machine
LONG_S = 60.0


def watch(
    script: str, check_limit_s: float = LONG_S, limit_s: float = LONG_S, answer_s: float = SHORT_S
) -> int:
    """The exit status for a guest that is a shell running the script."""
    with closing(Watch(["bash", "-c", script], check_limit_s, limit_s, answer_s)) as guest:
        return guest.run()


def test_lines_are_printed_and_those_for_the_watcher_are_not(capfd):
    script = "echo 'CHECK=a camera'; printf 'passed 0.1 s  a camera\\r\\n'; echo GUEST_EXIT=0"
    script += "; echo '[1] reboot: Power down'"
    assert watch(script) == 0
    assert capfd.readouterr().out == "passed 0.1 s  a camera\n"


def test_failed_check_is_the_guests_status():
    assert watch("echo 'CHECK=a camera'; echo 'FAILED 0.1 s  a camera'; echo GUEST_EXIT=1") == 1


def test_guest_that_cannot_mount_ends_with_its_stage():
    assert watch("echo GUEST_EXIT=91") == 91


def test_check_over_its_limit_is_named_and_what_the_guest_waits_for_is_printed(capfd):
    started_s = time.monotonic()
    script = "echo 'CHECK=a camera hangs'; read -r _; echo 'the stacks'; sleep 50"
    assert watch(script, check_limit_s=SHORT_S) == 1
    printed = capfd.readouterr().out.splitlines()
    assert "the stacks" in printed
    assert printed[-1].startswith("FAILED") and "a camera hangs: no result in 1 s" in printed[-1]
    assert time.monotonic() - started_s < 20


def test_check_within_its_limit_leaves_the_next_one_the_whole_of_it():
    checks = "".join(f"echo CHECK={n}; sleep 0.8; echo 'passed 1 s  {n}';" for n in range(4))
    assert watch(checks + "echo GUEST_EXIT=0", check_limit_s=2.0) == 0


def test_time_spent_waiting_for_a_processor_does_not_count_for_a_check(monkeypatch):
    monkeypatch.setattr(Watch, "_waited_s", lambda guest: time.monotonic() - 0.1)  # others ran all the time
    script = "echo CHECK=one; sleep 2; echo 'passed 2 s  one'; echo GUEST_EXIT=0"
    assert watch(script, check_limit_s=SHORT_S) == 0


def test_check_that_spins_reaches_its_limit(capfd):
    assert watch("echo CHECK=one; while :; do :; done", check_limit_s=SHORT_S, answer_s=0.1) == 1
    assert "one: no result in 1 s" in capfd.readouterr().out


def test_guest_that_never_starts_a_check_fails_by_name(capfd):
    assert watch("exec sleep 50", check_limit_s=SHORT_S, answer_s=0.1) == 1
    assert "the guest's start: no result" in capfd.readouterr().out


def test_machine_too_slow_for_all_checks_is_a_skip_that_names_the_last_one(capfd):
    script = "echo CHECK=one; echo 'passed 0.1 s  one'; echo CHECK=two; exec sleep 50"
    assert watch(script, limit_s=3.0) == SKIPPED
    printed = capfd.readouterr().out.splitlines()[-1]
    assert "in 3 s 1 checks passed" in printed and printed.endswith("two.")


def test_failure_before_the_time_is_over_stays_a_failure():
    script = "echo CHECK=one; echo 'FAILED 0.1 s  one'; echo CHECK=two; exec sleep 50"
    assert watch(script, limit_s=3.0) == 1


def test_check_that_ends_the_guest_is_named(capfd):
    assert watch("echo 'CHECK=a camera'; echo GUEST_EXIT=130") == 1
    assert "a camera: it ended the checks with status 130" in capfd.readouterr().out


def test_guest_that_dies_without_a_status_fails():
    assert watch("echo 'CHECK=a camera'; kill -9 $$") == 1


def test_sigterm_ends_the_guest():
    guest = "echo $$; exec sleep 50"
    command = [sys.executable, "-m", "tests.vm.watch", "60", "60", "bash", "-c", guest]
    watcher = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with watcher:
        pid = int(watcher.stdout.readline())
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait(20) == 130
    assert not Path(f"/proc/{pid}").exists()
