"""A prepared corpus on disk: crops mapped from disk, meshes and AUs in memory, people split into training and held out."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines import crop as crops
from engines import expression
from engines.errors import DataError
from engines.mesh import align

HELD_OUT_SHARE = 0.04
HELD_OUT_SOURCES = ("portraits",)  # the sharpest photos of real people: kept for evaluation whole
HELD_OUT_CLIPS = ("d9", "talk_a", "smile_onset")


@dataclass(frozen=True)
class Corpus:
    """Faces of one or several prepared folders, in a fixed order."""

    pictures: list[np.ndarray]  # one (n, S, S, 3) uint8 BGR map a folder
    starts: np.ndarray  # (folders + 1,) first face of each folder
    meshes: np.ndarray  # (N, 478, 3) float32, crop pixels
    aus: np.ndarray  # (N, 17) float32 unclipped measures
    angles_deg: np.ndarray  # (N, 3) pitch, yaw, roll
    person: np.ndarray  # (N,) int
    name: np.ndarray  # (N,) str, of the file
    source: np.ndarray  # (N,) str
    is_clip: np.ndarray  # (N,) bool
    held_out: np.ndarray  # (N,) bool: people that training must not see
    size_px: int
    manifests: list[dict]

    def __len__(self) -> int:
        return len(self.aus)

    def picture(self, i: int) -> np.ndarray:
        """(S, S, 3) uint8 BGR, a copy."""
        folder = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.pictures[folder][i - self.starts[folder]].copy()

    @property
    def own(self) -> np.ndarray:
        """(N, 17) intensities 0..1."""
        return np.clip(self.aus, 0, 1)


def is_held_out(person: str) -> bool:
    """Whether a person is kept from training: whole sources, some clips, and a fixed 4 % of everybody else by name."""
    source, name = person.split("/", 1)
    if source in HELD_OUT_SOURCES or (source == "drivers" and name in HELD_OUT_CLIPS):
        return True
    return source != "drivers" and zlib.crc32(person.encode()) % 1000 < HELD_OUT_SHARE * 1000


def load_corpus(folders: list[Path]) -> Corpus:
    """Opens prepared folders. Raises DataError when one is missing, incomplete or of another estimator or crop."""
    pictures, meshes, aus, items, manifests = [], [], [], [], []
    for folder in folders:
        if not (folder / "manifest.json").is_file():
            raise DataError(f"{folder} is not a prepared corpus: run `python -m train prepare --out {folder} YOUR_FACES` first.")
        manifest = json.loads((folder / "manifest.json").read_text())
        if (manifest["estimator"], manifest["crop_rule"]) != (expression.VERSION, crops.RULE):
            raise DataError(
                f"{folder} was labelled by {manifest['estimator']} on {manifest['crop_rule']} crops, this is {expression.VERSION} on {crops.RULE}: prepare it again."
            )
        size, count = manifest["size_px"], manifest["faces"]
        if (folder / "crops.u8").stat().st_size != count * size * size * 3:
            raise DataError(f"{folder}/crops.u8 does not hold the {count} crops that the manifest counts: prepare it again.")
        pictures.append(np.memmap(folder / "crops.u8", np.uint8, "r").reshape(count, size, size, 3))
        meshes.append(np.load(folder / "meshes.npy", allow_pickle=False))
        aus.append(np.load(folder / "aus.npy", allow_pickle=False))
        items += [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
        manifests.append(manifest)
    if len({manifest["size_px"] for manifest in manifests}) != 1:
        raise DataError("The corpora have crops of different sizes: prepare them with one --size.")
    mesh = np.concatenate(meshes)
    people = [item["person"] for item in items]
    _, person = np.unique(people, return_inverse=True)
    return Corpus(
        pictures=pictures,
        starts=np.cumsum([0] + [len(p) for p in pictures]),
        meshes=mesh,
        aus=np.concatenate(aus),
        angles_deg=align(mesh)[1].angles_deg.astype(np.float32),
        person=person,
        name=np.array([item["name"] for item in items]),
        source=np.array([item["source"] for item in items]),
        is_clip=np.array([item["clip"] for item in items]),
        held_out=np.array([is_held_out(p) for p in people]),
        size_px=manifests[0]["size_px"],
        manifests=manifests,
    )
