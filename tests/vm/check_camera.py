"""One camera by realtime.sources.camera and realtime.sources.reconnecting_camera: found, opened, read,
closed, busy, unplugged.
"""

import os
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from engines.errors import DriverError
from realtime.devices.v4l2 import cameras
from realtime.messages import NOT_YET
from realtime.sources.camera import Camera, camera_index
from realtime.sources.reconnecting_camera import ReconnectingCamera
from tests.vm.devices import (
    FACE,
    FACE_NAME,
    PATIENCE_S,
    PUPPET,
    PUPPET_NAME,
    WEBCAM,
    clip_playing,
    held_by_another,
    holders,
    released,
    unplug,
    wait_for,
)
from tests.vm.said import printed, refused


def cameras_are_found_by_their_names():
    assert {10: FACE_NAME, 20: PUPPET_NAME}.items() <= cameras().items() and "vivid" in cameras()[0], (
        cameras()
    )
    assert camera_index("webcam:facecam") == 10 and camera_index("webcam:vivid") == 0
    message = refused(DriverError, lambda: Camera("webcam:nobody"))
    assert "vivid" in message and PUPPET_NAME not in message, (
        "it names the cameras that there are; a loopback that nobody feeds is none"
    )


def a_webcam_gives_moving_pictures_of_640x480_whose_times_rise():
    with closing(Camera("webcam")) as camera:
        frames = [camera.read() for _ in range(5)]
    assert all(frame.image.shape == (480, 640, 3) and frame.image.dtype == np.uint8 for frame in frames)
    assert (np.diff([frame.captured_s for frame in frames]) > 0).all()
    assert (frames[0].image != frames[-1].image).any()


def a_camera_by_its_path_is_free_when_it_is_closed_opens_again_and_prints_nothing():
    with printed() as file:
        for _ in range(3):
            with closing(Camera(WEBCAM)) as camera:
                assert camera.read().image.shape == (480, 640, 3)
                assert holders(WEBCAM) == {os.getpid()}
            released(WEBCAM)
        assert not (text := Path(file).read_text()), text


def a_camera_in_use_is_refused_and_works_when_the_other_program_has_ended():
    with held_by_another(WEBCAM):
        assert "close programs that use it" in refused(DriverError, lambda: Camera(WEBCAM))
        assert os.getpid() not in holders(WEBCAM)
    with closing(Camera(WEBCAM)) as camera:
        assert camera.read().image.any()


def a_virtual_camera_into_which_nobody_plays_is_no_driver():
    refused(DriverError, lambda: Camera(PUPPET))
    released(PUPPET)


def an_unplugged_camera_gives_nothing_until_it_is_let_go_and_opens_again_then():
    with closing(Camera("webcam")) as camera:
        unplug()
        try:
            for _ in range(20):
                camera.read()
            raise AssertionError("an unplugged camera still gave pictures")
        except DriverError:
            refused(DriverError, lambda: Camera("webcam"))
    with closing(Camera("webcam")) as camera:
        assert camera.read().image.any()


def a_camera_whose_pictures_end_is_noticed_within_2_seconds_told_once_and_comes_back():
    said: list[str] = []

    def until(count: int, patience_s: float) -> float:
        """Reads until so much was said; how long that took."""
        started_s = time.monotonic()
        while len(said) < count:
            camera.read()
            assert time.monotonic() - started_s < patience_s, f"{patience_s:g} s, and it only said {said}"
        return time.monotonic() - started_s

    with clip_playing() as player:
        camera = ReconnectingCamera(f"webcam:{FACE_NAME}", said.append)
        wait_for(lambda: camera.read() is not NOT_YET, "the first picture")
        player.kill()
        took_s = until(1, 5)
        assert took_s < 2.5, (
            f"{took_s:.1f} s"
        )  # the player's end, and the reading of its last pictures, take their time
    with clip_playing(), closing(camera):
        until(2, PATIENCE_S)
        assert "is back after" in said[1], said
    released(FACE)
