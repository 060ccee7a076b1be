"""Which package may import which, where heavy libraries are wrapped, and what the live path does without."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_train_and_realtime_never_meet_and_engines_knows_neither():
    for room, forbidden in (
        ("train", {"realtime"}),
        ("realtime", {"train"}),
        ("engines", {"train", "realtime"}),
    ):
        for path in (ROOT / room).rglob("*.py"):
            assert not imports(path) & forbidden, path


def test_each_heavy_library_has_one_door():
    doors = {
        "mediapipe": {"engines/face/landmarks.py"},
        "onnxruntime": {"engines/backends/onnxruntime.py"},
        "pyvirtualcam": {"realtime/output/virtual_camera.py"},
        "torch": {"train", "engines/face/pyfeat.py"},
        "feat": {"engines/face/pyfeat.py"},
        "openvino": {"engines/backends/openvino.py", "train"},
        "tensorrt": {"engines/backends/tensorrt.py", "train/export/torch_tensorrt.py"},
        "tensorrt_rtx": {"engines/backends/tensorrt.py"},
        "torch_tensorrt": {"train/export/torch_tensorrt.py"},
        "cuda": {"engines/backends/cuda.py"},
        "onnx": {"engines/backends/fp16_graph.py", "train"},
        "nncf": {"train/export/int8_search.py"},
        "c2pa": {"realtime/output/signatures.py"},
        "pythonosc": {"realtime/vmc.py"},
    }
    for path in [
        *(ROOT / "engines").rglob("*.py"),
        *(ROOT / "realtime").rglob("*.py"),
        *(ROOT / "train").rglob("*.py"),
        ROOT / "run.py",
    ]:
        place = str(path.relative_to(ROOT))
        for library in imports(path) & set(doors):
            assert place in doors[library] or place.split("/")[0] in doors[library], (
                f"{place} imports {library}"
            )


@pytest.mark.slow
def test_the_live_path_needs_no_pytorch():
    code = (
        "import sys; sys.modules['torch'] = None; "
        "from realtime.commands import animate; sys.exit(animate.main(sys.argv[1:]))"
    )
    sample = ROOT / "realtime" / "samples"
    command = [
        sys.executable,
        "-c",
        code,
        "--source",
        str(sample / "man.jpg"),
        "--driver",
        str(sample / "smile.csv"),
        "--output",
        "none",
        "--seconds",
        "0.2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_clips_are_read_by_pyav_alone_and_opencv_opens_cameras_only():
    """cv2.VideoCapture takes a damaged frame for the end of a clip, and a header's rate for its own."""
    places = [*sorted((ROOT / "tests").rglob("*.py")), *sorted(ROOT.glob("*.py"))]
    for room in ("engines", "realtime", "train"):
        places += sorted((ROOT / room).rglob("*.py"))
    using = {
        path.relative_to(ROOT).as_posix()
        for path in places
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name | ast.alias)
        and getattr(node, "attr", getattr(node, "id", getattr(node, "name", ""))) == "VideoCapture"
    }
    assert using == {"realtime/sources/camera.py"}
    decoding = {"engines/video", "realtime/audio", "realtime/output", "train/report/animation.py", "tests"}
    for path in places:
        place = path.relative_to(ROOT).as_posix()
        assert "av" not in imports(path) or any(place.startswith(known) for known in decoding), place


def test_no_module_has_a_name_that_says_nothing():
    for package in ("engines", "realtime", "train"):
        for path in (ROOT / package).rglob("*.py"):
            assert path.stem not in {"utils", "helpers", "common", "core", "manager", "base"}, path


def test_nothing_is_pickled():
    for path in ROOT.rglob("*.py"):
        inside = path.relative_to(ROOT).parts
        if inside[0] != "tests" and not inside[0].startswith("."):  # README's .venv is not the project's code
            assert not imports(path) & {"pickle", "dill", "joblib"}, path
            assert "torch.load(" not in path.read_text(), path
