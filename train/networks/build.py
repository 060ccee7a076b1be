"""From the shape that a checkpoint or a command names to the generator it means. The one list of generators."""

from dataclasses import fields

from torch import nn

from engines.errors import DataError
from engines.expression import ESTIMATED
from train.networks.compact import CompactGenerator, Shape
from train.networks.paper import PaperGenerator, PaperShape

MODELS = ("compact", "paper")


def build(shape: dict) -> nn.Module:
    """A generator with fresh weights from its `shape.as_dict()`; shapes written before there were two models are compact.

    Raises DataError for a model, an AU count or a key that this version does not know.
    """
    model, aus = shape.get("model", "compact"), shape.get("aus", len(ESTIMATED))
    if model not in MODELS:
        raise DataError(f"There is no generator called {model!r}: choose one of {', '.join(MODELS)}.")
    if aus != len(ESTIMATED):
        raise DataError(f"This network takes {aus} AUs and the estimator gives {len(ESTIMATED)}: train one on this version's labels.")
    if model == "compact":
        return CompactGenerator(Shape.from_dict(shape))
    return PaperGenerator(paper_shape(shape))


def paper_shape(written: dict) -> PaperShape:
    """Back from JSON. Raises DataError for a key or a conditioning that it does not have."""
    sizes = {name: value for name, value in written.items() if name != "model"}
    unknown = sizes.keys() - {field.name for field in fields(PaperShape)}
    if unknown or sizes.get("conditioning", "absolute") not in ("absolute", "relative"):
        raise DataError(f"These weights are of another paper generator ({written}): train anew, or use the version that wrote them.")
    return PaperShape(**sizes)
