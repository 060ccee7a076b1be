"""Is it still the same person?

Cosine between MobileFaceNet embeddings (Chen et al., 2018), for evaluation only.

The network is a file that the user gives (a .tflite with a 112 px RGB input); OpenVINO runs it. Faces are
aligned by five points to the template of the ArcFace family, which such networks are trained on.
"""

from pathlib import Path

import cv2
import numpy as np

from engines.errors import DataError

# Eye centres, nose tip, mouth corners in a 112 px picture; source: insightface, face_align.py.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
LANDMARKS = ((33, 133), (362, 263), (1,), (61,), (291,))


class Identity:
    """Embeds faces. Raises DataError when the network cannot be read."""

    def __init__(self, network: Path):
        import openvino as ov

        try:
            model = ov.Core().compile_model(str(network), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        except RuntimeError as error:
            raise DataError(
                f"{network} is not an identity network that OpenVINO reads: give MobileFaceNet.tflite."
            ) from error
        self._request = model.create_infer_request()
        self._channels_last = model.inputs[0].shape[-1] == 3
        self._batch = model.inputs[0].shape[0]

    def __call__(self, picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 BGR and (478, 2) -> unit vector."""
        points = np.array([landmarks_px[list(group), :2].mean(axis=0) for group in LANDMARKS], np.float32)
        matrix, _ = cv2.estimateAffinePartial2D(points, TEMPLATE, method=cv2.LMEDS)
        pixels = cv2.warpAffine(picture, matrix, (112, 112))[:, :, ::-1].astype(np.float32)
        face = (pixels - np.float32(127.5)) / np.float32(128)
        face = face if self._channels_last else face.transpose(2, 0, 1)
        out = self._request.infer({0: np.repeat(face[None], self._batch, axis=0)})[0][0].copy()
        return out / np.linalg.norm(out)
