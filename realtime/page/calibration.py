"""A driver's profile, learnt in a guided lesson on the page, with the camera's own picture.

That picture is the driver's. It is held here and nowhere else, while the lesson runs and no longer; the page
that acts gets it, and no output knows of it: the puppet rests meanwhile.
"""

import threading
import time
from collections.abc import Generator
from typing import Any

import numpy as np

from engines.errors import PuppetError
from engines.face.au_estimator import index
from realtime.calibration.lesson import lesson
from realtime.calibration.lesson_state import STEPS, LessonState
from realtime.page.http_messages import Refused, Request
from realtime.page.live_view import encode
from realtime.page.main_thread import Handler
from realtime.page.run_routes import listed_cameras, text
from realtime.process.log import say
from realtime.process.worker import Worker
from realtime.session.driver_switcher import NOBODY, DriverChoice
from realtime.session.live_run import LiveRun
from realtime.sources.frame_source import LiveFrames
from realtime.sources.reconnecting_camera import ReconnectingCamera
from realtime.tracking import driver_profile

RELEASE_S = 5.0  # for the driver before to let go of the camera
PICTURE_S = 1 / 15  # between two pictures for the page
LEAVE_S = 3.0


def open_camera(text: str) -> LiveFrames:
    """Raises DriverError."""
    return ReconnectingCamera(text, say)


class Calibration:
    """One lesson at a time. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._image: np.ndarray | None = None  # of the driver; None while no lesson runs
        self._state: dict[str, Any] | None = None

    def acts(self) -> dict[str, Handler]:
        return {"/calibration": self._start, "/calibration/stop": lambda _run, _request: self._stop()}

    def state(self, _run: LiveRun) -> dict[str, Any]:
        """What is asked of the driver now, and how the last lesson ended; None before the first."""
        return {"calibration": self._state}

    def pictures(self) -> Generator[bytes, None, None]:
        """JPEGs of the driver while a lesson runs. Raises Refused while none does."""
        if not self._running:
            raise Refused(409, "No calibration is going on.")
        return self._pictures()

    def close(self) -> None:
        self._stop()

    @property
    def _running(self) -> bool:
        return self._worker is not None and self._worker.alive

    def _pictures(self) -> Generator[bytes, None, None]:
        while self._running:
            image = self._image
            if image is not None:
                yield encode(image)
            time.sleep(PICTURE_S)

    def _start(self, run: LiveRun, request: Request) -> None:
        wanted = request.json()
        name, camera = text(wanted, "name"), wanted.get("index")
        if camera not in listed_cameras() or isinstance(camera, bool):
            raise Refused(422, "That camera is not there any more.")
        path = driver_profile.path_of(name)
        if path.parent != driver_profile.folder():
            raise Refused(422, "Use letters, digits and - for the profile's name.")
        with self._lock:
            if self._running:
                raise Refused(409, "A calibration is going on already.")
            before = run.drivers.chosen
            self._state = {"running": True, "prompt": "The camera is being opened …"}
            worker: Worker
            worker = Worker(lambda: self._learn(run, worker, f"webcam:{camera}", name, before), "calibration")
            self._worker = worker
            worker.start()

    def _stop(self) -> None:
        if self._worker:
            self._worker.close(LEAVE_S)

    def _learn(self, run: LiveRun, worker: Worker, camera: str, name: str, before: DriverChoice) -> None:
        """In a thread of its own."""
        run.drivers.choose(NOBODY)
        then, result = before, ""
        try:
            end_s = time.perf_counter() + RELEASE_S
            while run.drivers.is_open and time.perf_counter() < end_s:
                worker.wait(0.02)
            frames = open_camera(camera)
            try:
                profile = lesson(
                    frames,
                    None,
                    ring=lambda: None,  # the page rings
                    face_model=run.config.face_model,
                    watch=lambda *seen: self._watch(worker, *seen),
                )
            finally:
                frames.close()
            profile.save(driver_profile.path_of(name))
            then, result = DriverChoice((camera,), profile=name), f"Kept as {name}, and in use."
        except KeyboardInterrupt:  # the driver ended it
            result = "Ended; nothing was kept."
        except PuppetError as error:
            result = str(error)
        finally:
            self._image = None
            self._state = {"running": False, "result": result or "It failed; nothing was kept."}
            run.drivers.choose(then)

    def _watch(
        self, worker: Worker, state: LessonState, image: np.ndarray | None, reading: np.ndarray | None
    ) -> bool:
        if worker.stopping:
            return True
        self._image = image if image is not None else self._image
        step = state.step
        shown = {} if reading is None else {au: _mean(reading, au) for au in step.aus}
        self._state = {
            "running": True,
            "step": STEPS.index(step) + 1,
            "of": len(STEPS),
            "name": step.name,
            "prompt": state.prompt,
            "progress": round(state.progress, 3),
            "holding": round(state.holding, 2),
            "note": state.note,
            "shown": shown,
        }
        return False


def _mean(reading: np.ndarray, au: str) -> float:
    return round(float(np.clip(reading[index([au])].mean(), 0, 1)), 2)
