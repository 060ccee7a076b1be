"""An ONNX graph whose convolutions compute in 8 bits, by QuantizeLinear and DequantizeLinear.

The one file that imports nncf.

Both OpenVINO and ONNX Runtime read such graphs, and compute a convolution between the two kinds of nodes in
integers.
"""

import logging
import os
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

os.environ.setdefault("NNCF_CI", "1")  # the library's own switch for its telemetry, which is on by default
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # nncf warns about libraries that it would also know
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

NNCF_VERSION = nncf.__version__
CONVOLUTIONS = ("Conv", "ConvTranspose")
# mixed: inputs of any sign are asymmetric. Ranges are the least and the greatest value seen: the mean over
# crops of each crop's greatest, NNCF's default, cuts the strongest expressions off (flow wrong by up to 11
# px, now 1). Weights use half of their 8 bits' range, so that sums of two products fit 16 bits on CPUs
# without VNNI, where they would saturate: costs a fifth of the accuracy, and no time.
PRESET = {"preset": "mixed", "ranges": "min, max", "overflow_fix": "enable", "bias_correction": False}


def quantised(model: ModelProto, examples: Sequence[tuple[np.ndarray, np.ndarray]]) -> ModelProto:
    """The graph with every convolution in 8 bits.

    Args:
        model: of `fold_half_weights`.
        examples: crops (S, S, 3) uint8 and AU inputs (N,) float32, from which value ranges are taken.
    """
    nncf.set_log_level(logging.ERROR)
    copy = ModelProto()
    copy.CopyFrom(model)
    others = sorted({node.op_type for node in model.graph.node} - {*CONVOLUTIONS, "Constant"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nncf's own
        return nncf.quantize(
            copy,
            nncf.Dataset([{"image": crop[None], "aus": aus[None]} for crop, aus in examples]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(examples),
            ignored_scope=nncf.IgnoredScope(types=others, validate=False),
            advanced_parameters=AdvancedQuantizationParameters(
                overflow_fix=OverflowFix.ENABLE,
                disable_bias_correction=True,  # moved no figure with these ranges; LOG 2026-11-22
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )


def convolutions(model: ModelProto) -> list[str]:
    """Names, in the graph's order."""
    return [node.name for node in model.graph.node if node.op_type in CONVOLUTIONS]


def restore_float(whole: ModelProto, original: ModelProto, names: Sequence[str]) -> ModelProto:
    """A quantised graph in which the named convolutions are as they were."""
    model = ModelProto()
    model.CopyFrom(whole)
    before = {node.name: node for node in original.graph.node}
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in CONVOLUTIONS and node.name in names:
            dequantised = makers[node.input[0]]
            node.input[:] = [makers[dequantised.input[0]].input[0], *before[node.name].input[1:]]
    there, wanted = {weight.name for weight in model.graph.initializer}, _read(model.graph)
    model.graph.initializer.extend(
        weight for weight in original.graph.initializer if weight.name in wanted - there
    )
    _drop_unused(model.graph)
    del model.graph.value_info[:]  # shapes that readers find by themselves
    onnx.checker.check_model(model)
    return model


def fold_half_weights(model: ModelProto) -> tuple[ModelProto, set[str]]:
    """Turns the FP16 weights and casts of a bundle's graph into FP32 weights, in place.

    Returns:
        The graph, and the names of those weights.
    """
    stored = {
        weight.name: weight for weight in model.graph.initializer if weight.data_type == TensorProto.FLOAT16
    }
    casts = [node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in stored]
    for node in casts:
        weight = stored[node.input[0]]
        weight.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), node.output[0])
        )
        model.graph.node.remove(node)
    return model, {node.output[0] for node in casts}


def store_half_weights(model: ModelProto, names: set[str]) -> ModelProto:
    """`fold_half_weights` undone, in place, for those of the weights that are still there."""
    for weight in [weight for weight in model.graph.initializer if weight.name in names]:
        name = weight.name
        weight.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), name + "_half")
        )
        model.graph.node.insert(0, helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    onnx.checker.check_model(model)
    return model


def _read(graph: GraphProto) -> set[str]:
    return {name for node in graph.node for name in node.input} | {port.name for port in graph.output}


def _drop_unused(graph: GraphProto) -> None:
    """Takes out nodes and weights that nothing reads, and what only those read."""
    read = _read(graph)
    while unread := [node for node in graph.node if not read & set(node.output)]:
        for node in unread:
            graph.node.remove(node)
        read = _read(graph)
    kept = [weight for weight in graph.initializer if weight.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
