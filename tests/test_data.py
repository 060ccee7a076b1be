"""Data for training: shards that other readers can read, runs that go on where they were cut off, an order that can be sought."""

import errno
import gc
import json
import os
import shutil
import sys
import tarfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines import expression  # noqa: E402
from engines.errors import DataError, PuppetError  # noqa: E402
from engines.expression import ESTIMATED  # noqa: E402
from tests.conftest import SAMPLES  # noqa: E402
from train.data import prepare as preparing  # noqa: E402
from train.data.corpus import is_held_out, load_corpus, verify  # noqa: E402
from train.data.emotions import EMOTIONS, classify, prototype  # noqa: E402
from train.data.faces import Faces  # noqa: E402
from train.data.histogram import count  # noqa: E402
from train.data.inputs import find_jobs, person_of  # noqa: E402
from train.data.memory import ALLOWED_MB, stream, write_many, write_toy  # noqa: E402
from train.data.order import Order, expression_of, shares  # noqa: E402
from train.data.prepare import Run, begin, finish, prepare  # noqa: E402
from train.data.shards import OPEN_FILES, ShardWriter, records_of  # noqa: E402


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[Path]:
    """The shipped photos with an unreadable and a faceless picture among them, a tar, and a clip of seven frames."""
    top = tmp_path_factory.mktemp("inputs")
    photos, clips = top / "photos", top / "clips"
    shutil.copytree(SAMPLES, photos, ignore=lambda _, names: [n for n in names if not n.endswith(".jpg")])
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("no picture either")
    cv2.imwrite(str(photos / "wall.png"), np.full((300, 300, 3), 120, np.uint8))
    with tarfile.open(top / "packed.tar", "w") as tar:
        tar.add(SAMPLES / "man.jpg", "a/Some_Body_0001.jpg")
        tar.add(SAMPLES / "man.jpg", "b/Some_Body_0002.jpg")
    clips.mkdir()
    man = cv2.resize(cv2.imread(str(SAMPLES / "man.jpg")), (320, 320))
    clip = cv2.VideoWriter(str(clips / "d9.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 320))
    for _ in range(7):
        clip.write(man)
    clip.release()
    return [photos, top / "packed.tar", clips]


@pytest.fixture(scope="module")
def folder(inputs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    prepare(inputs, out, size_px=64, workers=1, shard_size=3)
    return out


@pytest.fixture(scope="module")
def corpus(folder):
    return load_corpus([folder], verify=True)


@pytest.fixture(scope="module")
def toy_folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("toy") / "corpus"
    write_toy(out, 1200, size_px=32, shard_size=60)
    return out


@pytest.fixture(scope="module")
def toy(toy_folder):
    return load_corpus([toy_folder])


@pytest.fixture
def damaged(folder, tmp_path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


def rewrite(folder: Path, **changes) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def hashes(folder: Path) -> list[str]:
    return [shard["sha256"] for shard in json.loads((folder / "manifest.json").read_text())["shards"]]


# --- preparing


def test_prepare_counts_faces_and_says_why_it_rejected(folder, corpus):
    manifest, photos = json.loads((folder / "manifest.json").read_text()), len(list(SAMPLES.glob("*.jpg")))
    assert manifest["sources"] == {"photos": photos, "packed": 2, "clips": 4}, "every second frame of a clip"
    assert manifest["faces"] == len(corpus) == photos + 6 and manifest["people"] == photos + 2
    assert manifest["rejected"] == {"not a readable picture": 1, "no face": 1}
    assert manifest["rejected_first"] == {"not a readable picture": ["broken.jpg"], "no face": ["wall.png"]}
    assert manifest["estimator"] == expression.VERSION and manifest["aus"] == list(ESTIMATED)
    assert [shard["faces"] for shard in manifest["shards"]][:2] == [3, 3]
    assert cv2.imread(str(folder / manifest["histogram"])).shape[1] > 600


def test_the_training_label_is_what_the_live_estimator_says(corpus, photo):
    from engines.face import FaceReader

    with FaceReader() as reader:
        live = expression.measure(reader.read(photo)[0])
    found = next(i for i in range(len(corpus)) if corpus.label(i)["name"] == "man.jpg")
    assert corpus.aus[found] == pytest.approx(live, abs=0.08)
    assert corpus.mesh(found).shape == (478, 3) and 0 < corpus.mesh(found)[:, :2].mean() < 64


def test_people_not_photos_are_held_out():
    assert person_of("Ada_Lovelace_0001", "lfw") == person_of("Ada_Lovelace_0007", "lfw") != person_of("Ada_Byron_0001", "lfw")
    assert is_held_out("portraits/anybody") and is_held_out("drivers/d9") and not is_held_out("drivers/d3")
    share = np.mean([is_held_out(f"lfw/person {i}") for i in range(5000)])
    assert 0.03 < share < 0.05


def test_inputs_are_listed_without_being_decoded_and_a_limit_holds_for_each(inputs):
    jobs = list(find_jobs(inputs, limit=2))
    assert Counter(job.source for job in jobs) == {"photos": 2, "packed": 2, "clips": 1}
    assert jobs[-1].frames == 7 and jobs[-1].pictures == 4 and jobs[2].at > 0


def test_a_long_clip_is_shared_out_and_entered_in_the_middle(inputs, tmp_path, monkeypatch):
    from train.data import inputs as listing
    from train.data import labels

    man = cv2.resize(cv2.imread(str(SAMPLES / "man.jpg")), (320, 320))
    clip = cv2.VideoWriter(str(tmp_path / "fades.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 320))
    for number in range(7):
        clip.write((man * (1 - 0.1 * number)).astype(np.uint8))
    clip.release()
    monkeypatch.setattr(labels, "_reader", None)
    monkeypatch.setattr(labels, "_size_px", 64)
    monkeypatch.setattr(listing, "CLIP_JOB_FRAMES", 4)
    parts = list(find_jobs([tmp_path / "fades.avi"]))
    monkeypatch.setattr(listing, "CLIP_JOB_FRAMES", 100)
    (whole,) = find_jobs([tmp_path / "fades.avi"])
    assert [(job.at, job.frames) for job in parts] == [(0, 4), (4, 3)] and sum(job.pictures for job in parts) == whole.pictures == 4
    light = [
        [cv2.imdecode(np.frombuffer(face.jpg, np.uint8), 1).mean() for faces, _ in labels.label(jobs) for face in faces]
        for jobs in (parts, [whole])
    ]
    assert len(light[0]) == 4 and light[0] == pytest.approx(light[1], rel=0.02) and (np.diff(light[0]) < -5).all()


def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.tar").write_bytes(b"x" * 700)
    cases = {"nowhere": "There is no", "empty": "No usable face", "torn.tar": "no whole, uncompressed tar"}
    for name, words in cases.items():
        with pytest.raises(DataError, match=words):
            prepare([tmp_path / name], tmp_path / "out", workers=1)
    for name, words in {"nobody:100000": "Only .* adults", "nobody:some": "nobody:500"}.items():
        with pytest.raises(DataError, match=words):
            prepare([name], tmp_path / "out", workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_faces_of_nobody_are_drawn_in_the_labelling_processes(tmp_path):
    if find_spec("random_face") is None:
        pytest.skip("needs the wheel random-face")
    manifest = prepare([Path("nobody:1")], tmp_path, size_px=64, workers=1)
    assert manifest["sources"] == {"nobody_adults": 1}
    assert load_corpus([tmp_path]).label(0)["name"] == "nobody-000000.jpg"


def test_without_the_wheel_faces_of_nobody_say_what_to_install(monkeypatch):
    from train.data import labels

    monkeypatch.setattr("train.data.nobody.find_spec", lambda _: None)
    with pytest.raises(PuppetError, match="pip install"):
        labels.label(list(find_jobs(["nobody:1"])))


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(inputs, folder, tmp_path, monkeypatch):
    whole = ShardWriter.add

    def until_full(self, *arguments):
        if self.number == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(self, *arguments)

    monkeypatch.setattr(ShardWriter, "add", until_full)
    with pytest.raises(DataError, match=r"full; 6 faces in 2 shards are kept.*goes on"):
        prepare(inputs, tmp_path, size_px=64, workers=1, shard_size=3)
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(DataError, match="unfinished, 6 faces"):
        load_corpus([tmp_path])
    monkeypatch.undo()
    seen, label = [], preparing.Run.take
    monkeypatch.setattr(preparing.Run, "take", lambda self, job, *rest: (seen.append(job.name), label(self, job, *rest)))
    prepare(inputs, tmp_path, size_px=64, workers=1, shard_size=3)
    assert hashes(tmp_path) == hashes(folder) and "broken.jpg" not in seen[1:]
    for name in ("manifest.json", "index.bin"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_run_that_was_killed_anywhere_comes_out_the_same(tmp_path, corpus, monkeypatch):
    from train.data.inputs import Job
    from train.data.shards import Labelled

    monkeypatch.setattr(preparing, "write_histograms", lambda *_: None)
    faces = [
        Labelled(b"jpg", corpus.mesh(0), corpus.aus[i % len(corpus)], corpus.angles_deg[0], corpus.opening[0], f"{i}", f"s/{i}", "s", True)
        for i in range(17)
    ]
    jobs = [(Job("clip", "s/clip", "s", frames=2), faces[:8], Counter({"no face": 2})), (Job("b", "s/b", "s"), faces[8:], Counter())]

    def write(folder: Path, killed_after: int | None) -> dict:
        run = Run(folder, begin(folder, {"size_px": 64, "shard_size": 3}))
        for number, (job, found, reasons) in enumerate(jobs):
            if number < run.progress["jobs"]:
                continue
            if killed_after is not None and len(found) + 8 * number > killed_after:
                run.take(job, found[: killed_after - 8 * number], reasons)
                if run.writer is not None:
                    run.writer._file.close()  # as the kernel does
                return {}
            run.take(job, found, reasons)
        run.finish_shard()
        return finish(folder, run.manifest, [])

    whole = write(tmp_path / "whole", None)
    assert [shard["faces"] for shard in whole["shards"]] == [3, 3, 3, 3, 3, 2] and whole["rejected"] == {"no face": 2}
    for killed_after in (1, 3, 7, 8, 12, 16):
        folder = tmp_path / str(killed_after)
        write(folder, killed_after)
        (folder / "shard-000099.tar").write_bytes(b"renamed, but not yet in the manifest")
        with open(folder / "index.bin", "ab") as index:
            index.write(b"written, but not yet in the manifest")
        assert write(folder, None) == whole
        assert not (folder / "shard-000099.tar").exists() and verify(folder) == len(whole["shards"])


def test_a_finished_corpus_is_left_alone_and_other_options_are_refused(inputs, damaged, monkeypatch):
    monkeypatch.setattr(preparing, "_label_all", lambda *_: pytest.fail("nothing is left to do"))
    assert prepare(inputs, damaged, size_px=64, shard_size=3)["finished"]
    for options in ({"size_px": 32}, {"limit": 1}, {"shard_size": 4}):
        with pytest.raises(DataError, match="other faces or options"):
            prepare(inputs, damaged, **{"size_px": 64, "shard_size": 3, **options})


def test_the_list_of_jobs_is_not_read_far_ahead():
    class Pool:
        def submit(self, work, chunk):
            from concurrent.futures import Future

            future = Future()
            future.set_result([(job, None) for job in chunk])
            return future

    read = []
    results = preparing._in_order(Pool(), ([read.append(i) or i] for i in range(1000)), in_flight=5)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2] and len(read) <= 8


# --- the format


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves closing its files to the collector
def test_webdataset_reads_the_same_pictures_and_labels(folder, corpus):
    webdataset = pytest.importorskip("webdataset", reason="needs the package webdataset")
    names = [str(folder / shard["name"]) for shard in corpus.manifests[0]["shards"]]
    samples = list(webdataset.WebDataset(names, shardshuffle=False).decode("rgb8"))
    assert len(samples) == len(corpus) and len({sample["__key__"] for sample in samples}) == len(corpus)
    for i, sample in enumerate(samples):
        assert np.abs(sample["jpg"][:, :, ::-1].astype(int) - corpus.picture(i)).max() <= 3
        assert (sample["mesh.npy"] == corpus.mesh(i)).all() and sample["json"] == corpus.label(i)
        assert (np.float32(sample["json"]["aus"]) == corpus.aus[i]).all(), "to the last bit"
        assert sample["json"]["identity"] == sample["json"]["person"] and sample["json"]["source"] == corpus.source[i]
    gc.collect()


def test_the_crops_survive_compression(corpus, photo):
    from engines.crop import cut, find_crop
    from engines.face import FaceReader
    from train.report.measures import psnr

    with FaceReader() as reader:
        crop = cut(photo, find_crop(reader.read(photo)[0], 64))
    found = next(i for i in range(len(corpus)) if corpus.label(i)["name"] == "man.jpg")
    assert psnr(crop, corpus.picture(found)) > 32


def test_a_lost_index_is_made_again_to_the_byte(damaged):
    before = (damaged / "index.bin").read_bytes()
    (damaged / "index.bin").unlink()
    load_corpus([damaged])
    assert (damaged / "index.bin").read_bytes() == before


def test_several_folders_are_one_corpus(toy_folder, toy, tmp_path):
    write_toy(tmp_path / "other", 50, size_px=32, shard_size=20, seed=1, source="other")
    both, other = load_corpus([tmp_path / "other", toy_folder]), load_corpus([tmp_path / "other"])
    assert len(both) == 1250 and both.aus.shape == (1250, 17) and both.shard.max() == 3 + 20 - 1
    assert (both.picture(50) == toy.picture(0)).all() and (both.picture(49) == other.picture(49)).all()
    assert (both.mesh(1249) == toy.mesh(1199)).all() and both.is_from("other").sum() == 50
    assert (both.source[:50] == "other").all() and (both.source[50:] == "toy").all()
    assert (both.person[50:] == toy.person).all() and len(np.unique(both.person)) == 625
    assert (both.own(np.arange(3)) == np.clip(both.aus[:3], 0, 1)).all() and both.own(3).shape == (17,)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def test_a_shard_that_is_not_what_was_prepared_is_named(damaged):
    flip_a_byte(damaged / "shard-000001.tar")
    load_corpus([damaged])
    for check in (verify, lambda folder: load_corpus([folder], verify=True)):
        with pytest.raises(DataError, match=r"shard-000001.tar is not what was prepared"):
            check(damaged)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "shard-000001.tar").unlink(), "shard-000001.tar is missing"),
        (lambda f: os.truncate(f / "shard-000000.tar", 5000), "shard-000000.tar has 5000 bytes instead of"),
        (lambda f: rewrite(f, estimator="older"), "older.*prepare it again"),
        (lambda f: rewrite(f, crop_rule="wider"), "wider.*prepare it again"),
        (lambda f: rewrite(f, split={}), "holds out other people"),
        (lambda f: rewrite(f, finished=False), "unfinished.*goes on"),
        (lambda f: rewrite(f, faces=99), "do not hold the 99 faces"),
        (lambda f: (f / "manifest.json").write_text('{"faces": 4, "estimator": "x"}'), "another format.*prepare it again"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda f: (f / "manifest.json").unlink(), "not a prepared corpus"),
    ],
)
def test_a_damaged_or_foreign_corpus_is_refused_in_a_sentence(damaged, damage, words):
    damage(damaged)
    with pytest.raises(DataError, match=words):
        load_corpus([damaged])


def test_damage_that_is_met_while_reading_is_a_sentence_too(damaged):
    corpus = load_corpus([damaged])
    (damaged / "shard-000000.tar").write_bytes(b"\0" * (damaged / "shard-000000.tar").stat().st_size)
    for ask in (corpus.picture, corpus.mesh):
        with pytest.raises(DataError, match=r"[Ff]ace 0 .* damaged"):
            ask(0)
    with pytest.raises(DataError, match=r"no whole shard|do not hold"):
        (damaged / "index.bin").unlink()
        load_corpus([damaged])
    os.truncate(damaged / "shard-000001.tar", 700)
    with pytest.raises(DataError, match="ends too early"):
        corpus.picture(3)
    with pytest.raises(IndexError):
        corpus.picture(len(corpus))


def test_few_files_stay_open_however_many_shards_there_are(tmp_path):
    write_toy(tmp_path / "many", 2 * OPEN_FILES, size_px=32, shard_size=1)
    corpus, before = load_corpus([tmp_path / "many"]), len(os.listdir("/dev/fd"))
    for i in range(len(corpus)):
        corpus.picture(i)
    assert len(os.listdir("/dev/fd")) - before <= OPEN_FILES
    assert corpus.picture(0).shape == (32, 32, 3), "a file that was closed is opened again"


def test_processes_that_were_forked_read_what_their_parent_reads(toy):
    faces = Faces(toy, seed=1, size_px=32)
    expected = [faces[i] for i in range(24)]
    loader = torch.utils.data.DataLoader(
        torch.utils.data.Subset(faces, range(24)), batch_size=6, num_workers=2, multiprocessing_context="fork"
    )
    for number, batch in enumerate(loader):
        for name, values in batch.items():
            assert (values.numpy() == np.stack([e[name] for e in expected[6 * number : 6 * number + 6]])).all()


def test_a_copy_for_another_process_opens_its_own_files(toy):
    import pickle

    toy.picture(0)
    other = pickle.loads(pickle.dumps(toy))
    assert not other.readers[0]._open and (other.picture(700) == toy.picture(700)).all()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hundred_times_the_faces_take_no_more_memory(toy_folder, tmp_path):
    write_many(toy_folder, tmp_path / "large", times=170)
    assert len(load_corpus([tmp_path / "large"])) == 204_000
    small = stream(toy_folder, samples=300)
    assert stream(tmp_path / "large", samples=300) - small < ALLOWED_MB


# --- order


def test_a_face_number_is_the_same_however_it_is_reached(toy):
    order, later = Order(toy, seed=3), Order(toy, seed=3)
    numbers = [*range(40), len(order) - 1, len(order), 5 * len(order) + 7, 2]
    assert [order[n] for n in numbers] == [later[n] for n in reversed(numbers)][::-1]
    assert [order[n] for n in range(40)] != [Order(toy, seed=4)[n] for n in range(40)]
    assert [order[n] for n in range(40)] != [order[len(order) + n] for n in range(40)], "another epoch, another order"


def test_without_balance_an_epoch_is_every_training_face_once(toy):
    order, held_out = Order(toy, seed=0, balance=0), Order(toy, seed=0, balance=0, held_out=True)
    assert sorted(order.epoch(0)) == sorted(order.epoch(1)) == np.flatnonzero(~toy.held_out).tolist()
    assert sorted(held_out.epoch(3)) == np.flatnonzero(toy.held_out).tolist() and len(order) + len(held_out) == len(toy)
    assert not set(toy.person[order.faces]) & set(toy.person[held_out.faces])


def test_balance_draws_rare_expressions_more_often():
    assert shares(np.array([100, 0, 400]), 0.0) == pytest.approx([0.2, 0, 0.8])
    assert shares(np.array([100, 0, 400]), 0.5) == pytest.approx([1 / 3, 0, 2 / 3])
    assert shares(np.array([100, 0, 400]), 1.0) == pytest.approx([0.5, 0, 0.5])


def test_an_epoch_holds_each_expression_as_often_as_balance_asks(toy):
    kinds = expression_of(toy.aus)
    assert kinds[0] == (np.argmax(toy.own(0)) if toy.own(0).max() >= 0.4 else 17)
    order = Order(toy, seed=0, balance=1.0)
    drawn = np.bincount(kinds[np.concatenate([order.epoch(e) for e in range(6)])], minlength=18)
    assert len(order.epoch(0)) == len(order) and drawn.min() > 0.8 * drawn.max() > 0
    counts = np.bincount(kinds[order.faces], minlength=18)
    assert counts.max() > 3 * counts.min(), "they were far from equal"


def test_faces_come_a_few_shards_at_a_time(toy):
    order = Order(toy, seed=0, window=4)
    shards = toy.shard[order.epoch(0)]
    seen: list[set] = [set()]
    for shard in shards.tolist():
        if len(seen[-1] | {shard}) > 4:
            seen.append(set())
        seen[-1].add(shard)
    assert len(seen) == 5 and set.union(*seen) == set(range(20)) and sum(map(len, seen)) == 20
    assert (np.diff(shards[:150]) != 0).mean() > 0.5, "shuffled within"


def test_a_corpus_without_such_people_is_refused(tmp_path):
    write_toy(tmp_path / "two", 2, size_px=32)
    corpus = load_corpus([tmp_path / "two"])
    with pytest.raises(DataError, match="held-out"):
        Order(corpus, seed=0, held_out=not corpus.held_out[0])


# --- faces and emotions


def test_a_sample_is_what_adversarial_training_needs(toy):
    faces = Faces(toy, seed=5, size_px=16)
    samples = [faces[n] for n in range(60)]
    training = np.clip(toy.aus[~toy.held_out], 0, 1)
    for number, sample in enumerate(samples):
        assert sample["picture"].shape == (16, 16, 3) and sample["picture"].dtype == np.uint8
        assert sample["own"] == pytest.approx(toy.own(faces.order[number])) and sample["own"].dtype == np.float32
        assert (
            np.abs(training - sample["wanted"]).max(axis=1).min() <= 0.1 + 1e-6
            and 0 <= sample["wanted"].min() <= sample["wanted"].max() <= 1
        )
        assert sample["mix"].shape == () and sample["mix"].dtype == np.float32 and 0 <= sample["mix"] <= 1
        assert sample["label"] == classify(sample["own"][None])[0] and sample["label"].dtype == np.int64
    again = Faces(toy, seed=5, size_px=16)[41]
    assert all((again[name] == samples[41][name]).all() for name in again)
    assert np.std([sample["mix"] for sample in samples]) > 0.2
    assert {faces.order[n] for n in range(60)} != {Faces(toy, seed=6, size_px=16).order[n] for n in range(60)}


def test_crops_are_shrunk_but_never_blown_up(toy):
    assert Faces(toy, seed=0, size_px=32)[0]["picture"].shape == (32, 32, 3)
    with pytest.raises(DataError, match="--size 64"):
        Faces(toy, seed=0, size_px=64)


def test_pictures_are_mirrored_half_the_time(toy):
    from train.data.jitter import jittered

    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None], (64, 1, 3))
    falling = [jittered(ramp, None, np.random.default_rng(i))[0][32, 8, 0] > 32 for i in range(200)]
    assert 0.4 < np.mean(falling) < 0.6


def test_a_jittered_mesh_stays_on_its_picture():
    from train.data.jitter import jittered

    picture, mesh = np.zeros((128, 128, 3), np.uint8), np.zeros((478, 3), np.float32)
    mesh[:, :2] = 40, 70
    cv2.circle(picture, (40, 70), 3, (255, 255, 255), -1)
    for seed in range(6):
        moved, moved_mesh = jittered(picture, mesh, np.random.default_rng(seed))
        y, x = np.argwhere(moved[:, :, 0] > 128).mean(axis=0)
        assert moved_mesh[0, :2] == pytest.approx([x, y], abs=0.7)


def test_every_prototype_is_told_as_its_emotion():
    assert EMOTIONS == ("neutral", "happy", "surprised", "sad", "angry", "disgusted", "afraid")
    told = classify(np.stack([prototype(name) for name in EMOTIONS]))
    assert told.tolist() == list(range(7)) and told.dtype == np.int64
    halfway = (prototype("happy") + prototype("disgusted")) / 2
    assert classify(halfway[None]) == [-1], "no emotion is clear"
    assert prototype("happy")[ESTIMATED.index("AU12")] > 0.5 and prototype("neutral").max() == 0


def test_histograms_count_every_face_once():
    aus = np.array([[-3.0] * 17, [0.01] * 17, [9.0] * 17], np.float32)
    counts = count(aus, np.array([0, 1, 1], np.int16), 2)
    assert counts.shape[:2] == (2, 17) and (counts.sum(axis=2) == [[1] * 17, [2] * 17]).all()
    assert (counts[0, :, 0] == 1).all() and (counts[1, :, -1] == 1).all()


def test_index_records_can_be_read_from_a_shard_alone(folder, corpus):
    sources = list(corpus.manifests[0]["sources"])
    records = [record.copy() for record in records_of(folder / "shard-000000.tar", 0, sources, is_held_out)]
    assert (np.array(records) == corpus.indices[0][:3]).all()
    with pytest.raises(DataError, match="no whole shard"):
        list(records_of(folder / "aus.png", 0, sources, is_held_out))
