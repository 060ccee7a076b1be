"""The figures of the GANimation paper (ECCV 2018), drawn from given photos by any engine.

Figure 6 is train/report/compare.py.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from engines.backends.interface import Engine
from engines.errors import DataError, OutputError, SourceError
from engines.face.action_units import PAPER_17
from engines.face.au_estimator import index
from train.command_line import FIGURES
from train.data.corpus import FaceCorpus
from train.data.folders import make_folder
from train.identity import Embed
from train.report.animation import progress_sheet, write_film, write_montage, write_moving_montage
from train.report.edits import EXPRESSIONS, LEVELS, wanted_at
from train.report.evaluate import FORMAT, case_sheet, parts
from train.report.photos import Photo, read_photos
from train.report.scaled import at_size
from train.report.sheets import GAP_PX, LINE, resized_square, sheet, text_box, write_png
from train.report.sweep import cases, choose_faces, sweep

GROUP_EXPRESSIONS = ("smile", "surprise", "frown")  # of EXPRESSIONS, in figure 8
SAMPLED = 72  # expressions in the paper's figure 7
CASES = 6  # best and worst, each, in figure 9
# What goes together in faces, for figure 7 without a corpus: a combination and how strong its strongest is.
COMBINATIONS: tuple[tuple[str, ...], ...] = (
    ("AU06", "AU12"),
    ("AU06", "AU12", "AU25"),
    ("AU12", "AU25", "AU26"),
    ("AU25", "AU26"),
    ("AU01", "AU02"),
    ("AU01", "AU02", "AU05", "AU25"),
    ("AU04", "AU07"),
    ("AU04", "AU15", "AU17"),
    ("AU01", "AU04", "AU15"),
    ("AU09", "AU10"),
    ("AU10", "AU25"),
    ("AU45",),
    ("AU12", "AU14"),
    ("AU20", "AU25"),
    ("AU17", "AU23"),
    ("AU06", "AU07", "AU12", "AU45"),
    ("AU04", "AU09", "AU25"),
    ("AU02", "AU12"),
)


def draw(
    figure: int,
    engine: Engine,
    photos: list[Path],
    out: Path,
    corpus: FaceCorpus | None = None,
    evaluation: Path | None = None,
    faces: int = 24,
    identity: Embed | None = None,
    over: Sequence[str] = (),
) -> list[Path]:
    """Draws one of the paper's figures 1, 4, 5, 7, 8, 9 into the folder `out`; returns the files.

    They are PNGs under 3 MB, MP4s, and of several photos an animated WebP.

    photos: files; figure 9 needs none. corpus: for figure 7 its real expressions are sampled; figure 9 needs
    it. Figure 9 takes its cases from the folder `evaluation` of an `evaluate` of this engine on this corpus,
    or sweeps `faces` held-out faces itself. over: curves, as of --driver, that are laid over figure 1's
    WebP, which run.py draws then. Figure 8 writes its first edit in full besides, every pixel of
    it. Raises SourceError, DataError, OutputError.
    """
    if figure == 9:
        if corpus is None:
            raise DataError(
                "Figure 9 shows best and worst cases among people that are held out of training: give a "
                "corpus."
            )
        make_folder(out, OutputError)
        seen = at_size(corpus, engine.bundle.size_px)
        if evaluation:
            chosen = stored_cases(evaluation, engine, corpus)
        else:
            chosen = cases(sweep(engine, seen, choose_faces(seen, faces), identity), CASES)
        return [_write(out, 9, "cases", case_sheet(engine, seen, chosen, CASES))]
    if figure not in FIGURES:
        raise DataError(
            f"There is no figure {figure} here: draw {', '.join(map(str, FIGURES))}, or figure 6 by `python "
            "-m train compare`."
        )
    make_folder(out, OutputError)
    files, read = [], read_photos([Path(path) for path in photos], engine.bundle.size_px)
    if figure == 1 and len(read) > 1:
        files.append(_montage(engine, photos, read, over, out / "figure-1.webp"))
    for photo in read:
        files += _of_photo(figure, engine, photo, out, corpus)
    return files


def _montage(engine: Engine, photos: list[Path], read: list[Photo], over: Sequence[str], path: Path) -> Path:
    if not over:
        return write_montage(engine, read, path)
    return write_moving_montage([Path(photo) for photo in photos], over, path, str(engine.bundle.folder))


def _of_photo(figure: int, engine: Engine, photo: Photo, out: Path, corpus: FaceCorpus | None) -> list[Path]:
    """Draws one figure of one photo; returns the files."""
    if figure == 1:
        film = write_film(engine, photo, out / f"figure-1-{photo.name}.mp4")
        return [film, _write(out, 1, photo.name, progress_sheet(engine, photo))]
    if figure == 8:
        pictures = every_face_edited(engine, photo)
        first = list(pictures)[1]  # in full, every pixel: what the sheet can only show small
        full = out / f"figure-8-{photo.name}-{first.replace(' ', '-')}.png"
        sheet = _write(out, 8, photo.name, side_by_side(pictures))
        return [sheet, write_png(full, pictures[first], max_bytes=None)]
    sheets = {
        4: lambda: single_aus(engine, photo),
        5: lambda: masks(engine, photo),
        7: lambda: many_expressions(engine, photo, corpus),
    }
    return [_write(out, figure, photo.name, sheets[figure]())]


def draw_all(
    only: Sequence[int] | None,
    engine: Engine,
    photos: list[Path],
    out: Path,
    corpus: FaceCorpus | None = None,
    faces: int = 24,
    identity: Embed | None = None,
    evaluation: Path | None = None,
    over: Sequence[str] = (),
) -> list[Path]:
    """Draws the figures in `only`; None: all that can be drawn. As `draw`.

    Figure 9 needs a corpus, the others photos.
    """
    possible = [figure for figure in FIGURES if (corpus is not None if figure == 9 else bool(photos))]
    if not (only or possible):
        raise SourceError("There is nothing to draw: give photos of faces, or a corpus for figure 9.")
    if evaluation is not None and 9 not in (only or possible):
        raise DataError(
            "An evaluation is for figure 9, which needs the corpus too: give --corpus, or leave --evaluation "
            "out."
        )
    return [
        path
        for figure in only or possible
        for path in draw(figure, engine, photos, out, corpus, evaluation, faces, identity, over)
    ]


def _write(out: Path, figure: int, name: str, picture: np.ndarray) -> Path:
    return write_png(out / f"figure-{figure}-{name}.png", picture)


def single_aus(engine: Engine, photo: Photo) -> np.ndarray:
    """Figure 4: each AU at 0, .33, .66 and 1, from a face whose other AUs stay as they are.

    At 0 a face that did not show the AU is the photo.
    """
    subject, half = photo.subjects[0], (len(PAPER_17) + 1) // 2
    rows = [[subject.edited(engine, (au,), level) for level in LEVELS] for au in PAPER_17]
    rows += [[subject.picture]] * (2 * half - len(rows))
    names = [*PAPER_17, *["photo"] * (len(rows) - len(PAPER_17))]
    columns = [f"{level:g}" for level in LEVELS]
    return np.hstack(
        [
            sheet(rows[part], columns, names[part], cell_px=160, names_px=64)
            for part in (slice(half), slice(half, None))
        ]
    )


def masks(engine: Engine, photo: Photo) -> np.ndarray:
    """Figure 5: A, C, (flow,) and the result of several expressions."""
    subject = photo.subjects[0]
    rows = [
        [subject.picture, *parts(engine, subject.picture, subject.own, names, level)]
        for _, names, level in EXPRESSIONS
    ]
    columns = ["photo", "A", "C", *(["flow"] if engine.bundle.flow_px else []), "result"]
    return sheet(rows, columns, [name for name, _, _ in EXPRESSIONS], cell_px=224)


def many_expressions(engine: Engine, photo: Photo, corpus: FaceCorpus | None = None) -> np.ndarray:
    """Figure 7: SAMPLED expressions of one face, the photo large in the corner."""
    subject = photo.subjects[0]
    wanted = real_expressions(corpus) if corpus is not None else random_expressions(subject.own)
    cell, side = 128 + GAP_PX, 9  # 9 x 9 cells: the photo takes 3 x 3 of them, which leaves 72
    canvas = np.full((side * cell, side * cell, 3), LINE, np.uint8)
    canvas[: 3 * cell - GAP_PX, : 3 * cell - GAP_PX] = resized_square(subject.picture, 3 * cell - GAP_PX)
    free = [(row, column) for row in range(side) for column in range(side) if row >= 3 or column >= 3]
    for (row, column), aus in zip(free, wanted, strict=True):
        canvas[row * cell : (row + 1) * cell - GAP_PX, column * cell : (column + 1) * cell - GAP_PX] = (
            resized_square(subject.showing(engine, aus), 128)
        )
    return canvas[:-GAP_PX, :-GAP_PX]


def real_expressions(corpus: FaceCorpus, count: int = SAMPLED, pool: int = 3000) -> list[np.ndarray]:
    """Intensities (29,) that people of a corpus really show, far apart from each other.

    By farthest-point sampling of a random pool.
    """
    chosen = np.random.default_rng(7).permutation(len(corpus))[:pool]
    values = corpus.own(chosen)
    # The least unusual comes first: a corpus' extremes are its broken detections, so the outermost 2 % are
    # left out.
    unusual = np.linalg.norm(values - np.median(values, axis=0), axis=1)
    values = values[np.argsort(unusual)][: max(1, int(0.98 * len(values)))]
    taken, nearest = [0], np.linalg.norm(values - values[0], axis=1)
    while len(taken) < min(count, len(values)):
        taken.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(values - values[taken[-1]], axis=1))
    return [values[taken[i % len(taken)]].astype(np.float32) for i in range(count)]


def random_expressions(own: np.ndarray, count: int = SAMPLED) -> list[np.ndarray]:
    """Intensities (29,): COMBINATIONS at random strengths, now and then two at once; the same every time.

    They start from a face that is half at rest.
    """
    rng = np.random.default_rng(7)
    found = []
    for number in range(count):
        aus = 0.5 * np.array(own, np.float32)
        for names in [
            COMBINATIONS[number % len(COMBINATIONS)],
            *([COMBINATIONS[rng.integers(len(COMBINATIONS))]] if rng.random() < 0.4 else []),
        ]:
            strengths = rng.uniform(0.4, 1.0) * rng.uniform(0.7, 1.0, len(names))
            for name, strength in zip(names, strengths, strict=True):
                aus[index((name,))] = np.maximum(aus[index((name,))], strength)
        found.append(aus.astype(np.float32))
    return found


def every_face_edited(engine: Engine, photo: Photo) -> dict[str, np.ndarray]:
    """Figure 8: a whole photo, and every face in it edited at the photo's own resolution, by expression."""
    shown = {"photo": photo.image}
    for name, names, level in EXPRESSIONS:
        if name in GROUP_EXPRESSIONS:
            shown[name] = photo.showing(
                engine, [wanted_at(subject.own, names, level) for subject in photo.subjects]
            )
    return shown


def side_by_side(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Four pictures of one size (H, W, 3), named: below each other when they are wide, else two by two."""
    height, width = next(iter(pictures.values())).shape[:2]
    scale = min(1.0, 1600 / width, 1200 / height)
    size = (round(width * scale), round(height * scale))
    panels = [
        np.vstack([text_box(name, (28, size[0])), cv2.resize(picture, size, interpolation=cv2.INTER_AREA)])
        for name, picture in pictures.items()
    ]
    if width > 1.5 * height:
        return np.vstack(panels)
    gap = np.full((panels[0].shape[0], GAP_PX, 3), LINE, np.uint8)
    return np.vstack([np.hstack([panels[i], gap, panels[i + 1]]) for i in (0, 2)])


def stored_cases(evaluation: Path, engine: Engine, corpus: FaceCorpus) -> dict[str, list[dict]]:
    """The best and worst cases as an evaluation's figures.json names them.

    Raises DataError when it is missing or of another engine or corpus.
    """
    try:
        stored = json.loads((Path(evaluation) / "figures.json").read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{evaluation} holds no figures.json that can be read: run `python -m train evaluate --out "
            f"{evaluation}` first."
        ) from error
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise DataError(
            f"{evaluation}/figures.json is of another version of this program: run `python -m train "
            "evaluate` again."
        )
    if stored["bundle_sha256"] != engine.bundle.sha256:
        raise DataError(
            f"{evaluation} is of {stored['bundle']}, another engine than {engine.bundle.name}: give this "
            "engine's, or none."
        )
    if stored["corpus_faces"] != len(corpus):
        raise DataError(
            f"{evaluation} is of a corpus of {stored['corpus_faces']} faces, this one has {len(corpus)}: "
            "give the one that was evaluated."
        )
    return stored["cases"]
