"""What `doctor` finds on machines that lack this and that, with fakes of /sys, /dev, /proc, commands and
cameras, and on this machine."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import DriverError, EngineError, OutputBusy, OutputError
from realtime.commands import animate
from realtime.commands import doctor as doctor_command
from realtime.devices import v4l2
from realtime.devices.host import Capability, Host
from realtime.diagnose import camera_probe, device_checks, doctor, engine_checks
from realtime.diagnose.camera_probe import CameraProbePicture, ProbedHost, ProbeFailed
from realtime.diagnose.finding import FINE, MISSING, OPTIONAL, Finding, run_check

ROOT = Path(__file__).parents[3]
CAPTURE, OUTPUT, METADATA = 0x1, 0x2, 0x800000  # V4L2_CAP_*
LOAD = "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Puppet"
LISTED = """\
ioctl: VIDIOC_ENUM_FMT
	Type: Video Capture

	[0]: 'MJPG' (Motion-JPEG, compressed)
		Size: Discrete 640x480
			Interval: Discrete 0.033s (30.000 fps)
			Interval: Discrete 0.067s (15.000 fps)
		Size: Discrete 1280x720
			Interval: Discrete 0.033s (30.000 fps)
	[1]: 'YUYV' (YUYV 4:2:2)
		Size: Stepwise 48x48 - 640x480 with step 1/1
"""


class Machine:
    """Builds a fake Linux machine under a folder."""

    def __init__(self, root: Path):
        self.root, self.capabilities, self.pictures, self.answers = root, {}, {}, {}

    def device(self, index: int, name: str, driver: str, flags: int | OSError, fed: str = "") -> None:
        node = self.root / f"sys/class/video4linux/video{index}"
        node.mkdir(parents=True)
        (node / "name").write_text(name + "\n")
        if driver == v4l2.LOOPBACK_DRIVER:
            (node / "max_openers").write_text("10\n")
            (node / "format").write_text(fed)
        self.capabilities[f"video{index}"] = (
            flags if isinstance(flags, OSError) else Capability(driver, flags)
        )

    def camera(self, index: int, name: str = "HD Webcam", flags: int | OSError = CAPTURE) -> None:
        self.device(index, name, "uvcvideo", flags)
        self.pictures[f"webcam:{index}"] = CameraProbePicture(640, 480, 30.0)

    def opens(self, process: int, program: str, device: str) -> None:
        handles = self.root / f"proc/{process}/fd"
        handles.mkdir(parents=True)
        (handles / "7").symlink_to(self.root / device)
        (self.root / f"proc/{process}/comm").write_text(program)

    def write(self, path: str, text: str = "") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def system(self, name: str = "Linux") -> ProbedHost:
        def query(path: Path) -> Capability:
            answer = self.capabilities[path.name]
            if isinstance(answer, OSError):
                raise answer
            return answer

        def picture(camera: str) -> CameraProbePicture:
            if camera not in self.pictures:
                raise ProbeFailed(f"The camera {camera} gives no picture: close it.", "gives no picture")
            return self.pictures[camera]

        return ProbedHost(
            name, self.root, "6.1.0-test", lambda command: self.answers.get(command[0]), query, picture
        )


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def cameras(machine: Machine, name: str = "Linux") -> list[Finding]:
    return list(device_checks.camera_findings(machine.system(name)))


def virtual(machine: Machine, name: str = "Linux") -> list[Finding]:
    return list(device_checks.virtual_findings(machine.system(name)))


def test_a_camera_is_listed_by_name_with_its_picture_and_its_modes(machine):
    machine.camera(0)
    machine.answers["v4l2-ctl"] = LISTED
    (found,) = cameras(machine)
    assert found.state == FINE and "webcam:0 (HD Webcam)" in found.what
    assert "640x480, 30 a second" in found.detail
    assert "MJPG 1280x720@30 640x480@30, YUYV 48x48-640x480" in found.detail


def test_without_v4l2_ctl_a_camera_is_described_by_what_it_gives(machine):
    machine.camera(2)
    (found,) = cameras(machine)
    assert found.state == FINE and found.detail == "gives 640x480, 30 a second, by --driver webcam:2"


def test_of_dozens_of_sizes_the_largest_are_listed():
    sizes = "".join(
        f"\t\tSize: Discrete {w}x{w}\n\t\t\tInterval: Discrete 0.1s (10.000 fps)\n"
        for w in range(100, 2000, 100)
    )
    assert (
        device_checks.modes(f"\t[0]: 'MJPG' (x)\n{sizes}")
        == "MJPG 1900x1900@10 1800x1800@10 1700x1700@10 1600x1600@10 ..."
    )
    formats = "".join(
        f"\t[{n}]: '{name}' (x)\n\t\tSize: Discrete 640x480\n"
        for n, name in enumerate(["YUYV", "NV12", "RGB3", "GREY", "MJPG"])
    )
    assert device_checks.modes(formats) == "MJPG 640x480, YUYV 640x480, NV12 640x480, RGB3 640x480, 1 more", (
        "what a call takes is listed first"
    )
    assert device_checks.modes("Cannot open device /dev/video0, exiting.") == ""


def test_a_node_for_metadata_or_a_codec_is_no_camera(machine):
    machine.camera(0)
    machine.camera(1, flags=METADATA)
    machine.camera(2, "codec", CAPTURE | 0x8000)
    assert [found.what for found in cameras(machine)] == ["camera webcam:0 (HD Webcam)"]


def test_a_camera_that_this_user_may_not_open_names_the_group_to_join(machine):
    machine.camera(0, flags=PermissionError(13, "Permission denied"))
    (found,) = cameras(machine)
    assert found.state == MISSING and "may not be opened by this user" in found.detail
    assert found.cure.startswith("sudo usermod -aG video $USER") and "log out and in" in found.cure


def test_a_busy_camera_names_the_program_that_holds_it(machine):
    machine.camera(0)
    machine.pictures.clear()
    machine.opens(4711, "zoom", "dev/video0")
    machine.opens(4712, "editor", "dev/null")
    (found,) = cameras(machine)
    assert (found.state, found.detail, found.cure) == (
        MISSING,
        "busy: zoom (4711) uses it",
        "close zoom (4711)",
    )


def test_a_dead_camera_does_not_hide_one_that_works(machine):
    machine.camera(0, "dead")
    machine.camera(1, "gone", OSError(19, "No such device"))
    machine.camera(2, "good")
    machine.pictures = {"webcam:2": CameraProbePicture(1280, 720, 30.0)}
    states = {found.what.split("(")[1]: found for found in cameras(machine)}
    assert [found.state for found in states.values()] == [MISSING, MISSING, FINE]
    assert "sudo fuser -v" in states["dead)"].cure and "No such device" in states["gone)"].detail


def test_a_camera_that_the_container_does_not_pass_on_names_the_option(machine):
    machine.camera(0, flags=FileNotFoundError(2, "No such file"))
    assert "--device" in cameras(machine)[0].cure


def test_without_cameras_the_cure_is_to_plug_one_in_and_under_wsl_to_use_windows(machine):
    assert "plug a camera in" in cameras(machine)[0].cure
    inside = replace(machine.system(), release="5.15.90.1-microsoft-standard-WSL2")
    assert (
        "Windows" in next(device_checks.camera_findings(inside)).cure
        and "Windows" in next(device_checks.virtual_findings(inside)).cure
    )


def test_on_macos_and_windows_cameras_are_named_and_so_is_where_to_allow_them(machine):
    machine.answers["system_profiler"] = json.dumps({"SPCameraDataType": [{"_name": "FaceTime HD Camera"}]})
    machine.answers["powershell"] = "Integrated Camera\r\nScanner\r\n"
    (mac,), (windows,) = cameras(machine, "Darwin"), cameras(machine, "Windows")
    assert mac.state == windows.state == MISSING
    assert "FaceTime HD Camera" in mac.what and "Privacy_Camera" in mac.cure
    assert "Integrated Camera, Scanner" in windows.detail and "ms-settings:privacy-webcam" in windows.cure
    machine.pictures = {
        "webcam:0": CameraProbePicture(1280, 720, 30.0),
        "webcam:1": CameraProbePicture(640, 480, 15.0),
    }
    assert [found.state for found in cameras(machine, "Windows")] == [FINE, FINE]


def test_an_idle_loopback_is_a_virtual_camera_and_no_camera(machine):
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, OUTPUT)
    (found,) = virtual(machine)
    assert found.state == FINE and "video10 (Puppet)" in found.what and found.cure == ""
    assert "no camera is connected" in cameras(machine)[0].detail


def test_a_loopback_that_browsers_would_not_list_is_fine_and_says_so(machine):
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, CAPTURE | OUTPUT)
    (found,) = virtual(machine)
    assert (
        found.state == FINE
        and "browsers" in found.detail
        and found.cure == f"sudo modprobe -r v4l2loopback && {LOAD}"
    )


def test_a_loopback_that_another_program_feeds_is_a_camera_and_no_virtual_camera(machine):
    machine.device(10, "Phone", v4l2.LOOPBACK_DRIVER, CAPTURE, fed="YUYV:640x480@30")
    machine.pictures["webcam:10"] = CameraProbePicture(640, 480, 30.0)
    machine.opens(99, "phone-app", "dev/video10")
    assert cameras(machine)[0].state == FINE
    (found,) = virtual(machine)
    assert (
        found.state == MISSING and "phone-app (99)" in found.detail and found.cure == "close phone-app (99)"
    )
    machine.device(11, "Puppet", v4l2.LOOPBACK_DRIVER, OUTPUT)
    assert [(found.state, "Puppet" in found.what) for found in virtual(machine)] == [
        (FINE, True),
        (OPTIONAL, False),
    ]


def test_a_loopback_that_its_last_program_left_closed_has_to_be_loaded_again(machine):
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, CAPTURE)
    (found,) = virtual(machine)
    assert found.state == MISSING and found.cure == f"sudo modprobe -r v4l2loopback && {LOAD}"


def test_a_loopback_that_this_user_may_not_open_names_the_group_to_join(machine):
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, PermissionError(13, "Permission denied"))
    (found,) = virtual(machine)
    assert found.state == MISSING and "usermod -aG video" in found.cure


@pytest.mark.parametrize(
    ("files", "why", "cure"),
    [
        (
            ["sys/module/v4l2loopback/version"],
            "loaded, but without a device",
            f"sudo modprobe -r v4l2loopback && {LOAD}",
        ),
        (["lib/modules/6.1.0-test/updates/dkms/v4l2loopback.ko.xz"], "not loaded", LOAD),
        (
            ["lib/modules/5.0.0-old/updates/dkms/v4l2loopback.ko", "usr/src/v4l2loopback-0.12.7/x.c"],
            "not built for this kernel",
            f"sudo apt install linux-headers-6.1.0-test && sudo dkms autoinstall && {LOAD}",
        ),
        ([], "not installed", f"sudo apt install v4l2loopback-dkms && {LOAD}"),
    ],
)
def test_each_stage_of_getting_a_loopback_has_its_own_command(machine, files, why, cure):
    for path in files:
        machine.write(path)
    (found,) = virtual(machine)
    assert found.state == MISSING and why in found.detail and found.cure == cure


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("ID=manjaro\nID_LIKE=arch", "sudo pacman -S"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"', "sudo zypper install"),
        ("ID=fedora", "sudo dnf install"),
        ("ID=ubuntu\nID_LIKE=debian", "sudo apt install"),
    ],
)
def test_the_command_is_the_distributions_own(machine, release, command):
    machine.write("etc/os-release", release)
    assert virtual(machine)[0].cure.startswith(command) and virtual(machine)[0].cure.endswith(LOAD)


def test_on_macos_and_windows_the_virtual_camera_is_opened_as_in_a_call(machine, monkeypatch):
    def absent(*_):
        raise OutputError("There is no virtual camera.") from RuntimeError(
            "'obs' backend: OBS is not installed.\nand more"
        )

    monkeypatch.setattr("realtime.output.virtual_camera.VirtualCamera", absent)
    for name in ("Darwin", "Windows"):
        (found,) = virtual(machine, name)
        assert (
            found.state == MISSING
            and found.detail == "'obs' backend: OBS is not installed"
            and "OBS" in found.cure
        )


def test_a_busy_virtual_camera_has_to_be_freed_not_installed(machine, monkeypatch):
    def busy(*_):
        raise OutputBusy("It is in use: close that program.")

    monkeypatch.setattr("realtime.output.virtual_camera.VirtualCamera", busy)
    (found,) = virtual(machine, "Darwin")
    assert found.state == MISSING and "in use" in found.detail and "install" not in found.cure


def nvidia(machine: Machine, fault: str, monkeypatch, installed: tuple[str, ...] = ()) -> Finding:
    def gpu():
        raise EngineError(fault)

    monkeypatch.setattr("engines.runtime.load.gpu_backend", gpu)
    monkeypatch.setattr(engine_checks, "_installed", lambda name: name in installed)
    (found,) = engine_checks.gpu_findings(machine.system())
    assert found.state == OPTIONAL
    return found


def test_a_gpu_without_tensorrt_names_the_package_for_that_card(machine, monkeypatch):
    machine.answers["nvidia-smi"] = "NVIDIA GeForce RTX 4090, 8.9\n"
    found = nvidia(machine, "TensorRT is not installed.", monkeypatch)
    assert "GeForce RTX 4090" in found.what and found.cure == 'pip install -e ".[tensorrt-rtx]"'
    machine.answers["nvidia-smi"] = "NVIDIA H100 80GB HBM3, 9.0\n"
    assert nvidia(machine, "TensorRT is not installed.", monkeypatch).cure == 'pip install -e ".[tensorrt]"'
    found = nvidia(machine, "pip install cuda-bindings", monkeypatch, ("tensorrt",))
    assert found.cure == 'pip install -e ".[tensorrt]"' and "cuda-bindings" in found.detail


def test_a_gpu_is_found_by_its_driver_or_on_the_bus_where_nvidia_smi_is_missing(machine, monkeypatch):
    assert nvidia(machine, "none", monkeypatch).detail.startswith("no NVIDIA GPU")
    machine.write("sys/bus/pci/devices/0000:01:00.1/vendor", "0x10de\n")
    machine.write("sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n")  # its sound
    assert nvidia(machine, "none", monkeypatch).detail.startswith("no NVIDIA GPU")
    machine.write("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    machine.write("sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n")
    machine.write("etc/os-release", "NAME=Ubuntu\nID=ubuntu\n")
    assert nvidia(machine, "none", monkeypatch).cure.startswith("sudo ubuntu-drivers install")
    machine.write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA A100\nIRQ: 1\n")
    assert nvidia(machine, "none", monkeypatch).what == "GPU NVIDIA A100"


def test_a_gpu_too_old_for_tensorrt_gets_no_advice_to_install_it(machine, monkeypatch):
    machine.answers["nvidia-smi"] = "NVIDIA GeForce GTX 1080, 6.1\n"
    found = nvidia(machine, "TensorRT is not installed.", monkeypatch)
    assert "too old" in found.detail and found.cure == ""


def test_a_working_gpu_is_listed_with_its_library(machine, monkeypatch):
    class Gpu:
        def depends_on(self):
            return {
                "library": "tensorrt 10.9",
                "device": "NVIDIA L4",
                "capability": "8.9",
                "driver": "CUDA 13.0",
            }

    monkeypatch.setattr("engines.runtime.load.gpu_backend", Gpu)
    (found,) = engine_checks.gpu_findings(machine.system())
    assert found.state == FINE and found.what == "GPU NVIDIA L4" and "tensorrt 10.9" in found.detail


def test_a_tampered_bundle_and_a_wrong_face_model_are_reported_with_their_cures(tmp_path, monkeypatch):
    import shutil

    folder = tmp_path / "mine"
    shutil.copytree(ROOT / "engines" / "default", folder)
    assert [found.state for found in engine_checks.bundle_findings(str(folder))] == [FINE, FINE]
    with (folder / "generator.onnx").open("ab") as file:
        file.write(b"x")
    (found,) = engine_checks.bundle_findings(str(folder))
    assert found.state == MISSING and "SHA-256" in found.detail and "--engine default" in found.cure
    monkeypatch.setenv("PUPPET_FACE_MODEL", str(folder / "bundle.json"))
    (found,) = engine_checks.face_model_findings(Host())
    assert found.state == MISSING and "SHA-256" in found.detail and "PUPPET_FACE_MODEL" in found.cure


def test_missing_packages_and_other_versions_are_listed(monkeypatch):
    wanted = ["numpy>=2,<3", "opencv-python==0.0.1", "no-such-package==1"]
    monkeypatch.setattr(engine_checks, "_requirements", lambda: wanted)
    have, lack, other = engine_checks.package_findings(Host())
    assert (have.state, lack.state, other.state) == (FINE, MISSING, OPTIONAL)
    assert "numpy 2" in have.detail and "no-such-package" in lack.detail and "tested is 0.0.1" in other.detail
    assert lack.cure == "pip install -e ."


def test_engines_that_are_not_compiled_yet_are_listed_beside_the_one_that_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "empty"))
    found = list(engine_checks.engine_findings("default"))
    assert (
        found[0].state == FINE
        and "openvino-fp32" in found[0].what
        and "drew the shipped photo's smile" in found[0].detail
    )
    from engines.bundle import load_bundle
    from engines.runtime.load import targets

    better = [target.name for target in targets(load_bundle(), "cpu")][:-1]
    assert set(better) <= {finding.what.removeprefix("engine ") for finding in found[1:]}
    assert all(finding.state == OPTIONAL and "engines build" in finding.cure for finding in found[1:])


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="a folder that cannot be written needs POSIX")
def test_a_cache_that_cannot_be_written_is_reported_and_a_call_works_without(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "file" / "engines"))
    (found,) = engine_checks.cache_findings(Host())
    assert (
        found.state == OPTIONAL
        and "cannot be written" in found.detail
        and found.cure.startswith("export PUPPET_CACHE=")
    )


def test_a_check_that_fails_or_hangs_is_a_finding_and_keeps_what_it_found():
    def fails():
        yield Finding("x", "first", FINE, "seen")
        raise ZeroDivisionError("by what")

    def lacks():
        raise ImportError("libGL.so.1: cannot open shared object file")

    first, second = run_check("x", fails, 5)
    assert (
        first.detail == "seen" and second.state == MISSING and "ZeroDivisionError: by what" in second.detail
    )
    assert run_check("x", lacks, 5)[0].cure == "sudo apt install libgl1"
    started_s = time.perf_counter()
    (hung,) = run_check("x", lambda: time.sleep(3) or [], 0.2)
    assert (
        hung.state == MISSING
        and "no answer within 0.2 s" in hung.detail
        and time.perf_counter() - started_s < 2
    )


def replace_probe(monkeypatch, folder: Path, code: str) -> None:
    """The process that opens cameras runs this code."""
    package = folder / "realtime" / "diagnose"
    package.mkdir(parents=True)
    for init in (package.parent / "__init__.py", package / "__init__.py"):
        init.write_text("")
    (package / "camera_probe.py").write_text(code)
    monkeypatch.setattr(camera_probe, "ROOT", folder)
    monkeypatch.chdir(folder)


def test_a_camera_that_hangs_is_closed_at_the_deadline(tmp_path, monkeypatch):
    replace_probe(
        monkeypatch, tmp_path, "import time\ndef show(_): open('opened', 'w').close(); time.sleep(60)\n"
    )
    started_s = time.perf_counter()
    with pytest.raises(DriverError, match="no picture within 3 s"):
        camera_probe.first_picture("webcam", 3)
    assert time.perf_counter() - started_s < 10 and (tmp_path / "opened").exists()


def test_a_crash_of_the_camera_library_stays_in_its_process(tmp_path, monkeypatch):
    replace_probe(monkeypatch, tmp_path, "import os\ndef show(_): os.abort()\n")
    with pytest.raises(DriverError, match="failed"):
        camera_probe.first_picture("webcam", 20)


def test_a_camera_is_opened_as_a_call_opens_it_and_closed(monkeypatch, capsys):
    from tests.support.fakes import ScriptedDriver

    driver = ScriptedDriver(3, fps=30.0)
    monkeypatch.setattr("realtime.sources.camera.Camera", lambda camera: driver)
    camera_probe.show("webcam:1")
    assert (
        json.loads(capsys.readouterr().out) == {"width_px": 64, "height_px": 48, "fps": 30.0}
        and driver.closed
    )


def test_a_missing_camera_is_refused_with_the_message_of_a_call():
    with pytest.raises(DriverError, match="webcam:98"):
        camera_probe.first_picture("webcam:98", 60)


def judge(*states: tuple[str, str]) -> dict[str, bool]:
    drawn = [
        Finding(topic, topic, FINE, "")
        for topic in (engine_checks.BUNDLE, engine_checks.FACE_MODEL, engine_checks.ENGINE)
    ]
    return doctor.verdict([*drawn, *(Finding(topic, topic, state, "") for topic, state in states)])


def test_a_call_works_with_one_camera_and_one_place_for_the_pictures():
    assert judge(("camera", FINE), ("virtual camera", FINE))["works"]
    window = judge(
        ("camera", MISSING),
        ("camera", FINE),
        ("virtual camera", MISSING),
        ("window", FINE),
        ("GPU", OPTIONAL),
    )
    assert window["works"] and not window["virtual_camera"] and "window only" in doctor.sum_up(window)
    assert not judge(("camera", FINE), ("window", OPTIONAL))["works"]
    assert not judge(("virtual camera", FINE))["works"]
    assert not judge(("camera", FINE), ("virtual camera", FINE), ("face model", MISSING))["works"]
    assert not judge(("camera", FINE), ("virtual camera", FINE), ("engine", MISSING))["photo"]


def test_a_machine_that_has_everything_leaves_with_0(machine, capsys):
    machine.camera(0)
    machine.device(10, "Puppet", v4l2.LOOPBACK_DRIVER, OUTPUT)
    assert doctor_command.report("default", False, machine.system()) == 0
    printed = " ".join(
        capsys.readouterr().out.split()
    )  # as its lines are wrapped depends on where the files lie
    assert (
        printed.endswith("A call would work.")
        and "webcam:0 (HD Webcam)" in printed
        and "video10 (Puppet)" in printed
    )


def test_the_command_describes_this_machine_in_json_and_by_its_status():
    done = subprocess.run(
        [sys.executable, "run.py", "doctor", "--json"], capture_output=True, text=True, cwd=ROOT
    )
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["works"] else 1) and done.stderr == ""
    topics = {finding["topic"] for finding in report["findings"]}
    assert topics == {
        "packages",
        "bundle",
        "face model",
        "py-feat",
        "engine cache",
        "GPU",
        "engine",
        "camera",
        "virtual camera",
        "window",
    }
    assert report["photo"], "the default engine draws wherever the tests run"
    hashes = [
        f["detail"].removeprefix("SHA-256 ")
        for f in report["findings"]
        if f["topic"] in ("bundle", "face model")
    ]
    assert len(hashes) >= 2 and all(len(digest) == 64 for digest in hashes)
    if not Path("/sys/class/video4linux").exists() and sys.platform == "linux":
        assert not report["works"] and not report["camera"] and not report["virtual_camera"]
        assert all(f["cure"] for f in report["findings"] if f["topic"] in ("camera", "virtual camera"))


def test_the_command_works_on_a_machine_where_nothing_is_installed():
    code = """
import sys
for name in ("cv2", "numpy", "openvino"):
    sys.modules[name] = None
from realtime.commands import animate
sys.exit(animate.main(["doctor"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and done.stderr == "" and "Traceback" not in done.stdout
    assert "pip install -e ." in done.stdout and "a photo cannot be animated" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise there")
def test_a_closed_pipe_gets_no_traceback_and_the_status_is_still_right():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        command = [sys.executable, "run.py", "doctor", "--engine", "nowhere"]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 1 and done.stderr == ""


def test_a_wrong_bundle_or_option_is_reported_without_a_traceback(capsys, machine):
    with pytest.raises(SystemExit) as ended:
        animate.main(["doctor", "--nonsense"])
    assert ended.value.code == 2
    assert doctor_command.report("nowhere", False, machine.system()) == 1
    assert "There is no engine bundle at nowhere" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("installed", "weights", "state", "cure"),
    [
        (False, False, "optional", "[pyfeat]"),
        (True, False, "optional", "--pyfeat-weights download"),
        (True, True, "fine", ""),
    ],
)
def test_the_second_estimator_is_optional_and_each_missing_piece_has_its_command(
    machine, monkeypatch, tmp_path, installed, weights, state, cure
):
    def find():
        if not weights:
            raise EngineError("They are not here.")
        return tmp_path / "weights.safetensors"

    monkeypatch.setattr(engine_checks, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr("engines.face.pyfeat_weights.find_weights", find)
    (found,) = engine_checks.pyfeat_findings(machine.system())
    assert found.state == state and cure in found.cure
