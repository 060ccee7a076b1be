"""A driver's profile: saved, loaded, refused; and what it makes of readings."""

import json
import os
import stat
import sys

import numpy as np
import pytest

from engines.errors import SettingsError
from engines.face.action_units import WIDE
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


def jittering(look: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    return np.clip(look + np.random.default_rng(seed).normal(0, 0.01, (count, len(ESTIMATED))), 0, 1).astype(
        np.float32
    )


@pytest.fixture
def profile() -> driver_profile.Profile:
    steps = [
        speak(ESTIMATED, AU12=0.5, AU06=0.4),
        speak(ESTIMATED, AU01=0.25, AU02=0.6),
        speak(ESTIMATED, AU45=0.6),
        speak(ESTIMATED, AU26=0.1),
    ]
    return of_steps(jittering(REST, 60), [jittering(REST + step, 60, i) for i, step in enumerate(steps)])


def test_what_was_shown_fills_the_range_and_rest_stays_at_rest(profile):
    for au, reach in (("AU12", 0.5), ("AU06", 0.4), ("AU01", 0.25), ("AU02", 0.6), ("AU45", 0.6)):
        change = profile.change(speak(ESTIMATED, **{au: reach}))[index([au])]
        assert change.min() >= 0.8 and change.max() <= 1, au
    rest = np.array([profile.change(row[:29] - profile.neutral) for row in jittering(REST, 300, 9)])
    assert np.percentile(np.abs(rest), 95, axis=0).max() <= 0.03


def test_what_was_not_shown_keeps_the_general_scale_and_no_gain_is_absurd(profile):
    for au in ("AU26", "AU09"):
        assert profile.full[index([au])] == 1
        assert profile.change(speak(ESTIMATED, **{au: 0.5}))[index([au])] == pytest.approx(0.5, abs=0.04)
    assert profile.gain.max() <= MOST_GAIN
    assert profile.change(np.full(len(ESTIMATED), 1.0, np.float32)).max() <= 1


def test_a_side_that_was_not_shown_goes_with_the_other():
    wink = REST + speak(ESTIMATED, AU45L=0.5, AU12R=0.3, AU12L=0.15)
    found = of_steps(jittering(REST, 60), [jittering(wink, 60)])
    for au in ("AU45", "AU12"):
        right, left = found.gain[index([au])]
        assert right == left > 1.3


def test_below_rest_a_change_is_what_it_was_but_for_the_noise(profile):
    lids = index(["AU05"])
    assert profile.change(speak(ESTIMATED, AU05=-0.2))[lids] == pytest.approx(
        -0.2 + profile.noise[lids], abs=1e-6
    )


def test_in_a_clip_of_a_talker_rest_is_found_between_the_talk():
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


def test_a_profile_is_loaded_as_it_was_saved_and_readable_by_its_owner_alone(profile, own_folder):
    path = profile.save(driver_profile.path_of("work cam"))
    assert path.parent == own_folder and driver_profile.names() == ["work cam"]
    again = load("work cam")
    for name in driver_profile.NUMBERS:
        assert getattr(again, name) == pytest.approx(getattr(profile, name), abs=1e-4)
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    profile.save(path)  # over an earlier one
    assert os.listdir(own_folder) == ["work cam.json"], "no partial file is left"


def refusal(name_or_file: str) -> str:
    """The sentence with which loading is refused."""
    with pytest.raises(SettingsError) as caught:
        load(name_or_file)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


def test_an_unknown_name_is_refused_with_those_that_are_known(profile):
    assert "none is kept yet" in refusal("carla")
    profile.save(driver_profile.path_of("anna"))
    profile.save(driver_profile.path_of("ben"))
    sentence = refusal("carla")
    assert "anna, ben" in sentence and "run.py calibrate --name carla" in sentence
    assert "missing.json" in refusal("missing.json")
    for name in ("../anna", "a/b", "", "x" * 80):
        assert "no name for a profile" in refusal(name)


def test_every_fault_of_a_profile_is_one_sentence_with_file_line_and_remedy(profile, tmp_path):
    path = profile.save(tmp_path / "mine.json")
    source = path.read_text()

    def broken(old: str, new: str) -> str:
        assert old in source
        path.write_text(source.replace(old, new, 1))
        sentence = refusal(str(path))
        assert sentence.startswith(str(path)) and "run.py calibrate" in sentence
        return sentence

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
    assert "noise of AU12L is NaN" in broken(
        au12, '  "AU12L": {"neutral": 0.1, "full": 0.5, "noise": NaN, "gain": 1},'
    )
    assert "gain of AU12L is True" in broken(
        au12, '  "AU12L": {"neutral": 0.1, "full": 0.5, "noise": 0.01, "gain": true},'
    )
    assert f"line {line}: gain of AU12L is 9999" in broken(
        au12, '  "AU12L": {"neutral": 0.1, "full": 0.5, "noise": 0.01, "gain": ' + 400 * "9" + "},"
    )
    assert f"line {line}: neutral of AU12L is missing" in broken(au12, '  "AU12L": null,')
    assert "is no profile" in broken('"profile": 1', '"profile": ' + 5000 * "9")
    assert "this is no profile" in broken(source, json.dumps({"strength": 1}))
    assert "this is no profile" in broken(source, "[1, 2]")
    path.write_bytes(b"\xff\xfe\x00")
    assert "no text in UTF-8" in refusal(str(path))
    path.write_text("[" * 90_000)
    assert str(path) in refusal(str(path))
    path.write_text(" " * 200_000)
    assert "too large" in refusal(str(path))


def test_an_earlier_estimators_profile_loads_without_aus_of_other_scales(profile, tmp_path):
    path = profile.save(tmp_path / "mine.json")
    source = path.read_text().replace(VERSION, driver_profile.EARLIER)
    path.write_text(source.replace('"profile": 1', '"profile": 1, "remark": "before a window"'))
    earlier = load(str(path))
    assert earlier.estimator == driver_profile.EARLIER
    remeasured = index(driver_profile.REMEASURED)
    kept = [i for i in range(len(WIDE)) if i not in remeasured]
    assert np.isnan(earlier.neutral[remeasured]).all() and (earlier.gain[remeasured] == 1).all()
    for name in driver_profile.NUMBERS:
        assert getattr(earlier, name)[kept] == pytest.approx(getattr(profile, name)[kept], abs=1e-4)


def test_a_profile_that_cannot_be_written_is_refused(profile, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        profile.save(tmp_path / "file" / "mine.json")
