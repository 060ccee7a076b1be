"""What the baselines of figure 6 share: batches, the emotions that a run may have, a sheet of samples."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.errors import DataError
from train.data.corpus import Corpus
from train.data.emotions import EMOTIONS
from train.recipes.recipe import Batch, EmotionRecipe, Networks, pictures, signed
from train.report.grids import grid_faces
from train.report.sheets import resized_square, titled


def checked(emotions: tuple[str, ...], least: int, most: int | None, recipe: str) -> tuple[str, ...]:
    """The emotions as they are. Raises DataError for unknown or repeated ones, too few, or too many."""
    unknown = [name for name in emotions if name not in EMOTIONS]
    if unknown:
        raise DataError(
            f"There is no emotion called {unknown[0]!r}: choose --emotions among {', '.join(EMOTIONS)}."
        )
    if len(set(emotions)) != len(emotions) or not least <= len(emotions) <= (most or len(EMOTIONS)):
        need = f"exactly {least}" if most == least else f"{least} or more different"
        raise DataError(
            f"{recipe} learns {need} of the emotions in a run, not {len(emotions)}: give them to --emotions."
        )
    return emotions


def checked_one(emotions: tuple[str, ...], recipe: str) -> tuple[str, ...]:
    """One emotion that is not neutral, for methods that know a single attribute. Raises DataError."""
    if "neutral" in emotions:
        raise DataError(
            f"{recipe} turns neutral faces into one emotion: give --emotions one that is not neutral."
        )
    return checked(emotions, 1, 1, recipe)


def sizes(shape: dict[str, Any], model: str) -> tuple[int, int, tuple[str, ...]]:
    """A recipe's `shape` back into size_px, width, emotions. Raises DataError when it is another recipe's."""
    if shape.get("model") != model:
        raise DataError(
            f"These weights are of {shape.get('model')!r}, not of {model!r}: name the run that you mean."
        )
    return shape["size_px"], shape["width"], tuple(shape["emotions"])


def signed_batch(samples: Batch) -> Batch:
    """A stacked batch of EmotionSamples -> float tensors.

    Returns:
        picture, other (B, 3, S, S) in -1..1; mix (B, 1, 1, 1); the rest as it is.
    """
    batch = dict(samples)
    for name in ("picture", "other"):
        if name in samples:
            batch[name] = signed(pictures(samples[name]))
    return {**batch, "mix": samples["mix"][:, None, None, None]}


def one_hot(label: Tensor, count: int) -> Tensor:
    """(B,) places -> (B, count) float32."""
    return F.one_hot(label, count).to(torch.float32)


def unsigned(picture: Tensor) -> Tensor:
    """-1..1 -> 0..1."""
    return ((picture + 1) / 2).clamp(0, 1)


def sheet(
    recipe: EmotionRecipe, networks: Networks, corpus: Corpus, size_px: int, rows: int = 6
) -> np.ndarray:
    """(H, W, 3) uint8 BGR: held-out faces, and each with every emotion that the recipe knows."""
    faces = np.stack([resized_square(corpus.picture(int(i)), size_px) for i in grid_faces(corpus, rows)])
    device = next(next(iter(networks.values())).parameters()).device
    photos = pictures(torch.from_numpy(faces).to(device))
    columns = [faces]
    for emotion in recipe.emotions:
        made = recipe.translate(networks, photos, emotion)
        if made is None:
            raise ValueError(f"{recipe.name} lists {emotion} and does not translate to it")
        columns.append((made.permute(0, 2, 3, 1) * 255 + 0.5).byte().cpu().numpy())
    named = zip(columns, ("photo", *recipe.emotions), strict=True)
    return np.hstack([np.vstack([titled(picture, name) for picture in column]) for column, name in named])
