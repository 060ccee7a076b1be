"""Training on a toy corpus made of the shipped photos: every step from faces to a bundle, small but real."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError, EngineError  # noqa: E402
from engines.face import au_estimator  # noqa: E402
from engines.face.action_units import PAPER_17, WIDE  # noqa: E402
from engines.face.au_estimator import index  # noqa: E402
from engines.face.mesh import mean_face  # noqa: E402
from engines.runtime.load import load  # noqa: E402
from train import __main__ as command  # noqa: E402
from train.data.labels import opening  # noqa: E402
from train.export.onnx_export import ExportedGenerator, compare, export, load_average, training_record  # noqa: E402
from train.networks.compact import MOST_SHADE, CompactGenerator, Drawn, Shape, compose, warp  # noqa: E402
from train.networks.paper import PaperGenerator, PaperShape  # noqa: E402
from train.recipes.supervised import supervised_loss, weighted_mean  # noqa: E402
from train.synthesis.deform import basis, moved  # noqa: E402
from train.synthesis.mouths import needs_mouth  # noqa: E402
from train.synthesis.pairs import PairSource  # noqa: E402
from train.synthesis.regions import UNKNOWN, shut_lips  # noqa: E402
from train.synthesis.warp import flow_between, warp_picture  # noqa: E402

TINY = Shape(size_px=64, quarter=8, eighth=16, sixteenth=16, blocks=(1, 1, 1, 1), head=8)


def test_the_flow_between_two_meshes_draws_one_as_the_other(recorded):
    mesh = recorded["neutral"].mesh_px
    change = np.zeros(29, np.float32)
    change[index(("AU12",))] = 0.8
    target = moved(mesh, np.zeros(29, np.float32), change)
    flow = flow_between(target, mesh, 512)
    for point in (205, 425, 50, 280, 187, 411):  # cheeks: looking there finds where the landmark came from
        x, y = np.round(target[point, :2]).astype(int)
        assert flow[y, x] + [x, y] == pytest.approx(mesh[point, :2], abs=1.6)
    assert not flow[:20].any() and not flow[:, :20].any(), "the background rests"
    ramp = np.tile(np.arange(512, dtype=np.float32), (512, 1))
    assert warp_picture(ramp, flow)[300, 300] == pytest.approx(300 + flow[300, 300, 0], abs=0.05)


@pytest.mark.parametrize("name", ["AU12", "AU26", "AU04", "AU09", "AU15", "AU45"])
def test_the_estimator_sees_in_a_moved_mesh_what_was_asked(recorded, name):
    from train.synthesis.blendshape_net import BlendshapeNet

    net, places = BlendshapeNet(), index((name,))
    mesh = recorded["neutral"].mesh_px
    before = au_estimator.measure_meshes(mesh, net(mesh))
    assert before == pytest.approx(au_estimator.measure(recorded["neutral"]), abs=1e-3), (
        "the network alone equals the landmarker"
    )
    change = np.zeros(29, np.float32)
    change[places] = 0.6
    after_mesh = moved(mesh, np.clip(before, 0, 1), change)
    after = au_estimator.measure_meshes(after_mesh, net(after_mesh))
    assert (after[places] - before[places] > 0.2).all(), "on both sides"


def test_a_full_blink_shuts_the_lids(recorded):
    mesh = recorded["open"].mesh_px
    blink, wink = np.zeros(29, np.float32), np.zeros(29, np.float32)
    blink[index(("AU45",))] = wink[WIDE.index("AU45R")] = 1.0

    def gaps(change: np.ndarray) -> np.ndarray:
        """Of the right eye and the left, as shares of what they were."""
        after = moved(mesh, np.zeros(29, np.float32), change)
        return np.divide(
            *(np.linalg.norm(m[[159, 386], :2] - m[[145, 374], :2], axis=-1) for m in (after, mesh))
        )

    assert gaps(blink).max() < 0.15
    assert gaps(wink)[0] < 0.15 and gaps(wink)[1] > 0.9, "the right eye alone"
    assert basis().shape == (29, 478, 3)


def test_lips_that_part_ask_for_a_mouth_and_lips_that_shut_hide_the_teeth(recorded):
    closed, grin = recorded["neutral"].mesh_px, recorded["open"].mesh_px
    small, large = (float(opening(mesh)[0]) for mesh in (closed, grin))
    assert needs_mouth(small, large) and not needs_mouth(large, small)
    drawn_in = shut_lips(grin, large, small)
    assert drawn_in[13, 1] < grin[13, 1] and drawn_in[14, 1] > grin[14, 1]
    assert shut_lips(closed, small, large) is closed


def test_pair_number_i_is_always_the_same_pair(corpus):
    a, b = PairSource(corpus, seed=3)[7], PairSource(corpus, seed=3)[7]
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(a["picture"], PairSource(corpus, seed=4)[7]["picture"])


def test_pairs_of_no_change_would_be_no_pairs(corpus):
    pairs = PairSource(corpus, seed=0)
    changes = np.array([pairs[i]["change"] for i in range(60)])
    assert np.abs(changes).max() <= 1 and (np.abs(changes).sum(axis=1) > 0.05).mean() > 0.75, (
        "but for four people, who are drawn against themselves now and then"
    )
    assert changes.shape == (60, 29) and (changes > 0.25).any(axis=0).sum() >= 24, (
        "every AU is asked for, sooner or later"
    )
    rights, lefts = ([WIDE.index(name[:-1] + side) for name in WIDE if name.endswith("R")] for side in "RL")
    assert (np.abs(changes[:, rights] - changes[:, lefts]) > 0.25).any(axis=0).mean() > 0.5, (
        "and one side alone, too"
    )


def test_the_warp_in_torch_is_the_warp_in_numpy(corpus):
    picture, rng = corpus.picture(0), np.random.default_rng(0)
    flow = rng.uniform(-6, 6, (64, 64, 2)).astype(np.float32)
    ours = warp(
        torch.from_numpy(picture).permute(2, 0, 1)[None].float(),
        torch.from_numpy(flow).permute(2, 0, 1)[None],
    )
    assert np.abs(ours[0].permute(1, 2, 0).numpy() - warp_picture(picture, flow).astype(float)).mean() < 1.0


def trained_a_little(shape: Shape = TINY) -> CompactGenerator:
    torch.manual_seed(0)
    network = CompactGenerator(shape)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network.eval()


def test_no_change_is_exactly_the_identity_whatever_the_weights():
    network, photo = trained_a_little(), torch.rand(2, 3, 64, 64)
    colour, attention, flow = network(photo, torch.zeros(2, 29))
    assert (attention == 1).all() and (flow == 0).all()
    assert torch.allclose(compose(photo, colour, attention, flow), photo, atol=1e-4)
    colour, attention, flow = network(photo, torch.full((2, 29), 0.3))
    assert (attention < 1).any() and (flow != 0).any()


def test_the_border_of_the_crop_is_always_the_photo():
    _, attention, flow = trained_a_little()(torch.rand(1, 3, 64, 64), torch.ones(1, 29))
    for edge in (attention[..., 0, :], attention[..., :, -1]):
        assert (edge == 1).all()
    assert (flow[..., 0, :] == 0).all() and (flow[..., -1] == 0).all()


def test_loss_terms_are_means_worked_out_by_hand():
    size = 4
    batch = {
        "picture": torch.zeros(1, 3, size, size),
        "target": torch.full((1, 3, size, size), 0.5),
        "weight": torch.ones(1, 1, size, size),
        "painted": torch.zeros(1, 1, size, size),
        "flow": torch.full((1, 2, 2, 2), 3.0),
        "flow_weight": torch.ones(1, 1, 2, 2),
        "decided": torch.ones(1, 1, size, size),
    }
    colour, attention, flow = (
        torch.ones(1, 3, size, size),
        torch.full((1, 1, size, size), 0.75),
        torch.ones(1, 2, 2, 2),
    )
    still = torch.zeros(1, 3, size, size)

    drawn = Drawn(colour, attention, flow)

    def loss(drawn):
        return supervised_loss(compose(still, *drawn[:3]), drawn, batch)

    total, terms = loss(drawn)
    assert terms["picture"] == pytest.approx(0.25), "0.75 * 0 + 0.25 * 1 against 0.5"
    assert terms["edges"] == pytest.approx(0, abs=1e-6)
    assert terms["flow"] == pytest.approx(2.0 * 256 / size)
    assert terms["changed"] == pytest.approx(0.25) and terms["open"] == 0
    assert terms["colour"] == pytest.approx(0.1 * 0.5)
    assert terms["skin"] == pytest.approx(0.25), "a pixel of weight 1 is skin"
    assert float(total) == pytest.approx(4 * 0.25 + 0.06 * 128 + 2 * 0.05 + (0.02 + 0.6) * 0.25, rel=1e-5)
    eyes = supervised_loss(colour, drawn, batch | {"weight": batch["weight"] * 5})[1]
    behind = supervised_loss(colour, drawn, batch | {"weight": batch["weight"] * 0})[1]
    assert eyes["skin"] == pytest.approx(0.05) and behind["skin"] == pytest.approx(0.25 / 0.4)
    hidden = {"decided": batch["decided"] * 0, "weight": batch["weight"] * UNKNOWN}
    assert supervised_loss(colour, drawn, batch | hidden)[1]["skin"] == pytest.approx(0.25), (
        "a mouth that only the target shows may be painted as any other"
    )
    batch |= {"mouth": torch.ones(1, 1, size, size), "teeth": torch.full((1, 2, 2, 2), 0.1)}
    inside, where = torch.full((1, 1, size, size), 0.5), torch.full((1, 2, 2, 2), 0.3)
    with_teeth, terms = loss(drawn._replace(inside=inside, where=where))
    assert terms["inside"] == pytest.approx(-np.log(0.501)) and terms["teeth"] == pytest.approx(0.2)
    assert float(with_teeth - total) == pytest.approx(1 * -np.log(0.501) + 30 * 0.2, rel=1e-5)
    shade = torch.tensor([0.2, -0.1] * (size * size // 2)).reshape(1, 1, size, size)
    with_shade, terms = loss(drawn._replace(inside=inside, where=where, shade=shade))
    assert terms["shade"] == pytest.approx(0.15)
    assert float(with_shade - with_teeth) == pytest.approx(0.02 * 0.15, abs=1e-6)
    batch["painted"] += 1  # what is painted asks for C itself, its edges too, and for an open mask
    ramp = torch.arange(4.0).expand(1, 3, size, size) / 4
    _, terms = loss(drawn._replace(colour=ramp))
    assert terms["detail"] == pytest.approx(12 * 0.25 / 2), (
        "a quarter from one column to the next, nothing from row to row"
    )
    assert terms["open"] == pytest.approx(-np.log(0.251))
    assert weighted_mean(torch.ones(2, 3, 5, 5), torch.full((2, 1, 5, 5), 0.5)) == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("laid", [False, True])
@pytest.mark.parametrize("shade", [False, True])
def test_the_exported_graph_is_the_network_on_every_backend(tmp_path, laid, shade):
    network = trained_a_little(dataclasses.replace(TINY, teeth=laid, shade=shade))
    if shade:
        network.shade[2].weight.data *= 40  # of both signs, and seen
    bundle, differences = export(network, tmp_path, {"images_seen": 0})
    assert differences["colour"] <= 1 and differences["attention"] < 1e-4 and differences["flow_px"] < 1e-3
    rng = np.random.default_rng(0)
    reference, fp32 = load(bundle, "reference"), load(bundle, "cpu-fp32")
    for _ in range(3):
        crop, change = (
            rng.integers(0, 256, (64, 64, 3), dtype=np.uint8),
            rng.uniform(-1, 1, 29).astype(np.float32),
        )
        a, b = reference.run(crop, change), fp32.run(crop, change)
        assert a.shade is b.shade is shade, "blending has to know"
        seen = a.attention < 1 - MOST_SHADE / 10  # the sign of shade that is hardly there is no matter
        assert np.abs(a.colour.astype(int) - b.colour)[seen].max(initial=0) <= 1 and (seen.any() or not shade)
        assert np.abs(a.attention - b.attention).max() < 1e-3 and np.abs(a.flow - b.flow).max() < 1e-2


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(lambda: PaperGenerator(PaperShape(size_px=64, width=8, blocks=1)), id="paper, absolute"),
        pytest.param(
            lambda: PaperGenerator(PaperShape(size_px=64, width=8, blocks=1, conditioning="relative")),
            id="paper, relative",
        ),
        pytest.param(
            lambda: CompactGenerator(dataclasses.replace(TINY, flow=False)), id="compact without flow"
        ),
    ],
)
def test_generators_without_flow_become_bundles_that_keep_their_meaning(tmp_path, network):
    torch.manual_seed(0)
    generator = network().eval()
    bundle, differences = export(generator, tmp_path, {})
    assert (bundle.flow_px, bundle.conditioning) == (0, generator.shape.as_dict()["conditioning"])
    edit = load(bundle, "cpu-fp32").run(
        np.zeros((64, 64, 3), np.uint8), np.zeros(len(bundle.aus), np.float32)
    )
    assert differences["colour"] <= 1 and edit.flow is None


@pytest.mark.parametrize(("vocabulary", "aus"), [("wide", WIDE), ("paper17", PAPER_17)])
def test_a_bundle_has_the_vocabulary_of_its_network_and_names_the_estimator_of_its_labels(
    tmp_path, vocabulary, aus
):
    network = CompactGenerator(dataclasses.replace(TINY, vocabulary=vocabulary)).eval()
    bundle, _ = export(network, tmp_path / "old", {}, "mediapipe-mesh-1")
    assert bundle.aus == aus and bundle.estimator == "mediapipe-mesh-1"
    with pytest.raises(EngineError, match="trained on AUs by mediapipe-mesh-0"):
        export(network, tmp_path / "older", {}, "mediapipe-mesh-0")
    assert not (tmp_path / "older").exists() and not (tmp_path / "older.part").exists()


def test_a_bundle_names_the_run_that_its_training_started_from():
    state = {"seen": 9, "seed": 0, "shape": {}, "started_from": {"run": "first", "seen": 600}}
    assert training_record(state, [])["started_from"] == {"run": "first", "seen": 600}
    assert "started_from" not in training_record({**state, "started_from": None}, [])


@pytest.mark.slow
def test_an_export_that_fails_leaves_the_bundle_that_was_there(tmp_path, monkeypatch):
    before, _ = export(trained_a_little(), tmp_path / "mine", {})
    monkeypatch.setattr("train.export.onnx_export.MAX_COLOUR", -1.0)
    with pytest.raises(DataError, match="nothing was written"):
        export(trained_a_little(), tmp_path / "mine", {"images_seen": 9})
    assert load(tmp_path / "mine").bundle == before and not (tmp_path / "mine.part").exists()


@pytest.mark.slow
def test_an_export_that_differs_is_noticed(tmp_path):
    network = trained_a_little()
    bundle, _ = export(network, tmp_path, {})
    network.out.bias.data += 0.5
    assert compare(ExportedGenerator(network), bundle)["flow_px"] > 0.1


@pytest.mark.slow
def test_from_checkpoint_to_bundle_by_the_command_line(corpus, corpus_folder, tmp_path, capsys):
    run = [
        "fit",
        "--corpus",
        str(corpus_folder),
        "--out",
        str(tmp_path / "run"),
        "--images",
        "8",
        "--batch",
        "4",
        "--channels",
        "8",
        "16",
        "16",
        "--fp32",
    ]
    assert command.main(run) == 0
    assert (
        command.main(
            ["export", str(tmp_path / "run"), "--out", str(tmp_path / "mine"), "--corpus", str(corpus_folder)]
        )
        == 0
    )
    assert "worst differences" in capsys.readouterr().out
    assert load(tmp_path / "mine").bundle.training["corpora"][0]["faces"] == len(corpus)
    assert load_average(tmp_path / "run" / "checkpoint").shape.size_px == 64
    assert command.main(["export", str(tmp_path / "nothing"), "--out", str(tmp_path / "x")]) == 8
    assert "not a checkpoint" in capsys.readouterr().err


def test_the_mean_face_is_fitted_symmetric_frontal_and_in_eye_distances(corpus_folder, tmp_path, capsys):
    assert (
        command.main(["estimator", "--corpus", str(corpus_folder), "--mean-face", str(tmp_path / "mean.npy")])
        == 0
    )
    assert "4 photos" in capsys.readouterr().out
    found = np.load(tmp_path / "mean.npy")
    assert np.linalg.norm(found[33] - found[263]) == pytest.approx(1, abs=1e-3)
    assert found[[10, 152, 1], 0] == pytest.approx(0, abs=0.02), (
        "forehead, chin and nose lie on the middle line"
    )
    assert np.abs(found - mean_face()).max() < 0.15, "four people are near the mean of thousands"
