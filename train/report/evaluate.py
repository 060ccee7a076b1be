"""A bundle against people that training never saw: does it do what it is told, and nothing else?

Every held-out photo gets every AU at four levels; the result is found and measured again by the live estimator (circular: it
also made the labels) and compared with what was commanded. Writes report.md, figures.json and grids.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from engines import expression
from engines.backends import Edit, Engine
from engines.blend import Blender
from engines.crop import Crop
from engines.errors import DataError
from engines.expression import ESTIMATED
from engines.face import Face, FaceReader
from train.data.corpus import Corpus
from train.report.grids import LEVELS, titled
from train.report.identity import Identity

MAX_YAW_DEG = 25.0
MAIN_AUS = ("AU01", "AU02", "AU04", "AU12", "AU25", "AU26", "AU45")


def compose(crop: np.ndarray, edit: Edit) -> np.ndarray:
    """An edit drawn on its own crop, by the code that draws it live: (S, S, 3) uint8."""
    picture = crop.copy()
    flow_px = 0 if edit.flow is None else len(edit.flow)
    Blender(Crop(np.eye(2, 3), len(crop)), crop, flow_px).blend(picture, edit)
    return picture


def change_to(engine: Engine, own: np.ndarray, names: tuple[str, ...], level: float) -> np.ndarray:
    """The engine's AU input that brings the named AUs from a photo's own (17,) to `level`."""
    wanted = own.copy()
    wanted[expression.index(names)] = level
    given = wanted - own if engine.bundle.conditioning == "relative" else wanted
    return given[expression.index(engine.bundle.aus)].astype(np.float32)


@dataclass
class Sweep:
    """What was commanded and measured, one row an edit."""

    au: list[int] = field(default_factory=list)
    level: list[float] = field(default_factory=list)
    commanded: list[float] = field(default_factory=list)  # change of the swept AU
    measured: list[np.ndarray] = field(default_factory=list)  # (17,) changes
    identity: list[float] = field(default_factory=list)
    found: list[bool] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)  # mean(1 - A)


def choose_faces(corpus: Corpus, count: int) -> np.ndarray:
    """Held-out photos, the sharp source first by half, the same ones every time. Raises DataError when there is none."""
    held = np.flatnonzero(corpus.held_out & ~corpus.is_clip & (np.abs(corpus.angles_deg[:, 1]) < MAX_YAW_DEG))
    if not len(held):
        raise DataError("The corpus holds nobody out: prepare more people (about 4 % of them are kept from training by name).")
    held = np.random.default_rng(7).permutation(held)
    sharp = corpus.source[held] == "portraits"
    half = held[sharp][: count // 2]
    return np.concatenate([half, held[~sharp][: count - len(half)]])[:count]


def sweep(engine: Engine, corpus: Corpus, faces: np.ndarray, identity: Identity | None) -> tuple[Sweep, list[float]]:
    """All single AUs at all levels on all faces; and the PSNR of the zero edit of each face."""
    rows, zero_psnr = Sweep(), []
    with FaceReader() as reader:
        for number in tqdm(faces, desc="sweeping AUs", unit="face", disable=None):
            crop = corpus.picture(int(number))
            found = reader.read(crop)
            if not found:
                continue
            own, self_vector = expression.estimate(found[0]), _embed(identity, crop, found[0])
            zero = compose(crop, engine.run(crop, change_to(engine, own, (), 0.0)))
            zero_psnr.append(psnr(zero, crop))
            for place, au in enumerate(ESTIMATED):
                for level in LEVELS:
                    edit = engine.run(crop, change_to(engine, own, (au,), level))
                    picture = compose(crop, edit)
                    again = reader.read(picture)
                    rows.au.append(place)
                    rows.level.append(level)
                    rows.commanded.append(level - own[place])
                    rows.changed.append(float(1 - edit.attention.mean()))
                    rows.found.append(bool(again))
                    rows.measured.append(expression.estimate(again[0]) - own if again else np.full(len(own), np.nan, np.float32))
                    same = level == 1.0 and again and identity
                    rows.identity.append(float(self_vector @ identity(picture, again[0].landmarks_px)) if same else np.nan)
    return rows, zero_psnr


def _embed(identity: Identity | None, picture: np.ndarray, face: Face) -> np.ndarray | None:
    return identity(picture, face.landmarks_px) if identity else None


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB between two uint8 pictures; 100 when they are equal."""
    error = float(np.mean((a.astype(np.float32) - b) ** 2))
    return 100.0 if error == 0 else 10 * np.log10(255**2 / error)


def figures(rows: Sweep, zero_psnr: list[float]) -> dict:
    """The table: per AU r, slope, RMSE and leakage; and the means."""
    au, commanded, measured = np.array(rows.au), np.array(rows.commanded), np.array(rows.measured)
    good = np.array(rows.found)
    table = {}
    for place, name in enumerate(ESTIMATED):
        mine = good & (au == place)
        x, y = commanded[mine], measured[mine, place]
        others = np.delete(measured[mine], place, axis=1)
        strong = np.abs(x) > 0.3
        table[name] = {
            "r": float(np.corrcoef(x, y)[0, 1]) if y.std() > 1e-6 else 0.0,
            "slope": float(np.polyfit(x, y, 1)[0]),
            "rmse": float(np.sqrt(np.mean((y - x) ** 2))),
            "leak": float(np.mean(np.abs(others[strong]) / np.abs(x[strong])[:, None])),
        }
    heat = [
        [float(np.nanmean(measured[good & (au == i) & (np.array(rows.level) == 1.0)], axis=0)[j]) for j in range(len(ESTIMATED))]
        for i in range(len(ESTIMATED))
    ]
    cosine = np.array(rows.identity)
    return {
        "faces": len(zero_psnr), "edits": len(au), "aus": table, "mean_r": float(np.mean([row["r"] for row in table.values()])),
        "mean_leak": float(np.mean([row["leak"] for row in table.values()])),
        "landmarks_found": float(good.mean()), "zero_edit_psnr_db": float(np.mean(zero_psnr)), "zero_edit_psnr_worst_db": float(np.min(zero_psnr)),
        "identity_cosine": float(np.nanmean(cosine)) if np.isfinite(cosine).any() else None,
        "identity_cosine_p5": float(np.nanpercentile(cosine, 5)) if np.isfinite(cosine).any() else None,
        "mean_changed": float(np.mean(rows.changed)), "answer_at_full": heat,
    }  # fmt: skip


def report(result: dict, engine_name: str, folder: Path) -> str:
    """Markdown of the figures."""
    lines = [
        f"# Evaluation of {engine_name}", "",
        f"{result['faces']} photos of people that training never saw, {result['edits']} edits; AUs measured again by {expression.VERSION}.", "",
        f"- zero edit in the crop: {result['zero_edit_psnr_db']:.1f} dB mean, {result['zero_edit_psnr_worst_db']:.1f} dB worst (100 = equal)",
        f"- commanded vs re-measured, mean r over {len(ESTIMATED)} AUs: {result['mean_r']:.3f}; over {' '.join(MAIN_AUS)}: {np.mean([result['aus'][a]['r'] for a in MAIN_AUS]):.3f}",
        f"- off-target leakage per unit: {result['mean_leak']:.3f}",
        f"- landmarks found: {100 * result['landmarks_found']:.1f} %",
        f"- mean(1 - A): {result['mean_changed']:.4f}",
    ]  # fmt: skip
    if result["identity_cosine"] is not None:
        lines.append(
            f"- identity cosine at full single-AU edits: {result['identity_cosine']:.3f} mean, {result['identity_cosine_p5']:.3f} 5th percentile"
        )
    lines += [f"- engine: {result['engine_ms']:.1f} ms a crop", "", "| AU | r | slope | RMSE | leak |", "|---|---|---|---|---|"]
    lines += [
        f"| {au} | {row['r']:.2f} | {row['slope']:.2f} | {row['rmse']:.2f} | {row['leak']:.2f} |" for au, row in result["aus"].items()
    ]
    lines += ["", "![single AUs](grid-aus.png)", "", "![attention, colour, result](grid-masks.png)", ""]
    return "\n".join(lines)


def write_grids(engine: Engine, corpus: Corpus, faces: np.ndarray, folder: Path) -> None:
    """grid-aus.png: two faces, every AU at every level. grid-masks.png: A, C and result of common expressions."""
    rows = []
    for face in (faces[0], faces[len(faces) // 2 + 1]):
        crop, own = corpus.picture(int(face)), corpus.own[face]
        for au in ESTIMATED:
            rows.append(
                [titled(compose(crop, engine.run(crop, change_to(engine, own, (au,), level))), f"{au} {level:g}") for level in LEVELS]
            )
    half = len(rows) // 2
    stacked = np.vstack([np.hstack(a + b) for a, b in zip(rows[:half], rows[half:], strict=True)])
    cv2.imwrite(str(folder / "grid-aus.png"), cv2.resize(stacked, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))
    masks = []
    for face in faces[: len(faces) // 2 : max(1, len(faces) // 12)][:5]:
        crop, own = corpus.picture(int(face)), corpus.own[face]
        line = [titled(crop, "photo")]
        for names in (("AU06", "AU12", "AU25"), ("AU25", "AU26"), ("AU45",)):
            edit = engine.run(crop, change_to(engine, own, names, 1.0))
            grey = cv2.cvtColor((edit.attention * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
            line += [titled(grey, "A"), titled(edit.colour.copy(), "C"), titled(compose(crop, edit), "+".join(n[2:] for n in names))]
        masks.append(np.hstack(line))
    cv2.imwrite(str(folder / "grid-masks.png"), cv2.resize(np.vstack(masks), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))


def evaluate(engine: Engine, corpus: Corpus, folder: Path, count: int = 60, identity: Identity | None = None) -> dict:
    """Runs everything, writes report.md, figures.json and the grids into `folder`; returns the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    faces = choose_faces(corpus, count)
    rows, zero_psnr = sweep(engine, corpus, faces, identity)
    result = figures(rows, zero_psnr)
    crop, aus = corpus.picture(int(faces[0])), np.full(len(engine.bundle.aus), 0.3, np.float32)
    times_s = []
    for _ in range(30):
        started_s = time.perf_counter()
        engine.run(crop, aus)
        times_s.append(time.perf_counter() - started_s)
    result["engine_ms"] = float(np.median(times_s) * 1000)
    write_grids(engine, corpus, faces, folder)
    (folder / "figures.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "report.md").write_text(report(result, engine.name, folder))
    return result
