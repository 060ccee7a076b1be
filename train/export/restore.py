"""A bundle -> the network that it was exported from: to train on, or to export at another size.

The exporter keeps the names of parameters, except for the weights of linear layers, which it transposes and
renames: those are found by the bias that is added to their product. That the network is the right one is
checked against the bundle's outputs.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from engines.bundle import ENGINES, Bundle
from engines.errors import DataError
from train.networks.from_shape import Generator, build

STEP_PX = 16  # crops are halved four times
HALF = "_half"  # what train.export.onnx_export adds to the name of a weight that it stores as FP16


def is_bundle(place: Path) -> bool:
    """Whether a path means a bundle: a folder with a bundle.json, or the name of one in engines/.

    A name counts only where no such path exists.
    """
    return any(
        (folder / "bundle.json").is_file() for folder in ([place] if place.exists() else [ENGINES / place])
    )


def shape_of(bundle: Bundle) -> dict:
    """The shape that train.networks.from_shape makes its generator from.

    Raises DataError when the bundle does not contain it.
    """
    recorded = bundle.training.get("shape")
    shape = recorded.get("generator") if isinstance(recorded, dict) else None
    if not isinstance(shape, dict):
        raise DataError(
            f"{bundle.folder}/bundle.json lacks its network's shape: use the run that it was exported from."
        )
    return shape


def restore(bundle: Bundle) -> Generator:
    """The compact generator of a bundle, its weights as rounded there.

    Raises DataError for a graph that does not name its parameters: another version's, or the paper's network,
    whose normalisations lose theirs.
    """
    from train.export.onnx_export import ExportedGenerator, check, compare

    values, network = _values(bundle), build(shape_of(bundle))
    weights = {name: values.get(name) for name, _ in network.named_parameters()}
    missing = [
        name
        for name, value in weights.items()
        if value is None or value.shape != tuple(network.get_parameter(name).shape)
    ]
    if missing:
        raise DataError(
            f"{bundle.onnx} lacks {', '.join(missing[:3])}: use the run that it was exported from."
        )
    network.load_state_dict(
        {name: torch.from_numpy(values[name].astype(np.float32)) for name in weights}, strict=False
    )
    check(
        compare(ExportedGenerator(network).eval(), bundle, trials=2),
        f"The weights in {bundle.onnx} do not make the network that it runs",
    )
    return network.eval()


def resized(generator: Generator, size_px: int) -> Generator:
    """The same weights for crops of another size.

    Raises DataError for a size that its layers cannot halve.
    """
    if size_px % STEP_PX or not size_px:
        raise DataError(f"{size_px} px is no multiple of {STEP_PX}: generators halve their crops four times.")
    other = build({**generator.shape.as_dict(), "size_px": size_px})
    other.load_state_dict(generator.state_dict())
    return other.eval()


def _values(bundle: Bundle) -> dict[str, np.ndarray]:
    """Parameters by the names that they have in the network."""
    graph = onnx.load(str(bundle.onnx)).graph
    stored = {weight.name.removesuffix(HALF): numpy_helper.to_array(weight) for weight in graph.initializer}
    for node in graph.node:
        # The exporter stores equal parameters once
        if node.op_type == "Identity" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        if node.op_type == "Add":
            bias = next((name for name in node.input if name.endswith(".bias") and name in stored), None)
            product = next((products[name] for name in node.input if name in products), None)
            if bias and product in stored:
                stored[bias.removesuffix("bias") + "weight"] = stored[product].T
    return {
        name.removeprefix("generator."): value
        for name, value in stored.items()
        if name.startswith("generator.")
    }
