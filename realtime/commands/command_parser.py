"""argparse's parser with three things that the commands need. Imports nothing heavy."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from realtime.process.program import as_typed


class CommandParser(argparse.ArgumentParser):
    """A parser that is filled when it is used: choosing one command must not load what another one needs."""

    def __init__(
        self,
        prog: str | None = None,
        *,
        fill: Callable[["CommandParser"], None] | None = None,
        intermixed: bool = False,
        **options: Any,
    ):
        """
        Args:
            prog: the program's name in messages.
            fill: adds the arguments; called once, before anything is parsed.
            intermixed: options may stand between positional arguments.
            options: as argparse's.
        """
        super().__init__(prog, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self._fill = fill
        self._intermixed = intermixed
        self._inside = False  # the intermixed parse, which argparse makes of plain ones

    def explain(self, manual: str, statuses: str) -> None:
        """What `--help` says above and below the options."""
        self.description = manual
        self.epilog = statuses

    def format_help(self) -> str:
        """The manual, with its commands as they are typed here."""
        return as_typed(super().format_help())

    def parse_known_args(  # type: ignore[override]  # typeshed has an overload for each kind of namespace
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        fill, self._fill = self._fill, None
        if fill:
            fill(self)
        if not self._intermixed or self._inside:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False
