"""The measures of what arrives on a puppet: distances, pose, gaze, r, amplitude and delay."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError
from engines.face.action_units import EXPRESSION
from engines.face.mesh import mean_face
from tests.support.fakes import speak
from train.report.face_distances import (
    DISTANCES,
    MESH_OF_68,
    face_distances,
    freed_distances,
    gaze_by_darkness,
    head_angles,
)
from train.report.transfer import TARGET_DISTANCES, best_lag, follows, read_record, target_distances

FACE = mean_face()[list(MESH_OF_68)].astype(np.float64)


def turned(pitch_deg: float, yaw_deg: float) -> np.ndarray:
    """(68, 2) pixels of the mean face, seen from afar."""
    pitch, yaw = np.radians((pitch_deg, yaw_deg))
    depth = np.array([np.sin(yaw), np.cos(yaw) * np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    down = np.array([0, np.cos(pitch), -np.sin(pitch)])
    return FACE @ np.stack([np.cross(down, depth), down]).T * 150 + (256, 200)


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
    assert follows(driver[:, 0], driver[:, 0]) == pytest.approx((1, 1))
    assert follows(driver[:, 0], -2 * driver[:, 0]) == pytest.approx((-1, 2))
    assert best_lag(driver[3:], late[3:]) == 3 and best_lag(driver, driver) == 0
    assert np.isnan(follows(np.zeros(50), driver[:50, 0])[0]), "a driver who does nothing says nothing"


def test_frames_without_a_face_do_not_count():
    driver = np.sin(np.arange(100) / 9.0)
    puppet = driver.copy()
    puppet[::7] = np.nan
    assert follows(driver, puppet) == pytest.approx((1, 1), abs=0.02)


def test_what_is_told_comes_to_distances_of_the_same_direction():
    assert set(TARGET_DISTANCES) == set(DISTANCES) and {
        au for row in TARGET_DISTANCES.values() for au in row
    } <= set(EXPRESSION)

    def comes_to(**aus: float) -> dict[str, float]:
        return dict(zip(DISTANCES, target_distances(speak(EXPRESSION, **aus)[None])[0], strict=True))

    assert comes_to(AU45R=1)["eye right"] < -0.02 and comes_to(AU45R=1)["eye left"] == 0
    assert comes_to(AU12=1)["corners"] > 0.05 and comes_to(AU12=1)["mouth width"] > 0.1
    assert comes_to(AU25=1)["mouth opening"] > 0.2 and comes_to(AU04=1)["brow left"] < -0.02


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
