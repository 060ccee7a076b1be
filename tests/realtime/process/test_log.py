"""What is said in hours of a call stays readable: each thing once, and never without end."""

import logging
import subprocess
import sys
from pathlib import Path

from realtime.controls import Controls
from realtime.process import log
from realtime.process.log import BURST, BURST_S, REMEMBERED, REPEAT_S, RepeatFilter


class Clock:
    """A clock that a test turns."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def passed(repeat_filter: RepeatFilter, sentence: str) -> str | None:
    record = logging.LogRecord("puppet", logging.INFO, "", 0, sentence, (), None)
    return record.getMessage() if repeat_filter.filter(record) else None


def test_a_sentence_is_said_once_a_minute_and_then_with_how_often_it_was_kept_back():
    clock = Clock()
    repeat_filter = RepeatFilter(clock)
    assert passed(repeat_filter, "The camera is back.") == "The camera is back."
    assert [passed(repeat_filter, "The camera is back.") for _ in range(3)] == [None] * 3
    assert passed(repeat_filter, "Another thing.") == "Another thing."
    clock.now_s += REPEAT_S
    assert (
        passed(repeat_filter, "The camera is back.") == "The camera is back. (and 3 times since it was said)"
    )
    clock.now_s += REPEAT_S
    assert passed(repeat_filter, "The camera is back.") == "The camera is back."


def test_sentences_that_differ_each_time_are_bounded_too():
    clock = Clock()
    repeat_filter, said = RepeatFilter(clock), 0
    for second in range(3600):
        clock.now_s += 1
        said += sum(
            passed(repeat_filter, f"back after {second}.{number} s") is not None for number in range(10)
        )
    assert said == 3600 / BURST_S * BURST
    assert len(repeat_filter._logged) <= REMEMBERED
    clock.now_s += BURST_S
    assert sum(passed(repeat_filter, f"{number}") is not None for number in range(1000)) == BURST


def test_repeats_silence_no_other_sentence():
    repeat_filter = RepeatFilter(Clock())
    for _ in range(10 * BURST):
        passed(repeat_filter, "The camera is back.")
    assert passed(repeat_filter, "The disk is full.")


def test_every_answer_to_a_key_is_said(capsys):
    log.start()
    controls = Controls(log.answer)
    for _ in range(3):
        controls.toggle_panic()
    assert capsys.readouterr().err.splitlines()[-1].startswith("The still photo is shown")


def test_what_is_logged_while_libraries_are_silenced_appears_and_two_of_them_leave_standard_error_open():
    code = """
import os, sys
from engines.quiet import quiet_stderr
from realtime.process import log
log.start()
one, other = quiet_stderr(), quiet_stderr()
one.__enter__(); other.__enter__()
log.say("live"); os.write(2, b"Qt has no fonts")
one.__exit__(); other.__exit__()
print("still open", file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert done.stderr.splitlines() == ["live", "still open"]


def test_beside_progress_bars_a_sentence_is_written_once():
    code = """
import sys
from tqdm import tqdm
from realtime.process import log
log.start()
with tqdm(total=2, desc="all", file=sys.stderr) as bar:
    log.say("wrote a.mp4")
    bar.update()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert done.stderr.count("wrote a.mp4") == 1 and "wrote a.mp4" in done.stderr.splitlines()


def test_figures_are_logged_with_verbose_only(capsys):
    log.start()
    log.LOG.debug("30 pictures a second")
    log.say("live")
    assert capsys.readouterr().err == "live\n"
    log.start(verbose=True)
    log.LOG.debug("30 pictures a second")
    err = capsys.readouterr().err
    assert err.endswith("30 pictures a second\n") and err[2] == ":", "with the time"
