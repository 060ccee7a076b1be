"""Starting a new run with the averaged weights of another run's checkpoint, or of a bundle.

A compact generator of the paper's 17 AUs can start one of the wide vocabulary: to AUs that both have it
answers the same.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engines.bundle import Bundle, load_bundle
from engines.errors import DataError
from engines.face.action_units import wholes
from train import checkpoint
from train.export.restore import is_bundle, restore, shape_of
from train.networks.compact import Shape
from train.networks.from_shape import build, read_shape
from train.networks.vocabulary import PAPER, WIDE, widened
from train.recipes.recipe import Networks, Recipe

# Of a compact generator: the one weight that is as wide as its vocabulary
CONDITION_WEIGHT = "condition.0.weight"
# And those that are as long as its heads are many, teeth at the end
HEADS = ("out.weight", "out.bias")


def start_with_weights_of(
    source: Path, recipe: Recipe, networks: Networks, averages: Networks
) -> dict[str, Any]:
    """Fills `averages`, and the networks that they are of, from a run, checkpoint or bundle.

    Returns:
        Where they come from, as JSON.

    Raises DataError when there is no checkpoint, or one of another network.
    """
    if is_bundle(source):
        return _start_with_bundle(load_bundle(source), recipe, networks, averages)
    folder = source if checkpoint.find(source) else source / "checkpoint"
    state = checkpoint.read_state(folder)
    theirs, mine = _network_of(state["shape"]), _network_of(recipe.shape)
    if _widens(theirs, mine):
        narrow = build(theirs.as_dict())
        checkpoint.load(folder, {}, {"generator": narrow})
        averages["generator"].load_state_dict(_widened(narrow, theirs, mine))
    elif theirs == mine:
        checkpoint.load(folder, {}, averages)
    else:
        raise _another(source, theirs, mine)
    for name, average in averages.items():
        networks[name].load_state_dict(average.state_dict())
    run = folder.resolve().parent.name if folder.name.startswith("checkpoint") else folder.resolve().name
    found = {"run": run, "recipe": state["recipe"], "seen": state["seen"], "estimator": state["estimator"]}
    return found | ({"started_from": state["started_from"]} if state.get("started_from") else {})


def _start_with_bundle(
    bundle: Bundle, recipe: Recipe, networks: Networks, averages: Networks
) -> dict[str, Any]:
    """A bundle holds the averaged generator alone: a critic, where the recipe has one, starts untrained."""
    theirs, mine = read_shape(shape_of(bundle)), _network_of(recipe.shape)
    if theirs == mine:
        weights = restore(bundle).state_dict()
    elif isinstance(theirs, Shape) and _widens(theirs, mine):
        weights = _widened(restore(bundle), theirs, mine)
    else:
        raise _another(bundle.folder, theirs, mine)
    for each in (networks, averages):
        each["generator"].load_state_dict(weights)
    found = {
        "bundle": bundle.name,
        "sha256": bundle.sha256,
        "seen": bundle.training.get("images_seen"),
        "estimator": bundle.estimator,
    }
    before = bundle.training.get("started_from")
    return found | ({"started_from": before} if before else {})


def _another(source: Path, theirs: Any, mine: Any) -> DataError:
    other = ", ".join(_differences(theirs, mine))
    return DataError(
        f"{source} is a run of another network ({other} differ): give --start-from one of this network, or "
        "its options."
    )


def _network_of(shape: dict[str, Any]) -> Shape | Any:
    """What fixes a recipe's averaged networks, comparable: a generator's shape, or all of a baseline's."""
    return read_shape(shape["generator"]) if "generator" in shape else shape


def _widens(theirs: Any, mine: Any) -> bool:
    """Whether a compact generator can start another: the same but for sides, teeth, shade."""
    if not (isinstance(theirs, Shape) and isinstance(mine, Shape)) or theirs == mine:
        return False
    vocabularies = ((PAPER, WIDE), (mine.vocabulary, mine.vocabulary))
    heads = theirs.teeth <= mine.teeth and theirs.shade <= mine.shade
    if (theirs.vocabulary, mine.vocabulary) not in vocabularies or not heads:
        return False
    return replace(theirs, vocabulary=mine.vocabulary, teeth=mine.teeth, shade=mine.shade) == mine


def _widened(narrow: nn.Module, theirs: Shape, mine: Shape) -> dict[str, Any]:
    weights, fresh = narrow.state_dict(), build(mine.as_dict()).state_dict()
    weights[CONDITION_WEIGHT] = widened(
        weights[CONDITION_WEIGHT], wholes(theirs.au_names), wholes(mine.au_names)
    )
    for name in HEADS:
        weights[name] = torch.cat([weights[name], fresh[name][len(weights[name]) :]])
    return fresh | weights


def _differences(theirs: Any, mine: Any) -> list[str]:
    """Names of what two networks differ in."""
    if type(theirs) is not type(mine):
        return ["model"]
    a, b = (shape if isinstance(shape, dict) else asdict(shape) for shape in (theirs, mine))
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
