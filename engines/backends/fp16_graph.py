"""A bundle's ONNX -> the graph that TensorRT compiles, with every value's type.

The only file of engines that imports onnx.

TensorRT 11, and 10 with a flag, computes each layer in the type that the graph gives. Here that is FP16 from
the first convolution to the last, and FP32 for the statistics of normalisations, for what is made of the AUs
alone, and for what follows the last convolution (flow in pixels, sampling places, the gate, which is exactly
0 for no change). Inputs and outputs keep the contract's types. onnxconverter-common does not do this: it
leaves the outputs FP16 although asked to keep them, and casts to FP16 and back between any two FP32 nodes.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from engines.errors import EngineError
from engines.foreign_errors import CPU, mapped

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
CONVOLUTIONS = {"Conv", "ConvTranspose"}
# Sums over whole planes lose digits in FP16, and squares leave its range; Resize wants its scales in FP32;
# Cast names its own type.
FULL = {
    "InstanceNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "BatchNormalization",
    "GlobalAveragePool",
    "ReduceMean",
    "ReduceSum",
    "ReduceSumSquare",
    "ReduceL2",
    "Pow",
    "Sqrt",
    "Reciprocal",
    "Exp",
    "Log",
    "Resize",
    "Cast",
}
ARITHMETIC = {"Add", "Sub", "Mul", "Div"}  # in FP32, too, when nothing but a statistic reads their result


def to_fp16(path: Path) -> ModelProto:
    """The graph in `path` with its types.

    Raises EngineError when it is no ONNX, or has weights that FP16 cannot hold.
    """
    with mapped("onnx.load", path):
        model = onnx.load(path)
        onnx.checker.check_model(model)
    _lift_constants(model)
    _fold_weights(model)
    _cast_at_the_ends(model)
    _halve(model, path)
    _drop_unread(model)
    return model


def _lift_constants(model: ModelProto) -> None:
    """Constant nodes -> initializers."""
    for node in [
        node for node in model.graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"
    ]:
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        model.graph.node.remove(node)


def _fold_weights(model: ModelProto) -> None:
    """Weights stored as FP16 and cast to FP32 in the graph -> FP32 weights."""
    weights = {weight.name: weight for weight in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in weights]:
        values = numpy_helper.to_array(weights[node.input[0]])
        wanted = helper.tensor_dtype_to_np_dtype(helper.get_node_attr_value(node, "to"))
        model.graph.initializer.append(numpy_helper.from_array(values.astype(wanted), node.output[0]))
        model.graph.node.remove(node)


def _cast_at_the_ends(model: ModelProto) -> None:
    """Casts pictures before all else and back after all else, as TensorRT cannot transpose uint8."""
    graph = model.graph
    inputs = {port.name for port in graph.input}
    outputs = {port.name for port in graph.output}
    makers = {name: node for node in graph.node for name in node.output}
    readers = _readers(model)
    for node in graph.node:
        if node.op_type != "Transpose":
            continue
        after = readers[node.output[0]]
        before = makers.get(node.input[0])
        if node.input[0] in inputs and len(after) == 1 and after[0].op_type == "Cast":
            _swap(node, after[0])
        elif (
            node.output[0] in outputs
            and before is not None
            and before.op_type == "Cast"
            and len(readers[node.input[0]]) == 1
        ):
            _swap(before, node)
    del graph.value_info[:]  # the types and shapes of values that have changed


def _swap(first: NodeProto, second: NodeProto) -> None:
    """Exchanges the operators of two nodes that follow each other; the names of values stay in place."""
    kept = NodeProto()
    kept.CopyFrom(first)
    for node, kind in ((first, second), (second, kept)):
        node.op_type, attributes = kind.op_type, list(kind.attribute)
        del node.attribute[:]
        node.attribute.extend(attributes)


def _halve(model: ModelProto, path: Path) -> None:
    """Makes the nodes that may compute in FP16 do so, and casts where a value is needed in the other type."""
    types = element_types(model)
    weights = {weight.name: weight for weight in model.graph.initializer}
    half = _half_nodes(model, types)
    nodes: list[NodeProto] = []
    other: dict[str, str] = {}  # value -> the same in the other type

    def converted(name: str, wanted: int) -> str:
        if name not in other:
            other[name] = f"{name}_{'fp16' if wanted == TensorProto.FLOAT16 else 'fp32'}"
            if name in weights:
                model.graph.initializer.append(
                    numpy_helper.from_array(_half(weights[name], path), other[name])
                )
            else:
                nodes.append(
                    helper.make_node("Cast", [name], [other[name]], name=f"{other[name]}_cast", to=wanted)
                )
        return other[name]

    for number, node in enumerate(model.graph.node):
        wanted = TensorProto.FLOAT16 if number in half else TensorProto.FLOAT
        if node.op_type != "Cast":  # which takes either type, and names its own result's
            node.input[:] = [
                converted(name, wanted) if types.get(name) in FLOATS and types[name] != wanted else name
                for name in node.input
            ]
            types.update((name, wanted) for name in node.output if types.get(name) in FLOATS)
        nodes.append(node)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)


def _half_nodes(model: ModelProto, types: dict[str, int]) -> set[int]:
    """Numbers of the nodes that compute in FP16: from the first convolution to the last on their path."""
    nodes = list(model.graph.node)
    outputs = {port.name for port in model.graph.output}
    maker = {name: number for number, node in enumerate(nodes) for name in node.output}
    readers = defaultdict(set)
    for number, node in enumerate(nodes):
        for name in node.input:
            readers[name].add(number)
    after_one: set[int] = set()
    before_one: set[int] = set()
    statistics: set[int] = set()
    for number, node in enumerate(nodes):
        earlier = {maker[name] for name in node.input if name in maker and types.get(name) in FLOATS}
        if node.op_type in CONVOLUTIONS or earlier & after_one:
            after_one.add(number)
    for number, node in reversed(list(enumerate(nodes))):
        later = {reader for name in node.output if types.get(name) in FLOATS for reader in readers[name]}
        if node.op_type in CONVOLUTIONS or later & before_one:
            before_one.add(number)
        if node.op_type in FULL or (node.op_type in ARITHMETIC and later and later <= statistics):
            statistics.add(number)
    # The ends keep the contract's types.
    ends = {number for number, node in enumerate(nodes) if outputs & set(node.output)}
    return (after_one & before_one) - statistics - ends


def _half(weight: TensorProto, path: Path) -> np.ndarray:
    """FP16 values. Raises EngineError where one is too large for it (65504)."""
    values = numpy_helper.to_array(weight)
    with np.errstate(over="ignore"):
        halved = values.astype(np.float16)
    if not np.isfinite(halved[np.isfinite(values)]).all():
        raise EngineError(f"{path} has weights that FP16 cannot hold ({weight.name})", CPU)
    return halved


def element_types(model: ModelProto) -> dict[str, int]:
    """The element type of every value that has one."""
    graph = shape_inference.infer_shapes(model).graph
    ports = {
        port.name: port.type.tensor_type.elem_type
        for port in [*graph.input, *graph.output, *graph.value_info]
    }
    return ports | {weight.name: weight.data_type for weight in graph.initializer}


def _readers(model: ModelProto) -> dict[str, list[NodeProto]]:
    readers = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers


def _drop_unread(model: ModelProto) -> None:
    """Weights that nothing reads any more are left out."""
    readers = _readers(model)
    for weight in [weight for weight in model.graph.initializer if weight.name not in readers]:
        model.graph.initializer.remove(weight)
