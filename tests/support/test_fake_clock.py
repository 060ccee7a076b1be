"""Simulated time for real threads; and that the soak in it finds what it looks for."""

import threading
import time
from collections import deque
from functools import partial
from types import ModuleType
from unittest.mock import patch

import numpy as np
import pytest

from realtime import latest_value
from realtime.latest_value import Latest
from realtime.puppet import animator
from realtime.session import live_loop
from realtime.sources import reconnecting_camera
from realtime.tracking import expression_tracker
from tests import soak
from tests.support import meeting
from tests.support.fake_clock import Deadlock, Simulation, simulated
from tests.support.mishaps import Pace


@pytest.fixture
def sim():
    with simulated() as sim:
        yield sim


def start(sim: Simulation, *works) -> list[threading.Thread]:
    threads = [sim.threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads


def test_hours_pass_at_once_and_wakings_come_in_the_order_of_their_times(sim):
    woke, began = [], time.perf_counter()

    def sleeper(*steps_s: float) -> None:
        for step_s in steps_s:
            sim.time.sleep(step_s)
            woke.append(sim.time.perf_counter() - 1000.0)

    for thread in start(
        sim, partial(sleeper, 7200, 3600), partial(sleeper, 1, 7000, 2000), partial(sleeper, 2)
    ):
        thread.join()
    assert woke == [1, 2, 7001, 7200, 9001, 10800] and sim.now_s == 11800.0
    assert time.perf_counter() - began < 10


def test_those_who_wait_for_the_same_moment_run_side_by_side(sim):
    met = threading.Barrier(3)  # a real one: who ran alone would wait here for ever

    def meet() -> None:
        sim.time.sleep(1.0)
        met.wait(30)

    for thread in start(sim, meet, meet, meet):
        thread.join()
    assert sim.now_s == 1001.0


def test_computing_takes_no_time_however_long_it_takes(sim):
    slow, seen = threading.Event(), []

    def compute() -> None:
        slow.wait(30)  # of real time
        seen.append(sim.now_s)

    thread = start(sim, compute)[0]
    threading.Timer(0.05, slow.set).start()
    sim.time.sleep(1.0)
    thread.join()
    assert seen == [1000.0] and sim.now_s == 1001.0


def test_a_wait_ends_at_its_limit_or_when_it_is_notified(sim):
    condition, event, ends = sim.threading.Condition(), sim.threading.Event(), {}

    def wait(name: str, do, *arguments) -> None:
        with condition:
            ends[name] = do(*arguments), sim.now_s - 1000

    def timed(name: str, do, *arguments) -> None:
        ends[name] = do(*arguments), sim.now_s - 1000

    threads = start(
        sim, partial(wait, "notified", condition.wait, 5.0), partial(wait, "late", condition.wait, 1.0),
        partial(timed, "event", event.wait, 9.0),
        partial(wait, "asked", condition.wait_for, lambda: sim.now_s > 1002.5, 60.0),
        partial(timed, "set too late", event.wait, 2.0),
    )  # fmt: skip
    assert not threads[0].join(0.5) and threads[0].is_alive() and sim.now_s == 1000.5
    for _ in range(2):
        sim.time.sleep(1.25)
        with condition:
            condition.notify_all()
    event.set()
    for thread in threads:
        thread.join()
    assert ends == {
        "late": (False, 1),
        "notified": (True, 1.75),
        "set too late": (False, 2),
        "event": (True, 3),
        "asked": (True, 3),
    }
    assert event.wait(0) is not False and condition.acquire(False) and not condition.acquire(False)
    assert sim.threading.enumerate() == [threading.main_thread()]


def test_a_lock_is_held_by_one_while_others_wait_in_turn(sim):
    lock, inside, most = sim.threading.Lock(), [], []

    def hold() -> None:
        with lock:
            inside.append(1)
            most.append(len(inside))
            sim.time.sleep(1.0)
            inside.pop()

    for thread in start(sim, hold, hold, hold):
        thread.join()
    assert max(most) == 1 and sim.now_s == 1003.0


def test_a_value_is_handed_over_at_the_moment_at_which_it_is_put(sim):
    with patch.object(latest_value, "threading", sim.threading):
        slot, taken = Latest(), []

    def take() -> None:
        while (value := slot.take(0.4)) is not None:
            taken.append((value, sim.now_s))

    thread = start(sim, take)[0]
    for number in range(3):
        sim.time.sleep(0.25)
        slot.put(number)
    thread.join()
    assert taken == [(0, 1000.25), (1, 1000.5), (2, 1000.75)] and sim.now_s == 1001.15


def test_all_who_wait_without_a_deadline_are_a_deadlock_told_with_their_places():
    def wait_for_ever(event) -> None:
        event.wait()

    with simulated() as sim:
        thread = start(sim, partial(wait_for_ever, sim.threading.Event()))[0]
        with pytest.raises(
            Deadlock,
            match=r"(?s)none has a deadline.*MainThread.*thread\.join\(\).*Thread-.*in wait_for_ever",
        ):
            thread.join()
        threading.Thread.join(thread, 10)
        assert not threading.Thread.is_alive(thread), "it has left as well"


def test_who_turns_round_in_a_circle_is_found():
    over = threading.Event()
    with simulated(stuck_s=0.1) as sim:
        thread = start(sim, lambda: over.wait(30))[0]  # in real time: nothing ever waits
        with pytest.raises(Deadlock, match="Time has stood still"):
            sim.time.sleep(1.0)
        over.set()
        threading.Thread.join(thread, 10)


def test_threads_that_are_left_are_told_and_the_real_modules_come_back():
    module = ModuleType("anything")
    module.time, module.threading = time, threading
    with pytest.raises(Deadlock, match="Threads are left: who stays"), simulated(module) as sim:
        assert module.time is sim.time and module.threading is sim.threading and live_loop.time is sim.time
        sim.threading.Thread(target=sim.threading.Event().wait, name="who stays", daemon=True).start()
    assert module.time is time and module.threading is threading and live_loop.time is time


# --- the soak finds what it looks for
# -----------------------------------------------------------------------------------

BRISK = Pace((3.0, 16.0), longest_s=4.0)
QUIET = Pace((10.0, 30.0), longest_s=2.0)


def complaints(pace: Pace = BRISK) -> str:
    """A short soak's, of two minutes."""
    return "\n".join(soak.soak(hours=0.03, pace=pace).faults)


@pytest.mark.slow
def test_a_short_soak_of_what_is_shipped_has_nothing_to_complain_about():
    found = soak.soak(hours=0.05, pace=BRISK)
    assert found.faults == [] and found.frames > 4000
    assert sum(record.count for record in found.fate.records.values()) > 50
    assert found.gaps_s.max() < 1 / soak.FPS + 1e-3 and len(found.late_stalled_s) > 50, (
        "while the generator stalled too"
    )


class Queue(Latest):
    """What Latest must not be."""

    def __init__(self) -> None:
        super().__init__()
        self._values = deque()

    def put(self, value) -> None:
        with self._condition:
            self._values.append(value)
            self._condition.notify_all()

    def take(self, timeout_s: float):
        with self._condition:
            self._condition.wait_for(lambda: self._values or self._closed, timeout_s)
            return self._values.popleft() if self._values else None


@pytest.mark.slow
def test_a_queue_between_threads_is_found():
    with patch.object(live_loop, "Latest", Queue):
        said = complaints()
    assert "A picture's age while all was well" in said and "nothing new was shown" in said, said


@pytest.mark.slow
@pytest.mark.parametrize(
    "size, what", [(1, "more Python objects"), (2000, "more MB of memory")], ids=["objects", "bytes"]
)
def test_a_leak_is_found(size, what):
    kept, show = deque(), animator.Animator.show

    def leaky(self, driver, now_s):
        if driver:
            kept.append(np.ones(size))
        return show(self, driver, now_s)

    with patch.object(animator.Animator, "show", leaky):
        said = complaints()
    assert what in said, said


@pytest.mark.slow
def test_what_grows_slower_with_time_is_found():
    call = expression_tracker.ExpressionTracker.__call__

    def tired(self, frame):
        meeting.time.sleep((meeting.time.perf_counter() - 1000.0) * 1e-4)
        return call(self, frame)

    with patch.object(expression_tracker.ExpressionTracker, "__call__", tired):
        said = complaints(QUIET)
    assert "Pictures grew older" in said, said


@pytest.mark.slow
def test_work_in_the_thread_that_sends_is_found():
    def heavy(self, picture):
        meeting.time.sleep(0.04 if picture.captured_s % 7 < 0.1 else 0.0)
        return (
            self.animator.still
            if self.controls.panic
            else self.animator.slate
            if self.controls.paused
            else picture.image
        )

    with patch.object(live_loop.LiveLoop, "_covered", heavy):
        said = complaints()
    assert "The virtual camera's wait for the next picture was" in said, said


@pytest.mark.slow
def test_the_driver_in_a_picture_and_a_panic_that_is_not_obeyed_are_found():
    def naked(self, picture):
        image = picture.image.copy()
        image[:4, :4] = meeting.DRIVERS_COLOUR
        return image

    with patch.object(live_loop.LiveLoop, "_covered", naked):
        said = complaints()
    assert "The driver's picture was in" in said and "in the place of what the user asked for" in said, said


@pytest.mark.slow
def test_a_camera_that_is_never_opened_again_is_found():
    with patch.object(reconnecting_camera.ReconnectingCamera, "_reopen", lambda *_: None):
        said = complaints()
    assert "nothing new was shown" in said, said


@pytest.mark.slow
def test_a_camera_that_is_never_let_go_is_found():
    with (
        patch.object(reconnecting_camera.CameraReader, "close", lambda *_: None),
        pytest.raises(Deadlock, match="Threads are left: camera"),
    ):
        complaints()


@pytest.mark.slow
def test_one_sentence_too_many_is_found():
    read = reconnecting_camera.ReconnectingCamera.read

    def talkative(self):
        self._notify("A picture was read.")
        return read(self)

    with patch.object(reconnecting_camera.ReconnectingCamera, "read", talkative):
        said = complaints()
    assert "sentence number 4 was said of it" in said or "said before anything went wrong" in said, said
