"""A question at a real terminal, and where there is none."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
ASK = """
from realtime.process.question import ask, can_ask
print("can", can_ask(), flush=True)
if can_ask():
    print("got", ask("Which?", {"1": "one", "2": "two"}), flush=True)
"""
AT_A_TERMINAL = """
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
os.write(terminal, sys.argv[2].encode().decode("unicode_escape").encode())
output = b""
try:
    while data := os.read(terminal, 1024): output += data
except OSError: pass  # the child has ended
os.waitpid(child, 0)
print(output.decode())
"""


def at_a_terminal(typed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", AT_A_TERMINAL, ASK, typed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize(
    "typed, got", [("2\\n", "2"), ("what\\n\\n 1 \\n", "1"), ("a\\nb\\nc\\n2\\n", "None"), ("\\x04", "None")]
)
def test_a_terminal_is_asked_until_it_is_answered(typed, got):
    said = at_a_terminal(typed)
    assert "can True" in said and "Which?" in said and "2  two" in said
    assert f"got {got}" in said


def test_without_a_terminal_nobody_is_asked():
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, input="1\n"
    )
    assert done.stdout == "can False\n" and done.returncode == 0
