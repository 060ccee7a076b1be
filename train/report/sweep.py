"""Every AU at every level on photos of held-out people: commanded changes, and those measured afterwards.

Only numbers are kept, a few hundred bytes an edit, so that memory does not grow with pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from tqdm import tqdm

from engines.backends.interface import Engine
from engines.blend import compose
from engines.errors import DataError
from engines.face import au_estimator
from engines.face.action_units import PAPER_17
from engines.face.landmarks import FaceReader
from engines.face.mesh import FACE_OVAL
from train.data.corpus import FaceCorpus
from train.identity import Embed
from train.report import measures
from train.report.edits import LEVELS, SMILE, level_input

MAX_YAW_DEG = 25.0  # beyond, the estimator's own error grows, and would be blamed on the engine


class DistanceMeasure(Protocol):
    """What measures distances in a face (train/report/dlib_opinion.py)."""

    def __call__(self, picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 BGR and the photo's (478, 2) landmarks -> (14,) distances."""
        ...


@dataclass
class Sweep:
    """One entry an edit in the first group, one a face in the second. NaN where nothing could be measured."""

    face: list[int] = field(default_factory=list)  # number in the corpus
    au: list[int] = field(default_factory=list)  # place in PAPER_17
    level: list[float] = field(default_factory=list)
    commanded: list[float] = field(default_factory=list)  # change of the swept AU
    measured: list[np.ndarray] = field(default_factory=list)  # (17,) changes
    found: list[bool] = field(default_factory=list)  # a face, by the landmarker
    changed: list[float] = field(default_factory=list)  # mean(1 - A)
    # Grey levels where the edit keeps the photo (measures.kept_mask)
    background: list[float] = field(default_factory=list)
    kept_share: list[float] = field(default_factory=list)  # of the crop, where that is
    identity: list[float] = field(default_factory=list)  # cosine to the photo; of full edits only
    sharpness: list[float] = field(default_factory=list)  # of the photo's, in the face; of full edits only
    # (14,) changes of distances; none without a second opinion
    second: list[np.ndarray] = field(default_factory=list)

    zero_psnr: list[float] = field(default_factory=list)  # dB
    zero_ssim: list[float] = field(default_factory=list)
    smile_identity: list[float] = field(default_factory=list)
    smile_found: list[bool] = field(default_factory=list)
    smile_sharpness: list[float] = field(default_factory=list)
    # Faces that the landmarker does not find in their own crop: left out
    unread: list[int] = field(default_factory=list)

    def of(self, name: str) -> np.ndarray:
        return np.array(getattr(self, name))


def held_out_faces(corpus: FaceCorpus) -> np.ndarray:
    """Numbers of held-out photos that look at the camera, shuffled, the same way every time.

    Raises DataError when there is none.
    """
    held = np.flatnonzero(corpus.held_out & ~corpus.is_clip & (np.abs(corpus.angles_deg[:, 1]) < MAX_YAW_DEG))
    if not len(held):
        raise DataError(
            "The corpus holds no people out: prepare more people (about 4 % of them are kept from training "
            "by "
            "name)."
        )
    return np.random.default_rng(7).permutation(held)


def choose_faces(corpus: FaceCorpus, count: int) -> np.ndarray:
    """`count` held-out photos, the same ones every time. Raises DataError when there is none.

    Half of them are from the sources that are held out whole, where there are any: those are kept for
    evaluation because they are sharp.
    """
    held = held_out_faces(corpus)
    reserved = corpus.is_from(*corpus.held_out_sources)[held]
    half = held[reserved][: max(count // 2, count - int((~reserved).sum()))]
    return np.concatenate([half, held[~reserved][: count - len(half)]])[:count]


def sweep(
    engine: Engine,
    corpus: FaceCorpus,
    faces: Sequence[int] | np.ndarray,
    identity: Embed | None = None,
    second: DistanceMeasure | None = None,
) -> Sweep:
    """All single AUs at all levels, the zero edit and a full smile of each face.

    Raises DataError when no face can be read.
    """
    rows = Sweep()
    with FaceReader() as reader:
        for number in tqdm(faces, desc="sweeping AUs", unit="face", disable=None):
            _sweep_face(rows, engine, corpus.picture(int(number)), int(number), reader, identity, second)
    if not rows.face:
        raise DataError(
            "The landmarker finds no face in any of the held-out crops: prepare the corpus again from "
            "sharper photos."
        )
    return rows


def _sweep_face(
    rows: Sweep,
    engine: Engine,
    crop: np.ndarray,
    number: int,
    reader: FaceReader,
    identity: Embed | None,
    second: DistanceMeasure | None,
) -> None:
    found = reader.read(crop)
    if not found:
        rows.unread.append(number)
        return
    own = au_estimator.estimate(found[0])
    whole = au_estimator.paper_17(own)
    at_rest = second(crop, found[0].landmarks_px) if second else None
    me = identity(crop, found[0].landmarks_px) if identity else None
    region = measures.polygon(found[0].landmarks_px[list(FACE_OVAL)], crop.shape[:2])
    sharp = max(measures.sharpness(crop, region), 1e-6)
    zero = compose(crop, engine.run(crop, level_input(engine, own, (), 0.0)))
    rows.zero_psnr.append(measures.psnr(zero, crop))
    rows.zero_ssim.append(measures.ssim(zero, crop))

    def likeness(picture: np.ndarray, again: list) -> float:
        if identity is None or me is None or not again:
            return np.nan
        return measures.cosine(me, identity(picture, again[0].landmarks_px))

    smile = compose(crop, engine.run(crop, level_input(engine, own, SMILE, 1.0)))
    again = reader.read(smile)
    rows.smile_found.append(bool(again))
    rows.smile_identity.append(likeness(smile, again))
    rows.smile_sharpness.append(measures.sharpness(smile, region) / sharp)
    for place, au in enumerate(PAPER_17):
        for level in LEVELS:
            edit = engine.run(crop, level_input(engine, own, (au,), level))
            picture, keeps = compose(crop, edit), measures.kept_mask(edit.attention, edit.flow)
            again = reader.read(picture)
            rows.face.append(number)
            rows.au.append(place)
            rows.level.append(level)
            rows.commanded.append(float(level - whole[place]))
            rows.measured.append(
                au_estimator.paper_17(au_estimator.estimate(again[0])) - whole
                if again
                else np.full_like(whole, np.nan)
            )
            rows.found.append(bool(again))
            rows.changed.append(float(1 - edit.attention.mean()))
            rows.background.append(measures.masked_error(picture, crop, keeps))
            rows.kept_share.append(float(keeps.mean()))
            rows.identity.append(likeness(picture, again) if level == 1.0 else np.nan)
            rows.sharpness.append(measures.sharpness(picture, region) / sharp if level == 1.0 else np.nan)
            if second:
                rows.second.append(second(picture, found[0].landmarks_px) - at_rest)


def table(rows: Sweep) -> dict:
    """The sweep in figures, ready for JSON: of each AU r, slope, RMSE and leakage; the answers; the means."""
    au, commanded, good = rows.of("au"), rows.of("commanded"), rows.of("found")
    measured, full = rows.of("measured"), rows.of("level") == 1.0
    aus, answers = {}, []
    for place, name in enumerate(PAPER_17):
        mine = good & (au == place)
        x, y = commanded[mine], measured[mine]
        if not len(x):
            raise DataError(
                f"No edit of {name} leaves a face that the landmarker finds: this engine is not trained yet."
            )
        follows = measures.command_response(x, y[:, place])
        leak = measures.leakage(x, np.delete(y, place, axis=1))
        aus[name] = {"r": follows.r, "slope": follows.slope, "rmse": follows.rmse, "leak": leak}
        answers.append([measures.slope(x, y[:, other]) for other in range(len(PAPER_17))])
    return {
        "faces": len(rows.zero_psnr),
        "unread_faces": len(rows.unread),
        "edits": len(au),
        "aus": aus,
        "answers": answers,
        "mean_r": _mean([row["r"] for row in aus.values()]),
        "mean_slope": _mean([row["slope"] for row in aus.values()]),
        "mean_rmse": _mean([row["rmse"] for row in aus.values()]),
        "mean_leak": _mean([row["leak"] for row in aus.values()]),
        "landmarks_found": float(good.mean()),
        "smile_landmarks_found": _mean(rows.smile_found),
        "zero_edit_psnr_db": _mean(rows.zero_psnr),
        "zero_edit_psnr_worst_db": float(np.min(rows.zero_psnr)),
        "zero_edit_ssim": _mean(rows.zero_ssim),
        "zero_edit_ssim_worst": float(np.min(rows.zero_ssim)),
        "identity_cosine": _mean(rows.identity),
        "identity_cosine_p5": _percentile(rows.identity, 5),
        "smile_identity_cosine": _mean(rows.smile_identity),
        "smile_identity_cosine_p5": _percentile(rows.smile_identity, 5),
        "background_error_grey": _mean(rows.background),
        "background_error_worst_grey": _percentile(rows.background, 100),
        "kept_share": _mean(rows.kept_share),
        "mean_changed": _mean(rows.changed),
        "mean_changed_at_full": float(rows.of("changed")[full].mean()),
        "sharpness": _percentile(rows.sharpness, 50),
        "smile_sharpness": _percentile(rows.smile_sharpness, 50),
    }


def cases(rows: Sweep, count: int = 6) -> dict[str, list[dict]]:
    """The best and the worst full edits by `measures.miss`, each of another AU and another face.

    An edit after which no face is found has missed by infinity, written as null.
    """
    found = []
    columns = (rows.face, rows.au, rows.level, rows.commanded, rows.measured, rows.identity)
    for face, au, level, commanded, measured, same in zip(*columns, strict=True):
        if level == 1.0 and commanded > measures.STRONG:
            missed = measures.miss(au, commanded, measured) if np.isfinite(measured).all() else np.inf
            got = None if np.isinf(missed) else float(measured[au])
            cosine = float(same) if np.isfinite(same) else None
            found.append(
                {
                    "face": face,
                    "au": PAPER_17[au],
                    "commanded": commanded,
                    "measured": got,
                    "miss": missed,
                    "identity": cosine,
                }
            )
    found.sort(key=lambda case: case["miss"])
    chosen = {"best": _apart(found, count), "worst": _apart(found[::-1], count)}
    return {
        kind: [{**case, "miss": case["miss"] if np.isfinite(case["miss"]) else None} for case in some]
        for kind, some in chosen.items()
    }


def _apart(ordered: list[dict], count: int) -> list[dict]:
    chosen: list[dict] = []
    for case in ordered:
        if all(case["face"] != other["face"] and case["au"] != other["au"] for other in chosen):
            chosen.append(case)
    return chosen[:count]


def _mean(values: Sequence[float]) -> float | None:
    known = np.array(values, np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else None


def _percentile(values: Sequence[float], q: float) -> float | None:
    known = np.array(values, np.float64)
    known = known[np.isfinite(known)]
    return float(np.percentile(known, q)) if len(known) else None
