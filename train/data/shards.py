"""The corpus on disk: WebDataset shards, and an index of one fixed-size record a face.

Knows the bytes and no face finder.

`shard-000000.tar` holds, face after face, `KEY.jpg` (the aligned crop, quality 95, no chroma subsampling),
`KEY.mesh.npy` ((478, 3) float32, crop pixels) and `KEY.json` (name, person, source, measures). Any WebDataset
reader reads them. The same faces give the same bytes, so that a shard's SHA-256 names its contents.
`index.bin` says where each face lies and repeats its numbers; it is opened as a map, so memory does not grow
with the corpus, and made again from the shards when it is lost. Format: github.com/webdataset/webdataset;
POSIX ustar.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines import atomic_file
from engines.errors import DataError
from engines.face.action_units import WIDE

# ~40 MB at 256 px: one read ahead on any disk, and little is lost when a run is cut off
FACES_PER_SHARD = 1000
OPEN_FILES = 64  # of the 256 to 1024 that a process may have

# Where a face lies and what is measured on it. `person` is a hash, see person_number.
FACE = np.dtype(
    [
        ("person", "<i8"),
        ("jpg_at", "<i8"),
        ("mesh_at", "<i8"),
        ("json_at", "<i8"),
        ("jpg_bytes", "<i4"),
        ("mesh_bytes", "<i4"),
        ("json_bytes", "<i4"),
        ("shard", "<i4"),
        ("aus", "<f4", (len(WIDE),)),
        ("angles_deg", "<f4", (3,)),
        ("opening", "<f4", (2,)),
        ("source", "<i2"),
        ("is_clip", "?"),
        ("held_out", "?"),
        ("spare", "<i4"),  # whole 8 bytes
    ]
)


@dataclass(frozen=True)
class LabelledFace:
    """One face as a corpus keeps it."""

    jpg: bytes  # the crop
    mesh: np.ndarray  # (478, 3) float32, crop pixels
    aus: np.ndarray  # (29,) float32 in the order of WIDE, unclipped
    angles_deg: np.ndarray  # (3,) float32: pitch, yaw, roll in the crop
    opening: np.ndarray  # (2,) float32: inner lip gap and inner mouth width, outer eye distances
    name: str  # of the file it comes from
    person: str
    source: str
    is_clip: bool


def person_number(person: str) -> int:
    """A name as 63 bits: the same in every corpus, and free of collisions in any that fits on a disk."""
    return (
        int.from_bytes(
            hashlib.blake2b(person.encode(errors="surrogateescape"), digest_size=8).digest(), "little"
        )
        >> 1
    )


def shard_name(number: int) -> str:
    return f"shard-{number:06d}.tar"


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _HashingFile(io.FileIO):
    """A file that hashes what is written to it."""

    def __init__(self, path: Path):
        super().__init__(path, "w")
        self.sha256, self.written = hashlib.sha256(), 0

    def write(self, data) -> int:
        done = super().write(data)
        if done != len(data):  # a disk that fills up writes a part first; writing the rest raises its error
            self.write_rest(data[done:])
        self.sha256.update(data)
        self.written += len(data)
        return len(data)

    def write_rest(self, data) -> None:
        while len(data):
            data = data[super().write(data) :]


class ShardWriter:
    """Writes one shard to a .part file; `close` renames it. Raises OSError as the disk does."""

    def __init__(self, folder: Path, number: int):
        self.number, self.path = number, folder / shard_name(number)
        self._part = folder / (shard_name(number) + ".part")
        self._file = _HashingFile(self._part)
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)
        self.records: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.records)

    def add(self, face: LabelledFace, key: str, source_number: int, held_out: bool) -> None:
        record = np.zeros((), FACE)
        members = {"jpg": face.jpg, "mesh.npy": _npy(face.mesh), "json": json.dumps(_as_json(face)).encode()}
        for extension, data in members.items():
            header = tarfile.TarInfo(f"{key}.{extension}")  # TarInfo's defaults: mtime 0, owner 0, mode 0644
            header.size = len(data)
            field = extension.split(".")[0]
            record[f"{field}_at"], record[f"{field}_bytes"] = self._tar.offset + tarfile.BLOCKSIZE, len(data)
            self._tar.addfile(header, io.BytesIO(data))
            # The library would keep every header; its stub lacks the list
            self._tar.members.clear()  # type: ignore[attr-defined]
        record["shard"], record["source"], record["held_out"] = self.number, source_number, held_out
        record["person"], record["is_clip"] = person_number(face.person), face.is_clip
        record["aus"], record["angles_deg"], record["opening"] = face.aus, face.angles_deg, face.opening
        self.records.append(record)

    def close(self) -> dict:
        """Puts the shard in place; returns its entry of the manifest."""
        self._tar.close()
        self._file.close()
        atomic_file.commit(self._part, self.path)
        entry = {"name": self.path.name, "faces": len(self), "bytes": self._file.written}
        return {**entry, "sha256": self._file.sha256.hexdigest()}

    def abandon(self) -> None:
        """Leaves nothing behind."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array, np.float32))
    return stream.getvalue()


def _as_json(face: LabelledFace) -> dict:
    numbers = {"aus": face.aus, "angles_deg": face.angles_deg, "opening": face.opening}
    return {
        "name": face.name,
        "person": face.person,
        "identity": face.person,
        "source": face.source,
        "clip": face.is_clip,
        **{
            name: [float(str(value)) for value in np.asarray(values, np.float32)]
            for name, values in numbers.items()
        },  # shortest that comes back exact
    }


class _Descriptor:
    """A file that stays open for reading while it is referenced."""

    def __init__(self, path: Path):
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def __del__(self):
        if hasattr(self, "number"):
            os.close(self.number)


class ShardReader:
    """Reads bytes of the shards of a folder, from any process or thread.

    Reads carry their own position, and a process that was started with a copy of this opens its own files. At
    most OPEN_FILES stay open.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._open: dict[int, _Descriptor] = {}  # the longest unused first

    def __getstate__(self) -> dict:
        return {"folder": self.folder, "_open": {}}

    def read(self, shard: int, at: int, size: int) -> bytes:
        """Raises DataError when the shard is missing or too short."""
        try:
            descriptor = self._open.pop(shard, None) or _Descriptor(self.folder / shard_name(shard))
        except FileNotFoundError:
            raise DataError(
                f"{self.folder / shard_name(shard)} is missing: copy it back, or prepare the corpus again."
            ) from None
        self._open[shard] = descriptor
        if len(self._open) > OPEN_FILES:
            self._open.pop(next(iter(self._open)), None)
        data = os.pread(descriptor.number, size, at)
        if len(data) != size:
            raise DataError(
                f"{self.folder / shard_name(shard)} ends too early: copy it back whole, or prepare the "
                "corpus again."
            )
        return data


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} is no file")
    return file.read()


def records_of(path: Path, number: int, sources: list[str], is_held_out) -> Iterator[np.ndarray]:
    """The index records of a shard, from the shard alone.

    Raises DataError when it is no shard of a corpus.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            record = np.zeros((), FACE)
            while (member := tar.next()) is not None:
                # The library would keep every header; its stub lacks the list
                tar.members.clear()  # type: ignore[attr-defined]
                field = member.name.split(".", 1)[1].split(".")[0]
                record[f"{field}_at"], record[f"{field}_bytes"], record["shard"] = (
                    member.offset_data,
                    member.size,
                    number,
                )
                if field != "json":
                    continue
                label = json.loads(_content(tar, member))
                record["person"], record["source"] = (
                    person_number(label["person"]),
                    sources.index(label["source"]),
                )
                record["is_clip"], record["held_out"] = label["clip"], is_held_out(label["person"])
                for name in ("aus", "angles_deg", "opening"):
                    record[name] = label[name]
                yield record
                record = np.zeros((), FACE)
    except (tarfile.TarError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"{path} is no whole shard of a corpus ({error}): copy it back, or prepare the corpus again."
        ) from error
