"""From the shape that a checkpoint or a command names to the generator it means.

The one list of generators.
"""

from collections.abc import Mapping
from dataclasses import fields

from torch import nn

from engines.errors import DataError
from train.networks.compact import CompactGenerator, Shape
from train.networks.paper import PaperGenerator, PaperShape
from train.networks.vocabulary import with_vocabulary

MODELS = ("compact", "paper")
Generator = CompactGenerator | PaperGenerator


def generator_of(networks: Mapping[str, nn.Module]) -> Generator:
    """The network called "generator" of a recipe. Raises TypeError when it is no generator of AUs."""
    generator = networks["generator"]
    if not isinstance(generator, CompactGenerator | PaperGenerator):
        raise TypeError(f"{type(generator).__name__} is no generator of AUs")
    return generator


def build(shape: dict) -> Generator:
    """A generator with fresh weights from its `shape.as_dict()`. Raises DataError as `read_shape`."""
    found = read_shape(shape)
    return CompactGenerator(found) if isinstance(found, Shape) else PaperGenerator(found)


def read_shape(written: dict) -> Shape | PaperShape:
    """Back from JSON; shapes written before there were two models are compact.

    Raises DataError for a model, AUs or a key that this version does not know.
    """
    model = written.get("model", "compact")
    if model not in MODELS:
        raise DataError(f"There is no generator called {model!r}: choose one of {', '.join(MODELS)}.")
    return Shape.from_dict(written) if model == "compact" else paper_shape(written)


def paper_shape(written: dict) -> PaperShape:
    """Back from JSON. Raises DataError for a key or a conditioning that it does not have."""
    sizes = with_vocabulary({name: value for name, value in written.items() if name != "model"})
    unknown = sizes.keys() - {field.name for field in fields(PaperShape)}
    if unknown or sizes.get("conditioning", "absolute") not in ("absolute", "relative"):
        raise DataError(
            f"These weights are of another paper generator ({written}): train a new one, or use the version "
            "that "
            "wrote them."
        )
    return PaperShape(**sizes)
