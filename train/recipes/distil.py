"""Distillation: a compact generator learns to answer as a larger one does, from photos alone.

The teacher is any bundle (train/recipes/ganimation.py's paper network, a wider compact one); it runs as an
engine, so nothing of how it was made is needed. Photos are the corpus', wanted AUs are other faces'
(train.data.faces); no pairs, no critic.

    L = picture |I_s - I_t|_1 + colour |(1 - A_t)(C_s - C_t)|_1 + attention |A_s - A_t|_1 + flow |F_s - F_t|_1


after Hinton et al., "Distilling the knowledge in a neural network" (2015): the student sees the teacher's
inner answers, too.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from engines.bundle import Bundle
from engines.errors import DataError
from engines.face.action_units import WIDE, translate
from engines.runtime.load import LoadOptions, load
from train.data.corpus import Corpus
from train.data.faces import FaceSamples
from train.networks.compact import CompactGenerator, Shape, compose
from train.networks.from_shape import generator_of
from train.recipes.recipe import Batch, Networks, Turn, detached, pictures
from train.recipes.supervised import edge_difference
from train.report.edits import engine_input
from train.report.grids import grid


@dataclass(frozen=True)
class DistillationWeights:
    picture: float = 4.0
    edges: float = 3.0  # as in the supervised stage: L1 alone is content with a blur
    colour: float = 4.0
    attention: float = 1.0
    flow: float = 0.1  # per pixel of a 256 px crop


class Distil:
    """A Recipe with a teacher. Raises DataError when the student's crops or AUs are not the teacher's."""

    name = "distil"
    averaged = ("generator",)
    betas = (0.9, 0.99)
    rate = 6e-4
    clip = 1.0

    def __init__(self, shape: Shape, teacher: Bundle, weights: DistillationWeights = DistillationWeights()):
        if shape.size_px != teacher.size_px:
            raise DataError(
                f"The teacher {teacher.name} edits {teacher.size_px} px crops: train its student with --size "
                f"{teacher.size_px}."
            )
        if shape.au_names != teacher.aus:
            raise DataError(
                f"The teacher {teacher.name} takes other AUs than {shape.vocabulary}: a student takes its "
                "teacher's."
            )
        if not teacher.flow_px and shape.flow:
            raise DataError(
                f"The teacher {teacher.name} has no flow to learn from: train its student with --no-flow."
            )
        self.networks = {"generator": CompactGenerator(shape)}
        self.shape: dict[str, Any] = {"generator": shape.as_dict(), "teacher": teacher.sha256}
        self._teacher, self._weights = teacher, weights

    def dataset(self, corpus: Corpus, seed: int, held_out: bool = False) -> "TeacherSamples":
        return TeacherSamples(FaceSamples(corpus, seed, self._teacher.size_px, held_out), self._teacher)

    def batch(self, samples: Batch) -> Batch:
        batch = {
            "picture": pictures(samples["picture"]),
            "change": samples["change"],
            "colour": pictures(samples["colour"]),
            "attention": samples["attention"][:, None],
        }
        return batch | ({"flow": samples["flow"].permute(0, 3, 1, 2)} if "flow" in samples else {})

    def turns(self, _step: int) -> list[Turn]:
        return [Turn(("generator",), lambda batch: self._loss(self.networks, batch))]

    def _loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        terms = distillation_terms(networks["generator"](batch["picture"], batch["change"]), batch)
        total = sum(getattr(self._weights, name) * value for name, value in terms.items())
        return total, detached(terms)

    def watch(self, networks: Networks, batch: Batch) -> dict[str, float]:
        loss, terms = self._loss(networks, batch)
        return {"loss": float(loss), **{name: float(value) for name, value in terms.items()}}

    def picture(self, networks: Networks, corpus: Corpus) -> np.ndarray:
        return grid(generator_of(networks), corpus)


def distillation_terms(outputs: tuple[Tensor, Tensor, Tensor | None], batch: Batch) -> dict[str, Tensor]:
    """The terms of the loss, by name.

    Args:
        outputs: the student's colour, attention, flow.
        batch: picture; and the teacher's colour (B, 3, S, S), attention (B, 1, S, S), flow (B, 2, s, s) if
            it has one.
    """
    colour, attention, flow = outputs
    teacher_flow, size = batch.get("flow"), colour.shape[-1]
    result = compose(batch["picture"], colour, attention, flow)
    wanted = compose(batch["picture"], batch["colour"], batch["attention"], teacher_flow)
    terms = {
        "picture": (result - wanted).abs().mean(),
        "edges": edge_difference(result, wanted, torch.ones_like(attention)),
        "colour": ((1 - batch["attention"]) * (colour - batch["colour"]))
        .abs()
        .mean(),  # where the teacher shows its colour
        "attention": (attention - batch["attention"]).abs().mean(),
    }
    if flow is not None and teacher_flow is not None:
        same = interpolate(teacher_flow, size=flow.shape[-2:], mode="bilinear", align_corners=False)
        terms["flow"] = (flow - same).abs().mean() * (256 / size)
    return terms


class TeacherSamples(Dataset):
    """Faces with a teacher's answers.

    The engine is opened once in each loader process, when its first sample is read.
    """

    def __init__(self, faces: FaceSamples, teacher: Bundle):
        self._faces, self._bundle = faces, teacher

    @cached_property
    def _teacher(self):
        cv2.setNumThreads(1)
        return load(self._bundle, "cpu", LoadOptions(threads=1))

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        face = self._faces[number]
        edit = self._teacher.run(face["picture"], engine_input(self._teacher, face["own"], face["wanted"]))
        change = translate(face["wanted"] - face["own"], WIDE, self._bundle.aus)
        answer = {"change": change, "colour": edit.colour.copy(), "attention": edit.attention.copy()}
        return {**face, **answer, **({"flow": edit.flow.copy()} if edit.flow is not None else {})}
