"""What the estimator reads of drivers, on frames that were labelled by eye."""

import numpy as np
import pytest

from engines.face import au_estimator
from engines.face.action_units import EXPRESSION, gaze, head_pose, opposites
from engines.face.mesh import align
from tests.support.labelled_frames import LabelledFrame, chosen, labelled_frames, separation


def au(name: str):
    """A score of frames: the AU, of a sided one the mean."""
    places = au_estimator.index([name])
    return lambda frame: float(frame.reading[places].mean())


def closed(frame: LabelledFrame) -> float:
    """How far both eyes are closed by all lid AUs together, 0..1."""
    narrowed = 1 - au_estimator.TIGHTENED * np.clip(frame.reading[au_estimator.index(["AU07"])], 0, 1)
    blink = 1 - np.clip(frame.reading[au_estimator.index(["AU45"])], 0, 1)
    return float(1 - (narrowed * blink).mean())


def eyes(state: str):
    return lambda label: label["eyes"] == state


def is_open_ahead(label: dict) -> bool:
    return label["eyes"] == "open" and label["gaze"] == "centre"


def test_shut_eyes_are_told_from_open_ones_and_no_open_eye_is_shut():
    shut, wide = chosen(eyes("shut")), chosen(eyes("open"))
    print(
        f"shut: closed by {min(map(closed, shut)):.2f} or more; open: by {max(map(closed, wide)):.2f} or less"
    )
    assert len(shut) >= 20 and separation(closed, shut, wide) == 1.0
    assert min(map(closed, shut)) > 0.7 and np.mean([closed(frame) > 0.5 for frame in wide]) < 0.05


def test_eyes_that_look_aside_stay_open():
    aside = chosen(lambda label: label["eyes"] == "open" and label["gaze"] in ("left", "right"))
    assert len(aside) >= 15 and max(map(closed, aside)) < 0.25
    assert np.mean([closed(frame) for frame in aside]) < 0.1


def test_a_look_down_closes_the_lids_once_and_less_than_a_blink():
    """The lid AUs together say how narrow the opening is, less what goes with the eyes; AU05 adds nothing."""
    down, shut = (
        chosen(lambda label: label["gaze"] == "down" and label["eyes"] == "half"),
        chosen(eyes("shut")),
    )
    assert len(down) >= 6
    for frame in down:
        aligned, pose = align(frame.face.mesh_px)
        scale, pitch = au_estimator.lid_scale(), pose.angles_deg[0]
        opening = au_estimator.lid_apertures(aligned) - scale.pitch * pitch - scale.pitch2 * pitch**2
        narrowed = float(np.clip((scale.rest - opening) / (scale.rest - scale.shut), 0, 1).mean())
        assert closed(frame) <= narrowed + 1e-6, f"{frame.clip} {frame.number}"
        assert au("AU05")(frame) == 0 and au("AU45")(frame) + au("AU07")(frame) <= 1.01
    assert separation(closed, shut, down) > 0.8


def test_lid_aus_together_give_the_aperture_back():
    for frame in labelled_frames():
        aligned, pose = align(frame.face.mesh_px)
        shares = au_estimator.lid_shares(aligned, pose.angles_deg, frame.face.blendshapes)
        for side in "RL":
            total = 1 - (1 - au_estimator.TIGHTENED * shares["AU07" + side]) * (1 - shares["AU45" + side])
            assert -1e-6 < shares["AU07" + side] <= 1 and -1e-6 < shares["AU45" + side] <= 1
            wider = shares["AU05" + side] > 1e-6
            assert not (wider and total > 1e-6), "an eye is wider than usual or narrower, never both"


def test_a_wink_shuts_one_eye():
    winks = chosen(lambda label: isinstance(label["eyes"], list) and "shut" in label["eyes"])
    assert winks
    for frame in winks:
        right, left = frame.reading[au_estimator.index(["AU45"])]
        assert (right > left + 0.3) == (frame.label["eyes"][0] == "shut"), f"{frame.clip} {frame.number}"


def test_eyes_that_are_merely_open_leave_room_to_be_opened_wide():
    merely = chosen(lambda label: is_open_ahead(label) and label["brows"] == "neutral")
    assert np.percentile([au("AU05")(frame) for frame in merely], 90) < 0.6
    wide = chosen(lambda label: label["eyes"] == "open" and label["brows"] == "raised")
    assert separation(au("AU05"), wide, merely) > 0.7


@pytest.mark.parametrize(
    ("name", "states", "least"),
    [("AU01", ("raised",), 0.75), ("AU02", ("raised",), 0.7), ("AU04", ("lowered", "knit"), 0.75)],
)
def test_brows_are_told_from_neutral_ones(name, states, least):
    moved = chosen(lambda label: label["brows"] in states)
    still = chosen(lambda label: label["brows"] == "neutral")
    found = separation(au(name), moved, still)
    print(f"{name}: {found:.2f} of the pairs")
    assert found > least


@pytest.mark.parametrize("name", ["AU01", "AU02", "AU04"])
def test_brows_do_not_follow_the_heads_pitch(name):
    """A face that is only turned up or down, without its landmarks moving otherwise, is read the same."""
    still = chosen(lambda label: label["brows"] == "neutral" and label["eyes"] == "open")
    slopes, weights = [], []
    for clip in {frame.clip for frame in still}:
        rows = [frame for frame in still if frame.clip == clip]
        pitch = np.array([align(frame.face.mesh_px)[1].angles_deg[0] for frame in rows])
        pitch -= pitch.mean()
        if len(rows) > 3 and (pitch**2).sum() > 20:
            slopes.append(pitch @ [au(name)(frame) for frame in rows] / (pitch**2).sum())
            weights.append((pitch**2).sum())
    slope = 10 * np.average(slopes, weights=weights)
    print(f"{name}: {slope:+.3f} in ten degrees")
    assert abs(slope) < 0.06


@pytest.mark.parametrize(
    ("where", "axis", "sign"), [("left", 0, 1), ("right", 0, -1), ("up", 1, 1), ("down", 1, -1)]
)
def test_the_gaze_is_told_by_the_persons_own_sides(where, axis, sign):
    looking = chosen(lambda label: label["gaze"] == where)
    ahead = chosen(is_open_ahead)
    found = separation(lambda frame: sign * gaze(frame.reading)[axis], looking, ahead)
    print(f"{where}: {found:.2f} of the pairs")
    assert found > 0.9


@pytest.mark.parametrize(
    ("where", "axis", "sign"),
    [
        ("turned left", 0, 1),
        ("turned right", 0, -1),
        ("up", 1, 1),
        ("tilted left", 2, 1),
        ("tilted right", 2, -1),
    ],
)
def test_the_head_is_told_by_the_persons_own_sides(where, axis, sign):
    turned = chosen(lambda label: bool(label["head"]) and where in label["head"])
    front = chosen(lambda label: label["head"] == ["front"])
    usual = np.median([head_pose(frame.reading)[axis] for frame in front])
    assert turned
    assert min(sign * (head_pose(frame.reading)[axis] - usual) for frame in turned) > 0.04
    assert np.mean([sign * (head_pose(frame.reading)[axis] - usual) for frame in turned]) > 0.15


def test_a_face_twice_as_large_is_nearer_and_nothing_else():
    frame = labelled_frames()[0]
    large = type(frame.face)(
        2 * frame.face.landmarks_px + 50, 2 * frame.face.depth_px, frame.face.blendshapes
    )
    changed = au_estimator.read(large) - frame.reading
    nearness = opposites(changed)[3]
    assert nearness == pytest.approx(np.log(2) / np.log(1.25), abs=1e-3)
    changed[[EXPRESSION.index("AU57"), EXPRESSION.index("AU58")]] = 0
    assert np.abs(changed).max() < 1e-3
