"""The whole program on a webcam and a virtual camera: realtime.session.live_loop, and run.py's own command
line.
"""

import io
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing, redirect_stderr
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np

from engines.face.action_units import WIDE
from engines.face.au_estimator import ESTIMATED
from engines.face.photo import load_photo
from realtime.commands import animate
from realtime.diagnose.camera_probe import ProbedHost
from realtime.diagnose.device_checks import camera_findings, virtual_findings
from realtime.diagnose.finding import FINE
from realtime.messages import DriverExpression, Frame
from realtime.output.outputs import VirtualCamera
from realtime.puppet import puppet as puppet_module
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session import live_session
from realtime.session.expression_source import FrameExpressions
from realtime.session.live_loop import LiveLoop
from realtime.session.output_fanout import OutputFanout
from realtime.sources.camera import Camera
from realtime.timing import Timings
from realtime.tracking import expression_tracker
from realtime.tracking.expression_tracker import ExpressionTracker
from tests.support.fakes import KeepingOutput, StubEngine, speak
from tests.vm.devices import (
    CLIP_SIZE,
    FACE,
    FACE_NAME,
    FPS,
    PUPPET,
    PUPPET_NAME,
    Reader,
    clip_playing,
    holders,
    load_webcam,
    released,
    unload_held_webcam,
    wait_for,
)
from tests.vm.pictures import CLOSE, SIZE, SMILE, distance, small

PHOTO = animate.SAMPLES / "man.jpg"
SMILE_S = 30.0  # until the driver's smile is read back; the clip's mark is white for every second 3 s


# The networks that look for hands take a tenth of a second on a processor, in emulation more than a minute
puppet_module.has_hand = lambda *_: False  # type: ignore[assignment]


@cache
def _puppet() -> Puppet:
    """Of the stub engine."""
    return Puppet(load_photo(PHOTO), StubEngine(aus=WIDE), SIZE)


def _command(*arguments: str, meanwhile: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """run.py with the stub engine -> exit status and what it said. `meanwhile` runs in a thread once it is
    live.
    """
    said, threads, fault = io.StringIO(), threading.active_count(), []

    def disturb() -> None:
        try:
            wait_for(lambda: "live;" in said.getvalue(), "the live loop")
            time.sleep(2)
            meanwhile()
        except Exception as error:
            fault.append(error)
            signal.raise_signal(signal.SIGINT)

    trouble = threading.Thread(target=disturb, daemon=True)
    trouble.start()
    live_session.make_puppet = lambda *_arguments, **_options: (_puppet(), StubEngine())
    with redirect_stderr(said):
        status = animate.main(
            [*arguments, "--source", str(PHOTO), "--size", "{}x{}".format(*SIZE), "--fps", str(FPS)]
        )
    trouble.join(5)
    if fault:
        raise AssertionError(f"{fault[0]}; it said: {said.getvalue()}") from fault[0]
    assert "Traceback" not in said.getvalue(), said.getvalue()
    assert threading.active_count() <= threads, f"threads are left: {threading.enumerate()}"
    return status, said.getvalue()


def the_doctor_finds_the_webcam_and_the_virtual_camera():
    seen = {
        found.what: found.state
        for look in (camera_findings, virtual_findings)
        for found in look(ProbedHost())
    }
    assert [state for what, state in seen.items() if "vivid" in what] == [FINE], seen
    assert [
        state for what, state in seen.items() if what.startswith("virtual camera") and PUPPET_NAME in what
    ] == [FINE], seen


def the_tracker_finds_the_face_that_the_webcam_shows():
    with (
        clip_playing(),
        closing(Camera(f"webcam:{FACE_NAME}")) as camera,
        ExpressionTracker(Timings()) as performer,
    ):
        frame = camera.read()
        assert frame.image.shape == (CLIP_SIZE[1], CLIP_SIZE[0], 3)
        assert performer(frame).seen and performer(camera.read()).seen


def what_the_driver_does_is_read_from_the_virtual_camera_and_nothing_else_is():
    def marked(frame: Frame) -> DriverExpression:
        return DriverExpression(
            speak(ESTIMATED, AU12=float(frame.image[8:56, 8:56].mean() > 128)), frame.captured_s, seen=True
        )

    def both(pictures) -> bool:
        """Whether the still photo and a smile were read."""
        far = [distance(picture, _puppet().still) for picture in pictures[1:]]
        return bool(far) and min(far) < CLOSE and max(far) > SMILE

    timings, kept = Timings(), KeepingOutput(limit=int(3 * SMILE_S * FPS))
    stage = Animator(_puppet(), Retarget(_puppet().bundle, speak(ESTIMATED)), timings)
    output = VirtualCamera(SIZE, FPS, PUPPET)
    with clip_playing(), closing(output), closing(Camera(f"webcam:{FACE_NAME}")) as camera:
        source = FrameExpressions(camera, marked, timings)
        loop = LiveLoop(source, stage, OutputFanout([output, kept]), timings, FPS)
        with loop.running():
            wait_for(lambda: kept.images, "the first picture")
            with Reader(SIZE) as reader:
                wait_for(lambda: both(reader.pictures()), "the smile", SMILE_S)
                pictures = reader.pictures()
    released(FACE, PUPPET)
    sent = np.array([small(image) for image in kept.images])
    far = [np.abs(sent - small(picture)).max(axis=(1, 2, 3)).min() for picture in pictures[1:]]
    assert max(far) < CLOSE, (
        f"a picture was read that was never sent: {max(far)} grey levels from the nearest"
    )


class _NoFace:
    """Finds no face, as MediaPipe finds none in vivid's test picture, and counts the frames.

    In emulation MediaPipe makes a second of the guest's clock last 10 s and more.
    """

    def __init__(self, video: bool, model: Path | None):
        self.frames = 0
        _NoFace.latest = self

    def follow(self, image: np.ndarray, time_s: float) -> None:
        self.frames += 1

    def close(self) -> None:
        pass


def ctrl_c_ends_the_program_with_status_0_and_frees_the_devices():
    with clip_playing() as player:
        arguments = ("--driver", f"webcam:{FACE_NAME}", "--output", f"vcam:{PUPPET}", "--seconds", "60")
        with patch.object(expression_tracker, "FaceReader", _NoFace):
            status, said = _command(*arguments, meanwhile=lambda: signal.raise_signal(signal.SIGINT))
        assert status == 0 and "ended" in said, said
        assert holders(FACE) == {player.pid}
    released(PUPPET)


def a_camera_that_is_unplugged_and_returns_under_another_number_drives_on_and_the_output_never_stops():
    def replug() -> None:
        with Reader(SIZE) as reader:
            wait_for(lambda: len(reader.pictures()), "the virtual camera's picture")
            unload_held_webcam()
            before = len(reader.pictures())
            time.sleep(3)
            assert len(reader.pictures()) - before >= 2 * FPS, "the output stopped while the camera was away"
            tracked = _NoFace.latest.frames
            load_webcam(5)
            wait_for(lambda: os.getpid() in holders("/dev/video5"), "the camera under its new number")
            time.sleep(4)  # it is reported as back when it has lasted
            assert _NoFace.latest.frames - tracked >= 2 * FPS, (
                "the camera is back and its frames do not drive"
            )
        signal.raise_signal(signal.SIGINT)

    arguments = ("--driver", "webcam:vivid", "--output", f"vcam:{PUPPET}", "--seconds", "120")
    with patch.object(expression_tracker, "FaceReader", _NoFace):
        status, said = _command(*arguments, meanwhile=replug)
    assert status == 0, said
    assert said.count("plug it in") == 1 and said.count("is back after") == 1, said
    released("/dev/video5", PUPPET)
