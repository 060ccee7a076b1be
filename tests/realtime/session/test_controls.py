"""What the user switches in a call: panic, pause, the preview's mirror and figures; and the badge."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from engines.errors import OutputError, SourceError
from engines.face.action_units import GROUPS, WIDE
from engines.face.au_estimator import ESTIMATED
from engines.face.photo import load_photo
from realtime.controls import KEYS, Controls
from realtime.messages import DriverExpression
from realtime.output.contact_sheet import ContactSheet
from realtime.output.live_recording import LiveRecording
from realtime.output.window import Window
from realtime.overlay import Badge, mirrored, slate, write_lines
from realtime.performance.curve_writer import CurveWriter
from realtime.performance.load import load_curve
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.expression_source import FrameExpressions
from realtime.session.key_actions import KeyActions
from realtime.session.live_loop import LiveLoop
from realtime.session.output_fanout import OutputFanout
from realtime.session.photo_switcher import PhotoSwitcher
from realtime.timing import Timings
from tests.conftest import SAMPLES
from tests.support.fakes import KeepingOutput, ScriptedDriver, StubEngine, speak
from tests.support.waiting import wait_for

SIZE, FPS = (320, 240), 50


class Stalling(StubEngine):
    """An engine that does not come back while `go` is clear."""

    def __init__(self):
        super().__init__(aus=WIDE)
        self.go, self.stalled = threading.Event(), threading.Event()
        self.go.set()

    def run(self, picture, aus):
        if not self.go.is_set():
            self.stalled.set()
            self.go.wait(10)
        return super().run(picture, aus)


class Failing(KeepingOutput):
    """An output whose disk is full after a few pictures."""

    def send(self, image, time_s):
        super().send(image, time_s)
        if len(self.images) > 3:
            raise OutputError("The disk is full.")


def smiling(frame) -> DriverExpression:
    """A smile that changes with every frame, so that each is drawn."""
    return DriverExpression(
        speak(ESTIMATED, AU12=0.7 + 0.3 * (frame.image[0, 0, 0] % 2)), frame.captured_s, seen=True
    )


@pytest.fixture
def engine():
    return Stalling()


@pytest.fixture
def live(photo, engine):
    """A running loop of a smiling driver: loop, what was sent, controls."""
    puppet, output, controls, timings = Puppet(photo, engine, SIZE), KeepingOutput(), Controls(), Timings()
    animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), timings, badge=Badge(SIZE))
    source, outputs = (
        FrameExpressions(ScriptedDriver(10**6, fps=100), smiling, timings),
        OutputFanout([output]),
    )
    loop = LiveLoop(source, animator, outputs, timings, FPS, controls=controls)
    with loop.running():
        wait_for(lambda: differs(output.images[-1:], animator.still))
        yield loop, animator, output, controls
        engine.go.set()


def differs(images, other) -> bool:
    return bool(len(images)) and all((image != other).any() for image in images)


def after(output, count=1):
    """The pictures of the next ticks; one may be on its way already."""
    sent = len(output.images) + 1
    wait_for(lambda: len(output.images) >= sent + count)
    return output.images[sent : sent + count]


def test_panic_shows_the_still_photo_at_the_next_tick_even_while_the_generator_stalls(live, engine):
    _, animator, output, controls = live
    engine.go.clear()
    engine.stalled.wait(5)
    controls.press(" ")
    assert all(np.array_equal(image, animator.still) for image in after(output, 5))
    engine.go.set()
    assert all(np.array_equal(image, animator.still) for image in after(output, 20)), (
        "what the stalled generator drew came out"
    )


def test_after_panic_the_expression_eases_in_and_the_last_one_does_not_flash(live):
    _, animator, output, controls = live
    controls.toggle_panic()
    after(output, 10)
    controls.toggle_panic()
    images = after(output, 50)
    change = [np.abs(image.astype(int) - animator.still).mean() for image in images]
    strongest = max(
        change
    )  # of two smiles, the weaker of which comes to 0.69; a quarter of a second is 12 pictures
    assert change[0] < 0.6 * strongest and min(change[-20:]) > 0.6 * strongest, change


def test_a_pause_shows_a_slate_without_the_driver_or_the_puppet(live):
    _, animator, output, controls = live
    controls.press("p")
    assert all(np.array_equal(image, slate(animator.puppet.still)) for image in after(output, 3))
    controls.press("p")
    wait_for(
        lambda: (
            differs(output.images[-1:], animator.still)
            and differs(output.images[-1:], slate(animator.puppet.still))
        )
    )


def test_the_output_keeps_its_clock_while_the_generator_stalls(live, engine):
    _, _, output, _ = live
    engine.go.clear()
    engine.stalled.wait(5)
    count = len(output.times_s)
    wait_for(lambda: len(output.times_s) > count + FPS)
    gaps = np.diff(output.times_s[count:])
    assert np.median(gaps) == pytest.approx(1 / FPS, abs=0.004)


def test_notes_say_what_is_switched(live):
    loop, _, _, controls = live
    assert loop.notes == []
    controls.toggle_pause()
    assert loop.notes == ["paused"]
    controls.toggle_panic()
    assert loop.notes == ["panic: still photo"]


def test_q_ends_the_run(live):
    loop, _, _, controls = live
    threading.Timer(0.2, controls.press, "q").start()
    started_s = time.perf_counter()
    loop.wait(10)
    assert time.perf_counter() - started_s < 2


def test_a_recording_of_the_aus_holds_nothing_of_a_panic(photo, tmp_path):
    puppet, path = Puppet(photo, StubEngine(aus=WIDE), SIZE), tmp_path / "take.csv"
    expression = DriverExpression(speak(ESTIMATED, AU12=1), 0.0, seen=True)
    with CurveWriter(path) as record:
        animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), Timings(), record)
        animator.show(expression, 0.0)
        animator.rest(0.1)
        animator.rest(0.2)
    curve = load_curve(path)
    assert curve.at(0.0).max() == 1 and curve.at(0.2).max() == 0


@pytest.mark.parametrize("key", [key for known in KEYS for key in known.keys])
def test_every_key_does_one_thing(key):
    done = []
    names = ("recalibrate", "stronger", "weaker", *GROUPS, "next photo", "record")
    controls = Controls(actions={name: lambda name=name: done.append(name) for name in names})
    before = dict(vars(controls))
    assert controls.press(key)
    changed = [name for name, value in vars(controls).items() if value != before[name]]
    assert len(changed) + len(done) == 1
    if key != "q":
        controls.press(key)
        assert vars(controls) == before, "and back"


def test_a_key_that_means_nothing_does_nothing():
    controls = Controls()
    assert not controls.press("x") and vars(controls) == vars(Controls())


# --- outputs that fail --------------------------------------------------------------------------------------


def make(photo, outputs, said):
    puppet, timings = Puppet(photo, StubEngine(aus=WIDE), SIZE), Timings()
    animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), timings)
    source, fanout = (
        FrameExpressions(ScriptedDriver(10**6, fps=100), smiling, timings),
        OutputFanout(outputs, said.append),
    )
    return LiveLoop(source, animator, fanout, timings, FPS), fanout


def test_an_output_that_fails_is_left_out_and_reported_once_and_the_call_goes_on(photo):
    good, bad, said = KeepingOutput(), Failing(), []
    loop, outputs = make(photo, [bad, good], said)
    loop.run(1.0)
    assert len(bad.images) == 4 and len(good.images) > 30
    assert said == ["The disk is full. The other outputs go on."] and outputs.failed


def test_when_the_last_output_fails_the_run_ends_with_its_reason(photo, tmp_path):
    said = []
    with pytest.raises(OutputError, match="disk is full"):
        make(photo, [Failing(), Failing(), ContactSheet(tmp_path / "sheet.png", 100)], said)[0].run(10)
    assert len(said) == 1


class OnScreen(KeepingOutput):
    """A window that is closed by its user."""

    main_thread = True

    def send(self, image, time_s):
        super().send(image, time_s)
        self.closed = len(self.images) > 3


def test_closing_the_preview_leaves_the_virtual_camera_on(photo):
    good, window, said = KeepingOutput(), OnScreen(), []
    make(photo, [good, window], said)[0].run(1.0)
    assert len(good.images) > 30 and len(window.images) == 4 and len(said) == 1


@pytest.mark.parametrize("sheet", [False, True], ids=["alone", "with a contact sheet"])
def test_closing_the_only_window_ends_the_run(photo, tmp_path, sheet):
    started_s, window, said = time.perf_counter(), OnScreen(), []
    make(photo, [window, ContactSheet(tmp_path / "sheet.png", 100)] if sheet else [window], said)[0].run(10)
    assert time.perf_counter() - started_s < 3 and not said


def test_ctrl_c_while_the_threads_are_started_leaves_none_behind(photo, monkeypatch):
    (loop, _), start = make(photo, [KeepingOutput()], []), threading.Thread.start

    def interrupted(thread):
        if thread.name == "puppet send":
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), loop.running():
        pass
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("puppet")]


# --- what is written over pictures --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (320, 240), (1280, 720), (1080, 1920)])
def test_the_badge_is_small_in_a_corner_and_leaves_the_rest_alone(size):
    still = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    badge = Badge(size)
    marked = badge.draw(still.copy())
    changed = (marked != still).any(axis=2)
    rows, columns = badge.box
    assert changed[rows, columns].mean() > 0.9 and changed.sum() == changed[rows, columns].sum()
    assert changed.mean() < 0.02 or max(size) < 100
    assert marked[rows, columns].max() > 200, "white letters"
    assert np.array_equal(badge.draw(still.copy()), marked)


def test_every_picture_that_leaves_carries_the_badge(live):
    _, animator, output, controls = live
    rows, columns = animator.badge.box
    plate = animator.still[rows, columns]
    controls.toggle_panic()
    after(output, 3)
    assert all(np.array_equal(image[rows, columns], plate) for image in output.images), (
        "the photo's corner is still, so the mark is too"
    )
    assert (plate != animator.puppet.still[rows, columns]).any()


def test_a_mirror_turns_the_picture_and_not_the_badges_letters():
    still = np.random.default_rng(0).integers(0, 120, (240, 320, 3), np.uint8)
    badge = Badge(SIZE)
    marked = badge.draw(still.copy())
    turned = mirrored(marked, badge)
    rows, columns = badge.box
    plate = turned[rows, 320 - columns.stop : 320 - columns.start]
    assert np.array_equal(plate, marked[rows, columns])
    assert np.array_equal(turned[100:], marked[100:, ::-1])


def test_the_preview_is_a_mirror_with_figures_and_the_picture_stays_as_it_is():
    window = Window.__new__(Window)  # what it draws, without a screen
    controls = Controls()
    window.serve(
        controls, lambda image: write_lines(image, [("30 new pictures a second", False), ("face lost", True)])
    )
    picture = np.random.default_rng(0).integers(0, 120, (240, 320, 3), np.uint8)
    before = picture.copy()
    shown = window.dressed(picture)
    assert np.array_equal(picture, before)
    assert np.array_equal(shown[:150], picture[:150, ::-1]) and (shown[-40:] != picture[-40:, ::-1]).any()
    controls.press("h"), controls.press("m")
    assert np.array_equal(window.dressed(picture), picture)
    controls.press("?")
    assert (window.dressed(picture)[:40] != picture[:40]).any()


def test_lines_that_do_not_fit_are_cut_and_break_nothing():
    picture = np.full((64, 64, 3), 99, np.uint8)
    write_lines(picture, [("x" * 500, True)] * 50)
    assert picture.shape == (64, 64, 3)


# --- what other keys do -------------------------------------------------------------------------------------


@pytest.fixture
def keys(live, tmp_path):
    """Keys that act on the running loop: a press of each, by name, and what was said."""
    loop, animator, _, controls = live
    said = []

    def prepare(path, _face):
        if path.stem == "broken":
            raise SourceError("There is no face in it.")
        return Puppet(load_photo(SAMPLES / path.name), StubEngine(aus=WIDE), SIZE)

    paths = [Path(name) for name in ("man.jpg", "broken.jpg", "woman.jpg")]
    switcher = PhotoSwitcher(paths, prepare, animator.change, said.append)
    key_actions = KeyActions(
        animator, loop.outputs, None, switcher, lambda name: LiveRecording(tmp_path / name, SIZE, FPS)
    )
    controls.actions.update(key_actions.actions())
    controls.say = said.append
    yield lambda key: controls.press(key), said, key_actions
    key_actions.close()


def test_keys_change_strength_and_groups_within_their_limits(live, keys):
    _, animator, _, _ = live
    press, _, _ = keys
    for _ in range(15):
        press("+")
    assert animator.settings.strength == 2.0
    for _ in range(25):
        press("-")
    assert animator.settings.strength == 0.0
    press("1"), press("3")
    assert animator.settings.groups == ("eyes", "head", "gaze")
    press("1"), press("4"), press("5")
    assert animator.settings.groups == ("brows", "eyes")


@pytest.fixture
def changing_photo(photo, monkeypatch):
    """An Animator, keys that act on it, and what has another thread do something while its photo changes."""
    puppet = Puppet(photo, StubEngine(aus=WIDE), SIZE)
    animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), Timings())
    switcher = PhotoSwitcher([Path("man.jpg")], Puppet.from_file, animator.change, print)
    controls = Controls(
        actions=KeyActions(animator, OutputFanout([]), None, switcher, LiveRecording).actions()
    )

    def during_change(action):
        def retarget_while_another_thread_acts(*arguments):
            retarget = Retarget(*arguments)  # with the settings as they were before
            thread = threading.Thread(target=action)
            thread.start()
            thread.join(0.2)  # as far as it comes
            threads.append(thread)
            return retarget

        threads: list[threading.Thread] = []
        monkeypatch.setattr("realtime.puppet.animator.Retarget", retarget_while_another_thread_acts)
        animator.change(Puppet(photo, StubEngine(aus=WIDE), SIZE))
        animator.show(None, 0.0)
        for thread in threads:
            thread.join(10)
        assert len(threads) == 1

    return animator, controls, during_change


@pytest.mark.parametrize(
    "key, strength, groups",
    [("+", 1.1, tuple(GROUPS)), ("3", 1.0, ("brows", "eyes", "head", "gaze"))],
)
def test_a_key_pressed_while_the_photo_changes_is_not_lost(changing_photo, key, strength, groups):
    animator, controls, during_change = changing_photo
    during_change(lambda: controls.press(key))
    assert (animator.settings.strength, animator.settings.groups) == (strength, groups)
    assert animator.retarget.settings is animator.settings, "the new photo is drawn with them"


def test_changes_of_settings_from_several_threads_are_all_kept(changing_photo):
    animator, _, _ = changing_photo

    def one_more(settings):
        time.sleep(0.001)  # another thread would read the same settings here
        return settings.with_flags(seed=settings.seed + 1)

    threads = [threading.Thread(target=animator.change_settings, args=(one_more,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert animator.settings.seed == 20


def test_the_next_photo_takes_over_with_the_same_settings_and_a_broken_one_is_skipped(live, keys):
    _, animator, output, _ = live
    press, said, _ = keys
    before = animator.still
    press("-")
    press("n")
    wait_for(lambda: "woman.jpg" in "".join(said))
    wait_for(lambda: (output.images[-1][:60] != before[:60]).any())
    assert any("no face" in sentence and "skipped" in sentence for sentence in said)
    assert animator.settings.strength == 0.9
    assert np.array_equal(
        animator.still[animator.badge.box],
        animator.badge.draw(animator.puppet.still.copy())[animator.badge.box],
    ), "it is marked too"


def test_a_key_records_and_ends_it_and_the_call_goes_on(live, keys, tmp_path):
    _, _, output, _ = live
    press, _, _ = keys
    press("r")
    after(output, 30)
    press("r")
    (path,) = tmp_path.glob("puppet-*.mp4")
    with av.open(str(path)) as container:
        assert 20 <= sum(1 for _ in container.decode(video=0)) <= 80
    after(output, 3)


@pytest.mark.parametrize("has_rest", [True, False], ids=["a face", "a picture"])
def test_a_rest_is_learnt_again_only_where_the_driver_has_one(live, has_rest):
    _, animator, _, _ = live
    tracker = SimpleNamespace(has_rest=has_rest, recalibrate=lambda: None)
    switcher = PhotoSwitcher([Path("man.jpg")], Puppet.from_file, animator.change, print)
    assert (
        "recalibrate" in KeyActions(animator, OutputFanout([]), tracker, switcher, LiveRecording).actions()
    ) == has_rest


def test_a_key_for_which_there_is_nothing_says_so(keys):
    press, said, _ = keys
    assert press("c"), "no driver's face: a stub drives"
    assert said == ["There is nothing here for the key of 'recalibrate'."]
