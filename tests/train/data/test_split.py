"""The split: which people `prepare --hold-out` keeps from training; corpora written before still open."""

import json
import shutil

import numpy as np
import pytest

from engines.errors import DataError
from tests.conftest import SAMPLES
from train.data.split import DEFAULT_SPLIT, Split


def test_a_source_is_held_out_whole_and_others_by_a_share_of_their_people():
    split = Split.of(["mine/", "lfw2"])
    assert split.holds_out("mine/anybody") and split.holds_out("lfw2/Ada")
    assert not split.holds_out("drivers/d9") or not split.holds_out("drivers/d3"), "the default is replaced"
    assert 0.03 < np.mean([split.holds_out(f"portraits/person {i}") for i in range(5000)]) < 0.05


def test_of_a_source_with_named_people_nobody_else_is_held_out():
    split = Split.of(["mine/Ada"])
    assert split.holds_out("mine/Ada")
    assert not any(split.holds_out(f"mine/person {i}") for i in range(500))


def test_none_holds_out_the_share_alone():
    split = Split.of(["none"])
    assert split == Split((), ())
    assert 0.03 < np.mean([split.holds_out(f"portraits/person {i}") for i in range(5000)]) < 0.05


@pytest.mark.parametrize(("given", "message"), [([""], "name of a source"), (["none", "mine"], "excludes")])
def test_a_hold_out_without_meaning_is_refused(given, message):
    with pytest.raises(DataError, match=message):
        Split.of(given)


def test_the_manifest_keeps_the_split():
    split = Split.of(["mine", "drivers/d3"])
    assert Split.from_manifest(json.loads(json.dumps(split.to_manifest()))) == split


def test_a_manifest_written_before_the_option_has_the_default_split():
    before = {
        "by": "person",
        "held_out_share": 0.04,
        "held_out_sources": ["portraits"],
        "held_out_clips": ["d9", "talk_a", "smile_onset"],
    }
    assert Split.from_manifest(before) == DEFAULT_SPLIT


def test_prepare_holds_out_the_named_source_and_records_it(tmp_path):
    pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")
    from train.data.corpus import load_corpus
    from train.data.prepare import prepare

    faces = tmp_path / "mine"
    faces.mkdir()
    for name in ("man.jpg", "woman.jpg"):
        shutil.copy(SAMPLES / name, faces)
    with pytest.raises(DataError, match="--hold-out nowhere is in none of the inputs"):
        prepare([faces], tmp_path / "out", size_px=64, workers=1, hold_out=["nowhere"])
    manifest = prepare([faces], tmp_path / "out", size_px=64, workers=1, hold_out=["mine"])
    assert manifest["split"]["held_out_sources"] == ["mine"]
    corpus = load_corpus([tmp_path / "out"])
    assert len(corpus) == 2 and corpus.held_out.all() and corpus.held_out_sources == ("mine",)
    (tmp_path / "out" / "index.bin").unlink()
    assert load_corpus([tmp_path / "out"]).held_out.all(), "the index is made again with the same split"
    with pytest.raises(DataError, match="other faces or options"):
        prepare([faces], tmp_path / "out", size_px=64, workers=1)


def test_corpora_that_put_one_person_on_both_sides_do_not_open_together(tmp_path):
    pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")
    from train.data.corpus import load_corpus
    from train.data.memory import write_toy

    for name, split in (
        ("a", Split.of(["toy"])),
        ("b", Split.of(["none"])),
        ("c", Split.of(["toy", "more"])),
    ):
        write_toy(tmp_path / name, 40, size_px=32, split=split)
    with pytest.raises(DataError, match=r"disagree about \d+ people.*same --hold-out"):
        load_corpus([tmp_path / "a", tmp_path / "b"])
    assert load_corpus([tmp_path / "a", tmp_path / "c"]).held_out.all()
