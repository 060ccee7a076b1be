"""The GPU's backend: what it builds, by the real compiler where one is installed; how it runs and fails, by
doubles of CUDA and TensorRT.
"""

import gc
import shutil
import signal
import threading
import weakref

import numpy as np
import pytest

pytest.importorskip(
    "cuda.bindings.runtime", reason="the GPU is driven through cuda-python: pip install cuda-bindings"
)
pytest.importorskip("onnx", reason="compiling for the GPU needs onnx: pip install -e '.[tensorrt-rtx]'")
pytest.importorskip("onnxruntime", reason="the fakes run ONNX: pip install -e '.[reference]'")

from engines.backends import cuda, tensorrt
from engines.backends.fp16_graph import to_fp16
from engines.backends.tensorrt import TensorRt, find_library
from engines.bundle import ENGINES, load_bundle
from engines.errors import EngineError, EngineLost
from engines.runtime.failover import FailoverEngine
from engines.runtime.load import load, reference_engine
from engines.runtime.parity import compare
from tests.support.fake_cuda import Error, FakeCuda, FakeTensorRt, FakeTensorRtEngine, install


def quiet(_sentence):
    pass


def compiler():
    """TensorRT-RTX, which compiles without a GPU."""
    try:
        return TensorRt("tensorrt_rtx")
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def bundle():
    return load_bundle("default")


@pytest.fixture(scope="module")
def onnx(bundle):
    """What the fake takes for a compiled engine."""
    return to_fp16(bundle.onnx).SerializeToString()


@pytest.fixture
def gpu(monkeypatch):
    return install(monkeypatch)


@pytest.fixture
def photo_crop(bundle):
    crop = np.random.default_rng(0).integers(0, 256, (bundle.size_px, bundle.size_px, 3), np.uint8)
    crop.setflags(write=False)
    return crop


def change(bundle, strength=0.5):
    return np.full(len(bundle.aus), strength, np.float32)


# The fakes.


def test_the_fakes_have_no_more_than_the_real_libraries():
    from cuda.bindings import runtime

    for name in vars(FakeCuda):
        assert not name.startswith("cuda") or hasattr(runtime, name), name
    for kind in ("cudaMemcpyKind", "cudaStreamCaptureMode"):
        assert all(hasattr(getattr(runtime, kind), name) for name in vars(getattr(FakeCuda, kind)))
    assert {error.name: int(error) for error in Error}.items() <= {
        error.name: int(error) for error in runtime.cudaError_t
    }.items()
    trt = find_library(compiler().name)
    for name in (
        "uint8",
        "float32",
        "TensorIOMode",
        "ExecutionContextAllocationStrategy",
        "ComputeCapability",
        "ILogger",
        "Runtime",
    ):
        assert hasattr(trt, name), name
    for name in [name for name in vars(FakeTensorRtEngine) if not name.startswith("_")]:
        assert hasattr(trt.ICudaEngine, name) or hasattr(trt.IExecutionContext, name), name


# What is compiled, by the real compiler.


def test_the_compiler_reads_fp16_convolutions_and_fp32_statistics_from_the_default_bundle(bundle):
    backend = compiler()
    trt = find_library("tensorrt_rtx")
    _, network = backend.read(bundle, tensorrt.error_log(trt))
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    types = {
        kind: {layer.get_output(0).dtype for layer in layers if layer.type == kind}
        for kind in {layer.type for layer in layers}
    }
    assert types[trt.LayerType.CONVOLUTION] == {trt.float16}
    for kind in ("REDUCE", "GRID_SAMPLE", "RESIZE", "POOLING", "MATRIX_MULTIPLY"):
        assert types[getattr(trt.LayerType, kind)] == {trt.float32}, kind
    size, flow = bundle.size_px, bundle.flow_px
    ports = [network.get_input(n) for n in range(network.num_inputs)] + [
        network.get_output(n) for n in range(network.num_outputs)
    ]
    assert [(port.name, port.dtype, tuple(port.shape)) for port in ports] == [
        ("image", trt.uint8, (1, size, size, 3)),
        ("aus", trt.float32, (1, len(bundle.aus))),
        ("colour", trt.uint8, (1, size, size, 3)),
        ("attention", trt.float32, (1, size, size)),
        ("flow", trt.float32, (1, flow, flow, 2)),
    ]


def test_an_engine_is_compiled_from_the_default_bundle_and_reports_its_progress(bundle):
    messages = []
    compiled = compiler().compile(bundle, "fp16", messages.append)
    weights_bytes = bundle.onnx.stat().st_size  # FP16 there, too
    assert 0.8 * weights_bytes < len(compiled) < 3 * weights_bytes
    assert "default" in messages[0] and len(set(messages)) > 4


def test_the_papers_generator_compiles_with_its_normalisation_in_fp32(tmp_path):
    torch = pytest.importorskip(
        "torch", reason="the paper's generator needs PyTorch: pip install -e '.[train]'"
    )
    from train.export.onnx_export import export
    from train.networks.paper import PaperGenerator, PaperShape

    backend, trt = compiler(), find_library("tensorrt_rtx")
    torch.manual_seed(0)
    paper, _ = export(
        PaperGenerator(PaperShape(size_px=64, width=8, blocks=1)).eval(), tmp_path / "paper", {}
    )
    _, network = backend.read(paper, tensorrt.error_log(trt))
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    for kind, wanted in (
        ("CONVOLUTION", trt.float16),
        ("DECONVOLUTION", trt.float16),
        ("NORMALIZATION", trt.float32),
    ):
        assert {
            layer.get_output(0).dtype for layer in layers if layer.type == getattr(trt.LayerType, kind)
        } == {wanted}, kind
    assert len(backend.compile(paper, "fp16", quiet)) > 50_000


def test_a_turing_card_gets_an_engine_of_its_own(bundle, monkeypatch):
    """TensorRT-RTX leaves Turing out unless it is asked to compile for it."""
    backend, sizes = compiler(), set()
    for capability in ((7, 5), (8, 9)):
        monkeypatch.setattr(cuda, "runtime", FakeCuda(capability=capability))
        sizes.add(len(backend.compile(bundle, "fp16", quiet)))
    assert len(sizes) == 2


def test_what_the_progress_is_reported_to_may_stop_the_compiler(bundle):
    backend = compiler()

    def stop(sentence):
        if "compiles" not in sentence:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend.compile(bundle, "fp16", stop)


@pytest.fixture
def interrupts():
    """Ctrl-C raises KeyboardInterrupt, also where these tests are started in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_it_compiles_is_not_lost(bundle, capfd, interrupts):
    """In one of its calls back, where Ctrl-C mostly arrives, TensorRT would print it and go on: so those are
    another thread's.
    """
    backend, callers = compiler(), []

    def press(sentence):
        if "compiles" not in sentence:
            callers.append(threading.current_thread())
            if len(callers) == 1:
                signal.raise_signal(signal.SIGINT)  # the main thread answers it, when it looks up

    with pytest.raises(KeyboardInterrupt):
        backend.compile(bundle, "fp16", press)
    assert threading.main_thread() not in callers and not callers[0].is_alive()
    assert "KeyboardInterrupt" not in "".join(capfd.readouterr())


def test_another_precision_than_fp16_is_refused_with_what_to_ask_for(bundle):
    assert compiler().precisions(bundle) == ("fp16",)
    with pytest.raises(EngineError, match="FP16 here, not in INT8: choose the device gpu"):
        compiler().compile(bundle, "int8", quiet)


def test_a_graph_that_the_compiler_cannot_read_is_refused_in_one_sentence(tmp_path):
    import onnx as format

    backend = compiler()
    folder = tmp_path / "odd"
    shutil.copytree(ENGINES / "default", folder, ignore=shutil.ignore_patterns("*.webp", "*.md"))
    odd = load_bundle(folder)
    model = format.load(odd.onnx)
    next(
        node for node in model.graph.node if node.op_type == "Floor"
    ).op_type = "Det"  # an operator that TensorRT has not
    format.save(model, odd.onnx)
    with pytest.raises(
        EngineError, match=r"TensorRT-RTX [\d.]+ cannot read odd \(.+\): .+ the device cpu"
    ) as fault:
        backend.compile(odd, "fp16", quiet)
    assert "\n" not in str(fault.value)


# How it runs.


def test_a_real_gpu_does_what_the_reference_does(bundle):
    try:
        backend = TensorRt()
        backend.depends_on()
    except EngineError as error:
        pytest.skip(f"no GPU to run on: {error}")
    engine = backend.open(bundle, "fp16", backend.compile(bundle, "fp16", quiet))
    compare(engine, reference_engine(bundle)).require()


def test_an_engine_on_the_gpu_answers_what_the_reference_answers(bundle, onnx, gpu, photo_crop):
    engine, exact = TensorRt().open(bundle, "fp16", onnx), load(bundle, "reference")
    assert engine.name == "TensorRT 11.0.0 NVIDIA GeForce RTX 4090 FP16"
    for strength in (0.0, 0.4, -0.2):
        ours, theirs = (
            engine.run(photo_crop, change(bundle, strength)),
            exact.run(photo_crop, change(bundle, strength)),
        )
        for name in ("colour", "attention", "flow"):
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert mine.shape == other.shape and mine.dtype == other.dtype, name
            assert np.abs(mine.astype(float) - other).mean() < 0.01, name


def test_the_photo_goes_up_once_and_a_frame_sends_only_its_aus(bundle, onnx, gpu, photo_crop):
    engine = TensorRt().open(bundle, "fp16", onnx)
    gpu.cuda.copied_bytes.clear(), gpu.cuda.calls.clear()
    for strength in (0.1, 0.2, 0.3):
        engine.run(photo_crop, change(bundle, strength))
    size, flow = bundle.size_px, bundle.flow_px
    frame = [4 * len(bundle.aus), 3 * size * size, 4 * size * size, 8 * flow * flow]
    assert gpu.cuda.copied_bytes == [photo_crop.nbytes, *frame, *frame, *frame]
    frame_calls = ["cudaGraphLaunch", "cudaStreamSynchronize"]
    assert gpu.cuda.calls == ["cudaMemcpyAsync", *frame_calls * 3], "one graph holds all that a frame does"


def test_a_crop_that_may_have_changed_goes_up_again(bundle, onnx, gpu, photo_crop):
    engine, exact = TensorRt().open(bundle, "fp16", onnx), load(bundle, "reference")
    engine.run(photo_crop, change(bundle))
    crop = photo_crop.copy()
    for _ in range(2):
        crop[:] = 255 - crop
        assert (
            np.abs(engine.run(crop, change(bundle)).flow - exact.run(crop, change(bundle)).flow).mean() < 0.01
        )
    other = photo_crop[::-1]
    assert not other.flags.writeable
    assert (
        np.abs(engine.run(other, change(bundle)).flow - exact.run(other, change(bundle)).flow).mean() < 0.01
    )


def test_the_graph_is_captured_once_and_after_a_first_run(bundle, onnx, gpu, photo_crop):
    engine = TensorRt().open(bundle, "fp16", onnx)
    for _ in range(3):
        engine.run(photo_crop, change(bundle))
    assert gpu.cuda.calls.count("cudaStreamBeginCapture") == gpu.cuda.calls.count("cudaGraphInstantiate") == 1
    assert "cudaStreamSynchronize" in gpu.cuda.calls[: gpu.cuda.calls.index("cudaStreamBeginCapture")]


def test_an_engine_that_cannot_be_captured_runs_all_the_same(bundle, onnx, gpu, photo_crop):
    gpu.cuda.fail("cudaStreamEndCapture", Error.cudaErrorStreamCaptureInvalidated)
    engine = TensorRt().open(bundle, "fp16", onnx)
    edit = engine.run(photo_crop, change(bundle))
    assert "cudaGraphLaunch" not in gpu.cuda.calls
    assert np.abs(edit.flow - load(bundle, "reference").run(photo_crop, change(bundle)).flow).mean() < 0.01


def test_tensorrt_rtx_computes_in_memory_that_lives_as_long_as_the_engine(bundle, onnx, gpu, photo_crop):
    gpu.trt.as_rtx()
    engine = TensorRt().open(bundle, "fp16", onnx)
    assert engine.name == "TensorRT-RTX 1.5.0 NVIDIA GeForce RTX 4090 FP16"
    gc.collect()
    assert np.abs(engine.run(photo_crop, change(bundle)).flow).max() > 1
    assert "cudaGraphLaunch" in gpu.cuda.calls and len(gpu.cuda.memory) == 2 * 5 + 1
    del engine
    gc.collect()
    assert not gpu.cuda.memory


def test_an_engine_that_needs_more_memory_than_there_is_is_an_error(bundle, onnx, gpu):
    gpu.trt.as_rtx()
    gpu.cuda.fail("cudaMalloc", Error.cudaErrorMemoryAllocation)
    with pytest.raises(EngineError, match="out of memory"):
        TensorRt().open(bundle, "fp16", onnx)


def test_numbered_outputs_are_taken_in_the_contracts_order(bundle, onnx, gpu, photo_crop):
    gpu.trt.renamed = {
        "colour": "output0",
        "attention": "output1",
        "flow": "output2",
        "image": "arg0",
        "aus": "arg1",
    }
    edit = TensorRt().open(bundle, "fp16", onnx).run(photo_crop, change(bundle))
    assert (
        np.abs(edit.attention - load(bundle, "reference").run(photo_crop, change(bundle)).attention).max()
        < 0.01
    )


def test_a_generator_without_flow_gives_none(gpu, tmp_path):
    torch = pytest.importorskip(
        "torch", reason="the paper's generator needs PyTorch: pip install -e '.[train]'"
    )
    from train.export.onnx_export import export
    from train.networks.paper import PaperGenerator, PaperShape

    torch.manual_seed(0)
    paper, _ = export(
        PaperGenerator(PaperShape(size_px=64, width=8, blocks=1)).eval(), tmp_path / "paper", {}
    )
    edit = (
        TensorRt()
        .open(paper, "fp16", to_fp16(paper.onnx).SerializeToString())
        .run(np.zeros((64, 64, 3), np.uint8), change(paper))
    )
    assert edit.flow is None and edit.colour.shape == (64, 64, 3) and edit.attention.shape == (64, 64)


def test_an_engine_of_another_bundle_is_refused(bundle, gpu, onnx):
    other = load_bundle("default")
    object.__setattr__(other, "aus", other.aus[:-1])
    with pytest.raises(EngineError, match="do not belong together"):
        TensorRt().open(other, "fp16", onnx)


def test_an_engine_of_other_types_is_refused(bundle, gpu, onnx, monkeypatch):
    monkeypatch.setattr(FakeTensorRt, "uint8", "int32")
    with pytest.raises(EngineError, match="has image as uint8 instead of int32: compile it again"):
        TensorRt().open(bundle, "fp16", onnx)


def test_inputs_of_another_shape_are_refused(bundle, gpu, onnx, photo_crop):
    engine = TensorRt().open(bundle, "fp16", onnx)
    with pytest.raises(EngineError, match=r"\(128, 128, 3\)"):
        engine.run(photo_crop[:128, :128], change(bundle))


def test_an_engine_may_be_opened_in_one_thread_and_run_in_another(bundle, gpu, onnx, photo_crop):
    opened = []
    thread = threading.Thread(target=lambda: opened.append(TensorRt().open(bundle, "fp16", onnx)))
    thread.start()
    thread.join()
    assert opened[0].run(photo_crop, change(bundle)).colour.shape == photo_crop.shape


def test_an_engine_that_is_dropped_gives_everything_back(bundle, gpu, onnx, photo_crop):
    engine = TensorRt().open(bundle, "fp16", onnx)
    attention = engine.run(photo_crop, change(bundle)).attention
    before, gone = attention.copy(), weakref.ref(engine)
    assert len(gpu.cuda.memory) == 2 * 5 and len(gpu.cuda.handles) == 2, (
        "five ports on both sides; a stream and a graph"
    )
    del engine
    gc.collect()
    assert gone() is None and len(gpu.cuda.memory) == 1, "what an Edit still shows is kept"
    assert np.array_equal(attention, before)
    del attention
    gc.collect()
    assert not gpu.cuda.memory and not gpu.cuda.handles


# What a compiled engine is good for.


def test_a_compiled_engine_depends_on_library_gpu_driver_and_typing(gpu, bundle):
    facts = TensorRt().depends_on()
    assert facts["library"] == "tensorrt 11.0.0.42" and facts["device"] == "NVIDIA GeForce RTX 4090"
    assert facts["capability"] == "8.9" and facts["driver"] == "CUDA 13.0" and facts["typing"]


def test_tensorrt_rtx_under_the_name_of_tensorrt_is_called_by_its_own(gpu, monkeypatch):
    monkeypatch.setattr(gpu.trt, "_package_name", "tensorrt_rtx", raising=False)
    assert TensorRt().depends_on()["library"].startswith("tensorrt_rtx ")


# Faults before anything runs.


@pytest.mark.parametrize(
    ("error", "driver", "fragment"),
    [
        (Error.cudaErrorInsufficientDriver, 0, "no NVIDIA driver on this machine: install one"),
        (Error.cudaErrorStubLibrary, 0, "no NVIDIA driver on this machine: install one"),
        (
            Error.cudaErrorInsufficientDriver,
            12040,
            r"too old: it knows CUDA 12\.4 and this program needs CUDA 13: update the driver",
        ),
        (Error.cudaErrorNoDevice, 13000, "sees no NVIDIA GPU.*CUDA_VISIBLE_DEVICES"),
        (Error.cudaErrorSystemDriverMismatch, 13000, "of different versions: restart the machine"),
        (Error.cudaErrorDevicesUnavailable, 13000, "Another program has the GPU to itself.*close"),
        (Error.cudaErrorUnknown, 13000, "The GPU failed .cudaErrorUnknown.*update the NVIDIA driver"),
    ],
)
def test_a_machine_that_cannot_run_on_a_gpu_reports_why_and_what_else_to_do(
    gpu, monkeypatch, error, driver, fragment
):
    fake = FakeCuda(driver=driver)
    fake.fail("cudaGetDeviceCount", error)
    monkeypatch.setattr(cuda, "runtime", fake)
    with pytest.raises(EngineError, match=f"{fragment}.*or choose the device cpu") as fault:
        TensorRt().depends_on()
    assert not isinstance(fault.value, EngineLost)


def test_this_machine_has_a_gpu_or_reports_in_one_sentence_that_it_has_none():
    try:
        assert cuda.find_gpu().name
    except EngineError as error:
        assert str(error).endswith("or choose the device cpu.") and "\n" not in str(error)


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaMallocHost"])
def test_too_little_memory_for_the_engine_is_an_error(bundle, onnx, gpu, call):
    gpu.cuda.fail(call, Error.cudaErrorMemoryAllocation, after=2)
    with pytest.raises(EngineError, match="out of memory: close other programs"):
        TensorRt().open(bundle, "fp16", onnx)
    gc.collect()
    assert not gpu.cuda.memory


def test_an_engine_that_does_not_open_is_reported_with_the_gpu_and_the_librarys_reason(bundle, gpu):
    with pytest.raises(
        EngineError,
        match=r"TensorRT 11.+cannot open its engine on NVIDIA GeForce RTX 4090 \(.*8\.9\)"
        r".*magic tag does not match\)",
    ):
        TensorRt().open(bundle, "fp16", b"another version's engine")


@pytest.mark.parametrize(
    ("capability", "advice"),
    [((9, 0), r"pip install -e '\.\[tensorrt\]'"), ((12, 0), "another version of TensorRT-RTX")],
)
def test_a_gpu_that_tensorrt_rtx_does_not_support_is_advised_to_use_tensorrt(
    bundle, gpu, monkeypatch, capability, advice
):
    gpu.trt.as_rtx()
    monkeypatch.setattr(cuda, "runtime", FakeCuda("NVIDIA H100", capability))
    with pytest.raises(EngineError, match=f"on NVIDIA H100 .*{advice}.*the device cpu"):
        TensorRt().open(bundle, "fp16", b"an engine that it cannot read")


def test_the_real_runtime_without_a_gpu_is_reported_in_one_sentence(bundle, monkeypatch):
    backend = compiler()
    try:
        pytest.skip(f"this machine has a GPU: {cuda.find_gpu().name}")
    except EngineError:
        compiled = backend.compile(bundle, "fp16", quiet)
    monkeypatch.setattr(cuda, "runtime", FakeCuda())
    with pytest.raises(
        EngineError, match=r"TensorRT-RTX .+ cannot open its engine on NVIDIA GeForce RTX 4090 .+ \(.+\): "
    ) as fault:
        backend.open(bundle, "fp16", compiled)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    "fault", ["raise OSError('libnvinfer.so.11: cannot open')", "import tensorrt_libs_of_its_own"]
)
def test_tensorrt_that_is_installed_but_broken_is_reported_as_such(monkeypatch, tmp_path, fault):
    import sys

    (tmp_path / "tensorrt.py").write_text(fault)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match=r"tensorrt cannot be loaded .+: install it again"):
        TensorRt()


def test_tensorrt_that_is_not_installed_is_reported_with_what_to_install(monkeypatch):
    import sys

    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError, match=r"\[tensorrt-rtx\].*\[tensorrt\].*the device cpu"):
        TensorRt()


# Faults while it runs.


@pytest.mark.parametrize(
    ("call", "error", "fragment"),
    [
        ("cudaStreamSynchronize", Error.cudaErrorIllegalAddress, "The GPU failed .cudaErrorIllegalAddress"),
        ("cudaStreamSynchronize", Error.cudaErrorLaunchFailure, "The GPU failed .cudaErrorLaunchFailure"),
        ("cudaStreamSynchronize", Error.cudaErrorECCUncorrectable, "memory is faulty"),
        ("cudaGraphLaunch", Error.cudaErrorMemoryAllocation, "out of memory: close other programs"),
        ("cudaGraphLaunch", Error.cudaErrorDevicesUnavailable, "Another program has the GPU to itself"),
        ("cudaMemcpyAsync", Error.cudaErrorUnknown, "The GPU failed .cudaErrorUnknown"),
    ],
)
def test_a_gpu_that_fails_while_it_runs_is_an_engine_lost(
    bundle, onnx, gpu, photo_crop, call, error, fragment
):
    engine = TensorRt().open(bundle, "fp16", onnx)
    engine.run(photo_crop, change(bundle))
    gpu.cuda.fail(call, error)
    with pytest.raises(EngineLost, match=f"{fragment}.*the device cpu") as fault:
        engine.run(photo_crop.copy(), change(bundle))
    assert "\n" not in str(fault.value)
    del engine, fault
    gc.collect()
    assert not gpu.cuda.memory, "given back, though the GPU is lost"


def test_a_puppet_whose_gpu_is_lost_goes_on_with_the_cpu(bundle, onnx, gpu, photo_crop):
    messages = []
    puppet = FailoverEngine(
        TensorRt().open(bundle, "fp16", onnx), spare=load(bundle, "reference"), notify=messages.append
    )
    before = puppet.run(photo_crop, change(bundle)).attention.copy()
    gpu.cuda.fail("cudaStreamSynchronize", Error.cudaErrorIllegalAddress)
    after = puppet.run(photo_crop, change(bundle)).attention
    assert np.abs(before - after).mean() < 0.01 and puppet.name.startswith("ONNX Runtime")
    assert "cudaErrorIllegalAddress" in messages[-1] and "Going on with ONNX Runtime" in messages[-1]


def test_a_photo_that_did_not_arrive_goes_up_again(bundle, onnx, gpu, photo_crop):
    """The GPU may recover: a crop counts as uploaded only once the frame that brought it is done."""
    engine = TensorRt().open(bundle, "fp16", onnx)
    gpu.cuda.fail("cudaStreamSynchronize", Error.cudaErrorLaunchFailure)
    with pytest.raises(EngineLost):
        engine.run(photo_crop, change(bundle))
    gpu.cuda.fail("cudaStreamSynchronize", Error.cudaSuccess)
    edit = engine.run(photo_crop, change(bundle))
    assert np.abs(edit.flow - load(bundle, "reference").run(photo_crop, change(bundle)).flow).mean() < 0.01


def test_tensorrt_that_refuses_to_go_on_is_an_engine_lost(bundle, onnx, gpu, photo_crop):
    gpu.cuda.fail(
        "cudaStreamEndCapture", Error.cudaErrorStreamCaptureUnsupported
    )  # so that each frame asks TensorRT
    engine = TensorRt().open(bundle, "fp16", onnx)
    gpu.trt.refuses_to_run = True
    with pytest.raises(EngineLost, match="refused to go on"):
        engine.run(photo_crop, change(bundle))
