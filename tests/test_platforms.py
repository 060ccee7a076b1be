"""The lock file holds all that the program installs, at versions that pyproject.toml allows, with hashes."""

import re
import tomllib
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import platforms

ROOT = platforms.ROOT


@pytest.fixture(scope="module")
def locked() -> dict[str, str]:
    """Version by name; lines look like `name==1.2 ; marker \\` and are followed by hashes."""
    lines = platforms.LOCK.read_text().splitlines()
    return {
        canonicalize_name(found[1]): found[2]
        for line in lines
        if (found := re.match(r"([\w.-]+)==([^\s;]+)", line))
    }


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"]]


def test_every_version_that_is_locked_is_one_that_is_allowed(locked):
    for wanted in declared():
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), wanted


def test_whatever_is_installed_with_the_program_is_locked(locked):
    waiting, seen = [wanted.name for wanted in declared()], set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        needs = [Requirement(line) for line in requires(name) or []]
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    assert len(seen) > 20 and seen <= locked.keys(), seen - locked.keys()


def test_every_locked_package_has_hashes_and_no_address():
    text = platforms.LOCK.read_text()
    packages = re.split(r"(?m)^(?=[\w.-]+==)", text)[1:]
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in text and "/root" not in text


def test_what_lacks_a_wheel_is_named(monkeypatch):
    said = (
        "error: No solution found when resolving dependencies\n  cause: Because av>=17.0.0,<=18.1.0 has no "
        "usable wheels and only the following versions of av are available:\n      av<=18.1.0\n"
    )

    def answer(status: int, text: str):
        done = platforms.subprocess.CompletedProcess([], status, "", text)
        monkeypatch.setattr(platforms, "_uv", lambda *_: done)
        return platforms.missing(platforms.SYSTEMS[0], "3.12")

    assert answer(1, said) == "av"
    assert answer(1, said.replace("av>=17.0.0,<=18.1.0 has no usable", "openvino==1 has no")) == "openvino"
    assert answer(0, "") is None
    with pytest.raises(RuntimeError, match="no route"):
        answer(2, "error: no route to the index")


def test_readme_names_the_same_systems():
    text = (ROOT / "README.md").read_text()
    for python in (platforms.SUPPORTED_PYTHONS[0], platforms.SUPPORTED_PYTHONS[-1]):
        assert python in text
    assert "macOS 14" in text and "macOS 13+" not in text
    bounds = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert Requirement(f"python{bounds}").specifier.contains("3.14.9")
    assert not Requirement(f"python{bounds}").specifier.contains("3.15.0")
