"""Outputs that are opened and closed while the puppet is live."""

from collections.abc import Callable, Mapping

from engines.errors import OutputError
from realtime.output.outputs import Output
from realtime.output.reconnecting_virtual_camera import ReconnectingVirtualCamera
from realtime.session.output_fanout import OutputFanout

VIRTUAL_CAMERA = "vcam"
ON, OFF, LOST = "on", "off", "away"


class OutputSwitcher:
    """The outputs of a run by their names, as --output gives them. For the main thread."""

    def __init__(
        self,
        fanout: OutputFanout,
        open_output: Callable[[str], Output],
        opened: Mapping[str, Output],
        say: Callable[[str], None],
    ):
        """
        Args:
            fanout: sends pictures to those that are on.
            open_output: a name -> its output. Raises OutputError.
            opened: those that are on already; closed by whoever opened them.
            say: called with a sentence about a fault of closing.
        """
        self._fanout = fanout
        self._open_output = open_output
        self._say = say
        self._on = dict(opened)
        self._own: set[str] = set()  # that were opened here

    def states(self) -> dict[str, str]:
        """ON, OFF or LOST of each output that can be switched, or that is on."""
        names = dict.fromkeys([VIRTUAL_CAMERA, *self._on])
        return {name: self._state(self._on.get(name)) for name in names}

    def switch(self, name: str, on: bool) -> None:
        """Raises OutputError where it cannot be opened."""
        output = self._on.get(name)
        if on == (output is not None and self._state(output) != OFF):
            return
        if output is not None:
            self._take_out(name, output)
        if on:
            opened = self._open_output(name)
            self._on[name] = opened
            self._own.add(name)
            self._fanout.add(opened)

    def close(self) -> None:
        """Closes what was opened here."""
        for name, output in list(self._on.items()):
            if name in self._own:
                self._take_out(name, output)

    def _take_out(self, name: str, output: Output) -> None:
        del self._on[name]
        self._own.discard(name)
        self._fanout.remove(output)
        try:
            output.close()
        except OutputError as error:  # the call goes on
            self._say(str(error))

    def _state(self, output: Output | None) -> str:
        if output is None or output not in self._fanout.outputs:
            return OFF
        return LOST if isinstance(output, ReconnectingVirtualCamera) and output.lost else ON
