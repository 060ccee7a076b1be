"""How still does a picture stay when its driver does?

A still face with a sensor's noise, through the live estimator, unsmoothed.

The live loop smooths (One-Euro) and ignores the smallest changes; both are left out here, so this is the
worst that a viewer could see, and what an engine makes of it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engines.backends.interface import Engine
from engines.blend import compose
from engines.errors import DataError
from engines.face import au_estimator
from engines.face.landmarks import FaceReader
from engines.face.mesh import FACE_OVAL
from train.data.corpus import FaceCorpus
from train.report import measures
from train.report.clips import TimedFrame, frames_of
from train.report.edits import engine_input

FRAMES = 60  # two seconds at 30 fps
NOISE_GREY = 2.0  # standard deviation a colour: a webcam indoors, after its own denoising
FPS = 30.0
SETTLE = 5  # frames that the tracker takes to come to rest after it found a face


@dataclass(frozen=True)
class RestingDriver:
    """A clip of a face that rests, read."""

    name: str
    aus: np.ndarray  # (n, 29) intensities, n at least 2


def noisy(picture: np.ndarray, frames: int = FRAMES, seed: int = 3) -> Iterator[TimedFrame]:
    """A still picture as a camera would give it, `frames` times."""
    rng = np.random.default_rng(seed)
    for number in range(frames):
        noise = rng.normal(0, NOISE_GREY, picture.shape)
        yield TimedFrame(np.clip(picture + noise + 0.5, 0, 255).astype(np.uint8), number, number / FPS)


def readings(frames: Iterable[TimedFrame]) -> np.ndarray:
    """AU intensities (n, 29) of the frames that show a face, by the live tracker."""
    rows = []
    with FaceReader(video=True) as reader:
        for frame in frames:
            face = reader.follow(frame.image, frame.time_s)
            if face is not None:
                rows.append(au_estimator.estimate(face))
    return np.array(rows[SETTLE:])


def still_driver(clip: Path, say: Callable[[str], None] = lambda _sentence: None) -> RestingDriver:
    """Reads the first FRAMES frames of a clip.

    Args:
        say: called with a sentence for each thing that is wrong with the file, as far as it is read.

    Raises: DataError when it cannot be read or shows no face.
    """
    with closing(frames_of(clip, say)) as frames:
        aus = readings(islice(frames, FRAMES))
    if len(aus) < 2:
        raise DataError(
            f"{clip} shows no face that the tracker can follow: give --still a clip of a face that rests, "
            "seen from the front."
        )
    return RestingDriver(clip.name, aus)


def puppet_flicker(
    engine: Engine, crop: np.ndarray, own: np.ndarray, region: np.ndarray, driver: np.ndarray
) -> float:
    """RMS of the differences between neighbouring pictures of a driven crop, grey levels.

    Args:
        engine: edits the crop.
        crop: (S, S, 3) uint8 BGR.
        own: (29,) intensities of the crop.
        region: (S, S) bool, where it is measured.
        driver: (n, 29) intensities.
    """
    squares, before = [], None
    for wanted in driver:
        picture = compose(crop, engine.run(crop, engine_input(engine, own, wanted)))
        if before is not None:
            squares.append(measures.flicker([before, picture], region) ** 2)
        before = picture
    return float(np.sqrt(np.mean(squares)))


def steadiness(
    engine: Engine, corpus: FaceCorpus, faces: np.ndarray, driver: RestingDriver | None = None, pairs: int = 4
) -> dict:
    """Flicker of up to `pairs` puppets, each driven by the next face, or all by one driver."""
    found, tremble, chosen = [], [], faces[:pairs]
    with FaceReader() as reader:
        for place, number in enumerate(tqdm(chosen, desc="still drivers", unit="pair", disable=None)):
            crop = corpus.picture(int(number))
            seen = reader.read(crop)
            read = (
                driver.aus
                if driver
                else readings(noisy(corpus.picture(int(chosen[(place + 1) % len(chosen)]))))
            )
            if not seen or len(read) < 2:
                continue
            region = measures.polygon(seen[0].landmarks_px[list(FACE_OVAL)], crop.shape[:2])
            found.append(puppet_flicker(engine, crop, au_estimator.estimate(seen[0]), region, read))
            tremble.append(float(np.sqrt(np.mean(np.diff(read, axis=0) ** 2))))
    return {
        "flicker_grey": float(np.mean(found)) if found else None,
        "flicker_worst_grey": float(np.max(found)) if found else None,
        "driver_tremble": float(np.mean(tremble)) if tremble else None,
        "flicker_pairs": len(found),
        "flicker_driver": driver.name
        if driver
        else f"still photos, {FRAMES} frames, noise of {NOISE_GREY:g} grey levels",
    }
