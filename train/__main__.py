"""python -m train: from a folder of faces to an engine bundle. `python -m train --help` lists the steps."""

import argparse
import json
import sys
from pathlib import Path

from engines.errors import PuppetError

MANUAL = """\
From faces to an engine, step by step:

  python -m train nobody   --out faces/                            draw faces of nobody (needs the wheel random-face)
  python -m train prepare  --out corpus/ faces/ photos.tar clips/  aligned crops and AU labels, by the live estimator
  python -m train fit      --corpus corpus/ --out runs/mine        train; goes on where it stopped; Ctrl-C keeps a checkpoint
  python -m train export   runs/mine --out engines/mine            ONNX + bundle.json, checked against PyTorch
  python -m train evaluate --engine engines/mine --corpus corpus/ --out runs/mine/report

`python -m train estimator` fits the AU estimator's scales and the AU basis anew; bundles trained before will then be refused.
"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m train", description=MANUAL, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")

    step = steps.add_parser("nobody", help="draw faces of nobody")
    step.add_argument("--out", type=Path, required=True)
    step.add_argument("--count", type=int, default=None, help="seeds 0 to COUNT; default: the seeds that were looked at, adults only")
    step.add_argument("--size", type=int, default=512, metavar="PX")

    step = steps.add_parser("prepare", help="faces -> corpus")
    step.add_argument("inputs", nargs="+", type=Path, metavar="FACES", help="folders, .tar files, clips")
    step.add_argument("--out", type=Path, required=True)
    step.add_argument("--size", type=int, default=256, metavar="PX", help="side of the crops")
    step.add_argument("--workers", type=int, default=2)

    step = steps.add_parser("fit", help="corpus -> checkpoint")
    step.add_argument("--corpus", type=Path, nargs="+", required=True)
    step.add_argument("--out", type=Path, required=True)
    step.add_argument("--images", type=int, default=190_000, help="images to be seen in all")
    step.add_argument("--batch", type=int, default=16)
    step.add_argument("--rate", type=float, default=6e-4)
    step.add_argument("--seed", type=int, default=0)
    step.add_argument("--max-minutes", type=float, default=float("inf"), help="stop cleanly after this long")
    step.add_argument("--channels", type=int, nargs=3, default=(32, 96, 192), metavar="N", help="at 1/4, 1/8 and 1/16 of the crop")
    step.add_argument("--fp32", action="store_true", help="no bf16 autocast")

    step = steps.add_parser("export", help="checkpoint -> bundle")
    step.add_argument("run", type=Path, help="the --out of fit")
    step.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    step.add_argument("--corpus", type=Path, nargs="*", default=[], help="named in the bundle's provenance")

    step = steps.add_parser("evaluate", help="bundle -> report")
    step.add_argument("--engine", default="default")
    step.add_argument("--device", default="auto")
    step.add_argument("--corpus", type=Path, nargs="+", required=True)
    step.add_argument("--out", type=Path, required=True)
    step.add_argument("--faces", type=int, default=60)
    step.add_argument("--identity", type=Path, help="MobileFaceNet.tflite, for identity cosines")

    step = steps.add_parser("estimator", help="corpus -> engines/expression.json, engines/mean_face.npy, train/basis.npy")
    step.add_argument("--corpus", type=Path, nargs="+", required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        globals()[options.step](options)
    except PuppetError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def nobody(options: argparse.Namespace) -> None:
    from train.data.nobody import ADULTS, write_faces

    drawn = write_faces(options.out, range(options.count) if options.count else ADULTS, options.size)
    print(f"drew {drawn} faces into {options.out}")


def prepare(options: argparse.Namespace) -> None:
    from train.data.prepare import prepare as run

    print(json.dumps(run(options.inputs, options.out, options.size, options.workers), indent=1))


def fit(options: argparse.Namespace) -> None:
    from train.data.corpus import load_corpus
    from train.networks.compact import Shape
    from train.trainer import Plan
    from train.trainer import fit as run

    corpus = load_corpus(options.corpus)
    quarter, eighth, sixteenth = options.channels
    shape = Shape(size_px=corpus.size_px, quarter=quarter, eighth=eighth, sixteenth=sixteenth)
    plan = Plan(options.images, options.batch, options.rate, seed=options.seed, max_s=options.max_minutes * 60, bf16=not options.fp32)
    losses = run(corpus, options.out, plan, shape)
    print(
        f"{len(losses)} steps, last loss {losses[-1]:.4f}; next: python -m train export {options.out} --out engines/NAME"
        if losses
        else "nothing left to do"
    )


def export(options: argparse.Namespace) -> None:
    from train import checkpoint
    from train.export import export as run
    from train.export import load_average, training_record

    folder = options.run / "checkpoint"
    manifests = [json.loads((corpus / "manifest.json").read_text()) for corpus in options.corpus]
    bundle, differences = run(load_average(folder), options.out, training_record(checkpoint.read_state(folder), manifests))
    print(f"wrote {bundle.folder}: {bundle.onnx.stat().st_size / 1e6:.1f} MB, worst differences from PyTorch {differences}")


def evaluate(options: argparse.Namespace) -> None:
    from engines.backends import load
    from train.data.corpus import load_corpus
    from train.report.evaluate import evaluate as run
    from train.report.identity import Identity

    identity = Identity(options.identity) if options.identity else None
    run(load(options.engine, options.device), load_corpus(options.corpus), options.out, options.faces, identity)
    print((options.out / "report.md").read_text())


def estimator(options: argparse.Namespace) -> None:
    from train.data.estimator import refit

    print(refit(options.corpus))


if __name__ == "__main__":
    sys.exit(main())
