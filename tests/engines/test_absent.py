"""Parts of libraries that are left out of their imports: they can be imported afterwards."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPENVINO = """
import sys
from engines.backends.openvino import ov
assert "openvino.tools.ovc" not in sys.modules
from openvino.tools.ovc import convert_model
assert callable(convert_model) and ov.Core
"""
MEDIAPIPE = """
import sys
from engines.face.landmarks import UNUSED, FaceReader
FaceReader().close()
assert not set(UNUSED) & set(sys.modules)
from matplotlib import pyplot
assert pyplot.figure and sys.modules["matplotlib"].__version__
"""


@pytest.mark.parametrize(
    "script", [OPENVINO, MEDIAPIPE], ids=["OpenVINO's converter", "MediaPipe's drawings"]
)
def test_a_library_is_imported_without_a_part_which_can_be_imported_afterwards(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
