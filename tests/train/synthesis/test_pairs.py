"""What a training target shows: lids, teeth, sides and lips as in real faces, and calibrated motion."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.face.action_units import WIDE, translate
from engines.face.au_estimator import index
from engines.face.landmarks import FaceReader
from engines.face.mesh import (
    LEFT_LID_BOTTOM,
    LEFT_LID_TOP,
    LIPS_INNER_TOP,
    RIGHT_LID_BOTTOM,
    RIGHT_LID_TOP,
    align,
)
from train.estimator import fit_motion
from train.synthesis.changes import add_blink, draw_change, set_random_aus
from train.synthesis.deform import BASIS, LIPS_OUTER_TOP, MORE_TOGETHER, WHOLE, basis, moved, of_sides
from train.synthesis.lids import close_lids
from train.synthesis.mouths import RIM, paint_mouth
from train.synthesis.regions import UNKNOWN, loss_weights
from train.synthesis.warp import flow_between, polygon_mask, warp_picture
from train.teeth import places, teeth

REST = np.zeros(29, np.float32)


def change_of(**intensities: float) -> np.ndarray:
    """A change (29,) of named AUs; a sided one by both its sides, or by one."""
    change = REST.copy()
    for name, value in intensities.items():
        change[[WIDE.index(name)] if name in WIDE else index((name,))] = value
    return change


@pytest.fixture(scope="module")
def face(photo) -> tuple[np.ndarray, np.ndarray]:
    """The shipped photo's crop, (256, 256, 3), and its mesh."""
    from engines.face.crop import cut, find_crop

    with FaceReader() as reader:
        found = reader.read(photo)[0]
    crop = find_crop(found, 256)
    return cut(photo, crop), crop.mesh_to_crop(found.mesh_px)


def drawn(
    face: tuple[np.ndarray, np.ndarray], change: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Target, flow, painted mask and mesh after a change, lids drawn."""
    picture, mesh = face
    after = moved(mesh, REST, change)
    flow = flow_between(after, mesh, 256)
    return *close_lids(warp_picture(picture, flow), flow, picture, mesh, after), after


def eye(mesh: np.ndarray, top: tuple[int, ...], bottom: tuple[int, ...]) -> np.ndarray:
    return polygon_mask(np.concatenate([mesh[list(top), :2], mesh[list(bottom[-2:0:-1]), :2]]), 256) > 0.9


def test_a_shut_eye_shows_skin_and_a_line_of_lashes_instead_of_an_eyeball(face):
    picture, mesh = face
    target, _, painted, after = drawn(face, change_of(AU45=1.0))
    eyeball = eye(mesh, RIGHT_LID_TOP, RIGHT_LID_BOTTOM)
    lid = eyeball & (painted > 0.9)
    lid[after[RIGHT_LID_TOP[4], 1].round().astype(int) - 2 :] = False  # above the lashes
    assert lid.sum() > 20 and picture[lid].mean(axis=1).std() > 2 * target[lid].mean(axis=1).std(), (
        "white, iris and pupil are gone"
    )
    x, y = after[RIGHT_LID_TOP[4], :2].round().astype(int)
    assert target[y - 1 : y + 3, x].min() < 0.75 * target[y - 6 : y - 3, x].mean(), (
        "lashes are darker than the lid above them"
    )


def test_a_lid_slides_over_an_eyeball_that_stays_where_it_is(face):
    picture, _ = face
    target, flow, _, after = drawn(face, change_of(AU45=0.45))
    visible = eye(after, RIGHT_LID_TOP, RIGHT_LID_BOTTOM)
    # Apart from the lashes' line and the lower lid
    above = np.roll(visible, 3, axis=0) & np.roll(visible, -1, axis=0)
    assert (visible & above).sum() > 8
    assert np.abs(flow[visible & above]).mean() < 0.6, "a warp alone would move it by several pixels"
    assert np.abs(target[visible & above].astype(int) - picture[visible & above]).mean() < 16


def test_a_wink_leaves_the_other_eye_alone(face):
    picture, mesh = face
    target, _, painted, _ = drawn(face, change_of(AU45L=1.0))
    other, winking = eye(mesh, RIGHT_LID_TOP, RIGHT_LID_BOTTOM), eye(mesh, LEFT_LID_TOP, LEFT_LID_BOTTOM)
    assert not painted[other].any() and np.abs(target[other].astype(int) - picture[other]).max() <= 1
    assert painted[winking].mean() > 0.5


def test_upper_teeth_keep_still_while_the_jaw_drops(face):
    _, mesh = face
    shown = []
    for jaw in (0.5, 0.9):
        target, _, _, after = drawn(face, change_of(AU10=0.5, AU25=0.6, AU26=jaw))
        shown.append(
            (paint_mouth(target, mesh, after)[0].astype(int), polygon_mask(after[RIM, :2], 256) > 0.99)
        )
    (first, in_first), (second, in_second) = shown
    lip = mesh[13, 1]
    upper = in_first & in_second
    upper[int(lip) + 11 :] = False  # the upper row's edge and what is below it
    # Front teeth; the row's sides follow the corners
    upper[:, : int(mesh[13, 0]) - 12] = upper[:, int(mesh[13, 0]) + 12 :] = False
    assert upper.sum() > 60 and first[upper].mean(axis=1).std() > 15, "teeth and the dark below them"
    assert np.corrcoef(first[upper].ravel(), second[upper].ravel())[0, 1] > 0.9, (
        "the same teeth at the same place"
    )


def tooth_share(mesh: np.ndarray, after: np.ndarray, target: np.ndarray, share: float) -> float:
    """Of a painted mouth's upper `share`, measured between its lips at every column, that is tooth."""
    _, mask, where = paint_mouth(target, mesh, after)
    row = cv2.remap(teeth(), *places(where), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    inside, upper = mask > 0.9, np.zeros(mask.shape, bool)
    for x in np.flatnonzero(inside.sum(axis=0) > 3):
        ys = np.flatnonzero(inside[:, x])
        upper[ys[0] : ys[0] + max(1, round(share * len(ys))), x] = True
    return float(((row[..., 3] > 0.5) & (where[..., 1] < 0))[upper].mean())


@pytest.mark.parametrize(
    "smile", [{"AU12": 0.9, "AU25": 0.3}, {"AU06": 0.6, "AU12": 0.9, "AU25": 0.5}, {"AU12": 0.6, "AU25": 0.4}]
)
def test_a_smile_shows_teeth_right_under_the_lip_and_nearly_to_the_corners(face, smile):
    """A lip that rises by more than a tooth takes the row along, which curves with the mouth: no dark gap."""
    _, mesh = face
    target, _, _, after = drawn(face, change_of(**smile))
    assert tooth_share(mesh, after, target, 0.6) > 0.8


def test_an_oo_shows_no_upper_teeth_and_a_dropped_jaw_does(face):
    _, mesh = face
    shares = []
    for change in ({"AU18": 0.7, "AU22": 0.6, "AU25": 0.4}, {"AU10": 0.5, "AU25": 0.7, "AU26": 0.7}):
        target, _, _, after = drawn(face, change_of(**change))
        shares.append(tooth_share(mesh, after, target, 0.2))
    assert shares[0] < 0.05 < 0.2 < shares[1], shares


def test_a_painted_mouth_is_dark_inside_with_teeth_and_stays_between_the_lips(face):
    _, mesh = face
    target, _, _, after = drawn(face, change_of(AU25=0.8, AU26=0.8))
    painted, mask, _ = paint_mouth(target, mesh, after)
    inside = painted[mask > 0.99].mean(axis=1)
    assert np.percentile(inside, 20) < 70 and np.percentile(inside, 97) > 110, "a dark inside, and teeth"
    assert np.array_equal(painted[mask == 0], target[mask == 0])
    grown = polygon_mask(after[RIM, :2], 256, blur_px=9) > 0
    assert not mask[~grown].any()


def test_the_labels_of_teeth_give_the_place_of_each_pixel_of_a_painted_mouth(face):
    _, mesh = face
    target, _, _, after = drawn(face, change_of(AU10=0.8, AU12=0.8, AU25=1.0))
    painted, mask, where = paint_mouth(target, mesh, after)
    row = cv2.remap(teeth(), *places(where), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    tooth = (mask > 0.99) & (row[..., 3] > 0.99)
    assert tooth.sum() > 100, "a smile shows teeth"
    assert np.corrcoef(painted[tooth].mean(axis=1), row[tooth][:, :3].mean(axis=1))[0, 1] > 0.6, (
        "but for the shade of the lips"
    )
    inside = (mask > 0.99) & (row[..., 3] < 0.01)
    assert painted[tooth].mean() > 1.5 * painted[inside].mean()
    x, y = mesh[13, :2]
    assert where[round(float(y + 6)), round(float(x))] == pytest.approx(
        [0, 6 / np.linalg.norm(mesh[33] - mesh[263]) - 0.045], abs=0.03
    )


def test_sides_add_up_to_the_whole_and_one_side_leaves_the_other(face):
    _, mesh = face
    whole = np.load(BASIS, allow_pickle=False)
    rows = of_sides(whole)
    for au in ("AU12", "AU02", "AU15"):
        right, left = (rows[WIDE.index(au + side)] for side in "RL")
        assert right + left == pytest.approx(whole[WHOLE.index(au)], abs=1e-6)
    after = moved(mesh, REST, change_of(AU12L=1.0)) - mesh
    assert np.linalg.norm(after[291]) > 4 and np.linalg.norm(after[61]) < 1, (
        "the left corner rises, the right one rests"
    )


def test_aus_that_act_together_go_little_further_than_the_strongest_alone(recorded):
    aligned, _ = align(recorded["neutral"].mesh_px)

    def brow(change: np.ndarray) -> float:
        after, _ = align(moved(recorded["neutral"].mesh_px, REST, change))
        return float(np.linalg.norm((after - aligned)[[105, 334]], axis=-1).mean())

    raised, strongest = (
        max(brow(change_of(AU01=1.0)), brow(change_of(AU02=1.0))),
        max(brow(change_of(**{au: 1.0})) for au in WHOLE),
    )
    assert raised < brow(change_of(AU01=1.0, AU02=1.0, AU05=1.0)) < (1 + MORE_TOGETHER) * strongest * 1.05
    assert brow(change_of(AU01=0.3)) == pytest.approx(0.3 * brow(change_of(AU01=1.0)), rel=0.2), (
        "a single AU stays linear"
    )


def test_lips_never_turn_inside_out(recorded):
    for change in (change_of(AU14=1.0, AU23=1.0), change_of(AU14=1.0), change_of(AU23=1.0, AU17=1.0)):
        after, _ = align(moved(recorded["neutral"].mesh_px, REST, change))
        assert (after[list(LIPS_INNER_TOP[1:-1]), 1] >= after[list(LIPS_OUTER_TOP), 1] - 1e-6).all()


def test_single_sides_are_asked_for_but_not_most_of_the_time():
    rng, one_sided, set_both = np.random.default_rng(0), 0, 0
    right, left = index(("AU12",))
    for _ in range(4000):
        wanted = REST.copy()
        set_random_aus(rng, wanted)
        one_sided += wanted[right] != wanted[left] and min(wanted[right], wanted[left]) == 0
        set_both += wanted[right] == wanted[left] > 0
    assert 0.1 < one_sided / (one_sided + set_both) < 0.5


def test_changes_stay_within_the_range_of_intensities():
    rng, own = np.random.default_rng(0), np.random.default_rng(1).uniform(0, 1, 29).astype(np.float32)
    for towards_rest in (True, False):
        for _ in range(50):
            change = draw_change(rng, own, np.roll(own, 3), towards_rest)
            add_blink(rng, own, change)
            assert change.shape == (29,) and change.dtype == np.float32
            assert ((own + change >= -1e-6) & (own + change <= 1.3)).all() and np.abs(change).max() <= 1


def test_what_a_photo_does_not_show_weighs_little(recorded):
    mesh = recorded["open"].mesh_px[:, :2] / 2
    nothing, mouth = np.zeros((256, 256), np.float32), polygon_mask(mesh[RIM], 256)
    known, flow_known = loss_weights(mesh, mesh, nothing, nothing)
    unknown, flow_unknown = loss_weights(mesh, mesh, nothing, mouth)
    inside = mouth == 1
    assert unknown[inside] == pytest.approx(UNKNOWN * known[inside], rel=1e-4)
    assert np.array_equal(unknown[mouth == 0], known[mouth == 0]) and flow_unknown.sum() < flow_known.sum()


def test_calibration_reaches_the_wanted_answers_and_takes_others_off(monkeypatch):
    """A linear estimator that reads AU12 twice as strong as meant, AU15 too weak, and AU15 in every smile."""
    rng, count = np.random.default_rng(0), len(WHOLE)
    pure = rng.normal(0, 0.01, (count, 478, 3)).astype(np.float32)
    gains = np.ones(count)
    gains[WHOLE.index("AU12")], gains[WHOLE.index("AU15")] = 2.0, 0.6
    hears = np.linalg.pinv(pure.reshape(count, -1)) * gains[None, :]
    leaky = pure.copy()
    leaky[WHOLE.index("AU12")] += 0.4 * pure[WHOLE.index("AU15")]
    monkeypatch.setattr(fit_motion, "calibration_faces", lambda corpus: np.arange(3))
    monkeypatch.setattr(fit_motion, "_mixed", lambda found, resting: found)
    monkeypatch.setattr(fit_motion, "answers", lambda rows, *_: rows.reshape(count, -1) @ hears)
    monkeypatch.setattr(fit_motion, "FaceReader", lambda: __import__("contextlib").nullcontext())

    class Meshes:
        meshes = staticmethod(lambda faces: None)

    _, answer = fit_motion.calibrated(leaky, Meshes())
    smile, frown = WHOLE.index("AU12"), WHOLE.index("AU15")
    assert answer[smile, smile] == pytest.approx(fit_motion.ANSWER, abs=0.1) and answer[
        frown, frown
    ] == pytest.approx(fit_motion.ANSWER, abs=0.1)
    assert abs(answer[smile, frown]) < 0.5 * abs(leaky.reshape(count, -1)[smile] @ hears[:, frown])


def test_the_basis_that_ships_moves_every_au_but_the_blink():
    reach = np.linalg.norm(basis(), axis=-1).max(axis=1)
    still = {name for name, far in zip(WIDE, reach, strict=True) if far < 0.02}
    assert still == {"AU45R", "AU45L"}
    assert reach.max() <= 0.4 + 1e-6, "outer eye distances: no face goes further"
    assert translate(np.ones(29, np.float32), WIDE, WHOLE) == pytest.approx(np.ones(len(WHOLE)))
