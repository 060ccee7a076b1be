"""The live threads with doubles at both ends, and the closed loop with everything real."""

import threading
import time

import numpy as np
import pytest

from engines.errors import DriverError
from engines.face import au_estimator
from engines.face.action_units import PAPER_17, WIDE, opposites, translate
from engines.face.au_estimator import ESTIMATED
from engines.face.landmarks import FaceReader
from realtime.messages import DriverExpression
from realtime.performance.curve import Curve
from realtime.performance.load import load_curve
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.expression_source import CurveExpressions, FrameExpressions
from realtime.session.live_loop import LiveLoop
from realtime.session.offline import at_rate, perform_curve, play_offline
from realtime.session.output_fanout import OutputFanout
from realtime.timing import Timings
from tests.conftest import SAMPLES
from tests.support.fakes import KeepingOutput, ScriptedDriver, StubEngine, speak


def smiling(frame) -> DriverExpression:
    return DriverExpression(speak(ESTIMATED, AU12=1), frame.captured_s, seen=True)


def unseen(frame) -> DriverExpression:
    return DriverExpression(speak(ESTIMATED), frame.captured_s, seen=False)


@pytest.fixture(scope="module")
def puppet(photo):
    return Puppet(photo, StubEngine(aus=WIDE), (320, 240))


@pytest.fixture(scope="module")
def puppet_of_17(photo):
    return Puppet(photo, StubEngine(aus=PAPER_17), (320, 240))


def make(puppet, frames, track, fps=30.0):
    """(loop, output, timings), not started."""
    timings, output = Timings(), KeepingOutput()
    animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), timings)
    source = FrameExpressions(frames, track, timings)
    return LiveLoop(source, animator, OutputFanout([output]), timings, fps), output, timings


def test_what_the_driver_does_reaches_the_output_and_threads_leave(puppet):
    before = threading.active_count()
    loop, output, timings = make(puppet, ScriptedDriver(120, fps=100), smiling, fps=50)
    loop.run(10)
    assert threading.active_count() == before
    assert (output.images[-1] != puppet.still).any()
    assert timings.summary()["capture to output"]["p95_ms"] < 500


def test_an_engine_of_the_papers_17_is_driven_by_the_same_expressions(puppet_of_17):
    loop, output, _ = make(puppet_of_17, ScriptedDriver(120, fps=100), smiling, fps=50)
    loop.run(10)
    assert (output.images[-1] != puppet_of_17.still).any()


def test_the_output_keeps_its_clock_when_the_driver_is_slow(puppet):
    loop, output, _ = make(puppet, ScriptedDriver(100, fps=4), smiling, fps=50)
    loop.run(1.5)
    gaps = np.diff(output.times_s)
    assert 60 <= len(output.images) <= 80
    assert np.median(gaps) == pytest.approx(0.02, abs=0.006)


def test_a_slow_tracker_drops_frames_instead_of_falling_behind(puppet):
    def slow(frame):
        time.sleep(0.1)
        return smiling(frame)

    loop, _, timings = make(puppet, ScriptedDriver(10**6, fps=200), slow, fps=50)
    loop.run(2)
    assert loop.dropped["frames"] > 100
    assert timings.summary()["capture to output"]["p99_ms"] < 400


def test_the_drivers_picture_never_reaches_the_output(puppet):
    loop, output, _ = make(puppet, ScriptedDriver(100, fps=100), unseen, fps=50)
    loop.run(5)
    assert all(np.array_equal(image, puppet.still) for image in output.images)


def test_an_error_in_a_thread_ends_all_and_is_raised_once(puppet):
    before = threading.active_count()
    loop, _, _ = make(puppet, ScriptedDriver(10, error=DriverError("unplugged")), smiling)
    with pytest.raises(DriverError, match="unplugged"):
        loop.run(10)
    assert threading.active_count() == before


def test_a_curve_drives_live(puppet):
    aus, times = ("AU12",), np.array([0.0, 0.2, 5.0])
    curve, timings, output = (
        Curve(aus, times, np.array([[0], [1], [1]], np.float32)),
        Timings(),
        KeepingOutput(),
    )
    animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), timings)
    LiveLoop(CurveExpressions(curve, fps=60), animator, OutputFanout([output]), timings, fps=60).run(1.0)
    assert (output.images[-1] != puppet.still).any()


def test_a_curve_is_drawn_frame_by_frame_offline(puppet):
    output, timings = KeepingOutput(), Timings()
    curve = Curve(("AU12",), np.array([0.0, 1.0]), np.array([[0], [1]], np.float32))
    animator = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), timings)
    assert play_offline(perform_curve(curve, 10), animator, [output]) == 11
    change = [int(np.abs(image.astype(int) - puppet.still).sum()) for image in output.images]
    assert change[0] == 0 and change[-1] > change[5] > 0


def test_one_side_moves_that_side_and_an_engine_without_sides_moves_both_by_half(puppet, puppet_of_17):
    curve = Curve(("AU12L",), np.array([0.0, 1.0]), np.array([[0], [1]], np.float32))

    def shown(puppet: Puppet) -> list[float]:
        """How far the middle of each half of the face went from the photo to green; their right first."""
        output, timings = KeepingOutput(), Timings()
        play_offline(
            perform_curve(curve, 1),
            Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), timings),
            [output],
        )
        places = puppet.crop.to_frame(np.array([[24.0, 32.0], [40.0, 32.0]])).round().astype(int)
        before, after = (
            image[places[:, 1], places[:, 0]].astype(float) for image in (puppet.still, output.images[-1])
        )
        return [
            np.linalg.norm(b - a) / np.linalg.norm([0, 255, 0] - a)
            for a, b in zip(before, after, strict=True)
        ]

    assert shown(puppet) == pytest.approx([0, 1], abs=0.02), "the person's left is the picture's right"
    assert shown(puppet_of_17) == pytest.approx([0.5, 0.5], abs=0.02)


def test_a_clip_is_resampled_at_the_outputs_rate_without_changing_its_speed():
    expressions = [DriverExpression(np.full(len(ESTIMATED), i, np.float32), i / 30, True) for i in range(31)]
    same = list(at_rate(iter(expressions), 30))
    assert [t.expression[0] for t in same] == list(range(31))
    half, double = list(at_rate(iter(expressions), 15)), list(at_rate(iter(expressions), 60))
    assert [t.expression[0] for t in half] == list(range(0, 31, 2)) and half[-1].captured_s == pytest.approx(
        1.0
    )
    assert len(double) == 61 and double[30].expression[0] == 15


def test_closed_loop_the_puppet_does_what_is_asked(photo, engine):
    """A curve is rendered by the shipped engine, the pictures are tracked again, and the AUs follow it."""
    puppet, output, timings = Puppet(photo, engine, (640, 640)), KeepingOutput(), Timings()
    times = np.arange(0, 12) / 2.0
    names = ("AU12", "AU26", "AU45", "AU04")
    values = np.zeros((len(times), len(names)), np.float32)
    for i in range(len(names)):
        values[3 * i + 1 : 3 * i + 3, i] = 1.0
    animator = Animator(puppet, Retarget(puppet.bundle, puppet.own_aus), timings)
    play_offline(perform_curve(Curve(names, times, values), 4), animator, [output])
    asked, seen = [], []
    with FaceReader() as reader:
        for number, image in enumerate(output.images):
            faces = reader.read(image)
            assert faces, f"picture {number} shows no face any more"
            asked.append([np.interp(number / 4, times, column) for column in values.T])
            seen.append(translate(au_estimator.estimate(faces[0]), WIDE, names))
    asked, seen = np.array(asked), np.array(seen)
    correlations = {name: float(np.corrcoef(asked[:, i], seen[:, i])[0, 1]) for i, name in enumerate(names)}
    assert min(correlations[name] for name in ("AU12", "AU26", "AU45")) > 0.6, correlations
    assert correlations["AU04"] > 0.3, correlations


def test_closed_loop_head_and_eyes_go_where_a_curve_says(photo, engine):
    """A curve of head and gaze is drawn, the pictures are tracked again, and both follow it."""
    puppet, output, timings = Puppet(photo, engine, (640, 640)), KeepingOutput(), Timings()
    times = np.arange(0, 13) / 2.0
    names = ("AU51", "AU54", "AU55", "AU61")  # each, then its opposite as a negative value
    values = np.zeros((len(times), len(names)), np.float32)
    for i in range(len(names)):
        values[3 * i + 1 : 3 * i + 3, i] = 0.35, -0.35
    values[:, 3] *= 2
    animator = Animator(puppet, Retarget(puppet.bundle, puppet.own_aus), timings)
    play_offline(perform_curve(Curve(names, times, values), 4), animator, [output])
    asked, seen = [], []
    with FaceReader() as reader:
        for number, image in enumerate(output.images):
            asked.append([np.interp(number / 4, times, column) for column in values.T])
            turn, nod, tilt, _, sideways, _ = opposites(au_estimator.read(reader.read(image)[0]))
            seen.append([turn, -nod, tilt, sideways])
    asked, seen = np.array(asked), np.array(seen)
    correlations = [float(np.corrcoef(asked[:, i], seen[:, i])[0, 1]) for i in range(len(names))]
    assert min(correlations) > 0.9, dict(zip(names, correlations, strict=True))


def test_replaying_a_curve_gives_the_same_pictures(photo, engine):
    curve = load_curve(SAMPLES / "smile.csv")
    takes = []
    for _ in range(2):
        output, timings = KeepingOutput(), Timings()
        puppet = Puppet(photo, engine, (256, 256))
        play_offline(
            perform_curve(curve, 5),
            Animator(puppet, Retarget(puppet.bundle, puppet.own_aus), timings),
            [output],
        )
        takes.append(np.array(output.images))
    assert np.array_equal(*takes)
