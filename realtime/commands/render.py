"""`run.py render`: takes and photos in, a video for each pair of them out. The engine is loaded once, a photo is prepared once."""

import argparse

from realtime.commands import settings_options
from realtime.commands.options import add_engine, add_look, check_numbers, choose_face_model
from realtime.process.exit_status import outcome
from realtime.process.shutdown import ShutdownHandler

MANUAL = """\
Draws photos as they perform takes: every take by every photo, one video each.

  run.py render take.csv face.jpg out.mp4
  run.py render take.csv photos/*.jpg videos/                     videos/NAME.mp4 for each photo
  run.py render hello.csv bye.csv ann.jpg bob.jpg videos/         videos/ann-hello.mp4, and so on
  run.py render hello.csv bye.csv ann.jpg bob.jpg "{take}-with-{photo}.mkv"
  run.py render talk.csv@speed=0.8 face.jpg out.mp4 --over blinks.json:eyes

takes     curves as --record writes them (CSV), or keyframes (JSON); TAKE@from=2@to=5, TAKE@speed=0.8, TAKE@duration=10, TAKE@loop play
          a part, slower, for ten seconds, for ever (then say --seconds)
photos    pictures, or folders of them
last      a video (.mp4, .mov, .mkv), a folder, which is made where there is none, or a pattern with {photo} and {take} in it
"""
STATUSES = """\
A photo that cannot be used is told, and the others go on. The same take, photo, options and machine give the same video.

exit status  0 all were drawn   1 a defect of this program   2 wrong command line   3 a photo   5 a take   6 engine   7 an output
             130 stopped by Ctrl-C: finished videos stay, the one being drawn is thrown away
"""


def main(arguments: list[str] | None = None, program: str = "run.py render") -> int:
    options = parse(arguments, program)
    return outcome(lambda ending: render(options, ending), program, options.verbose)


def parse(arguments: list[str] | None, program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        program, description=MANUAL, epilog=STATUSES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="TAKE.csv ... PHOTO ... OUT", help="what performs what, and where it goes"
    )
    parser.add_argument(
        "--over",
        metavar="TAKE.csv:GROUP",
        action="append",
        default=[],
        help="a curve over every take, for a group of AUs",
    )
    add_look(parser, "default: the photo's own", "default 30")
    settings_options.add_options(parser)
    add_engine(parser)
    options = parser.parse_intermixed_args(arguments)
    check_numbers(parser, options)
    if not options.print_config and len(options.names) < 3:
        parser.error("name a take, a photo and a video, in this order: take.csv face.jpg out.mp4")
    return options


def render(options: argparse.Namespace, ending: ShutdownHandler) -> int:
    """Draws all of it; returns the exit status. Raises PuppetError before anything is drawn, KeyboardInterrupt."""
    options.settings = settings_options.chosen(options)
    if options.print_config:
        print(options.settings.toml())
        return 0
    choose_face_model(options.face_model)
    from realtime.session.batch import draw_all, plan

    return draw_all(plan(options.names, options.sheet, options.over), options, ending)
