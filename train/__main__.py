"""python -m train: from a folder of faces to an engine bundle. `python -m train --help` lists the steps."""

import argparse
import errno
import json
import sys
from pathlib import Path

from engines.errors import DataError, PuppetError
from train.command_line import BASELINES, parse
from train.data.folders import FULL, READ_ONLY

TRAIN_EXTRA = {
    "torch",
    "accelerate",
    "tensorboard",
    "onnx",
    "onnxruntime",
    "matplotlib",
    "numba",
    "safetensors",
}
OPTIONS = {"device": "--device"}  # by the names of settings that errors mention
DISK_FAULTS = FULL | READ_ONLY | {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        STEPS[options.step](options)
    except PuppetError as error:
        return _say(error.sentence(OPTIONS), error.exit_status)
    except ModuleNotFoundError as error:
        if error.name not in {*TRAIN_EXTRA, "nncf"}:
            raise
        extra = "int8" if error.name == "nncf" else "train"
        return _say(f"This step needs {error.name}: pip install -e '.[{extra}]'.", DataError.exit_status)
    except OSError as error:
        if error.errno not in DISK_FAULTS:
            raise
        return _say(
            f"{error.filename or options.step}: {error.strerror}; free or choose another place and run it "
            "again.",
            DataError.exit_status,
        )
    return 0


def _say(sentence: str, status: int) -> int:
    _note(sentence)
    return status


def _note(sentence: str) -> None:
    print(f"train: {sentence}", file=sys.stderr)


def nobody(options: argparse.Namespace) -> None:
    from train.data.synthetic_faces import write_faces
    from train.stylespace.adult_seeds import adult_seeds

    drawn = write_faces(options.out, adult_seeds(options.count), options.size)
    print(f"drew {drawn} faces into {options.out}")


def prepare(options: argparse.Namespace) -> None:
    from train.data.corpus import verify
    from train.data.prepare import prepare as run

    if options.verify:
        print(f"{options.out}: {verify(options.out)} shards are as the manifest pins them")
        return
    if not options.inputs:
        raise DataError("prepare needs faces: name folders, .tar files, clips, or nobody:COUNT.")
    manifest = run(
        options.inputs,
        options.out,
        options.size,
        options.workers,
        shard_size=options.shard_size,
        limit=options.limit,
        hold_out=options.hold_out,
        expressions=options.expressions,
        identity=options.identity,
        say=_note,
    )
    print(json.dumps({name: value for name, value in manifest.items() if name != "shards"}, indent=1))


def fit(options: argparse.Namespace) -> None:
    from train import checkpoint
    from train.data.corpus import load_corpus
    from train.recipes.factory import make
    from train.schedule import Schedule
    from train.trainer import fit as run

    corpus = load_corpus(options.corpus, options.verify)
    if options.images < options.batch:
        raise DataError(
            f"--images {options.images} is less than one batch of {options.batch}: nothing would be learnt."
        )
    recipe = make(options, corpus.size_px)
    if options.only_shade and not options.start_from and not checkpoint.find(options.out / "checkpoint"):
        raise DataError("--only-shade trains folds for a generator that is there: give --start-from.")
    plan = Schedule(
        options.images,
        options.batch,
        options.rate,
        accumulate=options.accumulate,
        seed=options.seed,
        max_s=options.max_minutes * 60,
        save_every_s=options.save_minutes * 60,
        report_every=options.report_every,
        grid_every=options.grid_every,
        stats_every=options.stats_every,
        workers=options.workers,
        bf16=not options.fp32,
        compile=options.compile,
        resident=options.resident,
    )
    seen = run(recipe, corpus, options.out, plan, options.quiet, start_from=options.start_from)
    then = (
        f"compare --runs {options.out}"
        if recipe.name in BASELINES
        else f"export {options.out} --out engines/NAME"
    )
    print(f"{options.out}: {seen} of {options.images} images seen; next: python -m train {then}")


def export(options: argparse.Namespace) -> None:
    from engines.bundle import load_bundle
    from train import checkpoint
    from train.data.corpus import read_manifest
    from train.export.onnx_export import export as run
    from train.export.onnx_export import load_average, training_record
    from train.export.restore import is_bundle, resized, restore

    manifests = [read_manifest(corpus) for corpus in options.corpus]
    if is_bundle(options.run):
        bundle = load_bundle(options.run)
        generator, record, measured_by = (
            restore(bundle),
            {**bundle.training, "exported_from": bundle.sha256},
            bundle.estimator,
        )
    else:
        folder = options.run / "checkpoint"
        state = checkpoint.read_state(folder)
        generator, record, measured_by = (
            load_average(folder),
            training_record(state, manifests),
            state["estimator"],
        )
    if options.size:
        generator = resized(generator, options.size)
        record["shape"] = {**record["shape"], "generator": generator.shape.as_dict()}
    if options.via == "torch-tensorrt":
        from train.export.torch_tensorrt import compile_with_torch_tensorrt, keep_for_gpu

        compiled, made_by = compile_with_torch_tensorrt(generator)
    bundle, differences = run(generator, options.out, record, measured_by)
    print(
        f"wrote {bundle.folder}: {bundle.onnx.stat().st_size / 1e6:.1f} MB, worst differences from PyTorch "
        f"{differences}"
    )
    if options.via == "torch-tensorrt":
        print(keep_for_gpu(bundle, compiled, made_by))


def quantise(options: argparse.Namespace) -> None:
    from train.export.quantise import FILE
    from train.export.quantise import quantise as run

    bundle, errors = run(options.bundle, options.corpus, options.faces, options.seed, print)
    kept, size = (
        bundle.variants["int8"].calibration["left_in_float"],
        (bundle.folder / FILE).stat().st_size,
    )
    print(f"wrote {bundle.folder / FILE}: {size / 1e6:.1f} MB, left in float: {', '.join(kept) or 'nothing'}")
    print("mean differences from FP32: " + ", ".join(f"{name} {value:.4f}" for name, value in errors.items()))


def evaluate(options: argparse.Namespace) -> None:
    from engines.runtime.load import load
    from train.data.corpus import load_corpus
    from train.report.evaluate import evaluate as run

    second = None
    if options.second_opinion:
        from train.report.dlib_opinion import SecondOpinion

        second = SecondOpinion()
    if options.clips and not options.photos:
        raise DataError("--clips are measured on --photos: name both, or neither.")
    engine, corpus = load(options.engine, options.device), load_corpus(options.corpus)
    identity = _identity(options)
    run(
        engine,
        corpus,
        options.out,
        options.faces,
        identity,
        options.still,
        photos=options.photos,
        second=second,
        parts=identity.parts() if identity else None,
        transferred=_transferred(options, options.out / "transfer") if options.clips else None,
        say=_note,
    )
    print((options.out / "report.md").read_text())


def transfer(options: argparse.Namespace) -> None:
    print(_transferred(options, options.out))


def strengths(options: argparse.Namespace) -> None:
    from engines.runtime.load import load
    from train.report.strengths import measure

    _check_clips_and_photos(options)
    engine = load(options.engine, options.device)
    print(measure(engine, options.clips, options.photos, dict(options.strengths)))


def _check_clips_and_photos(options: argparse.Namespace) -> None:
    for path in (*options.clips, *options.photos):
        if not path.is_file():
            raise DataError(f"There is no file at {path}: check the paths of --clips and --photos.")


def _transferred(options: argparse.Namespace, out: Path) -> str:
    """The tables of every clip on every photo; the films go into `out`. Raises DataError, OutputError."""
    from train.report.transfer import measure

    if options.seconds is not None and not options.seconds > 0:
        raise DataError(f"--seconds {options.seconds:g} is not a duration: give a number above 0.")
    _check_clips_and_photos(options)
    return measure(
        options.clips,
        options.photos,
        out,
        str(options.engine),
        options.device,
        _identity(options),
        options.seconds,
        _note,
    )


def figures(options: argparse.Namespace) -> None:
    from engines.runtime.load import load
    from train.data.corpus import load_corpus
    from train.report.figures import draw_all

    corpus = load_corpus(options.corpus) if options.corpus else None
    engine = load(options.engine, options.device)
    written = draw_all(
        options.only,
        engine,
        options.photos,
        options.out,
        corpus,
        options.faces,
        _identity(options),
        evaluation=options.evaluation,
        over=options.over,
    )
    print("\n".join(f"wrote {path}" for path in written))


def compare(options: argparse.Namespace) -> None:
    from engines.runtime.load import load
    from train.data.corpus import load_corpus
    from train.recipes.factory import load_baseline
    from train.report.compare import Editor, EngineEditor, RecipeEditor
    from train.report.compare import compare as run

    editors: list[Editor] = [EngineEditor(load(name)) for name in options.engines]
    editors += [RecipeEditor(*load_baseline(folder), name=folder.name) for folder in options.runs]
    run(editors, load_corpus(options.corpus), options.out, options.faces, _identity(options))
    print((options.out / "compare.md").read_text())


def networks(_options: argparse.Namespace) -> None:
    from train.networks.listing import listing

    print(listing())


def throughput(options: argparse.Namespace) -> None:
    from train.throughput import measure

    print(measure(options.corpus, options.size, options.batch, options.seconds, options.compile))


def latency(options: argparse.Namespace) -> None:
    from train.export.latency import measure

    print(measure(options.engine, options.runs, options.threads))


def estimator(options: argparse.Namespace) -> None:
    from train.estimator.mean_face import refit_mean_face
    from train.estimator.refit import refit, refit_eyes_and_brows

    if options.mean_face:
        print(refit_mean_face(options.corpus, options.mean_face))
    else:
        print((refit_eyes_and_brows if options.eyes_and_brows else refit)(options.corpus))


def _identity(options: argparse.Namespace):
    from train.identity import Identity

    return Identity(options.identity) if options.identity else None


STEPS = {
    step.__name__: step
    for step in (
        nobody,
        prepare,
        fit,
        export,
        quantise,
        evaluate,
        transfer,
        strengths,
        figures,
        compare,
        networks,
        throughput,
        latency,
        estimator,
    )
}

if __name__ == "__main__":
    sys.exit(main())
