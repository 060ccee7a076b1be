"""The terminal of the program: its mode is restored, and in its background the program goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
ROOT = Path(__file__).parents[3]
# A shell's part: the program in the foreground of a terminal of its own, then in its background, typed into,
# and closed.
SHELL = """
import os, pty, signal, sys, termios, time
child, terminal = pty.fork()
if child == 0:
    from realtime.process.terminal_keys import TerminalKeys
    with TerminalKeys() as keys:
        assert keys.listens and not termios.tcgetattr(0)[3] & termios.ICANON
        os.write(2, b"ready")
        while not (typed := list(keys.keys())): time.sleep(0.01)
        assert typed == ["p"], typed
        shell = os.fork()
        if shell == 0:  # takes the terminal to itself, as a shell does after Ctrl-Z and bg
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpgrp())
            signal.pause()
        while os.tcgetpgrp(0) == os.getpgrp(): time.sleep(0.01)
        os.write(2, b"away")
        end_s = time.monotonic() + 0.5
        while time.monotonic() < end_s: assert not list(keys.keys())
    os.kill(shell, signal.SIGKILL)
    os._exit(7)
def until(text):
    output = b""
    while text not in output: output += os.read(terminal, 1024)
until(b"ready")
os.write(terminal, b"p")
until(b"away")
os.write(terminal, b"typed for the shell")
_, status = os.waitpid(child, os.WUNTRACED)
if os.WIFSTOPPED(status): os.kill(child, signal.SIGKILL)
sys.exit(99 if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status))
"""


def test_in_the_background_of_a_terminal_it_reads_nothing_and_is_not_stopped():
    ended = subprocess.run(
        [sys.executable, "-c", SHELL], cwd=ROOT, timeout=PATIENCE_S, capture_output=True, text=True
    )
    assert ended.returncode == 7, ended.stderr + ended.stdout
