"""The command line of `python -m train`: its steps, their options and defaults. Imports nothing heavy."""

import argparse
from collections.abc import Callable
from pathlib import Path

from train.data.split import DEFAULT_HOLD_OUT

MANUAL = """\
From faces to an engine, step by step:

  python -m train prepare  --out corpus faces/ photos.tar clips/   aligned crops and AU labels, in shards
  python -m train fit      --corpus corpus --out runs/mine         train or resume; Ctrl-C keeps a checkpoint
  python -m train export   runs/mine --out engines/mine            ONNX + bundle.json, checked against PyTorch
  python -m train quantise engines/mine --corpus corpus            adds an INT8 variant, checked against FP32
  python -m train evaluate --engine engines/mine --corpus corpus --out runs/mine/report
  python run.py --source face.jpg --driver webcam --engine engines/mine

`python -m train STEP --help` explains the options of a step.
`fit --recipe ganimation --model paper` is the paper's method and networks; `--teacher BUNDLE` distils;
stargan, cyclegan, diat, icgan are the paper's baselines.
Several processes: accelerate launch -m train fit ...
"""

RECIPES = ("supervised", "ganimation", "distil", "stargan", "cyclegan", "diat", "icgan")
BASELINES = RECIPES[3:]
FIGURES = (1, 4, 5, 7, 8, 9)  # of the paper; figure 6 is the step `compare`
IDENTITY_HELP = (
    "MobileFaceNet.tflite, for identity cosines and Frechet distances (default: these are left out)"
)

Steps = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parses the command line; `step` is the chosen step's name. Exits with status 2 on a usage error."""
    return build_parser().parse_args(arguments)


def build_parser() -> argparse.ArgumentParser:
    """The parser, with a subparser for each step."""
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
        _transfer,
        _strengths,
        _figures,
        _compare,
        _networks,
        _throughput,
        _latency,
        _estimator,
    ):
        add(steps)
    return parser


def _integer_from(least: int) -> Callable[[str], int]:
    """An argument type: a whole number that is not less than `least`."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is not {least} or more")
        return value

    number.__name__ = "whole number"  # argparse prints it: "invalid whole number value: 'x'"
    return number


_positive = _integer_from(1)
_not_negative = _integer_from(0)


def _add_step(steps: Steps, name: str, summary: str) -> argparse.ArgumentParser:
    """Adds a subparser whose summary stands both in the list of steps and at the top of its own --help."""
    return steps.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")


def _add_corpus(step: argparse.ArgumentParser, required: bool = True, use: str = "") -> None:
    step.add_argument(
        "--corpus",
        type=Path,
        nargs="+" if required else "*",
        required=required,
        default=None if required else [],
        metavar="FOLDER",
        help=use or "one or more folders written by `prepare`, used together as one corpus",
    )


def _add_engine(step: argparse.ArgumentParser) -> None:
    step.add_argument(
        "--engine",
        default="default",
        metavar="BUNDLE",
        help="bundle to use: a folder, or a name in engines/ (default: %(default)s)",
    )


def _add_device(step: argparse.ArgumentParser) -> None:
    step.add_argument(
        "--device",
        default="auto",
        help="what runs the engine, as in run.py: auto, cpu, gpu, reference ... (default: %(default)s)",
    )


def _nobody(steps: Steps) -> None:
    step = _add_step(
        steps, "nobody", "draw synthetic faces, of people who do not exist, into a folder of JPEGs"
    )
    step.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder that the pictures are written to"
    )
    step.add_argument(
        "--count",
        type=_positive,
        default=None,
        help="number of faces (default: all that were reviewed and show adults)",
    )
    step.add_argument(
        "--size",
        type=_positive,
        default=512,
        metavar="PX",
        help="side of the pictures (default: %(default)s)",
    )


def _prepare(steps: Steps) -> None:
    step = _add_step(steps, "prepare", "faces -> a corpus of shards; a stopped run is resumed")
    step.add_argument(
        "inputs",
        nargs="*",
        metavar="FACES",
        help="folders, .tar files, clips, or nobody:COUNT for COUNT synthetic faces",
    )
    step.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder that the corpus is written to"
    )
    step.add_argument(
        "--size",
        type=_positive,
        default=256,
        metavar="PX",
        help="side of the crops, a multiple of 16 (default: %(default)s)",
    )
    step.add_argument(
        "--workers", type=_positive, default=2, help="labelling processes (default: %(default)s)"
    )
    step.add_argument(
        "--shard-size",
        type=_positive,
        default=1000,
        metavar="FACES",
        help="faces in a shard (default: %(default)s)",
    )
    step.add_argument(
        "--limit",
        type=_positive,
        default=None,
        metavar="N",
        help="only the first N pictures and clips of each input (default: all)",
    )
    step.add_argument(
        "--hold-out",
        action="append",
        default=None,
        metavar="SOURCE",
        help="keep a source from training: a folder, tar or clip by name, without its ending. SOURCE/NAME "
        "holds out one person and leaves the rest of that source to training. Of sources not named, 4 %% of "
        "the people are held out by name. May be given several times; replaces the default: "
        f"{', '.join(DEFAULT_HOLD_OUT)}. none: hold out no more than the 4 %%. Recorded in the manifest",
    )
    step.add_argument(
        "--expressions",
        type=_positive,
        default=0,
        metavar="N",
        help="of each synthetic person of nobody:COUNT, N pictures with other expressions, gazes and turns "
        "of the head (source nobody_expressions); about 9 of 10 pass the checks (default: only the face as "
        "it is)",
    )
    step.add_argument(
        "--identity",
        type=Path,
        metavar="FILE",
        help="MobileFaceNet.tflite, to leave out expressions that made another person (default: only those "
        "whose skull changed are left out)",
    )
    step.add_argument(
        "--verify",
        action="store_true",
        help="prepare nothing: check the SHA-256 of every shard of --out",
    )


def _fit(steps: Steps) -> None:
    step = _add_step(steps, "fit", "corpus -> a checkpoint; a stopped run is resumed")
    _add_corpus(step)
    step.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="RUN",
        help="folder of the run: checkpoint, statistics, sample grids",
    )
    _add_network_options(step.add_argument_group("what is trained"))
    _add_training_options(step.add_argument_group("how it is trained"))


def _add_network_options(what: argparse._ArgumentGroup) -> None:
    what.add_argument(
        "--recipe",
        choices=RECIPES,
        default=None,
        help="training method (default: supervised; distil with --teacher, ganimation with --model)",
    )
    what.add_argument(
        "--model",
        choices=("compact", "paper"),
        help="networks of the recipe ganimation (default: compact)",
    )
    what.add_argument(
        "--conditioning",
        choices=("absolute", "relative"),
        help="input of the paper's generator: the wanted AUs, or their change (default: absolute)",
    )
    what.add_argument(
        "--adversary",
        choices=("wgan-gp", "hinge-sn", "hinge-r1"),
        help="adversarial loss of the recipe ganimation (default: wgan-gp, the paper's)",
    )
    what.add_argument(
        "--attention-term",
        choices=("kept", "changed"),
        help="ganimation: penalise mean(A), as eq. 2 does against copying, or mean(1 - A), for smaller edits "
        "(default: kept)",
    )
    what.add_argument(
        "--critic-steps",
        type=_positive,
        metavar="N",
        help="ganimation: critic steps for each step of the generator (default: 5)",
    )
    what.add_argument(
        "--vocabulary",
        choices=("paper17", "wide"),
        help="AUs that the generator takes: the paper's 17, or 29 with sides, pucker and funnel "
        "(default: wide for supervised, paper17 for ganimation)",
    )
    what.add_argument(
        "--teacher", metavar="BUNDLE", help="bundle to distil into the compact generator (recipe distil)"
    )
    what.add_argument(
        "--size",
        type=_positive,
        default=None,
        metavar="PX",
        help="side of the crops (default: 128 for adversarial recipes, else the corpus' own)",
    )
    what.add_argument(
        "--channels",
        type=_positive,
        nargs=3,
        metavar="N",
        help="compact generator: channels at 1/4, 1/8 and 1/16 of the crop (default: 32 96 192)",
    )
    what.add_argument(
        "--no-flow",
        action="store_true",
        help="compact generator: colour and attention only, as in the paper",
    )
    what.add_argument(
        "--no-teeth",
        action="store_true",
        help="supervised: the generator paints teeth itself instead of placing a constant picture",
    )
    what.add_argument(
        "--no-shade",
        action="store_true",
        help="supervised: the generator draws no folds and shadows over skin",
    )
    what.add_argument(
        "--only-shade",
        action="store_true",
        help="supervised: train folds and shadows alone, for the rest of the generator of --start-from",
    )
    what.add_argument(
        "--critic",
        action="store_true",
        help="supervised: beside it a critic that tells drawn from photographed faces",
    )
    what.add_argument(
        "--width",
        type=_positive,
        default=None,
        metavar="N",
        help="channels at full size of the paper's networks (default: 64) and of baselines (default: 32)",
    )
    what.add_argument(
        "--emotions",
        nargs="+",
        default=None,
        metavar="NAME",
        help="baselines: emotions to learn (default: happy; five of them for stargan and icgan)",
    )


def _add_training_options(how: argparse._ArgumentGroup) -> None:
    how.add_argument("--verify", action="store_true", help="check the SHA-256 of every shard first")
    how.add_argument(
        "--start-from",
        type=Path,
        metavar="RUN",
        help="start a new run with the averaged weights of another run, its checkpoint, or a bundle",
    )
    how.add_argument(
        "--images", type=_positive, default=190_000, help="images to be seen in all (default: %(default)s)"
    )
    how.add_argument(
        "--batch",
        type=_positive,
        default=16,
        help="batch size over all processes together; the paper's is 25 (default: %(default)s)",
    )
    how.add_argument(
        "--accumulate",
        type=_positive,
        default=1,
        metavar="K",
        help="micro-batches of one step, to save memory (default: %(default)s)",
    )
    how.add_argument("--rate", type=float, default=None, help="learning rate of Adam (default: the recipe's)")
    how.add_argument(
        "--seed", type=int, default=0, help="of initial weights and of the order of samples (default: 0)"
    )
    how.add_argument(
        "--max-minutes",
        type=float,
        default=float("inf"),
        help="stop after this long, with a checkpoint (default: no limit)",
    )
    how.add_argument(
        "--save-minutes", type=float, default=4.0, help="time between checkpoints (default: %(default)s)"
    )
    how.add_argument(
        "--report-every",
        type=_positive,
        default=4_000,
        metavar="IMAGES",
        help="interval of the figures on held-out people (default: %(default)s)",
    )
    how.add_argument(
        "--grid-every",
        type=_not_negative,
        default=12_000,
        metavar="IMAGES",
        help="interval of the sample grids; 0 for none (default: %(default)s)",
    )
    how.add_argument(
        "--stats-every",
        type=_positive,
        default=50,
        metavar="STEPS",
        help="steps that one line of statistics averages (default: %(default)s)",
    )
    how.add_argument(
        "--workers",
        type=_not_negative,
        default=1,
        help="loader processes; 0 loads in the training process (default: %(default)s)",
    )
    how.add_argument("--fp32", action="store_true", help="full precision, without bf16 autocast")
    how.add_argument(
        "--resident",
        action="store_true",
        help="ganimation: keep every face on the device, 3 x size^2 bytes each",
    )
    how.add_argument("--compile", action="store_true", help="torch.compile the generator")
    how.add_argument("--quiet", action="store_true", help="no progress bar")


def _export(steps: Steps) -> None:
    step = _add_step(steps, "export", "checkpoint -> a bundle, checked against PyTorch")
    step.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="the --out of `fit`, or a bundle to export again (at another --size)",
    )
    step.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder that the bundle is written to"
    )
    step.add_argument(
        "--size",
        type=_positive,
        metavar="PX",
        help="side of the crops, a multiple of 16 (default: that of training)",
    )
    _add_corpus(step, required=False, use="corpora of the run, to record them in the bundle (default: none)")
    exporters = ("onnx", "torch-tensorrt")
    step.add_argument(
        "--via",
        choices=exporters,
        default=exporters[0],
        help="torch-tensorrt also compiles an engine for this GPU from PyTorch (default: %(default)s)",
    )


def _quantise(steps: Steps) -> None:
    step = _add_step(steps, "quantise", "bundle -> its INT8 variant for CPUs, checked against FP32")
    step.add_argument(
        "bundle", type=Path, metavar="BUNDLE", help="folder of the bundle that the variant is written into"
    )
    _add_corpus(step)
    step.add_argument(
        "--faces",
        type=_positive,
        default=128,
        help="faces from which value ranges are measured (default: %(default)s)",
    )
    step.add_argument(
        "--seed", type=int, default=0, help="of the choice of faces and edits (default: %(default)s)"
    )


def _add_clips_and_photos(step: argparse.ArgumentParser) -> None:
    step.add_argument("--clips", type=Path, nargs="+", required=True, metavar="CLIP", help="clips of drivers")
    step.add_argument(
        "--photos", type=Path, nargs="+", required=True, metavar="PHOTO", help="photos of puppets"
    )


def _transfer(steps: Steps) -> None:
    step = _add_step(
        steps,
        "transfer",
        "clips on photos, rendered by run.py -> how much of what drivers do arrives on puppets",
    )
    _add_engine(step)
    _add_device(step)
    _add_clips_and_photos(step)
    step.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder that the films, transfer.md and transfer.png are written to",
    )
    step.add_argument("--seconds", type=float, help="of each clip, from its beginning (default: all)")
    step.add_argument("--identity", type=Path, metavar="FILE", help=IDENTITY_HELP)


def _strengths(steps: Steps) -> None:
    step = _add_step(
        steps,
        "strengths",
        "clips and an engine -> how strongly AUs are to be asked of it, by where its flow takes mouths",
    )
    _add_engine(step)
    _add_device(step)
    _add_clips_and_photos(step)
    step.add_argument(
        "--strengths",
        type=_strength,
        nargs="*",
        default=[],
        metavar="AU=X",
        help="to compare with and to start from, as in AU12=1.15 (default: 1)",
    )


def _strength(text: str) -> tuple[str, float]:
    au, _, value = text.partition("=")
    try:
        strength = float(value)
    except ValueError:
        strength = 0.0
    if not 0 < strength < 10:
        raise argparse.ArgumentTypeError(f"{text} is no strength: write it as in AU12=1.15")
    return au, strength


def _evaluate(steps: Steps) -> None:
    step = _add_step(steps, "evaluate", "bundle -> a report on people that are held out of training")
    _add_engine(step)
    _add_device(step)
    _add_corpus(step)
    step.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder that report.md, its pictures and figures.json are written to",
    )
    step.add_argument("--identity", type=Path, metavar="FILE", help=IDENTITY_HELP)
    step.add_argument(
        "--faces", type=_positive, default=60, help="held-out photos that are edited (default: %(default)s)"
    )
    step.add_argument(
        "--still",
        type=Path,
        metavar="CLIP",
        help="clip of a face at rest, to measure flicker (default: a photo with simulated sensor noise)",
    )
    step.add_argument(
        "--photos",
        type=Path,
        nargs="+",
        default=[],
        metavar="PHOTO",
        help="photos with large faces, to measure sharpness at their own resolution (default: left out)",
    )
    step.add_argument(
        "--clips",
        type=Path,
        nargs="+",
        default=[],
        metavar="CLIP",
        help="clips of drivers, to measure on --photos how much of them arrives, as `transfer` does; needs "
        "dlib (default: left out)",
    )
    step.add_argument(
        "--seconds", type=float, default=4.0, help="of each clip, from its beginning (default: %(default)g)"
    )
    step.add_argument(
        "--second-opinion",
        action="store_true",
        help="measure the same edits with dlib's 68 landmarks, too",
    )


def _figures(steps: Steps) -> None:
    step = _add_step(steps, "figures", "the paper's figures 1, 4, 5, 7, 8 and 9 on your photos")
    step.add_argument(
        "photos", nargs="*", type=Path, metavar="PHOTO", help="photos that the figures are drawn from"
    )
    _add_engine(step)
    _add_device(step)
    _add_corpus(step, required=False, use="corpus of figure 9 (default: none; figure 9 is left out)")
    step.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder that the figures are written to"
    )
    step.add_argument("--identity", type=Path, metavar="FILE", help=IDENTITY_HELP)
    step.add_argument(
        "--only",
        type=_positive,
        nargs="+",
        default=None,
        choices=FIGURES,
        metavar="N",
        help="numbers of the figures to draw (default: all)",
    )
    step.add_argument(
        "--over",
        nargs="+",
        default=[],
        metavar="CURVE:GROUP",
        help="curves that move heads in figure 1's WebP, such as look.csv:head+gaze (default: none)",
    )
    step.add_argument(
        "--evaluation",
        type=Path,
        metavar="FOLDER",
        help="the --out of `evaluate`, whose best and worst cases figure 9 shows (default: measured again)",
    )
    step.add_argument(
        "--faces",
        type=_positive,
        default=24,
        help="held-out people that figure 9 chooses from (default: %(default)s)",
    )


def _compare(steps: Steps) -> None:
    step = _add_step(steps, "compare", "the paper's figure 6: engines and baselines on the same faces")
    step.add_argument(
        "--engines",
        nargs="*",
        default=["default"],
        metavar="BUNDLE",
        help="bundles to compare (default: the engine that ships)",
    )
    step.add_argument(
        "--runs",
        nargs="*",
        type=Path,
        default=[],
        metavar="RUN",
        help="runs of `fit` with a baseline recipe (default: none)",
    )
    _add_corpus(step)
    step.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder that figure-6.png, compare.md and compare.json are written to",
    )
    step.add_argument("--identity", type=Path, metavar="FILE", help=IDENTITY_HELP)
    step.add_argument(
        "--faces", type=_positive, default=40, help="held-out photos that are edited (default: %(default)s)"
    )


def _networks(steps: Steps) -> None:
    _add_step(steps, "networks", "list every network: parameters, GMAC, size")


def _throughput(steps: Steps) -> None:
    step = _add_step(
        steps, "throughput", "samples a second of paper and compact networks, and of the data loader"
    )
    _add_corpus(
        step, required=False, use="corpus to measure the loader on (default: random pictures and no loader)"
    )
    step.add_argument(
        "--size", type=_positive, default=128, metavar="PX", help="side of the crops (default: %(default)s)"
    )
    step.add_argument("--batch", type=_positive, default=16, help="batch size (default: %(default)s)")
    step.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        help="measuring time for each network and precision (default: %(default)s)",
    )
    step.add_argument("--compile", action="store_true", help="also measure the generator by torch.compile")


def _latency(steps: Steps) -> None:
    step = _add_step(
        steps, "latency", "one edit at a time: PyTorch, eager and compiled, beside the engine of a call"
    )
    _add_engine(step)
    step.add_argument(
        "--runs", type=_positive, default=100, help="edits by each of them (default: %(default)s)"
    )
    step.add_argument("--threads", type=_positive, default=None, help="CPU threads (default: all)")


def _estimator(steps: Steps) -> None:
    step = _add_step(
        steps,
        "estimator",
        "corpus -> engines/face/expression.json and train/synthesis/basis.npy; "
        "bundles trained before are then refused",
    )
    _add_corpus(step)
    step.add_argument(
        "--mean-face",
        type=Path,
        metavar="FILE.npy",
        help="instead: fit the mean face that meshes are aligned to, into FILE.npy",
    )
    step.add_argument(
        "--eyes-and-brows",
        action="store_true",
        help="only: how lids and brows are read, and what resting faces read; other scales and motion stay",
    )
