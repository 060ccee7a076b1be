"""The virtual camera by realtime.output.outputs: what another program reads, opened twice, busy, missing."""

from contextlib import closing

import numpy as np

from engines.errors import OutputBusy, OutputError
from realtime.output.outputs import VirtualCamera
from tests.vm.devices import FPS, PUPPET, PUPPET_NAME, WEBCAM, held_by_another, released
from tests.vm.pictures import CLOSE, SIZE, distance, numbered, send_to
from tests.vm.said import refused


def another_program_reads_what_the_virtual_camera_is_sent_whole_and_in_order():
    with closing(VirtualCamera(SIZE, FPS, PUPPET)) as camera:
        assert PUPPET in camera.name
        pictures = send_to(camera, 30)
    levels = np.array([[half.mean() for half in (p[10:110, 180:300], p[130:230, 180:300])] for p in pictures])
    numbers = np.round((levels - 40) / 12).astype(int)
    assert (numbers[:, 0] == numbers[:, 1]).all(), f"pictures are torn: {numbers.tolist()}"
    assert all(distance(p, numbered(n)) < CLOSE for p, n in zip(pictures[1:], numbers[1:, 0], strict=True)), (
        "colours differ"
    )
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
        camera.send(numbered(0), 0.0)
        refused(OutputError, lambda: VirtualCamera(SIZE, FPS, PUPPET))
        assert len(send_to(camera, 3)) >= 3


def a_virtual_camera_that_another_program_plays_into_is_refused_and_free_afterwards():
    with held_by_another(PUPPET, playing_into=True):
        for device in (PUPPET, PUPPET_NAME):
            said = refused(OutputBusy, lambda device=device: VirtualCamera(SIZE, FPS, device))
            assert "close ffmpeg (" in said and "apt install" not in said, said
    VirtualCamera(SIZE, FPS, PUPPET).close()


def a_virtual_camera_is_opened_by_its_label_and_an_unknown_one_is_told_with_those_there_are():
    with closing(VirtualCamera(SIZE, FPS, PUPPET_NAME.lower())) as camera:
        assert PUPPET in camera.name
        assert len(send_to(camera, 3)) >= 3
    said = refused(OutputError, lambda: VirtualCamera(SIZE, FPS, "Studio"))
    assert f"vcam:{PUPPET_NAME}" in said and "apt install" not in said, said


def a_virtual_camera_that_a_reader_keeps_at_another_size_is_refused_with_that_size():
    """v4l2loopback itself takes the new size in silence, and the reader would see torn pictures."""
    first = VirtualCamera((640, 480), FPS, PUPPET)
    first.send(np.zeros((480, 640, 3), np.uint8), 0)
    with held_by_another(PUPPET):
        first.close()
        assert "--size 640x480" in refused(OutputBusy, lambda: VirtualCamera(SIZE, FPS, PUPPET))
    with closing(VirtualCamera(SIZE, FPS, PUPPET)) as camera:
        assert len(send_to(camera, 3)) >= 3


def a_missing_device_and_a_webcam_are_no_virtual_cameras():
    for device in ("/dev/video77", WEBCAM):
        refused(OutputError, lambda device=device: VirtualCamera(SIZE, FPS, device))
    released(WEBCAM)
