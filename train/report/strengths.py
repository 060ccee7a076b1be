"""How strongly AUs are to be asked of an engine, so that a puppet's mouth goes as far as its driver's.

Nobody judges the puppet's pictures here: where the engine's flow takes the landmarks of a photo is computed.
Drivers are measured by the same landmarks, turned to the front. What single AUs do on some photos, times what
drivers do, predicts the distances of puppets; strengths are chosen so that these move as far as the drivers'
and together with them. Lids and brows are not in it: their strengths go by the mesh of the eyes and by the
pictures' darkness (transfer.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engines.backends.interface import Engine
from engines.errors import DataError
from engines.face import au_estimator
from engines.face.action_units import WIDE, translate, whole, wholes
from engines.face.crop import cut, find_crop
from engines.face.landmarks import FaceReader
from engines.face.mesh import EYE_OUTER, align
from engines.face.photo import load_photo
from train.report.clips import frames_of

DISTANCES = ("width", "corners", "opening", "jaw", "upper lip")
# What a distance moves by at least, as a standard deviation in outer eye distances, to count in a clip
MOVES = np.array([0.02, 0.008, 0.02, 0.015, 0.008])
# Of the distances, how much each counts
COUNTS = np.array([1.0, 1.0, 1.0, 0.7, 0.5])
AUS = wholes(WIDE)
# AUs of the mouth alone: what the others are asked for is left as it is (cheeks are the eyes', too)
OF_THE_MOUTH = tuple(au for au in AUS if au not in ("AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU45"))
LEVEL = 0.6  # of an AU whose response is measured: what drivers do, mostly
EVERY, MOST_FRAMES = 3, 120  # of a clip's frames
REST_PERCENTILE, REST_SHARE = 20.0, 0.125  # of a clip, whose quietest eighth is taken for rest
WEAKEST, STRONGEST, FACTOR, ROUNDS = 0.25, 1.7, 1.05, 40
TOGETHER = 2.0  # what 1 - r costs, where the square of an amplitude's logarithm costs 1
TIMID = 0.01  # the same of a strength's own: nothing is asked for much more or less without a reason


@dataclass(frozen=True)
class Driver:
    """What a clip's driver does."""

    name: str
    change: np.ndarray  # (T, 29) AUs, less those at rest
    distances: np.ndarray  # (T, 5) in the order of DISTANCES


def mouth_distances(points: np.ndarray) -> np.ndarray:
    """Landmarks (..., 468 or more, 2) of an upright face, y down -> (..., 5), in outer eye distances.

    Corners grow as they rise above the lips' middle, the jaw as it drops, the upper lip as it does.
    """
    right, left = EYE_OUTER
    unit = np.linalg.norm(points[..., right, :] - points[..., left, :], axis=-1)
    width = np.linalg.norm(points[..., 61, :] - points[..., 291, :], axis=-1)
    y = points[..., 1]
    corners = (y[..., 0] + y[..., 17]) / 2 - (y[..., 61] + y[..., 291]) / 2
    heights = (width, corners, y[..., 17] - y[..., 0], y[..., 152] - y[..., 2], y[..., 0] - y[..., 2])
    return np.stack(heights, axis=-1) / unit[..., None]


def arrived(points: np.ndarray, flow: np.ndarray, size_px: int) -> np.ndarray:
    """Where points (n, 2) of a photo's crop come to lie, by a flow (s, s, 2): out(p) = photo(p + flow(p))."""
    fine = cv2.resize(flow.astype(np.float32), (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    place = points.astype(np.float32)
    for _ in range(15):  # a fixed point: steps shrink as long as the flow folds nothing
        at = cv2.remap(
            fine, place[None, :, 0], place[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        place = points.astype(np.float32) - at[0]
    return place


def read_driver(path: Path) -> Driver:
    """Every third frame of a clip, from its beginning. Raises DataError where no face is in them."""
    aus: list[np.ndarray] = []
    distances: list[np.ndarray] = []
    with FaceReader() as reader:
        for number, frame in enumerate(frames_of(path)):
            if len(aus) == MOST_FRAMES:
                break
            faces = reader.read(frame.image, everywhere=False) if number % EVERY == 0 else []
            if faces:
                aus.append(au_estimator.estimate(faces[0]))
                distances.append(mouth_distances(align(faces[0].mesh_px)[0][:, :2]))
    if not aus:
        raise DataError(f"{path} shows no face: choose a clip of one face from the front.")
    read = np.array(aus)
    unrest = np.abs(read - np.percentile(read, REST_PERCENTILE, axis=0)).sum(axis=1)
    quiet = np.argsort(unrest)[: max(1, int(len(read) * REST_SHARE))]
    return Driver(path.stem, read - np.median(read[quiet], axis=0), np.array(distances))


def responses(engine: Engine, photos: Sequence[Path]) -> np.ndarray:
    """(2, 19, 5): what a unit of each AU, and of its opposite, does to the distances of some photos' faces.

    Raises DataError for an engine without flow, SourceError.
    """
    size_px, found = engine.bundle.size_px, []
    for path in photos:
        photo = load_photo(path)
        with FaceReader() as reader:
            faces = reader.read(photo)
        if not faces:
            raise DataError(f"{path} shows no face: choose another of --photos.")
        crop = find_crop(faces[0], size_px)
        picture, points = cut(photo, crop), crop.to_crop(faces[0].mesh_px[:, :2])
        still = mouth_distances(points)
        for sign in (1, -1):
            for au in AUS:
                asked = np.array([LEVEL * sign * (whole(each) == au) for each in WIDE], np.float32)
                flow = engine.run(picture, translate(asked, WIDE, engine.bundle.aus)).flow
                if flow is None:
                    raise DataError("This engine moves nothing by flow: choose one that does.")
                moved = mouth_distances(arrived(points, flow, size_px))
                found.append((moved - still) / (LEVEL * sign))
    return np.mean(np.reshape(found, (-1, 2, len(AUS), len(DISTANCES))), axis=0)


def predicted(change: np.ndarray, strengths: np.ndarray, response: np.ndarray) -> np.ndarray:
    """A driver's change (T, 29), strengths (19,) of AUS -> a puppet's distances (T, 5), less its own."""
    both = [[i for i, side in enumerate(WIDE) if whole(side) == au] for au in AUS]
    asked = np.stack([change[:, columns].mean(axis=1) for columns in both], axis=1) * strengths
    asked = np.clip(asked, -1, 1)
    return np.maximum(asked, 0) @ response[0] + np.minimum(asked, 0) @ response[1]


def compared(
    drivers: Sequence[Driver], strengths: np.ndarray, response: np.ndarray
) -> tuple[np.ndarray, ...]:
    """-> amplitude, r and weight, (clips, 5) each; no weight where the driver does not move."""
    amplitude, agreement, weight = [], [], []
    for driver in drivers:
        puppet, own = predicted(driver.change, strengths, response), driver.distances
        spread, moved = own.std(axis=0), puppet.std(axis=0)
        together = ((puppet - puppet.mean(axis=0)) * (own - own.mean(axis=0))).mean(axis=0)
        amplitude.append(moved / np.maximum(spread, 1e-6))
        agreement.append(together / np.maximum(spread * moved, 1e-9))
        weight.append(np.minimum(spread / MOVES, 2) * (spread > MOVES))
    return np.array(amplitude), np.array(agreement), np.array(weight)


def fitted(drivers: Sequence[Driver], response: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Strengths (19,) by which puppets go as far as their drivers, and with them; from others, one after
    the other by FACTOR until none gets better."""

    def cost(strengths: np.ndarray) -> float:
        amplitude, agreement, weight = compared(drivers, strengths, response)
        each = np.log(np.maximum(amplitude, 0.05)) ** 2 + TOGETHER * (1 - agreement)
        off = np.log(strengths) ** 2
        return float((each * weight * COUNTS).sum() / max(weight.sum(), 1e-9) + TIMID * off.sum())

    best, least = start.astype(float), cost(start)
    for _ in range(ROUNDS):
        before = least
        for place in (AUS.index(au) for au in OF_THE_MOUTH):
            for factor in (FACTOR, 1 / FACTOR):
                tried = best.copy()
                tried[place] = np.clip(tried[place] * factor, WEAKEST, STRONGEST)
                if (found := cost(tried)) < least:
                    best, least = tried, found
        if least == before:
            break
    return best


def measure(
    engine: Engine, clips: Sequence[Path], photos: Sequence[Path], strengths: Mapping[str, float]
) -> str:
    """The page as Markdown: how far puppets' mouths go with these strengths and with fitted ones.

    Raises: DataError, SourceError.
    """
    if unknown := sorted(strengths.keys() - set(AUS)):
        raise DataError(f"There is no {unknown[0]} among {', '.join(AUS)}: correct --strengths.")
    drivers = [read_driver(path) for path in clips]
    response = responses(engine, photos)
    given = np.array([strengths.get(au, 1.0) for au in AUS])
    better = fitted(drivers, response, given)
    lines = [f"| AU | {' | '.join(DISTANCES)} | given | fitted |", "|---" * (len(DISTANCES) + 3) + "|"]
    for place, au in enumerate(AUS):
        if au in OF_THE_MOUTH:
            cells = " | ".join(f"{value:+.3f}" for value in response[0, place])
            lines.append(f"| {au} | {cells} | {given[place]:.2f} | {better[place]:.2f} |")
    lines += ["", f"| amplitude, r | {' | '.join(DISTANCES)} |", "|---" * (len(DISTANCES) + 1) + "|"]
    for name, chosen in (("given", given), ("fitted", better)):
        lines.append(f"| {name} | {' | '.join(_mean_cells(*compared(drivers, chosen, response)))} |")
    amplitude, agreement, weight = compared(drivers, better, response)
    for row, driver in enumerate(drivers):
        each = zip(amplitude[row], agreement[row], weight[row], strict=True)
        cells = " | ".join(f"{a:.2f}, {r:.2f}" if counts else "-" for a, r, counts in each)
        lines.append(f"| {driver.name} | {cells} |")
    return "\n".join(lines)


def _mean_cells(amplitude: np.ndarray, agreement: np.ndarray, weight: np.ndarray) -> list[str]:
    """Of all clips that move, by how far they do."""
    share = weight / np.maximum(weight.sum(axis=0), 1e-9)
    mean = np.exp((np.log(np.maximum(amplitude, 0.05)) * share).sum(axis=0))
    return [f"{a:.2f}, {r:.2f}" for a, r in zip(mean, (agreement * share).sum(axis=0), strict=True)]
