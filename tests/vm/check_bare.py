"""Before any driver is loaded: what is reported without a camera and without a virtual camera."""

from engines.errors import DriverError, OutputError
from realtime.output.outputs import VirtualCamera
from realtime.sources.camera import Camera
from tests.vm.devices import FPS
from tests.vm.pictures import SIZE
from tests.vm.said import refused


def without_a_camera_the_driver_is_refused():
    assert "no camera is connected" in refused(DriverError, lambda: Camera("webcam"))


def without_v4l2loopback_the_virtual_camera_is_refused_with_the_command_that_loads_it():
    assert "modprobe v4l2loopback" in refused(OutputError, lambda: VirtualCamera(SIZE, FPS))
