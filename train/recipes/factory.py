"""Which recipe: from the options of `fit`, and from the checkpoint of a baseline.

The one place that knows every recipe.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engines.bundle import load_bundle
from engines.errors import DataError
from train import checkpoint
from train.command_line import BASELINES
from train.networks.compact import CompactGenerator, Shape
from train.networks.critic import CriticShape, compact_critic
from train.networks.paper import PaperGenerator, PaperShape
from train.networks.vocabulary import PAPER, WIDE, vocabulary_name
from train.recipes.distil import Distil
from train.recipes.ganimation import CRITIC_STEPS, Ganimation
from train.recipes.recipe import EmotionRecipe, Networks, Recipe
from train.recipes.supervised import Supervised

if TYPE_CHECKING:
    from train.recipes.baselines.cyclegan import CycleGan
    from train.recipes.baselines.diat import Diat
    from train.recipes.baselines.icgan import IcGan
    from train.recipes.baselines.stargan import StarGan

ADVERSARIAL_SIZE_PX = 128  # the paper's
CHANNELS = (32, 96, 192)  # of the compact generator: what two CPU cores run live at 256 px
BASELINE_WIDTH = 32  # half of their papers': small and honest, on a CPU
BASELINE_EMOTIONS = {
    "stargan": ("neutral", "happy", "surprised", "sad", "angry"),
    "icgan": ("neutral", "happy", "surprised", "sad", "angry"),
    "cyclegan": ("happy",),
    "diat": ("happy",),
}


def baseline(name: str) -> "type[StarGan | CycleGan | Diat | IcGan]":
    """The class of a baseline recipe; imported on demand, since the engine's own recipes do without."""
    from train.recipes.baselines import cyclegan, diat, icgan, stargan

    return {
        "stargan": stargan.StarGan,
        "cyclegan": cyclegan.CycleGan,
        "diat": diat.Diat,
        "icgan": icgan.IcGan,
    }[name]


# Options of `fit` that only some recipes have; another one is refused, before the wrong thing is trained.
COMPACT = {"channels", "no_flow"}
USED = {
    "supervised": COMPACT | {"vocabulary", "no_teeth", "no_shade", "only_shade", "critic"},
    "distil": COMPACT | {"teacher"},
    "compact": COMPACT | {"model", "adversary", "attention_term", "critic_steps", "vocabulary"},
    "paper": {"model", "conditioning", "adversary", "attention_term", "critic_steps", "width", "vocabulary"},
    **{name: {"width", "emotions"} for name in BASELINES},
}
# A crop's side is a multiple of this; of 16 for compact generators
SIZES = {"paper": 4, "stargan": 4, "cyclegan": 4, "diat": 4}


def make(options: argparse.Namespace, corpus_size_px: int) -> Recipe:
    """A recipe with networks drawn from options.seed. Raises DataError when options do not go together."""
    torch.manual_seed(options.seed)
    name = options.recipe or (
        "distil" if options.teacher else "ganimation" if options.model else "supervised"
    )
    if name == "distil" and not options.teacher:
        raise DataError("The recipe distil needs a teacher: give --teacher BUNDLE.")
    _check_used(options, name)
    teacher = load_bundle(options.teacher) if options.teacher else None
    size = options.size or (teacher.size_px if teacher else _usual_size(name, corpus_size_px))
    multiple = SIZES.get(options.model if name == "ganimation" else name, 16)
    if size % multiple or (name == "icgan" and size & (size - 1)):
        raise DataError(
            f"{name} needs crops whose side is "
            f"{'a power of two' if name == 'icgan' else f'a multiple of {multiple}'}, not {size} px."
        )
    if size > corpus_size_px or (name == "supervised" and size != corpus_size_px):
        raise DataError(
            f"The corpus has {corpus_size_px} px crops, which do not serve at {size} px: prepare it with "
            f"--size {size}."
        )
    if name == "supervised":
        return Supervised(
            replace(
                _compact(options, size, options.vocabulary or WIDE),
                teeth=not options.no_teeth,
                shade=not (options.no_shade or options.no_flow),
            ),
            critic=options.critic,
            only_shade=options.only_shade,
        )
    if teacher is not None:
        return Distil(_compact(options, size, vocabulary_name(teacher.aus)), teacher)
    if name == "ganimation":
        return _ganimation(options, size, options.vocabulary or PAPER)
    return baseline(name)(
        size, options.width or BASELINE_WIDTH, tuple(options.emotions or BASELINE_EMOTIONS[name])
    )


def _check_used(options: argparse.Namespace, name: str) -> None:
    kind = (options.model or "compact") if name == "ganimation" else name
    called = f"ganimation with --model {kind}" if name == "ganimation" else name
    for option in sorted(set().union(*USED.values()) - USED[kind]):
        if getattr(options, option) not in (None, False):
            raise DataError(
                f"--{option.replace('_', '-')} means nothing to {called}: leave it out, or choose another "
                "--recipe or --model."
            )


def _usual_size(name: str, corpus_size_px: int) -> int:
    return corpus_size_px if name == "supervised" else min(ADVERSARIAL_SIZE_PX, corpus_size_px)


def _compact(options: argparse.Namespace, size_px: int, vocabulary: str) -> Shape:
    quarter, eighth, sixteenth = options.channels or CHANNELS
    return Shape(vocabulary, size_px, quarter, eighth, sixteenth, flow=not options.no_flow)


def _ganimation(options: argparse.Namespace, size_px: int, vocabulary: str) -> Ganimation:
    adversary = options.adversary or "wgan-gp"
    spectral = adversary == "hinge-sn"
    settings: dict[str, Any] = {
        "adversary": adversary,
        "attention_term": options.attention_term or "kept",
        "critic_steps": options.critic_steps or CRITIC_STEPS,
    }
    if options.model == "paper":
        width = options.width or PaperShape.width
        paper = PaperShape(vocabulary, size_px, width, conditioning=options.conditioning or "absolute")
        return Ganimation(
            PaperGenerator(paper),
            CriticShape(size_px, paper.au_count, width=width, spectral=spectral),
            **settings,
        )
    shape = _compact(options, size_px, vocabulary)
    return Ganimation(CompactGenerator(shape), compact_critic(size_px, spectral, shape.au_count), **settings)


def load_baseline(folder: Path) -> tuple[EmotionRecipe, Networks]:
    """A baseline's run -> its recipe and averaged networks, for comparing.

    Raises DataError when the folder is no baseline's.
    """
    state = checkpoint.read_state(folder / "checkpoint")
    if state["recipe"] not in BASELINES:
        raise DataError(
            f"{folder} is a run of {state['recipe']}, not of a baseline: export it and give the bundle to "
            "--engines."
        )
    recipe = baseline(state["recipe"]).from_shape(state["shape"])
    averages = {name: recipe.networks[name] for name in recipe.averaged}
    checkpoint.load(folder / "checkpoint", {}, averages)
    return recipe, {**recipe.networks, **{name: network.eval() for name, network in averages.items()}}
