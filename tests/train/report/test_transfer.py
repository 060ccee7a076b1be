"""The measures of what arrives on a puppet: distances, pose, gaze, r, amplitude and delay."""

from dataclasses import astuple, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError
from engines.face.action_units import EXPRESSION
from engines.face.mesh import mean_face
from tests.conftest import SAMPLES
from tests.support.fakes import speak
from train.report import film_reading
from train.report import page as report_page
from train.report.clips import TimedFrame, frames_of
from train.report.dlib_opinion import SecondOpinion
from train.report.face_distances import (
    DISTANCES,
    MESH_OF_68,
    brows_by_darkness,
    face_distances,
    freed_distances,
    gaze_by_darkness,
    head_angles,
)
from train.report.film_reading import POSE, Film, Reading, read_film
from train.report.transfer import (
    TARGET_DISTANCES,
    Pair,
    best_lag,
    follows,
    moves,
    page,
    read_record,
    target_distances,
    target_lids,
    target_pose,
)

FACE = mean_face()[list(MESH_OF_68)].astype(np.float64)


def turned(pitch_deg: float, yaw_deg: float) -> np.ndarray:
    """(68, 2) pixels of the mean face, seen from afar."""
    pitch, yaw = np.radians((pitch_deg, yaw_deg))
    depth = np.array([np.sin(yaw), np.cos(yaw) * np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    down = np.array([0, np.cos(pitch), -np.sin(pitch)])
    return FACE @ np.stack([np.cross(down, depth), down]).T * 150 + (256, 200)


def exact_film(distances: np.ndarray, pose: np.ndarray, brows: np.ndarray) -> Film:
    """A film that judges read without error; its lids move as its first two distances."""
    values = (distances, distances, pose, pose, brows, distances[:, :2])
    readings = [Reading.exact(one) for one in values]
    blendshapes = np.random.default_rng(9).random((len(pose), 52))
    return Film(*readings, blendshapes, np.full(len(pose), np.nan))


def cells(text: str, start: str) -> list[str]:
    """The cells of the first row of a table that begins so, without its name."""
    row = next(line for line in text.splitlines() if line.startswith(start))
    return [cell.strip() for cell in row.split("|")[2:-1]]


def test_a_head_that_turns_and_nods_changes_no_distance():
    poses = [(0.0, 0.0), (12.0, 0.0), (-10.0, 15.0)]
    freed = freed_distances(
        np.array([turned(*pose) for pose in poses]), np.array([(*pose, 0.0) for pose in poses])
    )
    raw = np.stack(list(face_distances(np.array([turned(*pose) for pose in poses])).values()), axis=-1)
    assert np.abs(freed - freed[0]).max() < 1e-6 and np.abs(raw - raw[0]).max() > 0.03


def test_each_distance_grows_with_what_it_is_named_after():
    def grown(name: str, points: tuple[int, ...], by: tuple[float, float]) -> float:
        moved = FACE[:, :2].copy()
        moved[list(points)] += by
        return float(face_distances(moved)[name] - face_distances(FACE[:, :2])[name])

    assert grown("eye right", (37, 38), (0, -0.05)) > 0.04 and grown("eye left", (37, 38), (0, -0.05)) == 0
    assert grown("mouth opening", (65, 66, 67), (0, 0.1)) > 0.05
    assert grown("corners", (48, 54), (0, -0.1)) > 0.05
    assert grown("brow left", (22, 23, 24, 25), (0, -0.1)) > 0.05 and grown("jaw", (7, 8, 9), (0, 0.1)) > 0.05


@pytest.mark.parametrize(("pitch", "yaw"), [(0.0, 12.0), (0.0, -12.0), (10.0, 0.0), (-10.0, 0.0)])
def test_head_angles_have_the_signs_of_the_mesh(pitch, yaw):
    found = head_angles(turned(pitch, yaw), (400, 512)) - head_angles(turned(0.0, 0.0), (400, 512))
    assert found[:2] == pytest.approx([pitch, yaw], abs=6) and abs(found[2]) < 3


def test_raised_brows_and_lids_are_no_nod():
    resting = turned(0.0, 0.0)
    raised = resting.copy()
    raised[17:27, 1] -= 25
    raised[[37, 38, 43, 44], 1] -= 8
    assert head_angles(raised, (400, 512)) == pytest.approx(head_angles(resting, (400, 512)), abs=1e-6)


@pytest.mark.parametrize("shift", [-8, 0, 8])
def test_darkness_tells_where_eyes_look(shift):
    picture, points = np.full((300, 400, 3), 120, np.uint8), np.zeros((68, 2))
    for first, x in ((36, 100), (42, 250)):
        outline = [(x, 150), (x + 18, 138), (x + 36, 138), (x + 54, 150), (x + 36, 162), (x + 18, 162)]
        points[first : first + 6] = outline
        cv2.fillPoly(picture, [np.array(outline)], (240, 240, 240))
        cv2.circle(picture, (x + 27 + shift, 150), 7, (20, 20, 20), -1)
    found = gaze_by_darkness(picture, points)
    assert found == pytest.approx([shift / 54, 0], abs=0.03)


def test_a_copy_follows_wholly_and_a_weaker_late_one_by_its_share_and_delay():
    driver = np.cumsum(np.random.default_rng(2).normal(0, 1, (200, 9)), axis=0)
    late = np.roll(0.5 * driver, 3, axis=0)

    def figures(given: np.ndarray, shown: np.ndarray) -> tuple[float, ...]:
        return astuple(follows(Reading.exact(given), Reading.exact(shown)))

    assert figures(driver[:, 0], driver[:, 0]) == pytest.approx((1, 1, 1))
    assert figures(driver[:, 0], -2 * driver[:, 0]) == pytest.approx((-1, 1, 2))
    assert best_lag(driver[3:], late[3:]) == 3 and best_lag(driver, driver) == 0
    assert np.isnan(figures(np.zeros(50), driver[:50, 0])[0]), "a driver who does nothing says nothing"
    assert figures(driver[:50, 0], np.zeros(50))[::2] == (0, 0), "nor does a puppet that does nothing follow"


def test_what_a_judge_makes_up_is_said_beside_r_and_taken_off_the_amplitude():
    rng = np.random.default_rng(3)
    movement = np.sin(np.arange(4000) / 9.0)

    def read(share: float, error: float) -> Reading:
        plain, mirrored = (share * movement + rng.normal(0, error, 4000) for _ in range(2))
        return Reading.of(plain, mirrored)

    figure = follows(read(1.0, 0.5), read(0.5, 0.5))
    assert figure.at_most == pytest.approx((0.8 * 0.5) ** 0.5, abs=0.03), (
        "of variances .5 + .125 and .125 + .125"
    )
    assert figure.r == pytest.approx(figure.at_most, abs=0.03), "nothing but the judge stands in its way"
    assert figure.amplitude == pytest.approx(0.5, abs=0.04)


def test_a_driver_counts_who_moves_twice_as_far_as_the_judge_errs():
    rng = np.random.default_rng(4)
    error = rng.normal(0, 0.1, 500)
    seen = np.sin(np.arange(500) / 9.0) * 2**0.5
    assert moves(Reading(0.25 * seen, error)) and not moves(Reading(0.15 * seen, error))
    assert not moves(Reading.exact(np.zeros(500))) and not moves(Reading.exact(np.full(500, np.nan)))


def test_a_mirrored_film_is_read_as_the_same_face_mirrored(monkeypatch):
    pytest.importorskip("dlib", reason="the second opinion needs dlib: pip install -e '.[second-opinion]'")
    frames = list(islice(frames_of(SAMPLES / "driver.mp4"), 8))
    turned_round = [replace(frame, image=np.ascontiguousarray(frame.image[:, ::-1])) for frame in frames]

    def read(shown: list[TimedFrame]) -> Film:
        monkeypatch.setattr(film_reading, "frames_of", lambda _path, _say: (frame for frame in shown))
        return read_film(Path("driver.mp4"), SecondOpinion())

    film, mirror = read(frames), read(turned_round)
    swapped = [DISTANCES.index(name) for name in ("eye left", "eye right", "brow left", "brow right")]
    own = [DISTANCES.index(name) for name in ("eye right", "eye left", "brow right", "brow left")]
    assert mirror.distances.values[:, swapped] == pytest.approx(film.distances.values[:, own])
    assert mirror.distances.tremble[:, swapped] == pytest.approx(-film.distances.tremble[:, own])
    signs = [1 if name in ("head nod", "gaze up") else -1 for name in POSE]
    assert mirror.pose.values == pytest.approx(film.pose.values * signs, nan_ok=True)
    assert mirror.pose_by_dlib.values == pytest.approx(film.pose_by_dlib.values * signs, nan_ok=True)
    assert mirror.lids.values == pytest.approx(film.lids.values[:, ::-1])
    turn = film.pose.column(POSE.index("head turn"))
    assert np.abs(turn.tremble).max() < 5, "a face is read alike in a mirror"


def test_where_eyes_are_shut_no_gaze_counts():
    lids = np.full((20, 2), 0.3)
    lids[5:8] = 0.12
    view = film_reading._View(None, None)
    view._seen = [replace(film_reading._NO_FACE, lids=one) for one in lids]
    shut = view.shut()
    assert shut[5:8].all() and shut.sum() == 3
    pose = film_reading._without_gaze(np.ones((20, 5)), shut)
    assert np.isnan(pose[5:8, 3:]).all() and np.isfinite(pose[:, :3]).all() and np.isfinite(pose[8:]).all()
    view._seen = [replace(film_reading._NO_FACE, lids=np.full(2, 0.1))] * 20
    assert view.shut().all(), "of eyes that stay shut no frame shows a gaze"


def test_clips_in_which_nothing_moves_are_named_and_count_in_no_mean():
    rng = np.random.default_rng(6)

    def pair(name: str, turn_deg: float) -> Pair:
        movement = np.cumsum(rng.normal(0, 1, (60, 5)), axis=0)
        movement /= movement.std(axis=0)
        noise = rng.normal(0, 0.2, (2, 60, 5))
        film = exact_film(np.cumsum(rng.normal(0, 1, (60, 9)), axis=0), movement, movement[:, :2])
        scale = np.array([turn_deg, 1, 1, 1, 1])
        driver = replace(film, pose=Reading.of(scale * movement + noise[0], scale * movement + noise[1]))
        puppet = replace(film, pose=Reading.exact(-movement if turn_deg < 1 else movement))
        target = rng.random((60, len(EXPRESSION))).astype(np.float32)
        return Pair(Path(name), Path("b.jpg"), Path("f.mp4"), driver, puppet, target)

    text = page([pair("turns.mp4", 5.0), pair("still.mp4", 0.05)])
    assert cells(text, "| head turn")[0] == "1" and cells(text, "| head nod")[0] == "2"
    assert cells(text, "| head turn")[3].startswith("1.00 (1.00)"), "the still clip's -1 does not count"
    left_out = next(line for line in text.splitlines() if line.startswith("- head turn by MediaPipe"))
    assert "still (" in left_out and "turns" not in left_out


def test_frames_without_a_face_do_not_count():
    driver = np.sin(np.arange(100) / 9.0)
    puppet = driver.copy()
    puppet[::7] = np.nan
    figure = follows(Reading.exact(driver), Reading.exact(puppet))
    assert astuple(figure) == pytest.approx((1, 1, 1), abs=0.02)


def test_what_is_told_comes_to_distances_of_the_same_direction():
    assert set(TARGET_DISTANCES) == set(DISTANCES) and {
        au for row in TARGET_DISTANCES.values() for au in row
    } <= set(EXPRESSION)

    def comes_to(**aus: float) -> dict[str, float]:
        return dict(zip(DISTANCES, target_distances(speak(EXPRESSION, **aus)[None])[0], strict=True))

    assert comes_to(AU45R=1)["eye right"] < -0.02 and comes_to(AU45R=1)["eye left"] == 0
    assert comes_to(AU12=1)["corners"] > 0.05 and comes_to(AU12=1)["mouth width"] > 0.1
    assert comes_to(AU25=1)["mouth opening"] > 0.2 and comes_to(AU04=1)["brow left"] < -0.02
    right, left = target_lids(speak(EXPRESSION, AU45R=1, AU05L=1)[None])[0]
    assert right < -0.2 and left > 0.1


def test_the_target_of_head_and_gaze_is_in_the_drivers_own_degrees_and_units():
    target = np.stack(
        [speak(EXPRESSION, AU51=0.5, AU54=0.2), speak(EXPRESSION, AU55=0.1, AU62=0.4, AU63=0.3)]
    )
    assert target_pose(target) == pytest.approx(np.array([[15, -6, 0, 0, 0], [0, 0, 3, -0.4, 0.3]]), abs=1e-5)


def test_a_page_says_where_head_and_gaze_are_lost():
    rng = np.random.default_rng(5)
    turn = np.cumsum(rng.normal(0, 1, 60))

    def film(share: float) -> Film:
        pose = rng.normal(0, 0.01, (60, 5)) + np.outer(share * turn, np.ones(5))
        distances = np.cumsum(rng.normal(0, 1, (60, len(DISTANCES))), axis=0)
        brows = share * turn[:, None] * np.ones(2)
        return exact_film(distances, pose, brows)

    target = np.stack([speak(EXPRESSION, AU51=max(x, 0) / 30, AU52=max(-x, 0) / 30) for x in turn])
    target += 1e-3 * rng.random(target.shape).astype(np.float32)
    text = page([Pair(Path("a.mp4"), Path("b.jpg"), Path("f.mp4"), film(1.0), film(0.5), target)])
    assert cells(text, "| head turn") == ["1", "1.00 (1.00), 1.00", "1.00 (1.00), 0.50", "1.00 (1.00), 0.50"]
    header, _, clip, mean = text.splitlines()[-6:-2]
    assert header.count("by darkness") == 2 and clip.startswith("| a | ")
    assert clip.endswith("| 1.00 (1.00), 0.50 |") and mean.endswith("| 1.00 (1.00), 0.50 |")


def test_what_two_judges_see_of_the_driver_stands_before_what_puppets_do():
    rng = np.random.default_rng(8)
    distances = np.cumsum(rng.normal(0, 1, (60, len(DISTANCES))), axis=0)
    film = exact_film(distances, np.cumsum(rng.normal(0, 1, (60, 5)), axis=0), distances[:, :2])
    other = distances * np.where(np.array(DISTANCES) == "brows' gap", -1.0, 0.5)
    driver = replace(film, mesh_distances=Reading.exact(other))
    target = rng.random((60, len(EXPRESSION))).astype(np.float32)
    text = page([Pair(Path("a.mp4"), Path("b.jpg"), Path("f.mp4"), driver, film, target)])
    assert cells(text, "| mouth width")[1] == "1.00 (1.00), 0.50" and cells(text, "| mouth width")[
        -1
    ].startswith("1.00")
    assert cells(text, "| brows' gap")[1] == "-1.00 (1.00), 1.00"


def test_darkness_tells_how_high_brows_stand_whatever_the_lids_do_and_however_the_head_is_tilted():
    def drawn(raised_px: float, shut: bool, tilt_deg: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """A face of 200 px between its outer eye corners: brows, and eyes that are darker than these."""
        picture = np.full((400, 400, 3), 180, np.uint8)
        landmarks = np.zeros((478, 2), np.float32)
        for outer, inner, left in ((33, 133, 100), (362, 263, 220)):
            landmarks[[outer, inner]] = ((left, 250), (left + 80, 250))
            cv2.ellipse(picture, (left + 40, 250), (38, 3 if shut else 16), 0, 0, 360, (20, 20, 20), -1)
            cv2.line(picture, (left, 190 - raised_px), (left + 80, 190 - raised_px), (70, 70, 70), 12)
        matrix = cv2.getRotationMatrix2D((200.0, 200.0), tilt_deg, 1.0)
        turned_points = landmarks @ matrix[:, :2].T + matrix[:, 2]
        return cv2.warpAffine(picture, matrix, (400, 400), borderValue=(180, 180, 180)), turned_points

    resting = brows_by_darkness(*drawn(0, False))
    assert resting == pytest.approx(np.full(2, 60 / 200), abs=0.02)
    assert brows_by_darkness(*drawn(20, False)) - resting == pytest.approx(np.full(2, 20 / 200), abs=0.02)
    assert brows_by_darkness(*drawn(0, True)) == pytest.approx(resting, abs=0.005)
    assert brows_by_darkness(*drawn(0, False, 15.0)) == pytest.approx(resting, abs=0.02)


def test_a_clip_whose_brows_darkness_does_not_tell_counts_in_no_mean():
    rng = np.random.default_rng(1)

    def pair(name: str, brows: np.ndarray) -> Pair:
        distances = np.cumsum(rng.normal(0, 1, (60, len(DISTANCES))), axis=0)
        pose = rng.normal(0, 1, (60, 5))
        film = exact_film(distances, pose, brows)
        target = rng.random((60, len(EXPRESSION))).astype(np.float32)
        return Pair(Path(name), Path("b.jpg"), Path("f.mp4"), film, film, target)

    seen = np.cumsum(rng.normal(0, 1, (60, 2)), axis=0)
    text = page([pair("fair.mp4", np.full((60, 2), np.nan)), pair("dark.mp4", seen)])
    fair, dark, mean = text.splitlines()[-5:-2]
    whole = "1.00 (1.00), 1.00 |"
    assert fair.startswith("| fair | ") and fair.endswith(f"| {whole} - |") and fair.count(" - |") == 2
    assert dark.endswith(f"| {whole} {whole}") and mean.endswith(f"| {whole} {whole}")


def test_where_no_brow_is_seen_darkness_tells_none():
    landmarks = np.zeros((478, 2), np.float32)
    landmarks[[33, 133, 362, 263]] = ((100, 250), (180, 250), (220, 250), (300, 250))
    shade = np.linspace(200, 60, 400).astype(np.uint8)
    assert np.isnan(brows_by_darkness(np.full((400, 400, 3), 150, np.uint8), landmarks)).all()
    assert np.isnan(brows_by_darkness(np.repeat(shade[:, None, None], 400, 1).repeat(3, 2), landmarks)).all()


def test_a_report_has_what_of_a_driver_arrives_where_it_was_measured():
    assert report_page._transfer({"transfer": None}) == []
    section = report_page._transfer({"transfer": "1 clips on 1 photos\n\n| distance | a |\n"})
    assert section == ["## How much of a driver arrives", "", "1 clips on 1 photos", "", "| distance | a |"]


def test_clips_without_photos_are_refused_by_evaluate(tmp_path, capsys):
    from train.__main__ import main

    status = main(["evaluate", "--corpus", "none", "--out", str(tmp_path), "--clips", "clip.mp4"])
    assert status != 0 and "--photos" in capsys.readouterr().err


def test_a_record_of_an_earlier_version_is_read_without_head_and_gaze(tmp_path):
    path = tmp_path / "target.csv"
    path.write_text("time_s,AU12R,AU45L\n0,0.5,1\n0.04,0.25,0\n")
    target = read_record(path)
    assert target.shape == (2, 41) and target[0] == pytest.approx(speak(EXPRESSION, AU12R=0.5, AU45L=1))


def test_a_missing_clip_is_told_in_one_sentence(tmp_path, capsys):
    from train.__main__ import main

    arguments = ["transfer", "--clips", str(tmp_path / "no.mp4"), "--photos", str(tmp_path / "no.jpg")]
    status = main([*arguments, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert status != 0 and "no.mp4" in said and "Traceback" not in said
    assert issubclass(DataError, Exception)
