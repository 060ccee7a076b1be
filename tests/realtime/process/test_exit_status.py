"""Each fault is told once, whichever of several comes first."""

from contextlib import ExitStack
from functools import partial

import pytest

from engines.errors import OutputError
from realtime.process.exit_status import outcome
from realtime.session.opening import _close_output


class FullDisk:
    """An output whose disk is full: when pictures are sent, or only when it is finished."""

    main_thread = False
    closed = False

    def __init__(self, name: str, noticed: str):
        self.name = name
        self._noticed = noticed

    def send(self, _image: object, _time_s: float) -> None:
        if self._noticed == "send":
            raise OutputError(f"{self.name} is full", "free some space")

    def close(self) -> None:
        if self._noticed == "close":
            raise OutputError(f"{self.name} is full", "free some space")


@pytest.mark.parametrize("first, second", [("send", "close"), ("close", "close"), ("close", "send")])
def test_of_two_outputs_on_a_full_disk_each_is_reported_once(capsys, first, second):
    def work(_shutdown: object) -> int:
        with ExitStack() as stack:
            outputs = FullDisk("a.mp4", first), FullDisk("b.mp4", second)
            for output in outputs:
                stack.push(partial(_close_output, output))
            for output in outputs:
                output.send(None, 0.0)
        return 0

    assert outcome(work) == OutputError.exit_status
    said = capsys.readouterr().err
    assert said.count("a.mp4 is full") == said.count("b.mp4 is full") == 1


def test_what_was_told_while_the_program_went_on_is_not_told_again_at_its_end(capsys):
    def work(_shutdown: object) -> int:
        error = OutputError("The recording ended early", "free some space")
        error.told = True
        raise error

    assert outcome(work) == OutputError.exit_status
    assert capsys.readouterr().err == ""
