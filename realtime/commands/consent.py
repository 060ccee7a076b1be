"""`run.py consent`: what was answered about whose photos are animated."""

import argparse

from realtime.commands.command_parser import CommandParser
from realtime.process.exit_status import outcome

MANUAL = """\
The first time a photo is animated it is asked whose it is: yours, of somebody who agreed, or of nobody. The
answer is kept with the date, by the SHA-256 of the photo's file, and never leaves this machine.

  python run.py consent list                                       what was answered, and when
  python run.py --source face.jpg --consent agreed --driver ...    answers, for scripts
"""
STATUSES = "exit status  0 done   2 wrong command line, or answers that cannot be read"
HASH_DIGITS = 12


def configure(parser: CommandParser) -> None:
    parser.explain(MANUAL, STATUSES)
    parser.add_argument("step", choices=("list",), help="what to do")
    parser.set_defaults(run=lambda options: run(parser, options))


def run(parser: CommandParser, options: argparse.Namespace) -> int:
    """Returns the exit status."""
    return outcome(lambda _: _list(), parser.prog)


def _list() -> int:
    """Prints a line for each photo, the latest answer last. Raises SettingsError."""
    from realtime.session.consent import consent_file, load

    consents = load()
    for key, consent in sorted(consents.items(), key=lambda item: item[1].date):
        print(f"{consent.date}  {consent.answer:7}{key[:HASH_DIGITS]}  {consent.name}")
    if not consents:
        print(f"no photo was asked about yet; answers are kept in {consent_file()}")
    return 0
