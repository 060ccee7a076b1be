"""Every file of a folder once through the program: what comes out, as a table.

python -m tests.cases FOLDER                          # with a stub in the place of the engine
python -m tests.cases FOLDER --engine default         # with an engine

Pictures are used as photos and as drivers, everything else as drivers. Nothing is asked; nothing is kept.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from engines.errors import DriverError
from engines.face.photo import is_animation
from engines.face.picture_file import is_called_picture, is_litter, is_picture
from engines.video.clip_index import read_index
from engines.video.clip_reader import ClipReader
from realtime.audio.clip_sound import has_sound
from realtime.commands import animate
from tests.conftest import SAMPLES
from tests.support.fakes import StubEngine

PHOTO = SAMPLES / "man.jpg"
CURVE = SAMPLES / "smile.csv"
PHOTO_S = 0.5  # of a curve, on each photo
SIZE = "320x240"
USUAL = (" driven by ", "wrote ", " pictures in ")  # what is said of every run
HEADER = ("file", "as", "frames", "lasts", "status", "pictures", "seconds", "size", "sound", "took", "said")


@dataclass(frozen=True)
class Outcome:
    """What came of one file."""

    name: str
    role: str  # photo, driver
    frames: int  # of the file, by the packets in it; 0 for what is no clip
    lasts_s: float
    status: int
    pictures: int
    seconds: float
    size: str  # of the pictures
    sound: bool
    took_s: float
    said: tuple[str, ...]

    def cells(self) -> tuple[str, ...]:
        """As the table has it."""
        sound = "yes" if self.sound else ""
        written = (str(self.pictures), f"{self.seconds:.2f}", self.size) if self.pictures else ("", "", "")
        said = " ".join(self.said)
        held = (str(self.frames), f"{self.lasts_s:.2f}") if self.frames else ("", "")
        took = f"{self.took_s:.1f} s"
        return (self.name, self.role, *held, str(self.status), *written, sound, took, said)


class _ClosingStub(StubEngine):
    def close(self) -> bool:
        return True


def run(path: Path, role: str, engine: str | None) -> Outcome:
    """One file, in one role. engine: a bundle; None: the stub."""
    source, driver = (path, CURVE) if role == "photo" else (PHOTO, path)
    seconds = ["--seconds", str(PHOTO_S)] if role == "photo" else []
    said = io.StringIO()
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        arguments = ["--source", str(source), "--driver", str(driver), "--output", str(film), *seconds]
        arguments += ["--size", SIZE] if role == "driver" else []
        arguments += ["--engine", engine] if engine else []
        settings = {"PUPPET_SETTINGS": folder}
        with redirect_stderr(said), redirect_stdout(io.StringIO()), patch.dict(os.environ, settings):
            status = _main(arguments, engine)
        took_s = time.perf_counter() - started_s
        lines = [line for line in said.getvalue().splitlines() if not any(usual in line for usual in USUAL)]
        sentences = tuple(line.replace(f"{path.parent}{os.sep}", "").strip() for line in lines)
        given = (path.name, role, *_length(path), status)
        if not film.exists():
            return Outcome(*given, 0, 0.0, "", False, took_s, sentences)
        with ClipReader(film) as clip:
            frames = list(iter(clip.read, None))
            height, width = frames[0].image.shape[:2]
            seconds_s = clip.index.duration_s
        drawn = (len(frames), seconds_s, f"{width}x{height}", has_sound(film))
        return Outcome(*given, *drawn, took_s, sentences)


def _length(path: Path) -> tuple[int, float]:
    """Frames and seconds of a clip; of anything else none."""
    if is_picture(path):
        return 0, 0.0
    try:
        index = read_index(path)
    except DriverError:
        return 0, 0.0
    return len(index.pts), index.duration_s


def _main(arguments: list[str], engine: str | None) -> int:
    if engine:
        return animate.main(arguments)
    with (
        patch("realtime.session.engine.load_bundle", lambda _name: _ClosingStub().bundle),
        patch("realtime.session.engine.load_live", lambda *_a, **_o: _ClosingStub()),
    ):
        return animate.main(arguments)


def roles(path: Path) -> tuple[str, ...]:
    """In what places of the command line a file could be meant."""
    if is_picture(path) or is_called_picture(path):
        return ("driver", "photo") if is_animation(path) else ("photo", "driver")
    return ("driver",)


def table(outcomes: list[Outcome]) -> str:
    """Markdown."""
    rows = [HEADER, tuple("---" for _ in HEADER), *(outcome.cells() for outcome in outcomes)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cases", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of files that a user may give")
    parser.add_argument("--engine", help="a bundle that draws, instead of the stub")
    options = parser.parse_args(arguments)
    files = sorted(path for path in options.folder.iterdir() if path.is_file() and not is_litter(path.name))
    if not files:
        parser.error(f"there are no files in {options.folder}")
    outcomes = []
    for path in files:
        for role in roles(path):
            outcomes.append(run(path, role, options.engine))
            print(f"{path.name} as {role}: status {outcomes[-1].status}", file=sys.stderr)
    print(table(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
