"""Everybody in a long meeting, as doubles that take their time: a camera, the driver's face, an engine, outputs; and what befalls them."""

import random
import time
from collections.abc import Callable

import numpy as np

from engines.backends import Edit
from engines.errors import EngineLost, OutputError
from engines.face import Face
from realtime.controls import Controls
from tests.camera_double import Desk
from tests.doubles import StubEngine
from tests.mishaps import Mishap

DRIVERS_COLOUR = (255, 0, 255)  # BGR, of the camera's pictures; neither the photo nor the stub engine has anything like it
TRACK_S, SLOW_TRACK_S = (0.002, 0.004), 1.0
DRAW_S, OPEN_ENGINE_S = 0.008, 3.0
SEND_S = 0.0002
AT_ONCE_S = 0.001  # for a key to be obeyed: a picture that is on its way may still arrive
CAMERA_FPS = (38.0, 48.0)  # never in step with the output; 1 M frames in 8 hours


def shows_driver(image: np.ndarray) -> bool:
    """Whether any pixel of (H, W, 3) uint8 is about of the camera's colour."""
    return bool(((image[..., 0] > 230) & (image[..., 1] < 25) & (image[..., 2] > 230)).any())


class Performers:
    """Stands for engines.face.FaceReader: the driver's face, who smiles and stops, and mishaps with it."""

    def __init__(self, faces: list[Face], seed: int = 0):
        self.faces, self.lost, self.second, self.slow = faces, False, False, False
        self._chance, self._number = random.Random(seed), 0

    def __call__(self, **_options: object) -> "Performers":
        return self

    def follow(self, _picture: np.ndarray, _time_s: float) -> Face | None:
        time.sleep(SLOW_TRACK_S if self.slow else self._chance.uniform(*TRACK_S))
        self._number += 1
        if self.lost:
            return None
        turn = self._number // 2 if not self.second or self._number % 2 else 1 - self._number
        return self.faces[turn % len(self.faces)]

    def close(self) -> None:
        pass


class PatientEngine(StubEngine):
    """A stub that takes its time, stalls and is lost when it is told to."""

    def __init__(self, **options: object):
        super().__init__(**options)
        self.stalled, self.draw_s, self.lost = False, DRAW_S, False

    def run(self, picture: np.ndarray, aus: np.ndarray) -> Edit:
        time.sleep(self.draw_s)
        while self.stalled:
            time.sleep(0.01)
        if self.lost:
            raise EngineLost("The GPU is gone.")
        return super().run(picture, aus)


class Receiver:
    """An output that looks at every picture and keeps none; it stalls or fails when it is told to."""

    closed = False

    def __init__(self, name: str, main_thread: bool = False):
        self.name, self.main_thread = name, main_thread
        self.send_s, self.full, self.count, self.leaked = SEND_S, False, 0, 0
        self._last: np.ndarray | None = None

    def send(self, image: np.ndarray, time_s: float) -> None:
        if image is not self._last:
            self._last = image
            self.leaked += shows_driver(image)
        self.count += 1
        time.sleep(self.send_s)
        if self.full:
            raise OutputError(f"The {self.name} takes no more pictures.")

    def close(self) -> None:
        pass


class VirtualDevice(Receiver):
    """A virtual camera's device, which one opening has at a time."""

    now_open = 0

    def open(self) -> "VirtualDevice":
        if self.full:
            raise OutputError("The virtual camera is gone.")
        self.now_open += 1
        return self

    def close(self) -> None:
        self.now_open -= 1


def camera_mishaps(desk: Desk, seed: int) -> list[Mishap]:
    """All that a camera does to a call."""
    chance, place = random.Random(seed), [0]

    def fails(fault: str) -> Callable[[], None]:
        def begin() -> None:
            desk.freed.clear()
            desk.fault = fault

        return begin

    def well() -> None:
        desk.fps, desk.size, desk.fault = chance.uniform(*CAMERA_FPS), (64, 48), ""
        desk.freed.set()

    def unplug() -> None:
        desk.unplug(place[0])

    def plug() -> None:
        place[0] = (place[0] + chance.randrange(1, 5)) % 6
        desk.plug(place[0], port=f"1-{place[0]}")
        well()

    def taken() -> None:
        desk.unplug(place[0])
        desk.plug(place[0], port=f"1-{place[0]}")
        desk.fault = "busy"

    def change(**what: object) -> Callable[[], None]:
        return lambda: [setattr(desk, name, value) for name, value in what.items()] and None

    # It is opened again at the latest 8 s after the last time; a plug is looked for every half second.
    return [
        Mishap("camera unplugged, back under another index", unplug, plug, (0.3, 120), 10.0, 3),
        Mishap("camera's read hangs", fails("hang"), well, (0.3, 60), 10.0, 3),
        Mishap("camera gives old pictures", fails("stale"), well, (0.3, 60), 10.0, 3),
        Mishap("camera gives one picture again and again", fails("frozen"), well, (0.3, 90), 10.0, 3),
        Mishap("camera gives nothing", fails("silent"), well, (0.1, 60), 10.0, 3),
        Mishap("camera taken by another program", taken, well, (0.3, 90), 10.0, 3),
        Mishap("camera's JPEGs are broken", fails("broken"), well, (0.05, 30), 10.0, 3),
        Mishap("camera's pictures are grey", fails("grey"), well, (0.05, 30), 10.0, 3),
        Mishap("camera at 5 pictures a second", change(fps=5.0), well, (2, 120), 0.5, 0),
        Mishap("camera of another size", change(size=(96, 72)), well, (2, 120), 0.5, 0),
    ]


def face_mishaps(performers: Performers) -> list[Mishap]:
    def turn(name: str, on: bool) -> Callable[[], None]:
        return lambda: setattr(performers, name, on)

    return [
        Mishap("face lost", turn("lost", True), turn("lost", False), (0.1, 30), 0.3),
        Mishap("second face", turn("second", True), turn("second", False), (0.1, 30), 0.3),
        Mishap("tracker takes 1 s", turn("slow", True), turn("slow", False), (2, 20), SLOW_TRACK_S + 0.3),
    ]


def engine_mishaps(engines: list[PatientEngine], on_stall: Callable[[bool], None]) -> list[Mishap]:
    """engines: all that were opened, the newest last; on_stall: told when they begin to stall and when that is over."""

    def stall(on: bool) -> Callable[[], None]:
        def turn() -> None:
            for engine in engines:
                engine.stalled = on
            on_stall(on)

        return turn

    def draw(seconds: float) -> Callable[[], None]:
        return lambda: [setattr(engine, "draw_s", seconds) for engine in engines] and None

    def lose() -> None:
        engines[-1].lost = True

    return [
        Mishap("generator stalls", stall(True), stall(False), (0.1, 5), 0.3),
        Mishap("generator takes 120 ms", draw(0.12), draw(DRAW_S), (2, 30), 0.4),
        Mishap("generator's device lost", lose, lambda: None, (4, 5), 0.3, 3, at_most=2),  # the second time is for good
    ]


def output_mishaps(device: VirtualDevice, recording: Receiver, window: Receiver) -> list[Mishap]:
    def turn(receiver: Receiver, name: str, value: object) -> Callable[[], None]:
        return lambda: setattr(receiver, name, value)

    return [
        Mishap("recording's disk full", turn(recording, "full", True), lambda: None, (0.1, 5), 0.3, 1, at_most=1),
        # It is opened again at the latest 8 s after the last time.
        Mishap("virtual camera gone", turn(device, "full", True), turn(device, "full", False), (0.1, 60), 8.5, 2),
        Mishap("window stalls", turn(window, "send_s", 1.0), turn(window, "send_s", SEND_S), (0.5, 20), 0.3),
    ]


def user_mishaps(controls: Controls, only: Callable[[str], None]) -> list[Mishap]:
    """only: told "still" or "slate", one tick after it was asked for, and "" just before that is over."""

    def on(toggle: Callable[[], None], what: str) -> Callable[[], None]:
        def press() -> None:
            toggle()
            time.sleep(AT_ONCE_S)
            only(what)

        return press

    def off(toggle: Callable[[], None]) -> Callable[[], None]:
        def press() -> None:
            only("")
            toggle()

        return press

    return [
        Mishap("panic", on(controls.toggle_panic, "still"), off(controls.toggle_panic), (0.1, 60), 0.4, 2),
        Mishap("pause", on(controls.toggle_pause, "slate"), off(controls.toggle_pause), (0.1, 60), 0.4, 2),
    ]
