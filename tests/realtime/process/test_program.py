"""Messages name commands as the user types them: `run.py` in a clone, `puppet` where it is installed."""

import pytest

from engines.errors import PuppetError
from realtime.process import program
from realtime.tracking import driver_profile


@pytest.fixture(params=[program.CLONE, program.SCRIPT])
def name(request, monkeypatch) -> str:
    monkeypatch.setattr(program, "_name", program.CLONE)
    program.start_as(request.param)
    return request.param


def test_a_command_is_named_after_what_was_started(name):
    assert program.typed("doctor") == f"{name} doctor"
    manual = program.as_typed("  python run.py --demo\nsee run.py render --help")
    if name == program.SCRIPT:
        assert manual == "  puppet --demo\nsee puppet render --help"
        assert program.in_shell("doctor") == "puppet doctor"
    else:
        assert manual == "  python run.py --demo\nsee run.py render --help"
        assert program.in_shell("doctor") == "python run.py doctor"


def test_a_profile_that_is_missing_or_damaged_names_the_command_that_makes_one(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PUPPET_SETTINGS", str(tmp_path))
    (tmp_path / "me.json").write_text("{}")
    for profile, command in (("me", "calibrate --name me"), (str(tmp_path / "me.json"), "calibrate")):
        with pytest.raises(PuppetError) as refused:
            driver_profile.load(profile)
        said = refused.value.sentence({})
        assert f"`{name} {command}`" in said and said.count("run.py") == (name == program.CLONE)
