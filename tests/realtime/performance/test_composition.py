"""Performances made of others, and how they are written after --driver."""

import numpy as np
import pytest

from engines.errors import CurveError
from engines.face.action_units import GROUPS, sides
from engines.face.au_estimator import ESTIMATED
from realtime.commands import animate
from realtime.messages import DriverExpression
from realtime.performance.composition import CROSSFADE_S, Excerpt, Mix, endless
from realtime.performance.curve import Curve, Performance
from realtime.performance.driver_spec import (
    CurveOptions,
    DriverSpec,
    FacesSpec,
    is_curve,
    load_driver_spec,
    parse_part,
    parse_parts,
)
from realtime.performance.load import load_curve
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.expression_source import CurveExpressions
from realtime.session.live_loop import LiveLoop
from realtime.session.offline import count_pictures, perform_curve
from realtime.session.output_fanout import OutputFanout
from realtime.timing import Timings
from tests.conftest import SAMPLES
from tests.support.fakes import KeepingOutput, StubEngine, speak


def load_spec(texts: list[str]) -> DriverSpec:
    return load_driver_spec(parse_parts(texts))


TALK = load_curve(SAMPLES / "talk.csv")
RAMP = Curve(("AU12", "AU04"), np.array([0.0, 4.0]), np.array([[0, 1], [1, 0]], np.float32))
PLACE = {
    name: [i for i, au in enumerate(ESTIMATED) if au in {s for whole in aus for s in sides(whole)}]
    for name, aus in GROUPS.items()
}


@pytest.fixture
def curves(tmp_path, monkeypatch):
    """a.csv asks 0.5 of everything for 4 s; b.csv rises to 1 in 2 s; c.json is one pose of -0.25; their
    folder is the working one."""
    names = ",".join(ESTIMATED)
    (tmp_path / "a.csv").write_text(
        f"time_s,{names}\n" + "".join(f"{t}{',0.5' * len(ESTIMATED)}\n" for t in (0, 4))
    )
    (tmp_path / "b.csv").write_text(
        f"time_s,{names}\n"
        + "".join(f"{t}{f',{v}' * len(ESTIMATED)}\n" for t, v in ((0, 0), (1, 0.5), (2, 1)))
    )
    (tmp_path / "c.json").write_text(
        '{"version": 1, "keyframes": [{"time_s": 0, "AU01": -0.25, "AU02": -0.25, "AU04": -0.25}]}'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- performances of performances
# ------------------------------------------------------------------------------------------


def test_an_excerpt_without_changes_equals_the_whole_bit_for_bit():
    part = Excerpt(TALK)
    assert part.duration_s == TALK.duration_s
    for time_s in (-1.0, 0.0, 0.04, 1.2345, TALK.duration_s, 99.0):
        assert part.at(time_s).tobytes() == TALK.at(time_s).tobytes()


def test_an_excerpt_is_cut_stretched_and_held_at_its_ends():
    part = Excerpt(TALK, 1.0, 3.0, speed=0.5)
    assert part.duration_s == 4
    for time_s, there_s in ((-1, 1), (0, 1), (1, 1.5), (4, 3), (9, 3)):
        assert np.array_equal(part.at(time_s), TALK.at(there_s))


def test_a_loop_has_no_jump_at_its_seam():
    loop = Excerpt(RAMP, loop=True)
    turn_s = 4 - CROSSFADE_S
    assert np.isinf(loop.duration_s) and loop.fade_s == CROSSFADE_S
    values = np.array([loop.at(t) for t in np.arange(0, 3 * turn_s, 1 / 200)])
    assert np.abs(np.diff(values, axis=0)).max() < 2.5 / CROSSFADE_S / 200, (
        "as fast as a crossfade, no faster"
    )
    assert values.min() == 0 and values.max() > 0.95
    for time_s in (0.0, 0.1, 2.0, turn_s - 0.01):
        assert np.array_equal(loop.at(time_s), RAMP.at(time_s)), "the first turn begins as it is written"
    for time_s in (CROSSFADE_S + 0.01, 2.0):
        assert loop.at(5 * turn_s + time_s) == pytest.approx(RAMP.at(time_s), abs=1e-6)


def test_a_loop_whose_ends_meet_gets_no_crossfade():
    wink = load_curve(SAMPLES / "wink.csv")
    loop = Excerpt(wink, loop=True)
    assert loop.fade_s == 0
    assert loop.at(2 * wink.duration_s + 1) == pytest.approx(wink.at(1), abs=1e-5)
    assert Excerpt(RAMP, loop=True, seam_s=0).fade_s == 0 and Excerpt(RAMP, loop=True, seam_s=9).fade_s == 1


def test_one_moment_can_be_repeated_for_ever():
    pose = Curve(("AU12",), np.zeros(1), np.ones((1, 1), np.float32))
    assert all(np.array_equal(endless(pose).at(t), pose.at(0)) for t in (0, 1, 1e5))


def test_a_loop_is_not_looped_again():
    loop = Excerpt(RAMP, loop=True)
    assert endless(loop) is loop and np.isinf(endless(RAMP).duration_s)


def test_a_performance_without_an_end_needs_a_duration():
    assert (
        count_pictures(RAMP, 10) == 41
        and count_pictures(RAMP, 10, 2.0) == 20
        and count_pictures(RAMP, 10, 60.0) == 41
    )
    assert count_pictures(Excerpt(RAMP, loop=True), 10, 60.0) == 600
    with pytest.raises(CurveError, match="--seconds"):
        count_pictures(Excerpt(RAMP, loop=True), 10)


# --- several at once
# -------------------------------------------------------------------------------------------------------


def test_later_drivers_win_for_their_aus(curves):
    mix = load_spec(["a.csv", "b.csv:mouth", "c.json:brows"]).performance
    assert isinstance(mix, Performance) and mix.duration_s == 4
    values = mix.at(1.0)
    assert (
        (values[PLACE["mouth"]] == 0.5).all()
        and (values[PLACE["eyes"]] == 0.5).all()
        and (values[PLACE["brows"]] == -0.25).all()
    )
    values = mix.at(3.0)
    assert (values[PLACE["mouth"]] == 1).all(), "ended, and held"
    assert len(list(perform_curve(mix, 10))) == 41


def test_a_mix_gives_the_values_of_its_parts_bit_for_bit(curves):
    mix = load_spec([str(SAMPLES / "talk.csv"), f"{SAMPLES / 'wink.csv'}:eyes+AU18"]).performance
    wink, eyes = load_curve(SAMPLES / "wink.csv"), [*PLACE["eyes"], ESTIMATED.index("AU18")]
    rest = [i for i in range(len(ESTIMATED)) if i not in eyes]
    for time_s in np.arange(0, 4, 0.013):
        assert mix.at(time_s)[eyes].tobytes() == wink.at(time_s)[eyes].tobytes()
        assert mix.at(time_s)[rest].tobytes() == TALK.at(time_s)[rest].tobytes()


def test_a_first_driver_may_drive_some_aus_only(curves):
    values = load_spec(["a.csv:brows+AU12L"]).performance.at(0)
    assert {au for au, value in zip(ESTIMATED, values, strict=True) if value} == {
        ESTIMATED[i] for i in PLACE["brows"]
    } | {"AU12L"}


def test_a_loop_in_a_mix_goes_on_while_the_others_last(curves):
    mix = load_spec(["a.csv", "b.csv:mouth@loop=0"]).performance
    assert mix.duration_s == 4 and mix.at(3.0)[PLACE["mouth"]] == pytest.approx(0.5)
    assert np.isinf(load_spec(["a.csv@loop", "b.csv:mouth@loop"]).performance.duration_s)


def test_curves_over_a_camera_begin_with_its_first_expression(curves):
    spec = load_spec(["webcam:1", "b.csv:brows", "c.json:AU04R"])
    assert isinstance(spec, FacesSpec) and spec.path == "webcam:1"
    own = speak(ESTIMATED, AU12=0.7, AU01=0.9)
    for passed_s, brow in ((0.0, 0.0), (1.0, 0.5), (5.0, 1.0)):
        driver = DriverExpression(own, 1000 + passed_s, seen=True, note="too dark")
        mixed = spec.overlay(driver)
        assert (
            mixed.expression[ESTIMATED.index("AU01")] == brow
            and mixed.expression[ESTIMATED.index("AU04R")] == -0.25
        )
        assert mixed.expression[ESTIMATED.index("AU12L")] == np.float32(0.7)
        assert (mixed.captured_s, mixed.seen, mixed.note) == (driver.captured_s, True, "too dark")
    assert own[ESTIMATED.index("AU04R")] == 0, "the driver's own expression is not changed"


def test_a_driver_out_of_view_stays_out_of_view_under_a_curve(curves):
    spec = load_spec(["webcam", "b.csv:brows"])
    assert spec.overlay(DriverExpression(speak(ESTIMATED), 0.0, seen=False)).seen is False


def test_a_camera_alone_and_a_curve_alone_are_not_wrapped(curves):
    assert load_spec(["webcam"]).overlay is None and load_spec(["clip.mp4"]).path == "clip.mp4"
    assert isinstance(load_spec(["a.csv"]).performance, Curve)


def test_a_mix_goes_through_the_live_loop(photo, curves):
    puppet, output, timings = Puppet(photo, StubEngine(), (96, 64)), KeepingOutput(), Timings()
    stage = Animator(puppet, Retarget(puppet.bundle, puppet.own_aus), timings)
    mix = endless(load_spec(["a.csv", "b.csv:mouth@speed=8"]).performance)
    LiveLoop(CurveExpressions(mix, fps=30), stage, OutputFanout([output]), timings, fps=30).run(0.7)
    assert stage.seen and len({image.tobytes() for image in output.images}) > 3


# --- how it is written
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path", "names", "options"),
    [
        ("a.csv", "a.csv", (), CurveOptions()),
        ("b.CSV:mouth", "b.CSV", ("mouth",), CurveOptions()),
        (r"C:\takes\x.csv", r"C:\takes\x.csv", (), CurveOptions()),
        (r"C:\takes\x.csv:mouth+AU06L@speed=2", r"C:\takes\x.csv", ("mouth", "AU06L"), CurveOptions(speed=2)),
        (
            r"\\server\me@home\x.json:eyes@loop",
            r"\\server\me@home\x.json",
            ("eyes",),
            CurveOptions(loop=True),
        ),
        (
            "me@home/old.csv/x.csv@from=1@to=2.5",
            "me@home/old.csv/x.csv",
            (),
            CurveOptions(from_s=1, to_s=2.5),
        ),
        ("a.csv@duration=3@loop=0.5", "a.csv", (), CurveOptions(duration_s=3, loop=True, seam_s=0.5)),
    ],
)
def test_a_file_name_is_separated_from_what_follows_it(text, path, names, options):
    part = parse_part(text)
    assert (part.is_curve, part.path, part.names, part.options) == (True, path, names, options)
    assert is_curve(text)


@pytest.mark.parametrize(
    "text",
    ["webcam", "webcam:1", "webcam:HD Cam @home", "/dev/video2", "clip.mp4", r"C:\clip.mp4", "a.csv.mp4"],
)
def test_other_drivers_are_no_curves(text):
    part = parse_part(text)
    assert not part.is_curve and part.path == text and not is_curve(text)


def test_a_file_may_be_called_anything(tmp_path):
    odd = tmp_path / "b.csv:mouth@loop.csv"
    odd.write_text("time_s,AU12\n0,1\n")
    assert parse_part(str(odd)).path == str(odd) and parse_part(f"{odd}:brows").path == str(odd)


def test_options_can_be_combined(curves):
    part = parse_part("b.csv@from=0.5@to=1.5@duration=4@loop=0").load()
    assert (
        part.duration_s == float("inf")
        and part.at(2.0)[0] == pytest.approx(0.5)
        and part.at(4.0)[0] == pytest.approx(0.25, abs=0.1)
    )
    assert parse_part("b.csv@speed=0.5").load().duration_s == 4


@pytest.mark.parametrize(
    ("texts", "fragments"),
    [
        (["a.csv:nose"], ["a.csv:nose", "'nose' is no group", "eyes", "mouth"]),
        (["a.csv:"], ["'' is no group"]),
        (["a.csv:mouth+AU99"], ["'AU99' is no group"]),
        (["a.csv@slow"], ["@slow is not known", "speed=FACTOR"]),
        (["a.csv@speed"], ["@speed is not known"]),
        (["a.csv@"], ["@ is not known"]),
        (["a.csv@speed=fast"], ["speed=fast is not a number"]),
        (["a.csv@speed=0"], ["outside 0.01 to 100"]),
        (["a.csv@speed=nan"], ["speed=nan is outside"]),
        (["a.csv@speed=2@speed=3"], ["speed is given twice"]),
        (["a.csv@speed=2@duration=3"], ["the same in two ways"]),
        (["a.csv@duration=0"], ["no duration"]),
        (["a.csv@from=3@to=2"], ["to=2 does not come after from=3"]),
        (["a.csv@from=9"], ["past the end", "4 s"]),
        (["c.json@duration=3"], ["one moment"]),
        (["webcam", "clip.mp4"], ["webcam and clip.mp4 cannot both drive"]),
        (["a.csv", "webcam"], ["webcam would cover a.csv wholly", "name it first"]),
        (["a.csv", "b.csv"], ["b.csv would cover a.csv wholly", "b.csv:mouth"]),
        (["webcam", "b.csv@loop"], ["b.csv@loop would cover webcam wholly", "b.csv:mouth"]),
        (["a.csv", "b.csv:mouth", "c.json:mouth"], ["b.csv:mouth would have no effect"]),
        (["a.csv", "b.csv:mouth+eyes+head+gaze", "c.json:brows"], ["a.csv would have no effect"]),
        (["missing.csv:mouth"], ["no AU curve at missing.csv"]),
    ],
)
def test_drivers_that_contradict_one_another_are_refused_in_one_sentence(curves, texts, fragments):
    with pytest.raises(CurveError) as caught:
        load_spec(texts)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mix_of_nothing_that_ends_is_endless():
    assert np.isinf(Mix([]).duration_s)


# --- by the command line
# ---------------------------------------------------------------------------------------------------


def perform(*arguments: str) -> int:
    return animate.main(
        ["--source", str(SAMPLES / "man.jpg"), "--size", "128x96", "--output", "none", *arguments]
    )


def test_drivers_are_mixed_and_the_mix_is_recorded(curves):
    assert (
        perform(
            "--driver",
            "a.csv@to=1",
            "--driver",
            "b.csv:mouth",
            "--driver",
            "c.json:AU04R",
            "--record",
            "take.csv",
            "--fps",
            "10",
        )
        == 0
    )
    take, mix = load_curve("take.csv"), load_spec(["a.csv@to=1", "b.csv:mouth", "c.json:AU04R"]).performance
    assert take.duration_s == 2
    for number in range(21):
        assert take.at(number / 10).tobytes() == mix.at(number / 10).tobytes()


@pytest.mark.slow
def test_a_clip_is_mixed_with_a_curve_over_it(curves):
    assert (
        perform(
            "--driver",
            str(SAMPLES / "driver.mp4"),
            "--driver",
            "b.csv:brows",
            "--record",
            "take.csv",
            "--seconds",
            "1.5",
        )
        == 0
    )
    take, over = load_curve("take.csv"), load_curve("b.csv")
    taken, brows = (np.array([curve.at(number / 30) for number in range(45)]) for curve in (take, over))
    assert taken[:, PLACE["brows"]] == pytest.approx(brows[:, PLACE["brows"]], abs=1e-6) and brows.max() > 0.5
    assert np.ptp(taken[:, PLACE["mouth"]], axis=0).max() > 0.02, "the rest is the driver's"


@pytest.mark.parametrize(
    ("arguments", "status", "fragment"),
    [
        (["--driver", "a.csv", "--driver", "b.csv"], 5, "b.csv:mouth"),
        (["--driver", "a.csv", "--driver", "b.csv:nose"], 5, "'nose' is no group"),
        (["--driver", "a.csv", "--driver", "b.csv:mouth", "--record", "b.csv"], 7, "over what is read"),
        (["--driver", "a.csv@loop"], 5, "--seconds"),
    ],
)
def test_a_mix_that_cannot_be_played_is_refused(curves, capsys, arguments, status, fragment):
    assert perform(*arguments) == status
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("run.py: ") and fragment in said


def test_a_benchmark_has_one_driver(capsys):
    with pytest.raises(SystemExit):
        animate.main(["--benchmark", "--driver", "webcam", "--driver", "b.csv:brows"])
    assert "one --driver" in capsys.readouterr().err
