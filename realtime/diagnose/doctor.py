"""What this machine has for a call, and the command for each missing piece: all checks, and the verdict."""

import textwrap
from collections.abc import Iterable, Iterator

from realtime.diagnose import device_checks, engine_checks
from realtime.diagnose.camera_probe import ProbedHost
from realtime.diagnose.finding import FINE, MISSING, Finding, run_check
from realtime.process.program import in_shell

WIDTH = 118  # columns: a SHA-256, the longest word that must not be broken, fits beside its name
INDENT = " " * 12

# Seconds until a check counts as hung.
CHECK_S = 20.0  # a command takes five at most
CAMERAS_S = 60.0  # six that hang, each up to its timeout, and their modes
ENGINE_S = 90.0  # MediaPipe and OpenVINO from a cold disk take ten, a GPU's engine as much again


def examine(bundle: str = "default", host: ProbedHost | None = None) -> Iterator[Finding]:
    """Runs all checks; yields each finding as soon as its check has ended.

    Args:
        bundle: the engine bundle that the call would be started with.
        host: this machine by default.
    """
    host = host or ProbedHost()
    for topic, check, timeout_s in (
        (engine_checks.PACKAGES, lambda: engine_checks.package_findings(host), CHECK_S),
        (engine_checks.BUNDLE, lambda: engine_checks.bundle_findings(bundle), CHECK_S),
        (engine_checks.FACE_MODEL, lambda: engine_checks.face_model_findings(host), CHECK_S),
        (engine_checks.PYFEAT, lambda: engine_checks.pyfeat_findings(host), CHECK_S),
        (engine_checks.CACHE, lambda: engine_checks.cache_findings(host), CHECK_S),
        (engine_checks.GPU, lambda: engine_checks.gpu_findings(host), CHECK_S),
        (engine_checks.ENGINE, lambda: engine_checks.engine_findings(bundle), ENGINE_S),
        (device_checks.CAMERA, lambda: device_checks.camera_findings(host), CAMERAS_S),
        (device_checks.VIRTUAL, lambda: device_checks.virtual_findings(host), CHECK_S),
        (device_checks.WINDOW, lambda: device_checks.window_findings(host), CHECK_S),
    ):
        yield from run_check(topic, check, timeout_s)


def verdict(findings: Iterable[Finding]) -> dict[str, bool]:
    """The three things that a call needs, and whether it works."""
    findings = list(findings)
    fine = {found.topic for found in findings if found.state == FINE}
    bad = {found.topic for found in findings if found.state == MISSING}
    needs = {
        "photo": all(
            topic in fine and topic not in bad
            for topic in (engine_checks.BUNDLE, engine_checks.FACE_MODEL, engine_checks.ENGINE)
        ),
        "camera": device_checks.CAMERA in fine,  # one is enough
        "output": bool({device_checks.VIRTUAL, device_checks.WINDOW} & fine),
    }
    return {"works": all(needs.values()), **needs, "virtual_camera": device_checks.VIRTUAL in fine}


def describe(found: Finding) -> str:
    """One finding for the user: what, what was found, and below it what mends it."""
    line = f"  {found.state:<10}{found.what}: {found.detail}"
    lines = textwrap.wrap(
        line, WIDTH, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False
    )
    if found.cure:
        lines.append(f"{INDENT}-> {found.cure}")  # on one line, to be copied
    return "\n".join(lines)


def sum_up(needs: dict[str, bool]) -> str:
    """The verdict as a sentence or two."""
    lacks = [
        clause
        for need, clause in (
            ("photo", "a photo cannot be animated"),
            ("camera", "no camera gives a picture"),
            ("output", "there is neither a virtual camera nor a screen"),
        )
        if not needs[need]
    ]
    if lacks:
        files = f" Files work: {in_shell('--demo')}" if needs["photo"] else ""
        return f"A call would not work yet: {', and '.join(lacks)}.{files}"
    if needs["virtual_camera"]:
        return "A call would work."
    return "A call would work in a window only: there is no virtual camera."
