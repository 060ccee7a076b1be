"""A toy corpus for tests of what lies on disk and in which order it is read: noise with AUs, 1200 faces in 20
shards.

A pytest plugin, so that the files that name it share one corpus.
"""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory) -> Path:
    from train.data.memory import write_toy

    out = tmp_path_factory.mktemp("toy") / "corpus"
    write_toy(out, 1200, size_px=32, shard_size=60)
    return out


@pytest.fixture(scope="session")
def toy(toy_folder):
    from train.data.corpus import load_corpus

    return load_corpus([toy_folder])
