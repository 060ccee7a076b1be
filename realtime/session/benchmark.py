"""How fast the whole pipeline is on this machine: the live loop itself, headless, with nothing stubbed.

Two passes over the same driver. Throughput: frames are there as soon as they are wanted and pictures leave as
soon as they are drawn. Delay: frames come at 30 a second and the output keeps its own clock of 60, as in a
call. A third one draws the same pictures in a single thread, and counts where the processor's time goes.
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engines.backends.interface import ignore
from engines.errors import DriverError, OutputError
from realtime.messages import Frame
from realtime.output.outputs import NullOutput
from realtime.performance.driver_spec import is_curve
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.puppet.settings import Settings
from realtime.session import stage_costs
from realtime.session.config import SessionConfig
from realtime.session.driver_switcher import DriverSwitcher
from realtime.session.expression_source import FrameExpressions
from realtime.session.key_actions import KeyActions
from realtime.session.live_loop import LiveLoop
from realtime.session.live_run import LiveRun, RunPage
from realtime.session.live_sound import LiveSound
from realtime.session.output_fanout import OutputFanout
from realtime.session.photo_switcher import PhotoSwitcher
from realtime.sources.camera import is_camera
from realtime.sources.clip import open_frames
from realtime.timing import Timings
from realtime.tracking.expression_tracker import ExpressionTracker

FRAMES = 150  # of the driver, decoded beforehand: a camera hands over pictures, it does not decode H.264
WARM_S = 2.0
COSTED_PICTURES = 240  # by stage: eight seconds of a call
CAMERA_FPS, OUTPUT_FPS = 30.0, 60.0
PAGE_ROUNDS = 3  # with a page, and as many without
DELAY = "capture to output"  # a series of Timings
PACKAGES = ("mediapipe", "openvino", "onnxruntime", "opencv-python", "numpy", "av", "pyvirtualcam")

OpenPage = Callable[[], AbstractContextManager[RunPage]]


class Memory:
    """Pictures in memory, over and over, as fast as they are asked for.

    A camera that is never the bottleneck.
    """

    live: Literal[True] = True
    has_rest = True
    note = ""

    def __init__(self, frames: list[np.ndarray], fps: float = 30.0, paced: bool = False):
        self._frames, self.fps, self._paced, self._number = frames, fps, paced, 0
        self._next_s = time.perf_counter()

    def read(self) -> Frame | None:
        if self._paced:
            self._next_s = max(self._next_s + 1 / self.fps, time.perf_counter() - 1 / self.fps)
            time.sleep(max(0.0, self._next_s - time.perf_counter()))
        image = self._frames[self._number % len(self._frames)]
        self._number += 1
        return Frame(image, time.perf_counter())

    def close(self) -> None:
        pass


def measure(
    puppet: Puppet,
    engine_name: str,
    driver: str,
    seconds: float = 10.0,
    settings: Settings | None = None,
    face_model: Path | None = None,
    open_page: OpenPage | None = None,
) -> dict[str, Any]:
    """Runs two passes of `seconds` each and the third; returns what was measured, ready for JSON.

    Args:
        open_page: opens a page that is looked at; then a call is measured with it and without it, in turn.

    Raises: DriverError.
    """
    frames = _decode(driver)
    result: dict[str, Any] = {
        "engine": engine_name,
        "canvas": "x".join(map(str, puppet.size)),
        "driver": Path(driver).name,
        "driver_size": f"{frames[0].shape[1]}x{frames[0].shape[0]}",
        "machine": machine(),
        "versions": versions(),
    }
    with_page: list[dict[str, Any]] = []
    without_page: list[dict[str, Any]] = []
    bench = partial(_run_pass, puppet, frames, settings, face_model, seconds)
    result["throughput"] = bench(paced=False)
    result["delay"] = bench(paced=True)
    for _ in range(PAGE_ROUNDS if open_page else 0):  # in turn: what else the machine does meets both
        with_page.append(bench(paced=True, open_page=open_page))
        without_page.append(bench(paced=True))
    if open_page:
        result["page"] = {
            "with": _middle(with_page),
            "without": _middle(without_page),
            "core_ms_a_picture": round(_page_cost(puppet, open_page), 2),
        }
    result["peak_memory_mb"] = round(peak_memory_mb())
    unheard = Timings()
    animator = Animator(puppet, Retarget(puppet.bundle, puppet.own_aus, settings), unheard)
    with ExpressionTracker(unheard, face_model=face_model) as tracker:
        result["core_ms_by_stage"] = stage_costs.measure(frames, tracker, animator, COSTED_PICTURES)
    return result


def _run_pass(
    puppet: Puppet,
    frames: list[np.ndarray],
    settings: Settings | None,
    face_model: Path | None,
    seconds: float,
    paced: bool,
    open_page: OpenPage | None = None,
) -> dict[str, Any]:
    """One pass over the driver."""
    timings = Timings()
    stage = Animator(puppet, Retarget(puppet.bundle, puppet.own_aus, settings), timings)
    camera = Memory(frames, CAMERA_FPS, paced)
    with ExitStack() as stack:
        page = stack.enter_context(open_page()) if open_page else None
        tracker = stack.enter_context(ExpressionTracker(timings, face_model=face_model))
        source = FrameExpressions(camera, tracker, timings, back_pressure=not paced)
        outputs = OutputFanout([NullOutput(), *([page.view] if page else [])])
        loop = LiveLoop(source, stage, outputs, timings, fps=OUTPUT_FPS, clocked=paced)
        if page:
            page.attach(_live_run(loop))
        with loop.running():
            time.sleep(WARM_S)
            timings.clear()
            before, dropped = loop.fresh, loop.dropped
            started_s, cpu_s = time.perf_counter(), time.process_time()
            loop.wait(seconds, page.turn if page else lambda: None)
            elapsed_s = time.perf_counter() - started_s
        pictures = max(1, loop.fresh - before)
        return {
            "fps": round((loop.fresh - before) / elapsed_s, 1),
            "cpu_ms_per_picture": round((time.process_time() - cpu_s) / pictures * 1000, 1),
            "stages": timings.summary(),
            "dropped": {slot: count - dropped[slot] for slot, count in loop.dropped.items()},
        }


def _live_run(loop: LiveLoop) -> LiveRun:
    """What a page shows of a benchmark; nothing of it is acted upon."""
    photo = Path("photo")
    config = SessionConfig(source=str(photo), drivers=())
    switcher = PhotoSwitcher([photo], refuse, loop.animator.change, ignore)
    keys = KeyActions(loop.animator, loop.outputs, None, switcher, refuse)
    drivers, sound = DriverSwitcher(refuse, ignore), LiveSound(None, ignore)
    return LiveRun.of(config, loop, keys, switcher, drivers, sound, "", refuse, {}, ignore)


def _page_cost(puppet: Puppet, open_page: OpenPage) -> float:
    """What a page that is looked at takes of a core for a picture, in milliseconds, with nothing beside."""
    timings = Timings()
    animator = Animator(puppet, Retarget(puppet.bundle, puppet.own_aus), timings)
    with open_page() as page:
        outputs = OutputFanout([page.view])
        source = FrameExpressions(Memory([], CAMERA_FPS), refuse, timings)
        page.attach(_live_run(LiveLoop(source, animator, outputs, timings)))
        time.sleep(WARM_S)
        images = (animator.still, np.roll(animator.still, 8, axis=1))
        started_s = time.process_time()
        for number in range(COSTED_PICTURES):
            page.view.send(images[number % 2], number / CAMERA_FPS)
            page.turn()
            time.sleep(1 / CAMERA_FPS)
        return (time.process_time() - started_s) / COSTED_PICTURES * 1000


def refuse(*_arguments: object) -> Any:
    """In place of what opens something. Raises OutputError."""
    raise OutputError("Nothing is opened in a benchmark.")


def _middle(passes: list[dict[str, Any]]) -> dict[str, float]:
    """The medians of what matters of several passes."""
    delays = [each["stages"].get(DELAY, {"p50_ms": 0.0, "p95_ms": 0.0}) for each in passes]
    return {
        "fps": float(np.median([each["fps"] for each in passes])),
        "cpu_ms_per_picture": float(np.median([each["cpu_ms_per_picture"] for each in passes])),
        "delay_p50_ms": float(np.median([each["p50_ms"] for each in delays])),
        "delay_p95_ms": float(np.median([each["p95_ms"] for each in delays])),
    }


def _page_lines(page: dict[str, Any]) -> list[str]:
    """With the page and without it, side by side."""
    rows = {
        "pictures a second": "fps",
        "core-ms a picture": "cpu_ms_per_picture",
        f"{DELAY}, p50, ms": "delay_p50_ms",
        f"{DELAY}, p95, ms": "delay_p95_ms",
    }
    lines = ["", f"A page that is looked at, medians of {PAGE_ROUNDS} passes each, in turn"]
    lines.append(f"  {'':<26}{'without':>10}{'with':>10}{'more':>10}")
    for name, key in rows.items():
        without, with_it = page["without"][key], page["with"][key]
        lines.append(f"  {name:<26}{without:>10.1f}{with_it:>10.1f}{with_it - without:>+10.1f}")
    return [*lines, f"  counted alone: {page['core_ms_a_picture']:.2f} core-ms a picture"]


def _decode(driver: str) -> list:
    if is_camera(driver) or is_curve(driver):
        raise DriverError("--benchmark needs a driver that repeats exactly: give a clip or a picture.")
    source = open_frames(driver)
    frames: list[np.ndarray] = []
    while len(frames) < FRAMES and (frame := source.read()) is not None:
        frames.append(frame.image)
    source.close()
    return frames + frames[-2:0:-1]  # there and back: no jump where it starts again


def peak_memory_mb() -> float:
    try:
        import resource
    except ImportError:  # Windows has no such count
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def machine() -> dict[str, str | int]:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        name = next(
            (
                line.split(":", 1)[1].strip()
                for line in info.read_text().splitlines()
                if line.startswith("model name")
            ),
            name,
        )
    return {
        "cpu": name,
        "cores": len(_cores()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cores() -> range | set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def table(result: dict) -> str:
    """The result as text for people."""
    machine = result["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    driver = f"driver {result['driver']} at {result['driver_size']}"
    lines = [
        f"{result['engine']}, canvas {result['canvas']}, {driver}",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {packages}",
    ]
    titles = {
        "throughput": "Throughput: as fast as it goes",
        "delay": f"Delay: camera at {CAMERA_FPS:.0f} fps, output clock {OUTPUT_FPS:.0f} fps",
    }
    for name, title in titles.items():
        part = result[name]
        drops = ", ".join(f"{count} {slot}" for slot, count in part["dropped"].items())
        speed = f"{part['fps']} pictures a second, {part['cpu_ms_per_picture']} core-ms a picture"
        lines += ["", f"{title}: {speed}, dropped: {drops}"]
        lines.append(f"  {'stage, ms':<20}{'p50':>8}{'p95':>8}{'p99':>8}{'count':>8}")
        for stage, row in part["stages"].items():
            percentiles = "".join(f"{row[f'p{share}_ms']:>8.1f}" for share in (50, 95, 99))
            lines.append(f"  {stage:<20}{percentiles}{row['count']:>8}")
    costs = result["core_ms_by_stage"]
    lines += ["", f"Cost: in one thread: {sum(costs.values()):.1f} core-ms a picture"]
    lines += [f"  {stage:<24}{cost:>6.2f}" for stage, cost in costs.items()]
    if "page" in result:
        lines += _page_lines(result["page"])
    delay_ms = result["delay"]["stages"].get(DELAY, {}).get("p50_ms", 0)
    memory = f"Peak memory {result['peak_memory_mb']} MB."
    lines += ["", f"{memory} Set the call's audio delay to about {delay_ms:.0f} ms."]
    return "\n".join(lines)
