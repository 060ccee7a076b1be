"""A corpus on disk: shards that other readers can read, damage that is named, memory that does not grow."""

import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError  # noqa: E402
from train.data.corpus import load_corpus, verify  # noqa: E402
from train.data.faces import FaceSamples  # noqa: E402
from train.data.memory import ALLOWED_MB, write_many, write_toy  # noqa: E402
from train.data.shards import OPEN_FILES, records_of  # noqa: E402
from train.data.split import DEFAULT_SPLIT  # noqa: E402

pytest_plugins = ["tests.support.toy_corpus"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eight faces in three shards."""
    out = tmp_path_factory.mktemp("small") / "corpus"
    write_toy(out, 8, shard_size=3)
    return out


@pytest.fixture(scope="module")
def corpus(folder):
    return load_corpus([folder], verify=True)


@pytest.fixture
def damaged(folder, tmp_path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


def rewrite(folder: Path, **changes) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


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
        assert (
            sample["json"]["identity"] == sample["json"]["person"]
            and sample["json"]["source"] == corpus.source[i]
        )
    gc.collect()


def test_a_lost_index_is_made_again_to_the_byte(damaged):
    before = (damaged / "index.bin").read_bytes()
    (damaged / "index.bin").unlink()
    load_corpus([damaged])
    assert (damaged / "index.bin").read_bytes() == before


def test_several_folders_are_one_corpus(toy_folder, toy, tmp_path):
    write_toy(tmp_path / "other", 50, size_px=32, shard_size=20, seed=1, source="other")
    both, other = load_corpus([tmp_path / "other", toy_folder]), load_corpus([tmp_path / "other"])
    assert len(both) == 1250 and both.aus.shape == (1250, 29) and both.shard.max() == 3 + 20 - 1
    assert (both.picture(50) == toy.picture(0)).all() and (both.picture(49) == other.picture(49)).all()
    assert (both.mesh(1249) == toy.mesh(1199)).all() and both.is_from("other").sum() == 50
    assert (both.source[:50] == "other").all() and (both.source[50:] == "toy").all()
    assert (both.person[50:] == toy.person).all() and len(np.unique(both.person)) == 625
    assert (both.own(np.arange(3)) == np.clip(both.aus[:3], 0, 1)).all() and both.own(3).shape == (29,)


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
    ("damage", "message"),
    [
        (lambda f: (f / "shard-000001.tar").unlink(), "shard-000001.tar is missing"),
        (lambda f: os.truncate(f / "shard-000000.tar", 5000), "shard-000000.tar has 5000 bytes instead of"),
        (lambda f: rewrite(f, estimator="mediapipe-mesh-1"), "mediapipe-mesh-1.*prepare it again"),
        (lambda f: rewrite(f, crop_rule="wider"), "wider.*prepare it again"),
        (lambda f: rewrite(f, split={}), "holds out other people"),
        (lambda f: rewrite(f, finished=False), "unfinished.*goes on"),
        (lambda f: rewrite(f, faces=99), "do not hold the 99 faces"),
        (
            lambda f: (f / "manifest.json").write_text('{"faces": 4, "estimator": "x"}'),
            "another format.*prepare it again",
        ),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda f: (f / "manifest.json").unlink(), "not a prepared corpus"),
    ],
)
def test_a_damaged_or_foreign_corpus_is_refused_in_a_sentence(damaged, damage, message):
    damage(damaged)
    with pytest.raises(DataError, match=message):
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
    faces = FaceSamples(toy, seed=1, size_px=32)
    expected = [faces[i] for i in range(24)]
    loader = torch.utils.data.DataLoader(
        torch.utils.data.Subset(faces, range(24)), batch_size=6, num_workers=2, multiprocessing_context="fork"
    )
    for number, batch in enumerate(loader):
        for name, values in batch.items():
            assert (
                values.numpy() == np.stack([e[name] for e in expected[6 * number : 6 * number + 6]])
            ).all()


def test_a_copy_for_another_process_opens_its_own_files(toy):
    import pickle

    toy.picture(0)
    other = pickle.loads(pickle.dumps(toy))
    assert not other.readers[0]._open and (other.picture(700) == toy.picture(700)).all()


def took_mb(folder: Path) -> float:
    """What streaming takes in a fresh process: this one's allocator has other tests behind it."""
    code = (
        "from pathlib import Path; from train.data.memory import stream; "
        f"print(stream(Path({str(folder)!r}), samples=300))"
    )
    return float(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hundred_times_the_faces_take_no_more_memory(toy_folder, tmp_path):
    write_many(toy_folder, tmp_path / "large", times=170)
    assert len(load_corpus([tmp_path / "large"])) == 204_000
    small, large = (took_mb(folder) for folder in (toy_folder, tmp_path / "large"))
    assert large - small < ALLOWED_MB


def test_index_records_can_be_read_from_a_shard_alone(folder, corpus):
    sources = list(corpus.manifests[0]["sources"])
    records = [
        record.copy()
        for record in records_of(folder / "shard-000000.tar", 0, sources, DEFAULT_SPLIT.holds_out)
    ]
    assert (np.array(records) == corpus.indices[0][:3]).all()
    with pytest.raises(DataError, match="no whole shard"):
        list(records_of(folder / "aus.png", 0, sources, DEFAULT_SPLIT.holds_out))
