"""The checks of tests/vm/run, in its guest: the project's own capture, output and live loop on real V4L2 devices.

    python -m tests.vm.guest CLIP [WORD]      CLIP: raw pictures of a face, as tests/vm/run makes them; WORD: only sentences with it

A check is a function whose name is a sentence; they run in the order of this file, the first ones before any driver is loaded.
The engine is tests.doubles.StubEngine, which paints the face green as the driver smiles: a network would take seconds a picture here.
Tracking takes one, so a mark in the clip's corner tells the smile where pictures have to keep their pace.
"""

import faulthandler
import io
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import closing, redirect_stderr
from functools import cache
from types import ModuleType

import cv2
import numpy as np

import run
from engines.aus import WIDE
from engines.errors import DriverError, OutputError, PuppetError
from engines.expression import ESTIMATED
from engines.photo import load_photo
from realtime.capture import Camera, camera_index, cameras
from realtime.frame import Frame, Told
from realtime.loop import LiveLoop, Stage
from realtime.output import VirtualCamera
from realtime.puppet import Puppet
from realtime.retarget import Retarget
from realtime.timing import Timings
from realtime.track import Performer
from tests.doubles import KeepingOutput, StubEngine, speak
from tests.vm.devices import (
    CLIP_SIZE,
    FACE,
    FACE_NAME,
    FPS,
    PUPPET,
    PUPPET_NAME,
    WEBCAM,
    Reader,
    clip_playing,
    held_by_another,
    holders,
    load_loopbacks,
    load_webcam,
    unload_webcam,
    unplug,
    wait_for,
)  # fmt: skip

PHOTO = run.SAMPLES / "man.jpg"
SIZE = (320, 240)
SMILE = 50  # grey levels of the same by which a smile of the stub engine differs from the still photo, at least
CLOSE = 10  # grey levels of a 40x30 picture: what a virtual camera's 4:2:0 colour costs
LONGEST_S = 90.0  # for one check; where it hangs is told then, and the guest ends
SMILE_S = 30.0  # until the driver's smile is read back; the clip's mark is white for every second 3 s


# --- what the checks share ---------------------------------------------------------------------------------------------------


def refused(kind: type[PuppetError], call) -> str:
    """Calls what must be refused; returns what the user reads, which is one sentence."""
    try:
        call().close()
    except kind as error:
        text = str(error)
        assert "\n" not in text and text.endswith("."), f"not one sentence: {text!r}"
        return text
    raise AssertionError(f"no {kind.__name__} was raised")


def released(*devices: str) -> None:
    for device in devices:
        assert not holders(device), f"{device} is still held"


@cache
def puppet() -> Puppet:
    return Puppet(load_photo(PHOTO), StubEngine(aus=WIDE), SIZE)


def command(*arguments: str, meanwhile=lambda: None) -> tuple[int, str]:
    """run.py with the stub engine -> exit status and what it said. `meanwhile` runs in a thread once it is live."""
    said, threads = io.StringIO(), threading.active_count()

    def disturb() -> None:
        wait_for(lambda: "live;" in said.getvalue(), "the live loop", 90)
        time.sleep(2)
        meanwhile()

    trouble = threading.Thread(target=disturb, daemon=True)
    trouble.start()
    with redirect_stderr(said):
        status = run.main([*arguments, "--source", str(PHOTO), "--size", "{}x{}".format(*SIZE), "--fps", str(FPS)])
    trouble.join(5)
    assert "Traceback" not in said.getvalue(), said.getvalue()
    assert threading.active_count() <= threads, f"threads are left: {threading.enumerate()}"
    return status, said.getvalue()


def numbered(number: int) -> np.ndarray:
    """A picture whose upper and lower half both carry its number, 0 to 15, beside three colours."""
    picture = np.full((SIZE[1], SIZE[0], 3), 40 + 12 * number, np.uint8)
    for column, colour in enumerate([(200, 40, 40), (40, 200, 40), (40, 40, 200)]):
        picture[:, 40 + 40 * column : 80 + 40 * column] = colour
    return picture


def send_to(camera: VirtualCamera, count: int) -> np.ndarray:
    """Numbered pictures at FPS until another program has read `count` of them -> what it read."""
    camera.send(numbered(0), 0)
    with Reader(SIZE) as reader:
        for number in range(60 * FPS):
            camera.send(numbered(number % 16), number)
            time.sleep(1 / FPS)
            if len(pictures := reader.pictures()) >= count:
                return pictures
    raise AssertionError(f"{count} pictures were not read in a minute")


def small(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (40, 30), interpolation=cv2.INTER_AREA).astype(int)


def distance(a: np.ndarray, b: np.ndarray) -> int:
    """Largest difference of two pictures at 40x30, in grey levels."""
    return int(np.abs(small(a) - small(b)).max())


# --- before any driver is loaded -------------------------------------------------------------------------------------------------


def without_a_camera_the_driver_is_refused():
    assert "no camera is connected" in refused(DriverError, lambda: Camera("webcam"))


def without_v4l2loopback_the_virtual_camera_is_refused_with_the_command_that_loads_it():
    assert "modprobe v4l2loopback" in refused(OutputError, lambda: VirtualCamera(SIZE, FPS))


# --- the camera ----------------------------------------------------------------------------------------------------------------


def cameras_are_found_by_their_names():
    load_webcam()
    load_loopbacks()
    assert {10: FACE_NAME, 20: PUPPET_NAME}.items() <= cameras().items() and "vivid" in cameras()[0], cameras()
    assert camera_index("webcam:facecam") == 10 and camera_index("webcam:vivid") == 0
    assert FACE_NAME in refused(DriverError, lambda: Camera("webcam:nobody")), "it names the cameras that there are"


def a_webcam_gives_moving_pictures_of_640x480_whose_times_rise():
    with closing(Camera("webcam")) as camera:
        frames = [camera.read() for _ in range(5)]
    assert all(frame.image.shape == (480, 640, 3) and frame.image.dtype == np.uint8 for frame in frames)
    assert (np.diff([frame.captured_s for frame in frames]) > 0).all()
    assert (frames[0].image != frames[-1].image).any()


def a_camera_by_its_path_is_free_when_it_is_closed_opens_again_and_prints_nothing():
    for _ in range(3):
        with closing(Camera(WEBCAM)) as camera:
            assert camera.read().image.shape == (480, 640, 3)
            assert holders(WEBCAM) == {os.getpid()}
        released(WEBCAM)


def a_camera_in_use_is_refused_and_works_when_the_other_program_has_ended():
    with held_by_another(WEBCAM):
        assert "close programs that use it" in refused(DriverError, lambda: Camera(WEBCAM))
        assert os.getpid() not in holders(WEBCAM)
    with closing(Camera(WEBCAM)) as camera:
        assert camera.read().image.any()


def a_virtual_camera_into_which_nobody_plays_is_no_driver():
    refused(DriverError, lambda: Camera(PUPPET))
    released(PUPPET)


# --- the virtual camera --------------------------------------------------------------------------------------------------------


def another_program_reads_what_the_virtual_camera_is_sent_whole_and_in_order():
    with closing(VirtualCamera(SIZE, FPS, PUPPET)) as camera:
        assert PUPPET in camera.name
        pictures = send_to(camera, 30)
    levels = np.array([[half.mean() for half in (p[10:110, 180:300], p[130:230, 180:300])] for p in pictures])
    numbers = np.round((levels - 40) / 12).astype(int)
    assert (numbers[:, 0] == numbers[:, 1]).all(), f"pictures are torn: {numbers.tolist()}"
    assert all(distance(p, numbered(n)) < CLOSE for p, n in zip(pictures[1:], numbers[1:, 0], strict=True)), "colours differ"
    steps = np.diff(numbers[:, 0]) % 16
    assert (steps <= 3).all() and (steps > 0).mean() > 0.8, f"out of order: {numbers[:, 0].tolist()}"


def the_virtual_camera_goes_on_when_a_reader_leaves_and_the_next_one_comes():
    with closing(VirtualCamera(SIZE, FPS, PUPPET)) as camera:
        for _ in range(2):
            assert len(send_to(camera, 5)) >= 5


def a_closed_virtual_camera_opens_again_with_another_size():
    for size in ((640, 480), SIZE):
        with closing(VirtualCamera(size, FPS, PUPPET)) as camera:
            camera.send(np.zeros((size[1], size[0], 3), np.uint8), 0)
        released(PUPPET)


def a_virtual_camera_that_is_open_is_refused_a_second_time_and_goes_on():
    with closing(VirtualCamera(SIZE, FPS, PUPPET)) as camera:
        camera.send(numbered(0), 0)
        refused(OutputError, lambda: VirtualCamera(SIZE, FPS, PUPPET))
        assert len(send_to(camera, 3)) >= 3


def a_virtual_camera_that_another_program_plays_into_is_refused_and_free_afterwards():
    with held_by_another(PUPPET, playing_into=True):
        refused(OutputError, lambda: VirtualCamera(SIZE, FPS, PUPPET))
    VirtualCamera(SIZE, FPS, PUPPET).close()


def a_missing_device_and_a_webcam_are_no_virtual_cameras():
    for device in ("/dev/video77", WEBCAM):
        refused(OutputError, lambda device=device: VirtualCamera(SIZE, FPS, device))
    released(WEBCAM)


# --- the live program ----------------------------------------------------------------------------------------------------------


def the_tracker_finds_the_face_that_the_webcam_shows():
    with clip_playing(CLIP), closing(Camera(f"webcam:{FACE_NAME}")) as camera, Performer(Timings()) as performer:
        frame = camera.read()
        assert frame.image.shape == (CLIP_SIZE[1], CLIP_SIZE[0], 3)
        assert performer(frame).seen and performer(camera.read()).seen


def what_the_driver_does_is_read_from_the_virtual_camera_and_nothing_else_is():
    def marked(frame: Frame) -> Told:
        return Told(speak(ESTIMATED, AU12=float(frame.image[8:56, 8:56].mean() > 128)), frame.captured_s, seen=True)

    def both(pictures) -> bool:
        """Whether the still photo and a smile were read."""
        far = [distance(picture, puppet().still) for picture in pictures[1:]]
        return bool(far) and min(far) < CLOSE and max(far) > SMILE

    timings, kept = Timings(), KeepingOutput(limit=int(3 * SMILE_S * FPS))
    stage = Stage(puppet(), Retarget(puppet().bundle, speak(ESTIMATED)), timings)
    output = VirtualCamera(SIZE, FPS, PUPPET)
    with clip_playing(CLIP), closing(output), closing(Camera(f"webcam:{FACE_NAME}")) as camera:
        loop = LiveLoop(camera, marked, stage, [output, kept], timings, FPS)
        with loop.running():
            wait_for(lambda: kept.images, "the first picture")
            with Reader(SIZE) as reader:
                wait_for(lambda: both(reader.pictures()), "the smile", SMILE_S)
                pictures = reader.pictures()
    released(FACE, PUPPET)
    sent = np.array([small(image) for image in kept.images])
    far = [np.abs(sent - small(picture)).max(axis=(1, 2, 3)).min() for picture in pictures[1:]]
    assert max(far) < CLOSE, f"a picture was read that was never sent: {max(far)} grey levels from the nearest"


def ctrl_c_ends_the_program_with_status_0_and_frees_the_devices():
    with clip_playing(CLIP) as player:
        arguments = ("--driver", f"webcam:{FACE_NAME}", "--output", f"vcam:{PUPPET}", "--seconds", "60")
        status, said = command(*arguments, meanwhile=lambda: signal.raise_signal(signal.SIGINT))
        assert status == 0 and "ended" in said, said
        assert holders(FACE) == {player.pid}
    released(PUPPET)


def an_unplugged_camera_ends_the_program_in_one_sentence_and_frees_the_devices():
    status, said = command("--driver", "webcam", "--output", f"vcam:{PUPPET}", "--seconds", "60", meanwhile=unplug)
    assert status == DriverError.exit_status, said
    assert [line for line in said.splitlines() if line.startswith("run.py:")][-1].endswith("plug it in again and restart."), said
    released(WEBCAM, PUPPET)


def a_camera_that_was_unplugged_gives_pictures_again():
    with closing(Camera("webcam")) as camera:
        unplug()
        refused_at_reading = False
        try:
            for _ in range(20):
                camera.read()
        except DriverError:
            refused_at_reading = True
        assert refused_at_reading, "an unplugged camera still gave pictures"
        refused(DriverError, lambda: Camera("webcam"))
    with closing(Camera("webcam")) as camera:
        assert camera.read().image.any()


def a_camera_that_returns_under_another_number_is_found_by_its_name():
    unload_webcam()
    assert "vivid" not in refused(DriverError, lambda: Camera("webcam:vivid")).split("this machine has")[1]
    load_webcam(5)
    assert camera_index("webcam:vivid") == 5
    status, said = command("--driver", "webcam:vivid", "--output", f"vcam:{PUPPET}", "--seconds", "3")
    assert status == 0, said
    released("/dev/video5", PUPPET)


def a_camera_whose_pictures_end_is_told_within_15_seconds():
    with clip_playing(CLIP) as player, closing(Camera(f"webcam:{FACE_NAME}")) as camera:
        player.kill()
        started_s = time.monotonic()
        try:
            while time.monotonic() - started_s < 20:
                camera.read()
        except DriverError as error:
            assert "stopped giving pictures" in str(error)
        took_s = time.monotonic() - started_s
    assert took_s < 15, f"{took_s:.0f} s"
    released(FACE)


# --- the report ----------------------------------------------------------------------------------------------------------------


def sentences() -> list:
    """The checks, in the order of this file."""
    first = without_a_camera_the_driver_is_refused.__code__.co_firstlineno
    own = [f for f in globals().values() if getattr(f, "__module__", "") == __name__ and hasattr(f, "__code__")]
    return sorted((f for f in own if first <= f.__code__.co_firstlineno < SENTENCES_END), key=lambda f: f.__code__.co_firstlineno)


SENTENCES_END = sentences.__code__.co_firstlineno


def report(word: str) -> int:
    """Runs the checks and tells each; the exit status."""
    run.make_puppet = lambda *_arguments, **_options: (puppet(), StubEngine())
    faulthandler.dump_traceback_later(LONGEST_S, exit=True)
    for name in ("matplotlib", "matplotlib.pyplot"):  # MediaPipe imports them for drawings: 20 s here
        sys.modules[name] = ModuleType(name)
    sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]
    puppet()
    print(f"ready  {time.monotonic():5.1f} s after the guest's start", flush=True)
    needed = cameras_are_found_by_their_names  # loads the drivers
    chosen = [check for check in sentences() if word in check.__name__ or check is needed]
    failed = 0
    for check in chosen:
        started_s, fault = time.monotonic(), None
        faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        try:
            check()
        except (Exception, KeyboardInterrupt):
            fault = traceback.format_exc()
            failed += 1
        print(f"{'FAILED' if fault else 'passed'} {time.monotonic() - started_s:5.1f} s  {check.__name__.replace('_', ' ')}", flush=True)
        if fault:
            print(fault, flush=True)
            if check is needed:
                break
    print(f"{len(chosen) - failed} passed, {failed} failed, {time.monotonic():.0f} s since the guest's start")
    return min(1, failed)


if __name__ == "__main__":
    CLIP = sys.argv[1]
    sys.exit(report((sys.argv[2:] or [""])[0].replace(" ", "_")))
