"""On which systems and Pythons the program installs from wheels alone, and the versions that were tested.

    python -m tests.platforms           # resolves for each system and prints a table; 1 where README is wrong
    python -m tests.platforms --lock    # writes docs/locked.txt anew: every package with its hashes

uv resolves for a system without being on it, by the package index' metadata: pip install uv
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "docs" / "locked.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
SUPPORTED_PYTHONS = PYTHONS[:-1]


@dataclass(frozen=True)
class System:
    """A kind of machine, by uv's name of it."""

    name: str
    platform: str
    supported: bool
    macos: str | None = None  # release


SYSTEMS = (
    System("Linux x86_64, glibc 2.28 or newer", "x86_64-manylinux_2_28", True),
    System("Linux aarch64, glibc 2.35 or newer", "aarch64-manylinux_2_35", True),
    System("Windows x64", "x86_64-pc-windows-msvc", True),
    System("macOS 14 or newer, Apple silicon", "aarch64-apple-darwin", True, macos="14.0"),
    System("macOS 13, Apple silicon", "aarch64-apple-darwin", False, macos="13.0"),
    System("Linux aarch64, glibc 2.34", "aarch64-manylinux_2_34", False),
    System("macOS 14, Intel", "x86_64-apple-darwin", False, macos="14.0"),
    System("Windows on Arm", "aarch64-pc-windows-msvc", False),
)


def missing(system: System, python: str) -> str | None:
    """The package that has no wheel for a system and Python; None where everything has.

    Raises RuntimeError when uv could not find out.
    """
    target = ["--python-platform", system.platform, "--python-version", python]
    answer = _uv(["pyproject.toml", *target, "--only-binary", ":all:"], system.macos)
    if answer.returncode == 0:
        return None
    lacking = re.search(r"Because ([\w.-]+?)[=<>]\S* .*?has no (usable )?wheels", answer.stderr, re.DOTALL)
    if lacking is None:
        raise RuntimeError(answer.stderr.strip())
    return lacking[1]


def write_lock() -> None:
    """Resolves for every system and Python together, with the hash of each file."""
    options = ["--universal", "--python-version", PYTHONS[0], "--generate-hashes", "--no-annotate"]
    answer = _uv(["pyproject.toml", *options, "--only-binary", ":all:"], macos="14.0")
    if answer.returncode:
        raise RuntimeError(answer.stderr.strip())
    head = (
        "# The versions that were tested: pip install --require-hashes -r docs/locked.txt && pip install "
        "--no-deps .\n# Written by python -m tests.platforms --lock\n"
    )
    LOCK.write_text(head + answer.stdout)


def _uv(arguments: list[str], macos: str | None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"MACOSX_DEPLOYMENT_TARGET": macos} if macos else {})
    command = ["uv", "pip", "compile", *arguments, "--no-header", "--quiet", "--color", "never"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def print_table() -> bool:
    """Prints which package is missing where; whether it is as README says."""
    as_said = True
    print(f"| | {' | '.join(PYTHONS)} |\n|---|{'---|' * len(PYTHONS)}")
    for system in SYSTEMS:
        cells = []
        for python in PYTHONS:
            lacks = missing(system, python)
            as_said &= (lacks is None) == (system.supported and python in SUPPORTED_PYTHONS)
            cells.append("yes" if lacks is None else f"no {lacks}")
        print(f"| {system.name} | {' | '.join(cells)} |", flush=True)
    return as_said


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.platforms", description=__doc__.split("\n\n")[0])
    parser.add_argument("--lock", action="store_true", help=f"write {LOCK.relative_to(ROOT)} anew")
    options = parser.parse_args()
    if shutil.which("uv") is None:
        print("uv is missing, which resolves for other systems: pip install uv", file=sys.stderr)
        return 2
    try:
        if options.lock:
            write_lock()
            return 0
        return 0 if print_table() else 1
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
