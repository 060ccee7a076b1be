"""Faces of people who do not exist, drawn by the MobileStyleGAN in the PyPI wheel `random-face`.

The wheel is used as a box of weights only (its own code wants an OpenVINO of 2021): the mapping network turns
a normal 512-vector into w, the synthesis network w into a 1024 px face. A seed names a face, so a corpus is a
range of seeds and can be drawn again anywhere. Expressions are edits of the styles that w becomes (graph.py).

Install with `pip install --no-deps random-face==2021.7.21.1` (its declared needs are for code that is not
used here). Source: Belousov, "MobileStyleGAN", arXiv 2104.04767. The wheel is Apache-2.0; its weights were
distilled from a StyleGAN2 trained on FFHQ, whose own terms are non-commercial.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from engines.errors import PuppetError
from train.stylespace.directions import load_directions
from train.stylespace.masks import MASK_PX, REGIONS

TRUNCATION = 0.85  # towards the mean w: 1.0 draws broken faces now and then, 0.6 draws one family
MEAN_SAMPLES = 2000  # w averaged for the truncation's centre, whose error is 2 % of the spread of w
POSE_STYLES = 10  # styles that a turn of the head may change: later ones hold skin, hair and colour


@dataclass(frozen=True)
class LocalEdit:
    """An expression: what is added to the styles, and where."""

    change: np.ndarray  # (REGIONS, C) float32, over the channels of all styles
    masks: np.ndarray  # (REGIONS, MASK_PX, MASK_PX) float32, 0..1


def find_weights() -> Path:
    """Folder of the wheel's networks. Raises PuppetError when the wheel is missing."""
    spec = find_spec("random_face")
    if spec is None or not spec.submodule_search_locations:
        raise PuppetError(
            "Synthetic faces need the wheel random-face: pip install --no-deps random-face==2021.7.21.1"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


class FaceGenerator:
    """Draws faces by seed, and their edits. Raises PuppetError when the wheel is missing."""

    def __init__(self, threads: int = 2):
        import openvino as ov

        from train.stylespace import graph

        weights = find_weights()
        core = ov.Core()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # two processes were pinned to the same core
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        model = core.read_model(weights / "SynthesisNetwork.xml")
        self._affines = graph.rewrite(model, REGIONS)
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        self._mapping = core.compile_model(weights / "MappingNetwork.xml", "CPU", settings)
        self._mask_sides = graph.local_resolutions()
        self._local = range(graph.FIRST_LOCAL, graph.LAST_LOCAL + 1)
        self._ends = np.cumsum([0] + [len(affine.bias) for affine in self._affines])
        self.directions = load_directions()
        rng = np.random.default_rng(0)
        draws = rng.standard_normal((MEAN_SAMPLES, 1, 512), dtype=np.float32)
        self._mean_w = np.mean([self._mapping(z)[0][0] for z in draws], axis=0)

    @property
    def channels(self) -> int:
        """Of all styles together."""
        return int(self._ends[-1])

    def latent(self, seed: int) -> np.ndarray:
        """w of the person named by `seed`: (512,) float32."""
        z = np.random.default_rng(seed).standard_normal((1, 512), dtype=np.float32)
        return self._mean_w + TRUNCATION * (self._mapping(z)[0][0] - self._mean_w)

    def styles(self, w: np.ndarray, pitch_deg: float = 0.0, yaw_deg: float = 0.0) -> list[np.ndarray]:
        """w (512,), and how far the head is turned from there -> the 23 styles, (C,) float32 each."""
        turned = w + pitch_deg * self.directions.pitch + yaw_deg * self.directions.yaw
        return [
            affine.weight @ (turned if number < POSE_STYLES else w) + affine.bias
            for number, affine in enumerate(self._affines)
        ]

    def draw(self, styles: list[np.ndarray], edit: LocalEdit | None = None) -> np.ndarray:
        """Styles -> (1024, 1024, 3) uint8 BGR."""
        feed = {f"s{number}": style[None].astype(np.float32) for number, style in enumerate(styles)}
        change, masks = (edit.change, edit.masks) if edit else self._no_edit()
        for side in self._mask_sides:
            scaled = [cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA) for mask in masks]
            feed[f"m{side}"] = np.stack(scaled).reshape(REGIONS, -1).astype(np.float32)
        for number in self._local:
            part = change[:, self._ends[number] : self._ends[number + 1]]
            feed[f"d{number}"] = np.ascontiguousarray(part.T, np.float32)
        picture = next(iter(self._request.infer(feed).values()))[0]  # (3, 1024, 1024), -1..1, RGB
        levels = np.clip((picture + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(levels.transpose(1, 2, 0)[:, :, ::-1])

    def _no_edit(self) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.zeros((REGIONS, self.channels), np.float32),
            np.zeros((REGIONS, MASK_PX, MASK_PX), np.float32),
        )

    def face(self, seed: int, size_px: int = 512) -> np.ndarray:
        """The face named by `seed`, as it is: (size_px, size_px, 3) uint8 BGR."""
        return resized(self.draw(self.styles(self.latent(seed))), size_px)


def resized(picture: np.ndarray, size_px: int) -> np.ndarray:
    """What `draw` gives at another size, (size_px, size_px, 3)."""
    return cv2.resize(picture, (size_px, size_px), interpolation=cv2.INTER_AREA)
