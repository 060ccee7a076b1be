"""The parity gate: engines that do something else are refused, whatever it is; those that only round
differently are not.
"""

import dataclasses

import numpy as np
import pytest

from engines.backends.interface import Edit
from engines.errors import EngineError
from engines.face.action_units import PAPER_17, translate
from engines.runtime.load import baseline_engine, load
from engines.runtime.parity import EXPRESSIONS, LIMITS, compare, report, stored_cases, write_sheet
from tests.support.fake_backends import Imitation


@pytest.fixture(scope="module")
def reference():
    from engines.bundle import load_bundle

    return baseline_engine(load_bundle("default"))


def changed(**parts):
    """An edit whose named parts went through functions."""
    return lambda edit: dataclasses.replace(
        edit, **{name: change(getattr(edit, name)) for name, change in parts.items()}
    )


def poisoned(field: np.ndarray) -> np.ndarray:
    field = field.copy()
    field[3, 5] = np.nan
    return field


BROKEN = {
    "does nothing": {"edit": changed(attention=np.ones_like, flow=np.zeros_like)},
    "does nine tenths": {"aus": lambda aus: aus * np.float32(0.9)},
    "exchanges red and blue": {"edit": changed(colour=lambda c: c[..., ::-1].copy())},
    "paints a shade too light": {
        "edit": changed(colour=lambda c: np.clip(c.astype(int) + 12, 0, 255).astype(np.uint8))
    },
    "exchanges x and y": {"edit": changed(flow=lambda f: f[..., ::-1].copy())},
    "moves a cell aside": {"edit": changed(flow=lambda f: np.roll(f, 1, axis=0))},
    "moves the photo at rest": {"edit": changed(flow=lambda f: f + np.float32(0.8))},
    "trembles": {
        "edit": changed(
            flow=lambda f: f + np.random.default_rng(0).normal(0, 0.4, f.shape).astype(np.float32)
        )
    },
    "turns attention round": {"edit": changed(attention=lambda a: 1 - a)},
    "takes the AUs in another order": {"aus": lambda aus: np.roll(aus, 1)},
    "answers no numbers": {"edit": changed(attention=poisoned)},
    "flows in another size": {"edit": changed(flow=lambda f: f[::2, ::2].copy())},
    "forgets the flow": {"edit": changed(flow=lambda f: None)},
    "answers in double precision": {"edit": changed(attention=lambda a: a.astype(np.float64))},
}


@pytest.mark.parametrize("how", BROKEN)
def test_an_engine_that_does_something_else_is_refused(reference, how):
    verdict = compare(Imitation(reference, "broken", **BROKEN[how]), reference)
    assert not verdict.passed
    with pytest.raises(EngineError, match=r"broken does not do what .* does .*: it is not used"):
        verdict.require()


@pytest.mark.parametrize("au", ["AU14L", "AU20", "AU23"])
def test_an_engine_that_ignores_one_action_unit_is_refused(reference, au):
    kept = np.float32([name != au for name in reference.bundle.aus])
    cases = [case for case in stored_cases(reference.bundle) if (case.aus * (1 - kept)).any()]
    assert not compare(
        Imitation(reference, "without it", aus=lambda aus: aus * kept), reference, cases
    ).passed


def test_every_action_unit_is_asked_for(reference):
    asked = np.abs([case.aus for case in stored_cases(reference.bundle)]).max(axis=0)
    assert not [name for name, most in zip(reference.bundle.aus, asked, strict=True) if most < 0.3]


def test_a_figure_that_is_no_number_refuses(reference):
    """Whichever engine it comes from: here, the reference."""
    nowhere = Imitation(reference, "nowhere", changed(attention=poisoned))
    verdict = compare(reference, nowhere, stored_cases(reference.bundle)[:2])
    assert np.isnan(verdict.figures["attention mean"]) and any(
        "attention mean nan" in fault for fault in verdict.faults
    )


def test_an_engine_that_only_rounds_differently_passes(reference):
    def rounded(edit: Edit) -> Edit:
        colour = np.clip(
            edit.colour.astype(int) + np.random.default_rng(1).integers(-1, 2, edit.colour.shape), 0, 255
        ).astype(np.uint8)
        return dataclasses.replace(
            edit,
            colour=colour,
            attention=edit.attention.astype(np.float16).astype(np.float32),
            flow=edit.flow.astype(np.float16).astype(np.float32),
        )

    verdict = compare(Imitation(reference, "rounded", rounded), reference)
    assert verdict.passed and verdict.figures["picture mean"] < 0.2, report(verdict)


def test_the_reference_equals_itself_in_every_figure(reference):
    verdict = compare(reference, reference)
    assert verdict.passed and set(verdict.figures) == set(LIMITS) and not any(verdict.figures.values())
    assert [row["case"] for row in verdict.rows] == list(EXPRESSIONS)


def test_an_engine_whose_pictures_show_no_face_is_refused(reference):
    black = changed(colour=np.zeros_like, attention=lambda a: np.zeros_like(a))
    verdict = compare(Imitation(reference, "black", black), reference)
    assert verdict.figures["AUs worst"] == 1.0 and not verdict.passed


def test_the_stored_inputs_are_faces_and_move_when_asked(reference):
    """A gate that compares pictures of nothing, or edits that change nothing, would pass everything."""
    cases = stored_cases(reference.bundle)
    assert (
        len(cases) == len(EXPRESSIONS)
        and not cases[0].aus.any()
        and all(case.aus.any() for case in cases[1:])
    )
    verdict = compare(Imitation(reference, "inert", aus=np.zeros_like), reference)
    still = [row["case"] for row in verdict.rows[1:] if row["picture mean"] < 0.3 or row["AUs worst"] < 0.2]
    assert not still and all(row["AUs mean"] is not None for row in verdict.rows)


def test_a_bundle_of_other_words_size_and_conditioning_is_asked_in_its_own(reference):
    bundle = dataclasses.replace(reference.bundle, aus=PAPER_17, size_px=128, conditioning="absolute")
    cases, own = stored_cases(bundle), stored_cases(reference.bundle)
    assert {case.crop.shape for case in cases} == {(128, 128, 3)} and {case.aus.shape for case in cases} == {
        (17,)
    }
    smile = translate(cases[1].aus, PAPER_17, ("AU12",))[0]
    assert 0.9 <= smile <= 1 and all(0 <= case.aus.min() and case.aus.max() <= 1 for case in cases)
    assert own[1].aus.shape == (29,)


def test_bfloat16_on_this_cpu_passes_if_it_has_it(reference):
    verdict = compare(load(reference.bundle, "cpu"), reference)
    assert verdict.passed, report(verdict)


def test_the_report_says_what_was_measured_and_why_it_was_refused(reference):
    verdict = compare(Imitation(reference, "weak", aus=lambda aus: aus * np.float32(0.5)), reference)
    text = report(verdict)
    assert (
        "REFUSED: picture mean" in text
        and "weak beside" in text
        and all(name in text for name in (*EXPRESSIONS, *LIMITS))
    )


def test_the_sheet_shows_both_and_their_difference(reference, tmp_path):
    import cv2

    write_sheet(
        tmp_path / "sheet.png", Imitation(reference, "weak", aus=lambda aus: aus * np.float32(0.5)), reference
    )
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 256, len(EXPRESSIONS) * 256, 3)
    assert not sheet[512:, :256].any() and sheet[512:, 256:512].max() > 100, (
        "nothing differs at rest, much in a smile"
    )
    with pytest.raises(EngineError, match=r"name a \.png file"):
        write_sheet(tmp_path / "nowhere" / "sheet.png", reference, reference)
