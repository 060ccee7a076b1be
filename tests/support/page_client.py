"""A page of a live run with fakes at both ends, and a client that speaks to it over real sockets."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import DriverError
from engines.face.action_units import WIDE
from engines.face.au_estimator import ESTIMATED
from engines.face.photo import load_photo
from realtime.controls import Controls
from realtime.messages import DriverExpression
from realtime.output.live_recording import LiveRecording
from realtime.overlay import Badge
from realtime.page.page import Page
from realtime.performance.composition import endless
from realtime.performance.load import load_curve
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.config import SessionConfig
from realtime.session.driver_switcher import DriverChoice, DriverSwitcher
from realtime.session.expression_source import CurveExpressions, FrameExpressions
from realtime.session.key_actions import KeyActions
from realtime.session.live_loop import LiveLoop
from realtime.session.live_run import LiveRun
from realtime.session.live_sound import LiveSound
from realtime.session.output_fanout import OutputFanout
from realtime.session.photo_switcher import PhotoSwitcher
from realtime.timing import Timings
from tests.support.fakes import KeepingOutput, ScriptedDriver, StubEngine, speak
from tests.support.waiting import wait_for

SIZE, FPS = (320, 240), 30.0
SAMPLES = Path(__file__).parents[2] / "realtime" / "samples"


def smiling(frame) -> DriverExpression:
    """A smile that changes with every frame, so that each is drawn."""
    return DriverExpression(
        speak(ESTIMATED, AU12=0.7 + 0.3 * (frame.image[0, 0, 0] % 2)), frame.captured_s, seen=True
    )


@dataclass
class RunningPage:
    """A page and the run behind it."""

    page: Page
    run: LiveRun
    output: KeepingOutput

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.page.port}"


@contextmanager
def running_page(folder: Path, photos: tuple[str, ...] = ("man.jpg", "woman.jpg")) -> Iterator[RunningPage]:
    """A loop of a smiling driver, and its page. The main thread is a thread of its own."""
    timings, output, controls = Timings(), KeepingOutput(limit=100_000), Controls()
    paths = [SAMPLES / name for name in photos]
    puppet = Puppet(load_photo(paths[0]), StubEngine(aus=WIDE), SIZE)
    animator = Animator(puppet, Retarget(puppet.bundle, puppet.own_aus), timings, badge=Badge(SIZE))

    def open_driver(choice, _stack):
        if choice.drivers[0].endswith(".csv"):
            curve = load_curve(choice.drivers[0])
            return CurveExpressions(curve if choice.once else endless(curve), FPS), None
        if choice.drivers[0] == "webcam:9":
            raise DriverError("The camera webcam:9 gives no picture: close programs that use it.")
        frames = ScriptedDriver(10**6 if choice.drivers[0] != "short" else 20, fps=100)
        return FrameExpressions(frames, smiling, timings), None

    def prepare(path: Path, face: str | None) -> Puppet:
        return Puppet(load_photo(path), StubEngine(aus=WIDE), SIZE, choice=face or "largest")

    drivers = DriverSwitcher(open_driver, print)
    drivers.choose(DriverChoice(("webcam",)))
    with Page(0, open_browser=False) as page:
        fanout = OutputFanout([output, page.view])
        loop = LiveLoop(drivers, animator, fanout, timings, FPS, controls=controls)
        switcher = PhotoSwitcher(paths, prepare, animator.change, print, ready=4, puppet=puppet)
        actions = KeyActions(
            animator, fanout, drivers, switcher, lambda name: LiveRecording(folder / name, SIZE, FPS)
        )
        controls.actions.update(actions.actions())
        config = SessionConfig(source=str(paths[0]), drivers=("webcam",))
        run = LiveRun.of(
            config=config,
            loop=loop,
            key_actions=actions,
            photos=switcher,
            drivers=drivers,
            sound=LiveSound(None, print),
            engine="stub",
            open_output=lambda _name: KeepingOutput(),
            opened={},
            say=print,
        )
        page.attach(run)
        with loop.running():
            waiting = threading.Thread(target=loop.wait, args=(float("inf"), page.turn))
            waiting.start()
            try:
                yield RunningPage(page, run, output)
            finally:
                loop.stop()
                waiting.join(5)
                page.detach()
                run.close()
                actions.close()


@dataclass
class Answer:
    """What came back."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def found(self) -> Any:
        return json.loads(self.body)


class PageClient:
    """A browser's requests, without a browser."""

    def __init__(self, running: RunningPage, log_in: bool = True):
        self.host = running.host
        self._port = running.page.port
        self.cookie = self.key = ""
        if log_in:
            answer = self.post("/login", {"token": running.page.access.token})
            assert answer.status == 200, answer
            self.cookie = answer.fields["set-cookie"].partition(";")[0]
            self.key = answer.found["key"]

    @property
    def fields(self) -> dict[str, str]:
        """What a request of the page has."""
        found = {"Host": self.host, "Origin": f"http://{self.host}"}
        if self.cookie:
            found |= {"Cookie": self.cookie, "X-Puppet-Page": self.key}
        return found

    def ask(self, method: str, path: str, body: bytes = b"", **changed: str | None) -> Answer:
        """One request; changed: fields with _ for -, None leaves one out."""
        fields = {name.lower(): value for name, value in self.fields.items()}
        fields |= {name.replace("_", "-"): value for name, value in changed.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if method not in ("GET", "HEAD"):
                fields.setdefault("content-length", str(len(body)))
            for name, value in fields.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **changed: str | None) -> Answer:
        return self.ask("GET", path, **changed)

    def post(self, path: str, found: object = None, **changed: str | None) -> Answer:
        changed = {"content_type": "application/json", **changed}
        return self.ask("POST", path, json.dumps(found or {}).encode(), **changed)

    def send(self, path: str, data: bytes, **changed: str | None) -> Answer:
        return self.ask("POST", path, data, **changed)

    @contextmanager
    def stream(self, path: str) -> Iterator[socket.socket]:
        """A stream's socket, once its header has come."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.fields.items())
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                part = client.recv(1)
                assert part, head
                head += part
            assert head.startswith(b"HTTP/1.1 200"), head
            yield client

    def states(self, path: str = "/state") -> Iterator[dict[str, Any]]:
        """The state, line by line, each with all that was said before."""
        with self.stream(path) as client, client.makefile("rb") as file:
            whole: dict[str, Any] = {}
            for line in file:
                whole |= json.loads(line)
                yield whole

    def state(self) -> dict[str, Any]:
        """The state as it is now, whole."""
        states = self.states()
        found = next(states)
        states.close()
        return found

    def pictures(self, path: str = "/live?width=320") -> Iterator[bytes]:
        """JPEGs, as they come."""
        with self.stream(path) as client, client.makefile("rb") as file:
            while len(length := file.read(4)) == 4:
                yield file.read(int.from_bytes(length, "big"))


def acting_page(running: RunningPage) -> PageClient:
    """A page that acts, once those of other tests have been left."""
    wait_for(lambda: not running.page.access.open_pages)
    found = PageClient(running)
    found.post("/act-here")
    return found
