"""What several tests need: recorded faces, the shipped photo, the shipped engine."""

from pathlib import Path

import numpy as np
import pytest

from engines.face import Face

SAMPLES = Path(__file__).parent.parent / "realtime" / "samples"


@pytest.fixture(scope="session")
def recorded() -> dict[str, Face]:
    """Landmarks and blendshapes of five faces of nobody, as MediaPipe gave them: neutral, open, grin, smile, glasses."""
    stored = np.load(Path(__file__).with_name("recorded_faces.npz"), allow_pickle=False)
    return {str(n): Face(m[:, :2], m[:, 2], b) for n, m, b in zip(stored["names"], stored["mesh"], stored["blendshapes"], strict=True)}


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    from realtime.photo import load_photo

    return load_photo(SAMPLES / "man.jpg")


@pytest.fixture(scope="session")
def engine():
    from engines.backends import load

    return load("default")
