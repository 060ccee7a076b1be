"""python -m engines: what engines this machine can run, compiled, checked, measured. `run.py engines` is the same command."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from engines import atomic_file
from engines.errors import EngineError, PuppetError

MANUAL = """\
A bundle is compiled for this machine once, compared with the FP32 reference before its first use, and kept in the cache folder.

  python -m engines list                       what is in the cache, and whether it may still be used
  python -m engines build [BUNDLE]             compile and check now, what a call would compile while it runs
  python -m engines verify                     hash every compiled engine
  python -m engines clear                      delete them all; they are compiled again when needed
  python -m engines parity [BUNDLE]            the comparison with the reference, as a report
  python -m engines bench [BUNDLE ...]         how fast every backend of this machine is, and how fast it could be
"""
DEVICE_HELP = "gpu, cpu, cpu-int8, cpu-bf16 or cpu-fp32; default: auto, the best"


def parse(arguments: list[str] | None = None, program: str = "python -m engines") -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        program, description=MANUAL, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    step = steps.add_parser("list", help="what is in the cache")
    step.add_argument("--json", action="store_true", help="for programs")
    step = steps.add_parser("build", help="compile and check a bundle now")
    step.add_argument("bundle", nargs="?", default="default")
    step.add_argument("--device", nargs="+", default=["auto"], help=f"the first that passes; {DEVICE_HELP}")
    step.add_argument("--background", action="store_true", help="leave the processor to others")
    steps.add_parser("verify", help="hash every compiled engine")
    steps.add_parser("clear", help="delete every compiled engine")
    step = steps.add_parser("parity", help="compare engines with the FP32 reference")
    step.add_argument("bundle", nargs="?", default="default")
    step.add_argument(
        "--device", nargs="+", default=None, help=f"default: every one of this machine; {DEVICE_HELP}"
    )
    step.add_argument(
        "--sheet", type=Path, metavar="FILE.png", help="draw both engines' pictures, and what differs"
    )
    step.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    step = steps.add_parser("bench", help="time every engine of this machine")
    step.add_argument("bundles", nargs="*", default=["default"], metavar="BUNDLE")
    step.add_argument("--threads", type=int, default=None, help="CPU threads; default: all")
    step.add_argument("--runs", type=int, default=300, help="edits by each engine; default 300")
    step.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    options = parser.parse_args(arguments)
    if options.step == "bench" and (options.runs < 1 or (options.threads or 1) < 1):
        parser.error("--runs and --threads count from 1")
    return options


def main(arguments: list[str] | None = None, program: str = "python -m engines") -> int:
    options = parse(arguments, program)
    try:
        return STEPS[options.step](options)
    except PuppetError as error:
        print(f"engines: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def say(sentence: str) -> None:
    print(sentence, flush=True)


def show(options: argparse.Namespace) -> int:
    from engines.runtime.cache import Cache

    cache = Cache()
    entries = cache.entries()
    if options.json:
        told = [
            {
                "folder": str(e.folder),
                "bytes": e.bytes,
                "used_s": e.used_s,
                "fault": e.fault,
                "about": e.about,
            }
            for e in entries
        ]
        print(json.dumps(told, indent=1))
        return 0
    say(
        f"{cache.root}: {len(entries)} compiled engines, {sum(entry.bytes for entry in entries) / 1e6:.0f} MB"
    )
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used_s))
        refused = "; ".join(entry.about.get("faults", ()))
        state = (
            f"not trusted: {entry.fault}"
            if entry.fault
            else f"refused: {refused}"
            if refused
            else entry.about.get("engine", "")
        )
        say(f"  {entry.folder.name:<58}{entry.bytes / 1e6:>7.1f} MB  used {used}  {state}")
    return 0


def build(options: argparse.Namespace) -> int:
    from engines.bundle import load_bundle
    from engines.runtime.load import load

    if options.background and hasattr(os, "nice"):
        os.nice(10)  # a call goes on meanwhile
    bundle = load_bundle(options.bundle)
    for number, device in enumerate(options.device):
        started_s = time.perf_counter()
        try:
            engine = load(bundle, device, say=say)
        except EngineError as error:
            if number + 1 == len(options.device):
                raise
            say(str(error))
            continue
        say(f"{engine.name} is ready for {bundle.name} ({time.perf_counter() - started_s:.1f} s)")
        return 0
    return 0


def verify(_options: argparse.Namespace) -> int:
    from engines.runtime.cache import Cache

    cache = Cache()
    entries = cache.entries(verify=True)
    faults = [entry for entry in entries if entry.fault]
    for entry in faults:
        say(f"{entry.folder}: not trusted, {entry.fault}; it will be compiled anew")
    say(
        f"{cache.root}: {len(entries) - len(faults)} of {len(entries)} compiled engines are as their sums pin them"
    )
    return EngineError.exit_status if faults else 0


def clear(_options: argparse.Namespace) -> int:
    from engines.runtime.cache import Cache

    cache = Cache()
    say(f"{cache.root}: deleted {cache.clear()} compiled engines")
    return 0


def parity(options: argparse.Namespace) -> int:
    """Exit status 6 when an engine is refused."""
    from engines.bundle import load_bundle
    from engines.runtime.load import opened, targets, yardstick
    from engines.runtime.parity import SHOWN, compare, report, write_sheet

    bundle, refused, told = load_bundle(options.bundle), [], []
    reference = yardstick(bundle)
    for device in options.device or [target.device for target in targets(bundle, "auto")]:
        engine = opened(bundle, targets(bundle, device)[0], say=lambda _: None)
        verdict = compare(engine, reference)
        say(report(verdict) + "\n")
        refused += [] if verdict.passed else [engine.name]
        told.append(
            {
                "engine": engine.name,
                "reference": reference.name,
                "rows": verdict.rows,
                "faults": list(verdict.faults),
            }
        )
        if options.sheet:
            name = options.sheet.with_stem(f"{options.sheet.stem}-{device}")
            write_sheet(name, engine, reference)
            say(f"wrote {name}: the reference, {engine.name}, and {SHOWN} times their difference\n")
    _keep(told, options.json)
    if refused:
        raise EngineError(f"{' and '.join(refused)} would not be used: the figures above say why.")
    return 0


def bench(options: argparse.Namespace) -> int:
    from engines.bundle import load_bundle
    from engines.runtime.benchmark import measure, table

    bundles = [load_bundle(name) for name in options.bundles]
    result = measure(
        bundles, options.threads, options.runs, lambda sentence: print(sentence, file=sys.stderr, flush=True)
    )
    say(table(result))
    _keep(result, options.json)
    return 0


def _keep(told: object, path: Path | None) -> None:
    """Raises EngineError when the file cannot be written."""
    if path:
        try:
            atomic_file.write_text(path, json.dumps(told, indent=1) + "\n")
        except OSError as error:
            raise EngineError(
                f"{path} cannot be written ({error.strerror}): name another place for --json."
            ) from error


STEPS = {"list": show, "build": build, "verify": verify, "clear": clear, "parity": parity, "bench": bench}

if __name__ == "__main__":
    sys.exit(main())
