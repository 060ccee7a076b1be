"""An output through a symbolic link: the link stays, and the file that it names is written."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from engines.face.action_units import EXPRESSION
from realtime.output.live_recording import LiveRecording
from realtime.output.video_file import VideoFile
from realtime.performance.curve_writer import CurveWriter

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
PICTURE = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize("kind", [VideoFile, LiveRecording])
@pytest.mark.parametrize("target", ["there.mp4", "no suffix"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_video_is_written_where_its_link_leads(tmp_path, kind, target, exists):
    (tmp_path / "disk").mkdir()
    there = tmp_path / "disk" / target
    if exists:
        there.write_bytes(b"earlier")
    link = tmp_path / "out.mp4"
    link.symlink_to(there)
    video = kind(link, (64, 64), 10)
    for number in range(3):
        video.send(PICTURE, number / 10)
    video.close()
    assert link.is_symlink() and os.listdir(there.parent) == [target]
    with av.open(str(there), format="mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 3


def test_a_recorded_curve_is_written_where_its_link_leads(tmp_path):
    there = Path(tmp_path / "there.csv")
    link = tmp_path / "take.csv"
    link.symlink_to(there)
    with CurveWriter(link) as record:
        record.add(np.zeros(len(EXPRESSION), np.float32), 0.0)
    assert link.is_symlink() and there.read_text().startswith("time_s,")
