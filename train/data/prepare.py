"""Folders, tars, clips and synthetic faces -> a corpus: crops with AU labels in shards, labelled in parallel.

A run that is stopped (killed, a full disk) keeps its finished shards, and the same command resumes after
them: the manifest, written after every shard, records how much of the list of jobs is done. Memory does not
grow with the corpus.
"""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from engines import atomic_file
from engines.errors import DataError
from engines.face import au_estimator
from engines.face import crop as crops
from engines.face.action_units import WIDE
from engines.face.landmarks import find_model
from train.data import labels
from train.data.corpus import FORMAT, read_manifest
from train.data.folders import FULL, READ_ONLY, make_folder
from train.data.histogram import check_matplotlib, write_histograms
from train.data.inputs import CLIP_STRIDE, Job, LeftOut, find_jobs
from train.data.shards import FACE, FACES_PER_SHARD, LabelledFace, ShardWriter, sha256_of
from train.data.split import DEFAULT_SPLIT, Split
from train.identity import Identity
from train.stylespace import expressions as drawing
from train.stylespace.generator import find_weights

CHUNK = 8  # pictures sent to a process at a time: ~0.1 s of work
NAMED = 5  # rejected files that are named for each reason
MAX_EXPRESSIONS = 9999  # their number has four digits in a name
SIZE_STEP = 16  # the compact generator works at 1/16 of the crop, the paper's at 1/4


def prepare(
    inputs: list[Path | str],
    out: Path,
    size_px: int = 256,
    workers: int = 2,
    shard_size: int = FACES_PER_SHARD,
    limit: int | None = None,
    hold_out: Sequence[str] | None = None,
    expressions: int = 0,
    identity: Path | None = None,
    say: Callable[[str], None] = lambda _sentence: None,
) -> dict:
    """Writes a corpus to the folder `out`, or resumes one; returns its manifest.

    Args:
        inputs: folders, .tar files, clips, "nobody:COUNT".
        size_px: side of the crops, a multiple of 16.
        workers: labelling processes.
        shard_size: faces in a shard.
        limit: pictures and clips looked at in each input; None: all.
        hold_out: sources and people ("source/name") that training must not see; None: DEFAULT_SPLIT.
        expressions: of each synthetic person, besides the face as it is.
        identity: a network by which people are checked to stay themselves; None: by their skulls alone.
        say: called with a sentence about the files of the inputs that are neither pictures nor clips.

    Raises:
        DataError: an option makes no sense, nothing usable is found, `out` holds something else, the disk is
            full or a process dies.
        PuppetError: the face model or the synthetic faces are not installed.
    """
    _check(size_px, workers, shard_size, limit)
    _check_expressions(inputs, expressions, identity)
    split = DEFAULT_SPLIT if hold_out is None else Split.of(hold_out)
    left_out = LeftOut()
    total, listed = _count(inputs, limit, split if hold_out is not None else None, expressions, left_out)
    if sentence := left_out.sentence():
        say(sentence)
    options: dict[str, Any] = {
        "size_px": size_px,
        "shard_size": shard_size,
        "limit": limit,
        "clip_stride": CLIP_STRIDE,
        "jpeg_quality": labels.JPEG_QUALITY,
        "max_yaw_deg": labels.MAX_YAW_DEG,
        "min_eye_distance_px": labels.MIN_EYE_DISTANCE_PX,
        "jobs_sha256": listed,
    }
    if expressions:
        options["expressions"] = {
            "version": drawing.VERSION,
            "identity_sha256": sha256_of(identity) if identity else None,
        }
    manifest, run = None, None
    try:
        manifest = begin(out, options, split)
        if manifest["finished"]:
            return manifest
        _check_installed(inputs)
        manifest["left_out"] = dict(left_out.suffixes)
        manifest["left_out_first"] = left_out.first
        run = PrepareRun(out, manifest)
        _label_all(run, find_jobs(inputs, limit, expressions), total, workers, identity)
        run.finish_shard()
        return finish(out, manifest, inputs)
    except (OSError, BrokenProcessPool, KeyboardInterrupt) as error:
        faces, shards = (manifest["faces"], len(manifest["shards"])) if manifest else (0, 0)
        kept = f"{faces} faces in {shards} shards are kept in {out}"
        if isinstance(error, KeyboardInterrupt):
            raise DataError(f"Stopped; {kept}: run the same prepare again to resume after them.") from None
        if isinstance(error, BrokenProcessPool):
            raise DataError(
                f"A labelling process died, for want of memory perhaps; {kept}: run it again with fewer "
                "--workers."
            ) from error
        if error.errno in FULL:
            raise DataError(
                f"The disk is full; {kept}: free some space and run the same prepare again, it goes on after "
                "them."
            ) from error
        if error.errno in READ_ONLY:
            where = error.filename or out
            raise DataError(
                f"{where} cannot be written ({error.strerror}); {kept}: make it writable, or choose another "
                "--out."
            ) from error
        raise
    finally:
        if run is not None:
            run.abandon()


def _check(size_px: int, workers: int, shard_size: int, limit: int | None) -> None:
    if size_px < SIZE_STEP or size_px % SIZE_STEP:
        raise DataError(
            f"Crops of {size_px} px do not fit the generators: give --size a multiple of {SIZE_STEP}, as 128 "
            "or 256."
        )
    for name, value in (("workers", workers), ("shard-size", shard_size), ("limit", limit)):
        if value is not None and value < 1:
            raise DataError(f"--{name} {value} leaves nothing to work with: give --{name} one or more.")


def _check_installed(inputs: list[Path | str]) -> None:
    """Raises PuppetError when something is missing that only a later step would need."""
    find_model()
    check_matplotlib()
    if any(str(given).startswith("nobody:") for given in inputs):
        find_weights()


def _check_expressions(inputs: list[Path | str], expressions: int, identity: Path | None) -> None:
    """Raises DataError where an option has nothing to work on, or the network cannot be read."""
    if expressions and not any(str(given).startswith("nobody:") for given in inputs):
        raise DataError("--expressions are drawn of synthetic people: add nobody:COUNT to the inputs.")
    if not 0 <= expressions <= MAX_EXPRESSIONS:
        raise DataError(f"--expressions {expressions} is not possible: give 1 to {MAX_EXPRESSIONS}.")
    if identity is None:
        return
    if not expressions:
        raise DataError(
            "--identity is for expressions of synthetic people: add --expressions 8, or leave it out."
        )
    if not identity.is_file():
        raise DataError(f"There is no {identity}: give the path of MobileFaceNet.tflite.")
    Identity(identity)


def _count(
    inputs: list[Path | str], limit: int | None, split: Split | None, expressions: int, left_out: LeftOut
) -> tuple[int, str]:
    """How many pictures and frames will be looked at, and a hash of what they are.

    Args:
        split: what the user asked to hold out, if they did.
        left_out: counts the other files.

    Raises:
        DataError: something that is to be held out is in no input.
    """
    total = 0
    listed = hashlib.sha256()
    missing = {*split.sources, *split.people} if split else set()
    for job in find_jobs(inputs, limit, expressions, left_out):
        total += job.pictures
        missing -= {job.source, job.person}
        drawn = f"\0{job.expressions}" if job.expressions else ""
        listed.update(
            f"{job.source}\0{job.name}\0{job.size}\0{job.at}\0{job.frames}\0{job.seed}{drawn}\n".encode(
                errors="replace"
            )
        )
    if missing:
        raise DataError(
            f"--hold-out {sorted(missing)[0]} is in none of the inputs: give the name of a folder, tar or "
            "clip "
            "without its ending, or SOURCE/NAME of one person."
        )
    return total, listed.hexdigest()


def begin(out: Path, options: dict, split: Split = DEFAULT_SPLIT) -> dict:
    """The manifest of a new corpus, which is written at once, or of the corpus in `out`, to resume it.

    Beside a manifest, every file that is named like a shard counts as one. Raises DataError when `out` holds
    a corpus that these options do not make, or shards without a manifest.
    """
    make_folder(out)
    manifest = read_manifest(out, finished=False) if (out / "manifest.json").exists() else None
    if manifest is None and any(out.glob("shard-*.tar")):
        raise DataError(f"{out} holds shards and no manifest.json: give another --out, or delete them.")
    if manifest is None or not (manifest["finished"] or manifest["shards"]):  # nothing to resume
        manifest = {
            "format": FORMAT,
            "finished": False,
            "estimator": au_estimator.VERSION,
            "crop_rule": crops.RULE,
            "split": split.to_manifest(),
            "size_px": options["size_px"],
            "aus": list(WIDE),
            "options": options,
            "faces": 0,
            "people": 0,
            "held_out": 0,
            "sources": {},
            "rejected": {},
            "rejected_first": {},
            "left_out": {},
            "left_out_first": [],
            "histogram": "aus.png",
            "shards": [],
            "progress": {"jobs": 0, "faces_of_next": 0, "pictures": 0},
        }
        write_manifest(out, manifest)
    if manifest["options"] != options or Split.from_manifest(manifest["split"]) != split:
        raise DataError(
            f"{out} already holds a corpus of other faces or options: give another --out, or delete it."
        )
    return manifest


class PrepareRun:
    """A corpus in the making: what has been written, and the shard that is being written."""

    def __init__(self, out: Path, manifest: dict):
        self.out = out
        self.manifest = manifest
        self.split = Split.from_manifest(manifest["split"])
        self.writer: ShardWriter | None = None
        self.progress = dict(manifest["progress"])
        self.sources, self.rejected = Counter(manifest["sources"]), Counter(manifest["rejected"])
        self.named = {reason: list(names) for reason, names in manifest["rejected_first"].items()}
        self.faces = manifest["faces"]
        with open(out / "index.bin", "ab") as index:  # a shard that was cut off is in no manifest
            index.truncate(self.faces * FACE.itemsize)
        for rest in [
            *out.glob("*.part"),
            *out.glob(".*.part.*"),
            *(path for path in out.glob("shard-*.tar") if path.name not in self._shards()),
        ]:
            rest.unlink()

    def _shards(self) -> set[str]:
        return {shard["name"] for shard in self.manifest["shards"]}

    def take(self, job: Job, found: list[LabelledFace], reasons: Counter[str]) -> None:
        """Writes what was found in the next job, except faces that were written before the run stopped."""
        for face in found[self.progress["faces_of_next"] :]:
            writer = self.writer = self.writer or ShardWriter(self.out, len(self.manifest["shards"]))
            self.sources[face.source] += 1
            source_number = list(self.sources).index(face.source)
            writer.add(face, f"{self.faces:09d}", source_number, self.split.holds_out(face.person))
            self.faces += 1
            self.progress["faces_of_next"] += 1
            if len(writer) == self.manifest["options"]["shard_size"]:
                self.finish_shard()
        for reason in reasons:
            names = self.named.setdefault(reason, [])
            if len(names) < NAMED and job.name not in names:
                names.append(job.name)
        self.rejected += reasons
        self.progress = {
            "jobs": self.progress["jobs"] + 1,
            "faces_of_next": 0,
            "pictures": self.progress["pictures"] + job.pictures,
        }

    def finish_shard(self) -> None:
        """Closes the shard, then the index, then the manifest: a run cut off in between writes them again."""
        if self.writer is not None:
            entry = self.writer.close()
            with open(self.out / "index.bin", "ab") as index:
                index.write(np.array(self.writer.records, FACE).tobytes())
            self.writer = None
            self.manifest["shards"].append(entry)
        counts = {
            "faces": self.faces,
            "sources": dict(self.sources),
            "rejected": dict(self.rejected),
            "rejected_first": self.named,
        }
        self.manifest.update(counts, progress=dict(self.progress))
        write_manifest(self.out, self.manifest)

    def abandon(self) -> None:
        """Leaves no unfinished shard behind."""
        if self.writer is not None:
            self.writer.abandon()


def _label_all(
    run: PrepareRun, listed: Iterator[Job], total: int, workers: int, identity: Path | None
) -> None:
    jobs = islice(listed, run.progress["jobs"], None)
    first = next(jobs, None)
    if first is None:
        return
    context = get_context("spawn")  # MediaPipe's threads do not survive a fork
    pool = ProcessPoolExecutor(workers, context, labels.start_worker, (run.manifest["size_px"], identity))
    with tqdm(desc="faces", unit="face", total=total, initial=run.progress["pictures"]) as bar:
        try:
            for job, (found, reasons) in _in_order(
                pool, _chunks(chain([first], jobs)), in_flight=2 * workers + 1
            ):
                run.take(job, found, reasons)
                bar.update(job.pictures)
                if run.rejected:
                    bar.set_postfix(rejected=run.rejected.total(), refresh=False)
        finally:
            pool.shutdown(cancel_futures=True)


def _chunks(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    chunk: list[Job] = []
    for job in jobs:
        chunk.append(job)
        if sum(job.pictures for job in chunk) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _in_order(
    pool: ProcessPoolExecutor, chunks: Iterator[list[Job]], in_flight: int
) -> Iterator[tuple[Job, labels.LabelResult]]:
    """Every job with what was found, in the order of the jobs.

    The list is read only so far ahead that no process waits: the pool's own map would read it whole.
    """
    waiting: deque[tuple[list[Job], Future[list[labels.LabelResult]]]] = deque()
    for chunk in chunks:
        waiting.append((chunk, pool.submit(labels.label_jobs, chunk)))
        if len(waiting) >= in_flight:
            done, future = waiting.popleft()
            yield from zip(done, future.result(), strict=True)
    for done, future in waiting:
        yield from zip(done, future.result(), strict=True)


def finish(out: Path, manifest: dict, inputs: list[Path | str]) -> dict:
    """Counts people, draws the histograms and closes the manifest, which it returns.

    Raises DataError when there is no face.
    """
    if not manifest["faces"]:
        for name in ("manifest.json", "index.bin"):
            (out / name).unlink(missing_ok=True)
        why = manifest["rejected"] or "no pictures at all"
        raise DataError(
            f"No usable face in {', '.join(map(str, inputs))} ({why}): give folders, tars or clips that show "
            "faces."
        )
    index = np.memmap(out / "index.bin", FACE, "r").view(np.ndarray)
    people, first = np.unique(index["person"], return_index=True)
    manifest.update(
        people=len(people),
        held_out=int(index["held_out"].sum()),
        held_out_people=int(index["held_out"][first].sum()),
    )
    write_histograms(index["aus"], index["source"], list(manifest["sources"]), out / manifest["histogram"])
    manifest.update(index_sha256=sha256_of(out / "index.bin"), finished=True)
    write_manifest(out, manifest)
    return manifest


def write_manifest(out: Path, manifest: dict) -> None:
    atomic_file.write_text(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")
