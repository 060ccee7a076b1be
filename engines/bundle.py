"""A generator on disk: a folder with generator.onnx, bundle.json, MODEL_CARD.md and perhaps variants. What does not fit together is refused.

bundle.json says which AUs the generator speaks and in which order, on which crops and by which estimator it was
trained, whether it wants AU changes ("relative") or intensities ("absolute"), and the SHA-256 of the ONNX. A variant is the same
generator prepared for one precision, such as quantised to INT8, as another ONNX beside the first. Knows no backend.
"""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engines import atomic_file
from engines.errors import EngineError
from engines.face import au_estimator, crop
from engines.face.action_units import MEANING, VOCABULARIES

FORMAT = 1
ENGINES = Path(__file__).parent
DEFAULT = "default"
VARIANTS = ("int8",)  # precisions that a bundle may bring a graph of their own for
CONDITIONINGS = ("relative", "absolute")


@dataclass(frozen=True)
class Bundle:
    """What a generator's file does not say about itself."""

    aus: tuple[str, ...]  # order of the engine's AU input
    conditioning: str  # "relative": wanted minus the photo's own; "absolute": wanted
    size_px: int  # S of the crop
    flow_px: int  # s of the flow field; 0 when the generator has none
    crop_rule: str  # engines.face.crop.RULE at training
    estimator: str  # engines.face.au_estimator.VERSION at training
    sha256: str  # of generator.onnx
    training: dict[str, Any] = field(default_factory=dict)  # provenance: data, counts, images seen
    folder: Path = Path()
    variants: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # precision -> file, its sha256, and how it was made

    @property
    def onnx(self) -> Path:
        return self.folder / "generator.onnx"

    def graph(self, precision: str) -> Path:
        """The ONNX that a precision ("int8", "fp16", "bf16", "fp32") is compiled from: its variant, else generator.onnx."""
        return self.folder / self.variants[precision]["file"] if precision in self.variants else self.onnx

    @property
    def name(self) -> str:
        return self.folder.resolve().name  # which "." has, too


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_bundle(name_or_folder: str | Path = DEFAULT) -> Path:
    """The folder of a bundle: a path, or the name of one that ships in engines/. Raises EngineError."""
    shipped = ENGINES / str(name_or_folder)
    for folder in (Path(name_or_folder), shipped):
        if os.path.isfile(folder / "bundle.json"):
            return folder
    names = sorted(path.parent.name for path in ENGINES.glob("*/bundle.json"))
    raise EngineError(
        f"There is no engine bundle at {name_or_folder}: name a folder with a bundle.json, or one that ships here ({', '.join(names) or 'none'})."
    )


def load_bundle(name_or_folder: str | Path = DEFAULT) -> Bundle:
    """Reads and checks a bundle. Raises EngineError with one sentence when anything does not fit this program."""
    folder = find_bundle(name_or_folder)
    try:
        stored = json.loads((folder / "bundle.json").read_text())
        variants = {
            str(precision): dict(variant) for precision, variant in stored.get("variants", {}).items()
        }
        bundle = Bundle(
            folder=folder,
            variants=variants,
            **{**{key: stored[key] for key in _FIELDS}, "aus": tuple(stored["aus"])},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"{folder}/bundle.json is not a bundle description ({error}): export the engine again."
        ) from error
    if stored.get("format") != FORMAT:
        raise EngineError(
            f"{folder} has bundle format {stored.get('format')}, this program reads {FORMAT}: export the engine again."
        )
    _check_aus(bundle)
    if bundle.conditioning not in CONDITIONINGS:
        raise EngineError(
            f"{folder} has conditioning {bundle.conditioning!r}; known are {', '.join(CONDITIONINGS)}."
        )
    if bundle.crop_rule != crop.RULE:
        raise EngineError(
            f"{folder} was trained on {bundle.crop_rule} crops, this program cuts {crop.RULE}: train or export it again."
        )
    if bundle.estimator not in au_estimator.COMPATIBLE:
        raise EngineError(
            f"{folder} was trained on AUs by {bundle.estimator}, this program measures by {au_estimator.VERSION}: its expressions would not match."
        )
    _check_file(bundle.onnx, bundle.sha256)
    for precision, variant in bundle.variants.items():
        if (
            precision not in VARIANTS
        ):  # FP32 above all is generator.onnx itself, with which everything is compared
            raise EngineError(
                f"{folder}/bundle.json has a variant for {precision!r}; known are {', '.join(VARIANTS)}: get the bundle again."
            )
        if not isinstance(variant.get("file"), str) or Path(variant["file"]).name != variant["file"]:
            raise EngineError(
                f"{folder}/bundle.json names no file of its own folder for {precision}: get the bundle again."
            )
        _check_file(bundle.graph(precision), variant.get("sha256"))
    return bundle


def write_description(bundle: Bundle) -> None:
    """Writes bundle.json into the bundle's folder."""
    unsaid = {"folder"} if bundle.variants else {"folder", "variants"}
    stored = {"format": FORMAT, **{key: value for key, value in asdict(bundle).items() if key not in unsaid}}
    atomic_file.write_text(bundle.folder / "bundle.json", json.dumps(stored, indent=1) + "\n")


def _check_file(path: Path, pinned: object) -> None:
    if not path.is_file():
        raise EngineError(f"{path} is missing: copy the whole bundle folder, or check it out again.")
    if sha256_of(path) != pinned:
        raise EngineError(
            f"{path} is not the file that bundle.json pins (SHA-256 differs): it was changed or cut short; get the bundle again."
        )


def _check_aus(bundle: Bundle) -> None:
    unknown = [str(au) for au in bundle.aus if au not in MEANING]
    if unknown or len(set(bundle.aus)) != len(bundle.aus) or not bundle.aus:
        sets = "; ".join(f"{name}: {' '.join(aus)}" for name, aus in VOCABULARIES.items())
        raise EngineError(
            f"{bundle.folder} speaks another AU set ({' '.join(unknown) or 'repeated or empty'}), which this program cannot drive; it knows {sets}."
        )
    if not re.fullmatch(r"[0-9a-f]{64}", str(bundle.sha256)):
        raise EngineError(f"{bundle.folder}/bundle.json pins no SHA-256: export the engine again.")


_FIELDS = ("aus", "conditioning", "size_px", "flow_px", "crop_rule", "estimator", "sha256", "training")
