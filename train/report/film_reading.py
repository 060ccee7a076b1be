"""What the judges of `transfer` see in a film: dlib's distances, head and gaze, brows; each picture is read
as it is and in a mirror.

A mirror changes nothing that a face does, but landmarks come out elsewhere. The mean of both readings is what
counts; half of their difference is how far the judge errs (its tremble), which no puppet can make good.
"""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.face import au_estimator
from engines.face.action_units import GAZE_FULL_SIDEWAYS, GAZE_FULL_UPWARDS, opposites
from engines.face.landmarks import BLENDSHAPES, Face, FaceReader
from engines.face.mesh import align
from train.identity import Embed
from train.report.clips import frames_of
from train.report.dlib_opinion import SecondOpinion
from train.report.face_distances import (
    DISTANCES,
    MESH_OF_68,
    brows_by_darkness,
    freed_distances,
    gaze_by_darkness,
    head_angles,
)

POSE = ("head turn", "head nod", "head tilt", "gaze sideways", "gaze up")

# Places in DISTANCES and signs in POSE by which a mirrored film is turned back
_OTHER_SIDES = {"eye right": "eye left", "brow right": "brow left"}
_OTHER_SIDES |= {left: right for right, left in _OTHER_SIDES.items()}
_TURNED_BACK = [DISTANCES.index(_OTHER_SIDES.get(name, name)) for name in DISTANCES]
_MIRRORED_POSE = np.array([-1, 1, -1, -1, 1])
GAZE_FULL = np.array([GAZE_FULL_SIDEWAYS, GAZE_FULL_UPWARDS])
# Eyes that are open by less than this share of the film's median show no gaze: in a blink both judges see the
# iris go down by three quarters of a full look.
OPEN_SHARE = 0.6


@dataclass(frozen=True)
class Reading:
    """Values (T, N), and how far the judge errs in them, (T, N): NaN where no face is found."""

    values: np.ndarray
    tremble: np.ndarray

    @classmethod
    def of(cls, plain: np.ndarray, mirrored: np.ndarray) -> "Reading":
        """From the readings of a film and of its mirror image, which was turned back."""
        return cls((plain + mirrored) / 2, (plain - mirrored) / 2)

    @classmethod
    def exact(cls, values: np.ndarray) -> "Reading":
        """Of what nobody has to judge."""
        return cls(values, np.zeros_like(values))

    def column(self, place: int) -> "Reading":
        """(T,) of one."""
        return Reading(self.values[:, place], self.tremble[:, place])

    def part(self, places: list[int]) -> "Reading":
        """Some of the columns."""
        return Reading(self.values[:, places], self.tremble[:, places])

    def first(self, count: int) -> "Reading":
        """Some of the frames."""
        return Reading(self.values[:count], self.tremble[:count])


@dataclass(frozen=True)
class Film:
    """What is read of one film, frame by frame; NaN where no face is found, and the gaze where eyes are
    shut."""

    distances: Reading  # (T, 9) in the order of DISTANCES
    mesh_distances: Reading  # (T, 9) the same of MediaPipe's landmarks where dlib's are
    pose: Reading  # (T, 5) in the order of POSE, degrees and units of the gaze's AUs, by MediaPipe
    pose_by_dlib: Reading  # (T, 5) the same, of which the gaze by the picture's darkness
    brows: Reading  # (T, 2) heights by the picture's darkness, the right one first
    lids: Reading  # (T, 2) how far the eyes are open by MediaPipe's mesh, the right one first, eye widths
    blendshapes: np.ndarray  # (T, 52)
    identity: np.ndarray  # (T,) cosine to the first frame, or NaN

    def first(self, count: int) -> "Film":
        """Its first frames."""
        return Film(
            distances=self.distances.first(count),
            mesh_distances=self.mesh_distances.first(count),
            pose=self.pose.first(count),
            pose_by_dlib=self.pose_by_dlib.first(count),
            brows=self.brows.first(count),
            lids=self.lids.first(count),
            blendshapes=self.blendshapes[:count],
            identity=self.identity[:count],
        )


def read_film(
    path: Path,
    second: SecondOpinion,
    embed: Embed | None = None,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda _sentence: None,
) -> Film:
    """Reads a clip by both estimators, as it is and in a mirror.

    Args:
        embed: an Identity.
        seconds: of the clip's beginning; None: all of it.
        say: called with a sentence for each thing that is wrong with the file, as far as it is read.

    Raises: DataError.
    """
    with ExitStack() as stack:
        plain, mirrored = (_View(stack.enter_context(FaceReader(video=True)), second) for _ in range(2))
        likeness = _Likeness(embed)
        frames = stack.enter_context(closing(frames_of(path, say)))
        for frame in frames:
            if seconds is not None and frame.time_s >= seconds:
                break
            for view in (plain, mirrored, likeness):
                view.hold(frame.place)  # as a film holds the frame before
            face = plain.see(frame.image, frame.time_s)
            mirrored.see(np.ascontiguousarray(frame.image[:, ::-1]), frame.time_s)
            likeness.see(frame.image, face)
    shut = plain.shut()

    def distances(name: str) -> Reading:
        return Reading.of(plain.distances(name), mirrored.distances(name)[:, _TURNED_BACK])

    def pose(name: str) -> Reading:
        own, turned_back = plain.column(name), mirrored.column(name) * _MIRRORED_POSE
        return Reading.of(_without_gaze(own, shut), _without_gaze(turned_back, shut))

    def sides(name: str) -> Reading:
        return Reading.of(plain.column(name), mirrored.column(name)[:, ::-1])

    return Film(
        distances=distances("points"),
        mesh_distances=distances("mesh_points"),
        pose=pose("pose"),
        pose_by_dlib=pose("pose_by_dlib"),
        brows=sides("brows"),
        lids=sides("lids"),
        blendshapes=plain.column("blendshapes"),
        identity=np.array(likeness.rows),
    )


def _without_gaze(pose: np.ndarray, shut: np.ndarray) -> np.ndarray:
    """(T, 5) in the order of POSE, its last two NaN where (T,) bool."""
    gaze = np.array([name.startswith("gaze") for name in POSE])
    return np.where(shut[:, None] & gaze, np.nan, pose)


@dataclass(frozen=True)
class _Seen:
    """What is read of one picture; NaN without a face."""

    points: np.ndarray  # (68, 2) dlib's
    mesh_points: np.ndarray  # (68, 2) MediaPipe's where dlib's are
    angles_deg: np.ndarray  # (3,) pitch, yaw, roll by MediaPipe
    pose: np.ndarray  # (5,)
    pose_by_dlib: np.ndarray  # (5,)
    brows: np.ndarray  # (2,)
    blendshapes: np.ndarray  # (52,)
    lids: np.ndarray  # (2,)


_NO_FACE = _Seen(*(np.full(shape, np.nan) for shape in ((68, 2), (68, 2), 3, 5, 5, 2, len(BLENDSHAPES), 2)))


class _View:
    """Reads pictures one after another."""

    def __init__(self, reader: FaceReader, second: SecondOpinion):
        self._reader, self._second = reader, second
        self._seen: list[_Seen] = []

    def hold(self, count: int) -> None:
        """Repeats the last picture until there are `count`."""
        while self._seen and len(self._seen) < count:
            self._seen.append(self._seen[-1])

    def see(self, picture: np.ndarray, time_s: float) -> Face | None:
        """Reads a picture (H, W, 3); returns its face."""
        face = self._reader.follow(picture, time_s)
        self._seen.append(_NO_FACE if face is None else self._read(picture, face))
        return face

    def _read(self, picture: np.ndarray, face: Face) -> _Seen:
        points = self._second.points(picture, face.landmarks_px)
        aligned, pose = align(face.mesh_px)
        pitch, yaw, roll = pose.angles_deg
        by_dlib = head_angles(points, picture.shape[:2])
        return _Seen(
            points,
            face.landmarks_px[list(MESH_OF_68)],
            pose.angles_deg,
            np.array([yaw, -pitch, roll, *opposites(au_estimator.read(face))[4:]]),
            np.array([by_dlib[1], -by_dlib[0], by_dlib[2], *gaze_by_darkness(picture, points) / GAZE_FULL]),
            brows_by_darkness(picture, face.landmarks_px),
            face.blendshapes,
            au_estimator.lid_apertures(aligned),
        )

    def shut(self) -> np.ndarray:
        """(T,) bool: where no gaze is to be seen."""
        aperture = self.column("lids").mean(axis=1)
        least = max(
            OPEN_SHARE * np.nanmedian(aperture), au_estimator.lid_scale().shut + au_estimator.OPEN_ENOUGH
        )
        return ~(aperture >= least)

    def column(self, name: str) -> np.ndarray:
        """(T, ...) one of the fields of _Seen."""
        return np.array([getattr(one, name) for one in self._seen])

    def distances(self, name: str) -> np.ndarray:
        """(T, 9) in the order of DISTANCES, of a field of _Seen with 68 points."""
        return freed_distances(self.column(name), self.column("angles_deg"))


class _Likeness:
    """The cosine of each picture to the first one with a face."""

    def __init__(self, embed: Embed | None):
        self._embed = embed
        self._first: np.ndarray | None = None
        self.rows: list[float] = []

    def hold(self, count: int) -> None:
        while self.rows and len(self.rows) < count:
            self.rows.append(self.rows[-1])

    def see(self, picture: np.ndarray, face: Face | None) -> None:
        if self._embed is None or face is None:
            self.rows.append(np.nan)
            return
        vector = self._embed(picture, face.landmarks_px)
        self._first = vector if self._first is None else self._first
        self.rows.append(float(vector @ self._first))
