"""The paper's figure 1: a photo goes through expressions, as an MP4, a sheet, or a WebP of several."""

import csv
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from engines import atomic_file
from engines.backends.interface import Engine
from engines.errors import OutputError
from engines.face.action_units import WIDE
from train.report.clips import frames_of
from train.report.edits import EXPRESSIONS, wanted_at
from train.report.photos import Photo
from train.report.program import animate
from train.report.sheets import sheet

FPS = 25
# Up and down, at the height, between: about the pace of acted expressions
RAMP_S, HOLD_S, REST_S = 0.5, 0.4, 0.15
MAX_SIDE_PX = 720  # of the film: it plays everywhere and stays small
# Of a face in the animated picture: three of them and all expressions are half a megabyte
MONTAGE_PX, MONTAGE_FPS = 256, 12
# The same where heads move: whole pictures change, and cost twice as much
MOVING_PX, MOVING_QUALITY = 160, 40
SEAM_S = 0.3  # where what is laid over a picture that loops begins again
SHOWN = (0.0, 0.25, 0.5, 0.75, 1.0)  # of an expression's way up, on the sheet


def eased(share: float) -> float:
    """0..1 -> 0..1, standing still at both ends: faces neither start nor stop with a jerk."""
    return share * share * (3 - 2 * share)


def expression_sequence(own: np.ndarray, fps: float = FPS) -> Iterator[np.ndarray]:
    """Intensities (29,) frame by frame: from a photo's own expression up to each of EXPRESSIONS, and back."""
    ramp, hold, rest = (max(1, round(seconds * fps)) for seconds in (RAMP_S, HOLD_S, REST_S))
    up = [eased((step + 1) / ramp) for step in range(ramp)]
    for _, names, level in EXPRESSIONS:
        height = wanted_at(own, names, level)
        for share in [0.0] * rest + up + [1.0] * hold + up[-2::-1] + [0.0] * rest:
            yield (own + share * (height - own)).astype(np.float32)


def write_film(engine: Engine, photo: Photo, path: Path, fps: int = FPS) -> Path:
    """Writes the largest face's story as H.264 (yuv420p, plays in browsers).

    Raises OutputError when it cannot be written.
    """
    import av

    height, width = photo.image.shape[:2]
    scale = min(1.0, MAX_SIDE_PX / max(height, width))
    size = (2 * round(width * scale / 2), 2 * round(height * scale / 2))  # yuv420p halves both
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_file.replacing(path) as temporary,
            av.open(str(temporary), "w", "mp4", {"movflags": "+faststart"}) as container,
        ):
            stream = container.add_stream(
                "libx264", rate=Fraction(fps), options={"crf": "20", "preset": "veryfast"}
            )
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for wanted in expression_sequence(photo.subjects[0].own, fps):
                picture = cv2.resize(photo.showing(engine, [wanted]), size, interpolation=cv2.INTER_AREA)
                container.mux(
                    stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture, np.uint8), format="bgr24"))
                )
            container.mux(stream.encode(None))
    except (av.FFmpegError, OSError) as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}): free some space or choose another --out."
        ) from error
    return path


def write_montage(engine: Engine, photos: Sequence[Photo], path: Path) -> Path:
    """Writes the largest face of each photo, side by side, as one animated WebP in a loop.

    Each is an expression ahead of the one before it. Raises OutputError when it cannot be written.
    """
    parts = []
    for place, photo in enumerate(photos):
        sequence = list(expression_sequence(photo.subjects[0].own, MONTAGE_FPS))
        ahead = place * len(sequence) // len(EXPRESSIONS)
        shifted = sequence[ahead:] + sequence[:ahead]
        parts.append([_close_up(photo, photo.showing(engine, [wanted])) for wanted in shifted])
    return _write_loop(parts, path)


def write_moving_montage(
    photos: Sequence[Path], over: Sequence[str], path: Path, engine: str = "default", device: str = "auto"
) -> Path:
    """The same drawn by run.py, with curves laid over the expressions, such as those of head and eyes.

    Args:
        photos: files.
        over: curves with the groups that they drive, as of --driver; each is stretched to the loop's length.
        path: of the WebP.
        engine, device: as of run.py.

    Raises: DataError, OutputError.
    """
    sequence = np.array(list(expression_sequence(np.zeros(len(WIDE), np.float32), MONTAGE_FPS)))
    turn_s = len(sequence) / MONTAGE_FPS
    stretched = [f"{curve}@duration={turn_s + SEAM_S:g}@loop={SEAM_S:g}" for curve in over]
    options = ["--size", f"{MOVING_PX}x{MOVING_PX}", "--fps", str(MONTAGE_FPS), "--no-badge"]
    # Twice, of which the second turn is shown: it begins where the first one ends
    options += ["--seconds", f"{2 * turn_s:g}", "--engine", engine, "--device", device]
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for place, photo in enumerate(photos):
            ahead = place * len(sequence) // len(EXPRESSIONS)
            curve = _write_curve(np.tile(np.roll(sequence, -ahead, axis=0), (2, 1)), Path(folder) / "act.csv")
            film = animate(photo, [str(curve), *stretched], Path(folder) / "film.mp4", options)
            parts.append(_read_frames(film)[-len(sequence) :])
    return _write_loop(parts, path, MOVING_QUALITY)


def _write_curve(sequence: np.ndarray, path: Path) -> Path:
    """Changes (T, 29) at MONTAGE_FPS as an AU curve."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["time_s", *WIDE])
        rows.writerows(
            [f"{number / MONTAGE_FPS:.4f}", *(f"{value:.4f}" for value in row)]
            for number, row in enumerate(sequence)
        )
    return path


def _read_frames(film: Path) -> list[np.ndarray]:
    return [frame.image for frame in frames_of(film)]


def _write_loop(parts: Sequence[Sequence[np.ndarray]], path: Path, quality: int = 60) -> Path:
    """Writes films of as many frames each, (h, w, 3) BGR, side by side as a WebP. Raises OutputError."""
    pictures = [Image.fromarray(np.hstack(row)[..., ::-1]) for row in zip(*parts, strict=True)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file.replacing(path) as temporary:
            pictures[0].save(
                temporary,
                "WEBP",
                save_all=True,
                append_images=pictures[1:],
                duration=round(1000 / MONTAGE_FPS),
                loop=0,
                quality=quality,
                method=6,
            )
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}): free some space or choose another --out."
        ) from error
    return path


def _close_up(photo: Photo, picture: np.ndarray) -> np.ndarray:
    """The square around the largest face, (TOGETHER_PX, TOGETHER_PX, 3)."""
    crop = photo.subjects[0].crop
    centre = crop.to_frame(np.array([[(crop.size_px - 1) / 2] * 2]))[0]
    height, width = picture.shape[:2]
    side = min(height, width, crop.size_px * crop.frame_px_per_crop_px)
    left, top = np.clip(centre - side / 2, 0, np.array([width, height]) - side).astype(int)
    close = picture[top : top + int(side), left : left + int(side)]
    return cv2.resize(close, (MONTAGE_PX, MONTAGE_PX), interpolation=cv2.INTER_AREA)


def progress_sheet(engine: Engine, photo: Photo) -> np.ndarray:
    """A row an expression: the largest face on its way there."""
    subject, rows = photo.subjects[0], []
    for _, names, level in EXPRESSIONS:
        height = wanted_at(subject.own, names, level)
        rows.append(
            [
                subject.showing(engine, (subject.own + share * (height - subject.own)).astype(np.float32))
                for share in SHOWN
            ]
        )
    return sheet(rows, [f"{share:.0%}" for share in SHOWN], [name for name, _, _ in EXPRESSIONS], cell_px=192)
