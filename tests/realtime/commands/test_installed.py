"""The package as `pip install .` leaves it, away from the clone.

The console script, and the data that it needs.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import av
import pytest

pytestmark = pytest.mark.slow  # builds a wheel
ROOT = Path(__file__).parents[3]
PACKAGED = ("pyproject.toml", "README.md", "LICENSE", "engines", "realtime", "train")


@pytest.fixture(scope="module")
def puppet(tmp_path_factory):
    """Runs the installed console script in an empty folder; a function of its arguments."""
    if find_spec("setuptools") is None:
        pytest.skip("setuptools builds the package: pip install -e '.[test]'")
    tree, site, empty = (tmp_path_factory.mktemp(name) for name in ("tree", "site", "empty"))
    for name in PACKAGED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", site, tree], check=True, capture_output=True, timeout=300)
    shutil.rmtree(tree)

    def run(*arguments: str) -> subprocess.CompletedProcess:
        script = shutil.which("puppet", path=str(site / "bin"))
        command = [sys.executable, script, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        return subprocess.run(
            command, cwd=empty, env=environment, capture_output=True, text=True, timeout=300
        )

    run.folder = empty
    return run


def test_the_installed_script_draws_the_demo_in_any_folder(puppet):
    done = puppet("--demo", "--seconds", "0.2", "--size", "96x96")
    assert done.returncode == 0, done.stderr
    with av.open(str(puppet.folder / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6
    assert (puppet.folder / "out.png").stat().st_size > 0


def test_the_installed_script_has_the_presets_and_the_engine_bundle(puppet):
    assert puppet("--preset", "lively", "--print-config").returncode == 0
    listed = puppet("engines", "list")
    assert listed.returncode == 0, listed.stderr


def test_the_installed_script_names_itself_in_its_help_and_in_messages(puppet):
    shown = puppet("--help").stdout
    assert "puppet --demo" in shown and "run.py" not in shown
    advised = puppet("doctor").stdout
    assert "puppet" in advised and "run.py" not in advised
    refused = puppet("--source", "missing.jpg", "--driver", "smile.csv")
    assert refused.returncode != 0 and refused.stderr.startswith("puppet: ")


def test_the_installed_script_has_the_pages_files(puppet):
    done = puppet("--page", "--no-browser", "--seconds", "0.2", "--size", "96x96")
    assert done.returncode == 0 and "The page is at http://127.0.0.1:" in done.stderr, done.stderr
