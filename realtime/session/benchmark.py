"""How fast the whole pipeline is on this machine: the live loop itself, headless, with nothing stubbed.

Two passes over the same driver. Throughput: frames are there as soon as they are wanted and pictures leave as
soon as they are drawn. Delay: frames come at 30 a second and the output keeps its own clock of 60, as in a
call.
"""

import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engines.errors import DriverError
from realtime.messages import Frame
from realtime.output.outputs import NullOutput
from realtime.performance.driver_spec import is_curve
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.puppet.settings import Settings
from realtime.session.expression_source import FrameExpressions
from realtime.session.live_loop import LiveLoop
from realtime.session.output_fanout import OutputFanout
from realtime.sources.camera import is_camera
from realtime.sources.clip import open_frames
from realtime.timing import Timings
from realtime.tracking.expression_tracker import ExpressionTracker

FRAMES = 150  # of the driver, decoded beforehand: a camera hands over pictures, it does not decode H.264
WARM_S = 2.0
CAMERA_FPS, OUTPUT_FPS = 30.0, 60.0
PACKAGES = ("mediapipe", "openvino", "onnxruntime", "opencv-python", "numpy", "av", "pyvirtualcam")


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
) -> dict[str, Any]:
    """Runs both passes of `seconds` each; returns what was measured, ready for JSON. Raises DriverError."""
    frames = _decode(driver)
    result: dict[str, Any] = {
        "engine": engine_name,
        "canvas": "x".join(map(str, puppet.size)),
        "driver": Path(driver).name,
        "driver_size": f"{frames[0].shape[1]}x{frames[0].shape[0]}",
        "machine": machine(),
        "versions": versions(),
    }
    for name, paced in (("throughput", False), ("delay", True)):
        timings = Timings()
        stage = Animator(puppet, Retarget(puppet.bundle, puppet.own_aus, settings), timings)
        camera = Memory(frames, CAMERA_FPS, paced)
        with ExpressionTracker(timings, face_model=face_model) as tracker:
            source = FrameExpressions(camera, tracker, timings, back_pressure=not paced)
            outputs = OutputFanout([NullOutput()])
            loop = LiveLoop(source, stage, outputs, timings, fps=OUTPUT_FPS, clocked=paced)
            with loop.running():
                time.sleep(WARM_S)
                timings.clear()
                before, dropped, started_s, cpu_s = (
                    loop.fresh,
                    loop.dropped,
                    time.perf_counter(),
                    time.process_time(),
                )
                loop.wait(seconds)
                elapsed_s = time.perf_counter() - started_s
            result[name] = {
                "fps": round((loop.fresh - before) / elapsed_s, 1),
                "cpu_ms_per_picture": round(
                    (time.process_time() - cpu_s) / max(1, loop.fresh - before) * 1000, 1
                ),
                "stages": timings.summary(),
                "dropped": {slot: count - dropped[slot] for slot, count in loop.dropped.items()},
            }
    result["peak_memory_mb"] = round(peak_memory_mb())
    return result


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
    delay_ms = result["delay"]["stages"].get("capture to output", {}).get("p50_ms", 0)
    memory = f"Peak memory {result['peak_memory_mb']} MB."
    lines += ["", f"{memory} Set the call's audio delay to about {delay_ms:.0f} ms."]
    return "\n".join(lines)
