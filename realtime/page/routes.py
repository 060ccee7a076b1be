"""What each request of the page does: looking needs a page of this run, acting the one page that acts."""

import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engines.errors import PuppetError, SettingsError
from realtime.page import run_state
from realtime.page.access import Access, PageAccess
from realtime.page.http_messages import Refused, Request, Response, answer, refusal
from realtime.page.live_view import LiveView
from realtime.page.main_thread import Handler, MainThread
from realtime.page.run_routes import flag
from realtime.page.run_state import Bars, Sentences
from realtime.puppet.settings import merged
from realtime.session.live_run import LiveRun

STATE_S = 0.25  # between two states
FILES = Path(__file__).parent / "static"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
STARTING = "The puppet is being prepared: a moment."


def static_files() -> dict[str, Response]:
    """The page's own files, by their paths; there are no others to be asked for."""
    found = {
        f"/{path.name}": Response(body=path.read_bytes(), kind=KINDS[path.suffix])
        for path in FILES.iterdir()
        if path.suffix in KINDS
    }
    return {**found, "/": found["/index.html"]}


@dataclass(frozen=True)
class Room:
    """What requests need. `run` is None before the run has begun, and after its end."""

    access: Access
    view: LiveView
    main_thread: MainThread
    sentences: Sentences
    bars: Bars
    run: Callable[[], LiveRun | None]

    def running(self) -> LiveRun:
        """Raises Refused while there is no run."""
        run = self.run()
        if run is None:
            raise Refused(503, STARTING)
        return run


class Routes:
    """A request -> its answer."""

    def __init__(
        self,
        room: Room,
        acts: Mapping[str, Handler],
        looks: Mapping[str, Handler],
        more: Sequence[Callable[[LiveRun], dict[str, Any]]] = (),
        private: Mapping[str, Callable[[], Generator[bytes, None, None]]] = MappingProxyType({}),
    ):
        """
        Args:
            acts: what POST does, by path; each returns what JSON can hold, or a Response.
            looks: what GET answers, likewise.
            more: what belongs to the state of a run beside what is of the run itself.
            private: pictures for the page that acts alone, and only while it does, by path.
        """
        self._room = room
        self._more = more
        self._files = static_files()
        self._acts = dict(acts)
        self._looks: dict[str, Callable[[PageAccess, Request], Response]] = {
            "/state": self._state,
            "/live": self._live,
            **{path: partial(self._look, look) for path, look in looks.items()},
            **{path: partial(self._private, path, begin) for path, begin in private.items()},
        }

    def __call__(self, request: Request) -> tuple[Response, bool]:
        """The answer, and whether the client has shown that it is a page of this run. Raises Refused."""
        access = self._room.access
        access.check_address(request)
        if request.method in ("GET", "HEAD") and request.path in self._files:
            return self._files[request.path], False
        if request.method == "POST" and request.path == "/login":
            return self._log_in(request), False
        page = access.page(request)
        try:
            return self._of_page(page, request), True
        except Refused as refused:
            return refusal(refused), True
        except PuppetError as error:
            return answer({"error": str(error)}, 422), True

    def _of_page(self, page: PageAccess, request: Request) -> Response:
        if request.method == "GET" and request.path in self._looks:
            return self._looks[request.path](page, request)
        if request.method != "POST":
            raise Refused(404 if request.path not in self._acts else 405, "There is nothing here.")
        if request.path == "/act-here":
            self._room.access.act_here(page)
            return answer()
        act = self._acts.get(request.path)
        if act is None:
            raise Refused(404, "There is nothing here.")
        self._room.access.check_acts(page)
        return _response(act(self._room.running(), request))

    def _log_in(self, request: Request) -> Response:
        token = request.json().get("token")
        key, cookie = self._room.access.log_in(token if isinstance(token, str) else "")
        return answer({"key": key}, Set_Cookie=cookie)

    def _look(self, look: Handler, _page: PageAccess, request: Request) -> Response:
        return _response(look(self._room.running(), request))

    # --- streams --------------------------------------------------------------------------------------------

    def _state(self, page: PageAccess, request: Request) -> Response:
        with_bars = request.query.get("bars") == "1"
        return Response(body=self._stream(page, "state", self._states(page, with_bars)))

    def _live(self, page: PageAccess, request: Request) -> Response:
        width = request.query.get("width", "640")
        width_px = int(width) if width.isdecimal() and len(width) < 5 else 640
        pictures = self._pictures(width_px)
        return Response(body=self._stream(page, "live", pictures), kind="application/octet-stream")

    def _pictures(self, width_px: int) -> Generator[bytes, None, None]:
        """Each as four bytes of its length, and a JPEG."""
        with closing(self._room.view.watch(width_px)) as jpegs:
            for jpeg in jpegs:
                yield len(jpeg).to_bytes(4, "big") + jpeg

    def _private(
        self, path: str, begin: Callable[[], Generator[bytes, None, None]], page: PageAccess, _: Request
    ) -> Response:
        self._room.access.check_acts(page)
        pictures = self._while_acting(page, begin())
        return Response(body=self._stream(page, path, pictures), kind="application/octet-stream")

    def _while_acting(
        self, page: PageAccess, pictures: Generator[bytes, None, None]
    ) -> Generator[bytes, None, None]:
        with closing(pictures):
            for picture in pictures:
                if not self._room.access.acts(page):
                    return
                yield len(picture).to_bytes(4, "big") + picture

    def _stream(
        self, page: PageAccess, name: str, parts: Generator[bytes, None, None]
    ) -> Generator[bytes, None, None]:
        """The parts, until the same page begins another stream of that name."""
        access = self._room.access
        mark = access.begin_stream(page, name)
        try:
            with closing(parts):
                for part in parts:
                    if not access.runs(page, name, mark):
                        return
                    yield part
        finally:
            access.end_stream(page, name, mark)

    def _states(self, page: PageAccess, with_bars: bool) -> Generator[bytes, None, None]:
        """A line of JSON for each moment; what did not change since the line before is left out."""
        sent: dict[str, Any] = {}
        said = 0
        while True:
            found: dict[str, Any] = {"acting": self._room.access.acts(page)}
            run = self._room.run()
            found["running"] = run is not None
            if run is not None:
                found |= self._of_run(run)
                if with_bars:
                    found["bars"] = self._room.bars(run)
            new = {name: value for name, value in found.items() if name not in sent or sent[name] != value}
            sent = found
            if sentences := self._room.sentences.after(said):
                said = sentences[-1]["number"]
                new["sentences"] = sentences
            yield json.dumps(new, separators=(",", ":")).encode() + b"\n"
            time.sleep(STATE_S)

    def _of_run(self, run: LiveRun) -> dict[str, Any]:
        recording = run.key_actions.recording
        return {
            "figures": run_state.figures(run),
            "notes": run.loop.notes,
            "badge": run_state.badge(run),
            "panic": run.controls.panic,
            "paused": run.controls.paused,
            "driver": run_state.driver(run),
            "settings": run_state.settings(run),
            "photos": run_state.photos(run.photos),
            "recording": recording.name if recording else None,
            "outputs": run.outputs.states(),
            **{name: value for part in self._more for name, value in part(run).items()},
        }


def _response(found: object) -> Response:
    return found if isinstance(found, Response) else answer(found)


# --- what acts ----------------------------------------------------------------------------------------------


def live_acts(main_thread: MainThread) -> dict[str, Handler]:
    """Panic, keys, dials: what keys do as well."""
    return {
        "/panic": _panic,
        "/key": partial(_key, main_thread),
        "/settings": partial(_settings, main_thread),
    }


def _panic(run: LiveRun, request: Request) -> None:
    """At once, whatever the main thread does."""
    if run.controls.panic != flag(request.json(), "on"):
        run.controls.toggle_panic()


def _key(main_thread: MainThread, run: LiveRun, request: Request) -> None:
    key = request.json().get("key")
    if not isinstance(key, str) or not main_thread.ask(lambda: run.controls.press(key)):
        raise Refused(422, "That key means nothing.")


def _settings(main_thread: MainThread, run: LiveRun, request: Request) -> None:
    wanted = request.json()
    try:
        merged(run.loop.animator.settings, wanted)  # refused here, before it is asked for
    except SettingsError as error:
        raise Refused(422, str(error)) from error
    animator = run.loop.animator
    main_thread.ask(lambda: animator.change_settings(lambda settings: merged(settings, wanted)))
