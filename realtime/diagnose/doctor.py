"""`run.py doctor`: what this machine has for a call, and the command for each missing piece. The looks are in devices.py and equipment.py."""

import argparse
import json
import platform
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from realtime.devices.host import Host
from realtime.diagnose import device_checks, engine_checks
from realtime.diagnose.finding import FINE, MISSING, Finding, looked
from realtime.process.exit_status import close_standard_output

MANUAL = """\
What this machine has for a call, and for each missing piece the command that mends it. Each camera is opened for one picture;
nothing else is started, nothing is installed, and nothing leaves this machine.

A call works where a photo can be animated (the bundle, the face model and an engine, tried on a shipped photo), a camera gives a
picture, and there is a virtual camera or at least a screen for a window.
"""
STATUSES = "exit status  0 a call would work   1 it would not   2 wrong command line   130 stopped by Ctrl-C"
WIDTH = 118  # columns: the longest word that must not be cut, a SHA-256, fits beside its name

# Seconds until a look counts as hung.
LOOK_S = 20.0  # a command takes five at most
CAMERAS_S = 60.0  # six that hang, each for as long as it may, and their modes
ENGINE_S = 90.0  # MediaPipe and OpenVINO from a cold disk take ten, a GPU's engine as much again


def examine(bundle: str = "default", system: Host | None = None) -> Iterator[Finding]:
    """Everything, look after look; each is told as soon as it is known."""
    system = system or Host()
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
            topic in fine and topic not in bad for topic in (engine_checks.BUNDLE, engine_checks.FACE_MODEL, engine_checks.ENGINE)
        ),
        "camera": device_checks.CAMERA in fine,  # one is enough
        "output": bool({device_checks.VIRTUAL, device_checks.WINDOW} & fine),
    }
    return {"works": all(needs.values()), **needs, "virtual_camera": device_checks.VIRTUAL in fine}


def tell(found: Finding) -> str:
    """One finding for people: what, what was seen, and below it what mends it."""
    indent = " " * 12
    line = f"  {found.state:<10}{found.what}: {found.detail}"
    told = textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
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
        return "A call would work." if judged["virtual_camera"] else "A call would work in a window only: there is no virtual camera."
    files = " Files work: python run.py --demo" if judged["photo"] else ""
    return f"A call would not work yet: {', and '.join(lacks)}.{files}"


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError:  # nobody reads on; the exit status is still right
        close_standard_output()


def main(arguments: list[str] | None = None, program: str = "python -m realtime.diagnose.doctor", system: Host | None = None) -> int:
    parser = argparse.ArgumentParser(program, description=MANUAL, epilog=STATUSES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="default", metavar="BUNDLE", help="the engine bundle that the call would be started with")
    parser.add_argument("--json", action="store_true", help="for programs: one object on standard output")
    options = parser.parse_args(arguments)
    machine = f"{platform.system()} {platform.release()} {platform.machine()}"
    found: list[Finding] = []
    try:
        if not options.json:
            _print(f"{machine}\n")
        for finding in examine(options.engine, system):
            found.append(finding)
            if not options.json:
                _print(tell(finding))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    judged = verdict(found)
    if options.json:
        _print(json.dumps({**judged, "system": machine, "findings": [asdict(finding) for finding in found]}, indent=1))
    else:
        _print(f"\n{sum_up(judged)}")
    return 0 if judged["works"] else 1


if __name__ == "__main__":
    sys.exit(main())
