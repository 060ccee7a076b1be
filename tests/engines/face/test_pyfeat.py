"""py-feat: its weights found or reported missing.

Where it is installed, also its real network with seeded random weights, through the thread.
"""

import hashlib
import json
import socket
import threading
import time
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from engines.errors import EngineError
from engines.face import au_estimator, pyfeat, pyfeat_weights
from engines.face.action_units import PAPER_17
from engines.face.landmarks import FaceReader
from engines.face.pyfeat_weights import FILE, REPOSITORY, find_weights, split_pin
from realtime.commands import animate
from realtime.messages import Frame
from realtime.process.log import LOG
from realtime.tracking import driver_profile
from realtime.tracking.background_estimator import BackgroundEstimator
from realtime.tracking.estimator_fusion import FROM_SLOW, FusedEstimator
from tests.conftest import SAMPLES
from tests.realtime.tracking.test_estimator_fusion import of
from tests.support.waiting import wait_for

installed = pytest.mark.skipif(
    find_spec("feat") is None, reason="py-feat is not installed: pip install -e '.[pyfeat]'"
)
AT_ONCE_S = 1.0  # in which a missing piece is reported


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of py-feat's that is empty."""
    monkeypatch.setattr(pyfeat_weights, "hub_folder", lambda: tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


def refusal(wanted: str | None) -> str:
    """The one sentence with which weights are refused, at once."""
    start_s = time.perf_counter()
    with pytest.raises(EngineError) as caught:
        find_weights(wanted)
    assert time.perf_counter() - start_s < AT_ONCE_S
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


def test_missing_weights_are_reported_at_once_with_both_ways_to_have_them(hub):
    assert "download" in refusal(None) and "FILE" in refusal(None)


def test_a_hub_that_refuses_is_reported_at_once(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "127.0.0.1:9 does not answer" in refusal("download")


def test_a_hub_that_does_not_answer_is_reported_at_once(hub, monkeypatch):
    """As where a name is looked up on a line that swallows everything."""
    release = threading.Event()

    def silent(*_):
        release.wait(20)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", silent)
    try:
        assert "does not answer" in refusal("download")
    finally:
        release.set()


@pytest.mark.parametrize("place", ["http://127.0.0.1:port", "http://a..b/"])
def test_a_hub_whose_address_is_none_is_one_that_does_not_answer(place):
    assert not pyfeat_weights.reachable(place)


def test_nothing_is_fetched_where_the_user_switched_the_hub_off(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in refusal("download")


def kept(hub, data: bytes, name: str | None = None):
    """An earlier download, as the hub's cache keeps it: a link to a file that is named by its SHA-256."""
    repository = hub / f"models--{REPOSITORY.replace('/', '--')}"
    blob = repository / "blobs" / (name or hashlib.sha256(data).hexdigest())
    link = repository / "snapshots" / "0123abcd" / FILE
    for path in (blob, link):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(data)
    link.symlink_to(blob)
    return link


def test_an_earlier_download_is_found_and_a_damaged_one_refused(hub):
    link = kept(hub, b"numbers")
    assert find_weights() == find_weights("download") == link, "nor is it fetched again"
    link.resolve().write_bytes(b"other numbers")
    assert "not what was pinned" in refusal(None) and "delete" in refusal(None)


def test_a_file_is_held_against_its_pin(hub, tmp_path):
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"numbers")
    right, wrong = hashlib.sha256(b"numbers").hexdigest(), "0" * 64
    assert (
        find_weights(str(file))
        == find_weights(f"{file}@{right}")
        == find_weights(f"{file}@{right.upper()}")
        == file
    )
    assert "not what was pinned" in refusal(f"{file}@{wrong}")
    assert split_pin("me@home.safetensors") == ("me@home.safetensors", None)


def test_formats_that_can_hold_programs_are_refused(hub, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"anything")
    assert ".safetensors" in refusal(str(tmp_path / "weights.pt")) and "no weights" in refusal(
        str(tmp_path / "none.safetensors")
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """py-feat's real network with seeded random weights, as its .safetensors are written; the smallest
    ConvNeXt of its family.
    """
    pyfeat._feat()
    import torch
    from feat.multitask.model_v2 import MEGraphAUv2, ModelV2Config
    from safetensors.torch import save_file

    torch.manual_seed(7)
    config = ModelV2Config(
        backbone="convnextv2_atto", n_au=20, n_emotion=7, n_blendshape=52, mesh_normalized=True,
        use_head_v3=True, drop_mefl=True,
        emotion_use_au_prob=True, gaze_eye_roi=True, gaze_pose_6d=True, pretrained=False,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("pyfeat") / "seeded.safetensors"
    save_file(MEGraphAUv2(config).state_dict(), path, metadata={"config": json.dumps(asdict(config))})
    return path


@pytest.fixture(scope="module")
def network(weights):
    return pyfeat.PyFeat(weights, device="cpu")


@pytest.fixture(scope="module")
def seen():
    """A frame at a camera's size, and the face that the tracker sees in it."""
    frame = cv2.resize(cv2.imread(str(SAMPLES / "woman.jpg")), (640, 640), interpolation=cv2.INTER_AREA)[
        80:560
    ].copy()
    with FaceReader() as reader:
        return frame, reader.read(frame)[0]


@installed
def test_what_is_asked_for_is_what_the_installed_py_feat_asks_for(network):
    from feat.multitask import inference

    assert (inference.HF_REPO, inference.HF_WEIGHTS_FILE, version("py-feat")) == (
        REPOSITORY,
        FILE,
        pyfeat.TRIED,
    )


@installed
def test_its_aus_are_ours_by_name_cut_out_as_its_own_detector_does(network, weights, seen):
    """Against Detectorv2's own way: its cut of the same box, its network whole, its names."""
    from types import SimpleNamespace

    import torch
    from feat import Detectorv2
    from feat.multitask.inference import MultitaskModel

    frame, face = seen
    pixels = torch.from_numpy(np.ascontiguousarray(frame[..., ::-1])).permute(2, 0, 1)[None]
    detector = SimpleNamespace(
        device=torch.device("cpu"), face_size=256
    )  # its face detector wants weights of its own
    faces = Detectorv2.crop_faces_from_boxes(detector, pixels, torch.tensor([face.box_px]))[0]["faces"]
    with torch.compiler.set_stance(
        "force_eager"
    ):  # its gaze head compiles where torchvision's operators are missing
        theirs = MultitaskModel(weights_path=weights)(faces)
    by_name = dict(zip(theirs.au_names, theirs.au[0], strict=True))
    found = network(frame, face)
    assert found.shape == (17,) and found.dtype == np.float32 and 0 <= found.min() and found.max() <= 1
    assert found == pytest.approx([by_name["AU43" if au == "AU45" else au] for au in PAPER_17], abs=1e-5)
    assert np.ptp(found) > 0.02, "random weights that say the same of every AU would show nothing"
    assert np.abs(network(frame[..., ::-1].copy(), face) - found).max() > 1e-4, "red is not blue"


@installed
def test_the_real_network_in_the_thread_delays_no_frame_and_answers_in_order(weights, seen):
    frame, face = seen
    gate, looks = threading.Event(), []

    class Gated(pyfeat.PyFeat):
        def __call__(self, frame_bgr, face):
            looks.append(time.perf_counter())
            gate.wait(20)
            return super().__call__(frame_bgr, face)

    messages = []
    slow = BackgroundEstimator(Gated(weights, device="cpu"), messages.append)
    second = FusedEstimator(slow, messages.append, pyfeat.Scale.default())
    try:
        zero, start_s, tick = np.zeros(29, np.float32), time.perf_counter(), 0

        def step() -> np.ndarray:
            nonlocal tick
            tick += 1
            return second(zero, Frame(frame, start_s + tick / 30), face)

        step()
        wait_for(lambda: looks)
        for _ in range(30):
            assert not step().any()  # a second of frames while it looks at the first
        assert len(looks) == 1 and slow.newest is None and slow.dropped == 29
        gate.set()
        order = []
        while len(order) < 5 or not any(second.weights.values()):
            assert len(order) < 100 and not slow.ended, messages
            wait_for(lambda: slow.ended or (slow.newest and slow.newest.captured_s not in order[-1:]))
            order.append(slow.newest.captured_s)
            moved = step()
        assert order == sorted(set(order)), "each answer is of a later frame"
        assert slow.newest.values.shape == (17,) and moved.shape == (29,)
        assert set(np.flatnonzero(moved)) <= set(au_estimator.index(FROM_SLOW))
    finally:
        gate.set()
        second.close()


@installed
def test_a_lesson_from_a_clip_teaches_the_real_networks_two_points(weights, tmp_path, capsys):
    clip, path = str(SAMPLES / "driver.mp4"), str(tmp_path / "me.json")
    assert (
        animate.main(
            [
                "calibrate",
                "--driver",
                clip,
                "--name",
                path,
                "--aus",
                "py-feat",
                "--pyfeat-weights",
                str(weights),
            ]
        )
        == 0
    )
    assert "py-feat's, at rest and in full: AU06" in capsys.readouterr().err
    LOG.handlers.clear()  # which the command gave the test's own standard error
    scale = driver_profile.load(path).pyfeat
    assert scale.rest.min() >= 0 and np.ptp(scale.rest) > 0.02, "its own of each AU"
    assert (scale.full - scale.rest >= pyfeat.LEAST_RANGE - 1e-3).all() and scale.full.max() <= 1


@installed
def test_a_network_that_fails_in_a_call_is_left_with_one_message(weights, seen):
    frame, face = seen

    class Failing(pyfeat.PyFeat):
        def _estimate(self, frame_bgr, face):
            raise RuntimeError("CUDA error: the GPU has fallen off the bus\nand more")

    messages = []
    slow = BackgroundEstimator(Failing(weights, device="cpu"), messages.append)
    second = FusedEstimator(slow, messages.append, pyfeat.Scale.default())
    second(np.zeros(29, np.float32), Frame(frame, 1.0), face)
    wait_for(lambda: slow.ended)
    assert of(second(np.zeros(29, np.float32), Frame(frame, 1.1), face), "AU09") == 0
    second.close()
    assert len(messages) == 1 and "fallen off the bus" in messages[0] and "\n" not in messages[0]


@installed
@pytest.mark.parametrize("broken", ["cut short", "no config", "other tensors"])
def test_weights_that_do_not_fit_are_refused_in_one_sentence(weights, tmp_path, broken):
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "broken.safetensors"
    if broken == "cut short":
        path.write_bytes(weights.read_bytes()[:5000])
    elif broken == "no config":
        save_file({"a": np.zeros(3, np.float32)}, path)
    else:
        tensors = load_file(weights)
        tensors.pop("sc.s")
        save_file(
            tensors,
            path,
            metadata={
                "config": json.dumps(
                    {"backbone": "convnextv2_atto", "n_au": 20, "use_head_v3": True, "drop_mefl": True}
                )
            },
        )
    with pytest.raises(EngineError) as caught:
        pyfeat.PyFeat(path, device="cpu")
    assert "does not fit py-feat's network" in str(caught.value) and "\n" not in str(caught.value)
