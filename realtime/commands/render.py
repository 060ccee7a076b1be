"""`run.py render`: takes and photos in, a video for each pair of them out.

The engine is loaded once, and each photo is prepared once.
"""

import argparse

from realtime.commands import settings_options
from realtime.commands.command_parser import CommandParser
from realtime.commands.options import OPTIONS, add_engine, add_look, add_sheet, check_numbers, drawing
from realtime.process.exit_status import outcome
from realtime.process.shutdown import ShutdownHandler

MANUAL = """\
Draws photos as they perform takes: every take by every photo, one video each.

  run.py render take.csv face.jpg out.mp4
  run.py render take.csv photos/*.jpg videos/                     videos/NAME.mp4 for each photo
  run.py render hello.csv bye.csv ann.jpg bob.jpg videos/         videos/ann-hello.mp4, and so on
  run.py render hello.csv bye.csv ann.jpg bob.jpg "{take}-with-{photo}.mkv"
  run.py render talk.csv@speed=0.8 face.jpg out.mp4 --over blinks.json:eyes
  run.py render clip.mp4 photos/*.jpg videos/                     with the clip's sound; --no-sound without

takes     curves as --record writes them (CSV), keyframes (JSON) or clips; TAKE@from=2@to=5, TAKE@speed=0.8,
          TAKE@duration=10, TAKE@loop play a part, slower, for ten seconds, for ever (then with --seconds;
          a clip is played once)
photos    pictures, or folders of them
last      a video (.mp4, .mov, .mkv), a folder, which is made where there is none, or a pattern with {photo}
          and {take} in it
"""
STATUSES = """\
A photo that cannot be used is reported, and the others go on. The same take, photo, options and machine give
the same video.

exit status  0 all were drawn   1 a defect of this program   2 wrong command line   3 a photo   4 a clip
             5 a curve   6 engine   7 an output
             130 stopped by Ctrl-C: finished videos stay, the one being drawn is deleted
"""


def configure(parser: CommandParser) -> None:
    parser.explain(MANUAL, STATUSES)
    parser.add_argument(
        "names", nargs="*", metavar="TAKE ... PHOTO ... OUT", help="what performs what, and where it goes"
    )
    parser.add_argument(
        "--over",
        metavar="TAKE.csv:GROUP",
        action="append",
        default=[],
        help="a curve over every take, for a group of AUs",
    )
    parser.add_argument(
        "--progress",
        action="store_true",
        help="print how far it is on standard output, a line of JSON at a time, for programs",
    )
    add_sheet(parser)
    add_look(parser, "default: the photo's own", "default 30, for clips their own")
    settings_options.add_options(parser)
    add_engine(parser)
    parser.set_defaults(run=lambda options: run(parser, options))


def run(parser: CommandParser, options: argparse.Namespace) -> int:
    """What the options ask for; returns the exit status. Raises SystemExit(2) for a wrong command line."""
    check_numbers(parser, options)
    if not options.print_config and len(options.names) < 3:
        parser.error("name a take, a photo and a video, in this order: take.csv face.jpg out.mp4")
    return outcome(lambda shutdown: render(options, shutdown), parser.prog, options.verbose, OPTIONS)


def render(options: argparse.Namespace, shutdown: ShutdownHandler) -> int:
    """Draws all videos; returns the exit status.

    Raises PuppetError before anything is drawn, KeyboardInterrupt.
    """
    settings = settings_options.chosen(options)
    if options.print_config:
        print(settings.toml())
        return 0
    from realtime.session.batch import draw_all
    from realtime.session.config import BatchConfig

    names, over = tuple(options.names), tuple(options.over)
    config = BatchConfig(names=names, over=over, progress=options.progress, **drawing(options, settings))
    return draw_all(config, shutdown)
