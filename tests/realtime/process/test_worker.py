"""Background threads: they stop when asked, are left behind where they hang, and report what they raise."""

import threading
import time

from realtime.process.worker import Worker, running
from tests.support.fake_clock import simulated


def test_it_works_until_it_is_asked_to_stop():
    turns = []

    def work():
        while not worker.wait(0.001):
            turns.append(threading.current_thread().name)

    worker = Worker(work, "turns")
    assert not worker.alive and worker.join() and worker.start() and worker.alive
    while not turns:
        time.sleep(0.001)
    assert running() == ["turns"] and turns[0] == "turns"
    assert worker.close(10) and worker.stopping and not worker.alive
    assert running() == []


def test_a_worker_that_hangs_is_left_behind_after_the_timeout():
    let_go = threading.Event()
    worker = Worker(let_go.wait, "hangs")
    worker.start()
    started_s = time.perf_counter()
    assert not worker.close(0.1)
    assert 0.1 <= time.perf_counter() - started_s < 5 and running() == ["hangs"]
    let_go.set()
    assert worker.join(10) and running() == []


def test_it_is_started_again_once_it_has_ended_and_not_before():
    gate, done = threading.Semaphore(0), []

    def work():
        gate.acquire()
        done.append(1)

    worker = Worker(work, "again")
    assert worker.start() and not worker.start()
    gate.release()
    assert worker.join(10) and worker.start()
    gate.release()
    assert worker.join(10) and len(done) == 2


def test_what_it_raises_goes_to_its_handler():
    errors = []
    worker = Worker(lambda: 1 / 0, "fails", errors.append)
    worker.start()
    assert worker.join(10) and isinstance(errors[0], ZeroDivisionError) and running() == []


def test_without_a_handler_the_threads_hook_reports_it_with_its_name(monkeypatch):
    reports = []
    monkeypatch.setattr(threading, "excepthook", reports.append)
    worker = Worker(lambda: 1 / 0, "fails")
    worker.start()
    assert worker.join(10)
    assert [(report.exc_type, report.thread.name) for report in reports] == [(ZeroDivisionError, "fails")]


def test_it_waits_in_simulated_time():
    with simulated() as sim:
        ticks_s = []

        def work():
            while not worker.wait(60):
                ticks_s.append(sim.now_s)

        worker = Worker(work, "hours")
        worker.start()
        sim.time.sleep(3600.5)
        assert worker.close(1) and len(ticks_s) == 60
