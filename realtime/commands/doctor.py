"""`run.py doctor`: what this machine lacks for a call."""

import json
import platform
import sys
from dataclasses import asdict

from realtime.commands.command_parser import CommandParser
from realtime.diagnose.camera_probe import ProbedHost
from realtime.diagnose.doctor import describe, examine, sum_up, verdict
from realtime.diagnose.finding import Finding
from realtime.process.exit_status import close_standard_output

MANUAL = """\
What this machine has for a call, and for each missing piece the command that mends it. Each camera is opened
for one picture; nothing else is started, nothing is installed, and nothing leaves this machine.

A call works where a photo can be animated (the bundle, the face model and an engine, tried on a shipped
photo), a camera gives a picture, and there is a virtual camera or at least a screen for a window.
"""
STATUSES = "exit status  0 a call would work   1 it would not   2 wrong command line   130 stopped by Ctrl-C"


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError:  # its reader has gone; the exit status is still right
        close_standard_output()


def configure(parser: CommandParser) -> None:
    parser.explain(MANUAL, STATUSES)
    parser.add_argument(
        "--engine",
        default="default",
        metavar="BUNDLE",
        help="the engine bundle that the call would be started with",
    )
    parser.add_argument("--json", action="store_true", help="for programs: one object on standard output")
    parser.set_defaults(run=lambda options: report(options.engine, options.json))


def report(engine: str, as_json: bool, system: ProbedHost | None = None) -> int:
    """Prints what this machine has and lacks; returns the exit status.

    Args:
        engine: the bundle that is tried.
        as_json: one object for programs, instead of lines.
        system: the machine that is examined; None: this one.
    """
    machine = f"{platform.system()} {platform.release()} {platform.machine()}"
    found: list[Finding] = []
    try:
        if not as_json:
            _print(f"{machine}\n")
        for finding in examine(engine, system):
            found.append(finding)
            if not as_json:
                _print(describe(finding))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    judged = verdict(found)
    if as_json:
        findings = [asdict(finding) for finding in found]
        _print(json.dumps({**judged, "system": machine, "findings": findings}, indent=1))
    else:
        _print(f"\n{sum_up(judged)}")
    return 0 if judged["works"] else 1
