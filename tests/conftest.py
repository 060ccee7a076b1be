"""What several tests need: recorded faces, the shipped photo, the shipped engine."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.face.landmarks import Face

SAMPLES = Path(__file__).parent.parent / "realtime" / "samples"


@pytest.fixture(scope="session", autouse=True)
def engine_cache(tmp_path_factory):
    """Compiled engines of a test run are its own, and what the user has compiled is neither used nor
    touched."""
    folder = tmp_path_factory.mktemp("cache") / "engines"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUPPET_CACHE", str(folder))
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
