"""A generator on disk: a folder with generator.onnx, bundle.json, MODEL_CARD.md and perhaps variants.

What does not fit together is refused.

bundle.json holds which AUs the generator takes and in which order, on which crops and with which estimator it
was trained, whether it takes AU changes ("relative") or intensities ("absolute"), whether its faint colour is
shade, and the SHA-256 of the ONNX. A variant is the same generator prepared for one precision, such as
quantised to INT8, as another ONNX beside the first. Knows no backend.
"""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engines import atomic_file
from engines.errors import EngineError
from engines.face import au_estimator, crop
from engines.face.action_units import MEANING, VOCABULARIES

FORMAT = 1
DESCRIPTION = "bundle.json"
ENGINES = Path(__file__).parent
DEFAULT = "default"
VARIANTS = ("int8",)  # precisions that a bundle may bring a graph of their own for
CONDITIONINGS = ("relative", "absolute")
EXPORT_AGAIN = "export the engine again"
GET_AGAIN = "get the bundle again"


@dataclass(frozen=True)
class Variant:
    """Another graph of the same generator, for one precision."""

    file: str  # beside generator.onnx
    sha256: str
    calibration: dict[str, Any] = field(default_factory=dict)  # how it was made


@dataclass(frozen=True)
class Bundle:
    """What a generator's file does not hold itself."""

    aus: tuple[str, ...]  # order of the engine's AU input
    conditioning: str  # "relative": wanted minus the photo's own; "absolute": wanted
    size_px: int  # S of the crop
    flow_px: int  # s of the flow field; 0 when the generator has none
    crop_rule: str  # engines.face.crop.RULE at training
    estimator: str  # engines.face.au_estimator.VERSION at training
    sha256: str  # of generator.onnx
    training: dict[str, Any] = field(default_factory=dict)  # provenance: data, counts, images seen
    folder: Path = Path()
    variants: dict[str, Variant] = field(default_factory=dict)  # by precision
    shade: bool = False  # whether faint colour is meant to be seen, as folds and shadows; else it is a veil

    @property
    def onnx(self) -> Path:
        return self.folder / "generator.onnx"

    def graph(self, precision: str) -> Path:
        """The ONNX that "int8", "fp16", "bf16" or "fp32" is compiled from: a variant or generator.onnx."""
        return self.folder / self.variants[precision].file if precision in self.variants else self.onnx

    @property
    def name(self) -> str:
        return self.folder.resolve().name  # which "." has, too


class _Format(msgspec.Struct):
    """The one field of bundle.json that every format has."""

    format: int


class _Description(msgspec.Struct):
    """bundle.json; other fields in it are ignored."""

    format: int
    aus: tuple[str, ...]
    conditioning: str
    size_px: int
    flow_px: int
    crop_rule: str
    estimator: str
    sha256: str
    training: dict[str, Any]
    variants: dict[str, Variant] = {}
    shade: bool = False


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_bundle(name_or_folder: str | Path = DEFAULT) -> Path:
    """The folder of a bundle: a path, or the name of one that ships in engines/. Raises EngineError."""
    shipped = ENGINES / str(name_or_folder)
    for folder in (Path(name_or_folder), shipped):
        if os.path.isfile(folder / DESCRIPTION):
            return folder
    names = sorted(path.parent.name for path in ENGINES.glob(f"*/{DESCRIPTION}"))
    raise EngineError(
        f"There is no engine bundle at {name_or_folder}",
        f"name a folder with a {DESCRIPTION}",
        f"one that ships here ({', '.join(names) or 'none'})",
    )


def load_bundle(name_or_folder: str | Path = DEFAULT) -> Bundle:
    """Reads and checks a bundle. Raises EngineError when anything in it does not fit this program."""
    folder = find_bundle(name_or_folder)
    stored = _read_description(folder / DESCRIPTION)
    bundle = Bundle(
        stored.aus,
        stored.conditioning,
        stored.size_px,
        stored.flow_px,
        stored.crop_rule,
        stored.estimator,
        stored.sha256,
        stored.training,
        folder,
        stored.variants,
        stored.shade,
    )
    _check_aus(bundle)
    if not re.fullmatch(r"[0-9a-f]{64}", bundle.sha256):
        raise EngineError("it pins no SHA-256", EXPORT_AGAIN, where=folder / DESCRIPTION)
    if bundle.conditioning not in CONDITIONINGS:
        raise EngineError(
            f"it has conditioning {bundle.conditioning!r}; known are {', '.join(CONDITIONINGS)}",
            EXPORT_AGAIN,
            where=folder / DESCRIPTION,
        )
    if bundle.crop_rule != crop.RULE:
        raise EngineError(
            f"{folder} was trained on {bundle.crop_rule} crops, this program cuts {crop.RULE}",
            "train or export it again",
        )
    if bundle.estimator not in au_estimator.COMPATIBLE:
        raise EngineError(
            f"{folder} was trained on AUs by {bundle.estimator}, this program measures by "
            f"{au_estimator.VERSION}: its expressions would not match."
        )
    _check_file(bundle.onnx, bundle.sha256)
    for precision, variant in bundle.variants.items():
        _check_variant(bundle, precision, variant)
    return bundle


def write_description(bundle: Bundle) -> None:
    """Writes bundle.json into the bundle's folder. Raises OSError."""
    left_out = {"folder"} | {name for name in ("variants", "shade") if not getattr(bundle, name)}
    fields = {name: value for name, value in asdict(bundle).items() if name not in left_out}
    text = json.dumps({"format": FORMAT, **fields}, indent=1) + "\n"
    atomic_file.write_text(bundle.folder / DESCRIPTION, text)


def _read_description(path: Path) -> _Description:
    """Raises EngineError, which names the file and the field."""
    try:
        text = path.read_bytes()
        stored_format = msgspec.json.decode(text, type=_Format).format
        if stored_format != FORMAT:
            raise EngineError(
                f"{path.parent} has bundle format {stored_format}, this program reads {FORMAT}", EXPORT_AGAIN
            )
        return msgspec.json.decode(text, type=_Description)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EngineError(
            f"it is not a bundle description ({error})", EXPORT_AGAIN, GET_AGAIN, where=path
        ) from error


def _check_variant(bundle: Bundle, precision: str, variant: Variant) -> None:
    """Raises EngineError unless it is a graph in the bundle's folder, for a precision that may have one."""
    # FP32 may not: it is generator.onnx itself, with which everything is compared.
    if precision not in VARIANTS:
        raise EngineError(
            f"it has a variant for {precision!r}; known are {', '.join(VARIANTS)}",
            GET_AGAIN,
            where=bundle.folder / DESCRIPTION,
        )
    if Path(variant.file).name != variant.file:
        raise EngineError(
            f"it names no file of its own folder for {precision}",
            GET_AGAIN,
            where=bundle.folder / DESCRIPTION,
        )
    _check_file(bundle.graph(precision), variant.sha256)


def _check_file(path: Path, pinned: str) -> None:
    """Raises EngineError unless the file is there and has the pinned SHA-256."""
    if not path.is_file():
        raise EngineError(f"{path} is missing", "copy the whole bundle folder", "check it out again")
    if sha256_of(path) != pinned:
        raise EngineError(
            f"{path} is not the file that {DESCRIPTION} pins (SHA-256 differs), it was changed or cut short",
            GET_AGAIN,
        )


def _check_aus(bundle: Bundle) -> None:
    """Raises EngineError unless this program can drive every AU, and each stands once."""
    unknown = [au for au in bundle.aus if au not in MEANING]
    if unknown or len(set(bundle.aus)) != len(bundle.aus) or not bundle.aus:
        sets = "; ".join(f"{name}: {' '.join(aus)}" for name, aus in VOCABULARIES.items())
        raise EngineError(
            f"{bundle.folder} is of another AU set ({' '.join(unknown) or 'repeated or empty'}), which this "
            f"program cannot drive; it knows {sets}."
        )
