"""How well photos turn, nod, tilt and look: commanded poses, measured again on the pictures.

    python -m tests.poses PHOTO... [--identity MobileFaceNet.tflite [--corpus CORPUS...]] [--out FOLDER]

Each photo is commanded up to 15 degrees of turn, nod and tilt and up to a full look, one axis at a time, as a
driver commands it, and MediaPipe reads the pictures. No engine takes part: this is the geometry alone. It
looks at the puppet and measures with what training measures with, which never meet elsewhere: so it is here.
With a corpus it is printed, too, how alike real people stay to the identity network while they nod and turn.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engines.errors import PuppetError
from engines.face import au_estimator
from engines.face.action_units import (
    EXPRESSION,
    GAZE_FULL_SIDEWAYS,
    GAZE_FULL_UPWARDS,
    HEAD,
    HEAD_FULL_DEG,
    WIDE,
    from_opposites,
    opposites,
)
from engines.face.landmarks import Face, FaceReader
from engines.face.mesh import FACE_OVAL
from realtime.puppet.eyes import Gaze
from realtime.puppet.head import HALF_HEIGHT, HALF_WIDTH, HEAD_CENTRE, WHOLLY, HeadPose
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from tests.support.fakes import StubEngine
from train.data.corpus import Corpus, load_corpus
from train.identity import Embed, Identity
from train.report import measures
from train.report.sheets import write_png

# What is commanded, by its place among `action_units.opposites`, in units of the AUs.
AXES = {"turn": 0, "nod": 1, "tilt": 2, "gaze sideways": 4, "gaze up": 5}
HEAD_UNITS = np.array([-15, -10, -5, 5, 10, 15]) / HEAD_FULL_DEG
GAZE_UNITS = np.array([-0.75, -0.5, -0.25, 0.25, 0.5, 0.75])
HEAD_WIDTH = 1.86  # outer eye distances: 1.15 times the face's
FAR_HEAD_WIDTHS = 1.4  # from the head's centre: beyond, nothing above the shoulders may change
BESIDE_RADIUS = 1.6  # head radii: between WHOLLY and this a background that moves along is seen to bend
# Of real heads: frames of a clip are compared whose faces do the same and whose other angle is the same
SAME_DEG, SAME_AUS, CLIP_STRIDE = 4.0, 0.45, 2
REAL_DEG = ((0, 2), (6, 9), (9, 12), (12, 16))  # by how much they nod or turn
NOTHING = np.zeros(len(StubEngine().bundle.aus), np.float32)


@dataclass(frozen=True)
class Answer:
    """How one photo answers to one axis."""

    r: float  # between asked and measured
    amplitude: float  # measured a unit of asked, where asked is what the photo bears of the command
    identity: np.ndarray  # (2,) cosine to the still photo at the first and the last command; NaN without
    sharpness: np.ndarray  # (2,) of the face, the still photo's is 1


@dataclass(frozen=True)
class PhotoAnswers:
    """How one photo answers to everything."""

    name: str
    answers: dict[str, Answer]  # by the names of AXES
    far_changed: int  # pixels that changed although they are far from the head
    beside_moving: float  # share of what is beside the head that moves along with a turn
    beside_px: float  # how far that goes at 15 degrees, mean


def measure_photo(
    path: Path, reader: FaceReader, identity: Embed | None = None, out: Path | None = None
) -> PhotoAnswers:
    """Commands every pose of one photo, at its own size.

    Args:
        identity: for the cosines.
        out: folder that the still photo and the furthest poses are written to, every pixel of them.

    Raises: SourceError, OutputError.
    """
    puppet = Puppet.from_file(path, StubEngine())
    look = _Look(puppet.still, reader, identity)
    far = _far_from_head(puppet)
    answers, far_changed = {}, 0
    for axis in AXES:
        asked, pictures = zip(*_commanded(puppet, axis), strict=True)
        answers[axis] = _answer(axis, np.array(asked), pictures, look)
        if not axis.startswith("gaze"):
            far_changed += sum(
                int((picture[far] != puppet.still[far]).any(axis=-1).sum()) for picture in pictures
            )
        if out:
            for end, picture in (("minus", pictures[0]), ("plus", pictures[-1])):
                write_png(out / f"{path.stem}-{axis.replace(' ', '-')}-{end}.png", picture, max_bytes=None)
    if out:
        write_png(out / f"{path.stem}-still.png", puppet.still, max_bytes=None)
    return PhotoAnswers(path.stem, answers, far_changed, *_beside(puppet))


def _commanded(puppet: Puppet, axis: str) -> Iterator[tuple[float, np.ndarray]]:
    """What the photo bears of each command, in units of the AUs, and the picture."""
    place = AXES[axis]
    retarget = Retarget(puppet.bundle, puppet.own_aus)
    for unit in HEAD_UNITS if place < len(HEAD) // 2 else GAZE_UNITS:
        command = np.zeros(len(AXES) + 1, np.float32)
        command[place] = unit
        change = np.concatenate([np.zeros(len(WIDE), np.float32), from_opposites(command)])
        assert len(change) == len(EXPRESSION)
        pose, gaze = retarget.pose(change), retarget.gaze(change)
        asked = _units(puppet.head.limited(pose), gaze)[place]
        yield asked, puppet.render(NOTHING, pose, gaze)


def _units(pose: HeadPose, gaze: Gaze) -> tuple[float, ...]:
    """In the order of `action_units.opposites`."""
    angles = pose.yaw_deg, -pose.pitch_deg, pose.roll_deg
    return (
        *(angle / HEAD_FULL_DEG for angle in angles),
        0.0,
        gaze.right / GAZE_FULL_SIDEWAYS,
        -gaze.down / GAZE_FULL_UPWARDS,
    )


class _Look:
    """Reads pictures of a puppet against its still one."""

    def __init__(self, still: np.ndarray, reader: FaceReader, identity: Embed | None):
        self._reader, self._identity = reader, identity
        face = self.face(still)
        assert face is not None  # or it would be no puppet
        self.pose = opposites(au_estimator.read(face))
        self._sharp = measures.sharpness(still, _outline(face, still))
        self._vector = identity(still, face.landmarks_px) if identity else None

    def face(self, picture: np.ndarray) -> Face | None:
        """The largest one."""
        faces = self._reader.read(picture)
        return faces[0] if faces else None

    def likeness(self, picture: np.ndarray, face: Face) -> float:
        """Cosine to the still picture's."""
        if self._identity is None or self._vector is None:
            return np.nan
        return float(self._identity(picture, face.landmarks_px) @ self._vector)

    def sharpness(self, picture: np.ndarray, face: Face) -> float:
        """Of the face, the still one's is 1."""
        return measures.sharpness(picture, _outline(face, picture)) / self._sharp


def _answer(axis: str, asked: np.ndarray, pictures: Sequence[np.ndarray], look: _Look) -> Answer:
    faces = [look.face(picture) for picture in pictures]
    found = np.array([face is not None for face in faces])
    measured = np.array(
        [opposites(au_estimator.read(face))[AXES[axis]] for face in faces if face is not None]
    )
    response = measures.command_response(asked[found], measured - look.pose[AXES[axis]])
    ends = [(pictures[end], faces[end]) for end in (0, -1)]
    likeness = [np.nan if face is None else look.likeness(picture, face) for picture, face in ends]
    sharpness = [np.nan if face is None else look.sharpness(picture, face) for picture, face in ends]
    return Answer(response.r, response.slope, np.array(likeness), np.array(sharpness))


def _outline(face: Face, picture: np.ndarray) -> np.ndarray:
    """(H, W) bool: the face."""
    return measures.polygon(face.landmarks_px[list(FACE_OVAL), :2], picture.shape[:2])


def _far_from_head(puppet: Puppet) -> np.ndarray:
    """(H, W) bool: what a head that moves may not change, as it is far from it and above its shoulders."""
    height, width = puppet.still.shape[:2]
    centre = puppet.head.centre_px
    ys, xs = np.mgrid[:height, :width]
    far = np.hypot(xs - centre[0], ys - centre[1]) > FAR_HEAD_WIDTHS * HEAD_WIDTH * puppet.head.unit_px
    return far & (ys < centre[1])


def _beside(puppet: Puppet) -> tuple[float, float]:
    """The share of what is beside the head, above the chin, that moves along, and how far it goes at 15
    degrees of turn on average, pixels.

    Of short hair that is background whose edge is not sure; long hair is in it, too.
    """
    layers, head = puppet._layers, puppet.head
    margin = layers.margin_px
    matte = layers.matte[margin : layers.matte.shape[0] - margin, margin : layers.matte.shape[1] - margin]
    pose = head.limited(HeadPose(yaw_deg=15))
    map_px = cv2.resize(head.displacement(pose).away_px, matte.shape[::-1])
    ys, xs = np.mgrid[layers.box]
    x, y = head.upright(np.stack([xs, ys], axis=-1).astype(float))
    radius = np.hypot(x / HALF_WIDTH, (y - HEAD_CENTRE[1]) / HALF_HEIGHT)
    beside = (radius > WHOLLY) & (radius < BESIDE_RADIUS) & (y < HEAD_CENTRE[1])
    if not beside.any():
        return np.nan, np.nan
    moving = matte[beside] / 255
    return float(moving.mean()), float((moving * np.linalg.norm(map_px[beside], axis=-1)).mean())


def real_likeness(corpus: Corpus, identity: Embed) -> dict[tuple[str, int, int], np.ndarray]:
    """How alike real people stay while they nod and turn.

    Returns:
        By the axis and a range of REAL_DEG: the mean cosine of each clip that has three such pairs of frames.
    """
    found: dict[tuple[str, int, int], list[float]] = {}
    frames = np.flatnonzero(corpus.is_clip)[::CLIP_STRIDE]
    for person in np.unique(corpus.person[frames]):
        own = frames[corpus.person[frames] == person]
        vectors = np.stack([identity(corpus.picture(i), corpus.mesh(i)[:, :2]) for i in own])
        one, other = np.triu_indices(len(own), 1)
        cosines = (vectors[one] * vectors[other]).sum(axis=1)
        aus = np.stack([corpus.own(i) for i in own])
        angles = np.abs(corpus.angles_deg[own[one]] - corpus.angles_deg[own[other]])
        alike = np.abs(aus[one] - aus[other]).max(axis=1) < SAME_AUS
        for axis, moved, still in (("nod", 0, 1), ("turn", 1, 0)):
            for least, most in REAL_DEG:
                by = (angles[:, moved] >= least) & (angles[:, moved] < most)
                pairs = by & (angles[:, still] < SAME_DEG) & alike
                if pairs.sum() >= 3:
                    found.setdefault((axis, least, most), []).append(float(cosines[pairs].mean()))
    return {key: np.array(values) for key, values in sorted(found.items())}


def real_table(likeness: dict[tuple[str, int, int], np.ndarray]) -> str:
    """The same for people."""
    return "\n".join(
        [f"{'real heads, degrees':<22}{'clips':>6}{'identity':>10}{'least':>7}"]
        + [
            f"{f'{axis}, {least} - {most}':<22}{len(values):>6}{values.mean():>10.3f}{values.min():>7.3f}"
            for (axis, least, most), values in likeness.items()
        ]
    )


def table(photos: Sequence[PhotoAnswers]) -> str:
    """The figures for people: means over the photos."""
    lines = [
        f"{len(photos)} photos, their own size; identity and sharpness at the furthest commands",
        "",
        f"{'':<16}{'r':>6}{'amplitude':>11}{'least':>7}{'most':>7}{'identity':>10}{'least':>7}"
        f"{'sharpness':>11}",
    ]
    for axis in AXES:
        answers = [photo.answers[axis] for photo in photos]
        amplitudes = np.array([answer.amplitude for answer in answers])
        likeness = np.array([answer.identity for answer in answers])
        sharpness = np.nanmean([answer.sharpness for answer in answers])
        seen = np.isfinite(likeness).any()
        mean, least = (np.nanmean(likeness), np.nanmin(likeness)) if seen else (np.nan, np.nan)
        lines.append(
            f"{axis:<16}{np.mean([answer.r for answer in answers]):>6.3f}{amplitudes.mean():>11.2f}"
            f"{amplitudes.min():>7.2f}{amplitudes.max():>7.2f}{mean:>10.3f}{least:>7.3f}{sharpness:>11.3f}"
        )
    share, px = np.nanmean([(photo.beside_moving, photo.beside_px) for photo in photos], axis=0)
    lines += [
        "",
        f"beside the head, above the chin: {share:.0%} moves along with a turn of 15 degrees, by {px:.1f} px"
        " on average over all of it",
        f"further than {FAR_HEAD_WIDTHS:g} head widths: {sum(photo.far_changed for photo in photos)} pixels"
        " changed",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.poses", description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument("--identity", type=Path, metavar="FILE", help="MobileFaceNet.tflite")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the furthest poses are written as PNG"
    )
    parser.add_argument(
        "--corpus",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="of train.data.prepare, with clips: how alike real people stay while they nod and turn",
    )
    options = parser.parse_args(arguments)
    if options.corpus and not options.identity:
        parser.error("--corpus compares by the identity network: give --identity MobileFaceNet.tflite too")
    try:
        identity = Identity(options.identity) if options.identity else None
        real = real_likeness(load_corpus(options.corpus), identity) if options.corpus and identity else None
        with FaceReader() as reader:
            photos = [measure_photo(path, reader, identity, options.out) for path in options.photos]
    except PuppetError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(table(photos))
    if real is not None:
        print(f"\n{real_table(real)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
