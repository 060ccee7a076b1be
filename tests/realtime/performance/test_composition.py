"""Performances made of others, and how they are written after --driver."""

import numpy as np
import pytest

import run
from engines.errors import CurveError
from engines.face.action_units import GROUPS, sides
from engines.face.au_estimator import ESTIMATED
from realtime.messages import DriverExpression
from realtime.performance.composition import SEAM_S, Excerpt, Mix, endless
from realtime.performance.curve import Curve, Performance
from realtime.performance.driver_spec import DriverSpec, is_curve, load_driver_spec, parse_part, parse_parts
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


def read_cast(texts: list[str]) -> DriverSpec:
    return load_driver_spec(parse_parts(texts))


TALK = load_curve(SAMPLES / "talk.csv")
RAMP = Curve(("AU12", "AU04"), np.array([0.0, 4.0]), np.array([[0, 1], [1, 0]], np.float32))
PLACE = {
    name: [i for i, au in enumerate(ESTIMATED) if au in {s for whole in aus for s in sides(whole)}]
    for name, aus in GROUPS.items()
}


@pytest.fixture
def curves(tmp_path, monkeypatch):
    """a.csv asks 0.5 of everything for 4 s; b.csv rises to 1 in 2 s; c.json is one pose of -0.25; their folder is the working one."""
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


# --- performances of performances ------------------------------------------------------------------------------------------


def test_an_excerpt_is_the_very_whole_where_nothing_is_changed():
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
    turn_s = 4 - SEAM_S
    assert np.isinf(loop.duration_s) and loop.fade_s == SEAM_S
    told = np.array([loop.at(t) for t in np.arange(0, 3 * turn_s, 1 / 200)])
    assert np.abs(np.diff(told, axis=0)).max() < 2.5 / SEAM_S / 200, "as fast as a crossfade, no faster"
    assert told.min() == 0 and told.max() > 0.95
    for time_s in (0.0, 0.1, 2.0, turn_s - 0.01):
        assert np.array_equal(loop.at(time_s), RAMP.at(time_s)), "the first turn begins as it is written"
    for time_s in (SEAM_S + 0.01, 2.0):
        assert loop.at(5 * turn_s + time_s) == pytest.approx(RAMP.at(time_s), abs=1e-6)


def test_a_loop_whose_ends_meet_is_left_as_it_is():
    wink = load_curve(SAMPLES / "wink.csv")
    loop = Excerpt(wink, loop=True)
    assert loop.fade_s == 0
    assert loop.at(2 * wink.duration_s + 1) == pytest.approx(wink.at(1), abs=1e-5)
    assert Excerpt(RAMP, loop=True, seam_s=0).fade_s == 0 and Excerpt(RAMP, loop=True, seam_s=9).fade_s == 1


def test_one_moment_can_be_repeated_for_ever():
    pose = Curve(("AU12",), np.zeros(1), np.ones((1, 1), np.float32))
    assert all(np.array_equal(endless(pose).at(t), pose.at(0)) for t in (0, 1, 1e5))


def test_what_repeats_itself_is_not_looped_again():
    loop = Excerpt(RAMP, loop=True)
    assert endless(loop) is loop and np.isinf(endless(RAMP).duration_s)


def test_a_performance_without_an_end_is_drawn_for_as_long_as_is_said():
    assert (
        count_pictures(RAMP, 10) == 41
        and count_pictures(RAMP, 10, 2.0) == 20
        and count_pictures(RAMP, 10, 60.0) == 41
    )
    assert count_pictures(Excerpt(RAMP, loop=True), 10, 60.0) == 600
    with pytest.raises(CurveError, match="--seconds"):
        count_pictures(Excerpt(RAMP, loop=True), 10)


# --- several at once -------------------------------------------------------------------------------------------------------


def test_later_drivers_win_for_what_they_are_heard_for(curves):
    mix = read_cast(["a.csv", "b.csv:mouth", "c.json:brows"]).performance
    assert isinstance(mix, Performance) and mix.duration_s == 4
    told = mix.at(1.0)
    assert (
        (told[PLACE["mouth"]] == 0.5).all()
        and (told[PLACE["eyes"]] == 0.5).all()
        and (told[PLACE["brows"]] == -0.25).all()
    )
    told = mix.at(3.0)
    assert (told[PLACE["mouth"]] == 1).all(), "over, and held"
    assert len(list(perform_curve(mix, 10))) == 41


def test_a_mix_gives_the_very_values_of_its_parts(curves):
    mix = read_cast([str(SAMPLES / "talk.csv"), f"{SAMPLES / 'wink.csv'}:eyes+AU18"]).performance
    wink, eyes = load_curve(SAMPLES / "wink.csv"), [*PLACE["eyes"], ESTIMATED.index("AU18")]
    rest = [i for i in range(len(ESTIMATED)) if i not in eyes]
    for time_s in np.arange(0, 4, 0.013):
        assert mix.at(time_s)[eyes].tobytes() == wink.at(time_s)[eyes].tobytes()
        assert mix.at(time_s)[rest].tobytes() == TALK.at(time_s)[rest].tobytes()


def test_a_first_driver_may_be_heard_for_a_part_alone(curves):
    told = read_cast(["a.csv:brows+AU12L"]).performance.at(0)
    assert {au for au, value in zip(ESTIMATED, told, strict=True) if value} == {
        ESTIMATED[i] for i in PLACE["brows"]
    } | {"AU12L"}


def test_a_loop_in_a_mix_goes_on_while_the_others_last(curves):
    mix = read_cast(["a.csv", "b.csv:mouth@loop=0"]).performance
    assert mix.duration_s == 4 and mix.at(3.0)[PLACE["mouth"]] == pytest.approx(0.5)
    assert np.isinf(read_cast(["a.csv@loop", "b.csv:mouth@loop"]).performance.duration_s)


def test_curves_are_laid_over_a_camera_from_its_first_word_on(curves):
    cast = read_cast(["webcam:1", "b.csv:brows", "c.json:AU04R"])
    assert cast.frames == "webcam:1" and cast.performance is None
    own = speak(ESTIMATED, AU12=0.7, AU01=0.9)
    for passed_s, brow in ((0.0, 0.0), (1.0, 0.5), (5.0, 1.0)):
        word = DriverExpression(own, 1000 + passed_s, seen=True, note="too dark")
        told = cast.overlay(word)
        assert (
            told.expression[ESTIMATED.index("AU01")] == brow
            and told.expression[ESTIMATED.index("AU04R")] == -0.25
        )
        assert told.expression[ESTIMATED.index("AU12L")] == np.float32(0.7)
        assert (told.captured_s, told.seen, told.note) == (word.captured_s, True, "too dark")
    assert own[ESTIMATED.index("AU04R")] == 0, "what the driver said is not written over"


def test_a_driver_who_is_not_seen_is_not_seen_under_a_curve_either(curves):
    cast = read_cast(["webcam", "b.csv:brows"])
    assert cast.overlay(DriverExpression(speak(ESTIMATED), 0.0, seen=False)).seen is False


def test_a_camera_alone_and_a_curve_alone_are_what_they_were(curves):
    assert read_cast(["webcam"]).overlay is None and read_cast(["clip.mp4"]).frames == "clip.mp4"
    assert isinstance(read_cast(["a.csv"]).performance, Curve)


def test_a_mix_goes_through_the_live_loop(photo, curves):
    puppet, output, timings = Puppet(photo, StubEngine(), (96, 64)), KeepingOutput(), Timings()
    stage = Animator(puppet, Retarget(puppet.bundle, puppet.own_aus), timings)
    mix = endless(read_cast(["a.csv", "b.csv:mouth@speed=8"]).performance)
    LiveLoop(CurveExpressions(mix, fps=30), stage, OutputFanout([output]), timings, fps=30).run(0.7)
    assert stage.seen and len({image.tobytes() for image in output.images}) > 3


# --- how it is written -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path", "heard", "ways"),
    [
        ("a.csv", "a.csv", (), {}),
        ("b.CSV:mouth", "b.CSV", ("mouth",), {}),
        (r"C:\takes\x.csv", r"C:\takes\x.csv", (), {}),
        (r"C:\takes\x.csv:mouth+AU06L@speed=2", r"C:\takes\x.csv", ("mouth", "AU06L"), {"speed": 2}),
        (r"\\server\me@home\x.json:eyes@loop", r"\\server\me@home\x.json", ("eyes",), {"loop": None}),
        ("me@home/old.csv/x.csv@from=1@to=2.5", "me@home/old.csv/x.csv", (), {"from": 1, "to": 2.5}),
        ("a.csv@duration=3@loop=0.5", "a.csv", (), {"duration": 3, "loop": 0.5}),
    ],
)
def test_names_of_files_are_told_from_what_follows_them(text, path, heard, ways):
    part = parse_part(text)
    assert (part.is_curve, part.path, part.heard, dict(part.ways)) == (True, path, heard, ways) and is_curve(
        text
    )


@pytest.mark.parametrize(
    "text",
    ["webcam", "webcam:1", "webcam:HD Cam @home", "/dev/video2", "clip.mp4", r"C:\clip.mp4", "a.csv.mp4"],
)
def test_what_is_no_curve_is_left_to_others(text):
    part = parse_part(text)
    assert not part.is_curve and part.path == text and not is_curve(text)


def test_a_file_may_be_called_anything(tmp_path):
    odd = tmp_path / "b.csv:mouth@loop.csv"
    odd.write_text("time_s,AU12\n0,1\n")
    assert parse_part(str(odd)).path == str(odd) and parse_part(f"{odd}:brows").path == str(odd)


def test_ways_to_play_come_together(curves):
    part = parse_part("b.csv@from=0.5@to=1.5@duration=4@loop=0").load()
    assert (
        part.duration_s == float("inf")
        and part.at(2.0)[0] == pytest.approx(0.5)
        and part.at(4.0)[0] == pytest.approx(0.25, abs=0.1)
    )
    assert parse_part("b.csv@speed=0.5").load().duration_s == 4


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["a.csv:nose"], ["a.csv:nose", "'nose' is no group", "eyes", "mouth"]),
        (["a.csv:"], ["'' is no group"]),
        (["a.csv:mouth+AU99"], ["'AU99' is no group"]),
        (["a.csv@slow"], ["@slow means nothing", "speed=FACTOR"]),
        (["a.csv@speed"], ["@speed means nothing"]),
        (["a.csv@"], ["@ means nothing"]),
        (["a.csv@speed=fast"], ["speed=fast is not a number"]),
        (["a.csv@speed=0"], ["outside 0.01 to 100"]),
        (["a.csv@speed=nan"], ["speed=nan is outside"]),
        (["a.csv@speed=2@speed=3"], ["speed is said twice"]),
        (["a.csv@speed=2@duration=3"], ["the same in two ways"]),
        (["a.csv@duration=0"], ["no duration"]),
        (["a.csv@from=3@to=2"], ["to=2 does not come after from=3"]),
        (["a.csv@from=9"], ["past the end", "4 s"]),
        (["c.json@duration=3"], ["one moment"]),
        (["webcam", "clip.mp4"], ["webcam and clip.mp4 cannot both drive"]),
        (["a.csv", "webcam"], ["webcam would cover a.csv wholly", "name it first"]),
        (["a.csv", "b.csv"], ["b.csv would cover a.csv wholly", "b.csv:mouth"]),
        (["webcam", "b.csv@loop"], ["b.csv@loop would cover webcam wholly", "b.csv:mouth"]),
        (["a.csv", "b.csv:mouth", "c.json:mouth"], ["b.csv:mouth would not be heard at all"]),
        (["a.csv", "b.csv:mouth+eyes+head+gaze", "c.json:brows"], ["a.csv would not be heard at all"]),
        (["missing.csv:mouth"], ["no AU curve at missing.csv"]),
    ],
)
def test_drivers_that_contradict_one_another_are_told_in_one_sentence(curves, texts, words):
    with pytest.raises(CurveError) as caught:
        read_cast(texts)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mix_of_nothing_that_ends_is_endless():
    assert np.isinf(Mix([]).duration_s)


# --- as a person uses it ---------------------------------------------------------------------------------------------------


def perform(*arguments: str) -> int:
    return run.main(
        ["--source", str(SAMPLES / "man.jpg"), "--size", "128x96", "--output", "none", *arguments]
    )


def test_drivers_are_mixed_and_what_they_say_together_is_recorded(curves):
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
    take, mix = load_curve("take.csv"), read_cast(["a.csv@to=1", "b.csv:mouth", "c.json:AU04R"]).performance
    assert take.duration_s == 2
    for number in range(21):
        assert take.at(number / 10).tobytes() == mix.at(number / 10).tobytes()


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
    told, brows = (np.array([curve.at(number / 30) for number in range(45)]) for curve in (take, over))
    assert told[:, PLACE["brows"]] == pytest.approx(brows[:, PLACE["brows"]], abs=1e-6) and brows.max() > 0.5
    assert np.ptp(told[:, PLACE["mouth"]], axis=0).max() > 0.02, "the rest is the driver's"


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["--driver", "a.csv", "--driver", "b.csv"], 5, "b.csv:mouth"),
        (["--driver", "a.csv", "--driver", "b.csv:nose"], 5, "'nose' is no group"),
        (["--driver", "a.csv", "--driver", "b.csv:mouth", "--record", "b.csv"], 7, "over what is read"),
        (["--driver", "a.csv@loop"], 5, "--seconds"),
    ],
)
def test_a_mix_that_cannot_be_played_is_told(curves, capsys, arguments, status, word):
    assert perform(*arguments) == status
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("run.py: ") and word in said


def test_a_benchmark_has_one_driver(capsys):
    with pytest.raises(SystemExit):
        run.main(["--benchmark", "--driver", "webcam", "--driver", "b.csv:brows"])
    assert "one --driver" in capsys.readouterr().err
