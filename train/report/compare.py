"""The paper's figure 6: discrete emotions by several methods on the same held-out faces; and a table.

A method is an Editor: it is given a face and an emotion's name. GANimation engines get the emotion's AUs,
baselines its label.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from engines.backends.interface import Engine
from engines.blend import compose
from engines.errors import DataError, OutputError
from engines.face import au_estimator
from engines.face.action_units import PAPER_17
from engines.face.landmarks import FaceReader
from train.data.corpus import FaceCorpus
from train.data.emotions import EMOTIONS, PROTOTYPES, USUAL, prototype, scores
from train.data.folders import make_folder
from train.identity import Embed
from train.report import measures
from train.report.edits import engine_input
from train.report.evaluate import without_nan
from train.report.likeness import split_held_out
from train.report.page import number
from train.report.sheets import sheet, write_png, write_text

SHOWN_EMOTIONS = EMOTIONS[1:]  # neutral is what the faces are edited from
PEOPLE = 3  # in the figure
AT_REST = 0.15  # of an AU that USUAL does not name


class Editor(Protocol):
    """A method that edits faces by the name of an emotion."""

    name: str  # for the figure: at most about 16 letters

    def edit(self, crop: np.ndarray, own: np.ndarray, emotion: str) -> np.ndarray | None:
        """Shows an emotion.

        Args:
            crop: (S, S, 3) uint8 BGR.
            own: (29,) intensities of the crop.
            emotion: name, of SHOWN_EMOTIONS.

        Returns:
            (S, S, 3) uint8, or None for an emotion that it was not made for.
        """
        ...


class EmotionTranslator(Protocol):
    """What is needed of a baseline's recipe (train/recipes/recipe.py, EmotionRecipe)."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> dict[str, Any]:
        """JSON with "size_px"."""
        ...

    def translate(self, networks: Mapping[str, nn.Module], pictures: Tensor, emotion: str) -> Tensor | None:
        """(B, 3, S, S) in 0..1 -> the same showing the emotion; None for one that it was not trained for."""
        ...


class EngineEditor:
    """A GANimation engine that is given an emotion's AUs; other AUs fall to their usual level at rest."""

    def __init__(self, engine: Engine, name: str | None = None):
        self.name = name or engine.bundle.name
        self._engine = engine

    def edit(self, crop: np.ndarray, own: np.ndarray, emotion: str) -> np.ndarray:
        small = _resized(crop, self._engine.bundle.size_px)
        return _resized(
            compose(small, self._engine.run(small, engine_input(self._engine, own, wanted(own, emotion)))),
            len(crop),
        )


class RecipeEditor:
    """A baseline: its recipe and its networks."""

    def __init__(self, recipe: EmotionTranslator, networks: Mapping[str, nn.Module], name: str | None = None):
        self.name = name or recipe.name
        self._recipe, self._networks = recipe, networks

    def edit(self, crop: np.ndarray, _own: np.ndarray, emotion: str) -> np.ndarray | None:
        small = np.ascontiguousarray(_resized(crop, self._recipe.shape["size_px"]))
        weights = next(
            (weight for network in self._networks.values() for weight in network.parameters()), torch.zeros(1)
        )
        picture = torch.from_numpy(small).to(weights.device).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            drawn = self._recipe.translate(self._networks, picture, emotion)
        if drawn is None:
            return None
        pixels = (drawn[0].permute(1, 2, 0).float().clamp(0, 1) * 255 + 0.5).byte().cpu().numpy()
        return _resized(pixels, len(crop))


def _resized(picture: np.ndarray, size_px: int) -> np.ndarray:
    if len(picture) == size_px:
        return picture
    smaller = size_px < len(picture)
    return cv2.resize(
        picture, (size_px, size_px), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    )


def wanted(own: np.ndarray, emotion: str) -> np.ndarray:
    """Intensities (29,) float32 of a face with its own (29,) that shows an emotion in full."""
    goal = np.minimum(own, AT_REST).astype(np.float32)
    for au, usual in USUAL.items():
        places = au_estimator.index((au,))
        goal[places] = np.minimum(own[places], usual)
    named = au_estimator.index(tuple(PROTOTYPES[emotion]))
    goal[named] = prototype(emotion)[named]
    return goal


@dataclass
class MethodTally:
    """What one method did, face by face."""

    error: list[float] = field(default_factory=list)  # squared, to the prototype, over the AUs that it names
    idle_error: list[float] = field(default_factory=list)  # the same of the photo
    found: list[bool] = field(default_factory=list)
    identity: list[float] = field(default_factory=list)
    # One edit a face: for the distance every method has the same count
    features: list[np.ndarray] = field(default_factory=list)
    emotions: set[str] = field(default_factory=set)


def compare(
    editors: Sequence[Editor], corpus: FaceCorpus, out: Path, count: int = 40, identity: Embed | None = None
) -> dict:
    """Edits `count` held-out faces by every method to every emotion, and writes the report into `out`.

    The files are figure-6.png, compare.md and compare.json.

    The Frechet distance is to photos of other held-out people; without `identity` there are neither distances
    nor cosines. Returns the figures. Raises DataError when no one is held out or no method is given.
    """
    if not editors:
        raise DataError("Nothing to compare: name engines or runs of baselines.")
    make_folder(out, OutputError)
    halves = split_held_out(corpus, 2 * count)
    if not len(halves.edited):
        raise DataError("The corpus holds too few people out to compare on: prepare more people.")
    # The calmest first: they are shown
    faces = halves.edited[np.argsort(scores(corpus.aus[halves.edited]).max(axis=1), kind="stable")]
    tallies = {editor.name: MethodTally() for editor in editors}
    if len(tallies) < len(editors):
        raise DataError("Two of the methods have the same name: give their folders different names.")
    rows: list[list[np.ndarray | None]] = []
    names: list[str] = []
    unedited: list[np.ndarray | None] = []
    with FaceReader() as reader:
        embed = _embedder(reader, identity)
        for place, face in enumerate(tqdm(faces, desc="comparing", unit="face", disable=None)):
            crop = corpus.picture(int(face))
            found = reader.read(crop)
            if not found:
                continue
            own = au_estimator.estimate(found[0])
            me = identity(crop, found[0].landmarks_px) if identity else None
            # Identity is read where the photo's eyes, nose and mouth are: an edit in which no face is found
            # counts as it looks.
            at_photo = partial(identity, landmarks_px=found[0].landmarks_px) if identity else None
            unedited.append(me)
            for editor in editors:
                first = editor is editors[0]
                drawn = [editor.edit(crop, own, emotion) for emotion in SHOWN_EMOTIONS]
                _measure_edits(tallies[editor.name], drawn, own, me, reader, at_photo, place)
                if len(names) < PEOPLE * len(editors):
                    rows.append([crop if first else None, *drawn])
                    names.append(editor.name)
        reference = (
            [vector for face in halves.real if (vector := embed(corpus.picture(int(face)))) is not None]
            if identity
            else []
        )
    if not names:
        raise DataError(
            "The landmarker finds no face in any of the held-out crops: prepare the corpus again from "
            "sharper photos."
        )
    result = without_nan(_figures(tallies, reference, unedited, identity is not None))
    write_png(out / "figure-6.png", sheet(rows, ["photo", *SHOWN_EMOTIONS], names, cell_px=150, names_px=110))
    write_text(out / "compare.json", json.dumps(result, indent=1) + "\n")
    write_text(out / "compare.md", table(result))
    return result


def _embedder(reader: FaceReader, identity: Embed | None) -> Callable[[np.ndarray], np.ndarray | None]:
    def embed(picture: np.ndarray) -> np.ndarray | None:
        found = reader.read(picture)
        return identity(picture, found[0].landmarks_px) if found and identity else None

    return embed


def _measure_edits(
    tally: MethodTally,
    drawn: list[np.ndarray | None],
    own: np.ndarray,
    me: np.ndarray | None,
    reader: FaceReader,
    embed: Callable[[np.ndarray], np.ndarray] | None,
    place: int,
) -> None:
    """Measures one method's edits of one face, in the order of SHOWN_EMOTIONS, into its tally."""
    vectors: list[np.ndarray] = []
    for emotion, picture in zip(SHOWN_EMOTIONS, drawn, strict=True):
        if picture is None:
            continue
        tally.emotions.add(emotion)
        if embed is not None and me is not None:
            vectors.append(embed(picture))
            tally.identity.append(measures.cosine(me, vectors[-1]))
        again = reader.read(picture)
        tally.found.append(bool(again))
        if not again:
            continue
        goal, named = prototype(emotion), [PAPER_17.index(au) for au in PROTOTYPES[emotion]]
        tally.error.append(
            float(np.mean(au_estimator.paper_17(au_estimator.estimate(again[0]) - goal)[named] ** 2))
        )
        tally.idle_error.append(float(np.mean(au_estimator.paper_17(own - goal)[named] ** 2)))
    if vectors:
        tally.features.append(vectors[place % len(vectors)])


def _figures(
    tallies: dict[str, MethodTally],
    reference: list[np.ndarray],
    unedited: list[np.ndarray | None],
    identity: bool,
) -> dict:
    counts = [len(tally.features) for tally in tallies.values() if tally.features]
    size = min([len(reference), len(unedited), *counts]) if counts else 0
    methods = {}
    for name, tally in tallies.items():
        known, cosines = len(tally.features) >= size >= 2, np.array(tally.identity)
        methods[name] = {
            "frechet": measures.frechet(np.array(reference[:size]), np.array(tally.features[:size]))
            if known
            else None,
            "identity_cosine": float(cosines.mean()) if len(cosines) else None,
            "identity_cosine_p5": float(np.percentile(cosines, 5)) if len(cosines) else None,
            "au_error": float(np.sqrt(np.mean(tally.error))) if tally.error else None,
            "au_error_of_idle": float(np.sqrt(np.mean(tally.error) / np.mean(tally.idle_error)))
            if tally.error
            else None,
            "landmarks_found": float(np.mean(tally.found)) if tally.found else None,
            "emotions": [emotion for emotion in SHOWN_EMOTIONS if emotion in tally.emotions],
            "edits": len(tally.found),
        }
    undone = measures.frechet(np.array(reference[:size]), np.array(unedited[:size])) if size >= 2 else None
    result = {
        "faces": len(unedited),
        "identity_known": identity,
        "frechet_samples": size,
        "frechet_unedited": undone,
    }
    return {**result, "estimator": au_estimator.VERSION, "methods": methods}


def table(result: dict) -> str:
    """compare.md of what was measured."""
    if not result["identity_known"]:
        distance = "No identity network, so neither distance nor cosines (--identity MobileFaceNet.tflite)."
    elif result["frechet_samples"] < 2:
        distance = "Too few faces for a Frechet distance."
    else:
        distance = (
            f"Frechet: squared distance on identity features of {result['frechet_samples']} edits to as many "
            "other people's photos, biased "
            "upwards by so few; set it against the unedited photos' own."
        )
    same = "1" if result["identity_known"] else "-"
    lines = [
        "# Emotions by several methods",
        "",
        f"{result['faces']} held-out faces, each edited to {', '.join(SHOWN_EMOTIONS)}, where a method knows "
        "the emotion. AU error: RMSE of the AUs "
        f"that the emotion names, measured again by {result['estimator']} where it finds a face, as a share "
        "of the photo's own (1 is what doing "
        f"nothing gives). Identity is read at the photo's landmarks. {distance}",
        "",
        "| method | Frechet | identity cosine | 5th percentile | AU error | landmarks found | emotions |",
        "|---|---|---|---|---|---|---|",
        f"| unedited | {number(result['frechet_unedited'], '.4f')} | {same} | {same} | 1 | | |",
    ]
    for name, row in result["methods"].items():
        lines.append(
            f"| {name} | {number(row['frechet'], '.4f')} | {number(row['identity_cosine'])} | "
            f"{number(row['identity_cosine_p5'])} "
            f"| {number(row['au_error_of_idle'], '.2f')} | {number(row['landmarks_found'], '.1%')} | "
            f"{', '.join(row['emotions']) or 'none'} |"
        )
    return "\n".join([*lines, "", "![figure 6](figure-6.png)", ""])
