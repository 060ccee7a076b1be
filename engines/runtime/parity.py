"""A compiled engine against the FP32 reference, before it is used.

Both get the same crops and expressions, and what people would see is compared.

Twelve expressions on four stored crops of synthetic faces. Both engines' edits are drawn into the crops, and
compared as pictures; then the action units of both are measured again, because a puppet is judged by its
expression. One figure over its limit refuses the engine. `python -m engines parity` prints the report. Knows
no backend.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines import atomic_file
from engines.backends.interface import Edit, Engine
from engines.blend import compose
from engines.bundle import Bundle
from engines.errors import EngineError
from engines.face import au_estimator
from engines.face.action_units import WIDE, translate
from engines.face.crop import cut, find_crop
from engines.face.landmarks import FaceReader
from engines.face.photo import load_photo

INPUTS = Path(__file__).with_name("parity_inputs.npz")
SIZE_PX = 256  # of the stored crops
DIFFERENCE_GAIN = 8  # by which a sheet brightens differences
JPEG_QUALITY = 95  # of the stored crops: real textures in 0.2 MB

# What a person does in a call, and the AUs that move most; every AU at least once. One expression a case;
# crops take turns.
EXPRESSIONS: dict[str, dict[str, float]] = {
    "no change": {},
    "smile": {"AU06": 0.6, "AU12": 0.9, "AU25": 0.5},
    "open mouth": {"AU25": 0.8, "AU26": 0.8},
    "surprise": {"AU01": 0.8, "AU02": 0.8, "AU05": 0.6},
    "frown": {"AU04": 0.8, "AU07": 0.5, "AU15": 0.4},
    "blink": {"AU45": 1.0},
    "wink, crooked smile": {"AU45L": 1.0, "AU12R": 0.7},
    "disgust": {"AU09": 0.8, "AU10": 0.6},
    "chin up": {"AU15": 0.6, "AU17": 0.7},
    "oo": {"AU18": 0.7, "AU22": 0.5, "AU25": 0.3},
    "dimples, lips stretched": {"AU14": 0.8, "AU20": 0.8},
    "lips pressed": {"AU14R": 0.7, "AU23": 0.9},
}

# A figure over its limit refuses an engine. The engine that ships, given nine tenths of each AU, reads 1.6,
# 87, .001, .05 and .30; with red and blue exchanged .8, 106, 0, .07 and .43; BF16 .05, 5, .0000, .003 and
# .014.
LIMITS: dict[str, tuple[float, str]] = {
    "picture mean": (1.0, "grey levels, mean over a crop: less than sensor noise does to a webcam's picture"),
    "painted mean": (
        4.0,
        "grey levels where more than a tenth is painted: lids and mouths a shade off beside the photo",
    ),
    "picture worst": (
        96.0,
        "grey levels of one pixel: the edge of a lid that moved by a pixel; broken engines reach 200",
    ),
    "attention mean": (0.002, "of 1: what mean(A) loses when an edit is a fifth too weak"),
    "AUs mean": (0.02, "of 1: the estimator's own noise on a still face"),
    "AUs worst": (0.15, "of 1: a change of one action unit that a viewer would see"),
    "unlike at rest": (0.0, "parts of an edit by no change that are not exactly the photo"),
}
COLUMNS = (*LIMITS, "colour mean", "flow mean, px")  # of a report
PAINTED = 0.9  # attention below which more than a tenth of a pixel is painted


@dataclass(frozen=True)
class Case:
    """One crop and the AUs that an engine is given with it."""

    name: str
    crop: np.ndarray  # (S, S, 3) uint8 BGR
    aus: np.ndarray  # (N,) float32, the bundle's order and conditioning


@dataclass(frozen=True)
class ParityResult:
    """What a comparison found."""

    engine: str
    reference: str
    figures: dict[str, float]  # by the names of LIMITS, the worst case of each
    rows: list[dict[str, Any]] = field(repr=False)  # one for each case
    faults: tuple[str, ...] = ()  # why the engine is refused

    @property
    def passed(self) -> bool:
        return not self.faults

    def require(self) -> None:
        """Raises EngineError when the engine is refused."""
        if self.faults:
            why = "; ".join(self.faults)
            raise EngineError(
                f"{self.engine} does not do what {self.reference} does ({why}): it is not used."
            )


@lru_cache(maxsize=1)
def rules_digest() -> str:
    """A digest of what a result depends on besides the engines: inputs, expressions, limits.

    Older results do not count.
    """
    limits = {name: limit for name, (limit, _) in LIMITS.items()}
    rules = json.dumps([EXPRESSIONS, limits], sort_keys=True).encode()
    return hashlib.sha256(rules + INPUTS.read_bytes()).hexdigest()[:16]


def compare(
    engine: Engine,
    reference: Engine,
    cases: Sequence[Case] | None = None,
    face_model: Path | None = None,
) -> ParityResult:
    """Runs both engines on every case and compares what they answer.

    Args:
        cases: None for all stored ones.
        face_model: for the action units of both; None for the default one.

    Raises:
        EngineLost: a device failed meanwhile.
    """
    rows = []
    faults = []
    with FaceReader(model=face_model) as reader:
        for case in cases or stored_cases(engine.bundle):
            ours = engine.run(case.crop, case.aus).kept()
            theirs = reference.run(case.crop, case.aus).kept()
            if fault := _fault_of(ours, engine.bundle):
                faults.append(f"{case.name}: {fault}")
                continue
            rows.append({"case": case.name, **_differences(case, ours, theirs, engine.bundle, reader)})
    figures = {
        name: float(np.max([row[name] for row in rows if row[name] is not None], initial=0.0))
        for name in LIMITS
    }
    faults += [
        f"{name} {figures[name]:.3g}, allowed {limit:g}"
        for name, (limit, _) in LIMITS.items()
        if not figures[name] <= limit  # which NaN is not, either
    ]
    return ParityResult(engine.name, reference.name, figures, rows, tuple(faults))


def stored_cases(bundle: Bundle) -> list[Case]:
    """EXPRESSIONS on the stored crops, in the size, vocabulary and conditioning of a bundle."""
    crops, own_aus = _stored()
    cases = []
    for number, (name, change) in enumerate(EXPRESSIONS.items()):
        place = number % len(crops)
        aus = np.zeros(len(WIDE), np.float32)
        if change:
            aus = translate(np.array(list(change.values()), np.float32), tuple(change), WIDE)
        if bundle.conditioning == "absolute":
            aus = np.clip(own_aus[place] + aus, 0, 1)
        size = (bundle.size_px, bundle.size_px)
        crop = crops[place]
        if bundle.size_px != SIZE_PX:
            crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
        crop.flags.writeable = False  # as in a call, where the photo's crop never changes
        cases.append(Case(name, crop, translate(aus, WIDE, bundle.aus).astype(np.float32)))
    return cases


def record_inputs(photos: Sequence[Path], path: Path = INPUTS) -> None:
    """Writes the stored crops again, from photos with one face each. Raises SourceError, EngineError."""
    stored: dict[str, Any] = {"aus": np.zeros((len(photos), len(WIDE)), np.float32)}
    with FaceReader() as reader:
        for number, name in enumerate(photos):
            photo = load_photo(name)
            faces = reader.read(photo)
            if len(faces) != 1:
                raise EngineError(f"{name} shows {len(faces)} faces", "give photos of one face each")
            crop = cut(photo, find_crop(faces[0], SIZE_PX))
            stored[f"crop{number}"] = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            stored["aus"][number] = au_estimator.estimate(faces[0])
    np.savez(path, **stored)


@lru_cache(maxsize=1)
def _stored() -> tuple[list[np.ndarray], np.ndarray]:
    """The crops, (256, 256, 3) uint8 BGR, and their own AUs, (n, 29)."""
    with np.load(INPUTS, allow_pickle=False) as stored:
        own_aus = stored["aus"]
        jpegs = [stored[f"crop{number}"] for number in range(len(own_aus))]
    return [np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) for jpeg in jpegs], own_aus


def _fault_of(edit: Edit, bundle: Bundle) -> str:
    """What is wrong with the shapes, types and numbers of an edit; "" when nothing is."""
    size = bundle.size_px
    expected: dict[str, tuple[tuple[int, ...], type]] = {
        "colour": ((size, size, 3), np.uint8),
        "attention": ((size, size), np.float32),
    }
    if bundle.flow_px:
        expected["flow"] = ((bundle.flow_px, bundle.flow_px, 2), np.float32)
    for name, (shape, dtype) in expected.items():
        part = getattr(edit, name)
        if part is None or part.shape != shape or part.dtype != dtype:
            return f"{name} is {None if part is None else (part.shape, str(part.dtype))}, not {shape}"
        if not np.isfinite(part).all():
            return f"{name} has values that are no numbers"
    return ""


def _differences(
    case: Case, ours: Edit, theirs: Edit, bundle: Bundle, reader: FaceReader
) -> dict[str, float | None]:
    """By the names of LIMITS, and of COLUMNS; None where nothing can be compared."""
    our_picture, their_picture = (compose(case.crop, edit) for edit in (ours, theirs))
    apart = np.abs(our_picture.astype(int) - their_picture)
    painted = theirs.attention < PAINTED
    at_rest = bundle.conditioning == "relative" and not case.aus.any()
    moved_at_rest = (our_picture != case.crop).any() and (their_picture == case.crop).all()
    aus_mean, aus_worst = _au_differences(_first_aus(reader, our_picture), _first_aus(reader, their_picture))
    return {
        "picture mean": float(apart.mean()),
        "painted mean": float(apart[painted].mean()) if painted.any() else None,
        "picture worst": float(apart.max()),
        "attention mean": float(abs(ours.attention.mean() - theirs.attention.mean())),
        "AUs mean": aus_mean,
        "AUs worst": aus_worst,
        "unlike at rest": float(moved_at_rest) if at_rest else None,
        "colour mean": colour_difference(ours, theirs),
        "flow mean, px": None
        if ours.flow is None or theirs.flow is None
        else float(np.abs(ours.flow - theirs.flow).mean()),
    }


def colour_difference(ours: Edit, theirs: Edit) -> float | None:
    """Mean grey levels between two colours where the second is painted; None where it paints nothing.

    What lies under attention is never shown, and says nothing.
    """
    painted = theirs.attention < PAINTED
    if not painted.any():
        return None
    return float(np.abs(ours.colour[painted].astype(int) - theirs.colour[painted]).mean())


def _first_aus(reader: FaceReader, picture: np.ndarray) -> np.ndarray | None:
    """(29,) of the largest face in a picture; None when there is none."""
    faces = reader.read(picture)
    return au_estimator.measure(faces[0]) if faces else None


def _au_differences(ours: np.ndarray | None, theirs: np.ndarray | None) -> tuple[float | None, float | None]:
    """Mean and largest difference of action units.

    None without a face in the reference's picture, 1 without one in ours.
    """
    if theirs is None:
        return None, None
    if ours is None:
        return 1.0, 1.0
    apart = np.abs(ours - theirs)
    return float(apart.mean()), float(apart.max())


def report(result: ParityResult) -> str:
    """A result as a table for people."""
    lines = [
        f"{result.engine} beside {result.reference}",
        f"{'':<22}" + "".join(f"{name:>16}" for name in COLUMNS),
    ]
    for row in result.rows:
        cells = ["-" if row[name] is None else format(row[name], ".4f") for name in COLUMNS]
        lines.append(f"{row['case']:<22}" + "".join(f"{cell:>16}" for cell in cells))
    lines.append(f"{'worst':<22}" + "".join(f"{result.figures[name]:>16.4f}" for name in LIMITS))
    lines.append(f"{'allowed':<22}" + "".join(f"{limit:>16g}" for limit, _ in LIMITS.values()))
    lines += ["", "passed" if result.passed else f"REFUSED: {'; '.join(result.faults)}"]
    return "\n".join(lines)


def write_sheet(path: Path, engine: Engine, reference: Engine) -> None:
    """Writes a PNG with a column for each expression.

    Its rows: the reference, the engine, and what differs, brightened.

    Raises:
        EngineError: the name is not that of a PNG, or the file cannot be written.
    """
    columns = []
    for case in stored_cases(engine.bundle):
        theirs, ours = (compose(case.crop, each.run(case.crop, case.aus)) for each in (reference, engine))
        apart = np.clip(np.abs(ours.astype(int) - theirs) * DIFFERENCE_GAIN, 0, 255).astype(np.uint8)
        columns.append(np.vstack([theirs, ours, apart]))
    what = f"{path} cannot be written"
    if path.suffix.lower() != ".png":
        raise EngineError(what, "name a .png file in a folder that is there")
    try:
        atomic_file.write_bytes(path, cv2.imencode(".png", np.hstack(columns))[1].tobytes())
    except OSError as error:
        raise EngineError(
            f"{what} ({error.strerror})", "name a .png file in a folder that is there"
        ) from error
