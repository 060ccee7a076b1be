"""`run.py c2pa`: a certificate of one's own for signed statements, and what a file's signature says."""

import argparse
from pathlib import Path

from realtime.commands.command_parser import CommandParser
from realtime.process.exit_status import outcome
from realtime.process.log import say

MANUAL = """\
Every picture and video that is written says that it was made with a trained model. With a certificate that
is signed as well (C2PA), so that a change can be noticed. It wants `pip install -e '.[c2pa]'`.

  python run.py c2pa init                      makes a key and a certificate of your own, once
  python run.py c2pa show puppet.mp4           what the signature of a file says

The certificate is yours alone: readers show that the file is unchanged, and that they do not know the signer.
The key stays in the settings folder and is readable by you alone. Nothing is asked of a network.
"""
STATUSES = """\
exit status  0 done; for show: every signature is whole   1 for show: one is missing or broken
             2 wrong command line, or a certificate that cannot be made   7 a file that cannot be read
"""
DEFAULT_NAME = "Somebody with an Expression Puppet"


def configure(parser: CommandParser) -> None:
    parser.explain(MANUAL, STATUSES)
    parser.add_argument("step", choices=("init", "show"), help="what to do")
    parser.add_argument("files", nargs="*", metavar="FILE", help="with show: pictures and videos")
    parser.add_argument(
        "--name",
        default=DEFAULT_NAME,
        help="with init: whom the certificate names; whoever has a file reads it",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="with init: make another certificate in the place of the old one",
    )
    parser.set_defaults(run=lambda options: run(parser, options))


def run(parser: CommandParser, options: argparse.Namespace) -> int:
    """Returns the exit status. Raises SystemExit(2) for a wrong command line."""
    if (options.step == "show") != bool(options.files):
        parser.error("show wants the names of files, and init wants none")
    if options.step == "init":
        return outcome(lambda _: _init(options.name, options.replace), parser.prog)
    return outcome(lambda _: _show([Path(name) for name in options.files]), parser.prog)


def _init(name: str, replace: bool) -> int:
    from realtime.output.signatures import make_certificate

    path = make_certificate(name, replace)
    say(f"wrote {path}: pictures and videos are signed from now on, for {name!r}")
    return 0


def _show(paths: list[Path]) -> int:
    """Prints a line for each file. Raises OutputError."""
    from realtime.output.signatures import read_signature

    whole = True
    for path in paths:
        signature = read_signature(path)
        if signature is None:
            print(f"{path}: not signed")
        elif signature.state == "Invalid":
            print(f"{path}: changed after it was signed ({', '.join(signature.problems)})")
        else:
            print(f"{path}: unchanged since {signature.signer} signed it: {signature.source_type}")
        whole = whole and signature is not None and signature.state != "Invalid"
    return 0 if whole else 1
