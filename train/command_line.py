"""The command line of `python -m train`: every step, its options and their defaults. Does nothing else, and imports nothing heavy."""

import argparse
from pathlib import Path

MANUAL = """\
From faces to an engine, step by step:

  python -m train prepare  --out corpus faces/ photos.tar clips/   aligned crops and AU labels, as WebDataset shards
  python -m train fit      --corpus corpus --out runs/mine         train; goes on where it stopped; Ctrl-C keeps a checkpoint
  python -m train export   runs/mine --out engines/mine            ONNX + bundle.json, checked against PyTorch
  python -m train quantise engines/mine --corpus corpus            adds an INT8 variant, for CPUs; checked against FP32
  python -m train evaluate --engine engines/mine --corpus corpus --out runs/mine/report
  python run.py --source face.jpg --driver webcam --engine engines/mine

`fit --recipe ganimation --model paper` is the paper's method and networks; `--teacher BUNDLE` distils; stargan, cyclegan, diat, icgan are the
paper's baselines. Several processes: accelerate launch -m train fit ...
"""


def _positive(text: str) -> int:
    """An argument type: a whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


RECIPES = ("supervised", "ganimation", "distil", "stargan", "cyclegan", "diat", "icgan")
BASELINES = RECIPES[3:]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m train", description=MANUAL, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    for add in (
        _nobody,
        _prepare,
        _fit,
        _export,
        _quantise,
        _evaluate,
        _figures,
        _compare,
        _networks,
        _throughput,
        _latency,
        _estimator,
    ):
        add(steps)
    return parser.parse_args(arguments)


def _nobody(steps) -> None:
    step = steps.add_parser("nobody", help="draw faces of nobody")
    step.add_argument("--out", type=Path, required=True)
    step.add_argument(
        "--count", type=_positive, default=None, help="default: all that were looked at and are adults"
    )
    step.add_argument("--size", type=_positive, default=512, metavar="PX")


def _prepare(steps) -> None:
    step = steps.add_parser("prepare", help="faces -> corpus of shards; goes on where it stopped")
    step.add_argument(
        "inputs", nargs="*", metavar="FACES", help="folders, .tar files, clips, or nobody:COUNT"
    )
    step.add_argument("--out", type=Path, required=True)
    step.add_argument("--size", type=_positive, default=256, metavar="PX", help="side of the crops")
    step.add_argument("--workers", type=_positive, default=2)
    step.add_argument("--shard-size", type=_positive, default=1000, metavar="FACES")
    step.add_argument(
        "--limit",
        type=_positive,
        default=None,
        metavar="N",
        help="only the first N pictures and clips of each input",
    )
    step.add_argument(
        "--verify", action="store_true", help="prepare nothing: check the SHA-256 of every shard of --out"
    )


def _fit(steps) -> None:
    step = steps.add_parser("fit", help="corpus -> checkpoint")
    step.add_argument("--corpus", type=Path, nargs="+", required=True)
    step.add_argument("--out", type=Path, required=True)
    what = step.add_argument_group("what is trained")
    what.add_argument(
        "--recipe",
        choices=RECIPES,
        default=None,
        help="default: supervised; distil with --teacher, ganimation with --model",
    )
    what.add_argument(
        "--model", choices=("compact", "paper"), help="networks of the recipe ganimation; default compact"
    )
    what.add_argument(
        "--conditioning", choices=("absolute", "relative"), help="of the paper's generator; default absolute"
    )
    what.add_argument(
        "--adversary",
        choices=("wgan-gp", "hinge-sn", "hinge-r1"),
        help="of the recipe ganimation; default wgan-gp, the paper's",
    )
    what.add_argument(
        "--attention-term",
        choices=("kept", "changed"),
        help="ganimation: press on mean(A), as eq. 2 does against copying (default), or on mean(1 - A) for smaller edits",
    )
    what.add_argument(
        "--critic-steps", type=_positive, help="ganimation: for one of the generator; default 5"
    )
    what.add_argument(
        "--vocabulary",
        choices=("paper17", "wide"),
        help="AUs that the generator speaks: the paper's 17, or 29 with sides, pucker and funnel; default wide for supervised, paper17 for "
        "ganimation",
    )
    what.add_argument("--teacher", metavar="BUNDLE", help="a bundle to distil into the compact generator")
    what.add_argument(
        "--size",
        type=_positive,
        default=None,
        metavar="PX",
        help="default: 128 for adversarial recipes, the corpus' own else",
    )
    what.add_argument(
        "--channels",
        type=_positive,
        nargs=3,
        metavar="N",
        help="compact: at 1/4, 1/8 and 1/16 of the crop; default 32 96 192",
    )
    what.add_argument(
        "--no-flow", action="store_true", help="compact: colour and attention only, as in the paper"
    )
    what.add_argument(
        "--no-teeth",
        action="store_true",
        help="supervised: paint teeth from memory instead of laying a constant picture",
    )
    what.add_argument(
        "--width",
        type=_positive,
        default=None,
        help="paper's networks (default 64) and baselines (32): channels at full size",
    )
    what.add_argument(
        "--emotions", nargs="+", default=None, metavar="NAME", help="baselines: emotions to learn"
    )
    how = step.add_argument_group("how")
    how.add_argument("--verify", action="store_true", help="check the SHA-256 of every shard first")
    how.add_argument(
        "--start-from",
        type=Path,
        metavar="RUN",
        help="another run, its checkpoint, or a bundle, whose averaged weights a new run begins with",
    )
    how.add_argument("--images", type=_positive, default=190_000, help="images to be seen in all")
    how.add_argument(
        "--batch", type=_positive, default=16, help="of all processes together; the paper's is 25"
    )
    how.add_argument("--accumulate", type=_positive, default=1, metavar="K", help="micro-batches of one step")
    how.add_argument("--rate", type=float, default=None, help="default: the recipe's")
    how.add_argument("--seed", type=int, default=0)
    how.add_argument("--max-minutes", type=float, default=float("inf"), help="stop cleanly after this long")
    how.add_argument("--save-minutes", type=float, default=4.0, help="between checkpoints")
    how.add_argument(
        "--report-every", type=_positive, default=4_000, metavar="IMAGES", help="between held-out figures"
    )
    how.add_argument("--grid-every", type=int, default=12_000, metavar="IMAGES", help="0 for no grids")
    how.add_argument(
        "--stats-every",
        type=_positive,
        default=50,
        metavar="STEPS",
        help="that one line of statistics averages",
    )
    how.add_argument(
        "--workers", type=int, default=1, help="loader processes; 0 loads in the training process"
    )
    how.add_argument("--fp32", action="store_true", help="no bf16 autocast")
    how.add_argument(
        "--resident",
        action="store_true",
        help="ganimation: keep every face on the device, 3 x size^2 bytes each",
    )
    how.add_argument("--compile", action="store_true", help="torch.compile on the generator")
    how.add_argument("--quiet", action="store_true", help="no progress bar")


def _export(steps) -> None:
    step = steps.add_parser("export", help="checkpoint -> bundle")
    step.add_argument("run", type=Path, help="the --out of fit, or a bundle to be exported anew")
    step.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    step.add_argument(
        "--size", type=_positive, metavar="PX", help="of the crops, if not that of training; a multiple of 16"
    )
    step.add_argument("--corpus", type=Path, nargs="*", default=[], help="named in the bundle's provenance")
    ways = ("onnx", "torch-tensorrt")
    step.add_argument(
        "--via",
        choices=ways,
        default=ways[0],
        help="torch-tensorrt: an engine for this GPU besides, made from PyTorch itself",
    )


def _quantise(steps) -> None:
    step = steps.add_parser("quantise", help="bundle -> its INT8 variant, for CPUs")
    step.add_argument("bundle", type=Path, help="folder of a bundle, into which the variant is written")
    step.add_argument("--corpus", type=Path, nargs="+", required=True)
    step.add_argument("--faces", type=_positive, default=128, help="of which ranges are taken")
    step.add_argument("--seed", type=int, default=0)


def _engine_and_corpus(step: argparse.ArgumentParser, corpus_required: bool) -> None:
    step.add_argument("--engine", default="default", metavar="BUNDLE")
    step.add_argument("--device", default="auto")
    step.add_argument("--corpus", type=Path, nargs="+", required=corpus_required, default=[])
    step.add_argument("--out", type=Path, required=True)
    step.add_argument(
        "--identity", type=Path, help="MobileFaceNet.tflite, for identity cosines and Frechet distances"
    )


def _evaluate(steps) -> None:
    step = steps.add_parser("evaluate", help="bundle -> report")
    _engine_and_corpus(step, True)
    step.add_argument("--faces", type=_positive, default=60)
    step.add_argument(
        "--still",
        type=Path,
        help="a clip of a still face, for flicker; default: a photo with simulated sensor noise",
    )
    step.add_argument(
        "--photos",
        type=Path,
        nargs="+",
        default=[],
        help="with large faces, for sharpness at their own resolution",
    )
    step.add_argument(
        "--second-opinion", action="store_true", help="measure the same edits by dlib's 68 landmarks, too"
    )


def _figures(steps) -> None:
    step = steps.add_parser("figures", help="the paper's figures 1, 4, 5, 7, 8, 9 on your photos")
    step.add_argument("photos", nargs="*", type=Path)
    _engine_and_corpus(step, False)
    step.add_argument(
        "--only", type=_positive, nargs="+", default=None, choices=(1, 4, 5, 7, 8, 9), metavar="N"
    )
    step.add_argument(
        "--evaluation", type=Path, help="a folder of evaluate, whose best and worst cases figure 9 shows"
    )
    step.add_argument(
        "--faces", type=_positive, default=24, help="held-out people that figure 9 chooses from"
    )


def _compare(steps) -> None:
    step = steps.add_parser("compare", help="the paper's figure 6: engines and baselines on the same faces")
    step.add_argument("--engines", nargs="*", default=["default"], metavar="BUNDLE")
    step.add_argument(
        "--runs", nargs="*", type=Path, default=[], help="folders of fit with a baseline recipe"
    )
    step.add_argument("--corpus", type=Path, nargs="+", required=True)
    step.add_argument("--out", type=Path, required=True)
    step.add_argument("--identity", type=Path, help="MobileFaceNet.tflite")
    step.add_argument("--faces", type=_positive, default=40)


def _networks(steps) -> None:
    steps.add_parser("networks", help="every network: parameters, GMAC, size")


def _throughput(steps) -> None:
    step = steps.add_parser(
        "throughput", help="samples a second of paper and compact networks, and of the data loader"
    )
    step.add_argument(
        "--corpus",
        type=Path,
        nargs="*",
        default=[],
        help="for the loader's share; default: random pictures, no loader",
    )
    step.add_argument("--size", type=_positive, default=128, metavar="PX")
    step.add_argument("--batch", type=_positive, default=16)
    step.add_argument("--seconds", type=float, default=8.0, help="for each network and precision")
    step.add_argument("--compile", action="store_true")


def _latency(steps) -> None:
    step = steps.add_parser(
        "latency", help="one edit at a time: PyTorch, eager and compiled, beside the engine of a call"
    )
    step.add_argument("--engine", default="default", metavar="BUNDLE")
    step.add_argument("--runs", type=_positive, default=100, help="edits by each")
    step.add_argument("--threads", type=_positive, default=None, help="CPU threads; default: all")


def _estimator(steps) -> None:
    step = steps.add_parser(
        "estimator",
        help="corpus -> engines/face/expression.json, train/synthesis/basis.npy: bundles trained before are then refused",
    )
    step.add_argument("--corpus", type=Path, nargs="+", required=True)
    step.add_argument(
        "--mean-face",
        type=Path,
        metavar="FILE.npy",
        help="instead: fit the mean face that meshes are aligned to, into FILE",
    )
