"""Folders, tars and clips of faces -> aligned crops with AU labels, by the estimator that also reads the live driver.

A corpus is a folder: crops.u8 (N, S, S, 3 bytes, BGR, one after the other), meshes.npy (N, 478, 3) in crop pixels, aus.npy
(N, 17) unclipped measures, items.jsonl (name, person, source of each) and manifest.json (options, estimator version, counts
and why pictures were rejected). Crops stay on disk and are mapped, so memory does not grow with the corpus.
"""

import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from engines import crop as crops
from engines import expression
from engines.errors import DataError
from engines.face import FaceReader
from engines.mesh import align

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
CLIPS = {".mp4", ".avi", ".mov", ".mkv", ".webm"}
MAX_YAW_DEG = 40.0  # beyond, half of the mesh is a guess
MIN_EYE_DISTANCE_PX = 28.0  # outer eye corners; smaller faces are mush at any crop size
CLIP_STRIDE = 2  # neighbouring frames at 30 fps are the same picture


@dataclass(frozen=True)
class Job:
    """One picture (its bytes) or one clip (its path)."""

    name: str
    person: str
    source: str
    data: bytes | None = None
    clip: str | None = None


def person_of(stem: str, source: str) -> str:
    """Name_0001 is a photo of Name (as in LFW); anything else is a person of its own."""
    match = re.fullmatch(r"(.+)_\d{4}", stem)
    return f"{source}/{match.group(1) if match else stem}"


def find_jobs(inputs: list[Path]) -> Iterator[Job]:
    """Every picture and clip in folders, tars and files, in a fixed order. Raises DataError when an input is missing."""
    for path in inputs:
        if not path.exists():
            raise DataError(f"There is no {path}: name folders, .tar files or clips of faces.")
        source = path.stem
        if path.suffix == ".tar":
            with tarfile.open(path) as tar:
                for member in tar:
                    stem = Path(member.name).stem
                    if member.isfile() and Path(member.name).suffix.lower() in PICTURES:
                        yield Job(member.name, person_of(stem, source), source, tar.extractfile(member).read())
            continue
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix.lower() in PICTURES:
                yield Job(file.name, person_of(file.stem, source), source, file.read_bytes())
            elif file.suffix.lower() in CLIPS:
                yield Job(file.name, f"{source}/{file.stem}", source, clip=str(file))


_reader: FaceReader | None = None
_size_px = 256


def _start_worker(size_px: int) -> None:
    global _reader, _size_px  # one landmarker a process: it is not picklable and takes 0.3 s to start
    cv2.setNumThreads(1)
    _reader, _size_px = FaceReader(max_faces=2), size_px


def _label(job: Job) -> tuple[Job, list[tuple[np.ndarray, np.ndarray, np.ndarray]], Counter]:
    """A job -> [(crop, mesh, AUs)] and the reasons for what was rejected."""
    if job.clip:
        return job, *_label_clip(job.clip)
    picture = cv2.imdecode(np.frombuffer(job.data, np.uint8), cv2.IMREAD_COLOR) if job.data else None
    if picture is None:
        return job, [], Counter({"not a readable picture": 1})
    faces = _reader.read(picture)
    labelled, reason = _label_face(picture, faces[0] if faces else None)
    return job, [labelled] if labelled else [], Counter({reason: 1} if reason else {})


def _label_clip(path: str) -> tuple[list, Counter]:
    capture, found, reasons, number = cv2.VideoCapture(path), [], Counter(), 0
    fps = capture.get(cv2.CAP_PROP_FPS) or 30.0
    with FaceReader(video=True) as reader:
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            face = reader.follow(frame, number / fps)
            if number % CLIP_STRIDE == 0:
                labelled, reason = _label_face(frame, face)
                found += [labelled] if labelled else []
                reasons += Counter({reason: 1} if reason else {})
            number += 1
    return found, reasons if number else Counter({"not a readable clip": 1})


def _label_face(picture: np.ndarray, face) -> tuple[tuple | None, str | None]:
    if face is None:
        return None, "no face"
    _, pose = align(face.mesh_px)
    if abs(pose.angles_deg[1]) > MAX_YAW_DEG:
        return None, f"turned by more than {MAX_YAW_DEG:.0f} degrees"
    if pose.scale < MIN_EYE_DISTANCE_PX:
        return None, f"eye corners less than {MIN_EYE_DISTANCE_PX:.0f} px apart"
    crop = crops.find_crop(face, _size_px)
    mesh = crop.mesh_to_crop(face.mesh_px)
    return (crops.cut(picture, crop), mesh, expression.measure(face)), None


def prepare(inputs: list[Path], out: Path, size_px: int = 256, workers: int = 2) -> dict:
    """Writes a corpus to the folder `out`; returns its manifest. Raises DataError when nothing usable is found."""
    out.mkdir(parents=True, exist_ok=True)
    meshes, labels, items, rejects = [], [], [], Counter()
    sources: Counter = Counter()
    context = get_context("spawn")  # MediaPipe's threads do not survive a fork
    with (
        context.Pool(workers, _start_worker, (size_px,)) as pool,
        open(out / "crops.u8.part", "wb") as crop_file,
        tqdm(desc="crops", unit="face") as bar,
    ):
        for job, found, reasons in pool.imap(_label, find_jobs(inputs), chunksize=8):
            rejects += reasons
            for picture, mesh, aus in found:
                crop_file.write(picture.tobytes())
                meshes.append(mesh)
                labels.append(aus)
                items.append({"name": job.name, "person": job.person, "source": job.source, "clip": bool(job.clip)})
            sources[job.source] += len(found)
            bar.update(len(found))
    if not items:
        raise DataError(
            f"No usable face in {', '.join(map(str, inputs))} ({dict(rejects) or 'no pictures at all'}): give folders, tars or clips that show faces."
        )
    np.save(out / "meshes.npy", np.array(meshes, np.float32))
    np.save(out / "aus.npy", np.array(labels, np.float32))
    (out / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (out / "crops.u8.part").rename(out / "crops.u8")
    manifest = {
        "faces": len(items), "people": len({item["person"] for item in items}), "sources": dict(sources), "rejected": dict(rejects),
        "size_px": size_px, "crop_rule": crops.RULE, "estimator": expression.VERSION, "aus": list(expression.ESTIMATED),
    }  # fmt: skip
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest
