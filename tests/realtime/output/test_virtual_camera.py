"""The virtual camera on fakes of three systems: opened by name, refused for each reason, lost in the
middle of a call and back."""

import threading
import time

import numpy as np
import pytest
import pyvirtualcam

from engines.errors import OutputBusy, OutputError
from realtime.devices import v4l2
from realtime.output import outputs
from realtime.output.reconnecting_virtual_camera import ReconnectingVirtualCamera
from realtime.output.virtual_camera import VirtualCamera
from realtime.process.backoff import Backoff
from realtime.sources import camera
from tests.realtime.diagnose.test_doctor import CAPTURE, OUTPUT, Machine
from tests.support.waiting import wait_for

SIZE, PICTURE = (64, 48), np.zeros((48, 64, 3), np.uint8)
WAIT_S = 20.0


class Backend:
    """A backend of pyvirtualcam's that opens, or refuses with `refusal`, and fails at `send` with
    `failure`."""

    refusal: Exception | None = None
    failure: Exception | None = None
    opened: "list[Backend]"

    def __init__(self, *, device: str | None, **facts: object):
        if self.refusal:
            raise self.refusal
        self.place, self.facts, self.sent, self.closed = device, facts, 0, False
        self.opened.append(self)

    def device(self) -> str:
        return self.place or "Fake"

    def native_fourcc(self) -> None:
        return None

    def send(self, _frame: np.ndarray) -> None:
        if self.failure:
            raise self.failure
        self.sent += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def backends(monkeypatch):
    """What pyvirtualcam has on this system, by name; its own are not touched."""
    found: dict[str, type[Backend]] = {}
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", found)
    return found


def backend(refusal: str = "") -> type[Backend]:
    return type(
        "FakeBackend", (Backend,), {"refusal": RuntimeError(refusal) if refusal else None, "opened": []}
    )


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def refused(kind: type[OutputError], device: str | None, system) -> str:
    with pytest.raises(OutputError) as caught:
        VirtualCamera(SIZE, 30.0, device, system)
    said = str(caught.value)
    assert type(caught.value) is kind and "\n" not in said and said.endswith("."), said
    return said


# --- by name
# -----------------------------------------------------------------------------------------------------------


def test_on_linux_a_label_a_number_and_a_path_name_the_same_device(machine, backends):
    kind = backends["v4l2loopback"] = backend()
    machine.device(9, "Puppet Two", v4l2.LOOPBACK_DRIVER, OUTPUT)
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, OUTPUT)
    machine.camera(0, "Puppet Webcam")
    path = str(machine.root / "dev/video10")
    for name in ("puppet", path):
        VirtualCamera(SIZE, 24.0, name, machine.system()).close()
        assert kind.opened[-1].place == path
    assert kind.opened[-1].facts["fps"] == 24.0 and kind.opened[-1].facts["width"] == 64
    VirtualCamera(SIZE, 24.0, "two", machine.system()).close()
    assert kind.opened[-1].place == str(machine.root / "dev/video9")


def test_of_two_with_one_label_the_free_one_is_taken(machine, backends):
    kind = backends["v4l2loopback"] = backend()
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, CAPTURE, fed="YU12:640x480@30")
    machine.device(11, "Puppet", v4l2.LOOPBACK_DRIVER, OUTPUT)
    VirtualCamera(SIZE, 30.0, "Puppet", machine.system()).close()
    assert kind.opened[-1].place.endswith("video11")


def test_an_unknown_label_is_answered_with_the_known_ones(machine, backends):
    backends["v4l2loopback"] = backend()
    machine.camera(0)
    assert "modprobe v4l2loopback" in refused(OutputError, "Puppet", machine.system()), "a webcam is none"
    machine.device(10, "Studio", v4l2.LOOPBACK_DRIVER, OUTPUT)
    said = refused(OutputError, "Puppet", machine.system())
    assert "vcam:Studio" in said and "HD Webcam" not in said and "modprobe" not in said


def test_a_backend_is_a_name_and_other_names_go_to_unity_capture_on_windows(machine, backends):
    obs, unity = backends["obs"], backends["unitycapture"] = (
        backend(),
        backend("No camera registered with this name."),
    )
    VirtualCamera(SIZE, 30.0, "OBS", machine.system("Windows")).close()
    assert obs.opened[-1].place is None and len(obs.opened) == 1
    unity.refusal, obs.refusal = (
        None,
        RuntimeError("This backend supports only the 'OBS Virtual Camera' device."),
    )
    VirtualCamera(SIZE, 30.0, "My Cam", machine.system("Windows")).close()
    assert unity.opened[-1].place == "My Cam"
    unity.refusal = RuntimeError("No camera registered with this name.")
    said = refused(OutputError, "Their Cam", machine.system("Windows"))
    assert "'Their Cam'" in said and "vcam:obs" in said and "vcam:unitycapture" in said


def test_macos_knows_one_name(machine, backends):
    kind = backends["obs"] = backend()
    for name in ("obs", "OBS Virtual Camera"):
        VirtualCamera(SIZE, 30.0, name, machine.system("Darwin")).close()
    assert len(kind.opened) == 2
    assert "vcam:obs" in refused(OutputError, "Studio", machine.system("Darwin"))


# --- refused
# -----------------------------------------------------------------------------------------------------------


def test_busy_virtual_camera_names_the_process_holding_it_and_advises_no_installation(machine, backends):
    path = str(machine.root / "dev/video10")
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, CAPTURE, fed="YU12:640x480@30")
    machine.opens(99, "obs", "dev/video10")
    for device, message in (
        (path, f"Device {path} is not a video output device."),
        (None, "No v4l2 loopback device found at /dev/video[0-99]."),
    ):
        backends["v4l2loopback"] = backend(message)
        said = refused(OutputBusy, device, machine.system())
        assert "in use: close obs (99)" in said and "apt install" not in said


def test_virtual_camera_held_by_a_hidden_program_is_reported_with_what_helps(machine, backends):
    backends["v4l2loopback"] = backend("Device x could not be opened: Device or resource busy")
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, OSError(16, "Device or resource busy"))
    said = refused(OutputBusy, "Puppet", machine.system())
    assert "hidden from this user, or has ended" in said and "apt install" not in said


def test_virtual_camera_that_this_user_may_not_open_names_the_group_to_join(machine, backends):
    backends["v4l2loopback"] = backend("Could not access /dev/video10 due to missing permissions.")
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, PermissionError(13, "Permission denied"))
    for device in (None, "Puppet"):
        assert "usermod -aG video" in refused(OutputError, device, machine.system())


def test_a_machine_without_a_virtual_camera_gets_the_installation_steps(machine, backends):
    backends["v4l2loopback"] = backend(
        "No v4l2 loopback device found at /dev/video[0-99]. Did you run 'modprobe v4l2loopback'?"
    )
    assert "apt install v4l2loopback-dkms" in refused(OutputError, None, machine.system())
    del backends["v4l2loopback"]
    for system, expected in (("Darwin", "install OBS 30"), ("Windows", "Unity Capture")):
        backends["obs"] = backend("OBS Virtual Camera is not installed in your system.")
        said = refused(OutputError, None, machine.system(system))
        assert expected in said and "--output out.mp4" in said


def test_a_missing_device_and_a_webcam_are_reported_as_such(machine, backends):
    machine.camera(0)
    machine.device(10, "Studio", v4l2.LOOPBACK_DRIVER, OUTPUT)
    for place, reason in (("video77", "does not exist"), ("video0", "is not a video output device")):
        backends["v4l2loopback"] = backend(f"Device /dev/{place} {reason}.")
        said = refused(OutputError, f"/dev/{place}", machine.system())
        assert (
            "There is no" if place == "video77" else "is no virtual camera"
        ) in said and "vcam:Studio" in said


@pytest.mark.parametrize(
    "message",
    [
        "virtual camera output could not be started",
        "Multiple cameras are not supported by this backend.",
        "Couldn't start stream",
    ],
)
def test_obs_playing_into_its_own_camera_has_to_be_stopped(machine, backends, message):
    backends["obs"] = backend(message)
    backends["unitycapture"] = backend("No camera registered. Did you install any camera?")
    said = refused(OutputBusy, None, machine.system("Windows"))
    assert "stop the virtual camera in OBS" in said and "install" not in said


def test_a_size_that_the_device_refuses_is_named(machine, backends):
    backends["v4l2loopback"] = backend(
        "Virtual camera device /dev/video10 could not be configured: Invalid argument"
    )
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, OUTPUT)
    assert "refuses 64x48: choose another --size" in refused(OutputError, "Puppet", machine.system())


def test_a_device_that_keeps_another_size_is_not_opened(machine, backends, monkeypatch):
    kind = backends["v4l2loopback"] = backend()
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, OUTPUT, fed="YU12:640x480@30")
    monkeypatch.setattr(kind, "device", lambda self: "/dev/video10")
    assert "--size 640x480" in refused(OutputBusy, "Puppet", machine.system())
    assert kind.opened[-1].closed


def test_an_idle_loopback_is_not_listed_as_a_camera(machine, monkeypatch):
    machine.camera(0)
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, OUTPUT)
    machine.device(11, "Phone", v4l2.LOOPBACK_DRIVER, CAPTURE, fed="YUYV:640x480@30")
    monkeypatch.setattr(v4l2, "SYSFS", machine.root / "sys/class/video4linux")
    assert camera.camera_list() == "webcam:0 (HD Webcam), webcam:11 (Phone)"


# --- lost in the middle
# ------------------------------------------------------------------------------------------------


def test_a_failure_in_the_middle_is_one_sentence(machine, backends):
    kind = backends["obs"] = backend()
    camera = VirtualCamera(SIZE, 30.0, None, machine.system("Darwin"))
    camera.send(PICTURE, 0.0)
    kind.failure = RuntimeError("Stream does not exist.")
    with pytest.raises(
        OutputError, match=r"takes no more pictures \(Stream does not exist\): .*doctor"
    ) as caught:
        camera.send(PICTURE, 0.1)
    assert "\n" not in str(caught.value)
    camera.close()


def test_a_virtual_camera_that_fails_in_a_call_is_reported_once_and_comes_back(backends):
    kind, said = backend(), []
    backends["obs"] = kind
    camera = ReconnectingVirtualCamera(
        lambda: VirtualCamera(SIZE, 30.0, "obs"), said.append, Backoff(0.01, 0.01)
    )
    camera.send(PICTURE, 0.0)
    kind.failure, kind.refusal = RuntimeError("Stream does not exist."), RuntimeError("Couldn't start stream")
    for number in range(5):
        camera.send(PICTURE, number)
    assert camera.lost and len(said) == 1 and "as soon as it answers" in said[0]
    wait_for(lambda: kind.opened[0].closed)
    kind.failure = kind.refusal = None
    wait_for(lambda: not camera.lost)
    camera.send(PICTURE, 9.0)
    assert kind.opened[-1].sent == 1 and len(kind.opened) == 2
    wait_for(lambda: len(said) == 2)
    assert said[1].endswith("is back.")
    camera.close()
    assert kind.opened[-1].closed


def test_a_camera_that_hangs_while_it_is_opened_again_blocks_nothing(backends):
    kind, hang = backend(), threading.Event()
    backends["obs"] = kind
    first = []

    def open_camera() -> VirtualCamera:
        if first:
            hang.wait(WAIT_S)
        first.append(1)
        return VirtualCamera(SIZE, 30.0, "obs")

    camera = ReconnectingVirtualCamera(open_camera, backoff=Backoff(0.0, 0.0))
    kind.failure = RuntimeError("gone")
    before_s = time.perf_counter()
    for number in range(100):
        camera.send(PICTURE, number)
    assert time.perf_counter() - before_s < 0.5
    kind.failure = None
    camera.close()
    hang.set()
    camera._worker.join(WAIT_S)
    assert all(opened.closed for opened in kind.opened) and len(kind.opened) == 2, (
        "one that opens too late is closed"
    )


def test_a_live_output_reconnects_and_an_offline_one_reports_its_fault(backends):
    backends["obs"] = backend()
    live, offline = (outputs.open_output("vcam:obs", SIZE, 30.0, live) for live in (True, False))
    assert isinstance(live, ReconnectingVirtualCamera) and isinstance(offline, VirtualCamera)
    live.close()
    offline.close()
