"""How a run ends: once finishes files, twice is at once, and no device can keep it."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import pytest

from realtime.commands import animate
from realtime.performance.load import load_curve
from realtime.process.exit_status import DEFECT, outcome
from realtime.process.shutdown import RELEASE_S, STOPPED
from tests.conftest import SAMPLES
from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
HANG = (
    "import ctypes; lock = ctypes.create_string_buffer(64); "
    "hang = ctypes.CDLL(None).pthread_mutex_lock; hang(lock)\n"
)
IMPORTS = "from realtime.process.shutdown import ShutdownHandler\nimport time\n"
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of another process are POSIX")


def as_from_a_shell() -> None:
    """Signals as they are at a prompt, also where these tests are started by nohup or in the background."""
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start():
    """Starts a program, and waits until it says that it runs."""
    started = []

    def begin(code: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", IMPORTS + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            preexec_fn=as_from_a_shell,
        )
        started.append(process)
        seen = []
        for line in process.stdout:
            if line == "running\n":
                return process
            seen.append(line)
        raise AssertionError("".join(seen))

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def ends(process: subprocess.Popen, within_s: float) -> int:
    started_s = time.perf_counter()
    process.wait(timeout=PATIENCE_S)
    assert time.perf_counter() - started_s < within_s
    return process.returncode


def said_until_the_end(process: subprocess.Popen, number: int) -> str:
    """What a program still says once it got a signal; it ends well."""
    process.send_signal(number)
    said = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 0
    return said


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_finishes_what_is_open(number, start):
    process = start("""
with ShutdownHandler() as ending:
    try:
        print("running", flush=True); time.sleep(60)
    except KeyboardInterrupt:
        print("finished", flush=True)
""")
    assert said_until_the_end(process, number) == "finished\n"


@posix
def test_what_must_not_stop_half_way_is_finished_first(start):
    process = start("""
with ShutdownHandler() as ending:
    made = []
    try:
        with ending.deferred():
            print("running", flush=True); time.sleep(1); made.append("file")
        print("not reached", flush=True)
    except KeyboardInterrupt:
        print("stopped", *made, flush=True)
""")
    assert said_until_the_end(process, signal.SIGINT) == "stopped file\n"


@posix
def test_a_stop_that_was_raised_before_is_not_raised_again_by_what_is_finished_first(start):
    process = start("""
with ShutdownHandler() as ending:
    try:
        print("running", flush=True); time.sleep(60)
    except KeyboardInterrupt:
        with ending.deferred():
            pass
        print("finished", flush=True)
""")
    assert said_until_the_end(process, signal.SIGINT) == "finished\n"


@posix
def test_a_terminal_that_closes_may_signal_twice_and_what_is_open_is_finished(start):
    process = start("""
with ShutdownHandler() as ending:
    try:
        print("running", flush=True); time.sleep(60)
    except KeyboardInterrupt:
        print("closing", flush=True); time.sleep(0.5); print("finished", flush=True)
""")
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline() == "closing\n"
    assert said_until_the_end(process, signal.SIGHUP) == "finished\n"


@posix
def test_under_nohup_a_terminal_that_is_closed_ends_nothing(start):
    process = start("""
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with ShutdownHandler() as ending:
    print("running", flush=True); time.sleep(0.5); print("finished", flush=True)
""")
    assert said_until_the_end(process, signal.SIGHUP) == "finished\n"


@posix
def test_panic_before_there_is_a_picture_is_kept_and_ends_nothing(start):
    process = start("""
with ShutdownHandler() as ending:
    print("running", flush=True)
    while not ending.panic: time.sleep(0.01)
    print("kept", flush=True)
""")
    assert said_until_the_end(process, signal.SIGUSR1) == "kept\n"


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="a mutex of Linux's C library")
def test_panic_is_handled_while_the_main_thread_hangs_in_a_window(start):
    process = start(f"""
with ShutdownHandler() as ending:
    ending.on_panic = lambda: print("panic", flush=True)
    {HANG.replace("hang(lock)", "hang(lock); print('running', flush=True); hang(lock)")}
""")
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == "panic\n"


@posix
def test_without_standard_output_and_error_files_are_written(tmp_path):
    command = [
        sys.executable,
        "run.py",
        "--source",
        SAMPLES / "man.jpg",
        "--driver",
        SAMPLES / "smile.csv",
        "--seconds",
        "0.2",
    ]
    command += ["--size", "320x240", "--output", tmp_path / "out.mp4"]
    shell = ["sh", "-c", '"$@" >&- 2>&-', "sh"]
    assert subprocess.run([*shell, *command], cwd=ROOT, timeout=PATIENCE_S).returncode == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6


@posix
def test_once_while_it_is_closing_already_does_not_disturb_it(start):
    process = start("""
with ShutdownHandler() as ending:
    ending.close(); print("running", flush=True); time.sleep(1); print("finished", flush=True)
""")
    assert said_until_the_end(process, signal.SIGINT) == "finished\n"


@posix
def test_twice_ends_at_once(start):
    process = start("""
with ShutdownHandler() as ending:
    ending.at_last.append(lambda: print("restored", flush=True))
    try:
        print("running", flush=True); time.sleep(60)
    except KeyboardInterrupt:
        print("closing", flush=True); time.sleep(60)
""")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "closing\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "restored\n"
    assert ends(process, 1.0) == STOPPED


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="a mutex of Linux's C library")
def test_twice_ends_at_once_even_when_the_main_thread_hangs_in_a_driver(start):
    process = start(f"""
with ShutdownHandler() as ending:
    {HANG.replace("hang(lock)", "hang(lock); print('running', flush=True); hang(lock)")}
""")
    time.sleep(0.3)  # it hangs where nothing can be seen of it
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert ends(process, 1.0) == STOPPED


@posix
def test_what_is_left_once_the_devices_are_closed_may_take_its_time(start):
    process = start("""
with ShutdownHandler() as ending:
    ending.live()
    try:
        print("running", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        ending.close(), ending.released()
        time.sleep(4)
        print("a long recording is signed", flush=True)
""")
    process.send_signal(signal.SIGINT)
    assert ends(process, RELEASE_S + 4) == 0
    assert "signed" in process.stdout.read()


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="a mutex of Linux's C library")
def test_once_is_enough_in_a_live_run_whose_device_never_lets_go(start):
    process = start(f"""
with ShutdownHandler() as ending:
    ending.live()
    {HANG.replace("hang(lock)", "hang(lock); print('running', flush=True); hang(lock)")}
""")
    time.sleep(0.3)  # it hangs where nothing can be seen of it
    process.send_signal(signal.SIGINT)
    assert ends(process, RELEASE_S + 1) == STOPPED


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_live_run_releases_its_devices_and_finishes_its_files_within_2_s(start, tmp_path, number):
    process = start(f"""
import pyvirtualcam
from realtime.commands import animate
class Double:
    def __init__(self, **_options): self.sent = 0
    def send(self, frame):
        self.sent += 1
        if self.sent == 45: print("running", flush=True)
    def close(self): print("let go", flush=True)
    def device(self): return "double"
    def native_fourcc(self): return None
pyvirtualcam.register_backend("double", Double)
animate.leave(animate.main([
    "--source", "{SAMPLES / "man.jpg"}", "--driver", "{SAMPLES / "driver.mp4"}", "--size", "320x240",
    "--output", "vcam", "--output", "{tmp_path / "call.mp4"}", "--record", "{tmp_path / "take.csv"}",
]))
""")
    process.send_signal(number)
    started_s = time.perf_counter()
    lines = [line for line in process.stdout if time.perf_counter() - started_s < 2.0]
    assert "let go\n" in lines and any(line.startswith("wrote") for line in lines), lines
    assert process.wait(20) == 0  # libraries take their time to be unloaded
    with av.open(str(tmp_path / "call.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) > 30
    assert load_curve(tmp_path / "take.csv").duration_s > 1


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="a mutex of Linux's C library")
@pytest.mark.parametrize("hangs", [True, False], ids=["a worker hangs", "all workers have ended"])
def test_a_process_is_not_finalised_while_a_worker_hangs_in_a_device(start, hangs):
    process = start(f"""
import atexit
from realtime.process.shutdown import leave
from realtime.process.worker import Worker
def work():
    {HANG.strip() + "; hang(lock)" if hangs else "pass"}
worker = Worker(work, "camera")
worker.start(); worker.join(0.5)
atexit.register(lambda: print("finalised", flush=True))
print("running", flush=True)
leave(7)
""")
    assert process.wait(20) == 7
    assert process.stdout.read() == ("" if hangs else "finalised\n")


def test_an_error_in_a_thread_that_a_call_can_do_without_is_reported_in_one_sentence(capsys):
    def work(_ending):
        thread = threading.Thread(target=lambda: 1 / 0, name="photo switcher")
        thread.start()
        thread.join()
        return 0

    assert outcome(work) == 0
    err = capsys.readouterr().err
    assert "'photo switcher' (ZeroDivisionError" in err and "Traceback" not in err and err.count("\n") == 1


def test_an_error_in_a_thread_ends_the_run_with_one_sentence_and_no_traceback(monkeypatch, capsys):
    def broken(*_arguments):
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr("realtime.puppet.puppet.Puppet.render", broken)
    command = [
        "--source",
        str(SAMPLES / "man.jpg"),
        "--driver",
        str(SAMPLES / "smile.csv"),
        "--output",
        "none",
        "--seconds",
        "30",
    ]
    assert animate.main(command) == DEFECT
    err = capsys.readouterr().err
    assert err.count("ZeroDivisionError") == 1 and "Traceback" not in err and "--verbose" in err
    assert animate.main([*command, "--verbose"]) == DEFECT
    assert "in broken" in capsys.readouterr().err, "who reports it can say where"
