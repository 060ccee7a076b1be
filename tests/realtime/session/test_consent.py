"""Who is in a photo: asked once, kept with the date, and never in the way of a run without a terminal."""

import datetime
import os
import shutil
import stat
import sys

import cv2
import numpy as np
import pytest

from engines.errors import SettingsError, SourceError
from realtime.commands import animate
from realtime.commands.options import CONSENTS
from realtime.session import batch, consent, session
from realtime.session.consent import consent_file, load, settle
from realtime.session.fingerprints import fingerprint
from tests.conftest import SAMPLES

TODAY = datetime.date.today().isoformat()


@pytest.fixture(autouse=True)
def empty_settings(tmp_path, monkeypatch):
    """Nothing was answered yet, and there is no terminal."""
    monkeypatch.setenv("PUPPET_SETTINGS", str(tmp_path / "settings"))
    monkeypatch.setattr(consent, "can_ask", lambda: False)


@pytest.fixture
def photos(tmp_path):
    """Three pictures that nobody was asked about."""
    paths = [tmp_path / f"{name}.png" for name in ("ann", "bob", "cat")]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((8, 8, 3), number, np.uint8))
    return paths


def test_the_option_takes_every_answer():
    assert tuple(consent.ANSWERS) == CONSENTS


class Somebody:
    """Answers, and remembers what they were asked."""

    def __init__(self, answer: str | None):
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, question, answers):
        self.asked.append(question)
        assert self.answer is None or self.answer in answers
        return self.answer


def test_a_photo_is_asked_about_once_whatever_its_name(photos, tmp_path):
    somebody = Somebody("2")
    assert settle(photos[:1], None, somebody)
    copy = shutil.copy(photos[0], tmp_path / "other name.jpg")
    assert settle([copy, photos[0]], None, somebody)
    assert somebody.asked == ["Who is in the photo ann.png? This is asked once."]
    assert load() == {fingerprint(photos[0]): consent.Consent("agreed", TODAY, "ann.png")}


def test_a_folder_is_one_question_and_another_photo_one_more(photos):
    somebody = Somebody("1")
    assert settle(photos[:2], None, somebody) and settle(photos, None, somebody)
    assert "ann.png, bob.png" in somebody.asked[0] and "cat.png" in somebody.asked[1]
    assert {kept.answer for kept in load().values()} == {"mine"} and len(load()) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="names made of any bytes")
def test_a_name_that_is_no_text_is_kept_as_far_as_it_is_one(photos, capsys):
    odd = photos[0].with_name(os.fsdecode(b"f\xffce.png"))
    shutil.copy(photos[0], odd)
    assert settle([odd], "mine") and settle([odd], None)
    assert animate.main(["consent", "list"]) == 0 and "ce.png" in capsys.readouterr().out


def test_somebody_who_did_not_agree_is_not_animated(photos):
    with pytest.raises(SourceError, match="agreed"):
        settle(photos[:1], None, Somebody("no"))
    assert load() == {}


@pytest.mark.parametrize("question", [None, Somebody(None)], ids=["no terminal", "no answer"])
def test_where_nobody_answers_it_is_said_once_and_nothing_is_kept(photos, question):
    said = []
    assert not settle(photos, None, question, said.append)
    assert len(said) == 1 and "--consent" in said[0] and "marked as animated" in said[0]
    assert load() == {}


def test_scripts_answer_by_an_option_which_wins_over_what_was_kept(photos):
    assert settle(photos[:1], "nobody")
    assert settle(photos[:1], None), "known from now on"
    assert settle(photos[:1], "mine")
    assert [kept.answer for kept in load().values()] == ["mine"]


def test_an_answer_that_is_given_again_keeps_its_date(photos, monkeypatch):
    earlier = consent.Consent("mine", "2020-01-31", "ann.png")
    consent.keep({fingerprint(photos[0]): earlier})
    settle(photos[:1], "mine")
    assert list(load().values()) == [earlier]


def test_samples_need_no_answer_and_what_is_no_picture_is_refused_elsewhere(tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    samples = [shutil.copy(SAMPLES / "woman.jpg", tmp_path / "copy.jpg"), SAMPLES / "man.jpg"]
    assert settle([*samples, tmp_path / "text.jpg", tmp_path / "missing.png"], None)
    assert not consent_file().exists()


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such permissions there")
def test_the_answers_are_their_owners_alone(photos):
    settle(photos, "mine")
    assert stat.S_IMODE(consent_file().stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["{", "[]", '{"a": {"answer": 1}}'])
def test_answers_that_cannot_be_read_are_named(photos, content):
    consent_file().parent.mkdir()
    consent_file().write_text(content)
    with pytest.raises(SettingsError, match=r"consent\.json"):
        settle(photos, None)


def test_answers_that_cannot_be_kept_are_asked_for_again(photos, monkeypatch):
    said = []
    monkeypatch.setattr(consent, "warn", said.append)
    consent_file().parent.write_text("a file where the folder should be")
    consent.keep({"a": consent.Consent("mine", TODAY, "ann.png")})
    assert len(said) == 1 and "asked again" in said[0]


def test_the_command_lists_what_was_answered(photos, capsys):
    assert animate.main(["consent", "list"]) == 0
    assert "consent.json" in capsys.readouterr().out
    settle(photos[:1], "mine"), settle(photos[1:2], "nobody")
    assert animate.main(["consent", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [TODAY, "mine", fingerprint(photos[0])[:12], "ann.png"]
    assert lines[1].split()[1] == "nobody" and len(lines) == 2


@pytest.mark.parametrize("answer, marked", [(None, True), ("mine", False)])
@pytest.mark.parametrize("command", ["animate", "render"])
def test_without_an_answer_every_picture_is_marked_whatever_the_options(
    photos, monkeypatch, tmp_path, capsys, answer, marked, command
):
    """--no-badge holds once somebody has said who is in the photo. Both stop where drawing would begin."""
    drawn_with = []

    def stop(config, *_more):
        drawn_with.append(config)
        raise SourceError("Far enough")

    monkeypatch.setattr(session, "run_offline", stop)
    monkeypatch.setattr(batch, "_Batch", stop)
    curve, photo, out = str(SAMPLES / "smile.csv"), str(photos[0]), str(tmp_path / "own.mp4")
    names = ["--source", photo, "--driver", curve, "--output", out]
    if command == "render":
        names = ["render", curve, photo, out]
    answered = ["--consent", answer] if answer else []
    assert animate.main([*names, "--no-badge", *answered]) == SourceError.exit_status
    (config,) = drawn_with
    assert config.badge == marked
    assert ("It was not said who is in the photo ann.png" in capsys.readouterr().err) == marked
    assert len(load()) == (not marked)
