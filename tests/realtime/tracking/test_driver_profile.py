"""A driver's profile: kept, found, refused; and what it makes of readings."""

import json
import os
import stat
import sys

import numpy as np
import pytest

from engines.errors import SettingsError
from engines.face.au_estimator import ESTIMATED, VERSION, index
from realtime.calibration.profile_fit import of_clip, of_steps
from realtime.tracking import driver_profile
from realtime.tracking.driver_profile import MOST_GAIN, load
from tests.realtime.tracking.test_neutral_drift import FPS, REST, talking
from tests.support.fakes import speak


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(driver_profile.FOLDER_ENV, str(tmp_path / "kept"))
    return tmp_path / "kept"


def trembling(look: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    return np.clip(look + np.random.default_rng(seed).normal(0, 0.01, (count, len(ESTIMATED))), 0, 1).astype(
        np.float32
    )


@pytest.fixture
def mine() -> driver_profile.Profile:
    steps = [
        speak(ESTIMATED, AU12=0.5, AU06=0.4),
        speak(ESTIMATED, AU01=0.25, AU02=0.6),
        speak(ESTIMATED, AU45=0.6),
        speak(ESTIMATED, AU26=0.1),
    ]
    return of_steps(trembling(REST, 60), [trembling(REST + step, 60, i) for i, step in enumerate(steps)])


def test_what_was_asked_for_fills_the_range_and_rest_stays_at_rest(mine):
    for au, reach in (("AU12", 0.5), ("AU06", 0.4), ("AU01", 0.25), ("AU02", 0.6), ("AU45", 0.6)):
        change = mine.change(speak(ESTIMATED, **{au: reach}))[index([au])]
        assert change.min() >= 0.8 and change.max() <= 1, au
    rest = np.array([mine.change(row[:29] - mine.neutral) for row in trembling(REST, 300, 9)])
    assert np.percentile(np.abs(rest), 95, axis=0).max() <= 0.03


def test_what_was_not_shown_keeps_the_general_scale_and_no_gain_is_absurd(mine):
    for au in ("AU26", "AU09"):
        assert mine.full[index([au])] == 1
        assert mine.change(speak(ESTIMATED, **{au: 0.5}))[index([au])] == pytest.approx(0.5, abs=0.04)
    assert mine.gain.max() <= MOST_GAIN
    assert mine.change(np.full(len(ESTIMATED), 1.0, np.float32)).max() <= 1


def test_a_side_that_was_not_shown_goes_with_the_other():
    wink = REST + speak(ESTIMATED, AU45L=0.5, AU12R=0.3, AU12L=0.15)
    found = of_steps(trembling(REST, 60), [trembling(wink, 60)])
    for au in ("AU45", "AU12"):
        right, left = found.gain[index([au])]
        assert right == left > 1.3


def test_below_rest_a_change_is_what_it_was_but_for_the_noise(mine):
    lids = index(["AU05"])
    assert mine.change(speak(ESTIMATED, AU05=-0.2))[lids] == pytest.approx(-0.2 + mine.noise[lids], abs=1e-6)


def test_a_clip_of_somebody_who_talks_tells_rest_from_talk():
    still = [REST] * 40
    clip = np.array(
        [
            *(talking(t) for t in np.arange(0, 8, 1 / FPS)),
            *still,
            *(talking(t) for t in np.arange(8, 16, 1 / FPS)),
        ]
    )
    clip[::45] += speak(ESTIMATED, AU45=0.7)
    found = of_clip(
        np.clip(clip + np.random.default_rng(0).normal(0, 0.005, clip.shape), 0, 1).astype(np.float32)
    )
    assert found.neutral == pytest.approx(REST[:29], abs=0.03)
    reached = found.change(np.percentile(clip, 98, axis=0)[:29] - found.neutral)
    assert reached[index(["AU25", "AU26", "AU18"])].min() >= 0.8


def test_a_profile_comes_back_as_it_was_kept_for_its_owner_alone(mine, own_folder):
    path = mine.save(driver_profile.place("work cam"))
    assert path.parent == own_folder and driver_profile.names() == ["work cam"]
    again = load("work cam")
    for name in driver_profile.NUMBERS:
        assert getattr(again, name) == pytest.approx(getattr(mine, name), abs=1e-4)
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    mine.save(path)  # over an earlier one
    assert os.listdir(own_folder) == ["work cam.json"], "nothing half written is left"


def refusal(text: str) -> str:
    with pytest.raises(SettingsError) as told:
        load(text)
    said = str(told.value)
    assert "\n" not in said and said.endswith(".")
    return said


def test_an_unknown_name_is_told_with_those_that_are_known(mine):
    assert "none is kept yet" in refusal("nobody")
    mine.save(driver_profile.place("anna"))
    mine.save(driver_profile.place("ben"))
    said = refusal("nobody")
    assert "anna, ben" in said and "run.py calibrate --name nobody" in said
    assert "missing.json" in refusal("missing.json")
    for name in ("../anna", "a/b", "", "x" * 80):
        assert "no name for a profile" in refusal(name)


def test_every_fault_of_a_profile_is_one_sentence_with_file_line_and_cure(mine, tmp_path):
    path = mine.save(tmp_path / "mine.json")
    source = path.read_text()

    def broken(old: str, new: str) -> str:
        assert old in source
        path.write_text(source.replace(old, new, 1))
        said = refusal(str(path))
        assert said.startswith(str(path)) and "run.py calibrate" in said
        return said

    au12 = next(line for line in source.splitlines() if '"AU12L"' in line)
    line = source.splitlines().index(au12) + 1
    assert f"line {line}: this is no JSON" in broken(au12, au12.replace(":", " "))
    assert "line 1: this profile is of version 2, this program's is 1" in broken(
        '"profile": 1', '"profile": 2'
    )
    assert f"estimator other-3, this program's is {VERSION}" in broken(VERSION, "other-3")
    assert f"line {line}: this profile is of another set of AUs (AU99 is not known)" in broken(
        '"AU12L"', '"AU99"'
    )
    assert "(AU12L is missing)" in broken(au12 + "\n", "")
    assert f"line {line}: neutral of AU12L is 1.5: write a number from 0 to 1" in broken(
        au12, '  "AU12L": {"neutral": 1.5},'
    )
    assert f"line {line}: gain of AU12L is missing" in broken(
        au12, '  "AU12L": {"neutral": 0.1, "full": 0.5, "noise": 0.01},'
    )
    assert "noise of AU12L is nan" in broken(
        au12, '  "AU12L": {"neutral": 0.1, "full": 0.5, "noise": NaN, "gain": 1},'
    )
    assert "gain of AU12L is True" in broken(
        au12, '  "AU12L": {"neutral": 0.1, "full": 0.5, "noise": 0.01, "gain": true},'
    )
    assert "this is no profile" in broken(source, json.dumps({"strength": 1}))
    assert "this is no profile" in broken(source, "[1, 2]")
    path.write_bytes(b"\xff\xfe\x00")
    assert "no text in UTF-8" in refusal(str(path))
    path.write_text("[" * 90_000)
    assert str(path) in refusal(str(path))
    path.write_text(" " * 200_000)
    assert "too large" in refusal(str(path))


def test_a_profile_that_cannot_be_written_is_told(mine, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        mine.save(tmp_path / "file" / "mine.json")
