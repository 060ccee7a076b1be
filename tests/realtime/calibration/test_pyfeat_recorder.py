"""py-feat's own range of a driver: learnt in MediaPipe's lesson, kept in the profile, used with it."""

import itertools

import numpy as np
import pytest

from engines.errors import EngineError
from engines.face.action_units import WIDE
from engines.face.au_estimator import ESTIMATED
from engines.face.pyfeat import AUS, FULL, Scale
from realtime.calibration import lesson
from realtime.calibration.lesson_state import STEPS
from realtime.calibration.pyfeat_recorder import PyFeatRecorder
from realtime.commands import animate
from realtime.messages import Frame
from realtime.process.log import LOG
from realtime.session import opening
from realtime.tracking import driver_profile, estimator_fusion
from realtime.tracking.background_estimator import EveryFrame
from tests.conftest import SAMPLES
from tests.realtime.calibration.test_lesson import Film, Lesson, Pane
from tests.realtime.tracking.test_estimator_fusion import FACE, Scripted

# What it reads of a driver whose cheeks go up to .6: a smile shows it, a frown leaks into the nose.
RESTING = {"AU06": 0.3, "AU09": 0.25}
SHOWN = {"smile": {"AU06": 0.6, "AU12": 0.8}, "frown": {"AU04": 0.7, "AU09": 0.5}}
CLIP = str(SAMPLES / "driver.mp4")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(driver_profile.FOLDER_ENV, str(tmp_path / "kept"))
    yield tmp_path / "kept"
    LOG.handlers.clear()  # which a command gave the test's own standard error


def reads(**aus: float) -> np.ndarray:
    return np.array([aus.get(au, 0.1) for au in AUS], np.float32)


def of(values: np.ndarray, au: str) -> float:
    return float(values[AUS.index(au)])


def taught(slow_of, **acts) -> tuple[Lesson, PyFeatRecorder, list[str]]:
    """A finished lesson, its recorder, and what was said; slow_of: makes the estimator of a face's AUs."""
    lesson, asked, said = Lesson(**acts), [], []

    def says(time_s: float) -> np.ndarray:
        begun = [(step, since_s) for since_s, step in asked if since_s <= time_s]
        step, since_s = begun[-1] if begun else ("rest", 0.0)
        return reads(**{**RESTING, **(SHOWN.get(step, {}) if time_s - since_s > 0.5 else {})})

    recorder, feed = PyFeatRecorder(slow_of(says), said.append), lesson.state.feed

    def watched(reading, time_s: float, note: str = "") -> None:
        if not asked or asked[-1][1] != lesson.state.step.name:
            asked.append((time_s, lesson.state.step.name))
        if reading is not None:
            assert recorder(reading, Frame(np.zeros((4, 4, 3), np.uint8), time_s), FACE) is reading
        feed(reading, time_s, note)

    lesson.state.feed = watched
    lesson.play()
    recorder.close()
    return lesson, recorder, said


@pytest.mark.parametrize("delay_s", [0.03, 0.9])
def test_answers_count_for_the_step_of_their_frame_however_late_they_come(delay_s):
    lesson, recorder, said = taught(lambda says: Scripted(says, period_s=0.3, delay_s=delay_s))
    scale = recorder.of_steps(lesson.state.shown_s)
    assert of(scale.rest, "AU06") == pytest.approx(0.3) and of(scale.full, "AU06") == pytest.approx(0.6)
    assert of(scale.rest, "AU09") == pytest.approx(0.25), "the frown after it is no rest"
    assert not said


def test_what_leaks_into_a_step_is_no_strength_and_what_was_not_asked_for_keeps_the_default():
    lesson, recorder, _ = taught(Scripted)
    scale = recorder.of_steps(lesson.state.shown_s)
    assert of(scale.full, "AU09") == of(scale.full, "AU15") == pytest.approx(FULL)
    assert of(scale.full, "AU04") == pytest.approx(0.7)
    assert of(scale.change(reads(AU09=0.5)), "AU09") < 0.5, "a frown is no full nose wrinkle"


def test_a_step_that_was_not_shown_teaches_nothing():
    lesson, recorder, _ = taught(Scripted, smile={"AU12": 0.02})
    assert "smile" not in lesson.state.shown_s and list(lesson.state.shown_s) == [
        s.name for s in STEPS if s.name != "smile"
    ]
    assert of(recorder.of_steps(lesson.state.shown_s).full, "AU06") == pytest.approx(FULL)


def test_an_estimator_that_hardly_answers_or_failed_leaves_a_profile_without_its_part():
    lesson, recorder, said = taught(lambda says: Scripted(says, period_s=5.0))
    assert recorder.of_steps(lesson.state.shown_s) is None and len(said) == 1 and "too seldom" in said[0]
    slow = Scripted(lambda _s: reads())
    slow.ended, sentences = True, []
    assert PyFeatRecorder(slow, sentences.append).of_steps(lesson.state.shown_s) is None and not sentences, (
        "it has said already that it failed"
    )


def test_noise_at_rest_is_no_strength():
    rng, times_s = np.random.default_rng(0), np.arange(0, 20, 0.1)
    recorder = PyFeatRecorder(
        Scripted(lambda _s: np.clip(0.3 + rng.normal(0, 0.1, 17), 0, 1), period_s=0.1, delay_s=0), print
    )
    for time_s in times_s:
        recorder(np.zeros(len(ESTIMATED)), Frame(np.zeros((4, 4, 3), np.uint8), time_s), FACE)
    assert recorder.of_clip(times_s[:100]).full == pytest.approx(np.full(17, FULL))


class Reads:
    """A network that gives the mouth's width of each face, which the shipped driver's smile changes."""

    name, aus = "py-feat double", AUS

    def __init__(self, *_):
        self.looks = 0

    def __call__(self, _frame_bgr, face) -> np.ndarray:
        self.looks += 1
        x = face.landmarks_px[:, 0]
        wide = float(np.ptp(x[[61, 291]]) / np.ptp(x[[33, 263]]))  # .5 at rest, .75 in a grin
        return np.full(17, np.clip(0.25 + 2 * (wide - 0.5), 0.05, 1), np.float32)


@pytest.mark.slow
def test_a_lesson_before_a_camera_is_seen_by_both():
    network = Reads()
    slow = EveryFrame(network)
    pane = Pane()
    made = lesson.lesson(Film(), pane, lambda: None, recorder=PyFeatRecorder(slow, print))
    assert network.looks > 50 and made.pyfeat is not None
    assert (made.pyfeat.rest <= 0.6).all() and (made.pyfeat.full - made.pyfeat.rest >= 0.149).all()
    assert lesson.lesson(Film(), Pane()).pyfeat is None


@pytest.fixture
def at_home(monkeypatch):
    """py-feat as if it were installed, with a double for its network."""
    monkeypatch.setattr(estimator_fusion, "find_weights", lambda _wanted: SAMPLES / "man.jpg")
    monkeypatch.setattr(estimator_fusion, "PyFeat", Reads)


def calibrated(capsys, *arguments: str) -> str:
    assert animate.main(["calibrate", "--driver", CLIP, "--name", "me", *arguments]) == 0
    return capsys.readouterr().err


@pytest.mark.slow
def test_a_clip_teaches_its_range_which_a_run_with_the_profile_uses(capsys, at_home, monkeypatch):
    assert "py-feat's, at rest and in full: AU06 0." in calibrated(capsys, "--aus", "py-feat")
    kept = driver_profile.load("me").pyfeat
    assert 0.05 < of(kept.rest, "AU06") < 0.6 and of(kept.full, "AU06") != pytest.approx(FULL)
    scales = []

    def opened(*arguments):
        scales.append(arguments[-1])
        return estimator_fusion.open_second(*arguments)

    monkeypatch.setattr(opening, "open_second", opened)
    line = [
        "--source",
        str(SAMPLES / "man.jpg"),
        "--driver",
        CLIP,
        "--output",
        "none",
        "--seconds",
        "0.2",
        "--size",
        "320x180",
    ]
    assert (
        animate.main([*line, "--aus", "py-feat", "--profile", "me"])
        == animate.main([*line, "--aus", "py-feat"])
        == 0
    )
    with_profile, without = scales
    assert (
        without is None
        and np.array_equal(with_profile.full, kept.full)
        and np.array_equal(with_profile.rest, kept.rest)
    )


@pytest.mark.slow
@pytest.mark.parametrize("lacks", ["weights", "GPU"])
def test_auto_calibrates_as_ever_where_py_feat_or_a_gpu_is_missing(capsys, monkeypatch, own_folder, lacks):
    def missing(_wanted):
        raise EngineError("no weights")

    before = calibrated(capsys, "--aus", "mediapipe")
    written = (own_folder / "me.json").read_bytes()
    monkeypatch.setattr(
        estimator_fusion,
        "find_weights",
        missing if lacks == "weights" else lambda _wanted: SAMPLES / "man.jpg",
    )
    monkeypatch.setattr(estimator_fusion, "usable", lambda: False)
    monkeypatch.setattr(estimator_fusion, "PyFeat", None)
    assert calibrated(capsys) == before and (own_folder / "me.json").read_bytes() == written
    assert b"py-feat" not in written and "py-feat" not in before


def test_py_feat_that_was_asked_for_and_is_missing_is_reported_and_mediapipes_range_is_kept(capsys, tmp_path):
    said = calibrated(capsys, "--aus", "py-feat", "--pyfeat-weights", str(tmp_path / "none.safetensors"))
    assert (
        said.count("Going on with MediaPipe's AUs alone.") == 1 and driver_profile.load("me").pyfeat is None
    )


def test_a_network_that_fails_in_a_clip_is_one_sentence_and_nothing_is_written(
    capsys, at_home, monkeypatch, own_folder
):
    def fails(*_):
        raise EngineError("py-feat failed on cuda (gone): choose --aus mediapipe.")

    monkeypatch.setattr(Reads, "__call__", fails)
    assert animate.main(["calibrate", "--driver", CLIP, "--aus", "py-feat"]) == EngineError.exit_status
    assert "choose --aus mediapipe" in capsys.readouterr().err and not list(own_folder.glob("*.json"))


def test_a_clip_that_is_none_is_refused_before_a_network_is_loaded(capsys, monkeypatch):
    monkeypatch.setattr(estimator_fusion, "find_weights", lambda _wanted: pytest.fail("looked for weights"))
    assert animate.main(["calibrate", "--driver", str(SAMPLES / "man.jpg"), "--aus", "py-feat"]) == 4
    assert "is a picture" in capsys.readouterr().err


def test_the_part_comes_back_as_it_was_kept_and_at_its_narrowest():
    rest = np.linspace(0, 0.6, 17).astype(np.float32) + np.float32(0.00004)
    kept = Scale.of_driver(rest, rest + np.float32(0.15001))
    numbers = [np.full(len(WIDE), value, np.float32) for value in (0.1, 0.8, 0.01, 1.5)]
    driver_profile.Profile(*numbers, pyfeat=kept).save(driver_profile.path_of("narrow"))
    again = driver_profile.load("narrow")
    assert again.pyfeat.rest == pytest.approx(kept.rest, abs=1e-4) and again.pyfeat.full == pytest.approx(
        kept.full, abs=1e-4
    )
    assert again.gain == pytest.approx(numbers[3])


def test_every_fault_of_the_part_is_one_sentence_with_file_line_and_cure(tmp_path):
    numbers = [np.full(len(WIDE), value, np.float32) for value in (0.1, 0.8, 0.01, 1.5)]
    path = driver_profile.Profile(*numbers, pyfeat=Scale.of_driver(np.full(17, 0.21))).save(
        tmp_path / "mine.json"
    )
    source = path.read_text()
    lines = source.splitlines()
    line = next(n for n in itertools.count(1) if '"AU06": {"rest"' in lines[n - 1])
    head = next(n for n in itertools.count(1) if '"py-feat"' in lines[n - 1])
    row = '"AU06": {"rest": 0.21, "full": 0.9}'

    def broken(new: str, old: str = row) -> str:
        assert source.count(old) == 1
        path.write_text(source.replace(old, new))
        with pytest.raises(driver_profile.SettingsError) as caught:
            driver_profile.load(str(path))
        said = str(caught.value)
        assert (
            said.startswith(f"{path}, line ")
            and "run.py calibrate" in said
            and "\n" not in said
            and said.endswith(".")
        )
        return said

    assert f"line {line}: rest of AU06 in py-feat is -1: write a number from 0 to 0.85" in broken(
        '"AU06": {"rest": -1, "full": 0.9}'
    )
    assert f"line {line}: rest of AU06 in py-feat is '0.2'" in broken('"AU06": {"rest": "0.2", "full": 0.9}')
    assert f"line {line}: full of AU06 in py-feat is missing" in broken('"AU06": {"rest": 0.2}')
    assert f"line {line}: full of AU06 in py-feat is NaN" in broken('"AU06": {"rest": 0.2, "full": NaN}')
    assert f"line {line}: full of AU06 in py-feat is missing" in broken('"AU06": {"rest": 0.2, "full": null}')
    assert f"line {line}: rest of AU06 in py-feat is missing" in broken('"AU06": 0.7')
    assert f"line {line}: full of AU06 in py-feat is 0.3, less than 0.15 above its rest" in broken(
        '"AU06": {"rest": 0.21, "full": 0.3}'
    )
    assert f"line {line}: py-feat in this profile is of another set of AUs (AU66 is not known)" in broken(
        row.replace("06", "66")
    )
    assert f"line {head}: py-feat in this profile is of another set of AUs (AU06 is missing)" in broken(
        "", f"  {row},\n"
    )
    whole = source[source.index('"py-feat": {') :]
    for other in ('"py-feat": null}', '"py-feat": 3}', '"py-feat": []}'):
        assert (
            f"line {head}: py-feat in this profile is of another set of AUs (AU01, AU02, AU04 ... is missing)"
            in broken(other, whole)
        )
