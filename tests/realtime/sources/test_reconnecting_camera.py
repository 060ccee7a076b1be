"""A camera that fails in every way that cameras do: in simulated time where minutes pass, else in real
time."""

import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engines.errors import DriverError
from engines.face.action_units import WIDE
from engines.face.au_estimator import ESTIMATED
from realtime.devices import v4l2
from realtime.messages import NOT_YET, DriverExpression, Frame
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.expression_source import FrameExpressions
from realtime.session.live_loop import LiveLoop
from realtime.session.output_fanout import OutputFanout
from realtime.sources import clip
from realtime.sources.camera import Camera, camera_index, is_camera
from realtime.sources.camera_reader import MAX_AGE_S, CameraTimeouts, Freshness
from realtime.sources.reconnecting_camera import MAX_HANGING, ConnectionState, ReconnectingCamera
from realtime.timing import Timings
from realtime.tracking.expression_tracker import ExpressionTracker
from tests.support.fake_camera import Desk
from tests.support.fake_clock import simulated
from tests.support.fakes import KeepingOutput, StubEngine, speak

ROOT = Path(__file__).parents[3]


@pytest.fixture
def clock(request):
    """The time of a test: simulated where it asks for `virtual`, and minutes pass in milliseconds."""
    if "virtual" in request.fixturenames:
        with simulated() as sim:
            yield sim.time
    else:
        yield time


@pytest.fixture
def desk(tmp_path, monkeypatch, clock):
    """A desk with one camera, at index 0."""
    monkeypatch.setattr(v4l2, "SYSFS", tmp_path / "video4linux")
    desk = Desk(tmp_path / "video4linux", fps=30)
    desk.plug(0)
    desk.clock = clock
    yield desk
    desk.fault = ""
    desk.freed.set()


@pytest.fixture
def virtual(desk):
    """The desk in simulated time."""
    return desk


@pytest.fixture
def use(desk):
    """Opens a steady camera on the desk; `said` is what it said. All its openings are released at the end."""
    cameras = []

    def use(text: str = "webcam", **options) -> ReconnectingCamera:
        said: list[str] = []
        cameras.append(
            ReconnectingCamera(text, said.append, partial(Camera, open_capture=desk.open), **options)
        )
        cameras[-1].said, cameras[-1].clock = said, desk.clock
        return cameras[-1]

    yield use
    desk.fault = ""
    desk.freed.set()
    for each in cameras:
        each.close()
    end_s = desk.clock.perf_counter() + 5
    while desk.now_open and desk.clock.perf_counter() < end_s:
        desk.clock.sleep(0.01)
    assert desk.now_open == 0, "an opening was never released"


def watch(camera: ReconnectingCamera, longest_s: float, until=lambda: False) -> list[Frame]:
    """Reads for so long as the loop does, or until something is so; returns the frames."""
    frames, end_s = [], camera.clock.perf_counter() + longest_s
    while not until() and camera.clock.perf_counter() < end_s:
        started_s = camera.clock.perf_counter()
        frame = camera.read()
        assert camera.clock.perf_counter() - started_s < 0.5, "a read blocked the loop"
        assert frame is not None
        if frame is not NOT_YET:
            frames.append(frame)
    return frames


def until(camera: ReconnectingCamera, state: ConnectionState, longest_s: float = 20.0) -> float:
    """Reads until the camera is in a state; returns how many seconds that took."""
    started_s = camera.clock.perf_counter()
    watch(camera, longest_s, lambda: camera.state is state)
    assert camera.state is state, camera.said
    return camera.clock.perf_counter() - started_s


@pytest.mark.parametrize("fps", [60, 30, 5])
def test_a_working_camera_is_read_and_reports_nothing(virtual, use, fps):
    virtual.fps = fps
    camera = use()
    frames = watch(camera, 100)
    assert (
        len(frames) == pytest.approx(100 * fps, rel=0.02)
        and camera.state is ConnectionState.LIVE
        and camera.said == []
    )
    assert (np.diff([frame.captured_s for frame in frames]) > 0).all()


@pytest.mark.parametrize("fault", ["silent", "hang", "stale", "frozen"])
def test_a_fault_is_noticed_within_2_s_and_reported_once_like_its_end(virtual, use, fault):
    camera = use()
    watch(camera, 60)
    virtual.fault = fault
    assert until(camera, ConnectionState.STILL if fault == "frozen" else ConnectionState.LOST) < 2.0
    watch(camera, 30)
    assert len(camera.said) == 1 and camera.said[0].startswith("The camera webcam (Desk Cam) "), camera.said
    virtual.fault = ""
    virtual.freed.set()
    assert until(camera, ConnectionState.BACK) < 11.0
    assert len(watch(camera, 5)) > 100 and camera.state is ConnectionState.LIVE
    assert len(camera.said) == 2 and "is back after" in camera.said[1], camera.said
    assert virtual.most_open == 1 or fault == "hang"


def test_an_old_picture_is_never_returned_as_a_new_one(virtual, use):
    camera = use()
    watch(camera, 5)
    virtual.fault = "stale"
    watch(camera, 0.05)
    assert watch(camera, 2.0, lambda: camera.state is ConnectionState.LOST) == []


def test_a_frozen_picture_is_returned_for_a_moment_only_and_the_camera_rarely_opened_again(virtual, use):
    camera = use()
    watch(camera, 60)
    virtual.fault = "frozen"
    until(camera, ConnectionState.STILL)
    openings = len(virtual.opened)
    assert watch(camera, 600) == []  # a face in the middle of a word would be held for ever
    assert 9 <= len(virtual.opened) - openings <= 11, "once a minute"
    assert len(camera.said) == 1 and camera.state is ConnectionState.STILL
    assert virtual.most_open == 1, "it was opened while it was open"


def test_a_picture_that_freezes_now_and_then_fills_no_log(virtual, use):
    camera = use()
    for _ in range(20):
        virtual.fault = "frozen"
        watch(camera, 2)
        virtual.fault = ""
        watch(camera, 1)
    assert len(camera.said) <= 2, "two sentences a minute"


def test_an_unplugged_camera_is_found_again_under_another_index_by_its_name(virtual, use):
    virtual.plug(1, port="2-1")  # another camera of the same model
    camera = use()
    watch(camera, 60)
    virtual.unplug(0)
    assert until(camera, ConnectionState.LOST) < 1.0
    assert "was unplugged: plug it in again" in camera.said[0]
    openings = len(virtual.opened)
    watch(camera, 300)
    assert len(virtual.opened) == openings, "its twin was opened, or what is not there"
    virtual.plug(4, port="1-2")
    assert until(camera, ConnectionState.BACK) < 1.5
    assert virtual.opened[-1] == 4 and len(camera.said) == 2


def test_a_node_of_the_camera_that_gives_no_pictures_is_skipped(virtual, use):
    virtual.plug(1)  # a webcam's second node, for metadata: same name, same port
    camera = use("webcam:desk")
    watch(camera, 5)
    virtual.unplug(0)
    virtual.silent = {1}
    virtual.plug(2)
    until(camera, ConnectionState.BACK)
    assert virtual.opened[-2:] == [1, 2]


def test_a_camera_taken_by_another_program_is_reported_and_comes_back_when_it_is_free(virtual, use):
    camera = use()
    watch(camera, 60)
    virtual.fault = "silent"
    until(camera, ConnectionState.LOST)
    virtual.fault = "busy"
    until(camera, ConnectionState.BUSY)
    watch(camera, 60)
    assert len(camera.said) == 2 and "close the program that uses it" in camera.said[1]
    virtual.fault = ""
    until(camera, ConnectionState.BACK)
    assert len(camera.said) == 3


def test_the_waits_between_openings_double_up_to_8_s(virtual, use):
    camera = use()
    watch(camera, 60)
    virtual.fault, tried_s = "busy", []
    virtual.unplug(0)
    virtual.plug(0)
    until(camera, ConnectionState.LOST)
    lost_s, openings = virtual.clock.perf_counter(), len(virtual.opened)
    while len(tried_s) < 7:
        watch(camera, 60, lambda: len(virtual.opened) > openings + len(tried_s))
        tried_s.append(virtual.clock.perf_counter())
    assert np.diff([lost_s, *tried_s]) == pytest.approx([0.5, 1, 2, 4, 8, 8, 8], abs=0.25)


def test_a_camera_that_comes_and_goes_is_not_reported_each_time(virtual, use):
    camera = use()
    for _ in range(20):
        virtual.fault = ""
        watch(camera, 10, lambda: camera._reader is not None and camera._reader.first_s > 0)
        virtual.fault = "silent"
        watch(camera, 10, lambda: camera._reader is None)
    assert len(camera.said) <= 4, camera.said


def test_there_are_never_more_than_a_few_hanging_threads(desk, use):
    camera = use(timeouts=CameraTimeouts(lost_s=0.3, open_s=0.3, first_wait_s=0.1, longest_wait_s=0.1))
    before = threading.active_count() - 1
    desk.fault = "hang"
    watch(camera, 10, lambda: desk.hanging == MAX_HANGING)
    watch(camera, 1.0)
    assert desk.hanging == MAX_HANGING == threading.active_count() - before
    assert len(camera.said) == 1
    desk.fault = ""
    desk.freed.set()
    until(camera, ConnectionState.BACK)


def test_close_does_not_wait_for_a_read_that_hangs(desk, use):
    camera = use()
    desk.fault = "hang"
    watch(camera, 5, lambda: desk.hanging)
    started_s = time.perf_counter()
    camera.close()
    assert camera.read() is None
    assert time.perf_counter() - started_s < 1.8


def test_a_process_ends_with_its_own_status_while_a_read_hangs(tmp_path):
    code = f"""
import pathlib, functools
from realtime.process.shutdown import leave
from realtime.devices import v4l2
from realtime.sources import camera
from realtime.sources.reconnecting_camera import ReconnectingCamera
from tests.support.fake_camera import Desk
v4l2.SYSFS = pathlib.Path({str(tmp_path / "sysfs")!r})
desk = Desk(v4l2.SYSFS); desk.plug(0)
camera = ReconnectingCamera("webcam", open_camera=functools.partial(camera.Camera, open_capture=desk.open))
desk.fault = "hang"
while not desk.hanging: camera.read()
camera.close()
import atexit; atexit.register(lambda: print("the interpreter ended by itself"))
print("closed")
leave(130)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "closed\n", "")


def test_a_camera_may_be_slow_to_start_but_a_dead_one_is_refused_at_once(desk):
    class Slow:
        """A capture whose first read times out."""

        def __init__(self, which: int):
            self._capture, self._started = desk.open(which), False

        def __getattr__(self, name: str):
            return getattr(self._capture, name)

        def read(self):
            if self._started:
                return self._capture.read()
            self._started = True
            time.sleep(0.6)
            return False, None

    camera = Camera("webcam", 0, Slow)
    assert camera.read().image.any()
    camera.close()
    desk.fault, started_s = "silent", time.perf_counter()
    with pytest.raises(DriverError, match="gives no picture"):
        Camera("webcam", 0, desk.open)
    assert time.perf_counter() - started_s < 0.3


def test_the_first_opening_fails_at_once_with_one_sentence(desk, use):
    with pytest.raises(DriverError, match=r"There is no camera named 'Other'.*webcam:0 \(Desk Cam\)"):
        use("webcam:Other")
    desk.fault = "busy"
    with pytest.raises(DriverError, match=r"gives no picture.*close programs that use it"):
        use()
    desk.fault = "hang"
    with pytest.raises(DriverError, match="does not answer: unplug it"):
        use(timeouts=CameraTimeouts(open_s=0.2))


@pytest.mark.parametrize("fault", ["broken", "grey", "empty"])
def test_a_read_that_returns_no_picture_has_failed(desk, fault):
    camera = Camera("webcam", 0, desk.open)
    desk.fault = fault
    with pytest.raises(DriverError, match="stopped giving pictures"):
        camera.read()


def test_on_macos_the_camera_is_first_opened_on_the_main_thread(desk, use, monkeypatch):
    threads = []
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(
        desk, "open", lambda which: (threads.append(threading.current_thread()), Desk.open(desk, which))[1]
    )
    assert watch(use(), 5, lambda: len(desk.opened)) == [] and threads == [threading.main_thread()]


def test_a_defect_in_the_reading_thread_is_raised_where_the_camera_is_read(desk):
    class Defect(Camera):
        def read(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        camera = ReconnectingCamera("webcam", open_camera=partial(Defect, open_capture=desk.open))
        camera.clock = time
        watch(camera, 5)


def test_a_camera_is_named_by_its_device_or_by_a_link_to_it(tmp_path):
    assert camera_index("/dev/video3") == 3 and camera_index("webcam:2") == 2
    assert is_camera("/dev/v4l/by-id/usb-cam") and not is_camera("/dev/fd/63") and not is_camera("webcam.mp4")


def test_stamps_count_only_once_they_rise_and_age_only_by_this_machines_clock():
    noise = np.random.default_rng(0)

    def new(freshness: Freshness, *stamps_and_times: tuple[float, float]) -> list[bool]:
        return [
            freshness.is_new(noise.integers(0, 255, (48, 64, 3), np.uint8), *moment)
            for moment in stamps_and_times
        ]

    assert new(Freshness(), (0, 1), (0, 2), (0, 3)) == [True] * 3, "a driver without stamps"
    assert new(Freshness(), (7, 1), (7, 2), (7, 3)) == [True] * 3, "a driver with a constant for a stamp"
    assert new(Freshness(), (100, 100), (100.1, 100.1), (100.1, 100.2), (100.3, 100.3)) == [
        True,
        True,
        False,
        True,
    ]
    queue = (100.2, 110), (100.3, 110), (110, 110.01)
    assert new(Freshness(), (100, 100), (100.1, 100.1), *queue) == [True, True, False, False, True], (
        "an old queue after a pause"
    )
    slow = [(5 + second, 100 + (1 + MAX_AGE_S) * second) for second in range(5)]
    assert new(Freshness(), *slow) == [True] * 5, "a clock of its own that goes wrong"


def test_a_change_of_size_disturbs_neither_the_tracker_nor_memory(virtual, use, photo):
    """Real MediaPipe; 4K is shrunk."""
    import cv2

    camera = use()
    expressions = []
    watch(camera, 1)
    virtual.size, virtual.fps = (3840, 2160), 5
    assert watch(camera, 1)[-1].image.shape[:2] == (720, clip.MAX_SIDE_PX) and camera.said == []
    face = cv2.resize(photo, (480, 480))
    sizes = [(480, 480)] * 3 + [(320, 240)] * 3 + [(1280, 720)] * 3 + [(480, 640)] * 3
    with ExpressionTracker(Timings()) as performer:
        for number, (width, height) in enumerate(sizes):
            side = min(width, height)
            image = np.full((height, width, 3), 90, np.uint8)
            image[:side, (width - side) // 2 :][:, :side] = cv2.resize(face, (side, side))
            expressions.append(performer(Frame(image, number / 30)))
    assert [each.seen for each in expressions].count(False) <= 3, (
        "one frame to find it again, for each change"
    )
    assert all(expressions[number].seen for number in (2, 5, 8, 11))


def test_in_a_live_loop_the_output_goes_on_shows_the_still_photo_and_the_driver_comes_back(desk, use, photo):
    """The real times: unplugged for long enough that hold and ease are over, then plugged in under another
    index."""
    puppet, output, timings = Puppet(photo, StubEngine(aus=WIDE), (320, 240)), KeepingOutput(), Timings()
    camera = use()
    stage = Animator(puppet, Retarget(puppet.bundle, speak(ESTIMATED)), timings)

    def smiling(frame: Frame) -> DriverExpression:
        return DriverExpression(speak(ESTIMATED, AU12=1), frame.captured_s, seen=True)

    def still(image: np.ndarray) -> bool:
        return np.array_equal(image, puppet.still)

    source = FrameExpressions(camera, smiling, timings)
    loop = LiveLoop(source, stage, OutputFanout([output]), timings, fps=30)
    with loop.running():
        loop.wait(0.6)
        assert not still(output.images[-1])
        desk.unplug(0)
        loop.wait(0.35)
        assert not still(output.images[-1]), "it holds"
        loop.wait(1.2)
        assert still(output.images[-1]) and camera.state is ConnectionState.LOST
        desk.plug(1)
        loop.wait(1.5)
        assert not still(output.images[-1]) and camera.state in (ConnectionState.BACK, ConnectionState.LIVE)
        desk.fault = "hang"
        loop.wait(0.3)
        started_s = time.perf_counter()
    camera.close()
    assert time.perf_counter() - started_s < 2.0, "the end waited for a read that hangs"
    assert np.diff(output.times_s).max() < 0.3, "the output stopped"
    assert len(camera.said) == 2
    assert timings.summary()["capture"]["p99_ms"] < 500
