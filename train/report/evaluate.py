"""Evaluation of a bundle on people held out of training: commands followed, nothing else moved, same person.

Every held-out photo gets every AU of the paper's 17 at four levels, on both sides alike; the result is found
and measured again by the live estimator (circular: it also made the labels) and compared with what was
commanded. Writes report.md, the PNGs that it shows, and figures.json. Markdown, because it reads in a
terminal as on a forge, two runs compare by diff, and the PNGs go into a paper as they are.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines.backends.interface import Engine
from engines.blend import Blender, compose
from engines.errors import OutputError
from engines.face import au_estimator
from engines.face.action_units import PAPER_17
from engines.face.crop import Crop
from train.data.corpus import FaceCorpus
from train.data.folders import make_folder
from train.identity import Embed
from train.report import charts, measures
from train.report.dlib_opinion import SecondOpinion, opinion, read_real_faces, yardstick
from train.report.edits import EXPRESSIONS, LEVELS, SMILE, edited, engine_input, level_input
from train.report.likeness import borrowed_expressions, distances, split_held_out
from train.report.native import native_sharpness
from train.report.page import page
from train.report.photos import read_photos
from train.report.scaled import at_size
from train.report.sheets import flow_picture, mask_picture, sheet, write_png, write_text
from train.report.sides import sided_sweep, sides_sheet
from train.report.steadiness import steadiness, still_driver
from train.report.sweep import Sweep, cases, choose_faces, sweep, table

# Faces for the Frechet distance, a face of the sweep: each costs 1/35 as much, and the distance wants many
DISTANCE_FACES = 20
FORMAT = 3  # of figures.json


def evaluate(
    engine: Engine,
    corpus: FaceCorpus,
    folder: Path,
    count: int = 60,
    identity: Embed | None = None,
    still: Path | None = None,
    distance_faces: int | None = None,
    photos: Sequence[Path] = (),
    second: SecondOpinion | None = None,
    parts: dict[str, Embed] | None = None,
    transferred: str | None = None,
    say: Callable[[str], None] = lambda _sentence: None,
) -> dict:
    """Measures an engine on `count` held-out faces; writes report.md, figures.json and PNGs into `folder`.

    identity: a train.identity.Identity; without one there are neither cosines nor distances. still: a
    clip of a resting driver, instead of simulated ones. distance_faces: of the Frechet distance, both halves
    together. photos: with faces larger than the engine's crop, for sharpness at their own resolution. second:
    another family's eyes. parts: what describes mouths and eyes (train.identity), for distances of them by
    themselves. transferred: transfer.py's page, for a section of the report. say: called with a sentence
    for each thing that is wrong with `still`. Raises DataError, OutputError, SourceError.
    """
    corpus = at_size(corpus, engine.bundle.size_px)
    faces = choose_faces(corpus, count)
    make_folder(folder, OutputError)
    # Wrong clips and photos are noticed before the sweep, not after it
    driver = still_driver(still, say) if still else None
    own_size = native_sharpness(engine, read_photos(list(photos), engine.bundle.size_px)) if photos else {}
    rows = sweep(engine, corpus, faces, identity, second)
    read = np.array(sorted(set(rows.face), key=rows.face.index))
    result = {
        "format": FORMAT,
        "engine": engine.name,
        "bundle": engine.bundle.name,
        "bundle_sha256": engine.bundle.sha256,
    }
    result |= {
        "estimator": au_estimator.VERSION,
        "corpus_faces": len(corpus),
        **table(rows),
        **steadiness(engine, corpus, read, driver),
    }
    result |= speed(engine, corpus.picture(int(read[0])))
    result["outside_crop_error_grey"] = outside_error(
        engine, corpus.picture(int(read[0])), corpus.own(read[0])
    )
    if identity is not None:
        halves = split_held_out(corpus, distance_faces or DISTANCE_FACES * count)
        lent = borrowed_expressions(corpus, halves)
        result |= distances(
            corpus,
            halves,
            identity,
            parts or {},
            lambda crop, own, number: compose(
                crop, engine.run(crop, engine_input(engine, own, lent(number)))
            ),
        )
    result |= {"native_photos": 0, **own_size, "sided": sided_sweep(engine, corpus, read)}
    result["second_opinion"] = second_opinion(corpus, rows, second) if second else None
    result["transfer"] = transferred
    result["cases"] = cases(rows)
    result = without_nan(result)
    write_png(folder / "answers.png", charts.heat_map(result["answers"]))
    swept = rows.of("measured")[np.arange(len(rows.au)), rows.au]
    write_png(
        folder / "commanded.png", charts.scatter(rows.of("au"), rows.of("commanded"), swept, result["aus"])
    )
    write_png(folder / "aus.png", au_sheet(engine, corpus, read))
    write_png(folder / "masks.png", mask_sheet(engine, corpus, read))
    write_png(folder / "cases.png", case_sheet(engine, corpus, result["cases"], 3))
    if result["sided"]:
        write_png(folder / "sides.png", sides_sheet(engine, corpus, read))
    write_text(folder / "figures.json", json.dumps(result, indent=1) + "\n")
    write_text(folder / "report.md", page(result))
    return result


def second_opinion(corpus: FaceCorpus, rows: Sweep, second: SecondOpinion) -> dict:
    """The second opinion of a sweep, with its yardstick."""
    real = yardstick(*read_real_faces(corpus, second))
    table = opinion(rows.of("au"), rows.of("commanded"), rows.of("second"), real)
    slopes = [row["slope"] for row in table.values() if row["slope"] is not None]
    return {
        "aus": table,
        "mean_r": float(np.mean([row["r"] for row in table.values()])),
        "mean_slope": float(np.mean(slopes)) if slopes else None,
    }


def speed(engine: Engine, crop: np.ndarray, runs: int = 100) -> dict[str, float]:
    """Median and 95th percentile of `engine.run`, ms a crop, after a tenth of the runs to warm up."""
    given, times_s = np.full(len(engine.bundle.aus), 0.3, np.float32), []
    for number in range(runs + runs // 10):
        started_s = time.perf_counter()
        engine.run(crop, given)
        if number >= runs // 10:
            times_s.append(time.perf_counter() - started_s)
    return {
        "engine_ms": float(np.median(times_s) * 1000),
        "engine_p95_ms": float(np.percentile(times_s, 95) * 1000),
    }


def outside_error(engine: Engine, crop: np.ndarray, own: np.ndarray) -> float:
    """Greatest difference, in grey levels, that a full smile makes outside a photo's crop; must be 0.

    The photo is made from the crop: enlarged, turned, mirrored at its edges, so that the way back is no
    trivial one.
    """
    size = len(crop)
    turn = np.asarray(cv2.getRotationMatrix2D((size / 2, size / 2), 10, 1.3), np.float64)
    turn[:, 2] += 0.6 * size
    photo = cv2.warpAffine(
        crop, turn, (int(2.2 * size),) * 2, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    placed, drawn = Crop(cv2.invertAffineTransform(turn), size), photo.copy()
    Blender(placed, photo, engine.bundle.flow_px).blend(
        drawn, engine.run(crop, level_input(engine, own, SMILE, 1.0))
    )
    corners = placed.to_frame(np.array([[-1, -1], [size, -1], [size, size], [-1, size]], np.float64))
    outside = ~measures.polygon(corners, photo.shape[:2])
    return float(np.abs(photo[outside].astype(np.int16) - drawn[outside]).max())


def au_sheet(engine: Engine, corpus: FaceCorpus, faces: np.ndarray) -> np.ndarray:
    """Two faces, every AU (rows) at every level (columns)."""
    rows, shown = [], list(dict.fromkeys([int(faces[0]), int(faces[len(faces) // 2])]))
    for au in PAPER_17:
        row = []
        for face in shown:
            crop, own = corpus.picture(face), corpus.own(face)
            row += [edited(engine, crop, own, (au,), level) for level in LEVELS]
        rows.append(row)
    half = (len(rows) + 1) // 2
    columns = [f"{level:g}" for level in LEVELS] * len(shown)
    left = sheet(rows[:half], columns, PAPER_17[:half], cell_px=128, names_px=56)
    right = sheet(
        rows[half:] + [[None]] * (2 * half - len(rows)),
        columns,
        [*PAPER_17[half:], ""],
        cell_px=128,
        names_px=56,
    )
    return np.hstack([left, right])


def mask_sheet(engine: Engine, corpus: FaceCorpus, faces: np.ndarray) -> np.ndarray:
    """Four faces: A, C, flow and result of two expressions each."""
    rows, columns = [], ["photo"]
    chosen = [EXPRESSIONS[0], EXPRESSIONS[2]]
    for name, _, _ in chosen:
        columns += ["A", "C", *(["flow"] if engine.bundle.flow_px else []), name]
    for face in faces[:: max(1, len(faces) // 4)][:4]:
        crop, own = corpus.picture(int(face)), corpus.own(face)
        rows.append(
            [crop, *(part for _, names, level in chosen for part in parts(engine, crop, own, names, level))]
        )
    return sheet(rows, columns, cell_px=160)


def parts(
    engine: Engine, crop: np.ndarray, own: np.ndarray, names: tuple[str, ...], level: float
) -> list[np.ndarray]:
    """A, C, flow where the engine has one, and the result of an edit, as square uint8 pictures."""
    edit = engine.run(crop, level_input(engine, own, names, level))
    moved = [] if edit.flow is None else [flow_picture(edit.flow, full_px=0.04 * len(crop))]
    return [mask_picture(edit.attention), edit.colour.copy(), *moved, compose(crop, edit)]


def case_sheet(engine: Engine, corpus: FaceCorpus, chosen: dict[str, list[dict]], count: int) -> np.ndarray:
    """The best and the worst cases of `sweep.cases`, `count` of each: photo, A, C, flow, result.

    More than three stand side by side.
    """
    columns = ["photo", "A", "C", *(["flow"] if engine.bundle.flow_px else []), "result"]
    rows: dict[str, list] = {kind: [] for kind in ("best", "worst")}
    names: dict[str, list] = {kind: [] for kind in rows}
    for kind in rows:
        for case in chosen[kind][:count]:
            crop, own = corpus.picture(case["face"]), corpus.own(case["face"])
            rows[kind].append([crop, *parts(engine, crop, own, (case["au"],), 1.0)])
            missed = "no face left" if case["miss"] is None else f"miss {case['miss']:.2f}"
            answer = (
                ""
                if case["measured"] is None
                else f"\ntold {case['commanded']:+.2f}, did {case['measured']:+.2f}"
            )
            same = "" if case["identity"] is None else f"\nidentity {case['identity']:.2f}"
            names[kind].append(f"{kind}: {case['au']}\n{missed}{answer}{same}")
    if count <= 3:
        return sheet(
            rows["best"] + rows["worst"], columns, names["best"] + names["worst"], cell_px=192, names_px=160
        )
    length = max(map(len, rows.values()))
    for kind in rows:
        missing = length - len(rows[kind])
        rows[kind], names[kind] = rows[kind] + [[None] * len(columns)] * missing, names[kind] + [""] * missing
    return np.hstack([sheet(rows[kind], columns, names[kind], cell_px=192, names_px=160) for kind in rows])


def without_nan(value: Any) -> Any:
    """The same figures with None for what is no number: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
