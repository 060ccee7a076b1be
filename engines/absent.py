"""Imports of a library without those parts that are not used here: each start would take time for them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def absent(names: Sequence[str]) -> Iterator[None]:
    """While the block runs, an import of one of these modules gives an empty one, if it was not there before.

    Args:
        names: packages before their modules.
    """
    empty = {name: ModuleType(name) for name in names if name not in sys.modules}
    for name, module in empty.items():
        package, _, last = name.rpartition(".")
        if parent := empty.get(package, sys.modules.get(package)):
            setattr(parent, last, module)
    sys.modules.update(empty)
    try:
        yield
    finally:
        for name in empty:
            sys.modules.pop(name, None)
