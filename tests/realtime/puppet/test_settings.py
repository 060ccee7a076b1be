"""How a driver's expression becomes the puppet's: presets, the command line before them, every setting's
effect, and idle life.
"""

import argparse

import numpy as np
import pytest

from engines.errors import SettingsError
from engines.face.action_units import EXPRESSION, GAZE, GROUPS, HEAD, PAPER_17, WIDE, opposites, whole, wholes
from engines.face.au_estimator import ESTIMATED, index
from realtime.commands import animate, settings_options
from realtime.messages import DriverExpression
from realtime.performance.load import load_curve
from realtime.puppet import settings
from realtime.puppet.idle_motion import BLINK_S, EASE_S, STILL_S, IdleMotion
from realtime.puppet.retarget import Retarget
from realtime.puppet.settings import DEAD_ZONE, Settings, load
from tests.conftest import SAMPLES
from tests.support.fakes import StubEngine, speak

EVERYTHING = """
[mine]
strength = 1.2
head = 0.5
gaze = 1.5
symmetric = true
groups = ["eyes", "brows"]
idle = true
seed = 7
[mine.all]
dead_zone = 0.05
[mine.AU12]
gain = 1.5
limit = 0.8
[mine.AU12L]
gain = 0.5
[other]
"""


@pytest.fixture
def preset(tmp_path):
    """A preset file with this text -> its path."""

    def write(text: str) -> str:
        path = tmp_path / "presets.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    settings_options.add_options(parser)
    return parser.parse_args(arguments)


# --- presets and the command line
# --------------------------------------------------------------------------------------------


def test_every_au_is_in_one_group():
    assert sorted(au for group in GROUPS.values() for au in group) == sorted(wholes(EXPRESSION))


def test_a_preset_is_read_and_printed_as_it_is(preset):
    mine = load(preset(EVERYTHING) + ":mine")
    assert (mine.strength, mine.symmetric, mine.groups, mine.idle, mine.seed) == (
        1.2,
        True,
        ("brows", "eyes"),
        True,
        7,
    )
    assert (mine.head, mine.gaze) == (0.5, 1.5)
    assert mine.table("gain")[index(["AU12R", "AU12L", "AU25"])].tolist() == [1.5, 0.5, 1.0], (
        "a side goes before the whole"
    )
    assert mine.table("limit")[index(["AU12"])] == pytest.approx([0.8, 0.8]) and mine.table(
        "dead_zone"
    ) == pytest.approx(0.05)
    assert load(preset(mine.toml("again"))) == mine


@pytest.mark.parametrize("name", settings.shipped())
def test_presets_that_ship_can_be_used(name):
    assert load(name).toml(name)


def test_the_command_line_goes_before_the_preset(preset):
    path = preset(EVERYTHING) + ":mine"
    said = options(
        "--preset",
        path,
        "--strength",
        "50%",
        "--no-idle",
        "--groups",
        "mouth",
        "--au",
        "AU12L:limit=0.3",
        "--seed",
        "0",
    )
    chosen = settings_options.chosen(said)
    assert (chosen.strength, chosen.idle, chosen.groups, chosen.seed, chosen.symmetric) == (
        0.5,
        False,
        ("mouth",),
        0,
        True,
    )
    assert chosen.aus["AU12L"] == {"gain": 0.5, "limit": 0.3}
    assert settings_options.chosen(options("--preset", path)) == load(path)


def test_print_config_shows_the_result_and_needs_no_photo(preset, capsys):
    assert (
        animate.main(["--preset", preset(EVERYTHING) + ":mine", "--strength", "0.5", "--print-config"]) == 0
    )
    assert load(preset(capsys.readouterr().out)) == load(preset(EVERYTHING) + ":mine").with_flags(
        strength=0.5
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mine\n", ("line 1", "no TOML")),
        ("strength = 1\n", ("line 1", "[mine]")),
        ("[mine]\nidle = true\nstrength = 3\n", ("line 3", "0 to 2")),
        ("[mine]\nstrength = true\n", ("line 2", "0 to 2")),
        ("[mine]\nsymmetric = 1\n", ("line 2", "true or false")),
        ("[mine]\n\nhead = 1.6\n", ("line 3", "head", "0 to 1.5")),
        ("[mine]\ngaze = 'left'\n", ("line 2", "left", "0 to 1.5")),
        ("[mine]\nseed = -1\n", ("line 2", "whole number")),
        ("[mine]\n# a remark\ngroups = ['nose']\n", ("line 3", "nose", "brows, eyes, mouth")),
        ("[mine]\nspeed = 1\n", ("line 2", "speed", "strength")),
        ("[mine]\n[mine.AU99]\ngain = 1\n", ("line 2", "AU99", "AU12")),
        ("[mine]\n[mine.AU04]\ngain = 1\n[mine.AU12]\n\ngain = 9\n", ("line 6", "0 to 5")),
        ("[mine]\n[mine.all]\nvolume = 1\n", ("line 3", "volume", "dead_zone")),
        ("[mine]\n[mine.all]\nlimit = 'much'\n", ("line 3", "much", "0 to 1")),
    ],
)
def test_a_broken_preset_is_told_with_file_line_and_cure(preset, capsys, text, words):
    assert animate.main(["--preset", preset(text), "--print-config"]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in ("presets.toml", *words)), message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--preset", "nobody"], "natural"),
        (["--preset", "none.toml"], "cannot be read"),
        (["--strength", "3"], "0 to 2"),
        (["--strength", "strong"], "140%"),
        (["--head", "2"], "--head 2 is outside 0 to 1.5"),
        (["--gaze", "170%"], "--gaze 170% is outside"),
        (["--groups", "nose"], "brows, eyes, mouth"),
        (["--au", "AU12"], "sets nothing"),
        (["--au", "AU99:gain=1"], "not known"),
        (["--au", "AU12:gain=much"], "not a number"),
        (["--au", "AU12:gain=9"], "0 to 5"),
        (["--seed", "-1"], "0 or more"),
    ],
)
def test_a_wrong_flag_is_told_in_one_sentence(capsys, arguments, word):
    assert animate.main([*arguments, "--print-config"]) == 2
    message = capsys.readouterr().err
    assert word in message and message.count("\n") == 1, message


def test_a_file_with_two_presets_wants_a_name(preset):
    with pytest.raises(SettingsError, match="mine, other"):
        load(preset(EVERYTHING))


# --- what each does
# ----------------------------------------------------------------------------------------------------


def asked(settings: Settings, vocabulary=WIDE, **change: float) -> dict[str, float]:
    """The change that a puppet at rest is asked for by a driver's change, where it is not 0."""
    target = Retarget(StubEngine(aus=vocabulary).bundle, speak(ESTIMATED), settings)(
        speak(ESTIMATED, **change)
    )
    return {au: round(float(value), 3) for au, value in zip(vocabulary, target, strict=True) if value}


def calm(value: float, dead_zone: float = DEAD_ZONE) -> float:
    return round((value - dead_zone) / (1 - dead_zone), 3)


def test_gain_limit_and_strength_are_of_one_au_and_of_all():
    loud = Settings(strength=0.5).with_au("AU12:gain=1.6,limit=0.6").with_au("AU12L:gain=4")
    assert asked(loud, AU12R=0.5, AU12L=0.5, AU25=0.5) == {
        "AU12R": round(calm(0.5) * 0.8, 3), "AU12L": 0.6, "AU25": round(calm(0.5) * 0.5, 3),
    }  # fmt: skip


def test_a_dead_zone_swallows_tremble_and_full_stays_full():
    wide = Settings().with_au("all:dead_zone=0.2")
    assert asked(wide, AU12=0.2, AU04=1.0) == {"AU04R": 1.0, "AU04L": 1.0}
    assert asked(wide, AU25=0.6) == {"AU25": calm(0.6, 0.2)}


def test_an_offset_is_always_there_and_counts_for_the_limit():
    smile = Settings().with_au("AU12:offset=0.3,limit=0.5")
    assert asked(smile) == {"AU12R": 0.3, "AU12L": 0.3}
    assert asked(smile, AU12=0.9) == {"AU12R": 0.5, "AU12L": 0.5}


def test_groups_that_are_off_leave_the_photo_as_it_is():
    everything = dict.fromkeys(ESTIMATED, 1.0) | {
        "AU45R": 0.5,
        "AU45L": 0.5,
    }  # shut eyes leave nothing to other lid AUs
    eyes = asked(Settings(groups=("eyes",)), **everything)
    assert set(map(whole, eyes)) == set(GROUPS["eyes"])
    assert not asked(Settings(groups=()), **everything)


def test_symmetric_gives_both_sides_the_mean():
    assert asked(Settings(symmetric=True), AU45L=1.0, AU18=1.0) == {
        "AU45R": calm(0.5),
        "AU45L": calm(0.5),
        "AU18": 1.0,
    }


def test_an_engine_without_sides_gets_the_mean_of_what_its_sides_were_set_to():
    assert asked(Settings().with_au("AU12L:gain=0"), PAPER_17, AU12=1.0) == {"AU12": 0.5}


def test_settings_can_be_changed_while_it_plays():
    retarget = Retarget(StubEngine(aus=WIDE).bundle, speak(ESTIMATED))
    retarget.settings = Settings(strength=0.0)
    assert not retarget(speak(ESTIMATED, AU12=1)).any()


# --- head and gaze
# ----------------------------------------------------------------------------------------------------


def followed(settings: Settings, **change: float) -> tuple[float, ...]:
    """pitch, yaw and roll in degrees, scale; and the eyes' right and down in eye widths."""
    retarget = Retarget(StubEngine(aus=WIDE).bundle, speak(ESTIMATED), settings)
    asked = speak(EXPRESSION, **change)
    pose, gaze = retarget.pose(asked), retarget.gaze(asked)
    return pose.pitch_deg, pose.yaw_deg, pose.roll_deg, pose.scale, gaze.right, gaze.down


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"AU51": 1.0}, (0, 30, 0, 1, 0, 0)),  # the person's left is the picture's right
        ({"AU52": 0.5}, (0, -14.85, 0, 1, 0, 0)),
        ({"AU53": 1.0}, (-30, 0, 0, 1, 0, 0)),
        ({"AU54": 1.0, "AU55": 1.0}, (30, 0, 30, 1, 0, 0)),
        ({"AU57": 1.0}, (0, 0, 0, 1.25, 0, 0)),
        ({"AU58": 1.0}, (0, 0, 0, 0.8, 0, 0)),
        ({"AU61": 1.0}, (0, 0, 0, 1, 0.28, 0)),
        ({"AU62": 1.0, "AU64": 1.0}, (0, 0, 0, 1, -0.28, 0.16)),
    ],
)
def test_head_and_eyes_go_to_the_persons_own_sides(change, wanted):
    assert followed(Settings(), **change) == pytest.approx(wanted, abs=0.01)


def test_head_and_gaze_have_strengths_of_their_own():
    both = {"AU51": 0.5, "AU61": 0.5}
    assert followed(Settings(strength=0.0), **both) == followed(Settings(), **both)
    _, yaw, _, _, right, _ = followed(Settings(head=1.5, gaze=0.0), **both)
    assert yaw == pytest.approx(1.5 * followed(Settings(), **both)[1]) and right == 0
    assert followed(Settings(groups=("brows", "mouth")), **both) == (0, 0, 0, 1, 0, 0)


def test_a_trembling_head_at_rest_leaves_the_photo_as_it_is():
    retarget = Retarget(StubEngine(aus=WIDE).bundle, speak(ESTIMATED))
    tremble = speak(EXPRESSION, AU51=0.009, AU54=0.01, AU62=0.04)
    assert retarget.pose(tremble).at_rest and retarget.gaze(tremble).at_rest


# --- idle life
# ----------------------------------------------------------------------------------------------------


def watch(
    idle: IdleMotion,
    seconds: float,
    fps: float,
    driver=lambda _t: DriverExpression(speak(ESTIMATED), 0.0, seen=False),
) -> np.ndarray:
    """(T, 41) of what is shown."""
    return np.array([idle.over(driver(n / fps), n / fps).expression for n in range(int(seconds * fps))])


def blinks(shown: np.ndarray) -> int:
    shut = shown[:, index(["AU45"])].mean(axis=1) > 0.5
    return int((np.diff(shut.astype(int)) == 1).sum())


def test_idle_life_is_the_same_for_a_seed_whatever_the_frame_rate():
    slow, fast = watch(IdleMotion(3), 60, 25), watch(IdleMotion(3), 60, 50)
    assert slow[50:] == pytest.approx(fast[100::2], abs=1e-5)
    assert not np.array_equal(watch(IdleMotion(4), 60, 25), slow)


def test_a_driver_who_is_away_leaves_a_puppet_that_blinks_as_people_do_and_stirs_a_little():
    shown = watch(IdleMotion(1), 120, 30)
    assert 20 <= blinks(shown) <= 60
    rest = shown[:, [i for i, au in enumerate(WIDE) if whole(au) != "AU45"]]
    assert DEAD_ZONE < rest.max() < 0.15 and shown.min() >= 0
    assert np.abs(np.diff(rest, axis=0)).max() < 0.01, "it drifts, it does not twitch"


def test_a_driver_who_moves_is_left_alone_and_one_who_stops_gets_life_after_a_while():
    def talking(t: float) -> DriverExpression:
        return DriverExpression(
            speak(ESTIMATED, AU26=0.4 + 0.4 * np.sin(9 * t) if t < 20 else 0.0), t, seen=True
        )

    shown = watch(IdleMotion(1), 60, 30, talking)
    asked = np.array([talking(n / 30).expression for n in range(60 * 30)])
    assert np.array_equal(shown[: 20 * 30], asked[: 20 * 30])
    assert np.array_equal(
        shown[20 * 30 : int((19.5 + STILL_S) * 30)], asked[20 * 30 : int((19.5 + STILL_S) * 30)]
    )
    assert blinks(shown[int((20 + STILL_S + EASE_S) * 30) :]) > 5


def test_a_blink_shuts_and_opens_in_its_time():
    shown = watch(IdleMotion(1), 60, 200)[:, index(["AU45L"])[0]]
    lengths = np.diff(np.flatnonzero(np.diff((shown > 0).astype(int))))[::2] / 200
    assert lengths == pytest.approx(BLINK_S, abs=0.02) and shown.max() > 0.95


def test_without_idle_nothing_is_added_and_with_it_a_take_holds_it(tmp_path):
    curve = tmp_path / "still.csv"
    curve.write_text("time_s,AU12\n0,0.2\n12,0.2\n")
    for flags, moving in ((["--idle", "--seed", "5"], True), ([], False)):
        take = tmp_path / "take.csv"
        command = [
            "--source",
            str(SAMPLES / "man.jpg"),
            "--driver",
            str(curve),
            "--output",
            "none",
            "--fps",
            "10",
            "--size",
            "64x64",
        ]
        assert animate.main([*command, "--record", str(take), *flags]) == 0
        recorded = load_curve(take)
        values = np.array([recorded.at(t) for t in np.arange(0, 12, 0.1)])
        assert (np.ptp(values, axis=0).max() > 0.3) == moving


def test_an_idle_head_sways_slowly_and_eyes_glance_now_and_then():
    shown = opposites(watch(IdleMotion(1), 120, 30))
    turn, nod = shown[:, 0], shown[:, 1]
    assert 0.03 < np.abs(turn).max() < 0.1 and 0.02 < np.abs(nod).max() < 0.1
    assert np.abs(np.diff(shown[:, :4], axis=0)).max() < 0.005, (
        "a degree takes a quarter of a second at least"
    )
    aside = np.abs(shown[:, 4:]).max(axis=1) > 0.01
    glances = int((np.diff(aside.astype(int)) == 1).sum())
    assert 10 <= glances <= 40 and 0.05 < aside.mean() < 0.4
    assert np.abs(shown[:, 4:]).max() < 0.6


def test_a_head_that_turns_slowly_counts_as_a_movement_and_a_glance_does_not():
    def driver(name: str, size: float):
        return lambda t: DriverExpression(speak(EXPRESSION, **{name: size * (t % 2 > 1)}), t, seen=True)

    for name in (HEAD[0], GAZE[0]):
        shown = watch(IdleMotion(1), 30, 30, driver(name, 0.2))
        assert (blinks(shown) > 2) == (name in GAZE)
