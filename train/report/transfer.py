"""How much of what drivers do arrives on puppets: every clip on every photo, through the program that people
use.

run.py renders each clip on each photo in a process of its own and records the targets; both
films are then read by dlib (face_distances.py), so that neither the estimator that drives nor the generator
is its own judge. For each distance, r and amplitude (standard deviation over the driver's), frame by frame:
from the driver to the target, from there to the puppet, and over both. Beside it: head and gaze by both
estimators, blendshapes, identity, delay.

The target is AUs; TARGET_DISTANCES says what distance a unit of each makes on people. Knows nothing of
training.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from engines.errors import DataError
from engines.face import au_estimator
from engines.face.action_units import EXPRESSION, opposites
from engines.face.landmarks import FaceReader
from engines.face.mesh import align
from train.report.dlib_opinion import SecondOpinion
from train.report.face_distances import DISTANCES, freed_distances, gaze_by_darkness, head_angles
from train.report.program import animate
from train.report.sheets import sheet, write_png, write_text

# Outer eye distances that a unit of each AU changes a distance by, on people: least squares over the frames
# of twelve clips (`fit_target_distances`), of their AUs' changes from rest and dlib's distances, each clip's
# mean taken off. Both sides of the face were taken for one.
_EYE = {"AU05": 0.026, "AU07": -0.028, "AU45": -0.0437}
_BROW = {"AU02": 0.0085, "AU04": -0.0421}
TARGET_DISTANCES: dict[str, dict[str, float]] = {
    "eye right": {**{au + "R": weight for au, weight in _EYE.items()}, "AU64": -0.031},
    "eye left": {**{au + "L": weight for au, weight in _EYE.items()}, "AU64": -0.031},
    "mouth opening": {"AU25": 0.2796, "AU26": 0.0234},
    "mouth width": {"AU12R": 0.0995, "AU12L": 0.0995, "AU20": 0.0914, "AU18": -0.0146, "AU26": -0.0478},
    "corners": {
        "AU12R": 0.039,
        "AU12L": 0.039,
        "AU15R": -0.016,
        "AU15L": -0.016,
        "AU25": 0.016,
        "AU26": 0.017,
    },
    "brow right": {"AU01": 0.0231, **{au + "R": weight for au, weight in _BROW.items()}},
    "brow left": {"AU01": 0.0231, **{au + "L": weight for au, weight in _BROW.items()}},
    "brows' gap": {"AU01": -0.0029, "AU04R": -0.0151, "AU04L": -0.0151},
    "jaw": {"AU26": 0.0373, "AU25": 0.1624, "AU17": 0.0297},
}
POSE = ("head turn", "head nod", "head tilt", "gaze sideways", "gaze up")
LAGS = range(-6, 7)  # frames
CELL_PX = 200
WORST = 8  # pictures on the sheet
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Film:
    """What is read of one film, frame by frame; NaN where no face is found."""

    distances: np.ndarray  # (T, 9) in the order of DISTANCES
    pose: np.ndarray  # (T, 5) in the order of POSE, degrees and eye widths, by MediaPipe
    pose_by_dlib: np.ndarray  # (T, 5)
    blendshapes: np.ndarray  # (T, 52)
    identity: np.ndarray  # (T,) cosine to the first frame, or NaN


def read_film(
    path: Path, second: SecondOpinion, embed: Embed | None = None, seconds: float | None = None
) -> Film:
    """Reads a clip by both estimators. embed: an Identity. Raises DataError."""
    capture = cv2.VideoCapture(str(path))
    fps = capture.get(cv2.CAP_PROP_FPS) or 30.0
    points = []
    angles = []
    rows: list[np.ndarray] = []
    first = None
    with FaceReader(video=True) as reader:
        while (seconds is None or len(rows) < seconds * fps) and (found := capture.read())[0]:
            face = reader.follow(found[1], len(rows) / fps)
            if face is None:
                points.append(np.full((68, 2), np.nan))
                angles.append(np.zeros(3))
                rows.append(np.full(5 + 5 + 52 + 1, np.nan))
                continue
            seen = second.points(found[1], face.landmarks_px)
            _, pose = align(face.mesh_px)
            by_dlib = head_angles(seen, found[1].shape[:2])
            vector = embed(found[1], face.landmarks_px) if embed else None
            first = vector if first is None else first
            turned = opposites(au_estimator.read(face))
            by_mesh = [pose.angles_deg[1], -pose.angles_deg[0], pose.angles_deg[2], *turned[4:]]
            opinion = [by_dlib[1], -by_dlib[0], by_dlib[2], *gaze_by_darkness(found[1], seen)]
            same = np.nan if vector is None else float(vector @ first)
            points.append(seen)
            angles.append(pose.angles_deg)
            rows.append(np.concatenate([by_mesh, opinion, face.blendshapes, [same]]))
    capture.release()
    if not rows:
        raise DataError(f"{path} is not a clip that can be read: give MP4, MOV, MKV or WebM.")
    table = np.array(rows)
    distances = freed_distances(np.array(points), np.array(angles))
    return Film(distances, table[:, :5], table[:, 5:10], table[:, 10:62], table[:, 62])


def target_distances(target: np.ndarray) -> np.ndarray:
    """Targets (T, 41), changes from rest -> (T, 9): the changes of distances that they come to on people."""
    weights = np.array([[TARGET_DISTANCES[name].get(au, 0.0) for au in EXPRESSION] for name in DISTANCES])
    return target @ weights.T


def fit_target_distances(
    target: Sequence[np.ndarray], distances: Sequence[np.ndarray]
) -> dict[str, dict[str, float]]:
    """Changes (T, 41) and distances (T, 9) of several clips -> TARGET_DISTANCES.

    AUs that have no part in a distance are left out.
    """
    parts = {
        "eye right": ("AU05R", "AU07R", "AU45R", "AU64"),
        "eye left": ("AU05L", "AU07L", "AU45L", "AU64"),
        "mouth opening": ("AU25", "AU26"),
        "mouth width": ("AU12R", "AU12L", "AU20", "AU18", "AU22", "AU26"),
        "corners": ("AU12R", "AU12L", "AU15R", "AU15L", "AU25", "AU26"),
        "brow right": ("AU01", "AU02R", "AU04R"),
        "brow left": ("AU01", "AU02L", "AU04L"),
        "brows' gap": ("AU01", "AU04R", "AU04L"),
        "jaw": ("AU26", "AU25", "AU17"),
    }
    found = {}
    for place, name in enumerate(DISTANCES):
        columns = [EXPRESSION.index(au) for au in parts[name]]
        x = np.concatenate([one[:, columns] - np.nanmean(one[:, columns], axis=0) for one in target])
        y = np.concatenate([one[:, place] - np.nanmean(one[:, place]) for one in distances])
        usable = np.isfinite(y)
        ridge = 1e-3 * usable.sum() * np.eye(len(columns))
        weights = np.linalg.solve(x[usable].T @ x[usable] + ridge, x[usable].T @ y[usable])
        found[name] = {au: round(float(weight), 4) for au, weight in zip(parts[name], weights, strict=True)}
    return found


def render(
    clip: Path, photo: Path, folder: Path, engine: str, device: str, seconds: float | None
) -> tuple[Path, Path]:
    """Renders a clip on a photo by run.py; returns the film and the record of the targets.

    Raises DataError.
    """
    film = folder / f"{clip.stem}-{photo.stem}.mp4"
    record = film.with_suffix(".csv")
    options = ["--record", str(record), "--engine", engine, "--device", device]
    options += ["--seconds", f"{seconds:g}"] if seconds else []
    return animate(photo, [str(clip)], film, options), record


def read_record(path: Path) -> np.ndarray:
    """(T, 41) float32: the targets of a puppet."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    table = np.array(rows, np.float32)
    return np.stack(
        [table[:, header.index(au)] if au in header else np.zeros(len(table)) for au in EXPRESSION], axis=1
    )


def follows(given: np.ndarray, shown: np.ndarray) -> tuple[float, float]:
    """r and amplitude of (T,) against (T,), of frames where both are known."""
    usable = np.isfinite(given) & np.isfinite(shown)
    if usable.sum() < 10 or given[usable].std() < 1e-6:
        return np.nan, np.nan
    amplitude = float(shown[usable].std() / given[usable].std())
    return (float(np.corrcoef(given[usable], shown[usable])[0, 1]) if amplitude > 1e-6 else 0.0), amplitude


def best_lag(given: np.ndarray, shown: np.ndarray) -> int:
    """Frames by which (T, N) follows (T, N) at the best mean r; positive: later."""
    found = {}
    for lag in LAGS:
        early, late = (
            given[max(0, -lag) : len(given) - max(0, lag)],
            shown[max(0, lag) : len(shown) - max(0, -lag)],
        )
        found[lag] = np.nanmean([follows(a, b)[0] for a, b in zip(early.T, late.T, strict=True)])
    return max(found, key=lambda lag: (found[lag], -abs(lag)))


@dataclass(frozen=True)
class Pair:
    """One clip on one photo."""

    clip: Path
    photo: Path
    film: Path
    driver: Film
    puppet: Film
    target: np.ndarray  # (T, 41)

    def stages(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What goes in and what comes out, (T, 9) each."""
        target = target_distances(self.target)
        return {
            "driver -> target": (self.driver.distances, target),
            "target -> puppet": (target, self.puppet.distances),
            "driver -> puppet": (self.driver.distances, self.puppet.distances),
        }


def measure(
    clips: Sequence[Path],
    photos: Sequence[Path],
    out: Path,
    engine: str = "default",
    device: str = "auto",
    embed: Embed | None = None,
    seconds: float | None = None,
) -> str:
    """Renders and reads every clip on every photo; writes transfer.md, transfer.png and the films into `out`.

    Returns the page. Raises DataError, OutputError.
    """
    second = SecondOpinion()
    out.mkdir(parents=True, exist_ok=True)
    pairs = []
    with tqdm(total=len(clips) * len(photos), desc="clips on photos", unit="film", disable=None) as bar:
        for clip in clips:
            driver = read_film(clip, second, seconds=seconds)
            for photo in photos:
                film, record = render(clip, photo, out, engine, device, seconds)
                pairs.append(
                    _pair(clip, photo, film, driver, read_film(film, second, embed), read_record(record))
                )
                bar.update()
    text = page(pairs)
    write_text(out / "transfer.md", text)
    write_png(out / "transfer.png", worst_sheet(pairs))
    return text


def _pair(clip: Path, photo: Path, film: Path, driver: Film, puppet: Film, target: np.ndarray) -> Pair:
    """With as many frames of each as the shortest has."""
    count = min(len(target), len(driver.distances), len(puppet.distances))

    def cut(one: Film) -> Film:
        return Film(*(getattr(one, name)[:count] for name in Film.__dataclass_fields__))

    return Pair(clip, photo, film, cut(driver), cut(puppet), target[:count])


def page(pairs: Sequence[Pair]) -> str:
    """The tables, means over all pairs, as Markdown."""
    stages = list(pairs[0].stages())
    lines = [
        f"{len({p.clip for p in pairs})} clips on {len({p.photo for p in pairs})} photos; r and amplitude.",
        "",
    ]
    lines += [f"| distance | {' | '.join(stages)} |", "|---|" + "---|" * len(stages)]
    figures = np.array(
        [
            [[follows(a, b) for a, b in zip(x.T, y.T, strict=True)] for x, y in pair.stages().values()]
            for pair in pairs
        ]
    )  # (pairs, stages, 9, 2)
    means = np.nanmean(figures, axis=0)
    for place, name in enumerate(DISTANCES):
        lines.append(f"| {name} | {' | '.join(f'{r:.2f}, {a:.2f}' for r, a in means[:, place])} |")
    lines.append(f"| mean | {' | '.join(f'{r:.2f}, {a:.2f}' for r, a in means.mean(axis=1))} |")
    lags = [[best_lag(*stage) for stage in pair.stages().values()] for pair in pairs]
    lines.append(f"| frames later | {' | '.join(f'{lag:+.1f}' for lag in np.mean(lags, axis=0))} |")
    lines += ["", "| driver -> puppet | by MediaPipe | by dlib and darkness |", "|---|---|---|"]
    for place, name in enumerate(POSE):
        by_mesh = _mean([follows(p.driver.pose[:, place], p.puppet.pose[:, place]) for p in pairs])
        opinion = _mean(
            [follows(p.driver.pose_by_dlib[:, place], p.puppet.pose_by_dlib[:, place]) for p in pairs]
        )
        lines.append(f"| {name} | {by_mesh[0]:.2f}, {by_mesh[1]:.2f} | {opinion[0]:.2f}, {opinion[1]:.2f} |")
    apart = np.nanmean(
        [np.nanmean(np.abs(_centred(p.driver.blendshapes) - _centred(p.puppet.blendshapes))) for p in pairs]
    )
    lines += ["", f"52 blendshapes: {apart:.3f} apart on average, each film's mean taken off."]
    same = [p.puppet.identity for p in pairs if np.isfinite(p.puppet.identity).any()]
    if same:
        lowest = min(np.nanmin(one) for one in same)
        lines.append(
            f"Identity: cosine to the first frame {np.mean([np.nanmean(one) for one in same]):.3f}, "
            f"at least {lowest:.3f}."
        )
    return "\n".join(lines) + "\n"


def _mean(figures: Sequence[tuple[float, float]]) -> np.ndarray:
    return np.nanmean(np.array(figures), axis=0)


def _centred(values: np.ndarray) -> np.ndarray:
    return values - np.nanmean(values, axis=0)


def worst_sheet(pairs: Sequence[Pair]) -> np.ndarray:
    """The frames in which puppets differ most from their drivers, one a pair: the driver above the puppet."""
    found = []
    for pair in pairs:
        spread = np.nanmean([np.nanstd(p.driver.distances, axis=0) for p in pairs], axis=0)
        apart = np.abs(_centred(pair.driver.distances) - _centred(pair.puppet.distances)) / spread
        if np.isfinite(apart).any():
            score = np.where(np.isfinite(apart).all(axis=1), np.nan_to_num(apart).mean(axis=1), -1)
            number = int(score.argmax())
            found.append((float(score[number]), pair, number, DISTANCES[int(apart[number].argmax())]))
    chosen = sorted(found, key=lambda one: -one[0])[:WORST]
    rows = [
        [_frame(pair.clip, number) for _, pair, number, _ in chosen],
        [_frame(pair.film, number) for _, pair, number, _ in chosen],
    ]
    columns = [f"{pair.clip.stem} {number}\n{name}" for _, pair, number, name in chosen]
    return sheet(rows, columns, ["driver", "puppet"], cell_px=CELL_PX)


def _frame(path: Path, number: int) -> np.ndarray:
    """A square from the middle of one frame."""
    capture = cv2.VideoCapture(str(path))
    for _ in range(number):
        capture.grab()
    _, frame = capture.read()
    capture.release()
    side = min(frame.shape[:2])
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    return cv2.resize(
        frame[top : top + side, left : left + side], (CELL_PX, CELL_PX), interpolation=cv2.INTER_AREA
    )
