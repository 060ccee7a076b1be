"""ARKit's blendshapes, as phones with a depth camera send them, as action units and back, by one table.

A face is 52 shapes, 0 to 1, and where the head points. Where the eyes look is in eight of the shapes. What
cannot be said in AUs (the tongue, puffed cheeks, a jaw that moves sideways) is left out.

Sources: Apple, "ARFaceAnchor.BlendShapeLocation", for what each shape is; Ekman, Friesen, Hager, "Facial
Action Coding System" (2002), for the AU of the same movement.
"""

from dataclasses import dataclass

import numpy as np

from engines.face.action_units import (
    EXPRESSION,
    GAZE_FULL_SIDEWAYS,
    GAZE_FULL_UPWARDS,
    HEAD_FULL_DEG,
    NEARNESS_FULL,
    WIDE,
    from_opposites,
    opposites,
    sides,
)
from engines.face.au_estimator import BROW_BLENDSHAPES, FROM_BLENDSHAPES, SQUINT_FULL

# In the order of Apple's documentation, which is that of Unreal's EARFaceBlendShape too.
SHAPES: tuple[str, ...] = (
    *(
        f"eye{movement}{side}"
        for side in ("Left", "Right")
        for movement in ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
    ),
    *("jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"),
    *("mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp"),
    *("browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight"),
    *("noseSneerLeft", "noseSneerRight", "tongueOut"),
)
PLACE: dict[str, int] = {name: place for place, name in enumerate(SHAPES)}

# AU -> the shape of the same movement; one that is named without its side is two shapes. AU25 is not in it:
# see `_lips_part`.
SHAPE_OF: dict[str, str] = {
    "AU01": "browInnerUp",
    "AU02": "browOuterUp",
    "AU04": "browDown",
    "AU05": "eyeWide",
    "AU06": "cheekSquint",
    "AU07": "eyeSquint",
    "AU09": "noseSneer",
    "AU10": "mouthUpperUp",
    "AU12": "mouthSmile",
    "AU14": "mouthDimple",
    "AU15": "mouthFrown",
    "AU17": "mouthShrugLower",
    "AU18": "mouthPucker",
    "AU20": "mouthStretch",
    "AU22": "mouthFunnel",
    "AU23": "mouthPress",
    "AU26": "jawOpen",
    "AU45": "eyeBlink",
}
# The value of a shape that counts as full intensity. MediaPipe's network was made to give ARKit's numbers, so
# what was fitted for it goes for the shapes of the same names; others are 1, as Apple defines them.
FULL: dict[str, float] = (
    dict.fromkeys(SHAPE_OF, 1.0)
    | {au: full for au, (_, full) in FROM_BLENDSHAPES.items()}
    | {au: full for au, (_, full, _) in BROW_BLENDSHAPES.items()}
    | {"AU07": SQUINT_FULL}
)
# Of AU25, a mouth that is wide open: what a lower lip alone uncovers while the jaw is shut.
PARTED_BY_LIP = 0.4
# How far an eye has turned at 1 of eyeLookIn or eyeLookOut, and of eyeLookUp or eyeLookDown: from the frames
# that the documents of iFacialMocap and Facemotion3d print, which have shapes and angles of the same eye.
LOOK_FULL_DEG = (40.0, 35.5)
# Of an eye's width, the radius on which the iris turns: 12 mm of 30 mm.
EYEBALL = 0.4
# In units of the gaze's AUs, an eye turned by LOOK_FULL_DEG.
LOOK_FULL = tuple(
    EYEBALL * float(np.sin(np.deg2rad(angle))) / full
    for angle, full in zip(LOOK_FULL_DEG, (GAZE_FULL_SIDEWAYS, GAZE_FULL_UPWARDS), strict=True)
)
REFERENCE_M = 0.5  # from the camera: nearness is 0 there, and only its changes mean something
NEAREST_M = 0.15  # less is no distance from a camera


@dataclass(frozen=True)
class ArkitFace:
    """A face at one moment, as ARKit measures it."""

    shapes: np.ndarray  # (52,) float32, 0..1, in the order of SHAPES
    head_deg: np.ndarray  # (3,) float32: turn (the person's left +), nod (up +), tilt (left +)
    distance_m: float = REFERENCE_M  # from the camera; REFERENCE_M where it is not known


def both_sides(stem: str) -> tuple[str, ...]:
    """The shapes that a name stands for: itself, or its right and its left."""
    return (stem,) if stem in PLACE else (stem + "Right", stem + "Left")


def _table() -> tuple[np.ndarray, np.ndarray]:
    """(52, 29) shapes -> AUs, and (29, 52) AUs -> shapes; both leave AU25 out."""
    aus_from_shapes = np.zeros((len(SHAPES), len(WIDE)), np.float32)
    shapes_from_aus = np.zeros((len(WIDE), len(SHAPES)), np.float32)
    for au, stem in SHAPE_OF.items():
        shapes = [PLACE[name] for name in both_sides(stem)]
        columns = [WIDE.index(name) for name in sides(au)]
        pairs = zip(shapes, columns, strict=True) if len(shapes) == len(columns) else None
        for shape, column in pairs or [(shape, columns[0]) for shape in shapes]:
            aus_from_shapes[shape, column] = len(columns) / (len(shapes) * FULL[au])
            shapes_from_aus[column, shape] = FULL[au]
    return aus_from_shapes, shapes_from_aus


_AUS_FROM_SHAPES, _SHAPES_FROM_AUS = _table()
_PARTED, _JAW = WIDE.index("AU25"), WIDE.index("AU26")
_LOWER_LIP = [PLACE[name] for name in both_sides("mouthLowerDown")]


def reading(face: ArkitFace) -> np.ndarray:
    """A face -> (41,) float32 in the order of EXPRESSION, as `au_estimator.read` gives one of a picture: AUs
    of which a rest can be taken off, and where head and eyes point."""
    aus = face.shapes @ _AUS_FROM_SHAPES
    aus[_PARTED] = _lips_part(face.shapes)
    distance_m = face.distance_m if face.distance_m >= NEAREST_M else REFERENCE_M
    nearness = np.log(REFERENCE_M / distance_m) / np.log(NEARNESS_FULL)
    pose = [*face.head_deg / HEAD_FULL_DEG, nearness, *look(face.shapes) * LOOK_FULL]
    return np.concatenate([aus, from_opposites(np.array(pose, np.float32))])


def face_of(expression: np.ndarray) -> ArkitFace:
    """The way back: a change (41,) from rest in the order of EXPRESSION -> a face that shows it.

    What is below 0 is left out, as shapes begin at rest.
    """
    aus = np.clip(expression[: len(WIDE)], 0, 1)
    shapes = aus @ _SHAPES_FROM_AUS
    shapes[PLACE["mouthClose"]] = max(0.0, aus[_JAW] - aus[_PARTED]) * FULL["AU26"]
    shapes[_LOWER_LIP] = max(0.0, aus[_PARTED] - aus[_JAW]) / PARTED_BY_LIP
    pose = opposites(expression[: len(EXPRESSION)])
    shapes += look_shapes(*(pose[4:] / LOOK_FULL))
    distance_m = REFERENCE_M / NEARNESS_FULL ** float(pose[3])
    return ArkitFace(np.clip(shapes, 0, 1).astype(np.float32), pose[:3] * HEAD_FULL_DEG, distance_m)


def look(shapes: np.ndarray) -> np.ndarray:
    """(2,) float32: how far both eyes look to the person's left and up, -1..1, of shapes (52,)."""
    left_out, left_in, right_out, right_in, up, down = (
        shapes[[PLACE[name] for name in names]].mean()
        for names in (
            ("eyeLookOutLeft",),
            ("eyeLookInLeft",),
            ("eyeLookOutRight",),
            ("eyeLookInRight",),
            both_sides("eyeLookUp"),
            both_sides("eyeLookDown"),
        )
    )
    return np.array([(left_out - left_in + right_in - right_out) / 2, up - down], np.float32)


def look_shapes(left: float, up: float) -> np.ndarray:
    """The way back: (52,) float32, of which only the eyeLook shapes are set."""
    shapes = np.zeros(len(SHAPES), np.float32)
    for names, value in (
        (("eyeLookOutLeft", "eyeLookInRight"), left),
        (("eyeLookInLeft", "eyeLookOutRight"), -left),
        (both_sides("eyeLookUp"), up),
        (both_sides("eyeLookDown"), -up),
    ):
        shapes[[PLACE[name] for name in names]] = np.clip(value, 0, 1)
    return shapes


def _lips_part(shapes: np.ndarray) -> float:
    """AU25 of shapes (52,): what the jaw opens and the lips do not close, and what the lower lip uncovers."""
    jaw = max(0.0, float(shapes[PLACE["jawOpen"]] - shapes[PLACE["mouthClose"]])) / FULL["AU26"]
    return jaw + PARTED_BY_LIP * float(shapes[_LOWER_LIP].mean())
