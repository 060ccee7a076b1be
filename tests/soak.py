"""Eight hours of a meeting in minutes: the live loop as it is, its devices doubled, real threads, and one mishap after the other.

    python -m tests.soak [--hours 8] [--minutes WALL] [--seed N]

Watches whether memory stays flat, pictures stay young, the virtual camera gets them on time, every mishap is made good, little is
said, the driver is never shown, and all is let go at the end. Prints its figures; leaves with 1 if anything of this is not so.
"""

import argparse
import ctypes
import gc
import os
import sys
import tempfile
import time as wall
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from engines import expression
from engines.aus import WIDE
from engines.face import Face
from engines.photo import load_photo
from engines.relay import Relay, Step
from realtime import capture, track
from realtime.capture import Camera
from realtime.loop import LiveLoop, Stage
from realtime.puppet import Puppet
from realtime.retarget import Retarget
from realtime.steady import SteadyCamera
from realtime.timing import Timings
from tests import meeting
from tests.camera_double import Desk
from tests.meeting import OPEN_ENGINE_S, PatientEngine, Performers, Receiver
from tests.mishaps import Fate
from tests.simulated import Simulation, simulated

FPS = 30.0  # of the output
CANVAS, CROP_PX = (96, 72), 32  # tiny: what is tested is how pictures pass, not how they are drawn
CALM_S = (15.0, 90.0)  # longer than any mishap may take to be made good
SAMPLE_S = 120.0  # between two looks at memory
WARM_SHARE = 0.15  # of the samples of memory, before those that are compared
HOUR_SHARE = 1 / 8  # of the time: the first and the last "hour"

OLDEST_S = 0.1  # of any picture while all is well: 4 + 8 + 8 ms of work and waiting for it, a camera's and an output's interval
AGE_GROWS_S = 0.002  # between the first and the last hour, at p50, p95 and p99
LATE_S = 0.025  # of a tick: a recording whose disk is slow may come first
CLOSE_S = 2.0
BYTES_A_FRAME = 10.0  # that memory may grow
RSS_NOISE_MB = 4.0  # the allocator's: a run of fewer than 400 000 frames is judged by it
BLOCKS_A_FRAME = 0.02  # Python objects: one in 50 frames would be a leak


class Series:
    """Figures in memory that was taken at the start, so that keeping them is no leak."""

    def __init__(self, length: int):
        self._values, self._times_s, self.count = np.ones(length, np.float32), np.ones(length), 0

    def add(self, time_s: float, value: float) -> None:
        if self.count < len(self._values):
            self._values[self.count], self._times_s[self.count] = value, time_s
            self.count += 1

    def between(self, start_s: float, end_s: float) -> np.ndarray:
        times_s = self._times_s[: self.count]
        return self._values[: self.count][(times_s >= start_s) & (times_s < end_s)]

    @property
    def all(self) -> np.ndarray:
        return self._values[: self.count]


@dataclass(frozen=True)
class Memory:
    """One look at what this process holds."""

    rss_mb: float  # /proc/self/statm after a garbage collection and malloc_trim; NaN where there is no such file
    blocks: int  # sys.getallocatedblocks: every Python object and buffer of up to 512 bytes
    objects: int  # len(gc.get_objects())
    threads: int

    @classmethod
    def now(cls, sim: Simulation) -> "Memory":
        gc.collect()
        rss_mb, statm = float("nan"), Path("/proc/self/statm")
        if statm.is_file():
            ctypes.CDLL(None).malloc_trim(0)
            rss_mb = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        return cls(rss_mb, sys.getallocatedblocks(), len(gc.get_objects()), sim.threading.active_count())


class VirtualCamera(Receiver):
    """The output that must never stop: how late it gets each picture, and how long after the one before."""

    def __init__(self, sim: Simulation, length: int):
        super().__init__("virtual camera")
        self._sim, self._start_s, self._last_s = sim, None, None
        self.late, self.gaps = Series(length), Series(length)

    def send(self, image: np.ndarray, time_s: float) -> None:
        now_s = self._sim.now_s
        if self._start_s is None:
            self._start_s = now_s - time_s
        else:
            self.gaps.add(now_s, now_s - self._last_s)
        self._last_s = now_s
        self.late.add(now_s, now_s - self._start_s - time_s)
        super().send(image, time_s)


class Ages(Timings):
    """Timings that tell fate of every fresh picture, and keep its age while all is well."""

    def __init__(self, sim: Simulation, fate: Fate, length: int):
        super().__init__()
        self._sim, self._fate, self.well, self.frames = sim, fate, Series(length), 0

    def add(self, name: str, duration_s: float) -> None:
        super().add(name, duration_s)
        if name == "capture":
            self.frames += 1
        elif name == "capture to output" and self._fate.shown(self._sim.now_s - duration_s):
            self.well.add(self._sim.now_s, duration_s)


@dataclass
class Findings:
    """What a soak measured, and what of it is wrong."""

    frames: int = 0
    simulated_s: float = 0.0
    wall_s: float = 0.0
    fate: Fate | None = None
    first: np.ndarray | None = None  # ages in seconds while all was well
    last: np.ndarray | None = None
    late: np.ndarray | None = None
    gaps: np.ndarray | None = None
    memory: tuple[Memory, Memory] | None = None
    close_s: float = 0.0
    faults: list[str] = field(default_factory=list)


def recorded_faces() -> list[Face]:
    """Faces of nobody, and those between them."""
    stored = np.load(Path(__file__).with_name("recorded_faces.npz"), allow_pickle=False)
    kept = list(zip(stored["mesh"], stored["blendshapes"], strict=True))
    faces = []
    for (mesh, shapes), (next_mesh, next_shapes) in zip(kept, kept[1:] + kept[:1], strict=True):
        for share in np.linspace(0, 1, 8, endpoint=False, dtype=np.float32):
            between = mesh + share * (next_mesh - mesh)
            faces.append(Face(between[:, :2], between[:, 2], shapes + share * (next_shapes - shapes)))
    return faces


def soak(hours: float = 8.0, wall_minutes: float = float("inf"), seed: int = 1, calm_s: tuple[float, float] = CALM_S) -> Findings:
    """Runs it; `faults` of what comes back is empty when all was well. Raises Deadlock, and whatever the loop raises."""
    started_s, found, faces = wall.monotonic(), Findings(), recorded_faces()
    estimate = expression.estimate
    known = {id(face): estimate(face) for face in faces}  # pure, and by far the slowest of a frame
    photo = load_photo(Path(capture.__file__).with_name("samples") / "man.jpg")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "video4linux"
        performers = Performers(faces, seed)
        stack.enter_context(patch.object(capture, "SYSFS", folder))
        stack.enter_context(patch.object(track, "FaceReader", performers))
        stack.enter_context(patch.object(expression, "estimate", lambda face: known.get(id(face)) if id(face) in known else estimate(face)))
        sim = stack.enter_context(simulated())
        desk = Desk(folder, fps=35.0)
        desk.colour = meeting.DRIVERS_COLOUR
        desk.plug(0, port="1-0")
        length = int(hours * 3600 * FPS * 1.1) + 1000
        engines, said = [PatientEngine(size_px=CROP_PX, aus=WIDE)], {}

        def reopen() -> PatientEngine:
            meeting.time.sleep(OPEN_ENGINE_S)
            engines.append(PatientEngine(size_px=CROP_PX, aus=WIDE))
            return engines[-1]

        vcam, recording, window = VirtualCamera(sim, length), Receiver("recording"), Receiver("window", main_thread=True)
        chains = {
            "camera": meeting.camera_mishaps(desk, seed), "face": meeting.face_mishaps(performers),
            "engine": meeting.engine_mishaps(engines), "output": meeting.output_mishaps(recording, window),
        }  # fmt: skip
        fate = found.fate = Fate(chains, calm_s, seed)
        timings = Ages(sim, fate, length)
        engine = Relay(
            engines[0], again=Step(reopen, True), spare=PatientEngine(size_px=CROP_PX, aus=WIDE), say=partial(fate.said, "engine")
        )
        puppet = Puppet(photo, engine, CANVAS)
        assert not meeting.shows_driver(puppet.still)
        camera = SteadyCamera("webcam", partial(fate.said, "camera"), partial(Camera, open_capture=desk.open))
        performer = track.Performer(timings)
        loop = LiveLoop(camera, performer, Stage(puppet, Retarget(puppet.bundle, puppet.own_aus), timings), [recording, vcam, window], timings, FPS)
        start_s, samples = sim.now_s, []
        with loop.running():
            fate.start()
            while sim.now_s - start_s < hours * 3600 and wall.monotonic() - started_s < wall_minutes * 60:
                loop.wait(min(SAMPLE_S, hours * 450))
                samples.append(Memory.now(sim))
            fate.stop()
            desk.freed.clear()
            desk.fault = "hang"  # the worst moment to end
            loop.wait(1.0)
            ending_s = sim.now_s
        camera.close()
        performer.close()
        engine.close()
        found.close_s = sim.now_s - ending_s
        desk.freed.set()
        for thread in sim.threading.enumerate()[1:]:
            thread.join(5.0)
        _judge(found, sim, start_s, ending_s, timings, vcam, samples)
        found.faults += [f"{r.name}: the driver's picture was in {r.leaked} pictures" for r in (vcam, recording, window) if r.leaked]
        if left := sim.threading.enumerate()[1:]:
            found.faults.append(f"threads are left: {', '.join(thread.name for thread in left)}")
        if desk.now_open:
            found.faults.append(f"{desk.now_open} openings of the camera were never released")
    found.wall_s = wall.monotonic() - started_s
    return found


def _judge(
    found: Findings, sim: Simulation, start_s: float, end_s: float, timings: Ages, vcam: VirtualCamera, samples: list[Memory]
) -> None:
    found.frames, found.simulated_s = timings.frames, end_s - start_s
    hour_s = found.simulated_s * HOUR_SHARE
    found.first, found.last = timings.well.between(start_s, start_s + hour_s), timings.well.between(end_s - hour_s, end_s)
    found.late, found.gaps = vcam.late.all, vcam.gaps.all
    complain, fate = found.faults.append, found.fate
    found.faults += fate.faults
    for share in (50, 95, 99):
        first_s, last_s = (float(np.percentile(ages, share)) for ages in (found.first, found.last))
        if last_s - first_s > AGE_GROWS_S:
            complain(f"pictures grew older: p{share} {first_s * 1e3:.1f} ms in the first hour, {last_s * 1e3:.1f} ms in the last")
    if (oldest_s := timings.well.all.max()) > OLDEST_S:
        complain(f"a picture was {oldest_s * 1e3:.0f} ms old while all was well, {OLDEST_S * 1e3:.0f} ms are allowed")
    if (gap_s := vcam.gaps.all.max()) > 1 / FPS + LATE_S:
        complain(f"the virtual camera got nothing for {gap_s * 1e3:.0f} ms")
    kept = samples[int(len(samples) * WARM_SHARE) :]
    third = max(1, len(kept) // 3)
    first, last = (_middle(part) for part in (kept[:third], kept[-third:]))
    found.memory, frames = (first, last), found.frames * (1 - WARM_SHARE)
    for what, grown, most in (
        ("resident memory (MB)", last.rss_mb - first.rss_mb, max(RSS_NOISE_MB, frames * BYTES_A_FRAME / 1e6)),
        ("Python objects", last.blocks - first.blocks, frames * BLOCKS_A_FRAME),
        ("Python containers", last.objects - first.objects, frames * BLOCKS_A_FRAME),
        ("threads", last.threads - first.threads, 0),
    ):
        if grown > most:
            complain(f"memory: {grown:.1f} more {what}, {most:.1f} are allowed")
    if found.close_s > CLOSE_S:
        complain(f"the end took {found.close_s:.1f} s")


def _middle(samples: list[Memory]) -> Memory:
    return Memory(*(np.median([getattr(sample, name) for sample in samples]) for name in Memory.__dataclass_fields__))


def table(found: Findings) -> str:
    """The figures for people."""

    def percentiles(seconds: np.ndarray) -> str:
        return "".join(f"{value * 1e3:10.2f}" for value in (*np.percentile(seconds, (50, 95, 99)), seconds.max()))

    first, last = found.memory
    lines = [
        f"{found.frames} driver frames, {found.simulated_s / 3600:.2f} simulated hours in {found.wall_s:.0f} s, {found.frames / found.wall_s:.0f} frames a second",
        "",
        f"{'mishap':<44}{'times':>6}{'made good after, s':>20}{'allowed':>9}{'sentences':>11}",
    ]
    for mishaps in found.fate._chains.values():
        for mishap in mishaps:
            record = found.fate.records[mishap.name]
            lines.append(f"{mishap.name:<44}{record.count:>6}{record.worst_s:>20.2f}{mishap.within_s:>9.2f}{record.most_said:>11}")
    lines += [
        "", f"{'ms':<44}{'p50':>10}{'p95':>10}{'p99':>10}{'max':>10}",
        f"{'age while all is well, first eighth':<44}{percentiles(found.first)}",
        f"{'age while all is well, last eighth':<44}{percentiles(found.last)}",
        f"{'virtual camera: behind its tick':<44}{percentiles(found.late)}",
        f"{'virtual camera: since the picture before':<44}{percentiles(found.gaps)}",
        "", f"{'memory after warm-up, at the end':<44}{'first':>12}{'last':>12}",
        f"{'resident, MB':<44}{first.rss_mb:>12.1f}{last.rss_mb:>12.1f}",
        f"{'Python objects':<44}{first.blocks:>12.0f}{last.blocks:>12.0f}",
        f"{'Python containers':<44}{first.objects:>12.0f}{last.objects:>12.0f}",
        f"{'threads':<44}{first.threads:>12.0f}{last.threads:>12.0f}",
        "", f"ended in {found.close_s:.2f} s while the camera hung",
    ]  # fmt: skip
    return "\n".join([*lines, "", *(found.faults or ["All was well."])])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=8.0, help="simulated")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="real ones, after which it ends however many hours are over")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    found = soak(options.hours, options.minutes, options.seed)
    print(table(found))
    return bool(found.faults)


if __name__ == "__main__":
    sys.exit(main())
