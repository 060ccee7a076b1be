"""The graph of the MobileStyleGAN, rewritten so that its styles can be edited and it runs six times as fast.

The synthesis network takes one 512-vector w. Inside, 23 affine layers turn it into styles: factors of the
channels of each convolution, without demodulation. Three changes are made to the graph as it is loaded:

1. The 23 styles become its inputs, and the affine layers are handed out (`styles_as_inputs`).
2. Eight inverse Haar transforms, which the file has as grouped transposed convolutions, become sums and
   DepthToSpace, with the channels before them in another order (`rewrite_haar`).
3. Styles of FIRST_LOCAL to LAST_LOCAL get additions that differ over the picture: one vector for each region
   of the face, weighted by the region's mask (`add_local_edits`).

Numbers in names of nodes are those of the file in the wheel random-face 2021.7.21.1.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from openvino import Model, opset13

FIRST_LOCAL = 3  # the first style that acts at 8 px; before it, the whole face is one pixel or few
LAST_LOCAL = 14  # the last that acts at 128 px; later ones hold colour and grain
LAYERS = 7
# Side in pixels of the feature map on which each style acts
RESOLUTIONS = (4, *(side for i in range(LAYERS) for side in (4 * 2**i, 8 * 2**i, 8 * 2**i)), 512)
Node = Any  # openvino's nodes; its stubs lack their attributes


@dataclass(frozen=True)
class Affine:
    """style = weight @ w + bias."""

    name: str  # of the convolution whose channels it scales
    weight: np.ndarray  # (C, 512) float32
    bias: np.ndarray  # (C,) float32

    def reordered(self, order: np.ndarray) -> "Affine":
        """With its channels in another order."""
        return Affine(self.name, self.weight[order], self.bias[order])


def rewrite(model: Model, regions: int) -> list[Affine]:
    """Makes the three changes; afterwards the inputs are s0..s22, m8..m128 and d3..d14.

    Args:
        model: the synthesis network, which is changed.
        regions: of the face, for local edits.

    Returns:
        The affine layers of the 23 styles, in the order of the new inputs.
    """
    affines = styles_as_inputs(model)
    orders = rewrite_haar(model)
    affines = [a.reordered(orders[a.name]) if a.name in orders else a for a in affines]
    add_local_edits(model, [len(a.bias) for a in affines], regions)
    return affines


def styles_as_inputs(model: Model) -> list[Affine]:
    """Cuts the affine layers out and gives the graph an input sN for each style, (1, C) float32."""
    found: list[tuple[int, Affine, Node]] = []
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Add" and node.get_friendly_name().startswith("Gemm_"):
            affine = _affine_of(node)
            found.append((_depth(affine.name), affine, node))
    found.sort(key=lambda item: item[0])
    inputs = []
    for number, (_, affine, node) in enumerate(found):
        inputs.append(_input(f"s{number}", [1, len(affine.bias)]))
        _replace(node.output(0), inputs[-1].output(0))
    model.add_parameters(inputs)
    w = model.get_parameters()[0]
    # What still reads w reads the size of its batch
    _replace(w.output(0), opset13.constant(np.zeros((1, 512), np.float32)).output(0))
    model.remove_parameter(w)
    model.validate_nodes_and_infer_types()
    return [affine for _, affine, _ in found]


def _affine_of(add: Node) -> Affine:
    product, bias = _source(add, 0), _source(add, 1)
    if product.get_type_name() == "Constant":
        product, bias = bias, product
    weight = next(node for node in _sources(product) if node.get_type_name() == "Constant")
    name = weight.get_friendly_name().replace(".modulation.weight", "").replace("m.", "", 1)
    return Affine(name, weight.get_data().astype(np.float32), bias.get_data().astype(np.float32).ravel())


def _depth(name: str) -> int:
    """Where in the network a modulated convolution stands."""
    if name == "conv1.conv":
        return -1
    match = re.fullmatch(r"layers\.(\d)\.(up|conv1\.conv|conv2\.conv|to_img\.conv)", name)
    if match is None:
        raise ValueError(f"{name} is no convolution of random-face 2021.7.21.1")
    return int(match[1]) * 3 + ("up", "conv1.conv", "conv2.conv", "to_img.conv").index(match[2])


def rewrite_haar(model: Model) -> dict[str, np.ndarray]:
    """Writes the inverse Haar transforms as sums and DepthToSpace.

    Each takes four bands of C / 4 channels: one of means, and three of details that lie interleaved. They are
    put one behind the other, so the channels that make them, and those styles, take another order.

    Returns:
        For each convolution whose channels moved, their new order.
    """
    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    orders = {}
    for layer in range(LAYERS):
        first = 52 + 100 * layer
        bands = nodes[f"Mul_{first + 4}"]
        orders[f"layers.{layer}.up"] = order = _bands_in_turn(bands)
        activation = next(node for node in _sources(bands) if node.get_type_name() == "PRelu")
        shifted = _source(activation, 0)
        _reorder_constant(shifted, order, axis=1)
        _reorder_constant(_source(_source(shifted, 0), 0), order, axis=0)
        _write_haar(bands, _filters(nodes, first + 16), nodes[f"Add_{first + 24}"])
    bands = nodes["Add_754"]
    order = _bands_in_turn(bands)
    _reorder_constant(bands, order, axis=1)
    _reorder_constant(_source(bands, 0), order, axis=0)
    _write_haar(bands, _filters(nodes, 775), nodes["img"])
    model.validate_nodes_and_infer_types()
    return orders


def _bands_in_turn(bands: Node) -> np.ndarray:
    channels = bands.get_output_partial_shape(0)[1].get_length()
    quarter = np.arange(channels // 4)
    return np.concatenate([quarter, *(len(quarter) + 3 * quarter + band for band in range(3))])


def _filters(nodes: dict[str, Node], first: int) -> dict[int, np.ndarray]:
    """The transform's one-dimensional filters of two taps, by their place after the node `first`."""
    found = {}
    for k in (0, 1, 3, 4, 6, 7):
        kernel = _source(nodes[f"ConvTranspose_{first + k}"], 1).get_data()
        found[k] = kernel.astype(np.float32)[0].ravel()
    return found


def _reorder_constant(node: Node, order: np.ndarray, axis: int) -> None:
    """Takes the node's constant operand of as many channels in another order."""
    for port in node.inputs():
        constant = port.get_source_output().get_node()
        if constant.get_type_name() == "Constant" and constant.get_data().shape[axis] == len(order):
            data = np.ascontiguousarray(np.take(constant.get_data(), order, axis=axis))
            port.replace_source_output(opset13.constant(data).output(0))
            return
    raise ValueError(f"{node.get_friendly_name()} has no constant of {len(order)} channels")


def _write_haar(bands: Node, taps: dict[int, np.ndarray], last: Node) -> None:
    """bands (1, C, H, W) -> (1, C / 4, 2 H, 2 W), in the place of the node `last`."""
    split = opset13.split(bands.output(0), opset13.constant(np.int64(1)), 4)
    mean, across, down, both = (split.output(i) for i in range(4))

    def scaled(band: Node, factor: float) -> Node:
        return opset13.multiply(band, opset13.constant(np.full((1, 1, 1, 1), factor, np.float32)))

    corners = []
    for y in (0, 1):
        for x in (0, 1):
            low = opset13.add(scaled(mean, taps[6][x] * taps[0][y]), scaled(across, taps[6][x] * taps[1][y]))
            high = opset13.add(scaled(down, taps[7][x] * taps[3][y]), scaled(both, taps[7][x] * taps[4][y]))
            corners.append(opset13.add(low, high))
    whole = opset13.depth_to_space(opset13.concat(corners, 1), "blocks_first", 2)
    _replace(last.output(0), whole.output(0))


def add_local_edits(model: Model, widths: list[int], regions: int) -> None:
    """Adds dN @ mR, spread over the picture, to the styles N of FIRST_LOCAL to LAST_LOCAL.

    New inputs: mR (regions, R * R), the masks at R pixels, and dN (C, regions), the additions.
    """
    masks = {side: _input(f"m{side}", [regions, side * side]) for side in local_resolutions()}
    added = list(masks.values())
    styles = {node.get_friendly_name(): node for node in model.get_parameters()}
    for number in range(FIRST_LOCAL, LAST_LOCAL + 1):
        width, side = widths[number], RESOLUTIONS[number]
        addition = _input(f"d{number}", [width, regions])
        added.append(addition)
        style = _only_reader(styles[f"s{number}"])  # reshaped to (1, C, 1, 1)
        readers = list(style.output(0).get_target_inputs())
        spread = opset13.matmul(addition, masks[side], False, False)
        shape = opset13.constant(np.array([1, width, side, side], np.int64))
        edited = opset13.add(style, opset13.reshape(spread, shape, False))
        for reader in readers:
            reader.replace_source_output(edited.output(0))
    model.add_parameters(added)
    model.validate_nodes_and_infer_types()


def local_resolutions() -> list[int]:
    """Sides in pixels of the masks."""
    return sorted(set(RESOLUTIONS[FIRST_LOCAL : LAST_LOCAL + 1]))


def _input(name: str, shape: list[int]) -> Node:
    node = opset13.parameter(shape, np.float32, name=name)
    node.output(0).set_names({name})
    return node


def _source(node: Node, port: int) -> Node:
    return node.input(port).get_source_output().get_node()


def _sources(node: Node) -> list[Node]:
    return [port.get_source_output().get_node() for port in node.inputs()]


def _only_reader(node: Node) -> Node:
    return next(iter(node.output(0).get_target_inputs())).get_node()


def _replace(old: Any, new: Any) -> None:
    """Lets every reader of the output `old` read `new`."""
    for reader in list(old.get_target_inputs()):
        reader.replace_source_output(new)
