"""What several tests need: recorded faces, the shipped photo, the shipped engine."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.face.landmarks import Face

# Two processes run tests: PyTorch with as many threads as there are cores, in each, waits for itself
os.environ.setdefault("OMP_NUM_THREADS", "1")

SAMPLES = Path(__file__).parent.parent / "realtime" / "samples"

# Modules whose tests go by the wall clock: one process runs them, one after the other, so that they do not
# take each other's processor.
BY_THE_CLOCK = {
    "tests/engines/runtime/test_benchmark.py",
    "tests/engines/runtime/test_failover.py",
    "tests/realtime/audio/test_av_sync.py",
    "tests/realtime/calibration/test_lesson.py",
    "tests/realtime/commands/test_animate.py",
    "tests/realtime/output/test_live_recording.py",
    "tests/realtime/output/test_virtual_camera.py",
    "tests/realtime/output/test_window.py",
    "tests/realtime/page/test_attacks.py",
    "tests/realtime/page/test_browser.py",
    "tests/realtime/page/test_calibration.py",
    "tests/realtime/page/test_choices.py",
    "tests/realtime/page/test_page.py",
    "tests/realtime/process/test_shutdown.py",
    "tests/realtime/process/test_terminal_keys.py",
    "tests/realtime/session/test_controls.py",
    "tests/realtime/session/test_live_loop.py",
    "tests/realtime/session/test_output_clock.py",
    "tests/realtime/session/test_trackers.py",
    "tests/realtime/sources/test_network_tracker.py",
    "tests/realtime/sources/test_reconnecting_camera.py",
    "tests/realtime/tracking/test_estimator_fusion.py",
    "tests/vm/test_watch.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.split("::")[0] in BY_THE_CLOCK:
            item.add_marker(pytest.mark.xdist_group("clock"))


@pytest.fixture(scope="session", autouse=True)
def engine_cache(tmp_path_factory):
    """Compiled engines of a test run are its own, and what the user has compiled is neither used nor
    touched."""
    folder = tmp_path_factory.mktemp("cache") / "engines"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUPPET_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def settings_folder(tmp_path_factory):
    """What a test run keeps for good is its own, and what the user has kept is neither used nor touched."""
    folder = tmp_path_factory.mktemp("settings") / "expression-puppet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUPPET_SETTINGS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def recorded() -> dict[str, Face]:
    """MediaPipe's landmarks and blendshapes of five synthetic faces: neutral, open, grin, smile, glasses."""
    stored = np.load(Path(__file__).parent / "data" / "recorded_faces.npz", allow_pickle=False)
    return {
        str(n): Face(m[:, :2], m[:, 2], b)
        for n, m, b in zip(stored["names"], stored["mesh"], stored["blendshapes"], strict=True)
    }


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    from engines.face.photo import load_photo

    return load_photo(SAMPLES / "man.jpg")


@pytest.fixture(scope="session")
def engine():
    from engines.runtime.load import load

    return load("default")


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory):
    """The shipped photos, prepared, with an unreadable and a faceless picture among them."""
    faces, out = tmp_path_factory.mktemp("faces"), tmp_path_factory.mktemp("corpus")
    for path in SAMPLES.glob("*.jpg"):
        shutil.copy(path, faces)
    (faces / "broken.jpg").write_bytes(b"no picture")
    cv2.imwrite(str(faces / "wall.png"), np.full((300, 300, 3), 120, np.uint8))
    from train.data.prepare import prepare

    prepare([faces], out, size_px=64, workers=1)
    return out


@pytest.fixture(scope="session")
def corpus(corpus_folder):
    from train.data.corpus import load_corpus

    return load_corpus([corpus_folder])
