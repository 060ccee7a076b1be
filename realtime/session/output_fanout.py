"""Every picture of a live run to each of its outputs."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from engines.backends.interface import Notify, ignore
from engines.errors import OutputError
from realtime.output.contact_sheet import ContactSheet
from realtime.output.outputs import Output


class OutputFanout:
    """The outputs of a live run.

    One that fails, or that the user closes, is left out and the others go on.
    """

    def __init__(self, outputs: Sequence[Output], notify: Notify = ignore):
        """notify: called with a sentence when an output is left out."""
        self._threaded = [output for output in outputs if not output.main_thread]
        self._on_main = [output for output in outputs if output.main_thread]
        self._notify = notify
        self.failed: OutputError | None = None  # the first output that was left out

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Those that get pictures."""
        return (*self._threaded, *self._on_main)

    def add(self, output: Output) -> None:
        """Another output, from the next picture on. For any thread."""
        self._threaded.append(output)

    def remove(self, output: Output) -> None:
        """No more pictures for an output, except one that may be on its way. For any thread."""
        with suppress(ValueError):  # it was left out already
            self._threaded.remove(output)

    def send(self, image: np.ndarray, time_s: float) -> None:
        """A picture, as `Output.send`, to the outputs of any thread.

        Raises OutputError when the last output has failed.
        """
        for output in tuple(self._threaded):
            try:
                output.send(image, time_s)
            except OutputError as error:  # a full disk must not end the call
                self.remove(output)
                if not self._useful():
                    raise
                self.failed = self.failed or error
                self._notify(f"{error} The other outputs go on.")

    def send_on_main(self, image: np.ndarray, time_s: float) -> bool:
        """A picture to the outputs that only the main thread may use. Returns whether any output is left."""
        for output in tuple(self._on_main):
            output.send(image, time_s)
            if output.closed:
                self._on_main.remove(output)
                if not self._useful():
                    return False
                self._notify(f"The {output.name} was closed; the other outputs go on, Ctrl-C ends them.")
        return True

    def _useful(self) -> bool:
        """Whether any output is left but a contact sheet, which only accompanies others."""
        return not all(isinstance(output, ContactSheet) for output in (*self._threaded, *self._on_main))
