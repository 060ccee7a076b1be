"""Sample grids of a run: rows of held-out people, columns of edits.

For any generator: with flow or without, conditioned on changes of AUs or on intensities.
"""

import cv2
import numpy as np
import torch

from engines.face.action_units import PAPER_17, WIDE, translate
from engines.face.au_estimator import index
from train.data.corpus import FaceCorpus
from train.networks.compact import compose
from train.networks.from_shape import Generator
from train.report.edits import LEVELS, wanted_at
from train.report.sheets import mask_picture, resized_square, titled

COLUMNS: tuple[tuple[str, ...], ...] = (
    (),
    ("AU12",),
    ("AU06", "AU12", "AU25"),
    ("AU25",),
    ("AU25", "AU26"),
    ("AU04",),
    ("AU01", "AU02"),
    ("AU05",),
    ("AU45",),
    ("AU09",),
    ("AU10",),
    ("AU14",),
    ("AU15",),
    ("AU17",),
    ("AU20",),
    ("AU23",),
)
# As many as there is room for
BEYOND_17 = tuple(au for au in WIDE if au not in PAPER_17 and au[:4] not in ("AU05", "AU07"))
SCALE = 0.7  # of the crop's size in a grid
MAX_CELL_PX = 128  # nineteen columns of more are wider than a screen, and TensorBoard keeps every grid
MIN_CELL_PX = 64  # smaller ones hold no title
BATCH_SIZE = 16  # edits a forward pass: bounds memory at 256 px
Edited = tuple[np.ndarray, np.ndarray, np.ndarray]


def generator_input(network: Generator, own: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The AU input (N,) float32 of a generator, by its conditioning: wanted minus own intensities, or wanted.

    Args:
        network: decides conditioning and AUs.
        own: (29,) intensities of the photo.
        wanted: (29,) intensities.
    """
    relative = getattr(network.shape, "conditioning", "relative") == "relative"
    return translate(wanted - own if relative else wanted, WIDE, network.shape.au_names)


@torch.no_grad()
def edits(network: Generator, picture: np.ndarray, aus: np.ndarray) -> list[Edited]:
    """Edits a picture.

    Args:
        network: the generator.
        picture: (S, S, 3) uint8 BGR.
        aus: (n, N) the generator's AU inputs.

    Returns:
        n times result, colour (S, S, 3) uint8, attention (S, S).
    """
    device = next(network.parameters()).device
    photo = torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float() / 255
    found: list[Edited] = []
    for start in range(0, len(aus), BATCH_SIZE):
        inputs = torch.from_numpy(np.asarray(aus[start : start + BATCH_SIZE], np.float32)).to(device)
        photos = photo.expand(len(inputs), -1, -1, -1)
        colour, attention, flow = network(photos, inputs)
        result = compose(photos, colour.float(), attention.float(), None if flow is None else flow.float())
        results, colours = (
            (x.permute(0, 2, 3, 1).clamp(0, 1) * 255 + 0.5).byte().cpu().numpy()
            for x in (result, colour.float())
        )
        found += zip(results, colours, attention[:, 0].float().cpu().numpy(), strict=True)
    return found


def grid_faces(corpus: FaceCorpus, count: int) -> np.ndarray:
    """Held-out faces for grids: some resting, some expressive, the same every time."""
    held = np.flatnonzero(corpus.held_out & ~corpus.is_clip & (np.abs(corpus.angles_deg[:, 1]) < 25))
    if len(held) == 0:
        held = np.arange(len(corpus))
    held = np.random.default_rng(5).permutation(held)
    rest = corpus.aus[held][:, index(("AU12", "AU25"))].max(axis=1) < 0.2
    return np.concatenate([held[rest][: count * 2 // 3], held[~rest]])[:count]


def crop_for(network: Generator, corpus: FaceCorpus, face: int) -> np.ndarray:
    """A face's crop at the size that the generator was made for."""
    picture, size = corpus.picture(int(face)), network.shape.size_px
    return (
        picture if len(picture) == size else cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    )


def grid(network: Generator, corpus: FaceCorpus, rows: int = 8) -> np.ndarray:
    """(H, W, 3) uint8 BGR.

    Rows of people: common expressions at full strength, all AUs at rest, A and C; then the first person,
    every AU at every level and, by a generator that knows sides, the other AUs on one side alone.
    """
    faces, lines = grid_faces(corpus, rows), []
    for face in faces:
        picture, own = crop_for(network, corpus, face), corpus.own(face)
        wanted = [
            *(wanted_at(own, names, 1.0) for names in COLUMNS),
            np.zeros_like(own),
            wanted_at(own, ("AU12", "AU25", "AU26"), 1.0),
        ]
        *shown, (_, colour, attention) = edits(
            network, picture, np.array([generator_input(network, own, w) for w in wanted])
        )
        titles = [*("+".join(n[2:] for n in names) or "zero" for names in COLUMNS), "rest"]
        line = [(result, title) for (result, _, _), title in zip(shown, titles, strict=True)]
        lines.append(_line([*line, (mask_picture(attention), "A 12+25+26"), (colour, "C")]))
    picture, own = crop_for(network, corpus, faces[0]), corpus.own(faces[0])
    table = [[(au, level, f"{au[2:]} {level:g}") for au in PAPER_17] for level in LEVELS]
    if network.shape.au_names == WIDE:
        table.append([(au, 1.0, au[2:]) for au in BEYOND_17])
    for row in table:
        shown = edits(
            network,
            picture,
            np.array([generator_input(network, own, wanted_at(own, (au,), level)) for au, level, _ in row]),
        )
        line = [(result, title) for (result, _, _), (_, _, title) in zip(shown, row, strict=True)]
        lines.append(_line(line + [(np.zeros_like(picture), "")] * (len(COLUMNS) + 3 - len(line))))
    return np.vstack(lines)


def _line(cells: list[tuple[np.ndarray, str]]) -> np.ndarray:
    side = max(min(round(SCALE * cells[0][0].shape[0]), MAX_CELL_PX), MIN_CELL_PX)
    return np.hstack([titled(resized_square(picture, side), text) for picture, text in cells])
