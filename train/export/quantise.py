"""Adds a variant in INT8 to a bundle: post-training quantisation on real crops, checked against FP32.

Only convolutions are quantised, in and out of 8 bits at each: their inputs as a whole, their weights channel
by channel. Everything else stays as it was, above all the gate that makes no change exactly the identity.
Convolutions that spoil the picture most stay as they were, too: each is tried alone, and the worst are put
back, one after the other, until the TARGETS hold.

Sources: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference" (CVPR 2018); NNCF (github.com/openvinotoolkit/nncf), which finds the ranges. The graph itself:
train/export/int8_search.py.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from engines import atomic_file
from engines.backends.interface import Edit, Engine
from engines.backends.openvino import OpenVino
from engines.blend import compose
from engines.bundle import Bundle, Variant, load_bundle, sha256_of, write_description
from engines.errors import DataError, EngineError
from engines.runtime.parity import colour_difference
from train.data.corpus import FaceCorpus, faces_of, load_corpus, read_manifest
from train.export.int8_search import (
    NNCF_VERSION,
    PRESET,
    convolutions,
    fold_half_weights,
    quantised,
    restore_float,
    store_half_weights,
)
from train.export.onnx_export import staging_folder
from train.report.edits import engine_input
from train.report.scaled import at_size
from train.synthesis.changes import add_blink, draw_change

FILE = "generator-int8.onnx"
# Whose ranges are taken; 300 only widened the ranges by their rarest pixels, and were worse; LOG 2026-11-22
FACES = 128
TRIED = 24  # held-out edits that choose which convolutions stay as they were
CHECKED = 48  # other held-out edits that the figures are of
BLINK_SHARE = 0.2  # as in training
# Mean differences from FP32 at which no further convolution is put back: a tenth of a grey level
# of the picture is not seen. Below that each convolution costs size and time (LOG 2026-11-29)
TARGETS = {"colour": 0.4, "blended": 0.1, "flow_px": 0.03}
MAX_COLOUR = 1.0  # grey levels of C on average: a variant that differs more is refused


@dataclass(frozen=True)
class ReferenceEdit:
    """One edit and what the bundle answers in FP32."""

    crop: np.ndarray  # (S, S, 3) uint8 BGR
    aus: np.ndarray  # (N,) float32, the bundle's order and conditioning
    edit: Edit
    drawn: np.ndarray  # (S, S, 3) uint8: the edit drawn on its crop


def quantise(
    folder: Path,
    corpora: Sequence[Path],
    faces: int = FACES,
    seed: int = 0,
    log: Callable[[str], None] = lambda _: None,
) -> tuple[Bundle, dict[str, float]]:
    """Writes the INT8 variant into a bundle's folder.

    Returns:
        The bundle, and the variant's mean differences from FP32.

    corpora: prepared folders; training people are for the ranges, those held out for the check. Ranges are of
    `faces` faces. Raises DataError, and writes nothing, when the variant is not good enough or the corpora do
    not suit; EngineError when the bundle does not.
    """
    bundle, corpus = load_bundle(folder), load_corpus(list(corpora))
    sized, backend = at_size(corpus, bundle.size_px), OpenVino()
    exact = backend.open(bundle, "fp32", backend.compile(bundle, "fp32"))
    examples = [(crop, aus) for crop, aus in edits_of(sized, exact, faces, seed, held_out=False)]
    references = [
        _reference_edit(exact, crop, aus)
        for crop, aus in edits_of(sized, exact, TRIED + CHECKED, seed + 1, held_out=True)
    ]
    log(f"taking ranges of {len(examples)} crops")
    original, half = fold_half_weights(onnx.load(bundle.onnx))
    whole, part = quantised(original, examples), staging_folder(bundle.folder)
    part.mkdir(parents=True, exist_ok=True)
    try:
        kept = _choose(original, whole, references[:TRIED], replace(bundle, folder=part), log)
        if kept == convolutions(original):
            raise DataError(
                f"No convolution of {bundle.name} can be quantised without spoiling the picture: nothing was "
                "written; leave it without INT8."
            )
        onnx.save(store_half_weights(restore_float(whole, original, kept), half), str(part / FILE))
        errors = differences(_opened(replace(bundle, folder=part)), references[TRIED:] or references)
        if errors["colour"] > MAX_COLOUR:
            raise DataError(
                f"In INT8, the colours of {bundle.name} differ from FP32 by {errors['colour']:.2f} grey "
                "levels on average, allowed is "
                f"{MAX_COLOUR:g}: nothing was written; try more --faces, or leave this bundle without INT8."
            )
        calibration = {
            "by": f"nncf {NNCF_VERSION}",
            **PRESET,
            "left_in_float": kept,
            "crops": len({crop.tobytes() for crop, _ in examples}),
            "edits": len(examples),
            "corpora": _corpora_record(corpora),
            "seed": seed,
            "differences": {name: round(errors[name], 5) for name in errors},
        }
        variant = Variant(FILE, sha256_of(part / FILE), calibration)
        write_description(replace(bundle, folder=part, variants={**bundle.variants, "int8": variant}))
        for name in (FILE, "bundle.json"):
            atomic_file.commit(part / name, bundle.folder / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return load_bundle(folder), errors


def edits_of(
    corpus: FaceCorpus, engine: Engine, count: int, seed: int, held_out: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Crops and AU inputs as training draws them, the same ones every time.

    Args:
        corpus: whose faces are drawn.
        engine: decides the AUs and their conditioning.
        count: how many.
        seed: of the choice.
        held_out: of held-out people, or of training people.

    Yields:
        A crop (S, S, 3) uint8 BGR and an AU input (N,) float32.

    Raises:
        DataError: there is no such face.
    """
    faces, rng = faces_of(corpus, held_out), np.random.default_rng(seed)
    chosen = rng.permutation(faces) if len(faces) >= count else rng.choice(faces, count)
    for face in chosen[:count]:
        own = corpus.own(int(face))
        change = draw_change(rng, own, corpus.own(int(rng.choice(faces))), towards_rest=False)
        if rng.random() < BLINK_SHARE:
            add_blink(rng, own, change)
        yield np.ascontiguousarray(corpus.picture(int(face))), engine_input(engine, own, own + change)


def differences(engine: Engine, references: Sequence[ReferenceEdit]) -> dict[str, float]:
    """Mean differences over edits: "colour", "blended" in grey levels, "attention", "flow_px" in crop pixels.

    "colour" is that of what is painted, 0 where nothing is; "flow_px" is 0 without a flow.
    """
    rows = []
    for reference in references:
        edit = engine.run(reference.crop, reference.aus)
        rows.append(
            {
                "colour": colour_difference(edit, reference.edit) or 0.0,
                "blended": np.abs(compose(reference.crop, edit).astype(int) - reference.drawn).mean(),
                "attention": np.abs(edit.attention - reference.edit.attention).mean(),
                "flow_px": 0.0
                if edit.flow is None
                else np.linalg.norm(edit.flow - reference.edit.flow, axis=-1).mean(),
            }
        )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _choose(
    original: onnx.ModelProto,
    whole: onnx.ModelProto,
    references: Sequence[ReferenceEdit],
    bundle: Bundle,
    log: Callable[[str], None],
) -> list[str]:
    """Names of the convolutions that stay as they were, in the graph's order."""
    names = convolutions(original)

    def excess(kept: Sequence[str]) -> tuple[float, dict[str, float]]:
        onnx.save(restore_float(whole, original, kept), str(bundle.folder / FILE))
        found = differences(_opened(bundle), references)
        return max(found[name] / TARGETS[name] for name in TARGETS), found

    alone = {}
    for number, name in enumerate(names, 1):
        alone[name], _ = excess([other for other in names if other != name])
        log(
            f"convolution {number} of {len(names)} alone in INT8: {alone[name]:.2f} of what is aimed at "
            f"({name})"
        )
    unfit = _unfit(names, excess)
    worst_first = sorted((name for name in names if name not in unfit), key=lambda name: -alone[name])
    for count in range(len(worst_first) + 1):
        kept = [*unfit, *worst_first[:count]]
        beyond, found = excess(kept)
        log(
            f"{len(names) - len(kept)} convolutions in INT8: "
            + ", ".join(f"{name} {found[name]:.3f}" for name in found)
        )
        if beyond <= 1:
            break
    return [name for name in names if name in kept]


def _unfit(names: Sequence[str], opens: Callable[[list[str]], object]) -> list[str]:
    """One convolution of `names`, or none, that has to stay in float for the others to be opened in INT8:
    OpenVINO has no code for some mixes (of two in a row, the second with one channel).

    opens: raises EngineError where a graph with these left in float cannot be opened.
    """
    for kept in ([], *([name] for name in reversed(names))):
        try:
            opens(kept)
        except EngineError:
            continue
        return kept
    raise EngineError("OpenVINO cannot open this generator in INT8: leave it without.")


def _opened(bundle: Bundle) -> Engine:
    """The engine of a variant that bundle.json does not describe yet."""
    bundle = replace(bundle, variants={"int8": Variant(FILE, sha256="")})
    backend = OpenVino()
    return backend.open(bundle, "int8", backend.compile(bundle, "int8"))


def _reference_edit(exact: Engine, crop: np.ndarray, aus: np.ndarray) -> ReferenceEdit:
    edit = exact.run(crop, aus).kept()
    return ReferenceEdit(crop, aus, edit, compose(crop, edit))


def _corpora_record(corpora: Sequence[Path]) -> list[dict]:
    """As in train.export.onnx_export's training record."""
    return [
        {name: manifest[name] for name in ("faces", "people", "sources")}
        for manifest in map(read_manifest, corpora)
    ]
