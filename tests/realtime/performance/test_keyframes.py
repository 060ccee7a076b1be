"""Keyframes as JSON: each AU is interpolated between the keyframes that name it, and every mistake names
its place."""

import json
from itertools import pairwise

import numpy as np
import pytest

from engines.errors import CurveError
from engines.face.au_estimator import ESTIMATED
from realtime.performance.curve import Performance
from realtime.performance.load import load_curve
from realtime.session.offline import perform_curve
from tests.support.fakes import speak


def load(tmp_path, frames, **more) -> Performance:
    path = tmp_path / "take.json"
    path.write_text(json.dumps({"version": 1, "keyframes": frames, **more}))
    return load_curve(path)


def values(curve: Performance, au: str, *times_s: float) -> list[float]:
    return [float(curve.at(t)[ESTIMATED.index(au)]) for t in times_s]


def test_an_au_is_interpolated_between_the_keyframes_that_name_it(tmp_path):
    curve = load(
        tmp_path,
        [
            {"time_s": 0, "AU18": 0, "AU25": 1},
            {"time_s": 1, "AU25": 0.2},
            {"time_s": 1.5, "AU25": 0.2},
            {"time_s": 2, "AU18": 1},
        ],
    )
    alone = load(tmp_path, [{"time_s": 0, "AU18": 0}, {"time_s": 2, "AU18": 1}])
    times_s = np.linspace(-0.5, 2.5, 61)
    assert values(curve, "AU18", *times_s) == pytest.approx(values(alone, "AU18", *times_s), abs=1e-6)
    assert values(curve, "AU18", 0.5, 1, 1.5) == pytest.approx([0.15625, 0.5, 0.84375]), "one smooth step"
    assert values(curve, "AU25", 1, 1.2, 1.5, 2, 9) == pytest.approx([0.2] * 5), "held"


def test_before_its_first_and_after_its_last_keyframe_an_au_is_held(tmp_path):
    curve = load(tmp_path, [{"time_s": 1, "AU18": 0.4}, {"time_s": 2, "AU25": 0.6}, {"time_s": 3, "AU25": 0}])
    assert curve.duration_s == 3
    assert values(curve, "AU18", 0, 0.5, 3) == pytest.approx([0.4] * 3)
    assert values(curve, "AU25", 0, 1, 1.9) == pytest.approx([0.6] * 3)


def test_ease_is_how_values_go_on(tmp_path):
    curve = load(
        tmp_path,
        [
            {"time_s": 0, "AU18": 0, "ease": "linear"},
            {"time_s": 1, "AU18": 0.8, "ease": "hold"},
            {"time_s": 2, "AU18": 0.2},
            {"time_s": 3, "AU18": 1},
        ],
    )
    assert values(curve, "AU18", 0.25, 0.5, 0.75, 0.99) == pytest.approx([0.2, 0.4, 0.6, 0.792])
    assert values(curve, "AU18", 1, 1.5, 1.999, 2) == pytest.approx([0.8, 0.8, 0.8, 0.2])
    assert values(curve, "AU18", 2.25, 2.5) == pytest.approx([0.2 + 0.8 * 0.15625, 0.6]), "from rest"


def test_a_long_mixture_is_never_beyond_its_keyframes_and_keeps_them(tmp_path):
    rng = np.random.default_rng(5)
    frames = [{"time_s": 0.0, "AU12L": 0.0, "AU45": 0.0}]
    for number in range(1, 80):
        frame = {
            "time_s": round(number * 0.1 + float(rng.uniform(0, 0.05)), 3),
            "ease": str(rng.choice(["cubic", "linear", "hold"])),
        }
        frames.append(
            frame
            | {
                au: round(float(rng.uniform(-1, 1)), 2)
                for au in ("AU12L", "AU45", "AU04R")
                if rng.random() < 0.5
            }
        )
    curve = load(tmp_path, frames)
    for au, name in (("AU12L", "AU12L"), ("AU45R", "AU45"), ("AU04R", "AU04R")):
        own = [(frame["time_s"], frame[name]) for frame in frames if name in frame]
        for (start_s, start), (end_s, end) in pairwise(own):
            assert values(curve, au, start_s) == [np.float32(start)]
            between = np.array(values(curve, au, *np.linspace(start_s, end_s - 1e-5, 20)))
            assert between.min() >= np.float32(min(start, end)) and between.max() <= np.float32(
                max(start, end)
            )
            assert (np.diff(between) * np.sign(end - start) >= -1e-6).all()
    assert len(list(perform_curve(curve, 25))) == int(frames[-1]["time_s"] * 25) + 1


def test_one_keyframe_is_a_pose_and_a_listed_au_that_none_names_stays_at_0(tmp_path):
    curve = load(tmp_path, [{"time_s": 0, "AU12": 0.5}], aus=["AU12", "AU26"])
    assert curve.at(0) == pytest.approx(speak(ESTIMATED, AU12=0.5)) and curve.at(5) == pytest.approx(
        speak(ESTIMATED, AU12=0.5)
    )


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("", ["line 1", "not JSON"]),
        ('{"version": 1,\n "keyframes": [\n {"time_s": 0,, }]}', ["line 3", "column 15", "not JSON"]),
        ("[" * 100_000, ["not JSON that can be read"]),
        ('{"version": 1, "version": 1}', ["'version' is named twice"]),
        ('{"version": 1, "keyframes": [{"time_s": 0, "AU12": NaN}]}', ["NaN"]),
        ("[]", ["the whole: expected `object`, got `array`"]),
        ('{"keyframes": []}', ["missing required field `version`", '"version": 1']),
        ('{"version": 2, "keyframes": []}', ["version: it is 2", "reads 1"]),
        ('{"version": true, "keyframes": []}', ["version: expected `int`, got `bool`"]),
        ('{"version": 1}', ["missing required field `keyframes`"]),
        ('{"version": 1, "keyframes": []}', ["keyframes: expected `array` of length >= 1"]),
        ('{"version": 1, "keyframes": [{"time_s": 0}]}', ["none of them names an AU"]),
        (
            '{"version": 1, "speed": 2, "keyframes": [{"time_s": 0}]}',
            ["unknown field `speed`", "write it as in"],
        ),
        ('{"version": 1, "keyframes": [3]}', ["keyframes[0]: expected `object`, got `int`"]),
        (
            '{"version": 1, "keyframes": [{"AU12": 1}]}',
            ["keyframes[0]: object missing required field `time_s`"],
        ),
        (
            '{"version": 1, "keyframes": [{"time_s": "0", "AU12": 1}]}',
            ["keyframes[0].time_s: expected `float`, got `str`"],
        ),
        (
            '{"version": 1, "keyframes": [{"time_s": -1, "AU12": 1}]}',
            ["keyframes[0].time_s: expected `float` >= 0", "0 to 21600"],
        ),
        (
            '{"version": 1, "keyframes": [{"time_s": 1, "AU12": 1}, {"time_s": 1, "AU12": 0}]}',
            ["keyframes[1].time_s", "does not come after"],
        ),
        (
            '{"version": 1, "keyframes": [{"time_s": 1, "AU12": 2}]}',
            ["keyframes[0].AU12: expected `float` <= 1", "-1 to 1"],
        ),
        (
            '{"version": 1, "keyframes": [{"time_s": 1, "AU12": 1%s}]}' % ("0" * 400),
            ["keyframes[0].AU12: number out of range", "-1 to 1"],
        ),
        (
            '{"version": 1, "keyframes": [{"time_s": 1, "AU12": true}]}',
            ["keyframes[0].AU12: expected `float`, got `bool`"],
        ),
        (
            '{"version": 1, "keyframes": [{"time_s": 1, "AU12": null}]}',
            ["keyframes[0].AU12: expected `float`, got `null`"],
        ),
        (
            '{"version": 1, "keyframes": [{"time_s": 1, "smile": 1}]}',
            ["keyframes[0]: object contains unknown field `smile`", "known are AU01"],
        ),
        (
            '{"version": 1, "keyframes": [{"time_s": 1, "AU12": 1}, {"time_s": 2, "AU12L": 1}]}',
            ["keyframes[1].AU12L: AU12L stands beside AU12"],
        ),
        (
            '{"version": 1, "keyframes": [{"time_s": 1, "AU12": 1, "ease": "bounce"}]}',
            ["keyframes[0].ease: invalid enum value 'bounce'", "cubic, linear, hold"],
        ),
        ('{"version": 1, "keyframes": [{"time_s": 1, "AU12": 1, "ease": ["cubic"]}]}', ["keyframes[0].ease"]),
        (
            '{"version": 1, "aus": ["AU25"], "keyframes": [{"time_s": 1, "AU12": 1}]}',
            ["keyframes[0].AU12: it is not among aus"],
        ),
        (
            '{"version": 1, "aus": "AU25", "keyframes": [{"time_s": 1, "AU12": 1}]}',
            ["aus: expected `array`, got `str`"],
        ),
        (
            '{"version": 1, "aus": ["AU25", "AU99"], "keyframes": [{"time_s": 1, "AU25": 1}]}',
            ["aus[1]: 'AU99' is not a known AU"],
        ),
        (
            '{"version": 1, "aus": [[]], "keyframes": [{"time_s": 1, "AU25": 1}]}',
            ["aus[0]: expected `str`, got `array`"],
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place(tmp_path, text, fragments):
    path = tmp_path / "take.json"
    path.write_text(text)
    with pytest.raises(CurveError) as caught:
        load_curve(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "take.json"
    path.write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(CurveError, match="not JSON that can be read"):
        load_curve(path)
