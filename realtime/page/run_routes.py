"""Drivers, outputs, sound and presets, chosen on the page."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from engines.environment import settings_folder
from engines.errors import DriverError
from realtime.audio.microphone import DEFAULT, microphones
from realtime.devices.v4l2 import cameras, is_idle_loopback
from realtime.page.http_messages import Refused, Request
from realtime.page.main_thread import Handler, MainThread
from realtime.page.photo_routes import uploaded
from realtime.page.run_state import AUS
from realtime.puppet import settings
from realtime.session.driver_switcher import NOBODY, DriverChoice
from realtime.session.live_run import LiveRun
from realtime.session.output_switcher import VIRTUAL_CAMERA
from realtime.session.photo_shelf import harmless
from realtime.sources.clip import Clip, is_clip
from realtime.sources.network_tracker import parse_tracker
from realtime.sources.tracker_protocols import PROTOCOLS
from realtime.tracking import driver_profile

MAX_CLIP_BYTES = 1_000_000_000
MAX_CLIPS = 2  # of a run that are kept: the one that drives, and the one before
UNNAMED_CAMERAS = 4  # offered where the system lists none


class RunRoutes:
    """What requests about drivers and outputs do; closed with the page."""

    def __init__(self, main_thread: MainThread):
        self._main_thread = main_thread
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # of clips of this run
        self._clips: list[Path] = []  # oldest first
        self._count = 0

    def looks(self) -> dict[str, Handler]:
        return {"/choices": self._choices}

    def acts(self) -> dict[str, Handler]:
        return {
            "/driver": self._driver,
            "/driver/clip": self._clip,
            "/outputs": self._output,
            "/record": self._record,
            "/presets/use": self._use_preset,
            "/presets/save": self._save_preset,
        }

    def close(self) -> None:
        """Deletes the clips of this run."""
        if self._folder:
            self._folder.cleanup()

    @staticmethod
    def _choices(run: LiveRun, request: Request) -> dict[str, Any]:
        """What can be chosen: cameras, trackers, microphones, presets and profiles, by their names."""
        return {
            "cameras": [{"index": index, "name": name} for index, name in listed_cameras().items()],
            "given": bool(run.config.drivers),
            "trackers": {name: protocol().port for name, protocol in PROTOCOLS.items()},
            "microphones": [DEFAULT, *microphones()],
            "presets": {"shipped": list(settings.shipped()), "saved": settings.saved_presets()},
            "profiles": driver_profile.names(),
            "aus": AUS,
        }

    # --- drivers --------------------------------------------------------------------------------------------

    def _driver(self, run: LiveRun, request: Request) -> None:
        wanted = request.json()
        kinds: dict[str, Callable[[LiveRun, Mapping[str, Any]], DriverChoice]] = {
            "nobody": lambda _run, _wanted: NOBODY,
            "given": lambda run, _wanted: DriverChoice(run.config.drivers, profile=run.config.profile),
            "camera": _camera,
            "tracker": _tracker,
        }
        make = kinds.get(str(wanted.get("kind")))
        if make is None:
            raise Refused(422, "There is no such driver.")
        run.drivers.choose(make(run, wanted))

    def _clip(self, run: LiveRun, request: Request) -> None:
        """A clip that is sent: judged by its content, kept until the run ends."""
        with uploaded(request, MAX_CLIP_BYTES) as file:
            if not is_clip(file):
                raise Refused(422, "That is not a video that can be read: send an MP4, MOV, MKV or WebM.")
            _check_clip(file)
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix=".clips-", dir=settings_folder())
            self._count += 1
            path = Path(self._folder.name) / f"clip-{self._count}"
            file.rename(path)
        self._clips.append(path)
        name = harmless(request.query.get("name", "clip"))
        run.drivers.choose(DriverChoice((str(path),), name=f"the clip {name}"))
        while len(self._clips) > MAX_CLIPS:
            self._clips.pop(0).unlink(missing_ok=True)

    # --- outputs --------------------------------------------------------------------------------------------

    def _output(self, run: LiveRun, request: Request) -> None:
        wanted = request.json()
        if wanted.get("name") != VIRTUAL_CAMERA:
            raise Refused(422, "There is no such output.")
        on = flag(wanted, "on")
        self._main_thread.ask(lambda: run.outputs.switch(VIRTUAL_CAMERA, on))

    def _record(self, run: LiveRun, request: Request) -> None:
        """Begins or ends a recording, as the key does; with the sound of a microphone, or without."""
        wanted = request.json()
        on, name = flag(wanted, "on"), wanted.get("microphone")
        if name is not None and name not in (DEFAULT, *microphones()):
            raise Refused(422, "There is no such microphone.")
        self._main_thread.ask(partial(_record, run, on, name))

    # --- presets --------------------------------------------------------------------------------------------

    def _use_preset(self, run: LiveRun, request: Request) -> None:
        name = text(request.json(), "name")
        if name not in (*settings.shipped(), *settings.saved_presets()):
            raise Refused(422, "There is no such preset.")
        chosen = settings.load(name)
        self._main_thread.ask(lambda: run.loop.animator.change_settings(lambda _: chosen))

    @staticmethod
    def _save_preset(run: LiveRun, request: Request) -> None:
        settings.save_preset(text(request.json(), "name"), run.loop.animator.settings)


def listed_cameras() -> dict[int, str]:
    """Cameras by their index; by their number alone where the system lists no names."""
    if sys.platform == "linux":
        return {index: name for index, name in cameras().items() if not is_idle_loopback(index)}
    return {index: f"camera {index + 1}" for index in range(UNNAMED_CAMERAS)}


def flag(found: Mapping[str, Any], name: str) -> bool:
    """Raises Refused for what is neither true nor false."""
    value = found.get(name)
    if not isinstance(value, bool):
        raise Refused(422, f"{name} has to be true or false.")
    return value


def text(found: Mapping[str, Any], name: str) -> str:
    """Raises Refused for what is no text."""
    value = found.get(name)
    if not isinstance(value, str):
        raise Refused(422, f"{name} has to be a text.")
    return value


def number(found: Mapping[str, Any], name: str) -> float:
    """Raises Refused for what is no number."""
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(422, f"{name} has to be a number.")
    return float(value)


def _camera(_run: LiveRun, wanted: Mapping[str, Any]) -> DriverChoice:
    known, index = listed_cameras(), wanted.get("index")
    if not isinstance(index, int) or index not in known:
        raise Refused(422, "That camera is not there any more.")
    profile = wanted.get("profile")
    if profile is not None and profile not in driver_profile.names():
        raise Refused(422, "There is no such profile.")
    return DriverChoice((f"webcam:{index}",), profile=profile, name=known[index])


def _tracker(_run: LiveRun, wanted: Mapping[str, Any]) -> DriverChoice:
    protocol, port = wanted.get("protocol"), wanted.get("port")
    if protocol not in PROTOCOLS or isinstance(port, bool) or not isinstance(port, int):
        raise Refused(422, "There is no such tracker.")
    address = f"0.0.0.0:{port}" if flag(wanted, "network") else str(port)
    try:
        parse_tracker(f"{protocol}:{address}")
    except DriverError as error:
        raise Refused(422, "That is no port: write a number from 1 to 65535.") from error
    return DriverChoice((f"{protocol}:{address}",))


def _check_clip(file: Path) -> None:
    """Raises Refused where no picture of it can be read."""
    try:
        clip = Clip(file)
        try:
            if clip.read() is None:
                raise Refused(422, "There is no picture in that video: send another one.")
        finally:
            clip.close()
    except DriverError as error:
        raise Refused(422, str(error).replace(str(file), "That file")) from error


def _record(run: LiveRun, on: bool, microphone: str | None) -> None:
    """On the main thread. Raises DriverError."""
    if on == (run.key_actions.recording is not None):
        return
    if on:
        run.sound.choose(microphone)
    run.controls.act("record")
