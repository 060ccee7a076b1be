"""A compiled engine against the FP32 reference, before it is trusted: the same crops, the same expressions, what people would see.

Twelve expressions on four stored crops (of nobody). Both engines' edits are drawn into the crops, and compared as pictures; then the
action units of both are measured again, because a puppet is judged by its expression. One figure over its limit refuses.
`python -m engines parity` prints the report. Knows no backend.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from engines.backends.interface import Edit, Engine
from engines.blend import compose
from engines.bundle import Bundle
from engines.errors import EngineError
from engines.face import au_estimator
from engines.face.action_units import WIDE, translate
from engines.face.crop import cut, find_crop
from engines.face.landmarks import Face, FaceReader
from engines.face.photo import load_photo

INPUTS = Path(__file__).with_name("parity_inputs.npz")
SIZE_PX = 256  # of the stored crops
SHOWN = 8  # times, that differences are brightened in a sheet
JPEG_QUALITY = 95  # of the stored crops: real textures in 0.2 MB

# What a person does in a call, and the AUs that move most; every AU at least once. One change each; crops take turns.
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

# A figure over its limit refuses an engine. The engine that ships, told nine tenths of what was asked, reads 1.6, 87, .001, .05 and
# .30; with red and blue exchanged .8, 106, 0, .07 and .43; BF16 .05, 5, .0000, .003 and .014.
LIMITS: dict[str, tuple[float, str]] = {
    "picture mean": (1.0, "grey levels, mean over a crop: less than sensor noise does to a webcam's picture"),
    "painted mean": (
        4.0,
        "grey levels where more than a tenth is painted: lids and mouths a shade off, as seen beside the photo",
    ),
    "picture worst": (
        96.0,
        "grey levels of one pixel: an edge of a lid or a tooth that moved by a pixel; broken engines reach 200",
    ),
    "attention mean": (0.002, "of 1: what mean(A) loses when an edit is a fifth too weak"),
    "AUs mean": (0.02, "of 1: the estimator's own noise on a still face"),
    "AUs worst": (0.15, "of 1: a change of one action unit that a viewer would see"),
    "unlike at rest": (0.0, "parts of an edit by no change that are not exactly the photo"),
}


@dataclass(frozen=True)
class Case:
    """One crop and what an engine is told about it."""

    name: str
    crop: np.ndarray  # (S, S, 3) uint8 BGR
    aus: np.ndarray  # (N,) float32, the bundle's order and conditioning


@dataclass(frozen=True)
class ParityResult:
    """What a comparison found."""

    engine: str
    reference: str
    figures: dict[str, float]  # by the names of LIMITS, the worst case of each
    rows: list[dict] = field(repr=False)  # one for each case
    faults: tuple[str, ...] = ()  # why it is refused

    @property
    def passed(self) -> bool:
        return not self.faults

    def require(self) -> None:
        """Raises EngineError, one sentence, when the engine is refused."""
        if self.faults:
            raise EngineError(
                f"{self.engine} does not do what {self.reference} does ({'; '.join(self.faults)}): it is not used."
            )


@lru_cache(maxsize=1)
def rules() -> str:
    """What a verdict depends on besides the engines, as a digest: inputs, expressions, limits. An older verdict does not count."""
    told = json.dumps(
        [EXPRESSIONS, {name: limit for name, (limit, _) in LIMITS.items()}], sort_keys=True
    ).encode()
    return hashlib.sha256(told + INPUTS.read_bytes()).hexdigest()[:16]


def compare(engine: Engine, reference: Engine, cases: Sequence[Case] | None = None) -> ParityResult:
    """Runs both on every case. Raises EngineLost when a device fails meanwhile."""
    cases, rows, faults = cases or stored_cases(engine.bundle), [], []
    with FaceReader() as reader:
        for case in cases:
            ours, theirs = engine.run(case.crop, case.aus).kept(), reference.run(case.crop, case.aus).kept()
            if fault := _unlike_an_edit(ours, engine.bundle):
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
        if not figures[name] <= limit
    ]  # nan, too
    return ParityResult(engine.name, reference.name, figures, rows, tuple(faults))


def stored_cases(bundle: Bundle) -> list[Case]:
    """EXPRESSIONS on the stored crops, in the size, words and conditioning of a bundle."""
    crops, own, cases = *_stored(), []
    for number, (name, change) in enumerate(EXPRESSIONS.items()):
        crop, rest = crops[number % len(crops)], own[number % len(crops)]
        asked = (
            translate(np.array(list(change.values()), np.float32), tuple(change), WIDE)
            if change
            else np.zeros(len(WIDE), np.float32)
        )
        if bundle.conditioning == "absolute":
            asked = np.clip(rest + asked, 0, 1)
        size = (bundle.size_px, bundle.size_px)
        picture = crop if bundle.size_px == SIZE_PX else cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
        picture.flags.writeable = False  # as in a call, where the photo's crop never changes
        cases.append(Case(name, picture, translate(asked, WIDE, bundle.aus).astype(np.float32)))
    return cases


def record_inputs(photos: Sequence[Path], path: Path = INPUTS) -> None:
    """Writes the stored crops anew, from photos with one face each. Raises SourceError, EngineError."""
    stored: dict[str, np.ndarray] = {"aus": np.zeros((len(photos), len(WIDE)), np.float32)}
    with FaceReader() as reader:
        for number, name in enumerate(photos):
            photo = load_photo(name)
            faces = reader.read(photo)
            if len(faces) != 1:
                raise EngineError(f"{name} shows {len(faces)} faces: the stored inputs need photos of one.")
            crop = cut(photo, find_crop(faces[0], SIZE_PX))
            stored[f"crop{number}"] = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            stored["aus"][number] = au_estimator.estimate(faces[0])
    np.savez(path, **stored)


@lru_cache(maxsize=1)
def _stored() -> tuple[list[np.ndarray], np.ndarray]:
    """The crops, (256, 256, 3) uint8 BGR, and their own AUs, (n, 29)."""
    with np.load(INPUTS, allow_pickle=False) as stored:
        own = stored["aus"]
        return [cv2.imdecode(stored[f"crop{number}"], cv2.IMREAD_COLOR) for number in range(len(own))], own


def _unlike_an_edit(edit: Edit, bundle: Bundle) -> str:
    """What is wrong with an edit whatever it shows; "" when nothing is."""
    size, flow = bundle.size_px, bundle.flow_px
    wanted = {"colour": ((size, size, 3), np.uint8), "attention": ((size, size), np.float32)}
    wanted |= {"flow": ((flow, flow, 2), np.float32)} if flow else {}
    for name, (shape, dtype) in wanted.items():
        part = getattr(edit, name)
        if part is None or part.shape != shape or part.dtype != dtype:
            return f"{name} is {None if part is None else (part.shape, str(part.dtype))}, not {shape}"
        if not np.isfinite(part).all():
            return f"{name} has values that are no numbers"
    return ""


def _differences(
    case: Case, ours: Edit, theirs: Edit, bundle: Bundle, reader: FaceReader
) -> dict[str, float | None]:
    """By the names of LIMITS; None where nothing can be compared."""
    pictures = [compose(case.crop, edit) for edit in (ours, theirs)]
    apart, painted = np.abs(pictures[0].astype(int) - pictures[1]), theirs.attention < 0.9
    aus = [measured(reader.read(picture)) for picture in pictures]
    moved = (
        np.full(len(WIDE), np.nan)
        if aus[1] is None
        else np.abs(aus[0] - aus[1])
        if aus[0] is not None
        else np.ones(len(WIDE))
    )
    at_rest = bundle.conditioning == "relative" and not case.aus.any()
    return {
        "picture mean": float(apart.mean()),
        "painted mean": float(apart[painted].mean()) if painted.any() else None,
        "picture worst": float(apart.max()),
        "attention mean": float(abs(ours.attention.mean() - theirs.attention.mean())),
        "AUs mean": None if aus[1] is None else float(moved.mean()),
        "AUs worst": None if aus[1] is None else float(moved.max()),
        "unlike at rest": float((pictures[0] != case.crop).any() and (pictures[1] == case.crop).all())
        if at_rest
        else None,
        "colour mean": float(np.abs(ours.colour.astype(int) - theirs.colour).mean()),
        "flow mean, px": None if ours.flow is None else float(np.abs(ours.flow - theirs.flow).mean()),
    }


def measured(faces: list[Face]) -> np.ndarray | None:
    """(29,) of the first face; None when there is none."""
    return au_estimator.measure(faces[0]) if faces else None


def report(verdict: ParityResult) -> str:
    """A verdict as text for people."""
    names = [*LIMITS, "colour mean", "flow mean, px"]
    lines = [
        f"{verdict.engine} beside {verdict.reference}",
        f"{'':<22}" + "".join(f"{name:>16}" for name in names),
    ]
    for row in verdict.rows:
        lines.append(
            f"{row['case']:<22}"
            + "".join(f"{'-' if row[name] is None else format(row[name], '.4f'):>16}" for name in names)
        )
    lines.append(f"{'worst':<22}" + "".join(f"{verdict.figures[name]:>16.4f}" for name in LIMITS))
    lines.append(f"{'allowed':<22}" + "".join(f"{limit:>16g}" for limit, _ in LIMITS.values()))
    lines += ["", "passed" if verdict.passed else f"REFUSED: {'; '.join(verdict.faults)}"]
    return "\n".join(lines)


def write_sheet(path: Path, engine: Engine, reference: Engine) -> None:
    """A PNG with a column for each expression: the reference, the engine, and SHOWN times what differs. Raises EngineError."""
    columns = []
    for case in stored_cases(engine.bundle):
        theirs, ours = (compose(case.crop, each.run(case.crop, case.aus)) for each in (reference, engine))
        apart = np.clip(np.abs(ours.astype(int) - theirs) * SHOWN, 0, 255).astype(np.uint8)
        columns.append(np.vstack([theirs, ours, apart]))
    if (
        path.suffix.lower() != ".png"
        or not path.parent.is_dir()
        or not cv2.imwrite(str(path), np.hstack(columns))
    ):
        raise EngineError(f"{path} cannot be written: name a .png file in a folder that is there.")
