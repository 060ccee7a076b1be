"""Calibration on the page: guided, with the driver's picture, which no output ever gets."""

import time

import cv2
import numpy as np
import pytest

from engines.errors import DriverError
from realtime.page import calibration, run_routes
from realtime.tracking import driver_profile
from tests.realtime.calibration.test_lesson import Film
from tests.support.page_client import PageClient, acting_page, running_page
from tests.support.waiting import wait_for


class SlowFilm(Film):
    """At a pace at which what is shown of it can be seen: five times a camera's."""

    def read(self):
        time.sleep(0.04)
        return super().read()


@pytest.fixture
def running(tmp_path, monkeypatch):
    monkeypatch.setenv(driver_profile.FOLDER_ENV, str(tmp_path / "profiles"))
    for module in (run_routes, calibration):
        monkeypatch.setattr(module, "listed_cameras", lambda: {0: "Desk Cam"})
    monkeypatch.setattr(calibration, "open_camera", lambda _text: SlowFilm())
    with running_page(tmp_path, ("man.jpg",)) as found:
        yield found


@pytest.fixture
def client(running):
    return acting_page(running)


def test_a_lesson_shows_the_driver_on_the_page_that_acts_and_ends_with_a_profile_in_use(client, running):
    assert client.get("/calibration/picture").status == 409
    assert client.post("/calibration", {"index": 0, "name": "desk"}).status == 200
    states = client.states()
    wait_for(lambda: next(states)["calibration"].get("step"))
    pictures = client.pictures("/calibration/picture")
    picture = cv2.imdecode(np.frombuffer(next(pictures), np.uint8), cv2.IMREAD_COLOR)
    nearest = min(np.abs(frame.astype(int) - picture).mean() for frame in Film()._pictures)
    assert nearest < 6, "it is the camera's"

    other = PageClient(running)
    assert other.get("/calibration/picture").status == 409, "nobody else sees it"
    assert PageClient(running, log_in=False).get("/calibration/picture").status == 401

    prompts = set()
    while (found := next(states)["calibration"])["running"]:
        prompts.add(found["prompt"])
    assert len(prompts) >= 5 and "desk" in found["result"], found
    assert list(pictures) is not None, "the pictures end with the lesson"
    assert driver_profile.names() == ["desk"]
    assert running.run.drivers.chosen.profile == "desk" and running.run.drivers.chosen.drivers == (
        "webcam:0",
    )
    assert running.page.calibration._image is None, "nothing of it is kept"
    states.close()


def test_no_output_gets_anything_but_the_still_photo_while_a_lesson_runs(client, running):
    client.post("/calibration", {"index": 0, "name": "desk"})
    wait_for(lambda: not running.run.drivers.is_open)
    states = client.states()
    wait_for(lambda: (next(states)["calibration"].get("progress") or 0) > 0.1)
    still = running.run.loop.animator.still
    wait_for(lambda: np.array_equal(running.output.images[-1], still))
    sent = len(running.output.images)
    wait_for(lambda: len(running.output.images) > sent + 5 or not next(states)["calibration"]["running"])
    assert all(np.array_equal(image, still) for image in running.output.images[sent : sent + 5])
    assert client.post("/calibration/stop").status == 200
    wait_for(lambda: not next(states)["calibration"]["running"])
    assert "nothing was kept" in next(states)["calibration"]["result"] and driver_profile.names() == []
    wait_for(lambda: running.run.drivers.chosen.drivers == ("webcam",))
    states.close()


def test_a_camera_that_does_not_open_is_said_and_the_driver_before_goes_on(client, running, monkeypatch):
    def refuse(_text):
        raise DriverError("The camera webcam:0 gives no picture: close programs that use it.")

    monkeypatch.setattr(calibration, "open_camera", refuse)
    client.post("/calibration", {"index": 0, "name": "desk"})
    wait_for(lambda: "gives no picture" in next(client.states())["calibration"].get("result", ""))
    wait_for(lambda: running.run.drivers.chosen.drivers == ("webcam",))


@pytest.mark.parametrize("name", ["", "../x", "/tmp/x.json", "x.json", "a" * 80])
def test_a_name_that_is_no_profiles_is_refused(client, running, name):
    assert client.post("/calibration", {"index": 0, "name": name}).status == 422
    assert client.post("/calibration", {"index": 3, "name": "desk"}).status == 422
