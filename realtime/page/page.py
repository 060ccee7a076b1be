"""The page beside a live run: its server, its pictures, and the browser that shows it."""

import os
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engines.errors import OutputError
from realtime.page.access import Access
from realtime.page.calibration import Calibration
from realtime.page.http_messages import Request, Response
from realtime.page.http_server import HttpServer, Respond
from realtime.page.live_view import LiveView
from realtime.page.main_thread import Handler, MainThread
from realtime.page.performance_routes import PerformanceRoutes
from realtime.page.photo_routes import PhotoRoutes
from realtime.page.routes import Room, Routes, live_acts
from realtime.page.run_routes import RunRoutes
from realtime.page.run_state import Bars, Sentences
from realtime.process.log import say
from realtime.session.live_run import LiveRun

PORT = 8177  # unless another is named; where it is taken, any that is free

# Reads both streams and throws them away.
CLIENT = """
import socket, sys, threading
port, key, cookie = sys.argv[1:]
def read(path):
    with socket.create_connection(("127.0.0.1", int(port))) as client:
        fields = f"Host: 127.0.0.1:{port}\\r\\nX-Puppet-Page: {key}\\r\\nCookie: {cookie}\\r\\n\\r\\n"
        client.sendall(f"GET {path} HTTP/1.1\\r\\n{fields}".encode())
        while client.recv(1 << 20):
            pass
threading.Thread(target=read, args=("/state",)).start()
read("/live?width=1280")
"""


class Page:
    """A RunPage; use it as a context manager around the run."""

    def __init__(
        self,
        port: int | None = None,
        open_browser: bool = True,
        face_model: Path | None = None,
        quiet: bool = False,
    ):
        """
        Args:
            port: on 127.0.0.1; None: PORT, or any where that is taken.
            open_browser: whether a browser is opened, where there is a screen.
            face_model: reads the puppet's own face for the bars.
            quiet: whether its address is not said.

        Raises: OutputError where the port cannot be had.
        """
        self.view = LiveView()
        self._run: LiveRun | None = None
        self._main_thread = MainThread()
        self._open_browser = open_browser
        self._quiet = quiet
        self._stack = ExitStack()
        self._routes: Routes | None = None
        self._server = _serve(port, lambda request: self._answer(request))
        self.access = Access(self._server.port)
        self._sentences = Sentences()
        self._bars = Bars(face_model)
        self.calibration = Calibration()

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def address(self) -> str:
        """Where the page is, with the token that opens it."""
        return f"http://127.0.0.1:{self.port}/#{self.access.token}"

    def __enter__(self) -> "Page":
        if not self._quiet:  # before the page shows what is said: the token is no news there
            say(f"The page is at {self.address}")
        room = Room(self.access, self.view, self._main_thread, self._sentences, self._bars, lambda: self._run)
        photos = PhotoRoutes(self._main_thread)
        chosen = RunRoutes(self._main_thread)
        performances = PerformanceRoutes(self._main_thread)
        calibration = self.calibration
        parts = (photos, chosen, performances)
        acts = live_acts(self._main_thread) | calibration.acts()
        looks: dict[str, Handler] = {}
        for part in parts:
            acts |= part.acts()
            looks |= part.looks()
        more = [performances.state, calibration.state]
        private = {"/calibration/picture": calibration.pictures}
        self._routes = Routes(room, acts, looks, more, private)
        self._stack.callback(calibration.close)
        self._stack.callback(chosen.close)
        self._stack.callback(performances.close)
        self._stack.enter_context(self._sentences)
        self._stack.callback(self._bars.close)
        self._stack.callback(self._server.close)
        self._stack.callback(self.view.close)
        self._server.start()
        if self._open_browser and has_desktop():
            # Now: once the face model is loaded, programs that are started from here have no network.
            code = self.access.new_code()
            if not webbrowser.open(f"http://127.0.0.1:{self.port}/#{code}"):
                say("No browser was found: open the address above.")
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def attach(self, run: LiveRun) -> None:
        """As RunPage's."""
        self._run = run

    def turn(self) -> None:
        """As RunPage's."""
        self._main_thread.turn()

    def detach(self) -> None:
        """As RunPage's."""
        self._run = None

    def _answer(self, request: Request) -> tuple[Response, bool]:
        assert self._routes
        return self._routes(request)


@contextmanager
def watched_page() -> Iterator[Page]:
    """A page that another process looks at, as a browser does: its state, and the pictures at 1280 px."""
    with Page(0, open_browser=False, quiet=True) as page:
        key, cookie = page.access.log_in(page.access.token)
        client = [sys.executable, "-c", CLIENT, str(page.port), key, cookie.partition(";")[0]]
        with subprocess.Popen(client, stdin=subprocess.DEVNULL) as process:
            try:
                yield page
            finally:
                process.kill()


def _serve(port: int | None, respond: Respond) -> HttpServer:
    """Raises OutputError where the port that was named cannot be had."""
    if port is not None:
        return HttpServer(port, respond)
    try:
        return HttpServer(PORT, respond)
    except OutputError:  # a second puppet
        return HttpServer(0, respond)


def has_desktop() -> bool:
    """Whether a browser can show itself; a browser in the terminal would take the keys away."""
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
