"""What the documents say of files, links, classes, commands and options is still so."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from realtime.controls import KEYS
from realtime.puppet.settings import shipped
from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
ARCHITECTURE, CALLS, PERFORMANCES = (
    ROOT / "docs" / f"{name}.md" for name in ("architecture", "calls", "performances")
)
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "engines" / "default" / "MODEL_CARD.md"]
LONGEST_README = 150  # lines, which a stranger reads in three minutes
PACKAGES = ("engines", "realtime", "train")
INLINE_CODE = re.compile(r"`([^`\n]+)`")
OWN_PATH = re.compile(r"(?<![\w/.])(?:engines|realtime|train|tests|docs|\.ci)/[\w./*-]*")
MADE_BY_THE_READER = {"engines/mine", "engines/NAME"}
COMMAND = re.compile(
    r"(?:python )?(?P<program>run\.py|-m engines|-m train|-m tests\.(?:soak|poses)|puppet)(?= )"
    r"(?P<rest>[^`]*)"
)
SUBCOMMANDS = {  # levels at most
    "run.py": 2,
    "puppet": 2,
    "-m engines": 1,
    "-m train": 1,
    "-m tests.soak": 0,
    "-m tests.poses": 0,
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
STEPS = {
    "run.py": (
        "",
        "render",
        "calibrate",
        "aus",
        "doctor",
        "c2pa",
        "consent",
        *(f"engines {step}" for step in ("parity", "bench")),
    ),
    "-m train": ("prepare", "fit", "export", "quantise", "evaluate", "figures", "compare", "throughput"),
}

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def code_blocks(text: str) -> list[str]:
    """Lines of indented code, also inside a list."""
    return [line.strip() for line in text.splitlines() if re.match(r" {4}\s*\S", line)]


def anchors(document: Path) -> set[str]:
    """What links to the headings of a document say after the #."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> list[tuple[str, str]]:
    """Commands of this project in a document: the program, and everything after it."""
    lines = [*code_blocks(text), *INLINE_CODE.findall(text)]
    parts = [part for line in lines for part in re.split(r"&&|\s#\s", line)]
    return [(found["program"], found["rest"]) for found in map(COMMAND.search, parts) if found]


@cache
def options_of(program: str, subcommand: tuple[str, ...]) -> frozenset[str]:
    """The options that `program subcommand --help` lists. Fails where there is no such subcommand."""
    start = ["run.py"] if program in ("run.py", "puppet") else program.split()
    done = subprocess.run(
        [sys.executable, *start, *subcommand, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, f"{program} {' '.join(subcommand)}: {done.stderr}"
    usage, _, _ = done.stdout.partition("\n\n")  # what follows may name other commands' options
    return frozenset({"--help", *OPTION.findall(usage)})


def test_readme_can_be_read_in_three_minutes():
    assert len(README.read_text().splitlines()) <= LONGEST_README


@each_document
def test_links_lead_to_files_and_headings_that_exist(document):
    for link in re.findall(r"\[[^\]]*\]\(([^)]+)\)", document.read_text()):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        target = Path(os.path.normpath(document.parent / name)) if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_document
def test_files_and_folders_that_are_named_exist(document):
    text = document.read_text()
    named = {
        path
        for code in [*code_blocks(text), *INLINE_CODE.findall(text)]
        for path in OWN_PATH.findall(code)
        if path not in MADE_BY_THE_READER
    }
    for path in named:
        assert any(ROOT.glob(path.rstrip("/"))), path


def test_map_of_the_architecture_names_modules_that_exist_in_their_package():
    rows = re.findall(
        r"^\| `((?:engines|realtime|train)/[\w/]*)` \| (.*) \|$", ARCHITECTURE.read_text(), re.MULTILINE
    )
    assert len(rows) > len(PACKAGES)
    for package, contents in rows:
        for module in re.findall(r"`(\w+\.py)`", contents):
            assert (ROOT / package / module).is_file(), f"{package}{module}"


def test_map_of_the_architecture_names_every_package():
    text = ARCHITECTURE.read_text()
    for package in PACKAGES:
        for module in (ROOT / package).rglob("__init__.py"):
            assert f"`{module.parent.relative_to(ROOT)}/`" in text, module.parent


def test_classes_that_the_architecture_names_exist():
    source = "\n".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    defined = set(re.findall(r"^class (\w+)", source, re.MULTILINE))
    named = re.findall(r"`([A-Z][a-z]+[A-Za-z0-9]*)(?:\.\w+)?(?:\([^`]*\))?`", ARCHITECTURE.read_text())
    assert len(set(named)) > 20
    assert set(named) <= defined, set(named) - defined


@each_document
def test_commands_take_the_options_that_are_shown(document):
    for program, rest in commands(document.read_text()):
        words = rest.split()
        subcommand = []
        while len(subcommand) < SUBCOMMANDS[program] and words and re.fullmatch(r"[a-z][a-z0-9]*", words[0]):
            subcommand.append(words.pop(0))
            if subcommand[0] != "engines":
                break
        known = options_of(program, tuple(subcommand))
        for option in OPTION.findall(" ".join(words)):
            assert option in known, f"{program}{rest}"


@each_document
def test_options_that_are_named_alone_exist(document):
    named = {
        option
        for code in INLINE_CODE.findall(document.read_text())
        if code.startswith("--")
        for option in OPTION.findall(code)
    }
    known = {
        option
        for program, steps in STEPS.items()
        for step in steps
        for option in options_of(program, tuple(step.split()))
    }
    assert named <= known, named - known


def test_every_key_of_a_call_is_listed():
    section = CALLS.read_text().partition("\n## Keys\n")[2].partition("\n## ")[0]
    listed = [
        name for row in re.findall(r"^\| (.+?) \|", section, re.MULTILINE) for name in re.split(r",? ", row)
    ]
    for key in KEYS:
        assert set(key.name.split(", ")) <= set(listed), key.name


def test_every_preset_that_ships_is_listed():
    text = PERFORMANCES.read_text()
    for preset in shipped():
        assert f"\n| `{preset}` |" in text, preset
