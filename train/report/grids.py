"""Pictures to look at while a run goes on: rows of held-out people, columns of edits."""

from pathlib import Path

import cv2
import numpy as np
import torch

from engines.expression import ESTIMATED
from train.data.corpus import Corpus
from train.networks.compact import CompactGenerator, compose

COLUMNS: tuple[tuple[str, ...], ...] = (
    (), ("AU12",), ("AU06", "AU12", "AU25"), ("AU25",), ("AU25", "AU26"), ("AU04",), ("AU01", "AU02"), ("AU05",), ("AU45",), ("AU09",), ("AU10",),
    ("AU14",), ("AU15",), ("AU17",), ("AU20",), ("AU23",),
)  # fmt: skip
LEVELS = (0.0, 0.33, 0.66, 1.0)


def edit(network: CompactGenerator, picture: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(S, S, 3) uint8 BGR and a change (17,) -> result, colour (S, S, 3) uint8, attention (S, S), flow (S/2, S/2, 2)."""
    photo = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        colour, attention, flow = network(photo, torch.from_numpy(change)[None])
        result = compose(photo, colour, attention, flow)
    as_picture = lambda x: (x[0].permute(1, 2, 0).clamp(0, 1) * 255 + 0.5).byte().numpy()  # noqa: E731
    return as_picture(result), as_picture(colour), attention[0, 0].numpy(), flow[0].permute(1, 2, 0).numpy()


def titled(picture: np.ndarray, text: str) -> np.ndarray:
    out = np.ascontiguousarray(picture.copy())
    cv2.putText(out, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(out, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return out


def wanted_at(own: np.ndarray, names: tuple[str, ...], level: float) -> np.ndarray:
    """The change (17,) float32 that brings the named AUs from a photo's own to `level`."""
    wanted = own.copy()
    wanted[[ESTIMATED.index(name) for name in names]] = level
    return (wanted - own).astype(np.float32)


def grid_faces(corpus: Corpus, count: int) -> np.ndarray:
    """Held-out faces for grids: some resting, some expressive, the same every time."""
    held = np.flatnonzero(corpus.held_out & ~corpus.is_clip & (np.abs(corpus.angles_deg[:, 1]) < 25))
    if len(held) == 0:
        held = np.arange(len(corpus))
    held = np.random.default_rng(5).permutation(held)
    rest = corpus.own[held][:, [ESTIMATED.index("AU12"), ESTIMATED.index("AU25")]].max(axis=1) < 0.2
    return np.concatenate([held[rest][: count * 2 // 3], held[~rest]])[:count]


def write_grid(network: CompactGenerator, corpus: Corpus, path: Path, rows: int = 8) -> None:
    """Rows of people: common expressions at full strength, all AUs at rest, A and C; then the first person, every AU at every level."""
    faces = grid_faces(corpus, rows)
    lines = []
    for face in faces:
        picture, own = corpus.picture(int(face)), corpus.own[face]
        line = [
            titled(edit(network, picture, wanted_at(own, names, 1.0))[0], "+".join(n[2:] for n in names) or "zero") for names in COLUMNS
        ]
        line.append(titled(edit(network, picture, -own)[0], "rest"))
        _, colour, attention, _ = edit(network, picture, wanted_at(own, ("AU12", "AU25", "AU26"), 1.0))
        line += [titled(cv2.cvtColor((attention * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR), "A 12+25+26"), titled(colour, "C")]
        lines.append(np.hstack(line))
    picture, own = corpus.picture(int(faces[0])), corpus.own[faces[0]]
    for level in LEVELS:
        line = [titled(edit(network, picture, wanted_at(own, (au,), level))[0], f"{au[2:]} {level:g}") for au in ESTIMATED]
        line += [np.zeros_like(picture)] * (len(COLUMNS) + 3 - len(line))
        lines.append(np.hstack(line))
    cv2.imwrite(str(path), cv2.resize(np.vstack(lines), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA))
