"""What is said in hours of a call stays readable: each thing once, and never without end."""

import logging

from realtime import speech
from realtime.speech import BURST, BURST_S, REMEMBERED, REPEAT_S, Seldom


class Hours:
    """A clock that a test turns."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def passed(seldom: Seldom, sentence: str) -> str | None:
    record = logging.LogRecord("puppet", logging.INFO, "", 0, sentence, (), None)
    return record.getMessage() if seldom.filter(record) else None


def test_a_sentence_is_said_once_a_minute_and_then_with_how_often_it_was_kept_back():
    clock = Hours()
    seldom = Seldom(clock)
    assert passed(seldom, "The camera is back.") == "The camera is back."
    assert [passed(seldom, "The camera is back.") for _ in range(3)] == [None] * 3
    assert passed(seldom, "Another thing.") == "Another thing."
    clock.now_s += REPEAT_S
    assert passed(seldom, "The camera is back.") == "The camera is back. (and 3 times since it was said)"
    clock.now_s += REPEAT_S
    assert passed(seldom, "The camera is back.") == "The camera is back."


def test_sentences_that_differ_each_time_are_bounded_too():
    clock = Hours()
    seldom = Seldom(clock)
    for second in range(3600):
        clock.now_s += 1
        said = [passed(seldom, f"back after {second}.{number} s") for number in range(10)]
    assert said.count(None) in (0, 10)
    assert len(seldom._said) <= REMEMBERED
    clock.now_s += BURST_S
    assert sum(passed(seldom, f"{number}") is not None for number in range(1000)) == BURST


def test_figures_are_only_for_those_who_ask(capsys):
    speech.start()
    speech.LOG.debug("30 pictures a second")
    speech.say("live")
    assert capsys.readouterr().err == "live\n"
    speech.start(verbose=True)
    speech.LOG.debug("30 pictures a second")
    told = capsys.readouterr().err
    assert told.endswith("30 pictures a second\n") and told[2] == ":", "with the time"
