"""The command line of training: every option explains itself, and a bad value is refused before any work."""

import argparse

import pytest

from train.command_line import build_parser, parse


def subparsers() -> dict[str, argparse.ArgumentParser]:
    actions = build_parser()._actions
    steps = next(action for action in actions if isinstance(action, argparse._SubParsersAction))
    return dict(steps.choices)


@pytest.mark.parametrize("step", subparsers())
def test_every_option_of_a_step_has_a_line_of_help(step):
    parser = subparsers()[step]
    assert parser.description, f"{step} --help does not say what the step does"
    silent = [action.dest for action in parser._actions if not action.help]
    assert silent == [], f"{step} --help does not explain {silent}"
    assert "--help" in parser.format_help()


def test_prepare_help_states_what_is_held_out_by_default():
    text = " ".join(subparsers()["prepare"].format_help().split())
    assert (
        "portraits, drivers/d9, drivers/talk_a, drivers/smile_onset" in text and "4 % of the people" in text
    )


def test_hold_out_can_be_repeated_before_the_inputs():
    options = parse(["prepare", "--hold-out", "mine", "--hold-out", "lfw/Ada", "--out", "corpus", "faces"])
    assert options.hold_out == ["mine", "lfw/Ada"] and options.inputs == ["faces"]
    assert parse(["prepare", "--out", "corpus", "faces"]).hold_out is None


@pytest.mark.parametrize("wrong", [["--workers", "-1"], ["--batch", "0"], ["--images", "many"]])
def test_a_number_out_of_range_is_a_usage_error(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(["fit", "--corpus", "a", "--out", "b", *wrong])
    assert ended.value.code == 2
    assert wrong[1] in capsys.readouterr().err


def test_every_step_has_its_function():
    from train.__main__ import STEPS

    assert set(STEPS) == set(subparsers())
