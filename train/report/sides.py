"""One side of the face alone, for engines with sided AUs: the commanded side must move, the other one stay.

Every sided AU is brought to full on the person's right alone and on the left alone. AU18 and AU22, which such
engines know besides the paper's 17, are swept as those are.
"""

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from engines.backends.interface import Engine
from engines.blend import compose
from engines.face import au_estimator
from engines.face.action_units import LEFT, PAPER_17, RIGHT, SIDED
from engines.face.landmarks import FaceReader
from train.data.corpus import FaceCorpus
from train.report import measures
from train.report.edits import LEVELS, edited, level_input
from train.report.sheets import sheet

FACES = 24  # 48 edits of each sided AU
SHOWN_FACES = 4
# What sides.png shows: a name and AUs at full.
SHOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("right wink", ("AU45R",)),
    ("left wink", ("AU45L",)),
    ("right smile", ("AU12R",)),
    ("left smile", ("AU12L",)),
    ("right brow", ("AU02R",)),
    ("left brow", ("AU02L",)),
    ("pucker", ("AU18",)),
    ("funnel", ("AU22",)),
)


def sided_sweep(engine: Engine, corpus: FaceCorpus, faces: Sequence[int] | np.ndarray) -> dict | None:
    """Up to FACES faces.

    Of each sided AU the answer of the commanded side and of the other, a unit of command; of whole AUs beyond
    the paper's 17 r and slope. Left and right together: the figures of AU12 are means of smiles on the right
    and on the left.

    None for an engine without sided AUs. None in place of a figure where no face is left to measure.
    """
    known = engine.bundle.aus
    sided = [au for au in SIDED if au + RIGHT in known and au + LEFT in known]
    beyond = [au for au in known if au not in PAPER_17 and au[:-1] not in SIDED]
    if not sided:
        return None
    commands: dict[str, list[float]] = {
        au: [] for au in [*sided, *beyond]
    }  # what was commanded of the swept side or AU
    answers: dict[str, list[np.ndarray]] = {
        au: [] for au in [*sided, *beyond]
    }  # what it did, and what the other side did
    with FaceReader() as reader:
        for number in tqdm(faces[:FACES], desc="one side alone", unit="face", disable=None):
            crop = corpus.picture(int(number))
            found = reader.read(crop)
            if not found:
                continue
            own = au_estimator.estimate(found[0])
            tried = [
                (au, au + here, au + there, 1.0)
                for au in sided
                for here, there in ((RIGHT, LEFT), (LEFT, RIGHT))
            ]
            tried += [(au, au, au, level) for au in beyond for level in LEVELS]
            for au, here, there, level in tried:
                again = reader.read(compose(crop, engine.run(crop, level_input(engine, own, (here,), level))))
                if again:
                    changed, places = au_estimator.estimate(again[0]) - own, au_estimator.index((here, there))
                    commands[au].append(level - own[places[0]])
                    answers[au].append(changed[places])
    table = {au: _sides(np.array(commands[au]), np.array(answers[au])) for au in sided}
    measured = [row for row in table.values() if row["slope"] is not None]
    return {
        "faces": min(len(faces), FACES),
        "aus": table,
        "beyond": {au: _whole(np.array(commands[au]), np.array(answers[au])) for au in beyond},
        "mean_slope": float(np.mean([row["slope"] for row in measured])) if measured else None,
        "mean_other": float(np.mean([row["other"] for row in measured])) if measured else None,
    }


def _sides(commanded: np.ndarray, answered: np.ndarray) -> dict[str, float | None]:
    """Commands (n,) of one side; what that side and the other one did, (n, 2)."""
    if not len(commanded):
        return {"slope": None, "other": None}
    return {
        "slope": measures.gain(commanded, answered[:, 0]),
        "other": measures.gain(commanded, answered[:, 1]),
    }


def _whole(commanded: np.ndarray, answered: np.ndarray) -> dict[str, float | None]:
    if not len(commanded):
        return {"r": None, "slope": None}
    follows = measures.command_response(commanded, answered[:, 0])
    return {"r": follows.r, "slope": follows.slope}


def sides_sheet(engine: Engine, corpus: FaceCorpus, faces: np.ndarray) -> np.ndarray:
    """A few faces: winks, crooked smiles, one brow raised, pucker and funnel.

    The person's right is the picture's left.
    """
    rows = []
    for face in faces[:: max(1, len(faces) // SHOWN_FACES)][:SHOWN_FACES]:
        crop, own = corpus.picture(int(face)), corpus.own(face)
        rows.append([crop, *(edited(engine, crop, own, names) for _, names in SHOWN)])
    return sheet(rows, ["photo", *(name for name, _ in SHOWN)], cell_px=192)
