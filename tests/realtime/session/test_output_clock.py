"""The output's clock: a virtual camera gets its pictures on time, whatever the stages before it do.

tests/soak.py has hours of it.
"""

import threading
import time

import numpy as np
import pytest

from engines.face.action_units import WIDE
from engines.face.au_estimator import ESTIMATED
from realtime.controls import Controls
from realtime.messages import NOT_YET, DriverExpression, Frame
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.puppet.settings import Settings
from realtime.session.expression_source import FrameExpressions
from realtime.session.live_loop import LiveLoop
from realtime.session.output_fanout import OutputFanout
from realtime.timing import Timings
from tests.support import fakes
from tests.support.fake_clock import simulated
from tests.support.fakes import KeepingOutput, ScriptedDriver, StubEngine, speak

FPS = 30.0


class Stalling(StubEngine):
    """Draws until it is held, then waits to be let go."""

    def __init__(self) -> None:
        super().__init__(aus=WIDE)
        self.go, self.waits = threading.Event(), threading.Event()
        self.go.set()

    def run(self, picture, aus):
        if not self.go.is_set():
            self.waits.set()
            self.go.wait(10)
        return super().run(picture, aus)


@pytest.fixture
def live(photo):
    """(loop, engine, output), not started; the driver smiles more and more."""
    engine, output, timings, number = Stalling(), KeepingOutput(), Timings(), iter(range(10**6))

    def smiling(frame: Frame) -> DriverExpression:
        return DriverExpression(
            speak(ESTIMATED, AU12=0.2 + next(number) % 64 / 80), frame.captured_s, seen=True
        )

    puppet = Puppet(photo, engine, (160, 120))
    animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), timings)
    source = FrameExpressions(ScriptedDriver(10**6, fps=60), smiling, timings)
    yield LiveLoop(source, animator, OutputFanout([output]), timings, fps=FPS), engine, output
    engine.go.set()


def test_the_virtual_camera_gets_its_pictures_on_time_while_the_generator_stalls(live):
    loop, engine, output = live
    with loop.running():
        loop.wait(0.5)
        engine.go.clear()
        assert engine.waits.wait(5)
        stalled_s, before = time.perf_counter(), loop.fresh
        loop.wait(1.5)
        assert loop.fresh - before <= 1, "it did not stall"
        ended_s = time.perf_counter()
        engine.go.set()
        loop.wait(0.5)
        assert loop.fresh - before > 5, "it did not go on"
    times_s = np.array(output.times_s)
    during = times_s[(times_s >= stalled_s) & (times_s <= ended_s)]
    assert len(during) > 0.8 * (ended_s - stalled_s) * FPS, "a busy machine leaves out a tick now and then"
    assert np.median(np.diff(during)) == pytest.approx(1 / FPS, abs=0.005) and np.diff(times_s).max() < 0.3


def test_after_a_stall_the_newest_frame_is_shown_and_none_that_waited(live):
    loop, engine, _ = live
    with loop.running():
        loop.wait(0.3)
        engine.go.clear()
        assert engine.waits.wait(5)
        loop.wait(1.0)
        engine.go.set()
        loop.wait(0.2)
        loop.timings.clear()
        loop.wait(0.5)
    ages = loop.timings.summary()["capture to output"]
    assert ages["p95_ms"] < 200, "pictures of the stall were still on their way"


def test_how_late_the_clock_is_gets_measured_at_every_tick(live):
    loop, _, output = live
    with loop.running():
        loop.wait(1.0)
    late = loop.timings.summary()["output clock late"]
    assert late["count"] == pytest.approx(len(output.times_s), abs=1) and 0 <= late["p50_ms"] < 20


@pytest.mark.parametrize("camera_fps", [29.8, 15.0])
def test_the_clock_moves_to_where_pictures_do_not_wait_for_it(photo, camera_fps):
    """On a clock that stands still they would wait for a whole tick at times, of 33 ms."""

    def smiling(frame: Frame) -> DriverExpression:
        return DriverExpression(speak(ESTIMATED, AU12=frame.captured_s % 1), frame.captured_s, seen=True)

    with simulated():
        timings, output = Timings(), KeepingOutput(10**4)
        puppet = Puppet(photo, StubEngine(aus=WIDE), (64, 48))
        animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), timings)
        source = FrameExpressions(ScriptedDriver(10**6, fps=camera_fps), smiling, timings)
        loop = LiveLoop(source, animator, OutputFanout([output]), timings, fps=FPS)
        with loop.running():
            loop.wait(5)
            timings.clear()
            loop.wait(20)
    assert timings.summary()["capture to output"]["p95_ms"] < 8
    assert len(output.times_s) == pytest.approx(25 * FPS, rel=0.02)


@pytest.mark.parametrize("idle", [False, True], ids=["the still photo", "idle motion"])
def test_a_camera_that_is_away_for_minutes_makes_no_delay_of_minutes(photo, idle):
    """The sound of a recording is delayed by what is measured here."""

    class Away(ScriptedDriver):
        def read(self):
            return super().read() or NOT_YET

    def smiling(frame: Frame) -> DriverExpression:
        return DriverExpression(speak(ESTIMATED, AU12=frame.captured_s % 1), frame.captured_s, seen=True)

    with simulated() as sim:
        timings = Timings()
        puppet = Puppet(photo, StubEngine(aus=WIDE), (64, 48))
        animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED), Settings(idle=idle)), timings)
        source = FrameExpressions(Away(60, fps=30), smiling, timings)
        loop = LiveLoop(source, animator, OutputFanout([KeepingOutput(10)]), timings, fps=FPS)
        assert fakes.time is sim.time
        with loop.running():
            loop.wait(120)
        assert loop.fresh > 1000 if idle else loop.fresh < 100
        assert (
            timings.lately("capture to output") < 0.1
            and timings.summary()["capture to output"]["p99_ms"] < 200
        )


def test_a_picture_of_no_driver_has_no_age(photo):
    """Idle motion while no face is in view, and the still photo of a panic."""

    def unseen(frame: Frame) -> DriverExpression:
        return DriverExpression(speak(ESTIMATED), frame.captured_s, seen=False)

    with simulated():
        timings, controls = Timings(), Controls()
        puppet = Puppet(photo, StubEngine(aus=WIDE), (64, 48))
        animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED), Settings(idle=True)), timings)
        source = FrameExpressions(ScriptedDriver(10**6, fps=30), unseen, timings)
        loop = LiveLoop(
            source, animator, OutputFanout([KeepingOutput(10)]), timings, fps=FPS, controls=controls
        )
        with loop.running():
            for _ in range(3):
                loop.wait(5)
                controls.toggle_panic()
        assert loop.fresh > 200 and "capture to output" not in timings.summary()
