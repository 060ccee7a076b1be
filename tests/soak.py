"""Eight hours of a meeting in minutes: the live loop with fake devices, and one mishap after the other.

    python -m tests.soak [--hours 8] [--minutes WALL] [--seed N] [--phone]

The driver's head turns, and a page looks on; with --phone a phone's tracker drives instead of a camera.
Checks that memory stays flat, that pictures are young, that the virtual camera gets them on time, that every
mishap is recovered from, that little is logged, that the driver is never shown, and that all is released at
the end. Prints its figures; exits with 1 if anything of this is not so.
"""

import argparse
import sys
import tempfile
import time as wall
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from engines.face import au_estimator
from engines.face.action_units import WIDE
from engines.face.photo import load_photo
from engines.runtime.failover import EngineAttempt, FailoverEngine
from realtime import timing
from realtime.controls import Controls
from realtime.devices import v4l2
from realtime.messages import DriverExpression, Frame
from realtime.output.reconnecting_virtual_camera import ReconnectingVirtualCamera
from realtime.page.live_view import LiveView
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.puppet.settings import Settings
from realtime.session import live_loop
from realtime.session.expression_source import FrameExpressions, TrackerExpressions
from realtime.session.output_fanout import OutputFanout
from realtime.sources import network_tracker
from realtime.sources.camera import Camera
from realtime.sources.network_tracker import NetworkTracker
from realtime.sources.reconnecting_camera import ReconnectingCamera
from realtime.sources.tracker_protocols import LiveLinkFaceDecoder
from realtime.tracking import expression_tracker
from realtime.tracking.reading_tracker import ReadingTracker
from tests.support import meeting
from tests.support.fake_camera import Desk
from tests.support.fake_clock import Simulation, simulated
from tests.support.meeting import PatientEngine, Performers, Receiver, VirtualDevice
from tests.support.mishaps import Fate, Pace
from tests.support.soak_statistics import Ages, Memory, Watched

ROOT = Path(__file__).parents[1]
FPS = 30.0  # of the output
CANVAS, CROP_PX = (96, 72), 32  # tiny: what is tested is how pictures pass, not how they are drawn
PACE = Pace((15.0, 90.0))  # longer than any mishap may take to be made good
LOOK_S = (
    15.0,
    120.0,
)  # between two looks at memory, at least and at most; each costs a tenth of a second of real time
WARM_SHARE = 0.15  # of them, before those that are compared
KEPT = 256  # samples of each of the loop's timings: their 4096 are full after minutes only, which is no leak
HOUR_SHARE = 1 / 8  # of the time: the first and the last "hour"

# Of any picture while all is well: 4 + 8 + 8 ms of work and waiting for it, a camera's and an output's
# interval.
OLDEST_S = 0.1
AGE_GROWS_S = (
    0.005  # between the first and the last hour, at p50, p95 and p99; camera rates beat with the clock: 3 ms
)
LATE_S = 0.001  # of a tick: sending to the others takes some
INVALID_SHARE = 0.05  # of the pictures of a driver in plain view
SETTLE_S = 12.0  # before the end: a camera is back by then
CLOSE_S = 2.0
BYTES_A_FRAME = 10.0  # that memory may grow
NOISE_MB = 2.0  # the allocator's: a run of fewer than a quarter of a million frames is judged by it
OBJECTS_A_FRAME = 0.01  # that may be kept: one frame in a hundred would be a leak
OBJECTS_NOISE = 500  # the logs and counters of mishaps, threads on their way


@dataclass
class Findings:
    """What a soak measured, and what of it is wrong."""

    fate: Fate
    frames: int
    simulated_s: float
    wall_s: float
    first_s: np.ndarray  # ages while all was well, in the first eighth of the time
    last_s: np.ndarray
    late_s: np.ndarray  # the virtual camera behind its ticks
    late_stalled_s: np.ndarray  # while the generator stalled
    gaps_s: np.ndarray
    memory: tuple[Memory, Memory]  # after warm-up, at the end
    close_s: float
    faults: list[str] = field(default_factory=list)


class Meeting:
    """The live loop with a double at each end. `hold` lets it last."""

    def __init__(
        self,
        sim: Simulation,
        folder: Path,
        people: Performers,
        hours: float,
        pace: Pace,
        seed: int,
        by_phone: bool = False,
    ):
        """folder: where Linux would list its cameras. by_phone: a phone drives, and no camera."""
        self._sim, self._hours = sim, hours
        length = int(hours * 3600 * FPS * 1.1) + 1000
        self.desk = Desk(folder, fps=40.0, size=meeting.CAMERA_SIZE)
        self.desk.colour = meeting.DRIVERS_COLOUR
        self.desk.plug(0, port="1-0")
        self.device, recording, window = (
            VirtualDevice("virtual camera"),
            Receiver("recording"),
            Receiver("window", main_thread=True),
        )
        self.receivers = [self.device, recording, window]
        steady_vcam = ReconnectingVirtualCamera(
            self.device.open, lambda sentence: self.fate.said("output", sentence)
        )
        self.vcam = Watched(sim, steady_vcam, length)
        self._engines = [self._open_engine()]
        controls = Controls(lambda sentence: self.fate.said("user", sentence))
        self._line, self._view = meeting.PhoneLine(), LiveView()
        self.viewer = meeting.Viewer(self._view)
        self._page = sim.threading.Thread(target=self.viewer.look, name="page")
        driver = {
            "camera": meeting.camera_mishaps(self.desk, seed),
            "face": meeting.face_mishaps(people),
        }
        if by_phone:
            driver = {"phone": meeting.phone_mishaps(self._line)}
        chains = {
            **driver,
            "page": meeting.page_mishaps(self.viewer),
            "engine": meeting.engine_mishaps(self._engines, lambda on: setattr(self.vcam, "stalled", on)),
            "output": meeting.output_mishaps(self.device, recording, window),
            "user": meeting.user_mishaps(
                controls, lambda what: setattr(self.vcam, "only", self._covers.get(what))
            ),
        }
        self.fate = Fate(chains, pace, seed)
        self.timings = Ages(
            sim, self.fate, lambda: steady_vcam.lost, length, "track" if by_phone else "capture"
        )
        said = {chain: partial(self.fate.said, chain) for chain in chains}
        self._relay = FailoverEngine(
            self._engines[0],
            retry=EngineAttempt(self._reopen, True),
            spare=self._open_engine(),
            notify=said["engine"],
        )
        puppet = Puppet(load_photo(ROOT / "realtime" / "samples" / "man.jpg"), self._relay, CANVAS)
        assert not meeting.shows_driver(puppet.still)
        animator = Animator(
            puppet, Retarget(puppet.bundle, puppet.own_aus, Settings(idle=True)), self.timings
        )
        self.valid = self.invalid = 0  # expressions of the driver while all is well
        self._close_driver: list[Callable[[], None]] = []
        source = self._phone(said["phone"]) if by_phone else self._frames(said["camera"])
        outputs = OutputFanout([self.vcam, recording, window, self._view], said["output"])
        self._loop = live_loop.LiveLoop(source, animator, outputs, self.timings, FPS, controls=controls)
        self._covers = {"still": animator.still, "slate": animator.slate}
        self.looks: list[Memory] = []
        self.begun_s = self.ended_s = sim.now_s  # of what is measured
        self.close_s = 0.0

    def hold(self, wall_s: float) -> None:
        """For the hours that were asked for, or until wall_s of real time are over."""
        end_s, wall_end_s = self._sim.now_s + self._hours * 3600, wall.monotonic() + wall_s
        self._page.start()
        with self._loop.running():
            self.fate.start()
            while self._sim.now_s < end_s and wall.monotonic() < wall_end_s and not self._loop.stopped:
                self._loop.wait(float(np.clip(self._hours * 3600 / 64, *LOOK_S)))
                self.looks.append(Memory.now(self._sim))
            self.fate.stop()
            self.ended_s = self._sim.now_s
            self._loop.wait(SETTLE_S)
            self.desk.freed.clear()
            self.desk.fault = "hang"  # the worst moment to end
            self._loop.wait(1.0)
            ending_s = self._sim.now_s
        self.vcam.close()
        self.viewer.over = True
        self._view.close()
        for close in self._close_driver:
            close()
        self._relay.close()
        self.close_s = self._sim.now_s - ending_s
        self.desk.freed.set()
        for thread in self._sim.threading.enumerate()[1:]:
            thread.join(5.0)

    def _frames(self, said: Callable[[str], None]) -> FrameExpressions:
        """Expressions of the camera's frames."""
        camera = ReconnectingCamera("webcam", said, partial(Camera, open_capture=self.desk.open))
        self._tracker = expression_tracker.ExpressionTracker(self.timings)
        self._close_driver = [camera.close, self._tracker.close]
        return FrameExpressions(camera, self._track, self.timings)

    def _phone(self, said: Callable[[str], None]) -> TrackerExpressions:
        """Expressions of a phone's tracker."""

        def notify(sentence: str) -> None:
            if not sentence.startswith(
                ("Waiting for", f"{LiveLinkFaceDecoder.name} sends from")
            ):  # at the start
                said(sentence)

        with patch.object(network_tracker, "_listen", lambda *_address: self._line):
            faces = NetworkTracker("livelink:0.0.0.0:11111", notify)
        self._close_driver = [faces.close]
        return TrackerExpressions(faces, ReadingTracker(), self.timings)

    def _track(self, frame: Frame) -> DriverExpression:
        expression = self._tracker(frame)
        if self.fate.calm:
            self.valid += expression.seen
            self.invalid += not expression.seen
        return expression

    def _open_engine(self) -> PatientEngine:
        return PatientEngine(size_px=CROP_PX, aus=WIDE)

    def _reopen(self) -> PatientEngine:
        meeting.time.sleep(meeting.OPEN_ENGINE_S)
        self._engines.append(self._open_engine())
        return self._engines[-1]


def performers(seed: int) -> Performers:
    """A synthetic face, with the expressions of several and those between them."""
    stored = np.load(Path(__file__).parent / "data" / "recorded_faces.npz", allow_pickle=False)
    kept = stored["blendshapes"]
    shares = np.linspace(0, 1, 8, endpoint=False, dtype=np.float32)[:, None]
    expressions = [
        one + shares * (next_one - one) for one, next_one in zip(kept, np.roll(kept, -1, axis=0), strict=True)
    ]
    return Performers(
        stored["mesh"][list(stored["names"]).index("neutral")],
        np.concatenate(expressions),
        au_estimator.estimate,
        seed,
    )


def soak(
    hours: float = 8.0,
    wall_minutes: float = float("inf"),
    seed: int = 1,
    pace: Pace = PACE,
    by_phone: bool = False,
) -> Findings:
    """Runs it; `faults` of what comes back is empty when all was well.

    Raises Deadlock, also for threads that are left, and whatever the loop raises.
    """
    started_s, people = wall.monotonic(), performers(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "video4linux"
        stack.enter_context(patch.object(v4l2, "SYSFS", folder))
        stack.enter_context(patch.object(timing, "MAX_SAMPLES", KEPT))
        stack.enter_context(patch.object(expression_tracker, "FaceReader", people))
        stack.enter_context(patch.object(au_estimator, "estimate", people.estimate))
        sim = stack.enter_context(simulated())
        held = Meeting(sim, folder, people, hours, pace, seed, by_phone)
        held.hold(wall_minutes * 60 - (wall.monotonic() - started_s))
        found = _figures(held, wall.monotonic() - started_s)
        found.faults = [*held.fate.faults, *_complaints(found, held)]
    return found


def _figures(held: Meeting, wall_s: float) -> Findings:
    begun_s, ended_s, well, vcam = held.begun_s, held.ended_s, held.timings.well, held.vcam
    hour_s = (ended_s - begun_s) * HOUR_SHARE
    looks = held.looks[int(len(held.looks) * WARM_SHARE) :]
    third = max(1, len(looks) // 3)
    return Findings(
        held.fate, held.timings.frames, ended_s - begun_s, wall_s,
        well.between(begun_s, begun_s + hour_s), well.between(ended_s - hour_s, ended_s),
        vcam.late.all_s, vcam.late_stalled.all_s, vcam.gaps.all_s,
        (Memory.middle(looks[:third]), Memory.middle(looks[-third:])), held.close_s,
    )  # fmt: skip


def _complaints(found: Findings, held: Meeting) -> list[str]:
    """What is wrong, a sentence each."""
    return [
        *_age_complaints(found),
        *_limit_complaints(found, held),
        *_growth_complaints(found),
        *_picture_complaints(held),
        *_release_complaints(held),
    ]


def _age_complaints(found: Findings) -> list[str]:
    if not len(found.first_s) or not len(found.last_s):
        return ["All was never well in the first or in the last eighth of the time."]
    complaints = []
    for share in (50, 95, 99):
        before_s, after_s = (float(np.percentile(ages_s, share)) for ages_s in (found.first_s, found.last_s))
        if after_s - before_s > AGE_GROWS_S:
            grown = (
                f"p{share} was {before_s * 1e3:.1f} ms in the first eighth, {after_s * 1e3:.1f} in the last"
            )
            complaints.append(f"Pictures grew older: {grown}.")
    return complaints


def _limit_complaints(found: Findings, held: Meeting) -> list[str]:
    limits = (
        ("A picture's age while all was well", held.timings.well.all_s.max(initial=0), OLDEST_S),
        ("The virtual camera's wait for the next picture", found.gaps_s.max(), 1 / FPS + LATE_S),
        ("The end", found.close_s, CLOSE_S),
    )
    return [
        f"{what} was {longest_s * 1e3:.0f} ms, {most_s * 1e3:.0f} are allowed."
        for what, longest_s, most_s in limits
        if longest_s > most_s
    ]


def _growth_complaints(found: Findings) -> list[str]:
    first, last = found.memory
    frames = found.frames * (1 - WARM_SHARE)
    objects = OBJECTS_NOISE + frames * OBJECTS_A_FRAME
    megabytes = max(NOISE_MB, frames * BYTES_A_FRAME / 1e6)
    limits = (
        ("MB of memory", last.resident_mb - first.resident_mb, megabytes),
        ("Python objects", last.objects - first.objects, objects),
        ("Python containers", last.containers - first.containers, objects),
        ("threads", last.threads - first.threads, 1),  # of a camera that is being opened again
    )
    return [
        f"There are {grown:.1f} more {what} than after warm-up, {most:.1f} are allowed."
        for what, grown, most in limits
        if grown > most
    ]


def _picture_complaints(held: Meeting) -> list[str]:
    complaints = [
        f"The driver's picture was in {receiver.leaked} pictures of the {receiver.name}."
        for receiver in held.receivers
        if receiver.leaked
    ]
    if held.invalid > INVALID_SHARE * held.valid:
        all_pictures = held.valid + held.invalid
        complaints.append(
            f"The driver was not seen in {held.invalid} of {all_pictures} pictures while all was well."
        )
    if not held.viewer.pictures:
        complaints.append("The page saw no picture.")
    if held.vcam.disobeyed:
        complaints.append(
            f"{held.vcam.disobeyed} pictures were sent in the place of what the user asked for."
        )
    return complaints


def _release_complaints(held: Meeting) -> list[str]:
    counts = {"camera": held.desk.now_open, "virtual camera": held.device.now_open}
    return [
        f"{count} openings of the {device} were never released." for device, count in counts.items() if count
    ]


def table(found: Findings) -> str:
    """The figures for people."""

    def percentiles(what: str, seconds: np.ndarray) -> str:
        shown = (*np.percentile(seconds, (50, 95, 99)), seconds.max()) if len(seconds) else ()
        return f"{what:<44}" + "".join(f"{value * 1e3:10.2f}" for value in shown)

    hours = f"{found.simulated_s / 3600:.2f} simulated hours in {found.wall_s:.0f} s of real time"
    lines = [
        f"{found.frames} driver frames, {hours}",
        "",
        f"{'mishap':<44}{'times':>6}{'made good after, s':>20}{'allowed':>9}{'sentences':>11}",
    ]
    for mishap in (mishap for chain in found.fate.chains.values() for mishap in chain):
        record = found.fate.records[mishap.name]
        lines.append(
            f"{mishap.name:<44}{record.count:>6}{record.worst_s:>20.2f}{mishap.within_s:>9.2f}{record.most_said:>11}"
        )
    lines += [
        "", f"{'ms':<44}{'p50':>10}{'p95':>10}{'p99':>10}{'max':>10}",
        percentiles("age while all is well, first eighth", found.first_s),
        percentiles("age while all is well, last eighth", found.last_s),
        percentiles("virtual camera: behind its tick", found.late_s),
        percentiles("  the same while the generator stalls", found.late_stalled_s),
        percentiles("virtual camera: since the picture before", found.gaps_s),
        "", f"{'memory':<44}{'warm':>12}{'at the end':>12}",
    ]  # fmt: skip
    for name in Memory.__dataclass_fields__:
        first, last = (getattr(memory, name) for memory in found.memory)
        lines.append(f"{name.replace('_mb', ', MB'):<44}{first:>12.1f}{last:>12.1f}")
    return "\n".join(
        [
            *lines,
            "",
            f"ended in {found.close_s:.2f} s while the camera hung",
            "",
            *(found.faults or ["All was well."]),
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=8.0, help="simulated")
    parser.add_argument(
        "--minutes",
        type=float,
        default=float("inf"),
        help="real ones, after which it ends however many hours are over",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phone", action="store_true", help="a phone's tracker drives, and no camera")
    options = parser.parse_args(arguments)
    found = soak(options.hours, options.minutes, options.seed, by_phone=options.phone)
    print(table(found))
    return bool(found.faults)


if __name__ == "__main__":
    sys.exit(main())
