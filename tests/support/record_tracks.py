"""Builds disturbed clips of the shipped driver, and stores what the tracker finds in them.

Run `python -m tests.support.record_tracks` when the tracker, the shipped driver or disturbances.py change: it
takes a minute and writes tests/data/recorded_tracks.npz. The tests replay these tracks through
realtime/tracking/face_validator.py in milliseconds. The people in them do not exist (realtime/samples).
Landmarks are stored in tenths of a pixel, as differences from picture to picture, and blendshapes in 255ths.
"""

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from engines.face.landmarks import Face, FaceReader
from realtime.sources.clip import Clip
from tests.support.disturbances import darkened, hand, head_of, rolled, slid, turned, with_head

SAMPLES = Path(__file__).parents[2] / "realtime" / "samples"
STORED = Path(__file__).parents[1] / "data" / "recorded_tracks.npz"
SIZE, FPS = (640, 360), 30.0
GONE = -32768  # in place of landmarks where no face was found
Disturb = Callable[[np.ndarray, int], np.ndarray]


@lru_cache(maxsize=1)
def driver() -> list[np.ndarray]:
    """The shipped driver's pictures, (360, 640, 3) uint8 each."""
    clip, pictures = Clip(SAMPLES / "driver.mp4"), []
    while (frame := clip.read()) is not None:
        pictures.append(cv2.resize(frame.image, SIZE, interpolation=cv2.INTER_AREA))
    clip.close()
    return pictures


@lru_cache(maxsize=1)
def meshes() -> np.ndarray:
    """(180, 478, 3): the driver's face, undisturbed."""
    with FaceReader(video=True) as reader:
        return np.array([reader.follow(image, i / FPS).mesh_px for i, image in enumerate(driver())])


@lru_cache(maxsize=4)
def stranger(name: str, eyes_px: float) -> tuple[np.ndarray, np.ndarray]:
    photo = cv2.imread(str(SAMPLES / f"{name}.jpg"))
    with FaceReader() as reader:
        return head_of(photo, reader.read(photo)[0].mesh_px, eyes_px)


def at(second: float, *stops: tuple[float, float]) -> float:
    """A value that goes straight from stop to stop: (second, value) each."""
    return float(np.interp(second, *zip(*stops, strict=True)))


def eyes_px(i: int) -> float:
    return float(np.linalg.norm(meshes()[i, 33, :2] - meshes()[i, 263, :2]))


def hand_at(
    image: np.ndarray, i: int, right: float, down: float, angle_deg: float, speed: float = 0.0
) -> np.ndarray:
    """A hand so many eye distances right and down of the nose bridge, in the colour of the cheeks."""
    mesh, eyes = meshes()[i], eyes_px(i)
    cheeks = mesh[[50, 280], :2].round().astype(int)
    colour = np.mean([image[y, x] for x, y in cheeks], axis=0) * 0.95
    return hand(image, mesh[168, :2] + eyes * np.array([right, down]), eyes, angle_deg, colour, speed * eyes)


def hand_passes(image: np.ndarray, i: int) -> np.ndarray:
    """From one side to the other in 1.1 s, beginning at 1.4 s."""
    return (
        hand_at(image, i, at(i / FPS, (1.4, -2.6), (2.5, 2.6)), 0.35, 12, 0.15)
        if 1.4 < i / FPS < 2.5
        else image
    )


def hand_on_mouth(image: np.ndarray, i: int) -> np.ndarray:
    """From below at 1.4 s; it rests there for 1.3 s."""
    return (
        hand_at(image, i, 0.1, at(i / FPS, (1.4, 3.2), (1.75, 0.9), (3.0, 0.9), (3.35, 3.2)), -60)
        if 1.4 < i / FPS < 3.35
        else image
    )


def hand_on_eyes(image: np.ndarray, i: int) -> np.ndarray:
    """From the side at 1.4 s; it rests there for a second."""
    return (
        hand_at(image, i, at(i / FPS, (1.4, -3.2), (1.8, -0.9), (2.8, -0.9), (3.2, -3.2)), 0.15, 85)
        if 1.4 < i / FPS < 3.2
        else image
    )


def slides_out(image: np.ndarray, i: int) -> np.ndarray:
    """Out of the picture's left from 1 s on, all gone at 3 s, back at 4.5 s."""
    return slid(
        image,
        at(
            i / FPS,
            (1.0, 0),
            (3.0, -float(meshes()[i, :, 0].max())),
            (3.5, -float(meshes()[i, :, 0].max())),
            (4.5, 0),
        ),
        0,
    )


def tilts(image: np.ndarray, i: int) -> np.ndarray:
    """Rolled to 85 degrees between 1 and 3 s, and back."""
    return rolled(image, at(i / FPS, (1.0, 0), (3.0, 85), (4.5, 0)), meshes()[i, :, :2].mean(axis=0), 0.75)


def turns(image: np.ndarray, i: int) -> np.ndarray:
    """One picture of the driver, turned by yaw to 50 degrees between 1 and 3 s, and back."""
    return turned(driver()[0], meshes()[0], at(i / FPS, (1.0, 0), (3.0, 50), (4.5, 0)))


def place(i: int, widths: float) -> tuple[float, float]:
    """A point so many face widths beside the driver's."""
    points = meshes()[i, :, :2]
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return (left + right) / 2 + widths * (right - left), (top + bottom) / 2 - 0.1 * (bottom - top)


def crossed(image: np.ndarray, i: int) -> np.ndarray:
    """Another person walks past in front of the driver, from right to left, between 1 and 3.2 s, and stays
    at the left."""
    return with_head(image, stranger("man", eyes_px(0)), place(i, at(i / FPS, (1.0, 3.0), (3.2, -1.7))))


def replaced(image: np.ndarray, i: int) -> np.ndarray:
    """Another person sits beside; the driver ducks out of the picture at 1.2 s and comes back at 3 s."""
    ducked = slid(image, 0, at(i / FPS, (1.0, 0), (1.3, 400), (2.9, 400), (3.2, 0)))
    return with_head(ducked, stranger("man", eyes_px(0)), place(0, 1.7))


def darker(light: float, noise: float) -> Disturb:
    """A still driver in the dark, with fresh noise in every picture."""
    return lambda _, i: darkened(driver()[0], light, noise, np.random.default_rng(i))


# name -> the disturbance, and how many pictures are kept
CLIPS: dict[str, tuple[Disturb, int]] = {
    "plain": (lambda image, _: image, 180),
    "hand passes": (hand_passes, 90),
    "hand on mouth": (hand_on_mouth, 120),
    "hand on eyes": (hand_on_eyes, 110),
    "slides out": (slides_out, 160),
    "tilts": (tilts, 150),
    "turns": (turns, 150),
    "crossed": (crossed, 110),
    "dark": (darker(0.10, 6), 40),
}


def record() -> None:
    stored = {}
    for name, (disturb, count) in CLIPS.items():
        mesh, scores = np.full((count, 478, 3), GONE, np.int16), np.zeros((count, 52), np.uint8)
        with FaceReader(video=True) as reader:
            for i, image in enumerate(driver()[:count]):
                face = reader.follow(disturb(image, i), i / FPS)
                if face is not None:
                    mesh[i], scores[i] = np.round(face.mesh_px * 10), np.round(face.blendshapes * 255)
        stored[f"{name}/mesh"], stored[f"{name}/scores"] = (
            np.diff(mesh, axis=0, prepend=np.zeros_like(mesh[:1])),
            scores,
        )
        print(f"{name}: {count} pictures, {(mesh[:, 0, 0] == GONE).sum()} without a face")
    np.savez_compressed(STORED, **stored)
    print(f"{STORED}: {STORED.stat().st_size / 1e6:.2f} MB")


def load_track(name: str) -> list[Face | None]:
    """What the tracker made of a disturbed clip, a face or None for every picture."""
    with np.load(STORED, allow_pickle=False) as stored:
        mesh, scores = np.cumsum(stored[f"{name}/mesh"], axis=0, dtype=np.int16), stored[f"{name}/scores"]
    return [
        None
        if points[0, 0] == GONE
        else Face(points[:, :2] / np.float32(10), points[:, 2] / np.float32(10), row / np.float32(255))
        for points, row in zip(mesh, scores, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(record())
