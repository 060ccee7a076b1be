"""Which recipe: from the options of `fit`, and from the checkpoint of a baseline. The one place that knows every recipe."""

import argparse
from pathlib import Path

import torch

from engines.bundle import load_bundle
from engines.errors import DataError
from train import checkpoint
from train.command_line import BASELINES
from train.networks.compact import CompactGenerator, Shape
from train.networks.critic import CriticShape, compact_critic
from train.networks.paper import PaperGenerator, PaperShape
from train.recipes.distil import Distil
from train.recipes.ganimation import Ganimation
from train.recipes.recipe import Networks, Recipe
from train.recipes.supervised import Supervised

ADVERSARIAL_SIZE_PX = 128  # the paper's
BASELINE_WIDTH = 32  # half of their papers': small and honest, on a CPU
BASELINE_EMOTIONS = {"stargan": ("neutral", "happy", "surprised", "sad", "angry"), "icgan": ("neutral", "happy", "surprised", "sad", "angry"),
                     "cyclegan": ("happy",), "diat": ("happy",)}  # fmt: skip


def baseline(name: str) -> type:
    """The class of a baseline recipe; imported when asked for, since the engine's own recipes do without."""
    from train.recipes import cyclegan, diat, icgan, stargan

    return {"stargan": stargan.StarGan, "cyclegan": cyclegan.CycleGan, "diat": diat.Diat, "icgan": icgan.IcGan}[name]


def make(options: argparse.Namespace, corpus_size_px: int) -> Recipe:
    """A recipe with networks drawn from options.seed. Raises DataError when options do not go together."""
    torch.manual_seed(options.seed)
    name = options.recipe or ("distil" if options.teacher else "supervised")
    if (name == "distil") != bool(options.teacher):
        raise DataError("--teacher BUNDLE and the recipe distil belong together: give both, or neither.")
    if name in ("supervised", "distil"):
        size = options.size or (load_bundle(options.teacher).size_px if options.teacher else corpus_size_px)
    else:
        size = options.size or ADVERSARIAL_SIZE_PX
    if size > corpus_size_px or (name == "supervised" and size != corpus_size_px):
        raise DataError(f"The corpus has {corpus_size_px} px crops, which do not serve at {size} px: prepare it with --size {size}.")
    if name == "supervised":
        return Supervised(_compact(options, size))
    if name == "distil":
        return Distil(_compact(options, size), load_bundle(options.teacher))
    if name == "ganimation":
        return _ganimation(options, size)
    return baseline(name)(size, options.width or BASELINE_WIDTH, tuple(options.emotions or BASELINE_EMOTIONS[name]))


def _compact(options: argparse.Namespace, size_px: int) -> Shape:
    quarter, eighth, sixteenth = options.channels
    return Shape(size_px=size_px, quarter=quarter, eighth=eighth, sixteenth=sixteenth, flow=not options.no_flow)


def _ganimation(options: argparse.Namespace, size_px: int) -> Ganimation:
    spectral = options.adversary == "hinge-sn"
    how = {"adversary": options.adversary, "attention_term": options.attention_term, "critic_steps": options.critic_steps}
    if options.model == "paper":
        width = options.width or PaperShape.width
        generator = PaperGenerator(PaperShape(size_px=size_px, width=width, conditioning=options.conditioning or "absolute"))
        return Ganimation(generator, CriticShape(size_px=size_px, width=width, spectral=spectral), **how)
    if options.conditioning == "absolute":
        raise DataError("The compact generator is relative by construction: use --model paper for absolute AUs.")
    return Ganimation(CompactGenerator(_compact(options, size_px)), compact_critic(size_px, spectral), **how)


def load_baseline(folder: Path) -> tuple[Recipe, Networks]:
    """A baseline's run -> its recipe and averaged networks, for comparing. Raises DataError when the folder is no baseline's."""
    state = checkpoint.read_state(folder / "checkpoint")
    if state["recipe"] not in BASELINES:
        raise DataError(f"{folder} is a run of {state['recipe']}, not of a baseline: export it and give the bundle to --engines.")
    recipe = baseline(state["recipe"]).from_shape(state["shape"])
    averages = {name: recipe.networks[name] for name in recipe.averaged}
    checkpoint.load(folder / "checkpoint", {}, averages)
    return recipe, {**recipe.networks, **{name: network.eval() for name, network in averages.items()}}
