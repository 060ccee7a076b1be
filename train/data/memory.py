"""python -m train.data.memory: how much memory a corpus of 2,000 and one of 200,000 faces take to stream.

The faces are noise, and the large corpus is the small one a hundred times (hard links), so that this takes
seconds. What counts is anonymous memory: pages of mapped files are the kernel's to take back.
"""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from engines.face.action_units import WIDE
from train.data.corpus import load_corpus
from train.data.inputs import Job
from train.data.prepare import PrepareRun, begin, finish, write_manifest
from train.data.shards import FACE, LabelledFace, sha256_of, shard_name
from train.data.split import DEFAULT_SPLIT, Split

SMALL, TIMES = 2000, 100
AUS = len(WIDE)
STREAMED = 3000  # samples drawn: several shards, and all that is allocated once
# Of growth: what an order of 200,000 faces works with takes 12, steady to 1; the index, were it loaded, would
# take 37 more.
ALLOWED_MB = 18.0


def write_toy(
    folder: Path,
    faces: int,
    size_px: int = 64,
    shard_size: int = 1000,
    seed: int = 0,
    source: str = "toy",
    split: Split = DEFAULT_SPLIT,
) -> dict:
    """A corpus of coloured noise with AUs drawn at random, two faces a person; returns its manifest."""
    rng = np.random.default_rng(seed)
    options = {"size_px": size_px, "shard_size": shard_size, "toy": [faces, seed]}
    run = PrepareRun(folder, begin(folder, options, split))
    for number in range(faces):
        picture = cv2.resize(
            rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), (size_px, size_px), interpolation=cv2.INTER_CUBIC
        )
        jpg = cv2.imencode(".jpg", picture)[1].tobytes()
        aus = (rng.uniform(-0.2, 1.0, AUS) * (rng.random(AUS) < 0.12)).astype(np.float32)
        mesh = rng.uniform(0, size_px, (478, 3)).astype(np.float32)
        person = f"{source}/{number // 2}"
        face = LabelledFace(
            jpg,
            mesh,
            aus,
            np.zeros(3, np.float32),
            rng.uniform(0, 0.4, 2).astype(np.float32),
            f"{number}.jpg",
            person,
            source,
            False,
        )
        run.take(Job(face.name, person, source), [face], Counter())
    run.finish_shard()
    return finish(folder, run.manifest, [])


def write_many(small: Path, folder: Path, times: int = TIMES) -> None:
    """A corpus that holds another so many times over; its shards are links."""
    folder.mkdir()
    manifest = load_corpus([small]).manifests[0]
    index, shards = np.fromfile(small / "index.bin", FACE), manifest["shards"]
    with open(folder / "index.bin", "wb") as file:
        for copy in range(times):
            moved = index.copy()
            moved["shard"] += copy * len(shards)
            file.write(moved.tobytes())
            for number, shard in enumerate(shards):
                os.link(small / shard["name"], folder / shard_name(copy * len(shards) + number))
    many = [{**shard, "name": shard_name(number)} for number, shard in enumerate(shards * times)]
    sources = {name: count * times for name, count in manifest["sources"].items()}
    more = {
        "shards": many,
        "faces": len(index) * times,
        "sources": sources,
        "index_sha256": sha256_of(folder / "index.bin"),
    }
    write_manifest(folder, {**manifest, **more})


def anonymous_mb() -> float:
    """Memory of this process that is no file's, MiB. Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def stream(folder: Path, samples: int = STREAMED) -> float:
    """Loads a corpus and reads some of its samples; returns the anonymous memory that it took, MiB."""
    from train.data.faces import FaceSamples

    before = anonymous_mb()
    corpus = load_corpus([folder])
    faces = FaceSamples(corpus, seed=0, size_px=corpus.size_px)
    for number in range(samples):
        faces[number]
    return anonymous_mb() - before


def memory_check() -> dict[int, float]:
    """Number of faces -> MiB that it takes to load and stream, each in a fresh process."""
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        small, large = Path(temporary) / "small", Path(temporary) / "large"
        write_toy(small, SMALL)
        write_many(small, large)
        for folder, count in ((small, SMALL), (large, SMALL * TIMES)):
            done = subprocess.run(
                [sys.executable, "-m", "train.data.memory", str(folder)],
                capture_output=True,
                text=True,
                check=True,
            )
            found[count] = float(done.stdout)
    return found


def main(arguments: list[str]) -> int:
    if arguments:
        print(stream(Path(arguments[0])))
        return 0
    found = memory_check()
    for count, took in found.items():
        print(f"{count:>7,} faces: {took:6.1f} MiB to load and to stream {STREAMED} samples")
    grown = found[SMALL * TIMES] - found[SMALL]
    print(f"grown by {grown:.1f} MiB, {ALLOWED_MB:.0f} are allowed")
    return 0 if grown <= ALLOWED_MB else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
