"""From photos, tars and clips to a corpus; a run that is cut off resumes and comes out the same."""

import errno
import json
import os
import shutil
import struct
import sys
import tarfile
import zlib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError, PuppetError  # noqa: E402
from engines.face import au_estimator  # noqa: E402
from engines.face.action_units import WIDE  # noqa: E402
from tests.conftest import SAMPLES  # noqa: E402
from train.data import prepare as preparing  # noqa: E402
from train.data.corpus import load_corpus, verify  # noqa: E402
from train.data.inputs import MAX_SUFFIXES, LeftOut, find_jobs, person_of  # noqa: E402
from train.data.prepare import PrepareRun, begin, finish, prepare  # noqa: E402
from train.data.shards import ShardWriter  # noqa: E402
from train.data.split import DEFAULT_SPLIT  # noqa: E402
from train.data.synthetic_faces import write_faces  # noqa: E402
from train.stylespace.adult_seeds import ADULT_SEEDS, MAYBE_MINORS, adult_seeds  # noqa: E402


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[Path]:
    """The shipped photos, an unreadable and a faceless picture, a tar, and a clip of seven frames."""
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


@pytest.fixture
def damaged(folder, tmp_path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


def hashes(folder: Path) -> list[str]:
    return [shard["sha256"] for shard in json.loads((folder / "manifest.json").read_text())["shards"]]


def test_the_crops_survive_compression(corpus, photo):
    from engines.face.crop import cut, find_crop
    from engines.face.landmarks import FaceReader
    from train.report.measures import psnr

    with FaceReader() as reader:
        crop = cut(photo, find_crop(reader.read(photo)[0], 64))
    found = next(i for i in range(len(corpus)) if corpus.label(i)["name"] == "man.jpg")
    assert psnr(crop, corpus.picture(found)) > 32


def test_prepare_counts_faces_and_the_reasons_of_rejections(folder, corpus):
    manifest, photos = json.loads((folder / "manifest.json").read_text()), len(list(SAMPLES.glob("*.jpg")))
    assert manifest["sources"] == {"photos": photos, "packed": 2, "clips": 4}, "every second frame of a clip"
    assert manifest["faces"] == len(corpus) == photos + 6 and manifest["people"] == photos + 2
    assert manifest["rejected"] == {"not a readable picture": 1, "no face": 1}
    assert manifest["rejected_first"] == {"not a readable picture": ["broken.jpg"], "no face": ["wall.png"]}
    assert manifest["left_out"] == {".txt": 1} and manifest["left_out_first"] == ["notes.txt"]
    assert manifest["estimator"] == au_estimator.VERSION and manifest["aus"] == list(WIDE)
    assert [shard["faces"] for shard in manifest["shards"]][:2] == [3, 3]
    assert cv2.imread(str(folder / manifest["histogram"])).shape[1] > 600


def test_the_training_label_is_what_the_live_estimator_measures(corpus, photo):
    from engines.face.landmarks import FaceReader

    with FaceReader() as reader:
        live = au_estimator.measure(reader.read(photo)[0])
    found = next(i for i in range(len(corpus)) if corpus.label(i)["name"] == "man.jpg")
    assert corpus.aus[found] == pytest.approx(live, abs=0.08)
    assert corpus.mesh(found).shape == (478, 3) and 0 < corpus.mesh(found)[:, :2].mean() < 64


def test_people_not_photos_are_held_out():
    assert (
        person_of("Ada_Lovelace_0001", "lfw")
        == person_of("Ada_Lovelace_0007", "lfw")
        != person_of("Ada_Byron_0001", "lfw")
    )
    is_held_out = DEFAULT_SPLIT.holds_out
    assert is_held_out("portraits/anybody") and is_held_out("drivers/d9") and not is_held_out("drivers/d3")
    camera = {
        person_of(f"{name}_{number}", "photos")
        for name in ("IMG", "dsc", "PXL_20261122", "20261122")
        for number in ("0001", "0002")
    }
    assert len(camera) == 8, "a camera's numbers say nothing of who is in the photo"
    assert person_of("Dsc_Lovelace_0001", "lfw") == person_of("Dsc_Lovelace_0002", "lfw")
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
    assert [(job.at, job.frames) for job in parts] == [(0, 4), (4, 3)] and sum(
        job.pictures for job in parts
    ) == whole.pictures == 4
    light = [
        [
            cv2.imdecode(np.frombuffer(face.jpg, np.uint8), 1).mean()
            for faces, _ in labels.label_jobs(jobs)
            for face in faces
        ]
        for jobs in (parts, [whole])
    ]
    assert (
        len(light[0]) == 4
        and light[0] == pytest.approx(light[1], rel=0.02)
        and (np.diff(light[0]) < -5).all()
    )


def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.tar").write_bytes(b"x" * 700)
    cases = {"nowhere": "There is no", "empty": "No usable face", "torn.tar": "no whole, uncompressed tar"}
    for name, message in cases.items():
        with pytest.raises(DataError, match=message):
            prepare([tmp_path / name], tmp_path / "out", workers=1)
    for name, message in {"nobody:100000": "Only .* adults", "nobody:some": "nobody:500"}.items():
        with pytest.raises(DataError, match=message):
            prepare([name], tmp_path / "out", workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "shard-000000.tar").write_bytes(b"of another program")
    for name, message in {"file": "cannot be made", "theirs": "no manifest.json"}.items():
        with pytest.raises(DataError, match=message):
            prepare([SAMPLES], tmp_path / name, size_px=64, workers=1)
    assert (tmp_path / "theirs" / "shard-000000.tar").exists()
    for options in ({"size_px": 100}, {"size_px": 0}, {"workers": 0}, {"shard_size": 0}, {"limit": 0}):
        with pytest.raises(DataError, match="give --"):
            prepare([SAMPLES], tmp_path / "out", **options)


def test_what_is_not_installed_is_reported_before_labelling(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "_label_all", lambda *_: pytest.fail("hours later"))
    monkeypatch.setenv("PUPPET_FACE_MODEL", str(tmp_path / "nowhere.task"))
    with pytest.raises(PuppetError, match="The face model is not at"):
        prepare([SAMPLES], tmp_path / "out", size_px=64)
    monkeypatch.delenv("PUPPET_FACE_MODEL")
    monkeypatch.setattr("train.stylespace.generator.find_spec", lambda _: None)
    with pytest.raises(PuppetError, match="random-face"):
        prepare(["nobody:2"], tmp_path / "out", size_px=64)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DataError, match="matplotlib"):
        prepare([SAMPLES], tmp_path / "out", size_px=64)


def test_pictures_that_cannot_be_read_are_counted_and_stop_nothing(tmp_path, monkeypatch):
    from train.data import labels

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    (tmp_path / "claims.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    cv2.imwrite(str(tmp_path / "long.png"), np.zeros((2, 33_000), np.uint8))
    monkeypatch.setattr(labels, "_reader", None)
    labels.start_worker(64)
    found = [labels.label_jobs([job])[0] for job in find_jobs([tmp_path])]
    assert found == [
        ([], {"not a readable picture": 1}),
        ([], {"not a readable picture": 1}),
        ([], {"no face": 1}),
    ]


@pytest.mark.slow
def test_faces_of_nobody_are_drawn_in_the_labelling_processes(tmp_path):
    if find_spec("random_face") is None:
        pytest.skip("needs the wheel random-face")
    manifest = prepare([Path("nobody:1")], tmp_path, size_px=64, workers=1)
    assert manifest["sources"] == {"nobody_adults": 1}
    assert load_corpus([tmp_path]).label(0)["name"] == "nobody-000000.jpg"


class Drawn:
    """A double of the network that draws."""

    def face(self, seed: int, size_px: int) -> np.ndarray:
        return np.full((size_px, size_px, 3), seed, np.uint8)


def test_drawn_faces_are_adults_and_a_disk_that_refuses_is_a_sentence(tmp_path, monkeypatch):
    assert (
        adult_seeds(None) == ADULT_SEEDS
        and adult_seeds(3) == ADULT_SEEDS[:3]
        and not set(adult_seeds()) & MAYBE_MINORS
    )
    for count in (0, len(ADULT_SEEDS) + 1):
        with pytest.raises(DataError, match=f"Only {len(ADULT_SEEDS)} .* adults, not {count}"):
            adult_seeds(count)
    monkeypatch.setattr("train.data.synthetic_faces.FaceGenerator", Drawn)
    assert (
        write_faces(tmp_path / "faces", adult_seeds(2), 32) == 2
        and write_faces(tmp_path / "faces", adult_seeds(3), 32) == 1
    )
    assert len(list((tmp_path / "faces").iterdir())) == 3
    with pytest.raises(DataError, match="cannot be made"):
        write_faces(tmp_path / "faces" / "nobody-000000.jpg", adult_seeds(1), 32)
    monkeypatch.setattr(
        os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    )
    with pytest.raises(DataError, match=r"No space left on device.*kept"):
        write_faces(tmp_path / "faces", adult_seeds(4), 32)
    assert len(list((tmp_path / "faces").iterdir())) == 3, "and nothing half written stays"


def test_without_the_wheel_the_message_names_what_to_install(monkeypatch):
    from train.data import labels

    monkeypatch.setattr("train.stylespace.generator.find_spec", lambda _: None)
    with pytest.raises(PuppetError, match="pip install"):
        labels.label_jobs(list(find_jobs(["nobody:1"])))


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(inputs, folder, tmp_path, monkeypatch):
    whole = ShardWriter.add

    def until_full(self, *arguments):
        if self.number == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(self, *arguments)

    monkeypatch.setattr(ShardWriter, "add", until_full)
    with pytest.raises(DataError, match=r"disk is full; 6 faces in 2 shards are kept.*goes on"):
        prepare(inputs, tmp_path, size_px=64, workers=1, shard_size=3)
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(DataError, match="unfinished, 6 faces"):
        load_corpus([tmp_path])
    monkeypatch.undo()
    seen, label = [], preparing.PrepareRun.take
    monkeypatch.setattr(
        preparing.PrepareRun,
        "take",
        lambda self, job, *rest: (seen.append(job.name), label(self, job, *rest)),
    )
    prepare(inputs, tmp_path, size_px=64, workers=1, shard_size=3)
    assert hashes(tmp_path) == hashes(folder) and "broken.jpg" not in seen[1:]
    for name in ("manifest.json", "index.bin"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_run_that_was_killed_anywhere_comes_out_the_same(tmp_path, corpus, monkeypatch):
    from train.data.inputs import Job
    from train.data.shards import LabelledFace

    monkeypatch.setattr(preparing, "write_histograms", lambda *_: None)
    faces = [
        LabelledFace(
            b"jpg",
            corpus.mesh(0),
            corpus.aus[i % len(corpus)],
            corpus.angles_deg[0],
            corpus.opening[0],
            f"{i}",
            f"s/{i}",
            "s",
            True,
        )
        for i in range(17)
    ]
    jobs = [
        (Job("clip", "s/clip", "s", frames=2), faces[:8], Counter({"no face": 2})),
        (Job("b", "s/b", "s"), faces[8:], Counter()),
    ]

    def write(folder: Path, killed_after: int | None) -> dict:
        run = PrepareRun(folder, begin(folder, {"size_px": 64, "shard_size": 3}))
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
    assert [shard["faces"] for shard in whole["shards"]] == [3, 3, 3, 3, 3, 2] and whole["rejected"] == {
        "no face": 2
    }
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


def test_photos_are_found_by_content_people_by_folder_and_litter_is_left_out(tmp_path):
    for folder in ("n1", "n2"):
        (tmp_path / folder).mkdir()
        shutil.copy(SAMPLES / "man.jpg", tmp_path / folder / "0001_01.jpg")
    shutil.copy(SAMPLES / "man.jpg", tmp_path / "n1" / "no suffix")
    shutil.copy(SAMPLES / "man.jpg", tmp_path / "n1" / "Ada_0001.jfif")
    (tmp_path / "n1" / "._0001_01.jpg").write_bytes(b"of macOS")
    (tmp_path / "n1" / "notes.txt").write_text("no picture")
    source = tmp_path.name
    assert [job.person.removeprefix(f"{source}/") for job in find_jobs([tmp_path])] == [
        "n1/0001_01",
        "Ada",
        "n1/no suffix",
        "n2/0001_01",
    ]


def test_what_is_neither_a_picture_nor_a_clip_is_named_and_counted_by_suffix(tmp_path):
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    shutil.copy(SAMPLES / "man.jpg", photos / "really.mp4")
    shutil.copy(SAMPLES / "driver.mp4", photos / "really.jpg")
    (photos / "broken.jpg").write_bytes(b"counted as a picture that cannot be read")
    (photos / "raw.jpg").write_bytes(b"FUJIFILMCCD-RAW 0201")
    (photos / "more" / "Makefile").write_text("all:")
    for number in range(7):
        (photos / f"notes{number}.TXT").write_text("no picture")
    (photos / ".DS_Store").write_bytes(b"of the system's")
    left_out = LeftOut()
    jobs = list(find_jobs([photos], None, 0, left_out))
    assert {(job.name, bool(job.frames)) for job in jobs} == {
        ("really.mp4", False),
        ("really.jpg", True),
        ("broken.jpg", False),
    }
    assert left_out.suffixes == {".txt": 7, ".jpg": 1, "": 1}
    assert left_out.first == ["notes0.TXT", "notes1.TXT", "notes2.TXT", "notes3.TXT", "notes4.TXT"]
    assert left_out.sentence() == (
        "Left out, as neither pictures nor clips: notes0.TXT, notes1.TXT, notes2.TXT, notes3.TXT, notes4.TXT "
        "and 4 more (7 .txt, 1 .jpg, 1 without a suffix)."
    )


def test_what_a_tar_has_besides_pictures_is_counted_and_pictures_are_found_by_content(tmp_path):
    (tmp_path / "notes.jpg.txt").write_text("no picture")
    with tarfile.open(tmp_path / "packed.tar", "w") as tar:
        tar.add(SAMPLES / "man.jpg", "a/no suffix")
        tar.add(SAMPLES / "driver.mp4", "a/clip.jpg")
        tar.add(tmp_path / "notes.jpg.txt", "a/notes.txt")
        tar.add(SAMPLES / "man.jpg", "b/._0001.jpg")
        tar.add(SAMPLES / "man.jpg", "b/Ada_0001.jpg")
    left_out = LeftOut()
    jobs = list(find_jobs([tmp_path / "packed.tar"], None, 0, left_out))
    assert [job.name for job in jobs] == ["a/no suffix", "b/Ada_0001.jpg"]
    whole = (tmp_path / "packed.tar").read_bytes()
    assert all(whole[job.at : job.at + job.size] == (SAMPLES / "man.jpg").read_bytes() for job in jobs)
    assert left_out.first == ["a/clip.jpg", "a/notes.txt"]


def test_files_of_a_thousand_suffixes_are_a_short_table():
    left_out = LeftOut()
    for number in range(1000):
        left_out.add(f"file.{number}")
    assert len(left_out.suffixes) <= MAX_SUFFIXES + 1 and left_out.suffixes.total() == 1000


def test_a_name_that_is_no_text_is_kept(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    name = "caf\udce9.jpg"
    try:
        shutil.copy(SAMPLES / "man.jpg", Path(str(photos), name))
    except OSError:
        pytest.skip("this file system takes names in Unicode only")
    prepare([photos], tmp_path / "out", size_px=64, workers=1)
    assert load_corpus([tmp_path / "out"]).label(0)["name"] == name


def test_of_a_clip_with_a_damaged_frame_the_rest_is_kept_and_the_damage_counted(tmp_path, monkeypatch):
    import av

    from train.data import labels

    man = cv2.cvtColor(cv2.resize(cv2.imread(str(SAMPLES / "man.jpg")), (320, 320)), cv2.COLOR_BGR2RGB)
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuvj420p"
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(man, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    start, size = places[3]
    data = bytearray(path.read_bytes())
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    monkeypatch.setattr(labels, "_size_px", 64)
    (job,) = find_jobs([path])
    ((faces, reasons),) = labels.label_jobs([job])
    assert job.frames == 8 and len(faces) == 4
    assert reasons == {"a damaged frame": 1}
