"""A question to whoever sits at the terminal."""

import sys
from collections.abc import Mapping

from realtime.process.terminal_keys import in_foreground

ATTEMPTS = 3


def can_ask() -> bool:
    """Whether somebody can read a question and type an answer: at a terminal, with this program in front."""
    streams = (sys.stdin, sys.stderr)
    if any(stream is None or stream.closed or not stream.isatty() for stream in streams):
        return False
    return sys.platform == "win32" or in_foreground()


def ask(question: str, answers: Mapping[str, str]) -> str | None:
    """The answer, one of the keys of `answers`; None where none was given.

    Args:
        question: one sentence.
        answers: what can be typed, and what it means.
    """
    print(question, file=sys.stderr)
    for key, meaning in answers.items():
        print(f"  {key}  {meaning}", file=sys.stderr)
    for _ in range(ATTEMPTS):
        print(f"{', '.join(answers)}: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:  # Ctrl-D
            break
        if line.strip().lower() in answers:
            return line.strip().lower()
    return None
