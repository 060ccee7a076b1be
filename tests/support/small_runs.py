"""Small recipes and short plans, for tests of training."""

import dataclasses
import json
from pathlib import Path

import torch

from train.networks.compact import Shape
from train.networks.critic import CriticShape
from train.networks.paper import PaperGenerator, PaperShape
from train.recipes.ganimation import Ganimation
from train.recipes.supervised import Supervised
from train.schedule import Schedule

TINY = Shape(size_px=64, quarter=8, eighth=16, sixteenth=16, blocks=(1, 1, 1, 1), head=8)
NARROW = dataclasses.replace(TINY, vocabulary="paper17")
SMALL_CRITIC = CriticShape(size_px=64, width=8, widest=32, layers=4)


def plan(**changes) -> Schedule:
    fixed = {
        "images": 160,
        "batch": 4,
        "rate": 2e-3,
        "warm_up": 8,
        "workers": 0,
        "bf16": False,
        "stats_every": 1,
    }
    return Schedule(**{**fixed, "report_every": 10**9, "grid_every": 0, **changes})


def supervised(shape: Shape = TINY) -> Supervised:
    torch.manual_seed(0)
    return Supervised(shape)


def small_paper(adversary: str = "wgan-gp", conditioning: str = "absolute") -> Ganimation:
    torch.manual_seed(0)
    generator = PaperGenerator(PaperShape(size_px=64, width=8, blocks=1, conditioning=conditioning))
    critic = CriticShape(**{**SMALL_CRITIC.__dict__, "spectral": adversary == "hinge-sn"})
    return Ganimation(generator, critic, adversary, critic_steps=2)


def lines(out: Path, name: str) -> list[float]:
    """A figure's values in stats.jsonl, in order."""
    stats = [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]
    return [line[name] for line in stats if name in line]
