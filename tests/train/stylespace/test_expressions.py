"""Synthetic people in several expressions: what is edited, what is left alone, and what is left out."""

from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from engines.face import au_estimator
from engines.face.action_units import WIDE
from engines.face.landmarks import FaceReader
from train.data.inputs import find_jobs
from train.data.split import DEFAULT_SPLIT
from train.stylespace import expressions
from train.stylespace.actions import ACTIONS, Plan, draw_plan
from train.stylespace.checks import beard, glasses, glasses_changed, skull_change
from train.stylespace.directions import load_directions
from train.stylespace.masks import EYE_LEFT, EYE_RIGHT, MASK_PX, REGIONS, region_masks

needs_wheel = pytest.mark.skipif(find_spec("random_face") is None, reason="needs the wheel random-face")


@pytest.fixture(scope="module")
def face(photo):
    with FaceReader() as reader:
        return reader.read(photo)[0]


def test_every_edit_of_an_action_ships():
    directions = load_directions()
    wanted = {name for action in ACTIONS.values() for name in action.edits} | {"shave"}
    assert wanted <= set(directions.edits)
    assert {edit.shape for edit in directions.edits.values()} == {(6752,)} and directions.yaw.shape == (512,)


def test_a_plan_is_a_function_of_its_seed_and_always_moves_something():
    plans = [draw_plan(np.random.default_rng((7, number))) for number in range(200)]
    assert plans == [draw_plan(np.random.default_rng((7, number))) for number in range(200)]
    assert all(plan.actions or plan.turned for plan in plans)
    assert {action.name for plan in plans for action, _ in plan.actions} == set(ACTIONS)
    half = Plan(((ACTIONS["smile"], 1.0),), 4.0, -10.0).weaker(0.5)
    assert half.actions[0][1] == 0.5 and (half.pitch_deg, half.yaw_deg) == (2.0, -5.0)


def test_masks_keep_to_their_part_of_the_face(face):
    height = 1000.0
    masks = region_masks(face.landmarks_px, height)
    assert masks.shape == (REGIONS, MASK_PX, MASK_PX) and 0 <= masks.min() and masks.max() <= 1
    x, y = (face.landmarks_px[[33, 133]].mean(axis=0) * MASK_PX / height).astype(int)
    at_right_eye = masks[:, y, x]
    assert at_right_eye[EYE_RIGHT] > 0.95 and np.delete(at_right_eye, EYE_RIGHT).max() < 0.05
    assert masks[EYE_LEFT, y, x] < 0.01
    for eye in (EYE_RIGHT, EYE_LEFT):
        others = np.delete(masks, eye, axis=0)
        assert (masks[eye] + others).max() < 1.15, "but for the soft edges of both eyes on the nose"


def test_a_beard_glasses_and_another_skull_are_noticed(photo, face):
    points = face.landmarks_px
    shaded = photo.copy()
    for place in (17, 152, 172, 397, 61, 291, 165, 391):
        cv2.circle(
            shaded,
            tuple(int(c) for c in points[place]),
            int(0.3 * np.ptp(points[[33, 263], 0])),
            (20,) * 3,
            -1,
        )
    assert beard(shaded, points) > beard(photo, points) + 30
    with_bar = photo.copy()
    across = int(0.06 * np.ptp(points[[33, 263], 0]))
    ends = [tuple(int(c) for c in points[eye]) for eye in (133, 362)]
    cv2.line(with_bar, *ends, (0, 0, 0), max(2, across))
    before, after = glasses(photo, points), glasses(with_bar, points)
    assert after > before + 0.2 and glasses_changed(0.1, 0.5) and not glasses_changed(0.2, 0.5)
    assert skull_change(face.mesh_px, face.mesh_px * 2 + 5) < 1e-4, "a face that is nearer is the same"
    longer = face.mesh_px.copy()
    longer[points[:, 1] < points[33, 1], 1] -= 0.3 * np.ptp(points[[33, 263], 0])
    assert skull_change(face.mesh_px, longer) > 0.03


def test_expressions_are_jobs_of_one_person_and_their_seed_is_held_out_in_both_sources():
    plain, drawn = next(find_jobs(["nobody:1"])), next(find_jobs(["nobody:1"], expressions=8))
    assert (plain.source, plain.pictures) == ("nobody_adults", 1)
    assert (drawn.source, drawn.pictures, drawn.seed) == ("nobody_expressions", 9, plain.seed)
    numbers = range(300)
    held_out = {
        source: [DEFAULT_SPLIT.holds_out(f"{source}/nobody-{number:06d}") for number in numbers]
        for source in ("nobody_adults", "nobody_expressions")
    }
    assert held_out["nobody_adults"] == held_out["nobody_expressions"] and any(held_out["nobody_adults"])


class Recorded:
    """A double of the drawer: faces as given, whatever is asked for."""

    likeness = None

    class generator:
        channels = 4
        directions = type("D", (), {"edits": dict.fromkeys([*load_directions().edits], np.zeros(4))})

        @staticmethod
        def latent(_seed):
            return np.zeros(512)

        @staticmethod
        def styles(*_turn):
            return []

    def __init__(self, *answers):
        self.answers = list(answers)

    def look(self, *_request):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_what_is_left_out_has_a_reason(photo, face):
    base = expressions.Drawn(0, photo, face)
    same = expressions._Person(Recorded(base), np.zeros(512), base)
    assert same.show(1, Plan(((ACTIONS["smile"], 1.0),))) is base
    assert same.show(1, Plan(((ACTIONS["lids"], 1.0),))) == expressions.LIDS_OPEN
    nothing = expressions._Person(Recorded(None), np.zeros(512), base)
    assert nothing.show(1, Plan(((ACTIONS["smile"], 1.0),))) == expressions.NO_FACE
    mesh = face.landmarks_px.copy()
    mesh[mesh[:, 1] < mesh[33, 1], 1] -= 80
    other = expressions.Drawn(1, photo, type(face)(mesh, face.depth_px, face.blendshapes))
    changed = expressions._Person(Recorded(other), np.zeros(512), base)
    assert changed.show(1, Plan(((ACTIONS["smile"], 1.0),))) == expressions.ANOTHER_PERSON


@pytest.mark.slow
@needs_wheel
def test_the_same_seed_is_the_same_picture_and_lids_shut_while_the_rest_stays():
    from train.stylespace.generator import FaceGenerator

    with FaceReader() as reader:
        drawer = expressions.ExpressionDrawer(FaceGenerator(threads=1), reader)
        w = drawer.generator.latent(12)
        base = drawer.look(0, drawer.generator.styles(w))
        again = drawer.look(0, drawer.generator.styles(drawer.generator.latent(12)))
        assert base is not None and again is not None and (base.picture == again.picture).all()
        person = expressions._Person(drawer, w, base)
        shut, smiling = (person.show(1, Plan(((ACTIONS[name], 1.0),))) for name in ("lids", "closed smile"))
    assert isinstance(shut, expressions.Drawn) and isinstance(smiling, expressions.Drawn)
    lids, lips = [WIDE.index(au) for au in ("AU45R", "AU45L")], WIDE.index("AU25")
    own, blinking, closed = (au_estimator.measure(drawn.face) for drawn in (base, shut, smiling))
    assert blinking[lids].min() > 0.9 > own[lids].max() + 0.4
    assert closed[lips] < own[lips] - 0.1, "lips that were apart close"
    below = int(base.face.landmarks_px[2, 1])
    rest = np.abs(shut.picture[below:].astype(int) - base.picture[below:]).mean()
    eyes = np.abs(shut.picture[:below].astype(int) - base.picture[:below]).mean()
    assert rest < 1.0 < eyes, "the mouth, the chin and what is below are left alone"
