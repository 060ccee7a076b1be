"""The command line as a person uses it.

Whole runs, and everything that can be wrong with what it is given.
"""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from engines.face.action_units import EXPRESSION, HEAD_FULL_DEG, opposites
from engines.face.au_estimator import index
from realtime.commands import animate
from realtime.performance.driver_spec import load_driver_spec, parse_parts
from realtime.performance.load import load_curve
from realtime.process import program
from tests.conftest import SAMPLES
from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
PHOTO, CURVE, CLIP = str(SAMPLES / "man.jpg"), str(SAMPLES / "smile.csv"), str(SAMPLES / "driver.mp4")


def attempt(capsys, *arguments: str) -> tuple[int, str]:
    """Runs the command line; returns the exit status and what it said on standard error."""
    status = animate.main([str(a) for a in arguments])
    return status, capsys.readouterr().err


def refused(capsys, status: int, *arguments: str) -> str:
    """One sentence, the expected exit status, no traceback."""
    got, said = attempt(capsys, *arguments)
    last = said.strip().splitlines()[-1]
    assert got == status, said
    assert last.startswith("run.py: ") and "Traceback" not in said
    return last


def read_video(path: Path) -> tuple[list[np.ndarray], av.VideoStream]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        info = stream.codec_context.name, stream.pix_fmt, float(stream.average_rate)
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(stream)], info


def test_a_photo_and_a_curve_become_a_video_that_browsers_play(tmp_path, capsys):
    out, sheet = tmp_path / "puppet.mp4", tmp_path / "sheet.png"
    status, said = attempt(
        capsys,
        "--source",
        PHOTO,
        "--driver",
        CURVE,
        "--output",
        out,
        "--sheet",
        sheet,
        "--size",
        "480x360",
        "--fps",
        "20",
    )
    assert status == 0 and str(out) in said and str(sheet) in said
    images, (codec, pixels, fps) = read_video(out)
    assert (codec, pixels, fps) == ("h264", "yuv420p", 20.0)
    assert 48 <= len(images) <= 56 and images[0].shape == (360, 480, 3)
    moved = [float(np.abs(image.astype(int) - images[0]).mean()) for image in images]
    assert max(moved) > 4 * moved[1] and max(moved) > 0.5, "the face moves"
    assert cv2.imread(str(sheet)).shape[1] == 6 * 240
    header = out.read_bytes()[:4096]
    assert b"moov" in header, "the index stands first, for players that stream"
    assert list(tmp_path.glob(".*part*")) == []


def test_a_clip_drives_a_photo_and_is_recorded(tmp_path, capsys):
    first, take = tmp_path / "first.mp4", tmp_path / "take.csv"
    assert (
        attempt(
            capsys,
            "--source",
            PHOTO,
            "--driver",
            SAMPLES / "surprise.csv",
            "--output",
            first,
            "--size",
            "480x480",
            "--fps",
            "15",
        )[0]
        == 0
    )
    status, _ = attempt(
        capsys,
        "--source",
        SAMPLES / "woman.jpg",
        "--driver",
        first,
        "--output",
        "none",
        "--record",
        take,
        "--size",
        "320x320",
    )
    assert status == 0
    from engines.face.au_estimator import ESTIMATED
    from realtime.performance.load import load_curve

    assert take.read_text().splitlines()[0].split(",") == ["time_s", *ESTIMATED]
    asked, came = (
        [load_curve(path).at(t)[ESTIMATED.index("AU26")] for t in np.arange(0, 3, 0.1)]
        for path in (SAMPLES / "surprise.csv", take)
    )
    assert np.corrcoef(asked, came)[0, 1] > 0.6, "the jaw came through two puppets"


def test_a_picture_drives_a_photo(tmp_path, capsys):
    out = tmp_path / "still.mp4"
    status, _ = attempt(
        capsys,
        "--source",
        PHOTO,
        "--driver",
        SAMPLES / "woman.jpg",
        "--output",
        out,
        "--seconds",
        "0.5",
        "--size",
        "256x256",
    )
    assert status == 0 and len(read_video(out)[0]) == 15


def test_live_into_a_file_keeps_the_clock(tmp_path, capsys):
    """A live run: a curve into a file alone would be drawn offline, so there is a fake virtual camera."""
    import pyvirtualcam

    sent = []

    class Double:
        def __init__(self, *, device: str | None = None, **_more: object):
            self._device = device or "double"

        def device(self) -> str:
            return self._device

        def native_fourcc(self) -> None:
            return None

        def send(self, frame: np.ndarray) -> None:
            sent.append(frame.size)

        def close(self) -> None:
            pass

    pyvirtualcam.register_backend("double", Double)
    try:
        status, said = attempt(
            capsys,
            "--source",
            PHOTO,
            "--driver",
            CURVE,
            "--output",
            "vcam",
            "--output",
            tmp_path / "live.mp4",
            "--seconds",
            "2",
        )
    finally:
        pyvirtualcam.camera.BACKENDS.pop("double", None)
    assert status == 0, said
    assert len(sent) >= 30 and set(sent) == {1280 * 720 * 3}
    with av.open(str(tmp_path / "live.mp4")) as container:
        times_s = [frame.time for frame in container.decode(video=0)]
    assert len(times_s) >= 30 and times_s[-1] == pytest.approx(2.0, abs=0.4), (
        "ticks left out do not speed it up"
    )


def test_the_benchmark_measures_every_stage(tmp_path, capsys):
    report = tmp_path / "bench.json"
    assert animate.main(["--benchmark", "--seconds", "1", "--driver", PHOTO, "--json", str(report)]) == 0
    table, result = capsys.readouterr().out, json.loads(report.read_text())
    assert "p95" in table and "Peak memory" in table
    for part in ("throughput", "delay"):
        assert result[part]["fps"] > 1
        assert {"capture", "track", "estimate", "render", "send", "capture to output"} <= set(
            result[part]["stages"]
        )
    costs = result["core_ms_by_stage"]
    assert costs["landmarks"] > 1 and costs["generator"] > 1 and min(costs.values()) >= 0
    assert "generator" in table and "core-ms a picture" in table
    assert result["machine"]["cores"] >= 1 and result["versions"]["openvino"]


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda p: None, "no photo"),
        (lambda p: p.write_bytes(b""), "0 bytes"),
        (lambda p: p.write_bytes(Path(PHOTO).read_bytes()[:20000]), "damaged or cut short"),
        (lambda p: p.write_bytes(b"hello" * 1000), "not a picture"),
        (lambda p: Image.new("RGB", (400, 300), (90, 120, 90)).save(p), "No face"),
    ],
)
def test_a_photo_that_cannot_be_used_is_refused(tmp_path, capsys, make, fragment):
    path = tmp_path / "face.jpg"
    make(path)
    assert fragment in refused(capsys, 3, "--source", path, "--driver", CURVE, "--output", "none")


@pytest.mark.parametrize("kind", ["exif", "alpha", "grey", "sixteen bit", "palette", "cmyk"])
def test_photos_of_every_kind_are_read_upright(tmp_path, kind):
    from engines.face.photo import load_photo

    original = Image.open(PHOTO)
    path = tmp_path / "face.png"
    if kind == "exif":
        path = tmp_path / "face.jpg"
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was held sideways
        original.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    elif kind == "alpha":
        image = original.convert("RGBA")
        image.putalpha(Image.new("L", image.size, 255))
        image.save(path)
    elif kind == "sixteen bit":
        Image.fromarray(np.asarray(original.convert("L")).astype(np.uint16) * 256).save(path)
    elif kind == "cmyk":
        path = tmp_path / "face.jpg"
        original.convert("CMYK").save(path, quality=95)
    else:
        original.convert("L" if kind == "grey" else "P").save(path)
    loaded, expected = load_photo(path), load_photo(PHOTO)
    assert loaded.shape == expected.shape and loaded.dtype == np.uint8
    assert (
        np.abs(
            cv2.cvtColor(loaded, cv2.COLOR_BGR2GRAY).astype(int) - cv2.cvtColor(expected, cv2.COLOR_BGR2GRAY)
        ).mean()
        < 12
    )


def test_fifty_megapixels_work(tmp_path, capsys):
    path = tmp_path / "huge.jpg"
    Image.open(PHOTO).resize((7100, 7100)).save(path, quality=60)
    assert (
        attempt(capsys, "--source", path, "--driver", CURVE, "--output", "none", "--seconds", "0.2")[0] == 0
    )


def test_two_faces_the_larger_is_taken_and_it_says_so(tmp_path, capsys):
    photo = Image.open(PHOTO)
    both = Image.new("RGB", (photo.width + 400, photo.height))
    both.paste(photo, (0, 0))
    both.paste(photo.resize((400, 400)), (photo.width, 0))
    both.save(tmp_path / "two.png")
    status, said = attempt(
        capsys, "--source", tmp_path / "two.png", "--driver", CURVE, "--output", "none", "--seconds", "0.2"
    )
    assert status == 0 and "2 faces" in said


@pytest.mark.parametrize(
    "driver", ["missing.mp4", "missing.jpg", "/dev/video97", "webcam:97", "webcam:No Such Camera"]
)
def test_a_missing_driver_is_refused(capsys, driver):
    refused(capsys, 4, "--source", PHOTO, "--driver", driver, "--output", "none")


def test_no_camera_says_what_to_drive_with_instead(capsys):
    if Path("/dev/video0").exists():
        pytest.skip("this machine has a camera at /dev/video0")
    assert "clip.mp4" in refused(capsys, 4, "--source", PHOTO, "--driver", "webcam", "--output", "none")


def test_a_clip_that_is_no_video_is_refused(tmp_path, capsys):
    (tmp_path / "clip.mp4").write_bytes(b"nothing" * 500)
    assert "not a video" in refused(
        capsys, 4, "--source", PHOTO, "--driver", tmp_path / "clip.mp4", "--output", "none"
    )


def test_a_missing_curve_is_refused(capsys):
    refused(capsys, 5, "--source", PHOTO, "--driver", "missing.csv", "--output", "none")


def test_a_broken_curve_is_refused_before_anything_is_written(tmp_path, capsys):
    (tmp_path / "curve.csv").write_text("time_s,AU12\n0,0\n1,2\n")
    out = tmp_path / "out.mp4"
    out.write_bytes(b"precious")
    assert "line 3" in refused(
        capsys, 5, "--source", PHOTO, "--driver", tmp_path / "curve.csv", "--output", out
    )
    assert out.read_bytes() == b"precious"


def test_an_engine_that_is_missing_or_spoilt_is_refused(tmp_path, capsys):
    assert "default" in refused(
        capsys, 6, "--source", PHOTO, "--driver", CURVE, "--output", "none", "--engine", "nowhere"
    )
    refused(capsys, 6, "--source", PHOTO, "--driver", CURVE, "--output", "none", "--device", "abacus")


@pytest.mark.parametrize("output", ["no/such/folder/out.mp4", "out.gif", "/proc/out.mp4"])
def test_an_output_that_cannot_be_written_is_refused(capsys, output):
    refused(capsys, 7, "--source", PHOTO, "--driver", CURVE, "--output", output)


def test_no_virtual_camera_says_how_to_get_one_and_what_works_now(capsys):
    said = refused(capsys, 7, "--source", PHOTO, "--driver", CURVE, "--output", "vcam")
    assert "--output out.mp4" in said and any(remedy in said for remedy in ("v4l2loopback", "OBS"))


@pytest.mark.parametrize(
    "option",
    [
        ("--sheet", "no/folder/x.png"),
        ("--sheet", "x.xyz"),
        ("--record", "no/folder/x.csv"),
        ("--record", "."),
    ],
)
def test_other_files_that_cannot_be_written_are_refused(tmp_path, capsys, option):
    refused(capsys, 7, "--source", PHOTO, "--driver", CURVE, "--output", "none", *option)


def test_what_is_read_is_never_overwritten(tmp_path, capsys):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"precious")
    assert "over what is read" in refused(capsys, 7, "--source", PHOTO, "--driver", clip, "--output", clip)
    assert "over what is read" in refused(
        capsys, 7, "--source", PHOTO, "--driver", SAMPLES / "woman.jpg", "--output", SAMPLES / "woman.jpg"
    )
    assert clip.read_bytes() == b"precious"
    (tmp_path / "photos").mkdir()
    other = tmp_path / "photos" / "other.png"
    other.write_bytes(b"precious")
    assert "over what is read" in refused(
        capsys, 7, "--source", other.parent, "--driver", CURVE, "--output", "none", "--sheet", other
    )


def test_no_photo_of_a_folder_is_written_over(tmp_path, capsys):
    for name in ("ann.jpg", "bob.jpg"):
        (tmp_path / name).write_bytes(Path(PHOTO).read_bytes())
    sheet = tmp_path / "bob.jpg"
    sentence = refused(
        capsys, 7, "--source", tmp_path, "--driver", CURVE, "--output", "none", "--sheet", sheet
    )
    assert "over what is read" in sentence and sheet.read_bytes() == Path(PHOTO).read_bytes()


def test_one_file_is_not_written_twice(tmp_path, capsys):
    out = tmp_path / "a.mp4"
    assert "twice" in refused(
        capsys, 7, "--source", PHOTO, "--driver", CURVE, "--output", out, "--output", out
    )
    take = tmp_path / "take.csv"
    take.write_text(Path(CURVE).read_text())
    assert "over what is read" in refused(
        capsys, 7, "--source", PHOTO, "--driver", take, "--output", "none", "--record", take
    )
    assert take.read_text() == Path(CURVE).read_text()


def test_a_clip_without_a_face_is_refused_and_replaces_no_file(tmp_path, capsys):
    clip, out = tmp_path / "wall.mp4", tmp_path / "out.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(12):
            container.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(np.full((240, 320, 3), 90, np.uint8), format="bgr24")
                )
            )
        container.mux(stream.encode(None))
    others = {"--output": out, "--record": tmp_path / "take.csv", "--sheet": tmp_path / "sheet.png"}
    for earlier in others.values():
        earlier.write_bytes(b"precious")
    options = [argument for option in others.items() for argument in option]
    assert "No face" in refused(capsys, 4, "--source", PHOTO, "--driver", clip, *options)
    assert [earlier.read_bytes() for earlier in others.values()] == [b"precious"] * 3 and len(
        list(tmp_path.iterdir())
    ) == 4


def test_the_landmarker_is_cut_off_from_the_network():
    """Its wheel carries a usage logger; what it would say goes to a port where nothing listens."""
    import os

    from engines.face.landmarks import DEAD_PROXY, FaceReader

    with FaceReader():
        assert {os.environ[name] for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY")} == {
            DEAD_PROXY
        }
        assert os.environ["no_proxy"] == ""


def test_no_screen_for_a_window_is_refused(capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert "no screen" in refused(capsys, 7, "--source", PHOTO, "--driver", CURVE, "--output", "window")


def test_another_face_model_than_the_pinned_one_is_refused(tmp_path, capsys):
    (tmp_path / "face_landmarker.task").write_bytes(b"not the one")
    assert "not the pinned one" in refused(
        capsys, 6, "--demo", "--face-model", tmp_path / "face_landmarker.task"
    )
    assert "--face-model" in refused(capsys, 6, "--demo", "--face-model", tmp_path / "missing.task")


def test_a_wrong_size_is_refused(capsys):
    assert "--size" in refused(
        capsys, 2, "--source", PHOTO, "--driver", CURVE, "--output", "none", "--size", "huge"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--source", PHOTO],
        ["--demo", "--fps", "0"],
        ["--demo", "--json", "x"],
        ["--benchmark", "--sound"],
    ],
)
def test_a_wrong_command_line_is_explained(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        animate.main(arguments)
    assert caught.value.code == 2 and "usage" in capsys.readouterr().err


def test_demo_moves_head_and_eyes_beside_its_expressions_and_ends():
    demo = load_driver_spec(parse_parts(animate.DEMO_DRIVERS)).performance
    shown = np.array([demo.at(time_s) for time_s in np.arange(0, demo.duration_s, 0.25)])
    turn, nod, _, _, aside, up = np.ptp(opposites(shown), axis=0)
    assert 30 < demo.duration_s < 90 and np.ptp(shown[:, EXPRESSION.index("AU25")]) > 0.5
    assert min(turn, nod) * HEAD_FULL_DEG > 5 and min(aside, up) > 0.5


def test_a_clip_that_is_left_before_its_end_is_closed_without_complaints():
    command = [sys.executable, "run.py", "--source", PHOTO, "--driver", CLIP, "--seconds", "0.2"]
    command += ["--size", "64x64", "--output", "none"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S)
    assert done.returncode == 0 and "pictures in" in done.stderr
    assert "Exception ignored" not in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.mark.slow
def test_ctrl_c_finishes_the_file(tmp_path):
    """A real process, a real signal: what was drawn is a playable video."""
    import signal
    import time

    out = tmp_path / "out.mp4"
    command = [
        sys.executable,
        str(ROOT / "run.py"),
        "--source",
        PHOTO,
        "--driver",
        str(SAMPLES / "everything.csv"),
        "--output",
        str(out),
        "--size",
        "320x240",
    ]

    def receive_ctrl_c() -> None:
        """A shell's background jobs ignore it, and so do their children."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, preexec_fn=receive_ctrl_c
    )
    partial = tmp_path / ".out.mp4.part.mp4"
    deadline = time.time() + 60
    while (
        not (partial.exists() and partial.stat().st_size > 2000)
        and process.poll() is None
        and time.time() < deadline
    ):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said and "finishing" in said
    assert len(read_video(out)[0]) > 5


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise there")
@pytest.mark.parametrize("arguments", [["--print-config"], ["engines", "list"], ["aus", PHOTO]])
def test_a_reader_that_closes_its_pipe_is_no_defect(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        command = [sys.executable, "run.py", *map(str, arguments)]
        done = subprocess.run(
            command,
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            timeout=PATIENCE_S,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    assert done.returncode == 0 and done.stderr == ""


def test_ctrl_c_while_modules_are_imported_leaves_no_traceback(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(animate, "main", interrupted)
    with pytest.raises(SystemExit) as left:
        animate.script(program.CLONE)
    assert left.value.code == 130


def test_help_reads_without_loading_anything_heavy():
    code = """
import sys
from realtime.commands import animate
try:
    animate.main(["--help"])
except SystemExit:
    pass
print([name for name in ("cv2", "openvino", "mediapipe", "torch") if name in sys.modules])
"""
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    assert said.strip().endswith("[]") and "--driver webcam" in said and "exit status" in said


@pytest.mark.slow
def test_curves_are_laid_over_a_clip_and_over_one_another(tmp_path, capsys):
    """The clip moves the rest of the face; the curves their own parts of it, as the recording shows."""
    brows = tmp_path / "brows.json"
    brows.write_text('{"version": 1, "keyframes": [{"time_s": 0, "AU01": 0.7, "AU12": 1}]}')
    take = tmp_path / "take.csv"
    drivers = ["--driver", CLIP, "--driver", f"{brows}:brows", "--driver", f"{CURVE}:AU25+AU26@speed=2"]
    assert (
        animate.main(
            [
                "--source",
                PHOTO,
                *drivers,
                "--output",
                "none",
                "--record",
                str(take),
                "--size",
                "64x64",
                "--seconds",
                "2",
            ]
        )
        == 0
    )
    recorded, clip = load_curve(take), load_curve(CURVE)
    assert recorded.at(1.0)[index(["AU01"])] == pytest.approx(0.7, abs=1e-6)
    assert recorded.at(1.0)[index(["AU25", "AU26"])] == pytest.approx(
        clip.at(2.0)[index(["AU25", "AU26"])], abs=1e-6
    )
    assert recorded.at(1.9)[index(["AU12"])].max() < 0.99, "a curve drives the AUs that it names only"
    said = capsys.readouterr().err
    assert "brows.json:brows" in said and f"wrote {take}" in said


@pytest.mark.parametrize(
    ("drivers", "fragment"),
    [
        ([CURVE, CLIP], "name it first"),
        ([CURVE, CURVE], "name the AUs that it drives"),
        ([f"{CURVE}:nose"], "no group"),
    ],
)
def test_drivers_that_contradict_one_another_are_refused(capsys, drivers, fragment):
    assert fragment in refused(
        capsys,
        5,
        "--source",
        PHOTO,
        *[part for driver in drivers for part in ("--driver", driver)],
        "--output",
        "none",
    )


@pytest.mark.parametrize(
    "wrong",
    [("--page=http",), ("--page=0",), ("--page=70000",), ("--page", "--demo")],
)
def test_a_page_that_cannot_be_is_refused(capsys, wrong):
    with pytest.raises(SystemExit, match="2"):
        animate.main(list(wrong))
    assert "page" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_with_another_to_name(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(capsys, 7, f"--page={taken.getsockname()[1]}", "--no-browser")
    assert "cannot be served" in said and "--page=8178" in said


def test_without_any_option_the_page_opens(monkeypatch):
    opened = []
    monkeypatch.setattr(
        animate, "play_page", lambda config, options, _: opened.append((config, options)) or 0
    )
    assert animate.main([]) == 0
    config, options = opened[0]
    assert options.page == "" and config.source == "" and "everything.csv" in config.drivers[0]
    with pytest.raises(SystemExit, match="2"):
        animate.main(["--driver", CURVE])


@pytest.mark.slow
def test_a_page_is_served_while_the_puppet_plays_and_gone_after_it(tmp_path):
    command = [sys.executable, "run.py", "--page", "--no-browser", "--seconds", "1", "--size", "320x240"]
    environment = os.environ | {"PUPPET_SETTINGS": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:(\d+)/#\S{40,}", line)
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=10)
        connection.request("GET", "/")
        assert b"Expression Puppet" in connection.getresponse().read(), "before there is a picture"
        connection.close()
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert "driven by" in said and "into page" in said.replace("vcam, ", "") and "Traceback" not in said
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address[1])), timeout=2)


@pytest.mark.slow
def test_what_a_page_costs_is_measured_beside_a_call_without_one(tmp_path, capsys):
    kept = tmp_path / "page.json"
    options = "--benchmark --page --seconds 0.5 --size 320x240 --json".split()
    status = animate.main([*options, str(kept)])
    said = capsys.readouterr().out
    page = json.loads(kept.read_text())["page"]
    assert status == 0 and "A page that is looked at" in said and "counted alone" in said
    assert page["with"].keys() == page["without"].keys() and 0 < page["core_ms_a_picture"] < 20
