"""The graph that TensorRT compiles: which of its values are FP16, and what that changes."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="typing a graph needs onnx: pip install -e '.[tensorrt-rtx]'")
onnxruntime = pytest.importorskip(
    "onnxruntime", reason="running a to_fp16 graph here needs ONNX Runtime: pip install -e '.[reference]'"
)

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from engines.backends.fp16_graph import element_types, to_fp16  # noqa: E402
from engines.bundle import load_bundle  # noqa: E402
from engines.errors import EngineError  # noqa: E402
from engines.face.crop import cut, find_crop  # noqa: E402
from engines.face.landmarks import FaceReader  # noqa: E402

HALF, FULL = TensorProto.FLOAT16, TensorProto.FLOAT
# 2^13 + 1: x * 8193 - (x * 8193 - x) keeps the 11 digits of x that FP16 has (Veltkamp; Dekker 1971)
HIDDEN_BIT = 8193.0


def rounded_as_on_a_gpu(model):
    """ONNX Runtime computes FP16 in FP32 on a CPU and forgets to round between two nodes: here every FP16
    value is rounded.
    """
    types, nodes = element_types(model), []
    model.graph.initializer.append(numpy_helper.from_array(np.float32(HIDDEN_BIT), "split"))
    for node in model.graph.node:
        nodes.append(node)
        for place, name in enumerate(list(node.output)):
            if types.get(name) != HALF:
                continue
            node.output[place] = f"{name}/raw"
            nodes += [
                helper.make_node("Cast", [f"{name}/raw"], [f"{name}/wide"], to=FULL),
                helper.make_node("Mul", [f"{name}/wide", "split"], [f"{name}/product"]),
                helper.make_node("Sub", [f"{name}/product", f"{name}/wide"], [f"{name}/rest"]),
                helper.make_node("Sub", [f"{name}/product", f"{name}/rest"], [f"{name}/rounded"]),
                helper.make_node("Cast", [f"{name}/rounded"], [name], to=HALF),
            ]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return model


def session(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    )  # it would take the rounding out
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def kinds(model, *types):
    """Kinds of the nodes that make values of these types."""
    known = element_types(model)
    return {node.op_type for node in model.graph.node if known.get(node.output[0]) in types}


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """A small bundle of the paper's generator, which normalises."""
    torch = pytest.importorskip(
        "torch", reason="the paper's generator needs PyTorch: pip install -e '.[train]'"
    )
    from train.export.onnx_export import export
    from train.networks.paper import PaperGenerator, PaperShape

    torch.manual_seed(0)
    generator = PaperGenerator(PaperShape(size_px=64, width=8, blocks=1))
    return export(generator.eval(), tmp_path_factory.mktemp("paper") / "paper", {})[0]


@pytest.fixture(scope="module")
def crop(photo):
    with FaceReader() as reader:
        return cut(photo, find_crop(reader.read(photo)[0], 256))


def test_the_convolutions_are_fp16_and_what_follows_the_last_is_not():
    model = to_fp16(load_bundle("default").onnx)
    onnx.checker.check_model(model, full_check=True)
    types = element_types(model)
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert {types[name] for name in [*node.input, *node.output]} == {HALF}, node.name
    assert {"GridSample", "Resize", "Sigmoid", "ReduceSum", "Floor", "AveragePool", "MatMul"} <= kinds(
        model, FULL
    ) - kinds(model, HALF)
    assert [
        (port.name, port.type.tensor_type.elem_type) for port in [*model.graph.input, *model.graph.output]
    ] == [
        ("image", TensorProto.UINT8),
        ("aus", FULL),
        ("colour", TensorProto.UINT8),
        ("attention", FULL),
        ("flow", FULL),
    ]


def test_nothing_but_a_cast_touches_uint8():
    """TensorRT takes a picture in bytes only if it is cast at once."""
    model = to_fp16(load_bundle("default").onnx)
    types = element_types(model)
    touching = [
        node
        for node in model.graph.node
        if TensorProto.UINT8 in {types.get(name) for name in [*node.input, *node.output]}
    ]
    assert [node.op_type for node in touching] == ["Cast", "Cast"]
    assert touching[0].input[0] == "image" and touching[1].output[0] == "colour"


def test_no_value_is_cast_twice_in_a_row():
    model = to_fp16(load_bundle("default").onnx)
    cast = {node.output[0] for node in model.graph.node if node.op_type == "Cast"}
    assert not [node.name for node in model.graph.node if node.op_type == "Cast" and node.input[0] in cast]


def test_fp16_changes_a_real_face_by_far_less_than_a_grey_level(crop):
    bundle = load_bundle("default")
    exact = onnxruntime.InferenceSession(str(bundle.onnx), providers=["CPUExecutionProvider"])
    half = session(rounded_as_on_a_gpu(to_fp16(bundle.onnx)))
    rng = np.random.default_rng(0)
    for _ in range(3):
        change = (
            rng.uniform(-0.5, 1, (1, len(bundle.aus))) * (rng.random((1, len(bundle.aus))) < 0.4)
        ).astype(np.float32)
        (colour, attention, flow), (colour16, attention16, flow16) = (
            engine.run(None, {"image": crop[None], "aus": change}) for engine in (exact, half)
        )
        assert 0 < np.abs(flow - flow16).max() < 0.05, "rounded, but by less than a twentieth of a pixel"
        assert np.abs(colour.astype(int) - colour16).mean() < 0.05
        assert np.abs(attention - attention16).max() < 5e-3


def test_no_change_is_exactly_the_identity_in_fp16(crop):
    bundle = load_bundle("default")
    none = np.zeros((1, len(bundle.aus)), np.float32)
    _, attention, flow = session(rounded_as_on_a_gpu(to_fp16(bundle.onnx))).run(
        None, {"image": crop[None], "aus": none}
    )
    assert (attention == 1).all() and (flow == 0).all()


def test_the_papers_statistics_are_fp32_between_fp16_convolutions(paper):
    model = to_fp16(paper.onnx)
    assert {"Conv", "ConvTranspose", "Relu"} <= kinds(model, HALF) and "InstanceNormalization" not in kinds(
        model, HALF
    )
    assert {"InstanceNormalization", "Tanh", "Sigmoid"} <= kinds(model, FULL)


def test_fp16_changes_the_papers_picture_by_less_than_a_grey_level(paper):
    exact = onnxruntime.InferenceSession(str(paper.onnx), providers=["CPUExecutionProvider"])
    half, rng = session(rounded_as_on_a_gpu(to_fp16(paper.onnx))), np.random.default_rng(1)
    given = {"image": rng.integers(0, 256, (1, 64, 64, 3), np.uint8), "aus": rng.random((1, 17), np.float32)}
    (colour, attention), (colour16, attention16) = exact.run(None, given), half.run(None, given)
    assert np.abs(colour.astype(int) - colour16).mean() < 0.2
    assert 0 < np.abs(attention - attention16).max() < 5e-3


def saved(path, nodes, weights=()):
    """x (1, 2, 4, 4) -> y, as an ONNX file."""
    ports = [helper.make_tensor_value_info(name, FULL, [1, 2, 4, 4]) for name in "xy"]
    weights = [
        numpy_helper.from_array(np.asarray(value, np.float32), name)
        for name, value in {"w": np.ones((2, 2, 1, 1)), **dict(weights)}.items()
    ]
    graph = helper.make_graph(nodes, "drawn", ports[:1], ports[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def test_a_variance_that_is_spelt_out_is_fp32_with_its_squares(tmp_path):
    steps = [
        ("Conv", ["x", "w"], "a"),
        ("ReduceMean", ["a"], "mean"),
        ("Sub", ["a", "mean"], "centred"),
        ("Mul", ["centred", "centred"], "squares"),
        ("ReduceMean", ["squares"], "variance"),
        ("Add", ["variance", "epsilon"], "above"),
        ("Sqrt", ["above"], "spread"),
        ("Div", ["centred", "spread"], "normal"),
        ("Conv", ["normal", "w"], "y"),
    ]
    path = saved(
        tmp_path / "g.onnx",
        [helper.make_node(kind, given, [made]) for kind, given, made in steps],
        [("epsilon", 1e-5)],
    )
    model = to_fp16(path)
    onnx.checker.check_model(model, full_check=True)
    types = element_types(model)
    names = ("a", "mean", "centred", "squares", "variance", "above", "spread", "normal", "y")
    assert {name for name in names if types[name] == HALF} == {"a", "centred", "normal"}, (
        "the graph's output, y, keeps its type"
    )
    x = (
        np.random.default_rng(0).normal(0, 300, (1, 2, 4, 4)).astype(np.float32)
    )  # squares of it leave FP16's range
    exact = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    assert session(rounded_as_on_a_gpu(model)).run(None, {"x": x})[0] == pytest.approx(exact, abs=0.02)


def test_weights_that_fp16_cannot_hold_are_refused_by_name(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "large"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"])]
    path = saved(tmp_path / "g.onnx", nodes, [("large", np.full((2, 2, 1, 1), 1e5))])
    with pytest.raises(EngineError, match=r"FP16 cannot hold \(large\).*cpu"):
        to_fp16(path)


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "g.onnx").write_bytes(b"not a model" * 100)
    with pytest.raises(EngineError, match="not an ONNX graph"):
        to_fp16(tmp_path / "g.onnx")
