"""Prepared faces, opened for training and evaluation: pictures by number, measures as columns.

Pictures are read on access from shards on disk and columns from a mapped file, so that a corpus of any size
takes the same memory. The files' format: shards.py; written by prepare.py; which people are held out:
split.py.
"""

import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from engines import atomic_file
from engines.errors import DataError
from engines.face import au_estimator
from engines.face import crop as crops
from train.data.shards import FACE, ShardReader, records_of, sha256_of
from train.data.split import HELD_OUT_SHARE, Split

FORMAT = "webdataset-1"
# Whose labels are taken. Those of the second go on working: an AU of 1 is as strong, and a network names its
# estimator.
ESTIMATORS = (au_estimator.VERSION, "mediapipe-mesh-2")


class FaceCorpus(Protocol):
    """What reports use of a corpus: its columns and pictures. N faces, S the side of a picture."""

    @property
    def size_px(self) -> int: ...

    @property
    def aus(self) -> np.ndarray:
        """(N, 29) float32 unclipped measures, in the order of WIDE."""
        ...

    @property
    def angles_deg(self) -> np.ndarray:
        """(N, 3) float32: pitch, yaw, roll in the crop."""
        ...

    @property
    def person(self) -> np.ndarray:
        """(N,) int64, the same number for one person in every corpus."""
        ...

    @property
    def is_clip(self) -> np.ndarray:
        """(N,) bool."""
        ...

    @property
    def held_out(self) -> np.ndarray:
        """(N,) bool: people that training must not see."""
        ...

    @property
    def held_out_sources(self) -> tuple[str, ...]:
        """Names of the sources that were held out whole."""
        ...

    def __len__(self) -> int: ...

    def picture(self, i: int) -> np.ndarray:
        """(S, S, 3) uint8 BGR."""
        ...

    def own(self, i: Any) -> np.ndarray:
        """Intensities 0..1 of one face (29,) or of several (n, 29)."""
        ...

    def is_from(self, *sources: str) -> np.ndarray:
        """(N,) bool: which faces come from these sources."""
        ...


@dataclass(frozen=True)
class Corpus:
    """Faces of one or several prepared folders, in a fixed order.

    Columns have length N and must not be written to.
    """

    indices: list[np.ndarray]  # one (n,) map of FACE records a folder
    readers: list[ShardReader]
    starts: np.ndarray  # (folders + 1,) first face of each folder
    sources: list[list[str]]  # of each folder
    aus: np.ndarray  # (N, 29) float32 unclipped measures, in the order of WIDE
    angles_deg: np.ndarray  # (N, 3) float32: pitch, yaw, roll in the crop
    opening: np.ndarray  # (N, 2) float32: inner lip gap and inner mouth width, outer eye distances
    # (N,) int64, the same number for one person in every corpus; a hash, so not 0, 1, 2 ...
    person: np.ndarray
    is_clip: np.ndarray  # (N,) bool
    held_out: np.ndarray  # (N,) bool: people that training must not see
    size_px: int
    manifests: list[dict]

    @property
    def estimator(self) -> str:
        """The estimator that labelled it, one for all folders."""
        return self.manifests[0]["estimator"]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def picture(self, i: int) -> np.ndarray:
        """(S, S, 3) uint8 BGR. Raises DataError when the shard is damaged."""
        data = self._member(i, "jpg")
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if picture is None or picture.shape != (self.size_px, self.size_px, 3):
            raise DataError(
                f"Face {i} of {self._place(i)[0].folder} is damaged: copy the shards back whole, or prepare "
                "the corpus again, into an empty folder."
            )
        return picture

    def mesh(self, i: int) -> np.ndarray:
        """(478, 3) float32, crop pixels. Raises DataError when the shard is damaged."""
        try:
            return np.load(io.BytesIO(self._member(i, "mesh")), allow_pickle=False)
        except ValueError as error:
            raise DataError(
                f"The mesh of face {i} of {self._place(i)[0].folder} is damaged: copy the shards back whole, "
                "or prepare the corpus again, into an empty folder."
            ) from error

    def meshes(self, indices: np.ndarray) -> np.ndarray:
        """(n, 478, 3) float32 of some faces, in memory."""
        found = np.empty((len(indices), 478, 3), np.float32)
        for place, i in enumerate(indices):
            found[place] = self.mesh(int(i))
        return found

    def label(self, i: int) -> dict:
        """The JSON beside the picture: name of its file, person, source and measures."""
        return json.loads(self._member(i, "json"))

    def own(self, i) -> np.ndarray:
        """Intensities 0..1 of one face (29,) or of several (n, 29), in the order of WIDE."""
        return np.clip(self.aus[i], 0, 1)

    def is_from(self, *sources: str) -> np.ndarray:
        """(N,) bool: which faces come from these sources."""
        return np.concatenate(
            [
                np.isin(index["source"], [names.index(name) for name in sources if name in names])
                for index, names in zip(self.indices, self.sources, strict=True)
            ]
        )

    @property
    def held_out_sources(self) -> tuple[str, ...]:
        """Names of the sources that were held out whole, by `prepare --hold-out`."""
        splits = [Split.from_manifest(manifest["split"]) for manifest in self.manifests]
        return tuple(sorted({name for split in splits for name in split.sources}))

    @cached_property
    def source(self) -> np.ndarray:
        """(N,) str. Takes memory for every face: `is_from` does not."""
        return np.concatenate(
            [
                np.array(names)[index["source"]]
                for index, names in zip(self.indices, self.sources, strict=True)
            ]
        )

    @cached_property
    def shard(self) -> np.ndarray:
        """(N,) int32: which shard a face lies in, counted through all folders."""
        if len(self.indices) == 1:
            return self.indices[0]["shard"]
        before = np.cumsum([0] + [len(manifest["shards"]) for manifest in self.manifests])
        return np.concatenate(
            [index["shard"] + np.int32(first) for index, first in zip(self.indices, before, strict=False)]
        )

    def _place(self, i: int) -> tuple[ShardReader, np.ndarray]:
        if not 0 <= i < len(self):
            raise IndexError(f"face {i} of {len(self)}")
        folder = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.readers[folder], self.indices[folder][i - self.starts[folder]]

    def _member(self, i: int, field: str) -> bytes:
        reader, record = self._place(i)
        return reader.read(int(record["shard"]), int(record[f"{field}_at"]), int(record[f"{field}_bytes"]))


def faces_of(corpus: FaceCorpus, held_out: bool) -> np.ndarray:
    """(n,) int32: numbers of the training people's faces, or of those held out.

    Raises DataError when there is none.
    """
    faces = np.flatnonzero(corpus.held_out == held_out).astype(np.int32)
    if not len(faces):
        side = "held-out" if held_out else "training"
        whole = f", and all of {' and '.join(corpus.held_out_sources)}" if corpus.held_out_sources else ""
        raise DataError(
            f"The corpus has no {side} faces: prepare more people (about {HELD_OUT_SHARE:.0%} are held out "
            "by "
            f"name{whole}; see prepare --hold-out)."
        )
    return faces


def load_corpus(folders: list[Path], verify: bool = False) -> Corpus:
    """Opens prepared folders; `verify` reads every byte first and compares hashes.

    Raises DataError when a folder is missing, unfinished, damaged, or of another estimator, crop, split or
    format.
    """
    folders = [Path(folder) for folder in folders]
    manifests = [_checked_hashes(folder) if verify else read_manifest(folder) for folder in folders]
    if len({manifest["size_px"] for manifest in manifests}) != 1:
        raise DataError("The corpora have crops of different sizes: prepare them with one --size.")
    if len({manifest["estimator"] for manifest in manifests}) != 1:
        raise DataError("The corpora were labelled by different estimators: prepare the older ones again.")
    indices = [_index(folder, manifest) for folder, manifest in zip(folders, manifests, strict=True)]
    columns = ("aus", "angles_deg", "opening", "person", "is_clip", "held_out")
    corpus = Corpus(
        indices=indices,
        readers=[ShardReader(folder) for folder in folders],
        starts=np.cumsum([0] + [len(index) for index in indices]),
        sources=[list(manifest["sources"]) for manifest in manifests],
        size_px=manifests[0]["size_px"],
        manifests=manifests,
        **{
            name: indices[0][name]
            if len(indices) == 1
            else np.concatenate([index[name] for index in indices])
            for name in columns
        },
    )
    if any(manifest["split"] != manifests[0]["split"] for manifest in manifests):
        _check_split(corpus)
    return corpus


def _check_split(corpus: Corpus) -> None:
    """Raises DataError when a person is held out in one folder and for training in another."""
    both = np.intersect1d(corpus.person[corpus.held_out], corpus.person[~corpus.held_out])
    if len(both):
        raise DataError(
            f"The corpora disagree about {len(both)} people, who are held out in one and for training in "
            "another: prepare them with the same --hold-out."
        )


def verify(folder: Path) -> int:
    """Reads every byte of a corpus; returns its number of shards.

    Raises DataError that names the first file that is not as it was.
    """
    return len(_checked_hashes(folder)["shards"])


def _checked_hashes(folder: Path) -> dict:
    manifest = read_manifest(folder)
    for shard in manifest["shards"]:
        if sha256_of(folder / shard["name"]) != shard["sha256"]:
            raise DataError(
                f"{folder / shard['name']} is not what was prepared (another SHA-256): copy it back, or "
                "prepare the corpus again, into an empty folder."
            )
    _index(folder, manifest)
    if sha256_of(folder / "index.bin") != manifest["index_sha256"]:
        raise DataError(
            f"{folder / 'index.bin'} is not what was prepared (another SHA-256): delete it, it will be made "
            "from the shards."
        )
    return manifest


def read_manifest(folder: Path, finished: bool = True) -> dict:
    """manifest.json of a corpus whose shards are all there and of the right length. Raises DataError."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise DataError(
            f"{folder} is not a prepared corpus: run `python -m train prepare --out {folder} YOUR_FACES` "
            "first."
        )
    try:
        manifest = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(
            f"{path} is damaged ({error}): copy it back, or prepare the corpus again, into an empty folder."
        ) from error
    if manifest.get("format") != FORMAT:
        raise DataError(
            f"{folder} is a corpus of another format ({manifest.get('format', 'crops.u8')}, this is "
            f"{FORMAT}): prepare it again, into an empty folder."
        )
    if manifest["estimator"] not in ESTIMATORS or manifest["crop_rule"] != crops.RULE:
        raise DataError(
            f"{folder} was labelled by {manifest['estimator']} on {manifest['crop_rule']} crops, this is "
            f"{au_estimator.VERSION} on {crops.RULE}: prepare it again, into an empty folder."
        )
    try:
        Split.from_manifest(manifest["split"])
    except ValueError as error:
        raise DataError(
            f"{folder} holds out other people than this version does ({error}): prepare it again, into an "
            "empty folder."
        ) from error
    if finished and not manifest["finished"]:
        raise DataError(
            f"{folder} is unfinished, {manifest['faces']} faces so far: run the same prepare again, it goes "
            "on "
            "from there."
        )
    for shard in manifest["shards"]:
        file = folder / shard["name"]
        size = file.stat().st_size if file.is_file() else None
        if size != shard["bytes"]:
            wrong = "is missing" if size is None else f"has {size} bytes instead of {shard['bytes']}"
            raise DataError(
                f"{file} {wrong}: copy it back, or prepare the corpus again, into an empty folder."
            )
    return manifest


def _index(folder: Path, manifest: dict) -> np.ndarray:
    """(n,) FACE records, mapped; made from the shards when they are lost."""
    path = folder / "index.bin"
    if not path.is_file() or path.stat().st_size != manifest["faces"] * FACE.itemsize:
        rebuild_index(folder, manifest)
    return np.memmap(path, FACE, "r").view(np.ndarray)


def rebuild_index(folder: Path, manifest: dict) -> None:
    """Writes index.bin again from the shards.

    Raises DataError when the folder cannot be written or the shards hold other faces.
    """
    path = folder / "index.bin"
    sources = list(manifest["sources"])
    split = Split.from_manifest(manifest["split"])
    try:
        with atomic_file.replacing(path) as temporary:
            with open(temporary, "wb") as file:
                for number, shard in enumerate(manifest["shards"]):
                    for record in records_of(folder / shard["name"], number, sources, split.holds_out):
                        file.write(record.tobytes())
            if temporary.stat().st_size != manifest["faces"] * FACE.itemsize:
                raise DataError(
                    f"The shards of {folder} do not hold the {manifest['faces']} faces that the manifest "
                    "counts: prepare it again, into an empty folder."
                )
    except OSError as error:
        raise DataError(
            f"{path} is lost and cannot be made again ({error.strerror}): make {folder} writable, or copy it "
            "back."
        ) from error
