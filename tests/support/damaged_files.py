"""Files of every kind that a user gives, small and whole, and what damage does to them.

python -m tests.support.damaged_files SEED COUNT      # one JSON object: what came of COUNT damaged files
"""

import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
from PIL import Image

from engines.bundle import load_bundle
from engines.errors import PuppetError
from engines.face.action_units import WIDE
from engines.face.photo import load_photo
from engines.video.clip_index import read_index
from realtime.audio.clip_sound import ClipSound, has_sound
from realtime.performance.load import load_curve
from realtime.puppet import settings
from realtime.sources.clip import Clip, is_clip
from realtime.tracking import driver_profile
from tests.conftest import SAMPLES
from tests.support.clip_files import numbered, write_clip

PHOTO_KINDS = {
    "jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF", "bmp": "BMP",
    "jp2": "JPEG2000", "avif": "AVIF", "ppm": "PPM",
}  # fmt: skip
OPENFACE = b"frame, timestamp, success, AU12_r, AU12_c\n1, 0.0, 1, 0.5, 1\n2, 0.1, 1, 5, 1\n3, 0.2, 0, 0, 0\n"
KEYFRAMES = (
    b'{"version": 1, "aus": ["AU12"], "keyframes": [{"time_s": 0, "AU12": 0}, {"time_s": 2, "AU12": 1}]}'
)
CURVE = b"time_s,AU12,AU25\n0,0,0\n0.5,0.8,-0.3\n1,1,0\n"
PRESET = b'[mine]\nstrength = 1.2\ngroups = ["mouth"]\n\n[mine.AU12]\ngain = 1.1\n'
# A clip that was damaged in its headers may claim any duration: so much of its sound is asked for.
SOUND_S = 2.0
CLIP_KINDS = ("mp4", "mkv", "webm", "avi", "ts", "flv", "wmv")
Edit = tuple[str, float, bytes]  # what is done, where (of the file's length), with what
EDITS = ("replace", "insert", "remove", "cut", "repeat")


def damaged(data: bytes, edits: list[Edit]) -> bytes:
    """A file after edits, each of a few bytes."""
    for what, place, new in edits:
        at = int(place * len(data))
        if what == "cut":
            data = data[:at]
            continue
        middle = {"replace": new, "insert": new + data[at : at + len(new)], "remove": b""}.get(
            what, data[at : at + len(new)] * 3
        )
        data = data[:at] + middle + data[at + len(new) :]
    return data


def seeds() -> dict[str, bytes]:
    """A small, whole file of each kind, by its name."""
    with Image.open(SAMPLES / "man.jpg") as image:
        image.thumbnail((120, 120))
        small = image.copy()
    files = {"curve.csv": CURVE, "openface.csv": OPENFACE, "keyframes.json": KEYFRAMES, "preset.toml": PRESET}
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix, kind in PHOTO_KINDS.items():
        stored = io.BytesIO()
        small.save(stored, kind, **({"exif": exif} if suffix in ("jpg", "png", "webp", "tif") else {}))
        files[f"photo.{suffix}"] = stored.getvalue()
    moves = [Image.fromarray(numbered(number)) for number in range(6)]
    for suffix in ("gif", "webp", "png"):
        stored = io.BytesIO()
        moves[0].save(stored, suffix, save_all=True, append_images=moves[1:], duration=100)
        files[f"clip.{suffix}"] = stored.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        for suffix in CLIP_KINDS:
            beeps_s = (0.1,) if suffix in ("mp4", "mkv", "ts") else ()
            clip = write_clip(Path(folder) / f"clip.{suffix}", [i / 30 for i in range(12)], beeps_s=beeps_s)
            files[clip.name] = clip.read_bytes()
        even = np.full(len(WIDE), 0.5, np.float32)
        profile = driver_profile.Profile(even * 0, even, even / 10, even * 2)
        files["profile.json"] = profile.save(Path(folder) / "profile.json").read_bytes()
    files["bundle.json"] = (load_bundle().folder / "bundle.json").read_bytes()
    return files


def load(path: Path) -> None:
    """Reads a file as the program does. Raises PuppetError."""
    kind = path.name.split(".")[0]
    loaders: dict[str, Callable[[Path], object]] = {
        "photo": load_photo,
        "clip": play,
        "curve": load_curve,
        "openface": load_curve,
        "keyframes": load_curve,
        "preset": lambda path: settings.load(str(path)),
        "profile": lambda path: driver_profile.load(str(path)),
        "bundle": lambda path: load_bundle(path.parent),
    }
    loaders[kind](path)


def play(path: Path) -> None:
    """Every frame of a clip, and its sound. Raises PuppetError."""
    with closing(Clip(path)) as clip:
        while clip.read() is not None:
            pass
    if is_clip(path) and has_sound(path):
        with closing(ClipSound(path, read_index(path).stretches)) as sound:
            sound.until(SOUND_S)


def arguments(path: Path) -> list[str]:
    """A command line that uses a file."""
    photo, curve = str(SAMPLES / "man.jpg"), str(SAMPLES / "smile.csv")
    given = {
        "photo": ["--source", str(path), "--driver", curve],
        "preset": ["--source", photo, "--driver", curve, "--preset", str(path)],
        "profile": ["--source", photo, "--driver", curve, "--profile", str(path)],
        "bundle": ["--source", photo, "--driver", curve, "--engine", str(path.parent)],
    }.get(path.name.split(".")[0], ["--source", photo, "--driver", str(path)])
    return [*given, "--output", "none", "--seconds", "0.1", "--size", "160x120"]


def _drawn(rng: random.Random) -> list[Edit]:
    return [
        (rng.choice(EDITS), rng.random() ** rng.choice((1, 4)), rng.randbytes(rng.choice((1, 1, 2, 4, 16))))
        for _ in range(rng.randint(1, 4))
    ]


def run(seed: int, count: int) -> dict:
    """Damages files and reads them; every hundredth goes through the whole command line."""
    from realtime.commands import animate

    rng = random.Random(seed)
    files = seeds()
    ends: Counter[str] = Counter()
    slowest_s = 0.0
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            name = rng.choice(list(files))
            path = Path(folder) / name
            path.write_bytes(damaged(files[name], _drawn(rng)))
            started_s = time.perf_counter()
            try:
                if number % 100:
                    load(path)
                    ends["read"] += 1
                else:
                    said = io.StringIO()
                    with redirect_stderr(said), redirect_stdout(io.StringIO()):
                        status = animate.main(arguments(path))
                    ends[f"status {status}"] += 1
                    if status not in (0, 2, 3, 4, 5, 6, 7) or "Traceback" in said.getvalue():
                        faults.append(f"{seed}, {number}, {name}: status {status}: {said.getvalue()[-300:]}")
            except PuppetError:
                ends["refused"] += 1
            except Exception as error:
                faults.append(f"{seed}, {number}, {name}: {type(error).__name__}: {error}")
            slowest_s = max(slowest_s, time.perf_counter() - started_s)
            path.unlink()
    return {"count": count, "ends": ends, "faults": faults, "slowest_s": slowest_s, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    """The most memory that this program took. Not by getrusage: that begins at what its parent took."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]))))
