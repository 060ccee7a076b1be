"""The guided lesson, its command, and what a profile makes of a clip that is really tracked."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.errors import DriverError
from engines.face.au_estimator import ESTIMATED, index
from engines.face.landmarks import Face
from realtime.calibration import lesson
from realtime.calibration.clip_report import blinks, load_spans, measure, unmatched
from realtime.calibration.lesson_state import LESSON_S, READ_S, STEPS, LessonState
from realtime.calibration.lesson_view import SIZE, draw
from realtime.commands import animate
from realtime.messages import NOT_YET, Frame
from realtime.process.log import LOG
from realtime.tracking import driver_profile
from tests.conftest import SAMPLES
from tests.realtime.tracking.test_neutral_drift import FPS, REST
from tests.support.fakes import speak
from tests.support.waiting import PATIENCE_S, wait_for

LABELS = Path(__file__).parents[2] / "data" / "blinks.json"
ACTS = {
    "rest": {},
    "smile": {"AU12": 0.6, "AU06": 0.4},
    "brows": {"AU01": 0.5, "AU02": 0.4},
    "frown": {"AU04": 0.3},
    "eyes": {"AU45": 0.6},
    "mouth": {"AU26": 0.7, "AU25": 0.6},
    "oo": {"AU18": 0.8, "AU22": 0.5},
}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(driver_profile.FOLDER_ENV, str(tmp_path / "kept"))
    yield tmp_path / "kept"
    LOG.handlers.clear()  # which a command gave the test's own standard error


class Lesson:
    """A state, and an actor who does what is asked: `acts` by a step's name; `slow_s` to read it."""

    def __init__(self, slow_s: float = 0.5, **acts: dict[str, float]):
        self.said, self.rings, self.progress, self.asked = [], [], [], []
        self._acts, self._slow_s, self._rng = {**ACTS, **acts}, slow_s, np.random.default_rng(0)
        self.state, self.time_s = LessonState(self.said.append, lambda: self.rings.append(self.time_s)), 0.0

    def play(self, seconds: float = 60.0, seen=lambda _t: True) -> "Lesson":
        name, since_s, look, end_s = "", 0.0, REST, self.time_s + seconds
        while not self.state.done and self.time_s < end_s:
            if self.state.prompt != name:
                name, since_s = self.state.prompt, self.time_s
                self.asked.append(self.state.step.name)
            goal = (
                REST + speak(ESTIMATED, **self._acts[self.state.step.name])
                if self.time_s - since_s > self._slow_s
                else look
            )
            look = look + 0.4 * (goal - look)
            reading = np.clip(look + self._rng.normal(0, 0.008, len(ESTIMATED)), 0, 1).astype(np.float32)
            valid = seen(self.time_s)
            self.state.feed(reading if valid else None, self.time_s, "" if valid else "face lost")
            self.progress.append(self.state.progress)
            self.time_s += 1 / FPS
        return self


def test_a_lesson_takes_twenty_seconds_and_gives_the_drivers_own_range():
    lesson = Lesson().play()
    assert lesson.asked == [step.name for step in STEPS] and not lesson.state.missing
    assert lesson.time_s == pytest.approx(20, abs=0.6) and pytest.approx(20, abs=0.1) == LESSON_S
    assert lesson.progress == sorted(lesson.progress) and lesson.progress[-1] == 1
    assert len(lesson.said) == len(STEPS) and "7 of 7" in lesson.said[-1]
    assert len(lesson.rings) == 1, "once, when eyes may open"
    made = lesson.state.profile()
    for act in ACTS.values():
        for au, way in act.items():
            assert made.change(speak(ESTIMATED, **{au: way}))[index([au])].min() >= 0.8, au
    rest = np.clip(REST + np.random.default_rng(5).normal(0, 0.008, (300, len(ESTIMATED))), 0, 1)
    assert (
        np.percentile(np.abs([made.change(row[:29] - made.neutral) for row in rest]), 95, axis=0).max()
        <= 0.03
    )


def test_what_was_not_shown_is_asked_for_once_more_and_then_left():
    lesson = Lesson(frown={"AU04": 0.03}).play()
    assert lesson.asked.count("frown") == 2 and lesson.state.missing == ["frown"]
    again, left = (said for said in lesson.said if said.startswith("No frown was seen."))
    assert "Once more" in again and "general range" in left
    assert lesson.state.profile().full[index(["AU04"])] == pytest.approx(1)


def test_a_face_that_does_not_rest_is_reported_and_the_last_try_counts():
    lesson = Lesson()
    restless = np.random.default_rng(1)
    while lesson.state.step.name == "rest":
        lesson.state.feed(
            np.clip(REST + restless.uniform(0, 0.6, len(ESTIMATED)), 0, 1).astype(np.float32), lesson.time_s
        )
        lesson.time_s += 1 / FPS
    assert sum("did not rest" in said for said in lesson.said) == 2
    lesson.play()
    assert lesson.state.done and lesson.state.profile().gain.max() <= driver_profile.MOST_GAIN


def test_the_clock_stands_while_no_face_is_seen():
    away = Lesson().play(seen=lambda t: not 5 < t < 65, seconds=120)
    assert away.state.done and away.time_s == pytest.approx(80, abs=0.8) and not away.state.missing


def test_the_screen_shows_landmarks_and_text_and_nothing_of_the_drivers_picture(recorded):
    state = LessonState(lambda _: None)
    face = recorded["smile"]
    empty, drawn = draw(state, None, None), draw(state, face, REST)
    assert drawn.shape == (SIZE[1], SIZE[0], 3) and len(np.unique(drawn.reshape(-1, 3), axis=0)) < 400, (
        "a plain ground"
    )
    assert (drawn != empty).any(axis=2).mean() < 0.02, "points"
    for n in range(int((READ_S + 1) * FPS)):
        state.feed(REST, n / FPS)
    assert (draw(state, face, REST) != drawn).any(), "progress is seen"
    far = Face(face.landmarks_px + 128, face.depth_px, face.blendshapes)
    assert np.array_equal(draw(state, far, REST), draw(state, face, REST)), "always in the middle"


# --- the command --------------------------------------------------------------------------------------------


def attempt(capsys, *arguments: object) -> tuple[int, str]:
    status = animate.main(["calibrate", *map(str, arguments)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return status, said.out + said.err


def test_a_clip_calibrates_and_the_profile_is_kept_by_its_name(capsys, own_folder):
    status, said = attempt(capsys, "--driver", SAMPLES / "driver.mp4", "--name", "shipped")
    assert status == 0 and "--profile shipped" in said and "AU12 x" in said
    kept = driver_profile.load("shipped")
    assert (kept.full[index(["AU12", "AU26"])] < 1).all() and list(own_folder.iterdir()) == [
        own_folder / "shipped.json"
    ]


def test_what_cannot_calibrate_is_refused_before_anything_is_done(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, status, fragment in (
        (("--driver", SAMPLES / "man.jpg"), 4, "is a picture"),
        (("--driver", tmp_path / "none.mp4"), 4, "no driver at"),
        (("--name", "../me"), 2, "no name for a profile"),
        (("--name", tmp_path / "file" / "me.json"), 2, "cannot be made"),
        (("--report", SAMPLES / "driver.mp4", "--blinks", tmp_path / "file"), 2, "no list of blinks"),
    ):
        got, said = attempt(capsys, *arguments)
        assert got == status and fragment in said, said
        assert len(said.strip().splitlines()) == 1


class Film:
    """The shipped driver before a camera, for ever; with pauses in which the camera has nothing."""

    live, has_rest, note, fps, length = True, True, "", 30.0, None

    def __init__(self, face: bool = True, rate_hz: float = 5.0):
        """
        Args:
            face: whether the pictures show one.
            rate_hz: pictures in a second of the camera's clock, which is not the test's.
        """
        from tests.support.record_tracks import driver

        self._rate_hz = rate_hz

        self._pictures, self._number, self.closed = (
            driver() if face else [np.full((360, 640, 3), 90, np.uint8)],
            0,
            False,
        )

    def read(self):
        self._number += 1
        if self._number % 10 == 0:
            return NOT_YET
        return Frame(self._pictures[(7 * self._number) % len(self._pictures)], self._number / self._rate_hz)

    def close(self):
        self.closed = True


class Pane:
    """A window that keeps the last picture; `closes` after so many."""

    def __init__(self, closes: int = 10**9):
        self.shown, self.closed, self._closes, self.image = 0, False, closes, None

    def serve(self, controls) -> None:
        self.controls = controls

    def send(self, image: np.ndarray, _time_s: float) -> None:
        self.shown, self.image = self.shown + 1, image
        self.closed = self.shown >= self._closes


def test_a_lesson_before_a_camera_is_shown_and_ends_with_a_profile():
    pane, rings = Pane(), []
    made = lesson.lesson(Film(), pane, lambda: rings.append(1))
    assert pane.shown > 100 and rings and made.gain.max() <= driver_profile.MOST_GAIN
    assert len(np.unique(pane.image.reshape(-1, 3), axis=0)) < 400, "no picture of the driver"


def test_a_lesson_is_given_up_by_the_driver_or_where_no_face_is_seen():
    with pytest.raises(KeyboardInterrupt):
        lesson.lesson(Film(), Pane(closes=3))
    times = iter(range(0, 1000, 5))
    with pytest.raises(DriverError, match="No face was seen for 20 s"):
        lesson.lesson(Film(face=False), None, clock=lambda: float(next(times)))


@pytest.mark.skipif(not shutil.which("Xvfb"), reason="there is no Xvfb: apt install xvfb")
def test_a_lesson_in_a_real_window_is_ended_by_a_key(tmp_path):
    from tests.realtime.output.test_window import Screen

    screen, said = Screen(), open(tmp_path / "said.txt", "w+")
    code = (
        "from tests.realtime.calibration.test_lesson import Film\n"
        "from realtime.calibration.lesson import lesson\n"
        "from realtime.calibration.lesson_view import SIZE\n"
        "from realtime.output.window import Window\n"
        "lesson(Film(rate_hz=1000), Window(SIZE))"  # whose 20 s last until the key is pressed
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=LABELS.parents[2],
        env={**os.environ, "DISPLAY": screen.name},
        stderr=said,
    )

    def shown() -> bool:
        assert running.poll() is None, (tmp_path / "said.txt").read_text()
        return screen.shows_a_picture() and screen.look().std() > 10

    try:
        wait_for(shown)
        assert len(np.unique(screen.look().reshape(-1, 3), axis=0)) < 400, "no picture of the driver"
        screen.press("q")
        assert running.wait(PATIENCE_S)
        assert "KeyboardInterrupt" in (tmp_path / "said.txt").read_text()
    finally:
        running.kill()
        running.wait()
        said.close()
        screen.close()


# --- what it comes to ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_with_a_profile_the_shipped_driver_fills_the_range_and_rests():
    """Its lids narrow once, at pictures 119 to 125, and never shut: no blink is to be invented."""
    measured = measure(str(SAMPLES / "driver.mp4"), load_spans(str(LABELS))["driver"])
    assert measured.frames == 180 and len(measured.reach) >= 12 and measured.at_rest > 15
    assert min(measured.reach.values()) >= 0.8 and measured.rest <= 0.03
    assert min(measured.reach_without_profile.values()) < 0.4, "as it was without"
    assert measured.blinks == measured.labelled_blinks == []


def test_blinks_of_a_puppet_that_is_made_to_blink_are_tracked_one_by_one(tmp_path):
    """No shipped clip has blinks: a shipped photo is made to blink, twice in quick succession, and drives."""
    times_s, curve, clip = (1.5, 2.4, 2.8, 4.0, 5.2), tmp_path / "blinks.csv", tmp_path / "blinks.mp4"
    rows = [
        (0, 0),
        *((t + after, value) for t in times_s for after, value in ((0, 0), (0.07, 1), (0.13, 1), (0.25, 0))),
        (6, 0),
    ]
    curve.write_text("time_s,AU45\n" + "".join(f"{t:.2f},{value}\n" for t, value in rows))
    command = [
        "--source",
        str(SAMPLES / "woman.jpg"),
        "--driver",
        str(curve),
        "--output",
        str(clip),
        "--size",
        "640x360",
        "--fps",
        "30",
    ]
    assert animate.main(command) == 0
    asked = [(round(30 * (t + 0.07)), round(30 * (t + 0.13))) for t in times_s]
    measured = measure(str(clip), asked)
    assert (
        len(measured.blinks) == len(asked) and not unmatched(asked, measured.blinks) and measured.rest <= 0.03
    )
    assert measured.reach["AU45L"] >= 0.8 and measured.reach["AU45R"] >= 0.8


def test_blinks_are_counted_one_by_one():
    lids = np.zeros(100)
    lids[10:14], lids[30:34], lids[36:39] = 0.9, 0.8, 0.7
    lids[34:36] = 0.4
    lids[60:80] = 0.3  # a look down
    assert blinks(lids, range(100)) == [(10, 13), (30, 33), (36, 38)]
    assert blinks(lids[:12], range(12)) == [(10, 11)], "one that the clip's end cuts"
    assert unmatched([(10, 12), (30, 38)], [(11, 13), (29, 31), (36, 38)]) == []
    assert unmatched([(11, 13), (29, 31), (36, 38)], [(10, 12), (30, 38)]) == [(36, 38)]


def test_labels_are_of_clips_by_name():
    labels = json.loads(LABELS.read_text())
    assert all(first <= last for spans in labels.values() for first, last in spans) and len(labels) == 3
