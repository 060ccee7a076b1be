"""What training sees: a seekable order, samples as pure functions of their number, emotions from AUs."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError  # noqa: E402
from engines.face.action_units import PAPER_17, WIDE  # noqa: E402
from engines.face.au_estimator import index, paper_17  # noqa: E402
from train.data.balanced_order import BUCKETS, RESTING, BalancedOrder, expression_of, shares  # noqa: E402
from train.data.corpus import load_corpus  # noqa: E402
from train.data.emotions import EMOTIONS, classify, prototype, scores  # noqa: E402
from train.data.faces import NOISE, FaceSamples  # noqa: E402
from train.data.histogram import count  # noqa: E402
from train.data.jitter import draw_jitter, mirrored_aus  # noqa: E402
from train.data.memory import write_toy  # noqa: E402
from train.synthesis.pairs import PairSource  # noqa: E402

pytest_plugins = ["tests.support.toy_corpus"]


def test_a_face_number_is_the_same_however_it_is_reached(toy):
    order, later = BalancedOrder(toy, seed=3), BalancedOrder(toy, seed=3)
    numbers = [*range(40), len(order) - 1, len(order), 5 * len(order) + 7, 2]
    assert [order[n] for n in numbers] == [later[n] for n in reversed(numbers)][::-1]
    assert [order[n] for n in range(40)] != [BalancedOrder(toy, seed=4)[n] for n in range(40)]
    assert [order[n] for n in range(40)] != [order[len(order) + n] for n in range(40)], (
        "another epoch, another order"
    )


def test_without_balance_an_epoch_is_every_training_face_once(toy):
    order, held_out = (
        BalancedOrder(toy, seed=0, balance=0),
        BalancedOrder(toy, seed=0, balance=0, held_out=True),
    )
    assert sorted(order.epoch(0)) == sorted(order.epoch(1)) == np.flatnonzero(~toy.held_out).tolist()
    assert sorted(held_out.epoch(3)) == np.flatnonzero(toy.held_out).tolist() and len(order) + len(
        held_out
    ) == len(toy)
    assert not set(toy.person[order.faces]) & set(toy.person[held_out.faces])


def test_balance_draws_rare_expressions_more_often():
    assert shares(np.array([100, 0, 400]), 0.0) == pytest.approx([0.2, 0, 0.8])
    assert shares(np.array([100, 0, 400]), 0.5) == pytest.approx([1 / 3, 0, 2 / 3])
    assert shares(np.array([100, 0, 400]), 1.0) == pytest.approx([0.5, 0, 0.5])


def test_an_epoch_holds_each_expression_as_often_as_balance_asks(toy):
    kinds = expression_of(toy.aus)
    order = BalancedOrder(toy, seed=0, balance=1.0)
    drawn = np.bincount(kinds[np.concatenate([order.epoch(e) for e in range(6)])], minlength=RESTING + 1)
    assert len(order.epoch(0)) == len(order) and drawn.min() > 0.8 * drawn.max() > 0
    counts = np.bincount(kinds[order.faces], minlength=RESTING + 1)
    assert counts.max() > 3 * counts.min(), "they were far from equal"


def test_a_face_is_sorted_by_its_strongest_au_whichever_side_shows_it():
    faces = np.zeros((4, len(WIDE)), np.float32)
    faces[0, WIDE.index("AU12R")], faces[1, WIDE.index("AU12L")] = 0.9, 0.5
    faces[2, WIDE.index("AU18")], faces[3, index(("AU25",))] = 0.6, 0.3
    assert [(*BUCKETS, "rest")[place] for place in expression_of(faces)] == ["AU12", "AU12", "AU18", "rest"]


def test_faces_come_a_few_shards_at_a_time(toy):
    order = BalancedOrder(toy, seed=0, window=4)
    shards = toy.shard[order.epoch(0)]
    seen: list[set] = [set()]
    for shard in shards.tolist():
        if len(seen[-1] | {shard}) > 4:
            seen.append(set())
        seen[-1].add(shard)
    assert len(seen) == 5 and set.union(*seen) == set(range(20)) and sum(map(len, seen)) == 20
    assert (np.diff(shards[:150]) != 0).mean() > 0.5, "shuffled within"


@pytest.mark.slow
def test_a_corpus_without_such_people_is_refused(tmp_path):
    write_toy(tmp_path / "two", 2, size_px=32)
    corpus = load_corpus([tmp_path / "two"])
    for stream in (BalancedOrder, PairSource):
        with pytest.raises(DataError, match="has no held-out faces"):
            stream(corpus, seed=0, held_out=True)
    write_toy(tmp_path / "portraits", 4, size_px=32, source="portraits")
    for stream in (BalancedOrder, PairSource):
        with pytest.raises(DataError, match=r"has no training faces.*all of portraits"):
            stream(load_corpus([tmp_path / "portraits"]), seed=0)


def test_a_sample_is_what_adversarial_training_needs(toy):
    faces = FaceSamples(toy, seed=5, size_px=16)
    samples = [faces[n] for n in range(60)]
    training, mirrored = np.clip(toy.aus[~toy.held_out], 0, 1), 0
    for number, sample in enumerate(samples):
        mirror, _ = draw_jitter(32, faces.rng(number))
        own, mirrored = toy.own(faces.order[number]), mirrored + mirror
        assert sample["picture"].shape == (16, 16, 3) and sample["picture"].dtype == np.uint8
        assert (
            sample["own"] == pytest.approx(mirrored_aus(own) if mirror else own)
            and sample["own"].dtype == np.float32
        )
        assert (
            np.abs(training - sample["wanted"]).max(axis=1).min() <= 0.1 + 1e-6
            and 0 <= sample["wanted"].min() <= sample["wanted"].max() <= 1
        )
        assert sample["mix"].shape == () and sample["mix"].dtype == np.float32 and 0 <= sample["mix"] <= 1
        assert sample["label"] == classify(sample["own"][None])[0] and sample["label"].dtype == np.int64
    assert 15 < mirrored < 45
    again = FaceSamples(toy, seed=5, size_px=16)[41]
    assert all((again[name] == samples[41][name]).all() for name in again)
    assert np.std([sample["mix"] for sample in samples]) > 0.2
    assert {faces.order[n] for n in range(60)} != {
        FaceSamples(toy, seed=6, size_px=16).order[n] for n in range(60)
    }


def test_a_sample_in_the_papers_vocabulary_has_the_means_of_both_sides(toy):
    wide, paper = FaceSamples(toy, seed=5, size_px=16), FaceSamples(toy, seed=5, size_px=16, aus=PAPER_17)
    training = paper_17(np.clip(toy.aus[~toy.held_out], 0, 1))
    for number in range(20):
        narrow = paper[number]
        assert (
            narrow["own"] == pytest.approx(paper_17(wide[number]["own"]))
            and narrow["own"].dtype == np.float32
        )
        assert np.abs(training - narrow["wanted"]).max(axis=1).min() <= NOISE + 1e-6 and narrow[
            "wanted"
        ].shape == (17,)
        assert (narrow["picture"] == wide[number]["picture"]).all() and narrow["label"] == wide[number][
            "label"
        ]


def test_a_mirrored_face_winks_with_the_other_eye():
    wink = np.zeros(len(WIDE), np.float32)
    wink[WIDE.index("AU45R")], wink[WIDE.index("AU25")] = 0.8, 0.3
    other = mirrored_aus(wink)
    assert other[WIDE.index("AU45L")] == np.float32(0.8) and other[WIDE.index("AU25")] == np.float32(0.3)
    assert (
        other.sum() == wink.sum() and (mirrored_aus(np.stack([wink, other])) == np.stack([other, wink])).all()
    )


def test_crops_are_shrunk_but_never_blown_up(toy):
    assert FaceSamples(toy, seed=0, size_px=32)[0]["picture"].shape == (32, 32, 3)
    with pytest.raises(DataError, match="--size 64"):
        FaceSamples(toy, seed=0, size_px=64)


def test_pictures_are_mirrored_half_the_time(toy):
    from train.data.jitter import apply_jitter, draw_jitter

    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None], (64, 1, 3))
    drawn = [draw_jitter(len(ramp), np.random.default_rng(i)) for i in range(200)]
    falling = [apply_jitter(ramp, mirror, matrix)[32, 8, 0] > 32 for mirror, matrix in drawn]
    assert 0.4 < np.mean(falling) < 0.6


def test_a_jittered_mesh_stays_on_its_picture():
    from train.data.jitter import apply_jitter, apply_jitter_to_mesh, draw_jitter

    picture, mesh = np.zeros((128, 128, 3), np.uint8), np.zeros((478, 3), np.float32)
    mesh[:, :2] = 40, 70
    cv2.circle(picture, (40, 70), 3, (255, 255, 255), -1)
    for seed in range(6):
        mirror, matrix = draw_jitter(len(picture), np.random.default_rng(seed))
        moved = apply_jitter(picture, mirror, matrix)
        moved_mesh = apply_jitter_to_mesh(mesh, len(picture), mirror, matrix)
        y, x = np.argwhere(moved[:, :, 0] > 128).mean(axis=0)
        assert moved_mesh[0, :2] == pytest.approx([x, y], abs=0.7)


def test_every_prototype_is_classified_as_its_emotion():
    assert EMOTIONS == ("neutral", "happy", "surprised", "sad", "angry", "disgusted", "afraid")
    found = classify(np.stack([prototype(name) for name in EMOTIONS]))
    assert found.tolist() == list(range(7)) and found.dtype == np.int64
    halfway = (prototype("happy") + prototype("disgusted")) / 2
    assert classify(halfway[None]) == [-1], "no emotion is clear"
    assert (prototype("happy")[index(("AU12",))] > 0.5).all() and prototype("neutral").max() == 0


def test_a_crooked_smile_counts_as_half_a_smile_on_either_side():
    smile = prototype("happy")
    crooked, halved = smile.copy(), smile.copy()
    crooked[WIDE.index("AU12R")] = 0
    halved[index(("AU12",))] /= 2
    happy = scores(np.stack([smile, crooked, mirrored_aus(crooked), halved]))[:, 0]
    assert happy[1] == happy[2] == pytest.approx(happy[3]) and happy[1] < happy[0] - 0.2


def test_histograms_count_every_face_once():
    aus = np.array([[-3.0] * 29, [0.01] * 29, [9.0] * 29], np.float32)
    counts = count(aus, np.array([0, 1, 1], np.int16), 2)
    assert counts.shape[:2] == (2, 29) and (counts.sum(axis=2) == [[1] * 29, [2] * 29]).all()
    assert (counts[0, :, 0] == 1).all() and (counts[1, :, -1] == 1).all()
