"""`run.py doctor`: what this machine has for a call, and the command for each missing piece. The checks are in device_checks.py and engine_checks.py."""

import textwrap
from collections.abc import Iterable, Iterator

from realtime.diagnose import device_checks, engine_checks
from realtime.diagnose.camera_probe import ProbedHost
from realtime.diagnose.finding import FINE, MISSING, Finding, looked

WIDTH = 118  # columns: the longest word that must not be cut, a SHA-256, fits beside its name

# Seconds until a look counts as hung.
LOOK_S = 20.0  # a command takes five at most
CAMERAS_S = 60.0  # six that hang, each for as long as it may, and their modes
ENGINE_S = 90.0  # MediaPipe and OpenVINO from a cold disk take ten, a GPU's engine as much again


def examine(bundle: str = "default", system: ProbedHost | None = None) -> Iterator[Finding]:
    """Everything, look after look; each is told as soon as it is known."""
    system = system or ProbedHost()
    for topic, look, deadline_s in (
        (engine_checks.PACKAGES, lambda: engine_checks.package_findings(system), LOOK_S),
        (engine_checks.BUNDLE, lambda: engine_checks.bundle_findings(bundle), LOOK_S),
        (engine_checks.FACE_MODEL, lambda: engine_checks.face_model_findings(system), LOOK_S),
        (engine_checks.PYFEAT, lambda: engine_checks.pyfeat_findings(system), LOOK_S),
        (engine_checks.CACHE, lambda: engine_checks.cache_findings(system), LOOK_S),
        (engine_checks.GPU, lambda: engine_checks.gpu_findings(system), LOOK_S),
        (engine_checks.ENGINE, lambda: engine_checks.engine_findings(bundle), ENGINE_S),
        (device_checks.CAMERA, lambda: device_checks.camera_findings(system), CAMERAS_S),
        (device_checks.VIRTUAL, lambda: device_checks.virtual_findings(system), LOOK_S),
        (device_checks.WINDOW, lambda: device_checks.window_findings(system), LOOK_S),
    ):
        yield from looked(topic, look, deadline_s)


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


def tell(found: Finding) -> str:
    """One finding for people: what, what was seen, and below it what mends it."""
    indent = " " * 12
    line = f"  {found.state:<10}{found.what}: {found.detail}"
    told = textwrap.wrap(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    cure = [f"{indent}-> {found.cure}"] if found.cure else []  # on one line, to be copied
    return "\n".join([*told, *cure])


def sum_up(judged: dict[str, bool]) -> str:
    """The verdict as a sentence or two."""
    lacks = [
        sentence
        for need, sentence in (
            ("photo", "a photo cannot be animated"),
            ("camera", "no camera gives a picture"),
            ("output", "there is neither a virtual camera nor a screen"),
        )
        if not judged[need]
    ]
    if not lacks:
        return (
            "A call would work."
            if judged["virtual_camera"]
            else "A call would work in a window only: there is no virtual camera."
        )
    files = " Files work: python run.py --demo" if judged["photo"] else ""
    return f"A call would not work yet: {', and '.join(lacks)}.{files}"
