"""A photo and an engine: render(AUs) -> picture. Everything that depends on the photo alone is done once, at
start.

The engine edits a small crop; engines.blend draws the edit at the canvas' own resolution, moved as the head
moves. Eyes look within the photo's own pixels, before both.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from engines.backends.interface import Edit, Engine
from engines.blend import Blender, prefiltered, prefiltered_layers
from engines.bundle import Bundle
from engines.errors import SourceError
from engines.face import au_estimator
from engines.face.action_units import WIDE, sides
from engines.face.crop import cut, find_crop
from engines.face.landmarks import Face, FaceReader
from engines.face.photo import load_photo
from engines.face.tiles import SMALLEST_FACE_PX
from realtime.puppet.background import take_apart
from realtime.puppet.canvas import lay_out, own_size
from realtime.puppet.eyes import CropWithEyes, Eyes, Gaze, Look
from realtime.puppet.face_choice import LARGEST, MAX_FACES, choose
from realtime.puppet.hand_at_face import has_hand
from realtime.puppet.head import HeadGeometry, HeadPose
from realtime.puppet.lips import parted

GOOD_FACE_PX = 100.0  # height of a face that makes a puppet; one that is smaller is said to be blurred
FREE_DEG = 10.0  # a head that cannot turn so far is said to be hemmed in
GAZE_STEP = 0.004  # of an eye's width, a third of a pixel at 720p: eyes that rest on something are drawn once
LID_STEP = 0.02  # of AU05, likewise
# The same of the eyes that the engine is shown, whose part for the photo is run anew then; what it paints of
# them shows a pixel of its crop at best
SHOWN_GAZE_STEP, SHOWN_LID_STEP = 0.03, 0.25
AT_REST, AHEAD = HeadPose(), Gaze()


class Puppet:
    """One photo that takes on expressions, poses and gazes. `render` is for one thread."""

    def __init__(
        self,
        photo: np.ndarray,
        engine: Engine,
        size: tuple[int, int] | None = None,
        fit: str = "auto",
        say: Callable[[str], None] = lambda _: None,
        face_model: Path | None = None,
        choice: str = LARGEST,
    ):
        """
        Args:
            photo: (H, W, 3) uint8 BGR.
            size: (width, height) of the output; default: the photo's own.
            choice: of the face, as face_choice.check_choice lets it pass.

        Raises: SourceError.
        """
        faces = read_faces(photo, face_model, everywhere=choice != LARGEST)
        face = choose(faces, choice)
        if len(faces) > 1 and choice == LARGEST:
            say(
                f"The photo shows {len(faces)} faces; the largest is animated. Which one shall it be? "
                "--face left, right or a number says so; --face-sheet FILE.png numbers them."
            )
        if (height_px := _height_px(face)) < GOOD_FACE_PX:
            say(
                f"The face in the photo is only {height_px:.0f} px high, and the puppet will be blurred: use "
                "one of 200 px or more."
            )
        photo_crop = find_crop(face, engine.bundle.size_px)
        canvas = lay_out(photo, photo_crop, size or own_size(photo), fit)
        self.still = canvas.image  # (H, W, 3) uint8 BGR: what is shown when nothing is asked
        self.own = au_estimator.read(face)  # (41,) the photo's expression, pose and gaze, read as a driver's
        self.own_aus = au_estimator.estimate(face)  # (29,) 0..1
        self.crop = photo_crop.moved(canvas.canvas_from_photo)
        self._engine = engine
        self._crop_at_rest = cut(photo, photo_crop)
        self._crop_at_rest.flags.writeable = False  # engines may keep what cannot change
        self._crop_picture = self._crop_at_rest  # with eyes that look as they are drawn
        wide_crop = self.crop.moved(canvas.wide_from_canvas)
        mesh_px = _moved(_moved(face.mesh_px, canvas.canvas_from_photo), canvas.wide_from_canvas)
        self._window, self._wide = canvas.window, canvas.wide.copy()  # copies: the eyes are drawn into them
        self._blender = Blender(wide_crop, self._wide, engine.bundle.flow_px, window=canvas.window)
        self.head = HeadGeometry(mesh_px, canvas.photo)
        others = [
            _moved(_moved(other.mesh_px, canvas.canvas_from_photo), canvas.wide_from_canvas)
            for other in faces
            if other is not face
        ]
        with ThreadPoolExecutor(1) as beside:  # a tenth of a second that a start does not wait for
            hand = beside.submit(has_hand, canvas.wide, mesh_px, self.head)
            layers = take_apart(canvas.wide, mesh_px, self.head, others)
        self._layers = prefiltered_layers(layers, self.head.follows)
        self.head.heed_edges(self._layers)
        if hand.result():
            self.head.heed_hand()
            say(
                "The photo shows a hand at the face, which would bend with it: the head turns by "
                f"{self.head.limits.turn:.0f} degrees and no further. Use a photo without one."
            )
        elif self.head.limits.turn < FREE_DEG:
            say(
                f"The head can turn by {self.head.limits.turn:.0f} degrees in this photo and no further: use"
                " one that shows more around the head."
            )
        self._eyes = Eyes(canvas.wide, mesh_px)
        self._crop_with_eyes = CropWithEyes(self._crop_at_rest, canvas.wide, wide_crop, self._eyes.boxes)
        self._look_drawn = self._look_shown = Look()  # in the photo, and in the engine's crop
        named = sides("AU05") if sides("AU05")[0] in engine.bundle.aus else ("AU05",)
        known = engine.bundle.conditioning == "relative" and set(named) <= set(engine.bundle.aus)
        self._lid_raisers = [engine.bundle.aus.index(au) for au in named if known]
        lips = [engine.bundle.aus.index(au) for au in ("AU25", "AU26") if au in engine.bundle.aus]
        self._lips_and_jaw = lips if len(lips) == 2 and engine.bundle.conditioning == "relative" else []
        self._own_apart = float(self.own_aus[WIDE.index("AU25")])

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        engine: Engine,
        size: tuple[int, int] | None = None,
        fit: str = "auto",
        say: Callable[[str], None] = lambda _: None,
        face_model: Path | None = None,
        choice: str = LARGEST,
    ) -> "Puppet":
        """Raises SourceError naming the file."""
        photo = load_photo(path, say)
        try:
            return cls(photo, engine, size, fit, say, face_model, choice)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from error

    @property
    def bundle(self) -> Bundle:
        return self._engine.bundle

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of what `render` returns."""
        return self.still.shape[1], self.still.shape[0]

    def edit(self, aus: np.ndarray) -> Edit:
        """What the engine says about the photo's crop for (N,) AUs in the bundle's order and conditioning."""
        return self._engine.run(self._crop_picture, aus)

    def render(self, aus: np.ndarray, pose: HeadPose = AT_REST, gaze: Gaze = AHEAD) -> np.ndarray:
        """What the puppet looks like.

        Args:
            aus: (N,) AUs in the bundle's order and conditioning.
            pose: of the head, relative to the photo's own; followed as far as the photo bears it.
            gaze: relative to the photo's own.

        Returns:
            A new (H, W, 3) uint8 BGR picture; the still one, byte for byte, where nothing is asked.
        """
        picture = self.still.copy()
        aus, raised = self._without_raised_lids(aus)
        aus = self._with_parted_lips(aus)
        look = Look(gaze, raised).rounded(GAZE_STEP, LID_STEP)
        asked = bool(aus.any()) or self._engine.bundle.conditioning != "relative"
        if not asked and pose.at_rest and look.at_rest:
            return picture
        self._look(look)
        edit = self.edit(aus) if asked else None
        if not pose.at_rest:
            if not look.at_rest:
                self._show_eyes(picture)
            displacement = self.head.displacement(self.head.limited(pose))
            self._blender.blend_moved(picture, edit, self._layers, displacement)
        elif edit is not None:
            self._blender.blend(picture, edit)
        else:
            self._show_eyes(picture)
        return picture

    def _without_raised_lids(self, aus: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
        """AUs for the engine, and what the eyes do themselves: AU05, the right one first, in 0..1."""
        asked = aus[self._lid_raisers]
        if not (asked > 0).any():
            return aus, (0.0, 0.0)
        aus = aus.copy()
        aus[self._lid_raisers] = np.minimum(asked, 0)
        right, left = (float(each) for each in np.clip(asked, 0, 1)[[0, -1]])
        return aus, (right, left)

    def _with_parted_lips(self, aus: np.ndarray) -> np.ndarray:
        """AUs for the engine, whose generator lets shut lips stick."""
        if not self._lips_and_jaw:
            return aus
        lips, jaw = self._lips_and_jaw
        aus = aus.copy()
        aus[lips] = parted(float(aus[lips]), float(aus[jaw]), self._own_apart)
        return aus

    def _look(self, look: Look) -> None:
        """Draws the eyes into the photo, and into the person before the background."""
        if look == self._look_drawn:
            return
        layers, self._look_drawn = self._layers, look
        corner = layers.box[0].start - layers.margin_px, layers.box[1].start - layers.margin_px
        for box, pixels in zip(self._eyes.boxes, self._eyes.look(look), strict=True):
            self._wide[box] = pixels
            inner = tuple(
                slice(part.start - at, part.stop - at) for part, at in zip(box, corner, strict=True)
            )
            person = layers.person[inner]
            np.copyto(person, prefiltered(pixels), where=(layers.matte[inner] == 255)[..., None])
        self._show_engine(look.rounded(SHOWN_GAZE_STEP, SHOWN_LID_STEP))

    def _show_engine(self, look: Look) -> None:
        """Draws the eyes into the crop."""
        if look == self._look_shown:
            return
        self._look_shown = look
        if look.at_rest:
            self._crop_picture = self._crop_at_rest
        else:
            self._crop_picture = self._crop_with_eyes.of(self._eyes.look(look))

    def _show_eyes(self, picture: np.ndarray) -> None:
        """The eyes as they look, at their place in the still picture."""
        rows, columns = self._window
        for box in self._eyes.boxes:
            top, bottom = (max(box[0].start, rows.start), min(box[0].stop, rows.stop))
            left, right = (max(box[1].start, columns.start), min(box[1].stop, columns.stop))
            if top < bottom and left < right:
                shown = (
                    slice(top - rows.start, bottom - rows.start),
                    slice(left - columns.start, right - columns.start),
                )
                picture[shown] = self._wide[top:bottom, left:right]


def read_faces(photo: np.ndarray, face_model: Path | None = None, everywhere: bool = True) -> list[Face]:
    """The faces in a (H, W, 3) uint8 BGR photo, the largest first.

    Args:
        everywhere: whether small ones are looked for beside large ones.

    Raises: SourceError where there is none, with the reason as far as it can be known.
    """
    with FaceReader(max_faces=MAX_FACES, model=face_model) as reader:
        if faces := reader.read(photo, everywhere=everywhere):
            return faces
        if reader.read(photo[::-1, ::-1]):
            raise SourceError("The face in the photo is upside down: turn the photo by 180 degrees.")
        if small := reader.read(photo, SMALLEST_FACE_PX / 2):
            raise SourceError(
                f"The face in the photo is only {_height_px(small[0]):.0f} px high, too small to be animated:"
                f" use a photo in which it has {GOOD_FACE_PX:.0f} px or more."
            )
    raise SourceError(
        "No face was found in the photo: use one that shows a face from the front, well lit, at least"
        f" {GOOD_FACE_PX:.0f} px high."
    )


def _height_px(face: Face) -> float:
    _, top, _, bottom = face.box_px
    return bottom - top


def _moved(mesh_px: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(478, 3) landmarks with depth, by a (2, 3) transform of one scale and no turn."""
    places = mesh_px[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return np.column_stack([places, mesh_px[:, 2] * matrix[0, 0]])
