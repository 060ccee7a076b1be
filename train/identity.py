"""Is it still the same person?

Cosine between MobileFaceNet embeddings (Chen et al., 2018), for evaluation only.

The network is a file that the user gives (a .tflite with a 112 px RGB input); OpenVINO runs it. Faces are
aligned by five points to the template of the ArcFace family, which such networks are trained on.
"""

from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from engines.errors import DataError

# Eye centres, nose tip, mouth corners in a 112 px picture; source: insightface, face_align.py.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
LANDMARKS = ((33, 133), (362, 263), (1,), (61,), (291,))
SIDE_PX = 112  # of what the network sees
# Parts of a face, shown enlarged: the middle in TEMPLATE, and how much larger
PARTS = {"mouth": ((56.1, 92.3), 2.0), "eyes": ((56.0, 51.6), 1.5)}
PART_MAP_PX = 14  # the last map of this side, averaged, describes a part: what is seen, not yet who it is


class Embed(Protocol):
    """What embeds faces: an Identity, or a double of one."""

    def __call__(self, picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 BGR and (478, 2) landmarks -> unit vector."""
        ...


class Identity:
    """Embeds faces. Raises DataError when the network cannot be read."""

    def __init__(self, network: Path):
        import openvino as ov

        try:
            model = ov.Core().read_model(str(network))
            seen = _last_map(model)
            if seen is not None:
                model.add_outputs([seen])
            compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        except RuntimeError as error:
            raise DataError(
                f"{network} is not an identity network that OpenVINO reads: give MobileFaceNet.tflite."
            ) from error
        self._has_map = seen is not None
        self._request = compiled.create_infer_request()
        self._channels_last = compiled.inputs[0].shape[-1] == 3
        self._batch = compiled.inputs[0].shape[0]

    def __call__(self, picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 BGR and (478, 2) -> unit vector."""
        out = self._infer(picture, _to_template(landmarks_px))[0]
        return out / np.linalg.norm(out)

    def parts(self) -> dict[str, Embed]:
        """What describes a part of a face by itself, by the part's name; none without a map in the network.

        (H, W, 3) uint8 BGR and (478, 2) -> a vector, of the part's look more than of whose it is.
        """
        return {name: partial(self._part, name) for name in PARTS} if self._has_map else {}

    def _part(self, name: str, picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        middle, larger = PARTS[name]
        matrix = larger * _to_template(landmarks_px)
        matrix[:, 2] += SIDE_PX / 2 - larger * np.array(middle)
        return self._infer(picture, matrix)[1].mean(axis=(-2, -1))

    def _infer(self, picture: np.ndarray, matrix: np.ndarray) -> list[np.ndarray]:
        """The outputs for what a (2, 3) affine map lays into the network's square."""
        pixels = cv2.warpAffine(picture, matrix, (SIDE_PX, SIDE_PX))[:, :, ::-1].astype(np.float32)
        face = (pixels - np.float32(127.5)) / np.float32(128)
        face = face if self._channels_last else face.transpose(2, 0, 1)
        found = self._request.infer({0: np.repeat(face[None], self._batch, axis=0)})
        return [value[0].copy() for value in found.values()]


def _to_template(landmarks_px: np.ndarray) -> np.ndarray:
    """(478, 2) -> the (2, 3) similarity that lays the five points on TEMPLATE."""
    points = np.array([landmarks_px[list(group), :2].mean(axis=0) for group in LANDMARKS], np.float32)
    return cv2.estimateAffinePartial2D(points, TEMPLATE, method=cv2.LMEDS)[0]


def _last_map(model: Any) -> Any | None:
    """The last of a model's narrowest sums of PART_MAP_PX x PART_MAP_PX, channels first; None without any.

    Those are the sums of residual blocks.
    """
    sums = [
        node.output(0)
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Add"
        and node.get_output_partial_shape(0).is_static
        and list(node.get_output_shape(0))[2:] == [PART_MAP_PX] * 2
    ]
    return min(reversed(sums), key=lambda output: output.shape[1], default=None)
