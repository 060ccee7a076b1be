"""The failover between engines while pictures are drawn: nothing waits, nothing stops, and a lost GPU is not
the end.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import ClassVar

import numpy as np
import pytest

from engines.bundle import load_bundle
from engines.errors import EngineError, EngineLost
from engines.face.action_units import WIDE
from engines.runtime import failover as failover_module
from engines.runtime import load as loading
from engines.runtime.cache import Cache
from engines.runtime.failover import BackgroundCompiler, EngineAttempt, FailoverEngine, load_live
from engines.runtime.load import LoadOptions
from realtime.performance.composition import endless
from realtime.performance.curve import Curve
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.expression_source import CurveExpressions
from realtime.session.live_loop import LiveLoop
from realtime.session.output_fanout import OutputFanout
from realtime.timing import Timings
from tests.support.fake_backends import FakeBackend, Imitation
from tests.support.fakes import KeepingOutput, StubEngine
from tests.test_architecture import ROOT

MODEL = StubEngine()
CROP, AUS = np.zeros((64, 64, 3), np.uint8), np.full(17, 0.5, np.float32)


class GatedAttempt:
    """An EngineAttempt that opens when its gate does, or when the test is over."""

    every: ClassVar[list["GatedAttempt"]] = []

    def __init__(self, engine=None, error: str = "", can_be_lost: bool = False):
        self.gate = threading.Event()
        self.calls = 0
        GatedAttempt.every.append(self)
        self._engine, self._error = engine, error
        self.attempt = EngineAttempt(self._open, can_be_lost)

    def _open(self):
        self.calls += 1
        self.gate.wait(10)
        if self._error or not self._engine:
            raise EngineError(self._error)
        return self._engine


@pytest.fixture(autouse=True)
def threads_leave():
    yield
    for attempt in GatedAttempt.every:
        attempt.gate.set()
    GatedAttempt.every.clear()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "open engines"], 30)


def until(true, limit_s: float = 5.0) -> None:
    end_s = time.perf_counter() + limit_s
    while not true():
        assert time.perf_counter() < end_s, "it never came"
        time.sleep(0.005)


def run_until(failover: FailoverEngine, name: str, limit_s: float = 5.0) -> None:
    def reached() -> bool:
        failover.run(CROP, AUS)
        return failover.name == name

    until(reached, limit_s)


def test_a_better_engine_takes_over_between_two_edits_and_none_waits_for_it():
    gated, messages = GatedAttempt(Imitation(MODEL, "better")), []
    failover = FailoverEngine(Imitation(MODEL, "first"), [gated.attempt], notify=messages.append)
    worst_s = 0.0
    for _ in range(50):
        started_s = time.perf_counter()
        failover.run(CROP, AUS)
        worst_s = max(worst_s, time.perf_counter() - started_s)
    assert failover.name == "first" and worst_s < 0.2
    gated.gate.set()
    run_until(failover, "better")
    assert messages == ["now on better"]


def test_several_better_engines_take_over_in_turn():
    gated = [GatedAttempt(Imitation(MODEL, "good")), GatedAttempt(Imitation(MODEL, "best"), can_be_lost=True)]
    failover = FailoverEngine(Imitation(MODEL, "first"), [each.attempt for each in gated])
    for each, name in zip(gated, ("good", "best"), strict=True):
        each.gate.set()
        run_until(failover, name)


def test_where_two_opened_before_the_next_edit_the_first_is_the_spare_of_the_second():
    """A face at rest asks for no edit."""
    gpu = Imitation(MODEL, "GPU")
    gated = [GatedAttempt(Imitation(MODEL, "CPU INT8")), GatedAttempt(gpu, can_be_lost=True)]
    failover = FailoverEngine(Imitation(MODEL, "CPU FP32"), [each.attempt for each in gated])
    for each in gated:
        each.gate.set()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "open engines"])
    failover.run(CROP, AUS)
    assert failover.name == "GPU"
    gpu.failures = 1
    failover.run(CROP, AUS)
    assert failover.name == "CPU INT8"


def test_a_better_engine_that_cannot_be_made_leaves_the_first_running_and_says_why():
    gated, messages = [GatedAttempt(error="INT8 is refused."), GatedAttempt(Imitation(MODEL, "next"))], []
    failover = FailoverEngine(
        Imitation(MODEL, "first"), [each.attempt for each in gated], notify=messages.append
    )
    gated[0].gate.set()
    until(lambda: messages)
    failover.run(CROP, AUS)
    assert messages == ["INT8 is refused. Staying on first."] and failover.name == "first"
    gated[1].gate.set()
    run_until(failover, "next")


def test_when_the_gpu_is_lost_the_same_edit_comes_from_the_spare():
    gpu, spare, messages = Imitation(MODEL, "GPU"), Imitation(MODEL, "CPU"), []
    failover = FailoverEngine(gpu, retry=GatedAttempt().attempt, spare=spare, notify=messages.append)
    gpu.failures = 1
    edit = failover.run(CROP, AUS)
    assert edit.colour.shape == (64, 64, 3) and spare.calls == 1 and failover.name == "CPU"
    assert messages == ["The device under GPU failed. Going on with CPU, and trying the other once more."]


def test_a_lost_engine_is_opened_once_more_and_a_second_loss_is_for_good():
    gpu, again, messages = (
        Imitation(MODEL, "GPU"),
        GatedAttempt(Imitation(MODEL, "GPU again"), can_be_lost=True),
        [],
    )
    failover = FailoverEngine(gpu, retry=again.attempt, spare=Imitation(MODEL, "CPU"), notify=messages.append)
    again.gate.set()
    gpu.failures = 1
    failover.run(CROP, AUS)
    run_until(failover, "GPU again")
    failover._running.failures = 1
    failover.run(CROP, AUS)
    for _ in range(20):
        failover.run(CROP, AUS)
    assert failover.name == "CPU" and again.calls == 1 and "once more" not in messages[-1]


def test_a_gpu_that_does_not_come_back_leaves_the_spare_running():
    gpu, messages = Imitation(MODEL, "GPU"), []
    again = GatedAttempt(error="There is no GPU any more.", can_be_lost=True)
    failover = FailoverEngine(gpu, retry=again.attempt, spare=Imitation(MODEL, "CPU"), notify=messages.append)
    again.gate.set()
    gpu.failures = 1
    failover.run(CROP, AUS)
    until(lambda: len(messages) == 2)
    assert messages[1] == "There is no GPU any more. Staying on CPU." and failover.name == "CPU"


def test_the_engine_that_a_gpu_took_over_from_is_its_spare():
    gated = GatedAttempt(Imitation(MODEL, "GPU"), can_be_lost=True)
    failover = FailoverEngine(Imitation(MODEL, "CPU"), [gated.attempt])
    gated.gate.set()
    run_until(failover, "GPU")
    failover._running.failures = 1
    failover.run(CROP, AUS)
    assert failover.name == "CPU"


def test_without_a_spare_the_loss_is_told():
    lonely = Imitation(MODEL, "lonely")
    lonely.failures = 1
    with pytest.raises(EngineLost, match="lonely failed"):
        FailoverEngine(lonely).run(CROP, AUS)


def test_after_closing_nothing_takes_over_and_nothing_is_said():
    gated, messages, closed = GatedAttempt(Imitation(MODEL, "late")), [], []
    never = GatedAttempt(Imitation(MODEL, "never"))
    failover = FailoverEngine(
        Imitation(MODEL, "first"),
        [gated.attempt, never.attempt],
        notify=messages.append,
        on_close=lambda: closed.append(True),
    )
    until(lambda: gated.calls)
    threading.Timer(0.2, gated.gate.set).start()
    failover.close()
    assert not [t for t in threading.enumerate() if t.name == "open engines"], (
        "it waits for what is being opened"
    )
    failover.run(CROP, AUS)
    assert failover.name == "first" and not messages and closed == [True] and not never.calls


@pytest.mark.slow
def test_a_program_that_ends_while_an_engine_is_opened_ends_cleanly(cache):
    """A thread in OpenVINO's code at the interpreter's end would abort it."""
    code = """
import random, time
from engines.bundle import load_bundle
from engines.runtime.load import load_cached, load_checked, targets
from engines.runtime.failover import FailoverEngine, EngineAttempt
bundle = load_bundle()
best = targets(bundle, "cpu")[0]
attempt = EngineAttempt(lambda: load_cached(bundle, best), False)
engine = FailoverEngine(load_checked(bundle, best), [attempt] * 1000)
time.sleep(random.uniform(0.1, 0.4))
engine.close()
"""
    for _ in range(2):
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert ended.returncode == 0, ended.stderr


def test_an_engine_that_was_compiled_and_cannot_be_opened_says_why(cache, monkeypatch):
    def full(*_arguments):
        raise EngineError("The GPU is out of memory.")

    monkeypatch.setattr(loading, "baseline_engine", lambda bundle, threads=None: MODEL)
    gpu = FakeBackend(MODEL, "tensorrt_rtx", ("fp16",))
    target = loading.Target(gpu, "fp16")
    loading.load_checked(MODEL.bundle, target)
    monkeypatch.setattr(gpu, "open", full)
    compiler = BackgroundCompiler(MODEL.bundle, LoadOptions(notify=print))
    monkeypatch.setattr(compiler, "_build", lambda devices: None)
    with pytest.raises(EngineError, match=r"^The GPU is out of memory\.$"):
        compiler.attempt([target]).open()


class Slow(Imitation):
    """Loses its device now and then."""

    def run(self, crop, aus):
        self.failures = int(self.calls in (10, 30))
        return super().run(crop, aus)


def test_the_output_never_stops_while_engines_come_and_go(photo):
    """A live loop at 50 pictures a second: a better engine takes over, its device is lost, it comes back, it
    is lost again.
    """

    def open_slowly():
        time.sleep(0.3)
        return Slow(MODEL, "GPU")

    failover = FailoverEngine(Imitation(MODEL, "CPU"), [EngineAttempt(open_slowly, can_be_lost=True)])
    puppet, output = Puppet(photo, failover, (320, 240)), KeepingOutput()
    times_s = np.linspace(0, 1, 50)
    curve = Curve(WIDE, times_s, np.abs(np.sin(times_s * 9))[:, None] * np.ones((1, 29), np.float32))
    timings = Timings()
    loop = LiveLoop(
        CurveExpressions(endless(curve), fps=50),
        Animator(puppet, Retarget(puppet.bundle, puppet.own_aus), timings),
        OutputFanout([output]),
        timings,
        fps=50,
    )
    loop.run(2.5)
    assert failover.name == "CPU" and failover._lost
    assert np.diff(output.times_s).max() < 0.3 and len(output.times_s) > 100
    assert loop.fresh > 80


# --- building in another program
# ---------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "engines"))
    return Cache()


@pytest.mark.slow
def test_the_first_run_starts_in_fp32_and_ends_on_the_best_that_passes(cache, engine):
    messages = []
    failover = load_live(device="cpu", options=LoadOptions(notify=messages.append))
    best = loading.targets(failover.bundle, "cpu")[0].precision.upper()
    assert failover.name.endswith("FP32")
    crop, aus = np.zeros((256, 256, 3), np.uint8), np.zeros(len(failover.bundle.aus), np.float32)

    def reached() -> bool:
        failover.run(crop, aus)
        return failover.name.endswith(best)

    until(reached, 60)
    checked = any(sentence.startswith("meanwhile: checking") for sentence in messages)
    assert checked == (best != "FP32"), messages  # FP32 is what the others are compared with
    second = load_live(device="cpu", options=LoadOptions(notify=messages.append))
    assert second.name.endswith(best), "it is ready the next time"
    failover.close()
    second.close()


def test_a_cache_that_cannot_be_written_still_gives_the_best_engine_for_this_run(tmp_path, monkeypatch):
    (tmp_path / "engines").write_text("a file in the way")
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "engines"))
    messages = []
    failover = load_live(device="cpu", options=LoadOptions(notify=messages.append), wait=True)
    best = loading.targets(failover.bundle, "cpu")[0].precision.upper()
    assert "cannot be written" in messages[0] and failover.name.endswith(best)
    assert (tmp_path / "engines").read_text() == "a file in the way"


def program(tmp_path, text: str) -> str:
    path = tmp_path / "builder"
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.name != "posix", reason="needs programs with #! and signals")
@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", f"ended by signal {int(signal.SIGSEGV)}"),
        (
            "print('working'); import sys; sys.exit('engines: the compiler found no memory')",
            "found no memory",
        ),
        ("print('done')", "is not to be found"),
        ("import sys; sys.exit(3)", "ended by status 3"),
        ("import sys; sys.stdout.buffer.write(bytes([255, 10])); sys.exit('engines: no text')", "no text"),
    ],
    ids=["crashes", "refuses", "makes nothing", "prints nothing", "prints no text"],
)
def test_a_compiler_that_fails_takes_nothing_with_it(cache, tmp_path, monkeypatch, text, fragment):
    monkeypatch.setattr(sys, "executable", program(tmp_path, text))
    backend, messages = FakeBackend(MODEL), []
    compiler = BackgroundCompiler(MODEL.bundle, LoadOptions(notify=messages.append))
    failover = FailoverEngine(
        Imitation(MODEL, "first"),
        compiler.attempts([loading.Target(backend, "int8")]),
        notify=messages.append,
    )
    until(lambda: any("Staying on first" in sentence for sentence in messages))
    assert fragment in messages[-1] and failover.run(CROP, AUS)


def test_a_compiler_that_cannot_be_started_is_a_sentence(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no such program"))
    compiler = BackgroundCompiler(MODEL.bundle, LoadOptions(notify=print))
    with pytest.raises(EngineError, match="No other program can be started to compile cpu-int8"):
        compiler.attempt([loading.Target(FakeBackend(MODEL), "int8")]).open()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my bundle", "-x"])
def test_the_compiler_imports_nothing_from_where_the_user_stands(cache, tmp_path, monkeypatch, name):
    from engines.bundle import find_bundle

    shutil.copytree(find_bundle("default"), tmp_path / name)
    (tmp_path / "numpy.py").write_text("raise SystemExit('this is not numpy')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    bundle, messages = load_bundle(f"./{name}"), []
    compiler = BackgroundCompiler(bundle, LoadOptions(notify=messages.append))
    wanted = loading.targets(bundle, "cpu")[:1]
    if wanted[0].precision == "fp32":
        pytest.skip("nothing is compiled for this CPU")
    assert compiler.attempt(wanted).open().bundle.name == name and not any(
        "numpy" in sentence for sentence in messages
    )


def test_where_nothing_can_be_written_at_all_fp32_runs(tmp_path, monkeypatch):
    def nowhere(**_options):
        raise FileNotFoundError(2, "No usable temporary directory found")

    (tmp_path / "engines").write_text("a file in the way")
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "engines"))
    monkeypatch.setattr("tempfile.mkdtemp", nowhere)
    messages = []
    failover = load_live(device="cpu", options=LoadOptions(notify=messages.append))
    assert failover.name.endswith("FP32") and any("cannot be written" in sentence for sentence in messages)
    failover.close()


@pytest.mark.skipif(os.name != "posix", reason="needs programs with #! and signals")
def test_closing_ends_the_compiler(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "executable", program(tmp_path, "import time; print('compiling', flush=True); time.sleep(60)")
    )
    messages = []
    compiler = BackgroundCompiler(MODEL.bundle, LoadOptions(notify=messages.append))
    failover = FailoverEngine(
        Imitation(MODEL, "first"),
        compiler.attempts([loading.Target(FakeBackend(MODEL), "int8")]),
        notify=messages.append,
        on_close=compiler.close,
    )
    until(lambda: "meanwhile: compiling" in messages)
    failover.close()
    until(lambda: compiler._building is None)
    assert messages == ["meanwhile: compiling"]


def test_a_ready_gpu_runs_at_once_with_the_cpu_as_its_spare(cache, monkeypatch):
    monkeypatch.setattr(loading, "baseline_engine", lambda bundle, threads=None: MODEL)
    gpu, cpu = FakeBackend(MODEL, "tensorrt_rtx", ("fp16",)), FakeBackend(MODEL, precisions=("int8", "fp32"))
    both = [loading.Target(gpu, "fp16"), loading.Target(cpu, "int8"), loading.Target(cpu, "fp32")]
    monkeypatch.setattr(failover_module, "targets", lambda bundle, device: list(both))
    monkeypatch.setattr(failover_module, "cpu_targets", lambda bundle: both[1:])
    loading.load_checked(MODEL.bundle, both[0])
    failover = load_live(MODEL.bundle)
    assert failover.name == "tensorrt_rtx fp16"
    gpu.opened[-1].failures = 1
    failover.run(CROP, AUS)
    assert failover.name == "openvino fp32", "INT8 was never compiled here, FP32 is always ready"
    run_until(failover, "tensorrt_rtx fp16")
    failover.close()
