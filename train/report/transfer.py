"""How much of what drivers do arrives on puppets: every clip on every photo, through the program that people
use.

run.py renders each clip on each photo in a process of its own and records the targets; both
films are then read by dlib (face_distances.py), so that neither the estimator that drives nor the generator
is its own judge. For each distance, r and amplitude (standard deviation over the driver's), frame by frame:
from the driver to the target, from there to the puppet, and over both. Beside it: head and gaze by both
estimators, blendshapes, identity, delay.

Nobody can follow what a judge makes up: a clip counts where its driver moves more than the judge errs, and
beside r stands how high it could be (film_reading.py).

The target is AUs; TARGET_DISTANCES says what distance a unit of each makes on people. Knows nothing of
training.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from engines.face.action_units import EXPRESSION, HEAD_FULL_DEG, LEFT, RIGHT, opposites, whole
from train.identity import Embed
from train.report.clips import frame_at
from train.report.dlib_opinion import SecondOpinion
from train.report.face_distances import DISTANCES
from train.report.film_reading import POSE, Film, Reading, read_film
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
# The same of the lids, in eye widths by MediaPipe's mesh
TARGET_LIDS = {"AU05": 0.12, "AU07": -0.155, "AU45": -0.24}
LIDS = ("lid right", "lid left")
JUDGES = "driver by dlib -> by MediaPipe"
BROWS = [DISTANCES.index("brow right"), DISTANCES.index("brow left")]
LAGS = range(-6, 7)  # frames
CELL_PX = 200
WORST = 8  # pictures on the sheet
# A driver counts where their standard deviation is at least so many times that of the judge's tremble: three
# quarters of what is read are theirs then.
MOVES = 2.0
STILL = 1e-6  # a standard deviation that is none
LEAST_FRAMES = 10


def target_distances(target: np.ndarray) -> np.ndarray:
    """Targets (T, 41), changes from rest -> (T, 9): the changes of distances that they come to on people."""
    weights = np.array([[TARGET_DISTANCES[name].get(au, 0.0) for au in EXPRESSION] for name in DISTANCES])
    return target @ weights.T


def target_pose(target: np.ndarray) -> np.ndarray:
    """Targets (T, 41), changes from rest -> (T, 5) in the order of POSE: the head and the gaze that they ask
    for, as Film has them."""
    turn, nod, tilt, _, sideways, up = opposites(target).T
    return np.stack([turn * HEAD_FULL_DEG, nod * HEAD_FULL_DEG, tilt * HEAD_FULL_DEG, sideways, up], axis=-1)


def target_lids(target: np.ndarray) -> np.ndarray:
    """Targets (T, 41), changes from rest -> (T, 2): how much further the right and the left eye are open."""
    sides = [
        [
            TARGET_LIDS[whole(au)] if whole(au) in TARGET_LIDS and au.endswith(side) else 0.0
            for au in EXPRESSION
        ]
        for side in (RIGHT, LEFT)
    ]
    return target @ np.array(sides).T


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


@dataclass(frozen=True)
class Figure:
    """How well something is followed; NaN where that cannot be said."""

    r: float
    at_most: float  # the r of a perfect follower, whose film the judge reads no better
    amplitude: float  # standard deviation over the given one's, the judge's tremble taken off both


UNKNOWN = Figure(np.nan, np.nan, np.nan)


def follows(given: Reading, shown: Reading) -> Figure:
    """How well (T,) follows (T,), of frames where both are known."""
    usable = np.isfinite(given.values) & np.isfinite(shown.values)
    if usable.sum() < LEAST_FRAMES:
        return UNKNOWN
    asked, shares_asked = _spread(given.values[usable], given.tremble[usable])
    answered, shares_answered = _spread(shown.values[usable], shown.tremble[usable])
    if not asked:
        return UNKNOWN
    at_most = (shares_asked * shares_answered) ** 0.5
    if shown.values[usable].std() < STILL:
        return Figure(0.0, at_most, 0.0)
    r = np.corrcoef(given.values[usable], shown.values[usable])[0, 1]
    return Figure(float(r), at_most, answered / asked)


def _spread(values: np.ndarray, tremble: np.ndarray) -> tuple[float, float]:
    """The standard deviation of (T,) without the judge's part, and the share of the variance that is left."""
    variance = float(values.var())
    share = max(0.0, 1 - float(tremble.var()) / variance) if variance > STILL**2 else 0.0
    return (variance * share) ** 0.5, share


def moves(driver: Reading) -> bool:
    """Whether a driver moves (T,) by enough more than the judge errs."""
    usable = np.isfinite(driver.values)
    if usable.sum() < LEAST_FRAMES:
        return False
    return bool(driver.values[usable].std() >= max(MOVES * driver.tremble[usable].std(), STILL))


@dataclass(frozen=True)
class Stage:
    """What goes in and what comes out, (T, N) each, and the driver's own movement, which decides what
    counts."""

    driver: Reading
    given: Reading
    shown: Reading

    def figure(self, place: int) -> Figure:
        """Of one column; unknown where the driver is still."""
        if not moves(self.driver.column(place)):
            return UNKNOWN
        return follows(self.given.column(place), self.shown.column(place))

    def lag(self) -> float:
        """Frames by which what comes out is later, NaN where the driver is still in everything."""
        count = self.driver.values.shape[1]
        moving = [place for place in range(count) if moves(self.driver.column(place))]
        if not moving:
            return np.nan
        return best_lag(self.given.values[:, moving], self.shown.values[:, moving])


def best_lag(given: np.ndarray, shown: np.ndarray) -> int:
    """Frames by which (T, N) follows (T, N) at the best mean r; positive: later."""
    found = {}
    for lag in LAGS:
        early, late = (
            given[max(0, -lag) : len(given) - max(0, lag)],
            shown[max(0, lag) : len(shown) - max(0, -lag)],
        )
        figures = [
            follows(Reading.exact(a), Reading.exact(b)).r for a, b in zip(early.T, late.T, strict=True)
        ]
        found[lag] = np.nanmean(figures)
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

    def stages(self) -> dict[str, Stage]:
        """Of the nine distances, before them how well another judge follows the first on the driver's own
        film: what one of them sees and the other does not, no puppet can answer to both."""
        driver = self.driver.distances
        return {
            JUDGES: Stage(driver, driver, self.driver.mesh_distances),
            **_stages(driver, target_distances(self.target), self.puppet.distances),
        }

    def mesh_stages(self) -> dict[str, Stage]:
        """Of the same distances by MediaPipe, which drives, but is steadier than dlib."""
        return _stages(self.driver.mesh_distances, target_distances(self.target), self.puppet.mesh_distances)

    def lid_stages(self) -> dict[str, Stage]:
        """Of both eyes, by MediaPipe: dlib does not see small eyes shut."""
        return _stages(self.driver.lids, target_lids(self.target), self.puppet.lids)

    def pose_stages(self) -> dict[str, Stage]:
        """Of head and gaze, by MediaPipe."""
        return _stages(self.driver.pose, target_pose(self.target), self.puppet.pose)

    def pose_stages_by_dlib(self) -> dict[str, Stage]:
        """The same by dlib's landmarks and the pictures' darkness."""
        return _stages(self.driver.pose_by_dlib, target_pose(self.target), self.puppet.pose_by_dlib)


def _stages(driver: Reading, target: np.ndarray, puppet: Reading) -> dict[str, Stage]:
    asked = Reading.exact(target)
    return {
        "driver -> target": Stage(driver, driver, asked),
        "target -> puppet": Stage(driver, asked, puppet),
        "driver -> puppet": Stage(driver, driver, puppet),
    }


def measure(
    clips: Sequence[Path],
    photos: Sequence[Path],
    out: Path,
    engine: str = "default",
    device: str = "auto",
    embed: Embed | None = None,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda _sentence: None,
) -> str:
    """Renders and reads every clip on every photo; writes transfer.md, transfer.png and the films into `out`.

    say: called with a sentence for each thing that is wrong with a clip.

    Returns the page. Raises DataError, OutputError.
    """
    second = SecondOpinion()
    out.mkdir(parents=True, exist_ok=True)
    pairs = []
    with tqdm(total=len(clips) * len(photos), desc="clips on photos", unit="film", disable=None) as bar:
        for clip in clips:
            driver = read_film(clip, second, seconds=seconds, say=say)
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
    count = min(len(target), len(driver.identity), len(puppet.identity))
    return Pair(clip, photo, film, driver.first(count), puppet.first(count), target[:count])


def page(pairs: Sequence[Pair]) -> str:
    """The tables, means over all pairs, as Markdown."""
    lines = [
        f"{len({p.clip for p in pairs})} clips on {len({p.photo for p in pairs})} photos; r (what it could "
        "be at most, by how differently the judge reads films and their mirror images), amplitude.",
        "",
        *_table("distance", DISTANCES, pairs, Pair.stages),
    ]
    lags = [[stage.lag() for stage in pair.stages().values()] for pair in pairs]
    means = _mean_of_known(np.array(lags, float), (0,))
    lines.append(f"| frames later | | {' | '.join(f'{lag:+.1f}' for lag in means)} |")
    lines += ["", *_table("the same by MediaPipe", DISTANCES, pairs, Pair.mesh_stages)]
    lines += ["", *_table("lids, by MediaPipe", LIDS, pairs, Pair.lid_stages)]
    lines += ["", *_table("head and gaze, by MediaPipe", POSE, pairs, Pair.pose_stages)]
    lines += ["", *_table("the same by dlib and darkness", POSE, pairs, Pair.pose_stages_by_dlib)]
    lines += ["", *_left_out(pairs), "", *_brow_table(pairs)]
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


def _table(
    title: str, names: Sequence[str], pairs: Sequence[Pair], stages_of: Callable[[Pair], dict[str, Stage]]
) -> list[str]:
    """A row for each name: of how many clips it can be said, and a cell for each stage, as Markdown."""
    stages = [stages_of(pair) for pair in pairs]
    lines = [f"| {title} | clips | {' | '.join(stages[0])} |", "|---|---|" + "---|" * len(stages[0])]
    rows = []
    for place, name in enumerate(names):
        figures = np.array(
            [[astuple(stage.figure(place)) for stage in of_pair.values()] for of_pair in stages]
        )  # (pairs, stages, 3)
        known = np.isfinite(figures).any(axis=(1, 2))
        counted = {pair.clip for pair, one in zip(pairs, known, strict=True) if one}
        rows.append(_mean_of_known(figures, (0,)))
        lines.append(f"| {name} | {len(counted)} | {_cells(rows[-1])} |")
    return [*lines, f"| mean | | {_cells(_mean_of_known(np.array(rows), (0,)))} |"]


def _left_out(pairs: Sequence[Pair]) -> list[str]:
    """Which clips do not count in what, and why, as a list in Markdown."""
    drivers = {pair.clip.stem: pair.driver for pair in pairs}
    lines = [
        f"Clips whose drivers move less than {MOVES:g} times as far as the judge errs count in no mean "
        "(movement / error, standard deviations):",
        "",
    ]
    for suffix, names, attribute in (
        ("", DISTANCES, "distances"),
        (" by MediaPipe", DISTANCES, "mesh_distances"),
        (" by MediaPipe", LIDS, "lids"),
        (" by MediaPipe", POSE, "pose"),
        (" by dlib and darkness", POSE, "pose_by_dlib"),
    ):
        for place, name in enumerate(names):
            still = [
                f"{clip} ({np.nanstd(one.values):.2g} / {np.nanstd(one.tremble):.2g})"
                for clip, driver in drivers.items()
                if not moves(one := getattr(driver, attribute).column(place))
            ]
            if still:
                lines.append(f"- {name}{suffix}: {', '.join(still)}")
    return lines if len(lines) > 2 else ["Every driver moves enough to count in everything."]


def _brow_table(pairs: Sequence[Pair]) -> list[str]:
    """r and amplitude of both brows, clip by clip, as Markdown.

    dlib loses brows that are raised far (it puts them on the fold of the lid), takes a blink for a raised
    brow, and sees of others nothing but its own tremble: beside it stand the heights at which the pictures
    themselves are dark, where they tell.
    """
    heads = ("driver -> target", "the same by darkness", "driver -> puppet", "the same by darkness")
    lines = [f"| brows of a clip | dlib's spread | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    rows = []
    for clip in dict.fromkeys(pair.clip for pair in pairs):
        own = [pair for pair in pairs if pair.clip == clip]
        figures = [[astuple(stage.figure(side)) for side in (0, 1)] for p in own for stage in _brow_stages(p)]
        means = _mean_of_known(np.reshape(figures, (len(own), len(heads), 2, 3)), (0, 2))
        spread = float(np.nanmean(np.nanstd(own[0].driver.distances.part(BROWS).values, axis=0)))
        rows.append(means)
        lines.append(f"| {clip.stem} | {spread:.4f} | {_cells(means)} |")
    return [*lines, f"| mean | | {_cells(_mean_of_known(np.array(rows), (0,)))} |"]


def _mean_of_known(figures: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Means without NaN; NaN where nothing is known."""
    known = np.isfinite(figures)
    count = known.sum(axis=axes)
    return np.where(count, np.where(known, figures, 0).sum(axis=axes) / np.maximum(count, 1), np.nan)


def _cells(figures: np.ndarray) -> str:
    """(n, 3) of a Figure each, as n cells of a Markdown table."""
    return " | ".join(
        "-" if np.isnan(r) else f"{r:.2f} ({at_most:.2f}), {amplitude:.2f}"
        for r, at_most, amplitude in figures
    )


def _brow_stages(pair: Pair) -> list[Stage]:
    """In the order of _brow_table's columns."""
    target = target_distances(pair.target)[:, BROWS]
    stages = [
        _stages(driver, target, puppet)
        for driver, puppet in (
            (pair.driver.distances.part(BROWS), pair.puppet.distances.part(BROWS)),
            (pair.driver.brows, pair.puppet.brows),
        )
    ]
    return [by_judge[name] for name in ("driver -> target", "driver -> puppet") for by_judge in stages]


def _centred(values: np.ndarray) -> np.ndarray:
    return values - np.nanmean(values, axis=0)


def worst_sheet(pairs: Sequence[Pair]) -> np.ndarray:
    """The frames in which puppets differ most from their drivers, one a pair: the driver above the puppet."""
    found = []
    for pair in pairs:
        spread = np.nanmean([np.nanstd(p.driver.distances.values, axis=0) for p in pairs], axis=0)
        apart = (
            np.abs(_centred(pair.driver.distances.values) - _centred(pair.puppet.distances.values)) / spread
        )
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
    frame = frame_at(path, number)
    side = min(frame.shape[:2])
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    return cv2.resize(
        frame[top : top + side, left : left + side], (CELL_PX, CELL_PX), interpolation=cv2.INTER_AREA
    )
