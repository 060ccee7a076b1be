"""Damaged files of every kind: no traceback, no hang, no great memory, and a status of the table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engines.errors import PuppetError
from tests.support import damaged_files

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

LIMIT_S = 20.0  # of one file
LIMIT_MB = 1500
PLACES = st.floats(0, 1, exclude_max=True)
EDITS = st.lists(
    st.tuples(st.sampled_from(damaged_files.EDITS), PLACES, st.binary(min_size=1, max_size=16)),
    min_size=1,
    max_size=4,
)
SEEDS = damaged_files.seeds()
SLOW_SEEDS = {f"clip.{suffix}" for suffix in ("mkv", "webm", "avi", "flv", "wmv", "gif", "png")}


@pytest.mark.parametrize(
    "name",
    [name if name not in SLOW_SEEDS else pytest.param(name, marks=pytest.mark.slow) for name in SEEDS],
)
def test_a_damaged_file_is_read_or_refused_in_a_sentence(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("damaged")

    @hypothesis.settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @hypothesis.given(EDITS)
    def read(edits):
        path = folder / name
        path.write_bytes(damaged_files.damaged(SEEDS[name], edits))
        try:
            damaged_files.load(path)
        except PuppetError as error:
            assert str(path.parent) in str(error) and "\n" not in str(error).replace(r"\n", "")

    read()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_thousands_of_damaged_files_take_neither_the_time_nor_the_memory(seed):
    command = [sys.executable, "-m", "tests.support.damaged_files", str(seed), "2000"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=LIMIT_S * 20
    )
    result = json.loads(done.stdout)
    assert not result["faults"] and result["count"] == 2000
    assert "Traceback" not in done.stderr
    assert result["slowest_s"] < LIMIT_S and result["peak_mb"] < LIMIT_MB
    assert result["ends"]["read"] > 50 and result["ends"]["refused"] > 50
