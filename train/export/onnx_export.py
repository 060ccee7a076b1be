"""A checkpoint -> a bundle: the averaged generator as ONNX, normalisation inside, checked against PyTorch.

Weights are stored as FP16 and cast in the graph (half the file; every backend folds the cast), so the parity
check compares with a PyTorch network whose weights were rounded the same way: what is compared is the graph,
not the rounding.
"""

import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from engines import atomic_file
from engines.bundle import Bundle, load_bundle, sha256_of, write_description
from engines.errors import DataError
from engines.face import au_estimator
from engines.face import crop as crops
from engines.runtime.load import load
from train import checkpoint
from train.command_line import BASELINES
from train.networks.from_shape import Generator, build

OPSET = 18
# Differences from PyTorch that are refused: more than one grey level (a rounding that falls the other way),
# two thousandths of attention (half a grey level where C and photo are as different as black and white), a
# hundredth of a pixel of flow.
MAX_COLOUR, MAX_ATTENTION, MAX_FLOW_PX = 1.01, 2e-3, 1e-2


class ExportedGenerator(nn.Module):
    """A generator with the engine's contract: uint8 BGR in, uint8 colour out, channels last; flow if any."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(self, image: Tensor, aus: Tensor) -> tuple[Tensor, ...]:
        colour, attention, flow = self.generator(image.permute(0, 3, 1, 2).float() / 255, aus)
        grey_levels = (colour.clamp(0, 1) * 255 + 0.5).floor().to(torch.uint8)
        outputs = (grey_levels.permute(0, 2, 3, 1), attention[:, 0])
        return outputs if flow is None else (*outputs, flow.permute(0, 2, 3, 1))


def load_average(folder: Path) -> Generator:
    """The averaged generator of a checkpoint.

    Raises DataError when there is none, or none that edits by AUs.
    """
    state = checkpoint.read_state(folder)
    if state["recipe"] in BASELINES:
        raise DataError(
            f"{folder} is of the baseline {state['recipe']}, which takes no AUs: compare it, it cannot drive "
            "a puppet."
        )
    average = build(state["shape"]["generator"])
    checkpoint.load(folder, {}, {"generator": average})
    return average.eval()


def export(
    generator: Generator, folder: Path, training: dict, estimator: str = au_estimator.VERSION
) -> tuple[Bundle, dict[str, float]]:
    """Writes a bundle into `folder`.

    Args:
        generator: with its averaged weights.
        folder: of the bundle.
        training: provenance, as JSON.
        estimator: version of the AU estimator of the training labels.

    Returns:
        The bundle, and the worst differences from PyTorch by output.

    It is written beside the folder and moved into it once it has passed: a bundle that was there stays until
    then. Raises DataError when the differences are too large.
    """
    shape = generator.shape.as_dict()
    rounded = build(shape).eval()
    rounded.load_state_dict({name: value.half().float() for name, value in generator.state_dict().items()})
    wrapped, part = ExportedGenerator(rounded).eval(), staging_folder(folder)
    part.mkdir(parents=True, exist_ok=True)
    try:
        path = part / "generator.onnx"
        flow_px = _write_onnx(wrapped, path)
        aus, conditioning, size_px = generator.shape.au_names, shape["conditioning"], shape["size_px"]
        pinned = Bundle(
            aus,
            conditioning,
            size_px,
            flow_px,
            crops.RULE,
            estimator,
            sha256_of(path),
            training,
            part,
            shade=shape.get("shade", False),
        )
        write_description(pinned)
        differences = compare(wrapped, load_bundle(part))
        check(differences, "The exported graph does not do what the network does")
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("generator.onnx", "bundle.json"):
            atomic_file.commit(part / name, folder / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return load_bundle(folder), differences


def staging_folder(folder: Path) -> Path:
    """Where a bundle is written before it is moved into `folder`, on the same disk.

    The folder may be named "." or through a link.
    """
    folder = folder.resolve()
    return folder.with_name(folder.name + ".part")


def _write_onnx(wrapped: ExportedGenerator, path: Path) -> int:
    """The graph with FP16 weights; returns the side of its flow field, 0 for none."""
    size, aus = wrapped.generator.shape.size_px, wrapped.generator.shape.au_count
    example = (torch.zeros(1, size, size, 3, dtype=torch.uint8), torch.zeros(1, aus))
    with torch.no_grad():
        outputs = wrapped(*example)
    names = ["colour", "attention", "flow"][: len(outputs)]
    with warnings.catch_warnings():
        # The exporter warns about itself and about what it leaves unfolded; the comparison decides
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped,
            example,
            str(path),
            input_names=["image", "aus"],
            output_names=names,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(str(path))
    _store_half(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return outputs[2].shape[1] if len(outputs) == 3 else 0


def compare(wrapped: ExportedGenerator, bundle: Bundle, trials: int = 6) -> dict[str, float]:
    """Worst differences between PyTorch and the reference backend, by output, on random pictures and changes.

    The first change is none.
    """
    engine, rng = load(bundle, "reference"), np.random.default_rng(1)
    worst = {"colour": 0.0, "attention": 0.0, "flow_px": 0.0}
    for trial in range(trials):
        image = rng.integers(0, 256, (bundle.size_px, bundle.size_px, 3), dtype=np.uint8)
        change = (rng.uniform(-1, 1, len(bundle.aus)) * (trial > 0)).astype(np.float32)
        with torch.no_grad():
            colour, attention, *flow = wrapped(torch.from_numpy(image)[None], torch.from_numpy(change)[None])
        edit = engine.run(image, change)
        worst["colour"] = max(
            worst["colour"], float(np.abs(colour[0].numpy().astype(int) - edit.colour).max())
        )
        worst["attention"] = max(
            worst["attention"], float(np.abs(attention[0].numpy() - edit.attention).max())
        )
        if flow:
            worst["flow_px"] = max(worst["flow_px"], float(np.abs(flow[0][0].numpy() - edit.flow).max()))
    return worst


def check(differences: dict[str, float], wrong: str) -> None:
    """Raises DataError that begins with `wrong` when a network and a bundle differ by more than rounding."""
    if (
        differences["colour"] > MAX_COLOUR
        or differences["attention"] > MAX_ATTENTION
        or differences["flow_px"] > MAX_FLOW_PX
    ):
        raise DataError(f"{wrong} ({differences}): nothing was written, and what was there is unharmed.")


def _store_half(graph: onnx.GraphProto) -> None:
    """Replaces every large FP32 weight by its FP16 and a Cast."""
    casts = []
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT and np.prod(weight.dims) > 256:
            name, values = weight.name, numpy_helper.to_array(weight)
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + "_half"))
            casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)


def training_record(state: dict, manifests: list[dict], **more: object) -> dict:
    """Provenance for bundle.json, from a checkpoint's state and the corpora's manifests."""
    corpora = [{"faces": m["faces"], "people": m["people"], "sources": m["sources"]} for m in manifests]
    record = {
        "images_seen": state["seen"],
        "seed": state["seed"],
        "shape": state["shape"],
        "corpora": corpora,
    }
    return record | ({"started_from": state["started_from"]} if state.get("started_from") else {}) | more
