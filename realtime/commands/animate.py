"""The command line: `python run.py` in a clone, `puppet` where it is installed. `--help` is its manual.

Without a command it animates a photo; the commands are modules beside this one, each loaded when it is
chosen.
"""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from realtime.commands.command_parser import CommandParser
from realtime.commands.options import OPTIONS
from realtime.process import program
from realtime.process.exit_status import close_standard_output, outcome
from realtime.process.log import say
from realtime.process.shutdown import STOPPED, ShutdownHandler, leave

if TYPE_CHECKING:  # its module loads NumPy
    from realtime.session.config import SessionConfig

OF_A_PAGE = (
    "browser",
    "profile",
)  # what of the options that ask for something only says how a page is played
NO_PAGE = "--page shows a live run: leave out "
SAMPLES = Path(__file__).parents[1] / "samples"
DEMO_PHOTO = SAMPLES / "woman.jpg"
DEMO_DRIVERS = (str(SAMPLES / "everything.csv"), f"{SAMPLES / 'look.csv'}:head+gaze@loop")
BENCHMARK_DRIVER = SAMPLES / "driver.mp4"
BENCHMARK_SIZE = (1280, 720)
BENCHMARK_S = 10.0  # of each pass

COMMANDS = {  # name -> what it does; its module has `configure(parser)`
    "render": "one video for each of several photos",
    "calibrate": "learn your own range, for --profile",
    "aus": "the AUs of clips and pictures, as a table",
    "doctor": "what this machine lacks for a call",
    "consent": "what was answered about who is in the photos",
    "c2pa": "sign what is written: a certificate of your own, and what a signature says",
    "engines": "the engines that were compiled for this machine",
}

MANUAL = """\
One photo of a face comes alive: it takes on the expression of its driver.

  python run.py --demo                                     a shipped photo and performance -> out.mp4, out.png
  python run.py --source face.jpg --driver webcam          you, into the virtual camera (and a preview)
  python run.py --source face.jpg --driver clip.mp4 --output puppet.mp4
  python run.py --source face.jpg --driver smile.csv --output window --output puppet.mp4
  python run.py --page                                     play it from a page in the browser
  python run.py --benchmark                                how fast this machine does all of it
  python run.py render take.csv photos/*.jpg videos/       one video for each photo
  python run.py calibrate                                  twenty seconds before the camera, for --profile me
  python run.py aus clip.mp4 --csv clip.csv                the AUs of a clip or a picture; --plot draws them
  python run.py doctor                                     what this machine lacks for a call
  python run.py engines list | build | verify | clear      what was compiled for this machine
  python run.py consent list                               what was answered about who is in the photos
  python run.py c2pa init                                  a certificate: what is written is signed by it
  python run.py render --help                              the manual of a command

drivers   webcam | webcam:1 | webcam:NAME | /dev/video2
              look straight and at rest for the first second: that is your neutral
          clip.mp4 | picture.jpg
              one face in it; a clip's first second is its neutral
          ifacialmocap | livelink | vmc, each also :PORT or :ADDRESS:PORT
              a phone's tracker or a program, at 127.0.0.1 unless an address is named (0.0.0.0: any)
          curve.csv | keyframes.json
              columns time_s and AUs (AU25, AU12, or a side: AU12L), values -1 to 1
          curve.csv@from=2@to=5@speed=0.8@loop
              a part of it, slower, for ever; @duration=10 stretches it; a clip has all of these but @loop
          --driver WHO --driver curve.csv:mouth
              over the first, for groups (brows, eyes, mouth) and AUs: :mouth+AU06
outputs   vcam | vcam:/dev/video10 | vcam:NAME | window | FILE.mp4 | none      repeat --output for several
          vmc:HOST:PORT sends what drives the puppet to a program with an avatar
          A file driver into files is drawn frame by frame, with a clip's own sound (--no-sound without);
          anything else runs live.
          Ctrl-C ends it and finishes the files, twice at once.
keys      space or Esc: panic, the still photo at once, and back   p: pause, a slate
          m: mirror the preview   h: figures   q: end   ?: all keys
          In the window or the terminal; a hotkey of the desktop can send panic, too:
          pkill -USR1 -f "run.py --source"
"""

STATUSES = """\
When your face leaves the picture the puppet holds for half a second, eases to neutral and shows the still
photo. It does the same while the camera is away, and looks for it by its name. Your own picture never reaches
an output, and nothing leaves this machine.

exit status  0 done   1 a defect of this program   2 wrong command line   3 photo   4 driver   5 AU curve
             6 engine   7 output   130 a file stopped by Ctrl-C before its end, or a second Ctrl-C
"""


def script(name: str = program.SCRIPT) -> NoReturn:
    """The whole process: `main`, and its exit. name: by which it was started."""
    program.start_as(name)
    try:
        status = main()
    except BrokenPipeError:  # `engines list | head` has read enough
        close_standard_output()
        status = 0
    except KeyboardInterrupt:  # while modules are imported, before a command handles it
        status = STOPPED
    leave(status)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status. What the user can mend becomes one sentence.

    arguments: of the command line; None: this process's.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = arguments[0] if arguments and arguments[0] in COMMANDS else None
    parser = CommandParser(program.name(), fill=None if chosen else configure)
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, what in COMMANDS.items():
        commands.add_parser(name, help=what, fill=_filled_by(name), intermixed=name == "render")
    options = parser.parse_args(arguments)
    if options.command and not chosen:
        parser.error(f"{options.command} is a command with options of its own: put it first")
    return options.run(options)


def _filled_by(name: str) -> Callable[[CommandParser], None]:
    module = "engines.__main__" if name == "engines" else f"realtime.commands.{name}"
    return lambda parser: import_module(module).configure(parser)


def configure(parser: CommandParser) -> None:
    """The options of a run without a command."""
    from realtime.commands import settings_options
    from realtime.commands.options import add_aus, add_engine, add_look, add_sheet

    parser.explain(MANUAL, STATUSES)
    main = parser.add_argument_group("what to do")
    main.add_argument(
        "--source",
        metavar="PHOTO",
        help="the photo that is animated, or a folder of photos (key n); of several faces in one see --face",
    )
    main.add_argument("--driver", metavar="WHO", action="append", help="who drives it (see above)")
    main.add_argument(
        "--output",
        metavar="WHERE",
        action="append",
        help="where pictures go; default: vcam, and window where there is a screen",
    )
    main.add_argument(
        "--page",
        metavar="PORT",
        nargs="?",
        const="",
        help="play it from a page at 127.0.0.1, in the browser; --source and --driver can be chosen there",
    )
    main.add_argument(
        "--no-browser",
        dest="browser",
        action="store_false",
        help="with --page: print the page's address, and open no browser",
    )
    main.add_argument(
        "--face-sheet",
        metavar="FILE.png",
        help="write the photo with its faces numbered, for --face, and end",
    )
    main.add_argument(
        "--demo",
        action="store_true",
        help="animate a shipped photo, write out.mp4 and a contact sheet out.png",
    )
    main.add_argument(
        "--benchmark",
        action="store_true",
        help="measure FPS and delay, headless; takes --source, --driver, --size, --page too",
    )
    main.add_argument(
        "--record",
        metavar="FILE.csv",
        help="write what drives the puppet as an AU curve, to be edited and replayed",
    )
    main.add_argument(
        "--sound",
        metavar="MICROPHONE",
        nargs="?",
        const="default",
        help="record the driver's sound as well, into a live --output FILE.mp4",
    )
    main.add_argument(
        "--profile",
        metavar="NAME",
        help="your own range, as `run.py calibrate` kept it: a name, or FILE.json",
    )
    add_sheet(main)
    add_look(parser)
    settings_options.add_options(parser)
    engine = add_engine(parser, "say more, with the time: figures every ten seconds, what the tracker notes")
    add_aus(engine)
    engine.add_argument("--json", metavar="FILE", help="with --benchmark: write the figures here as well")
    engine.add_argument(
        "--compare",
        nargs=2,
        metavar=("A.json", "B.json"),
        help="with --benchmark: measure nothing, set two results of --json side by side",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.set_defaults(run=lambda options: run(parser, options, main))


def run(parser: CommandParser, options: argparse.Namespace, what_to_do: argparse._ArgumentGroup) -> int:
    """What the options ask for; returns the exit status. Raises SystemExit(2) for a wrong command line.

    what_to_do: the options that ask for something, beside those that say how it is done.
    """
    if options.version:
        print(f"{parser.prog.split()[0]} {installed_version()}")
        return 0
    if asks_for_nothing(options, what_to_do):
        options.page = ""
    check(parser, options)
    return outcome(lambda shutdown: animate(options, shutdown), parser.prog, options.verbose, OPTIONS)


def asks_for_nothing(options: argparse.Namespace, what_to_do: argparse._ArgumentGroup) -> bool:
    """Whether nothing was asked for, but perhaps how it is done: then the page opens."""
    asking = (action for action in what_to_do._group_actions if action.dest not in OF_A_PAGE)
    return all(getattr(options, action.dest) == action.default for action in asking)


def check(parser: CommandParser, options: argparse.Namespace) -> None:
    """Fills in what --demo and --benchmark stand for.

    Raises SystemExit(2) for options that contradict one another.
    """
    from realtime.commands.options import check_numbers

    if options.compare and not options.benchmark:
        parser.error("--compare belongs to --benchmark")
    if options.demo and options.benchmark:
        parser.error("--demo and --benchmark are two things: choose one")
    if options.demo or options.benchmark:
        options.source = options.source or str(DEMO_PHOTO)
        options.driver = options.driver or (list(DEMO_DRIVERS) if options.demo else [str(BENCHMARK_DRIVER)])
    if options.demo:
        options.output = options.output or ["out.mp4"]
        options.sheet = options.sheet or "out.png"
    if options.print_config:
        return
    if options.face_sheet and options.source:
        return
    if options.page is not None:
        _check_page(parser, options)
    elif not options.source or not options.driver:
        parser.error("name a photo with --source and a driver with --driver, or try --demo or --page")
    check_numbers(parser, options)
    if options.sound and not options.clip_sound:
        parser.error("--sound and --no-sound contradict one another: leave out one of them")
    _check_benchmark(parser, options)


def _check_page(parser: CommandParser, options: argparse.Namespace) -> None:
    """Raises SystemExit(2) for what a page does not go with, and a port that is none."""
    for option in ("demo", "face_sheet"):
        if getattr(options, option):
            parser.error(f"{NO_PAGE}--{option.replace('_', '-')}")
    if options.page and not (options.page.isdecimal() and 0 < int(options.page) < 65536):
        parser.error(f"--page {options.page} is no port: write a number from 1 to 65535, or none")
    if not options.source and not options.driver:
        options.driver = list(DEMO_DRIVERS)
    options.driver = options.driver or []


def _check_benchmark(parser: CommandParser, options: argparse.Namespace) -> None:
    if not options.benchmark:
        if options.json:
            parser.error("--json belongs to --benchmark")
        return
    if len(options.driver) > 1:
        parser.error("--benchmark measures one driver: name it with one --driver")
    if options.profile:
        parser.error("--benchmark learns its driver's rest: leave out --profile")
    if options.output or options.record or options.sheet or options.sound:
        parser.error("--benchmark writes no pictures: leave out --output, --record, --sheet and --sound")


def animate(options: argparse.Namespace, shutdown: ShutdownHandler) -> int:
    """One run; returns the exit status. Raises PuppetError."""
    from realtime.commands import settings_options
    from realtime.commands.options import drawing
    from realtime.session.config import SessionConfig

    if options.face_sheet:
        return face_sheet(options)
    if options.compare:
        from realtime.session.benchmark_comparison import compare

        print(compare(*options.compare))
        return 0
    settings = settings_options.chosen(options)
    if options.print_config:
        print(settings.toml())
        return 0
    config = SessionConfig(
        source=options.source or "",
        drivers=tuple(options.driver),
        outputs=tuple(options.output or ()),
        record=options.record,
        sound=options.sound,
        profile=options.profile,
        aus=options.aus,
        pyfeat_weights=options.pyfeat_weights,
        **drawing(options, settings),
    )
    if options.benchmark:
        return benchmark(config, options.json, options.page is not None)
    if options.page is not None:
        return play_page(config, options, shutdown)
    from realtime.session.session import run_session

    return run_session(config, shutdown)


def play_page(config: "SessionConfig", options: argparse.Namespace, shutdown: ShutdownHandler) -> int:
    """A live run with its page; returns the exit status. Raises PuppetError."""
    from realtime.page.page import Page
    from realtime.session.session import run_session

    port = int(options.page) if options.page else None
    with Page(port, options.browser, config.face_model) as page:
        return run_session(config, shutdown, page)


def installed_version() -> str:
    """Of the package, or a sentence where a clone was never installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("expression-puppet")
    except PackageNotFoundError:
        return "of a clone that is not installed: pip install -e ."


def face_sheet(options: argparse.Namespace) -> int:
    """Writes the photo with its faces numbered; returns the exit status. Raises PuppetError."""
    from realtime.commands.options import face_model
    from realtime.session.face_sheet import write_face_sheet

    write_face_sheet(options.source, options.face_sheet, face_model(options.face_model))
    return 0


def benchmark(config: "SessionConfig", json_path: str | None, with_page: bool = False) -> int:
    """Prints what realtime.session.benchmark measures, and writes it to json_path. Raises PuppetError.

    Args:
        with_page: whether a call is also measured with a page that is looked at.
    """
    from engines import atomic_file
    from realtime.page.page import watched_page
    from realtime.partial_file import check_writable
    from realtime.session import benchmark
    from realtime.session.opening import make_puppet
    from realtime.session.photo_switcher import photos

    open_page = watched_page if with_page else None
    if json_path:
        check_writable(json_path, "--json")
    with ExitStack() as stack:
        puppet, engine = make_puppet(
            config, photos(config.source), config.size or BENCHMARK_SIZE, stack, wait=True
        )
        seconds = config.seconds or BENCHMARK_S
        result = benchmark.measure(
            puppet, engine.name, config.drivers[0], seconds, config.settings, config.face_model, open_page
        )
    print(benchmark.table(result))
    if json_path:
        atomic_file.write_text(json_path, json.dumps(result, indent=1) + "\n")
        say(f"wrote {json_path}")
    return 0
