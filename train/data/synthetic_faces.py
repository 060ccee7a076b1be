"""Synthetic faces, of people who do not exist, drawn by the MobileStyleGAN in the PyPI wheel `random-face`.

The wheel is used as a box of weights only (its own code wants an OpenVINO of 2021): the mapping network turns
a normal 512-vector into a style, the synthesis network a style into a 1024 px face. A seed names a face, so a
corpus is a range of seeds and can be drawn again anywhere.

Install with `pip install --no-deps random-face==2021.7.21.1` (its declared needs are for code that is not
used here). Source: Belousov, "MobileStyleGAN", arXiv 2104.04767; weights Apache-2.0.
"""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from engines import atomic_file
from engines.errors import DataError, PuppetError
from train.data.folders import make_folder

REVIEWED_SEEDS = range(640)  # seeds whose faces a person has reviewed, to leave out those that may be minors
MAYBE_MINORS = frozenset(
    {
        9,
        11,
        16,
        21,
        23,
        25,
        33,
        75,
        80,
        89,
        95,
        99,
        100,
        104,
        109,
        110,
        120,
        121,
        122,
        135,
        138,
        143,
        170,
        183,
        195,
        201,
        203,
        204,
        206,
        208,
        209,
        211,
        221,
        225,
        231,
        236,
        246,
        258,
        265,
        277,
        281,
        290,
        292,
        297,
        302,
        307,
        314,
        316,
        318,
        332,
        345,
        357,
        361,
        362,
        365,
        371,
        385,
        388,
        389,
        390,
        411,
        412,
        428,
        440,
        442,
        444,
        447,
        448,
        450,
        470,
        473,
        478,
        480,
        481,
        488,
        491,
        492,
        506,
        512,
        513,
        514,
        516,
        520,
        522,
        526,
        527,
        534,
        538,
        544,
        546,
        551,
        556,
        561,
        570,
        576,
        577,
        580,
        582,
        596,
        597,
        599,
        602,
        606,
        609,
        610,
        618,
        621,
        623,
        630,
        635,
    }
)
ADULT_SEEDS = tuple(seed for seed in REVIEWED_SEEDS if seed not in MAYBE_MINORS)
TRUNCATION = 0.85  # towards the mean style: 1.0 draws broken faces now and then, 0.6 draws one family
MEAN_SAMPLES = 2000  # styles averaged for the truncation's centre; the mean moves < 1 % beyond


def adult_seeds(count: int | None = None) -> tuple[int, ...]:
    """The first `count` seeds whose faces were looked at and are adults; None: all.

    Raises DataError for more than there are.
    """
    if count is None:
        return ADULT_SEEDS
    if not 1 <= count <= len(ADULT_SEEDS):
        raise DataError(
            f"Only {len(ADULT_SEEDS)} synthetic faces are reviewed and show adults, not {count}: ask for 1 "
            "to "
            f"{len(ADULT_SEEDS)}."
        )
    return ADULT_SEEDS[:count]


def find_weights() -> Path:
    """Folder of the wheel's networks. Raises PuppetError when the wheel is missing."""
    spec = find_spec("random_face")
    if spec is None or not spec.submodule_search_locations:
        raise PuppetError(
            "Synthetic faces need the wheel random-face: pip install --no-deps random-face==2021.7.21.1"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


class SyntheticFaceGenerator:
    """Draws faces by seed. Raises PuppetError when the wheel is missing."""

    def __init__(self, threads: int = 2):
        import openvino as ov

        weights = find_weights()
        core = ov.Core()
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        self._mapping = core.compile_model(weights / "MappingNetwork.xml", "CPU", settings)
        self._synthesis = core.compile_model(weights / "SynthesisNetwork.xml", "CPU", settings)
        rng = np.random.default_rng(0)
        draws = rng.standard_normal((MEAN_SAMPLES, 1, 512), dtype=np.float32)
        self._mean_style = np.mean([self._mapping(z)[0] for z in draws], axis=0)

    def draw(self, seed: int, size_px: int = 512) -> np.ndarray:
        """The face named by `seed`: (size_px, size_px, 3) uint8 BGR."""
        z = np.random.default_rng(seed).standard_normal((1, 512), dtype=np.float32)
        style = self._mean_style + TRUNCATION * (self._mapping(z)[0] - self._mean_style)
        # (1024, 1024, 3), -1..1, RGB -> BGR
        image = self._synthesis(style)[0][0].transpose(1, 2, 0)[:, :, ::-1]
        image = np.clip((image + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)
        return cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)


def write_faces(folder: Path, seeds: Iterable[int], size_px: int = 512) -> int:
    """Writes nobody-SEED.jpg for every seed that is not there yet; returns how many were drawn.

    Raises DataError, PuppetError.
    """
    from tqdm import tqdm

    if size_px < 1:
        raise DataError(f"No face can be drawn at {size_px} px: give --size 512.")
    make_folder(folder)
    missing = [seed for seed in seeds if not (folder / f"nobody-{seed:06d}.jpg").exists()]
    if not missing:
        return 0
    faces = SyntheticFaceGenerator()
    for seed in tqdm(missing, desc="drawing faces", unit="face"):
        image = faces.draw(seed, size_px)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        path = folder / f"nobody-{seed:06d}.jpg"
        try:
            atomic_file.write_bytes(path, data.tobytes())
        except OSError as error:
            raise DataError(
                f"{path} cannot be written ({error.strerror}): free some space and run it again, the faces "
                "that were drawn are kept."
            ) from error
    return len(missing)
