"""python -m engines: the engines that this machine can run, compiled, checked and measured.

`run.py engines` is the same.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engines import atomic_file
from engines.errors import Choice, EngineError, PuppetError

MANUAL = """\
A bundle is compiled for this machine once, compared with the FP32 reference before its first use, and kept in
the cache folder.

  python -m engines list                       what is in the cache, and whether it may still be used
  python -m engines build [BUNDLE]             compile and check now what a call would compile while it runs
  python -m engines verify                     hash every compiled engine
  python -m engines clear                      delete them all; they are compiled again when needed
  python -m engines parity [BUNDLE]            the comparison with the reference, as a report
  python -m engines bench [BUNDLE ...]         how fast every engine of this machine is, and could be
"""
DEVICE_HELP = (
    "gpu, intel-gpu, intel-npu, directml, coreml, cpu, cpu-int8, cpu-bf16 or cpu-fp32; "
    "default: auto, the best"
)
OPTIONS = {"device": "--device", "face model": "--face-model", "figures": "--json"}
NICENESS = 10  # of a program that compiles while a call goes on
INTERRUPTED = 130  # exit status


def parse(arguments: list[str] | None = None, program: str = "python -m engines") -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, formatter_class=argparse.RawDescriptionHelpFormatter)
    configure(parser)
    return parser.parse_args(arguments)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the steps to a parser, whose options `execute` then takes."""
    parser.description = MANUAL
    commands = parser.add_subparsers(required=True, metavar="STEP")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(run=execute, step=run)
        return command

    command = add("list", show, "what is in the cache")
    command.add_argument("--json", action="store_true", help="for programs")

    command = add("build", build, "compile and check a bundle now")
    command.add_argument("bundle", nargs="?", default="default")
    command.add_argument(
        "--device", nargs="+", default=["auto"], help=f"the first that passes; {DEVICE_HELP}"
    )
    command.add_argument("--background", action="store_true", help="leave the processor to others")
    command.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="keep it there; default: the user's cache"
    )
    command.add_argument("--face-model", type=Path, metavar="FILE", help="reads the faces when it is checked")

    add("verify", verify, "hash every compiled engine")
    add("clear", clear, "delete every compiled engine")

    command = add("parity", parity, "compare engines with the FP32 reference")
    command.add_argument("bundle", nargs="?", default="default")
    command.add_argument("--device", nargs="+", help=f"default: every one of this machine; {DEVICE_HELP}")
    command.add_argument(
        "--sheet", type=Path, metavar="FILE.png", help="draw both engines' pictures, and what differs"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")

    command = add("bench", bench, "time every engine of this machine")
    command.add_argument("bundles", nargs="*", default=["default"], metavar="BUNDLE")
    command.add_argument("--threads", type=_count, help="CPU threads; default: all")
    command.add_argument("--runs", type=_count, default=300, help="edits by each engine; default 300")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def main(arguments: list[str] | None = None, program: str = "python -m engines") -> int:
    return execute(parse(arguments, program))


def execute(options: argparse.Namespace) -> int:
    """Runs one step; returns the exit status."""
    try:
        return options.step(options)
    except PuppetError as error:
        print(f"engines: {error.sentence(OPTIONS)}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


def report(message: str) -> None:
    """Prints a message at once: another program may be reading."""
    print(message, flush=True)


def show(options: argparse.Namespace) -> int:
    from engines.runtime.cache import Cache, CacheEntry

    cache = Cache()
    entries = cache.entries()
    if options.json:
        listed = [
            {
                "folder": str(entry.folder),
                "bytes": entry.bytes,
                "used_s": entry.used_s,
                "fault": entry.fault,
                "about": entry.about,
            }
            for entry in entries
        ]
        print(json.dumps(listed, indent=1))
        return 0

    def state(entry: CacheEntry) -> str:
        if entry.fault:
            return f"not trusted: {entry.fault}"
        if faults := entry.about.get("faults"):
            return f"refused: {'; '.join(faults)}"
        return entry.about.get("engine", "")

    size_mb = sum(entry.bytes for entry in entries) / 1e6
    report(f"{cache.root}: {len(entries)} compiled engines, {size_mb:.0f} MB")
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used_s))
        report(f"  {entry.folder.name:<58}{entry.bytes / 1e6:>7.1f} MB  used {used}  {state(entry)}")
    return 0


def build(options: argparse.Namespace) -> int:
    """Compiles for the first device that passes. Raises the last device's error when none does."""
    from engines.bundle import load_bundle
    from engines.runtime.cache import Cache
    from engines.runtime.load import LoadOptions, load

    if options.background and hasattr(os, "nice"):
        os.nice(NICENESS)
    bundle = load_bundle(options.bundle)
    loading = LoadOptions(notify=report, cache=Cache(options.cache), face_model=options.face_model)
    for left, device in zip(reversed(range(len(options.device))), options.device, strict=True):
        started_s = time.perf_counter()
        try:
            engine = load(bundle, device, loading)
        except EngineError as error:
            if not left:
                raise
            report(error.sentence(OPTIONS))
            continue
        report(f"{engine.name} is ready for {bundle.name} ({time.perf_counter() - started_s:.1f} s)")
        break
    return 0


def verify(_options: argparse.Namespace) -> int:
    """Exit status 6 when an entry is not trusted."""
    from engines.runtime.cache import Cache

    cache = Cache()
    entries = cache.entries(verify=True)
    faults = [entry for entry in entries if entry.fault]
    for entry in faults:
        report(f"{entry.folder}: not trusted, {entry.fault}; it will be compiled again")
    report(f"{cache.root}: {len(entries) - len(faults)} of {len(entries)} compiled engines match their sums")
    return EngineError.exit_status if faults else 0


def clear(_options: argparse.Namespace) -> int:
    from engines.runtime.cache import Cache

    cache = Cache()
    report(f"{cache.root}: deleted {cache.clear()} compiled engines")
    return 0


def parity(options: argparse.Namespace) -> int:
    """Raises EngineError when an engine is refused."""
    from engines.backends.interface import ignore
    from engines.bundle import load_bundle
    from engines.runtime import parity
    from engines.runtime.load import baseline_engine, compile_unchecked, targets

    bundle = load_bundle(options.bundle)
    refused = []
    figures = []
    reference = baseline_engine(bundle)
    for device in options.device or [target.device for target in targets(bundle, "auto")]:
        engine = compile_unchecked(bundle, targets(bundle, device)[0], notify=ignore)
        result = parity.compare(engine, reference)
        report(parity.report(result) + "\n")
        if not result.passed:
            refused.append(engine.name)
        figures.append(
            {
                "engine": engine.name,
                "reference": reference.name,
                "rows": result.rows,
                "faults": list(result.faults),
            }
        )
        if options.sheet:
            path = options.sheet.with_stem(f"{options.sheet.stem}-{device}")
            parity.write_sheet(path, engine, reference)
            difference = f"{parity.DIFFERENCE_GAIN} times their difference"
            report(f"wrote {path}: the reference, {engine.name}, and {difference}\n")
    _write_figures(figures, options.json)
    if refused:
        raise EngineError(f"{' and '.join(refused)} would not be used: the figures above show why.")
    return 0


def bench(options: argparse.Namespace) -> int:
    from engines.bundle import load_bundle
    from engines.runtime.benchmark import measure, table

    def report_progress(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    bundles = [load_bundle(name) for name in options.bundles]
    result = measure(bundles, options.threads, options.runs, report_progress)
    report(table(result))
    _write_figures(result, options.json)
    return 0


def _write_figures(figures: object, path: Path | None) -> None:
    """Raises EngineError when the file cannot be written."""
    if path:
        try:
            atomic_file.write_text(path, json.dumps(figures, indent=1) + "\n")
        except OSError as error:
            raise EngineError(f"{path} cannot be written ({error.strerror})", Choice("figures")) from error


if __name__ == "__main__":
    sys.exit(main())
