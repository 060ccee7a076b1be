"""The command line. `python run.py --help` is its manual; the work is done in realtime/ and engines/."""

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path

from engines import atomic_file
from realtime.commands.options import add_aus, add_engine, add_look, check_numbers, choose_face_model
from realtime.process.exit_status import close_standard_output, outcome
from realtime.process.log import say
from realtime.process.shutdown import ShutdownHandler, leave

SAMPLES = Path(__file__).parent / "realtime" / "samples"
DEMO_PHOTO, DEMO_CURVE, BENCHMARK_DRIVER = (
    SAMPLES / "woman.jpg",
    SAMPLES / "everything.csv",
    SAMPLES / "driver.mp4",
)

MANUAL = """\
One photo of a face comes alive: it wears the expression of whoever drives it.

  python run.py --demo                                            a shipped photo, a shipped performance -> out.mp4, out.png
  python run.py --source face.jpg --driver webcam                 you, into the virtual camera (with a preview where there is a screen)
  python run.py --source face.jpg --driver clip.mp4 --output puppet.mp4
  python run.py --source face.jpg --driver smile.csv --output window --output puppet.mp4
  python run.py --benchmark                                       how fast this machine does all of it
  python run.py render take.csv photos/*.jpg videos/              one video for each photo; `render --help` says more
  python run.py calibrate                                         twenty seconds before the camera, for --profile me
  python run.py aus clip.mp4 --csv clip.csv --plot clip.png       the AUs of a clip or a picture
  python run.py doctor                                            what this machine lacks for a call, and the command for each
  python run.py engines list | build | verify | clear             what was compiled for this machine; `engines --help` says more

drivers   webcam | webcam:1 | webcam:NAME | /dev/video2           look straight and at rest for the first second: that is your neutral
          clip.mp4 | picture.jpg                                  one face in it; a clip's first second is its neutral
          curve.csv | keyframes.json                              columns time_s and AUs (AU25, AU12, or a side: AU12L), values -1 to 1
          curve.csv@from=2@to=5@speed=0.8@loop                    a part of it, slower, for ever; @duration=10 stretches it
          --driver WHO --driver curve.csv:mouth                   over the first, for groups (brows, eyes, mouth) and AUs: :mouth+AU06
outputs   vcam | vcam:/dev/video10 | vcam:NAME | window | FILE.mp4 | none      repeat --output for several
          A file driver into files is drawn frame by frame; anything else runs live. Ctrl-C ends it and finishes the files, twice at once.
keys      space or Esc: panic, the still photo at once, and back   p: pause, a slate   m: mirror the preview   h: figures   q: end
          In the window or the terminal; a hotkey of the desktop can send panic, too: pkill -USR1 -f "run.py --source"
"""

STATUSES = """\
When your face leaves the picture the puppet holds for half a second, eases to neutral and shows the still photo. Your own picture
never reaches an output, and nothing leaves this machine. It does the same while the camera is away, and looks for it by its name.

exit status  0 done   1 a defect of this program   2 wrong command line   3 photo   4 driver   5 AU curve   6 engine   7 output
             130 a file stopped by Ctrl-C before its end, or a second Ctrl-C
"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from realtime.commands import settings_options

    parser = argparse.ArgumentParser(
        "run.py", description=MANUAL, epilog=STATUSES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    main = parser.add_argument_group("what to do")
    main.add_argument(
        "--source",
        metavar="PHOTO",
        help="the photo that is animated; with several faces the largest is taken",
    )
    main.add_argument("--driver", metavar="WHO", action="append", help="who drives it (see above)")
    main.add_argument(
        "--output",
        metavar="WHERE",
        action="append",
        help="where pictures go; default: vcam, and window where there is a screen",
    )
    main.add_argument(
        "--demo",
        action="store_true",
        help="animate a shipped photo, write out.mp4 and a contact sheet out.png",
    )
    main.add_argument(
        "--benchmark",
        action="store_true",
        help="measure FPS and delay, headless; takes --source, --driver, --size too",
    )
    main.add_argument(
        "--record",
        metavar="FILE.csv",
        help="write what the puppet is told as an AU curve, to be edited and replayed",
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
    add_look(parser)
    settings_options.add_options(parser)
    engine = add_engine(parser, "say more, with the time: figures every ten seconds, what the tracker notes")
    add_aus(engine)
    engine.add_argument("--json", metavar="FILE", help="with --benchmark: write the figures here as well")
    options = parser.parse_args(arguments)
    _check(parser, options)
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.demo and options.benchmark:
        parser.error("--demo and --benchmark are two things: choose one")
    if options.demo or options.benchmark:
        options.source = options.source or str(DEMO_PHOTO)
        options.driver = options.driver or [str(DEMO_CURVE if options.demo else BENCHMARK_DRIVER)]
    if options.demo:
        options.output = options.output or ["out.mp4"]
        options.sheet = options.sheet or "out.png"
    if options.print_config:
        return
    if not options.source or not options.driver:
        parser.error("name a photo with --source and a driver with --driver, or try --demo")
    check_numbers(parser, options)
    if options.benchmark and len(options.driver) > 1:
        parser.error("--benchmark measures one driver: name it with one --driver")
    if options.benchmark and options.profile:
        parser.error("--benchmark learns its driver's rest: leave out --profile")
    if options.benchmark and (options.output or options.record or options.sheet or options.sound):
        parser.error("--benchmark writes no pictures: leave out --output, --record, --sheet and --sound")
    if options.json and not options.benchmark:
        parser.error("--json belongs to --benchmark")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status. Faults that the user can mend become one sentence."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["engines"]:
        from engines.__main__ import main as engines

        return engines(arguments[1:], "run.py engines")
    if arguments[:1] == ["doctor"]:
        from realtime.commands.doctor import main as doctor

        return doctor(arguments[1:], "run.py doctor")
    if arguments[:1] == ["calibrate"]:
        from realtime.commands.calibrate import main as calibrate

        return calibrate(arguments[1:], "run.py calibrate")
    if arguments[:1] == ["aus"]:
        from realtime.commands.aus import main as aus

        return aus(arguments[1:], "run.py aus")
    if arguments[:1] == ["render"]:
        from realtime.commands.render import main as render

        return render(arguments[1:], "run.py render")
    options = parse(arguments)
    return outcome(lambda ending: carry_out(options, ending), "run.py", options.verbose)


def carry_out(options: argparse.Namespace, ending: ShutdownHandler) -> int:
    """What was asked for; returns the exit status. Raises PuppetError."""

    from realtime.commands import settings_options

    options.settings = settings_options.chosen(options)
    if options.print_config:
        print(options.settings.toml())
        return 0
    choose_face_model(options.face_model)
    if options.benchmark:
        return benchmark(options)
    from realtime.session.session import run_session

    return run_session(options, ending)


def benchmark(options: argparse.Namespace) -> int:
    """Prints what realtime.session.benchmark measures; --json keeps it."""
    from realtime.partial_file import check_writable
    from realtime.puppet.canvas import parse_size
    from realtime.session import benchmark
    from realtime.session.session import make_puppet

    if options.json:
        check_writable(options.json, "--json")
    with ExitStack() as stack:
        puppet, engine = make_puppet(options, parse_size(options.size or "1280x720"), stack, wait=True)
        result = benchmark.measure(
            puppet, engine.name, options.driver[0], options.seconds or 10.0, options.settings
        )
    print(benchmark.table(result))
    if options.json:
        atomic_file.write_text(options.json, json.dumps(result, indent=1) + "\n")
        say(f"wrote {options.json}")
    return 0


if __name__ == "__main__":
    try:
        status = main()
    except BrokenPipeError:  # `run.py engines list | head` has read enough
        close_standard_output()
        status = 0
    leave(status)
