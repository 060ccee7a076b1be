"""Simulated time for real threads: hours pass in minutes, and nothing depends on how busy the machine is.

Stands in for the modules `time` and `threading`. The threads are real and run side by side, but each thread
that waits or sleeps is recorded, and time stands still while any runs. Once all wait, it jumps to the
earliest deadline. Computing takes no time here: what should take some has to sleep. Knows nothing of what
runs in it.
"""

import _thread
import heapq
import itertools
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

# Of a wait: a real one takes longer still, and a wait that takes no time could be repeated without end.
SHORTEST_S = 1e-6
STUCK_S = 60.0  # of real time without a wait: a thread runs in a loop, or waits for what is not simulated


class Deadlock(AssertionError):
    """All threads wait without a deadline, or time stands still because one never waits.

    Says where each is.
    """


class _Over(BaseException):
    """The simulation has ended under a thread: it leaves."""


class _Pause:
    """One wait of one thread."""

    __slots__ = ("gate", "over", "queue", "woken")

    def __init__(self, gate: "_thread.LockType", queue: "deque[_Pause] | None"):
        self.gate, self.queue, self.over, self.woken = gate, queue, False, False


class Simulation:
    """`time` and `threading` are the stand-ins. Use `simulated`, which puts them in their places."""

    def __init__(self, start_s: float = 1000.0, stuck_s: float = STUCK_S):
        self.now_s = start_s
        self.rests = 0  # waits and ends of all threads so far
        self.lock = _thread.allocate_lock()
        self._running = 1
        self._due: list[tuple[float, int, _Pause]] = []
        self._number = itertools.count()
        self._paused: set[_Pause] = set()
        self.fault = ""
        self._main, self._stuck_s = threading.current_thread(), stuck_s
        self.gates = {self._main.ident: _gate()}
        self.threads: list[threading.Thread] = []  # that were started and have not ended
        self.time = SimpleNamespace(
            perf_counter=lambda: self.now_s, monotonic=lambda: self.now_s, sleep=self.sleep
        )
        self.threading = SimpleNamespace(
            Thread=type("Thread", (_Thread,), {"simulation": self}),
            Lock=lambda: _Lock(self),
            Condition=lambda lock=None: _Condition(self, lock),
            Event=lambda: _Event(self),
            enumerate=lambda: [self._main, *self.threads],
            active_count=lambda: 1 + len(self.threads),
            current_thread=threading.current_thread,
            main_thread=threading.main_thread,
            get_ident=threading.get_ident,
        )

    def sleep(self, duration_s: float) -> None:
        if duration_s > 0:
            self.lock.acquire()
            self.pause(duration_s)

    def pause(self, timeout_s: float | None, queue: "deque[_Pause] | None" = None) -> bool:
        """Waits, in a queue from which `wake` may take it, at most so long; returns whether it was woken.

        The lock is held at
        entry, not after.
        """
        if self.fault:
            self.lock.release()
            self._leave()
        gate = self.gates.get(threading.get_ident())
        if gate is None:
            self.lock.release()
            raise RuntimeError(f"{threading.current_thread().name} waits in simulated time and is not of it")
        pause = _Pause(gate, queue)
        if timeout_s is not None:
            heapq.heappush(self._due, (self.now_s + max(timeout_s, SHORTEST_S), next(self._number), pause))
        if queue is not None:
            queue.append(pause)
        self._paused.add(pause)
        self.rest()
        self.lock.release()
        gate.acquire()
        if self.fault:
            self._leave()
        return pause.woken

    def wake(self, pause: _Pause, woken: bool = True) -> None:
        """Lets a waiting thread go on. The lock is held."""
        pause.over, pause.woken = True, woken
        self._running += 1
        self._paused.discard(pause)
        pause.gate.release()

    def begin(self) -> None:
        """A thread is about to start. The lock is held."""
        self._running += 1

    def rest(self) -> None:
        """This thread waits or ends; when it was the last that ran, time goes on. The lock is held."""
        self._running -= 1
        while self._due and not self._running:
            due_s = self._due[0][0]
            while (
                self._due and self._due[0][0] <= due_s
            ):  # all who wait for this moment: they run side by side
                pause = heapq.heappop(self._due)[2]
                if not pause.over:
                    self.now_s = due_s
                    if pause.queue is not None:
                        pause.queue.remove(pause)
                    self.wake(pause, woken=False)
        self.rests += 1
        if not self._running and self._paused:
            self.end("All wait and none has a deadline.")

    def end(self, fault: str) -> None:
        """Every thread leaves where it waits: the main one with Deadlock, the others silently.

        The lock is held.
        """
        if self.fault:
            return
        names = {thread.ident: thread.name for thread in [self._main, *self.threads]}
        frames = sys._current_frames()
        where = [
            f"--- {name}\n{''.join(traceback.format_stack(frames[ident])[-6:])}"
            for ident, name in names.items()
            if ident in frames
        ]
        self.fault = "\n".join([fault, *where])
        for pause in list(self._paused):
            self.wake(pause)

    def _leave(self) -> None:
        if threading.current_thread() is self._main:
            raise Deadlock(self.fault)
        raise _Over

    def watch(self, over: threading.Event) -> None:
        """In a thread of real time: ends the simulation when it is stuck."""
        rests = -1
        while rests != self.rests:
            rests = self.rests
            if over.wait(self._stuck_s):
                return
        with self.lock:
            self.end(f"Time has stood still for {self._stuck_s:g} s: a thread runs and never waits.")


class _Thread(threading.Thread):
    simulation: Simulation

    def start(self) -> None:
        sim, self.ended, self._joining = self.simulation, False, deque()
        with sim.lock:
            sim.begin()
            sim.threads.append(self)
        super().start()

    def run(self) -> None:
        sim = self.simulation
        sim.gates[self.ident] = _gate()
        try:
            super().run()
        except _Over:
            pass
        finally:
            with sim.lock:
                self.ended = True
                sim.threads.remove(self)
                del sim.gates[self.ident]
                _wake_all(sim, self._joining)
                sim.rest()

    def join(self, timeout: float | None = None) -> None:
        sim = self.simulation
        sim.lock.acquire()
        if self.ended or (timeout is not None and timeout <= 0):
            sim.lock.release()
        else:
            sim.pause(timeout, self._joining)
        if self.ended:
            super().join()  # a moment of real time, in which it leaves the interpreter

    def is_alive(self) -> bool:
        return self.ident is not None and not self.ended


class _Lock:
    def __init__(self, sim: Simulation):
        self._sim, self._lock, self._queue = sim, _thread.allocate_lock(), deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._lock.acquire(False):
            return True
        if not blocking:
            return False
        self._sim.lock.acquire()
        if self._lock.acquire(False):
            self._sim.lock.release()
            return True
        return self._sim.pause(None if timeout < 0 else timeout, self._queue)

    def release(self) -> None:
        with self._sim.lock:
            self.hand_on()

    def hand_on(self) -> None:
        """To the next in the queue, held as it is. The simulation's lock is held."""
        if self._queue:
            self._sim.wake(self._queue.popleft())
        elif self._lock.locked():  # it is not where the simulation has ended under who waited
            self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_exc: object) -> None:
        self.release()


class _Condition:
    def __init__(self, sim: Simulation, lock: _Lock | None = None):
        self._sim, self._lock, self._queue = sim, lock or _Lock(sim), deque()
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None and timeout <= 0:
            return False
        self._sim.lock.acquire()
        self._lock.hand_on()  # without letting go of the simulation: no thread may notify in between
        try:
            return self._sim.pause(timeout, self._queue)
        finally:
            self._lock.acquire()

    def wait_for(self, predicate: Callable[[], object], timeout: float | None = None) -> object:
        end_s = None if timeout is None else self._sim.now_s + timeout
        while not (result := predicate()):
            if not self.wait(None if end_s is None else end_s - self._sim.now_s):
                return predicate()
        return result

    def notify(self, n: int = 1) -> None:
        if self._queue:
            with self._sim.lock:
                for _ in range(min(n, len(self._queue))):
                    self._sim.wake(self._queue.popleft())

    def notify_all(self) -> None:
        self.notify(len(self._queue))


class _Event:
    def __init__(self, sim: Simulation):
        self._sim, self._set, self._queue = sim, False, deque()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        with self._sim.lock:
            self._set = True
            _wake_all(self._sim, self._queue)

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        self._sim.lock.acquire()
        if self._set or (timeout is not None and timeout <= 0):
            self._sim.lock.release()
            return self._set
        return self._sim.pause(timeout, self._queue)


def _gate() -> "_thread.LockType":
    gate = _thread.allocate_lock()
    gate.acquire()
    return gate


def _wake_all(sim: Simulation, queue: "deque[_Pause]") -> None:
    while queue:
        sim.wake(queue.popleft())


ROOMS = (
    "realtime.",
    "engines.runtime.failover",
    "tests.support.fake_camera",
    "tests.support.fakes",
    "tests.support.meeting",
    "tests.support.mishaps",
)


@contextmanager
def simulated(*modules: ModuleType, stuck_s: float = STUCK_S) -> Iterator[Simulation]:
    """Replaces `time` and `threading` in these modules, and in all of ROOMS that are loaded.

    What waits must be made within. Raises Deadlock, also at the end for threads that are still there.
    """
    loaded = [module for name, module in sys.modules.items() if name.startswith(ROOMS)]
    sim, over, places = Simulation(stuck_s=stuck_s), threading.Event(), []
    for module in dict.fromkeys([*modules, *loaded]):
        for name, real in (("time", time), ("threading", threading)):
            if getattr(module, name, None) is real:
                setattr(module, name, getattr(sim, name))
                places.append((module, name, real))
    watcher = threading.Thread(target=sim.watch, args=(over,), name="watches the simulation", daemon=True)
    watcher.start()
    try:
        yield sim
        if not sim.fault:
            sim.sleep(SHORTEST_S)  # until each thread waits or has ended
    finally:
        over.set()
        watcher.join()
        for module, name, real in places:
            setattr(module, name, real)
        left = list(sim.threads)
        with sim.lock:
            sim.end("Threads are left: " + ", ".join(thread.name for thread in left))
    if left:
        raise Deadlock(sim.fault)
