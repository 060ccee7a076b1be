"""Synthetic faces, of people who do not exist (train/stylespace), as files in a folder."""

from collections.abc import Iterable
from pathlib import Path

import cv2

from engines import atomic_file
from engines.errors import DataError
from train.data.folders import make_folder
from train.stylespace.generator import FaceGenerator


def write_faces(folder: Path, seeds: Iterable[int], size_px: int = 512) -> int:
    """Writes nobody-SEED.jpg for every seed that is not there yet; returns how many were drawn.

    Raises DataError, PuppetError.
    """
    from tqdm import tqdm

    if size_px < 1:
        raise DataError(f"No face can be drawn at {size_px} px: give --size 512.")
    make_folder(folder)
    missing = [seed for seed in seeds if not (folder / f"nobody-{seed:06d}.jpg").exists()]
    if not missing:
        return 0
    faces = FaceGenerator()
    for seed in tqdm(missing, desc="drawing faces", unit="face"):
        image = faces.face(seed, size_px)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        path = folder / f"nobody-{seed:06d}.jpg"
        try:
            atomic_file.write_bytes(path, data.tobytes())
        except OSError as error:
            raise DataError(
                f"{path} cannot be written ({error.strerror}): free some space and run it again, the faces "
                "that were drawn are kept."
            ) from error
    return len(missing)
