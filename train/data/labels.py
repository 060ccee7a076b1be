"""A picture, a part of a clip or a synthetic face -> what a corpus keeps of the faces in it.

Runs in the labelling processes of `prepare`. Labels come from the estimator that also reads the live driver.
"""

import os
import signal
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread

import cv2
import numpy as np

from engines.errors import DriverError, SourceError
from engines.face import au_estimator
from engines.face import crop as crops
from engines.face.landmarks import Face, FaceReader
from engines.face.mesh import align
from engines.face.photo import read_photo
from engines.video.clip_index import ClipIndex, read_index
from engines.video.clip_reader import ClipReader
from train.data.inputs import CLIP_STRIDE, Job
from train.data.shards import LabelledFace
from train.identity import Identity
from train.stylespace.expressions import PICTURE_PX, ExpressionDrawer
from train.stylespace.generator import FaceGenerator

MAX_YAW_DEG = 40.0  # beyond, half of the mesh is a guess
MIN_EYE_DISTANCE_PX = 28.0  # outer eye corners; smaller faces are mush at any crop size
JPEG_QUALITY = 95  # 4:4:4; 44 dB from the crop, less than the resampling into it loses

LabelResult = tuple[list[LabelledFace], Counter[str]]  # faces, and how often each reason left one out


def opening(mesh_px: np.ndarray) -> np.ndarray:
    """How far a mouth is open.

    Args:
        mesh_px: (..., 478, 3) landmarks in pixels.

    Returns:
        (..., 2): inner lip gap (mean of three columns) and inner mouth width, in outer eye distances.
    """
    scale = align(mesh_px)[1].scale
    gap = np.linalg.norm(mesh_px[..., [13, 82, 312], :2] - mesh_px[..., [14, 87, 317], :2], axis=-1).mean(
        axis=-1
    )
    width = np.linalg.norm(mesh_px[..., 78, :2] - mesh_px[..., 308, :2], axis=-1)
    return np.stack([gap / scale, width / scale], axis=-1)


_reader: FaceReader | None = None
_generator: FaceGenerator | None = None
_drawer: ExpressionDrawer | None = None
_size_px = 256
_identity: Path | None = None


def start_worker(size_px: int, identity: Path | None = None) -> None:
    """Prepares this process: its landmarker cannot come from another process, and takes 0.3 s to start.

    identity: a network that tells people apart (train/identity.py), for expressions of synthetic people.
    """
    global _reader, _size_px, _identity
    _identity = identity
    if parent_process() is not None:
        # Ctrl-C is for the process that writes; it ends this one
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        Thread(target=_leave_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _reader, _size_px = FaceReader(max_faces=2), size_px


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)  # the parent was killed: there is no reader for what this process would find


def label_jobs(jobs: list[Job]) -> list[LabelResult]:
    """What is found in each job, in order."""
    return [_label_job(job) for job in jobs]


def _label_job(job: Job) -> LabelResult:
    if job.expressions:
        return _label_expressions(job)
    return _label_clip(job) if job.frames else _label_picture(job)


def _label_picture(job: Job) -> LabelResult:
    picture = _drawn(job.seed) if job.seed is not None else _decoded(job)
    if picture is None:
        return [], Counter({"not a readable picture": 1})
    if _reader is None:
        raise RuntimeError("start_worker was not called in this process")
    faces = _reader.read(picture)
    return _collected([_label_face(job, picture, faces[0] if faces else None)])


def _drawn(seed: int) -> np.ndarray:
    global _generator
    _generator = _generator or FaceGenerator(threads=1)
    return _generator.face(seed, PICTURE_PX)


def _label_expressions(job: Job) -> LabelResult:
    """One synthetic person: NAME_0000 as they are, NAME_0001 and so on with expressions."""
    global _drawer
    if _reader is None or job.seed is None:
        raise RuntimeError("start_worker was not called in this process, or the job has no seed")
    if _drawer is None:
        likeness = None if _identity is None else Identity(_identity)
        _drawer = ExpressionDrawer(FaceGenerator(threads=1), _reader, likeness)
    results: list[LabelledFace | str] = []
    for drawn in _drawer.draw(job.seed, job.expressions):
        if isinstance(drawn, str):
            results.append(drawn)
            continue
        name = f"{Path(job.name).stem}_{drawn.number:04d}.jpg"
        results.append(_label_face(replace(job, name=name), drawn.picture, drawn.face))
    return _collected(results)


def _decoded(job: Job) -> np.ndarray | None:
    if job.size == 0:
        return None
    try:
        with open(job.path, "rb") as file:
            file.seek(job.at)
            return read_photo(BytesIO(file.read(job.size)), job.name)
    except (OSError, SourceError):
        return None


@lru_cache(maxsize=1)  # the parts of a clip come one after another
def _clip_index(path: str) -> ClipIndex:
    return read_index(path)


def _label_clip(job: Job) -> LabelResult:
    """A part of a clip; damaged frames are counted, and so is a clip that was cut."""
    reasons: Counter[str] = Counter()
    results: list[LabelledFace | str] = []
    read = 0
    try:
        index = _clip_index(job.path)
        with ClipReader(job.path, index, job.at) as clip, FaceReader(video=True) as reader:
            while (frame := clip.read()) is not None and frame.number < job.at + job.frames:
                face = reader.follow(frame.image, float(frame.place / clip.rate))
                if read % CLIP_STRIDE == 0:
                    results.append(_label_face(job, frame.image, face))
                read += 1
            if clip.damaged:
                reasons["a damaged frame"] += job.frames - read
            if index.cut and job.at == 0:
                reasons["the end of a clip that was cut short"] += 1
    except DriverError:
        reasons["not a readable clip"] += 1
    faces, others = _collected(results)
    return faces, others + reasons


def _collected(results: list[LabelledFace | str]) -> LabelResult:
    return [r for r in results if isinstance(r, LabelledFace)], Counter(
        r for r in results if isinstance(r, str)
    )


def _label_face(job: Job, picture: np.ndarray, face: Face | None) -> LabelledFace | str:
    """The face as the corpus keeps it, or why it does not."""
    if face is None:
        return "no face"
    _, pose = align(face.mesh_px)
    if abs(pose.angles_deg[1]) > MAX_YAW_DEG:
        return f"turned by more than {MAX_YAW_DEG:.0f} degrees"
    if pose.scale < MIN_EYE_DISTANCE_PX:
        return f"eye corners less than {MIN_EYE_DISTANCE_PX:.0f} px apart"
    crop = crops.find_crop(face, _size_px)
    mesh = crop.mesh_to_crop(face.mesh_px)
    how = [
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, jpg = cv2.imencode(".jpg", crops.cut(picture, crop), how)
    return LabelledFace(
        jpg.tobytes(),
        mesh,
        au_estimator.measure(face),
        align(mesh)[1].angles_deg.astype(np.float32),
        opening(mesh).astype(np.float32),
        job.name,
        job.person,
        job.source,
        bool(job.frames),
    )
