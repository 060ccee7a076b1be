"""MediaPipe's blendshape network by itself: landmarks in, 52 scores out.

The FaceLandmarker feeds 146 of its own landmarks to a small network; it never sees the picture. So the scores
of a mesh that was only imagined (a photo's mesh, moved by an AU) can be had in a millisecond, without drawing
it. Source of the subset: MediaPipe, face_blendshapes_graph.cc.
"""

import tempfile
import zipfile

import numpy as np

from engines.face.landmarks import BLENDSHAPES, find_model

SUBSET = (
    0,
    1,
    4,
    5,
    6,
    7,
    8,
    10,
    13,
    14,
    17,
    21,
    33,
    37,
    39,
    40,
    46,
    52,
    53,
    54,
    55,
    58,
    61,
    63,
    65,
    66,
    67,
    70,
    78,
    80,
    81,
    82,
    84,
    87,
    88,
    91,
    93,
    95,
    103,
    105,
    107,
    109,
    127,
    132,
    133,
    136,
    144,
    145,
    146,
    148,
    149,
    150,
    152,
    153,
    154,
    155,
    157,
    158,
    159,
    160,
    161,
    162,
    163,
    168,
    172,
    173,
    176,
    178,
    181,
    185,
    191,
    195,
    197,
    234,
    246,
    249,
    251,
    263,
    267,
    269,
    270,
    276,
    282,
    283,
    284,
    285,
    288,
    291,
    293,
    295,
    296,
    297,
    300,
    308,
    310,
    311,
    312,
    314,
    317,
    318,
    321,
    323,
    324,
    332,
    334,
    336,
    338,
    356,
    361,
    362,
    365,
    373,
    374,
    375,
    377,
    378,
    379,
    380,
    381,
    382,
    384,
    385,
    386,
    387,
    388,
    389,
    390,
    397,
    398,
    400,
    402,
    405,
    409,
    415,
    454,
    466,
    468,
    469,
    470,
    471,
    472,
    473,
    474,
    475,
    476,
    477,
)


class BlendshapeNet:
    """Scores meshes. Reads the network out of the pinned face model."""

    def __init__(self):
        import openvino as ov

        core = ov.Core()
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        with zipfile.ZipFile(find_model()) as bundle, tempfile.TemporaryDirectory() as folder:
            # OpenVINO reads tflite from files only
            network = bundle.extract("face_blendshapes.tflite", folder)
            self._request = core.compile_model(network, "CPU", settings).create_infer_request()

    def __call__(self, mesh: np.ndarray) -> np.ndarray:
        """(..., 478, 2 or 3) landmarks in any similarity frame -> (..., 52) float32 scores of BLENDSHAPES."""
        flat = np.asarray(mesh, np.float32)[..., list(SUBSET), :2].reshape(-1, 1, len(SUBSET), 2)
        scores = np.stack([self._request.infer({0: points})[0].copy() for points in flat])
        return scores.reshape(*np.shape(mesh)[:-2], len(BLENDSHAPES))
