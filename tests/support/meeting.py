"""Fakes for a long meeting, which take their time: camera, face, engine and outputs, and their mishaps."""

import random
import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from engines.backends.interface import Edit
from engines.errors import EngineLost, OutputError
from engines.face.landmarks import Face
from realtime.controls import Controls
from realtime.page.live_view import LiveView
from realtime.puppet.head import rotation
from tests.support import phone
from tests.support.fake_camera import Desk
from tests.support.fakes import StubEngine
from tests.support.mishaps import Mishap

DRIVERS_COLOUR = (
    255,
    0,
    255,
)  # BGR, of the camera's pictures; neither the photo nor the stub engine has anything like it
CAMERA_SIZE, OTHER_SIZE = (160, 120), (192, 144)
FACE_SHARE = 0.4  # of the picture's width
TRACK_S, SLOW_TRACK_S = (0.002, 0.004), 1.0
DRAW_S, OPEN_ENGINE_S = 0.008, 3.0
SEND_S = 0.0002
AT_ONCE_S = 0.001  # for a key to be obeyed: a picture that is on its way may still arrive
HEAD_SWING_DEG = (5.0, 9.0, 4.0)  # pitch, yaw, roll to each side, once through all expressions
PHONE, STRANGER = ("192.168.1.20", 51000), ("192.168.1.66", 51000)
PHONE_FPS = 43.0  # never in step with the output, as the camera's are
WATCH_S, SLOW_WATCH_S = 0.004, 2.0  # that a page takes over a picture
CAMERA_FPS = (38.0, 48.0)  # never in step with the output; 1 M frames in 8 hours


def shows_driver(image: np.ndarray) -> bool:
    """Whether any pixel of (H, W, 3) uint8 is about of the camera's colour."""
    return bool(((image[..., 0] > 230) & (image[..., 1] < 25) & (image[..., 2] > 230)).any())


class Performers:
    """Stands for engines.face.landmarks.FaceReader.

    The driver's face, who smiles, stops and turns, and mishaps with it.
    """

    def __init__(
        self, mesh: np.ndarray, expressions: np.ndarray, estimate: Callable[[Face], np.ndarray], seed: int = 0
    ):
        """
        Args:
            mesh: (478, 3) of a face in pixels.
            expressions: (M, 52) blendshapes that it takes on in turn.
            estimate: of a face's AUs.
        """
        self.lost, self.second, self.slow = False, False, False
        left, right = mesh[:, 0].min(), mesh[:, 0].max()
        self._expressions, self._estimate = expressions, estimate
        self._mesh = (mesh - [(left + right) / 2, mesh[:, 1].mean(), 0]) / (right - left)  # its width is 1
        # By the picture's shape, made beforehand, with all that is kept in them: memory must not grow
        self._faces: dict[tuple[int, ...], list[Face]] = {
            (height, width, 3): self._of_size((height, width, 3))
            for width, height in (CAMERA_SIZE, OTHER_SIZE)
        }
        self._known: dict[int, np.ndarray] = {}
        self._chance, self._number = random.Random(seed), 0

    def __call__(self, **_options: object) -> "Performers":
        return self

    def follow(self, picture: np.ndarray, _time_s: float) -> Face | None:
        time.sleep(SLOW_TRACK_S if self.slow else self._chance.uniform(*TRACK_S))
        self._number += 1
        if self.lost:
            return None
        return self._faces[picture.shape][
            -1 if self.second and self._number % 2 else self._number // 2 % len(self._expressions)
        ]

    def estimate(self, face: Face) -> np.ndarray:
        """Of these faces it is remembered: it is pure, and by far the slowest of a frame."""
        if id(face) in self._known:
            return self._known[id(face)]
        aus = self._estimate(face)
        if any(face is known for faces in self._faces.values() for known in faces):
            self._known[id(face)] = aus
        return aus

    def _of_size(self, shape: tuple[int, ...]) -> list[Face]:
        """Every expression, and last a face elsewhere."""
        swing = np.sin(np.linspace(0, 2 * np.pi, len(self._expressions), endpoint=False))
        faces = [
            self._face(shape, blendshapes, 0.5, share)
            for blendshapes, share in zip(self._expressions, swing, strict=True)
        ]
        return [*faces, self._face(shape, self._expressions[0], 0.8)]

    def _face(
        self, shape: tuple[int, ...], blendshapes: np.ndarray, across: float, swing: float = 0.0
    ) -> Face:
        height, width = shape[:2]
        turned = self._mesh @ rotation(swing * np.array(HEAD_SWING_DEG)).T
        mesh = (turned * FACE_SHARE * width + [across * width, height / 2, 0]).astype(np.float32)
        face = Face(mesh[:, :2], mesh[:, 2].copy(), blendshapes)
        assert face.aligned and face.box_px  # kept from now on
        return face

    def close(self) -> None:
        pass


class PhoneLine:
    """Stands for the socket of a NetworkTracker: an app on a phone that sends a face, and its mishaps."""

    def __init__(self) -> None:
        self.silent, self.lost, self.frozen, self.garbage, self.stranger = (False,) * 5
        self._open, self._timeout_s, self._number, self._due_s = True, 0.0, 0, time.perf_counter()
        shares = np.sin(np.linspace(0, 2 * np.pi, 96, endpoint=False))
        pitch, yaw, roll = HEAD_SWING_DEG
        self._faces = [
            phone.live_link((yaw * share, pitch * share, roll * share), jawOpen=0.3 + 0.3 * share)
            for share in shares.tolist()
        ]
        self._nobody = phone.live_link_without_face()

    def settimeout(self, seconds: float) -> None:
        self._timeout_s = seconds

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[str, int]]:
        if not self._open:
            raise OSError("closed")
        until_s = time.perf_counter() + self._timeout_s
        if self.silent or self._due_s > until_s:
            if not self._timeout_s:
                raise BlockingIOError
            time.sleep(self._timeout_s)
            raise TimeoutError
        time.sleep(max(0.0, self._due_s - time.perf_counter()))
        self._due_s = max(self._due_s + 1 / PHONE_FPS, time.perf_counter())
        self._number += not self.frozen
        if self.stranger and self._number % 2:
            return self._faces[0], STRANGER
        if self.garbage:
            return b"hello", PHONE
        return self._nobody if self.lost else self._faces[self._number % len(self._faces)], PHONE

    def fileno(self) -> int:
        return 3 if self._open else -1

    def close(self) -> None:
        self._open = False


class Viewer:
    """A page that looks at every picture that it can, closes and opens again."""

    def __init__(self, view: LiveView):
        self._view, self.pictures, self.watch_s, self.away, self.over = view, 0, WATCH_S, False, False

    def look(self) -> None:
        """Until `over`; for a thread of its own."""
        while not self.over:
            with closing(self._view.watch(320)) as jpegs:
                for jpeg in jpegs:
                    assert jpeg.startswith(b"\xff\xd8")
                    self.pictures += 1
                    time.sleep(self.watch_s)
                    if self.away:
                        break
            while self.away and not self.over:
                time.sleep(0.1)


class PatientEngine(StubEngine):
    """A stub that takes its time, stalls and is lost on request."""

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
    """An output that looks at every picture and keeps none; it stalls or fails on request."""

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
        desk.fps, desk.size, desk.fault = chance.uniform(*CAMERA_FPS), CAMERA_SIZE, ""
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
        Mishap("camera of another size", change(size=OTHER_SIZE), well, (2, 120), 0.5, 0),
    ]


def face_mishaps(performers: Performers) -> list[Mishap]:
    def turn(name: str, on: bool) -> Callable[[], None]:
        return lambda: setattr(performers, name, on)

    return [
        Mishap("face lost", turn("lost", True), turn("lost", False), (0.1, 30), 0.3),
        Mishap("second face", turn("second", True), turn("second", False), (0.1, 30), 0.3),
        Mishap("tracker takes 1 s", turn("slow", True), turn("slow", False), (2, 20), SLOW_TRACK_S + 0.3),
    ]


def phone_mishaps(line: PhoneLine) -> list[Mishap]:
    def turn(name: str, on: bool) -> Callable[[], None]:
        return lambda: setattr(line, name, on)

    return [
        Mishap("phone silent", turn("silent", True), turn("silent", False), (0.3, 60), 0.4, 2),
        Mishap("phone sees no face", turn("lost", True), turn("lost", False), (0.1, 30), 0.4),
        Mishap("phone's app stands still", turn("frozen", True), turn("frozen", False), (0.3, 60), 0.4, 1),
        Mishap(
            "phone sends something else", turn("garbage", True), turn("garbage", False), (0.1, 20), 0.4, 3
        ),
        Mishap("a second phone sends", turn("stranger", True), turn("stranger", False), (0.3, 30), 0.4, 1),
    ]


def page_mishaps(viewer: Viewer) -> list[Mishap]:
    def turn(name: str, value: object) -> Callable[[], None]:
        return lambda: setattr(viewer, name, value)

    return [
        Mishap(
            "page's network stalls", turn("watch_s", SLOW_WATCH_S), turn("watch_s", WATCH_S), (1, 30), 0.3
        ),
        Mishap("page closed", turn("away", True), turn("away", False), (0.3, 60), 0.3),
    ]


def engine_mishaps(engines: list[PatientEngine], on_stall: Callable[[bool], None]) -> list[Mishap]:
    """engines: all that were opened, the newest last.

    on_stall: called with True when they begin to stall, with False when that is over.
    """

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
        Mishap(
            "generator's device lost", lose, lambda: None, (4, 5), 0.3, 3, at_most=2
        ),  # the second time is for good
    ]


def output_mishaps(device: VirtualDevice, recording: Receiver, window: Receiver) -> list[Mishap]:
    def turn(receiver: Receiver, name: str, value: object) -> Callable[[], None]:
        return lambda: setattr(receiver, name, value)

    return [
        Mishap(
            "recording's disk full", turn(recording, "full", True), lambda: None, (0.1, 5), 0.3, 1, at_most=1
        ),
        # It is opened again at the latest 8 s after the last time.
        Mishap(
            "virtual camera gone", turn(device, "full", True), turn(device, "full", False), (0.1, 60), 8.5, 2
        ),
        Mishap("window stalls", turn(window, "send_s", 1.0), turn(window, "send_s", SEND_S), (0.5, 20), 0.3),
    ]


def user_mishaps(controls: Controls, only: Callable[[str], None]) -> list[Mishap]:
    """only: called with "still" or "slate" a tick after that is asked for, with "" before it is over."""

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
