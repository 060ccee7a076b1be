"""What the user reads when something cannot be used, and what native code prints by itself."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile

from engines.errors import PuppetError


def refused(kind: type[PuppetError], call: Callable) -> str:
    """Calls what must be refused; returns what the user reads, which is one sentence."""
    try:
        call().close()
    except kind as error:
        text = str(error)
        assert "\n" not in text and text.endswith("."), f"not one sentence: {text!r}"
        return text
    raise AssertionError(f"no {kind.__name__} was raised")


@contextmanager
def printed() -> Iterator[str]:
    """The name of a file that takes what native code, too, prints to stderr meanwhile."""
    with NamedTemporaryFile(dir="/run") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield file.name
        finally:
            os.dup2(kept, 2)
            os.close(kept)
