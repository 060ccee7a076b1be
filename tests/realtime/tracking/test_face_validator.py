"""Which frames of a driver are valid: recorded tracks replayed, and each fault with the real tracker."""

from dataclasses import dataclass

import numpy as np
import pytest

from engines.face import au_estimator
from engines.face.landmarks import Face
from engines.face.mesh import align
from realtime.messages import DriverExpression, Frame
from realtime.timing import Timings
from realtime.tracking.driver_lock import GONE_S, GREY, DriverLock
from realtime.tracking.expression_tracker import ExpressionTracker
from realtime.tracking.face_validator import (
    COVERED,
    DARK,
    ELSEWHERE,
    LOST,
    OUTSIDE,
    TOO_FAR,
    TURNED,
    FaceValidator,
)
from realtime.tracking.lighting import darkness
from realtime.tracking.neutral import Neutral
from realtime.tracking.occlusion import OcclusionDetector
from realtime.tracking.smoothing import OcclusionRollback, OneEuro
from tests.support.disturbances import darkened
from tests.support.record_tracks import CLIPS, FPS, Disturb, driver, load_track, meshes, replaced

LIT = np.full((360, 640, 3), 128, np.uint8)  # a frame in which nothing is dark


@dataclass
class Play:
    """What came of a track, frame by frame."""

    notes: list[str]
    shown: np.ndarray  # (T, 29) AUs that the puppet was given, or left with

    @property
    def valid(self) -> np.ndarray:
        """(T,) bool."""
        return np.array([not note for note in self.notes])


def play(faces: list[Face | None], all_valid: bool = False) -> Play:
    """Replays a track as ExpressionTracker does; all_valid: without validation."""
    validator = FaceValidator()
    smooth = OneEuro()
    rollback = OcclusionRollback()
    notes: list[str] = []
    shown: list[np.ndarray] = []
    for i, face in enumerate(faces):
        time_s = i / FPS
        result = validator.validate(face, Frame(LIT, time_s))
        if result.valid or all_valid:
            extra_smoothing = 0 if all_valid else result.extra_smoothing
            shown.append(smooth(au_estimator.estimate(face), time_s, extra_smoothing))
            rollback.keep(shown[-1], time_s)
        else:
            change, _ = rollback.roll_back(time_s)
            smooth.start_from(change, time_s)
            shown.append(change)
        notes.append("" if result.valid else result.note)
    return Play(notes, np.array(shown))


@pytest.fixture(scope="module")
def plain() -> list[Face]:
    return load_track("plain")


@pytest.fixture(scope="module")
def truth(plain) -> np.ndarray:
    """(180, 29): AUs of the driver's face in full view."""
    return play(plain, all_valid=True).shown


def without_repetitions(notes: list[str]) -> list[str]:
    return [note for before, note in zip([None, *notes], notes, strict=False) if note != before]


def test_a_face_in_full_view_is_always_valid_and_gets_no_extra_delay(plain, truth):
    """The shipped driver smiles and opens the mouth wide."""
    assert np.ptp(truth, axis=0)[au_estimator.index(["AU12", "AU26"])].min() > 0.7
    played = play(plain)
    assert played.valid.all()
    assert np.abs(played.shown - truth).max() < 0.1, "but for a little more smoothing in the quickest moves"


@pytest.mark.parametrize("name", ["hand passes", "hand on mouth", "hand on eyes"])
def test_a_hand_over_the_face_moves_nothing_and_the_face_is_valid_soon_after(name, truth):
    faces = load_track(name)
    played = play(faces)
    covered = np.flatnonzero(~played.valid)
    assert 42 <= covered[0] <= 53, "the hand sets off at frame 42 and reaches the face by 50"
    assert set(played.notes) == {"", COVERED}
    assert without_repetitions(played.notes) == ["", COVERED, ""], "it does not alternate"
    ends = {"hand passes": 75, "hand on mouth": 100, "hand on eyes": 96}[name]
    assert covered[-1] <= ends + 9, "within a third of a second"
    until = covered[-1] + 1
    low, high = (
        np.array([bound(truth[30 : i + 1], axis=0) for i in range(40, until)]) for bound in (np.min, np.max)
    )
    beyond = np.maximum(low - played.shown[40:until], played.shown[40:until] - high)
    assert beyond.max() < 0.3 and (beyond.max(axis=1) > 0.25).sum() <= 2, (
        "a little, for two frames, until it is detected"
    )
    assert beyond[covered[0] - 40 + 4 :].max() < 0.2, "and that is rolled back"
    naive = np.array([au_estimator.estimate(face) if face else truth[i] for i, face in enumerate(faces)])[
        40:until
    ]
    assert np.maximum(low - naive, naive - high).max() > 0.6, "without the validation there would be grimaces"


def test_a_covered_face_is_rolled_back_to_what_was_shown_before():
    rollback = OcclusionRollback()
    calm = np.zeros(35, np.float32)
    grimace = np.full(35, 0.5, np.float32)
    assert rollback.roll_back(0.0) is None
    for i in range(30):
        rollback.keep(calm if i < 27 else grimace, i / 30)
    steps = [rollback.roll_back(1 + i / 30) for i in range(6)]
    assert steps[2][1] and not steps[4][1], "it takes a tenth of a second"
    values = [float(value[0]) for value, _ in steps]
    assert values == sorted(values, reverse=True) and values[0] < 0.5 and values[-1] == 0


def test_a_face_that_leaves_the_frame_is_lost_and_valid_again_when_it_returns():
    notes = play(load_track("slides out")).notes
    assert notes[:60] == [""] * 60 and notes[-20:] == [""] * 20
    assert OUTSIDE in notes and LOST in notes and ELSEWHERE not in notes
    assert notes.index(LOST) > notes.index(OUTSIDE)


def test_a_face_is_followed_to_a_yaw_of_about_30_degrees_and_no_further():
    faces = load_track("turns")
    yaw = np.array([abs(align(face.mesh_px)[1].angles_deg[1]) for face in faces])
    played = play(faces)
    assert played.valid[yaw < 25].mean() > 0.95 and not played.valid[yaw > 32.5].any()
    assert without_repetitions([note for note in played.notes if note != COVERED]) == ["", TURNED, ""]


def test_a_tilted_camera_is_followed_to_40_degrees_and_the_face_comes_back():
    notes = play(load_track("tilts")).notes
    assert notes[:50] == [""] * 50  # 85 degrees in 2 s from frame 30 on
    assert TURNED in notes and not notes[-1]


def test_a_person_who_walks_past_before_the_driver_is_not_followed():
    played = play(load_track("crossed"))  # the tracker leaves with the stranger, at the left from frame 96 on
    assert played.valid[:55].all() and not played.valid[70:].any()
    assert played.notes[-1] == ELSEWHERE


def moved(face: Face, right_px: float, scale: float = 1.0) -> Face:
    centre = face.landmarks_px.mean(axis=0)
    return Face(
        (face.landmarks_px - centre) * scale + centre + [right_px, 0], face.depth_px * scale, face.blendshapes
    )


def test_any_face_is_accepted_three_seconds_after_the_driver_left(plain):
    validator = FaceValidator()
    face = plain[0]
    width = face.box_px[2] - face.box_px[0]
    assert validator.validate(face, Frame(LIT, 0.0)).valid
    assert validator.validate(None, Frame(LIT, 0.1)).note == LOST
    for away, scale in ((width, 1.0), (-width, 1.0), (0, 0.5)):
        assert validator.validate(moved(face, away, scale), Frame(LIT, 0.2)).note == ELSEWHERE
    assert validator.validate(moved(face, width), Frame(LIT, GONE_S + 0.1)).valid


def test_while_the_driver_is_searched_for_the_tracker_sees_only_their_place(plain):
    validator = FaceValidator()
    image = np.random.default_rng(0).integers(0, 255, (360, 640, 3), dtype=np.uint8)
    assert validator.view(Frame(image, 0.0)) is image
    validator.validate(plain[0], Frame(image, 0.0))
    assert validator.view(Frame(image, 0.03)) is image, "nothing is done to a driver in view"
    validator.validate(None, Frame(image, 0.03))
    view = validator.view(Frame(image, 0.07))
    left, top, right, bottom = map(int, plain[0].box_px)
    assert np.array_equal(view[top:bottom, left:right], image[top:bottom, left:right])
    assert (view[:, -60:] == GREY).all() and (image[:, -60:] != GREY).any()
    assert validator.view(Frame(image, 0.03 + GONE_S + 0.1)) is image


def test_another_person_is_a_newcomer_and_the_same_one_is_not(plain, recorded):
    def second_visit(face: Face) -> bool:
        validator = FaceValidator()
        for i in range(45):
            validator.validate(plain[i], Frame(LIT, i / FPS))
        validator.validate(None, Frame(LIT, 2.0))
        newcomer = []
        for i in range(60):
            assert validator.validate(face, Frame(np.full((600, 600, 3), 128, np.uint8), 6 + i / FPS)).valid
            newcomer.append(validator.newcomer)
        assert sum(newcomer) <= 1, "reported once"
        return any(newcomer)

    assert not second_visit(plain[60])
    assert [second_visit(recorded[name]) for name in ("neutral", "smile", "glasses")] == [True, True, True]


def test_a_hand_from_the_start_is_forgotten_in_three_seconds_and_one_that_stays_is_covered(plain):
    hidden = [face for face in load_track("hand on mouth")[65:85] if face]
    for first, then, seconds in ((hidden, plain[100:120], 3.5), (plain[:30], hidden, 8.0)):
        detector = OcclusionDetector()
        time_s = 0.0
        for face in [*first, *first, *(then[i % len(then)] for i in range(int(seconds * FPS)))]:
            covered = detector.is_covered(align(face.mesh_px)[0], time_s)
            time_s += 1 / FPS
        assert covered == (then is hidden)


def test_darkness_is_noise_over_light_and_smoothing_grows_with_it():
    face = load_track("plain")[0]
    rng = np.random.default_rng(0)
    lit = darkness(driver()[0], face)
    dim = [darkness(darkened(driver()[0], light, 4, rng), face) for light in (1, 0.25, 0.12, 0.06)]
    assert lit < 0.025 < dim[1] < dim[2] < dim[3]
    smoothing = {}
    for name, image in (("lit", driver()[0]), ("dark", darkened(driver()[0], 0.12, 5, rng))):
        result = FaceValidator().validate(face, Frame(image, 1.0))
        smoothing[name] = result.extra_smoothing
        assert result.valid and (result.note == DARK) == (name == "dark")
    assert smoothing["lit"] == 0 and smoothing["dark"] > 0.5
    validator = FaceValidator()
    black = Frame(darkened(driver()[0], 0.05, 8, rng), 1.0)
    assert validator.validate(face, black).note == DARK and not validator.validate(face, black).valid


def test_aus_jitter_half_as_much_in_the_dark_with_extra_smoothing():
    faces = load_track("dark")[8:]  # a still driver: all that moves is noise
    steps = {}
    for extra in (0.0, 1.0):
        smooth = OneEuro()
        values = np.array(
            [smooth(au_estimator.estimate(face), i / FPS, extra) for i, face in enumerate(faces)]
        )
        steps[extra] = np.abs(np.diff(values, axis=0)).max()
    assert steps[0.0] > 0.05 and steps[1.0] < steps[0.0] / 2


def test_a_fault_ends_later_than_it_begins(plain):
    validator = FaceValidator()
    notes = []
    width = plain[0].box_px[2] - plain[0].box_px[0]
    for number, px in enumerate((60, 41, 39.5, 41, 43, 45, 43, 41)):
        notes.append(validator.validate(moved(plain[0], 0, px / width), Frame(LIT, number * 0.5)).note)
    assert notes == ["", "", TOO_FAR, TOO_FAR, TOO_FAR, "", "", ""]


def test_before_the_first_driver_every_face_matches_and_nothing_is_masked(plain):
    lock = DriverLock()
    assert lock.view(LIT, 0.0, searching=True) is LIT
    assert lock.matches(plain[0], 0.0) and not lock.expired(100.0)


# --- with the real tracker


def track(disturb: Disturb, frames: range) -> list[DriverExpression]:
    """What the tracker reads of a disturbed clip."""
    with ExpressionTracker(Timings(), Neutral.absent()) as tracker:
        return [tracker(Frame(disturb(driver()[i], i), i / FPS)) for i in frames]


def test_tracked_live_a_hand_on_the_mouth_is_not_valid():
    expressions = track(CLIPS["hand on mouth"][0], range(30, 80))
    assert all(each.seen and not each.note for each in expressions[:12])
    assert not any(each.seen for each in expressions[30:])
    assert {each.note for each in expressions[30:]} == {COVERED}
    before = np.array([each.expression for each in expressions[8:20]])
    last = expressions[-1].expression
    beyond = np.maximum(before.min(axis=0) - last, last - before.max(axis=0))
    assert beyond.max() < 0.05, "what is held was shown before the hand came"


def test_tracked_live_the_driver_is_found_again_and_not_the_one_beside():
    """The driver ducks away at frame 36 and is back at 96; another person sits beside them all the while."""
    expressions = track(replaced, range(25, 131, 2))
    assert expressions[0].seen and not any(each.seen for each in expressions[10:33])
    assert expressions[-1].seen and {each.note for each in expressions} >= {LOST}
    alone = track(lambda image, _: image, range(117, 131, 2))
    assert np.abs(expressions[-1].expression - alone[-1].expression).max() < 0.3, (
        "the driver's face, not the stranger's"
    )


def test_tracked_live_a_stranger_who_walks_past_does_not_become_the_driver():
    expressions = track(CLIPS["crossed"][0], range(40, 110))
    gone = [i for i, expression in enumerate(expressions, 40) if not expression.seen]
    assert gone and 55 <= gone[0] <= 75 and gone[-1] <= 105
    alone = track(lambda image, _: image, range(100, 110))
    assert np.abs(expressions[-1].expression - alone[-1].expression).max() < 0.3


def test_tracked_live_times_are_the_frames_own():
    """A clip that is read slowly or quickly gives the same expressions."""
    first, second = (track(CLIPS["slides out"][0], range(50, 80)) for _ in range(2))
    assert [each.note for each in first] == [each.note for each in second]
    assert all(np.array_equal(a.expression, b.expression) for a, b in zip(first, second, strict=True))
    assert meshes().shape == (180, 478, 3)
