"""Many videos: which there are to be, and drawing them one after another.

One that fails is reported, and the others go on.
"""

import json
import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from glob import glob
from itertools import count, groupby
from pathlib import Path

from tqdm import tqdm

from engines.backends.interface import Engine
from engines.errors import CurveError, OutputError, PuppetError, SourceError
from realtime.output.contact_sheet import SHEET_SUFFIXES, ContactSheet
from realtime.output.outputs import VIDEO_SUFFIXES, Output, VideoFile
from realtime.overlay import Badge
from realtime.partial_file import check_writable
from realtime.performance.driver_spec import parse_part
from realtime.process.log import say
from realtime.process.shutdown import STOPPED, ShutdownHandler
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.config import BatchConfig
from realtime.session.consent import settle
from realtime.session.engine import open_engine
from realtime.session.offline import play_offline
from realtime.session.photo_switcher import photos
from realtime.session.takes import is_take, load_take
from realtime.timing import Timings

TELL_S = 0.2  # between two lines of --progress


@dataclass(frozen=True)
class Job:
    """One video to draw."""

    photo: Path
    take: str  # as it is written
    out: Path
    sheet: Path | None


def plan(names: Sequence[str], sheet: str | None = None, over: Sequence[str] = ()) -> list[Job]:
    """Every take by every photo, photo after photo. Raises PuppetError.

    Args:
        names: takes, photos and the place for the videos, in this order.
        sheet: the place for contact sheets.
        over: curves over every take, which are read, too.
    """
    *names, out = names
    names = [found for name in names for found in _glob(name)]
    takes = [name for name in names if is_take(name)]
    pictures = [path for name in names if not is_take(name) for path in photos(name, say)]
    if not takes:
        raise CurveError(
            "No take is named: name a curve (FILE.csv, FILE.json) or a clip before the photos and the video."
        )
    if not pictures:
        raise SourceError("No photo is named: name one or more between the takes and the video.")
    several = len(takes) > 1
    jobs = [
        Job(
            photo,
            take,
            _path(out, photo, take, several, ".mp4", VIDEO_SUFFIXES),
            _path(sheet, photo, take, several, ".png", SHEET_SUFFIXES) if sheet else None,
        )
        for photo in pictures
        for take in takes
    ]
    _check(jobs, over)
    return jobs


def draw_all(config: BatchConfig, shutdown: ShutdownHandler) -> int:
    """Draws all videos; returns the exit status: that of the first video that is missing.

    Raises PuppetError where nothing can be drawn at all.
    """
    started_s = time.perf_counter()
    jobs = plan(config.names, config.sheet, config.over)
    if not settle([job.photo for job in jobs], config.consent):
        config = replace(config, badge=True)
    batch = _Batch(config, jobs, shutdown)
    _make_folders(jobs)
    with ExitStack() as stack:
        engine = open_engine(config, stack, wait=True).ready()
        bar = stack.enter_context(
            tqdm(total=len(jobs), unit="video", desc="all", disable=None if len(jobs) > 1 else True)
        )
        stack.callback(shutdown.close)
        try:
            for photo, own in groupby(jobs, key=lambda job: job.photo):
                batch.draw_photo(photo, list(own), engine, bar)
        except KeyboardInterrupt:
            say(f"stopped: {len(batch.pictures)} of {len(jobs)} videos are finished")
            return STOPPED
    drawn_s = time.perf_counter() - started_s
    finished, pictures = len(batch.pictures), sum(batch.pictures.values())
    say(f"{finished} of {len(jobs)} videos, {pictures} pictures in {drawn_s:.1f} s")
    if batch.missing:
        say(f"missing: {', '.join(map(str, batch.missing))}")
    return next(iter(batch.missing.values())).exit_status if batch.missing else 0


class _Batch:
    """Videos that are being drawn, and what became of them."""

    def __init__(self, config: BatchConfig, jobs: Sequence[Job], shutdown: ShutdownHandler):
        """Loads every take once. Raises CurveError, DriverError."""
        self._config = config
        self._shutdown = shutdown
        self._takes = {name: load_take(name, config) for name in dict.fromkeys(job.take for job in jobs)}
        self.pictures: dict[Path, int] = {}  # of finished videos
        self.missing: dict[Path, PuppetError] = {}
        self._count = len(jobs)
        self._told_s = 0.0  # when it was told last how far it is

    def draw_photo(self, photo: Path, jobs: Sequence[Job], engine: Engine, bar: tqdm) -> None:
        """All videos of one photo, which is prepared once.

        Raises KeyboardInterrupt, and what is no fault of the photo's.
        """
        try:
            config = self._config
            puppet = Puppet.from_file(
                photo, engine, config.size, config.fit, say, config.face_model, config.face
            )
        except SourceError as error:
            say(f"{error} Going on with the others.")
            self.missing |= dict.fromkeys((job.out for job in jobs), error)
            bar.update(len(jobs))
            return
        for job in jobs:
            try:
                video = self._draw(job, puppet)
            except OutputError as error:
                say(f"{error} Going on without {job.out}.")
                self.missing[job.out] = error
            else:
                self.pictures[job.out] = video.frames
                say(f"wrote {video.written}")
            bar.update()

    def _tell(self, share: float) -> None:
        """How far it is, a few times a second, where a program asked for it."""
        now_s = time.perf_counter()
        if self._config.progress and (now_s - self._told_s > TELL_S or share == 1):
            self._told_s = now_s
            done = len(self.pictures) + len(self.missing)
            print(json.dumps({"done": done, "of": self._count, "share": round(share, 3)}), flush=True)

    def _draw(self, job: Job, puppet: Puppet) -> VideoFile:
        """One video, closed. Whatever happens, the file at its name is whole. Raises OutputError."""
        take = self._takes[job.take]
        with ExitStack() as stack:
            with self._shutdown.deferred():
                video = VideoFile(job.out, puppet.size, take.fps, take.open_sound())
                stack.enter_context(video)
            sheet = ContactSheet(job.sheet, take.count) if job.sheet else None
            badge = Badge(puppet.size) if self._config.badge else None
            retarget = Retarget(puppet.bundle, puppet.own_aus, self._config.settings)
            animator = Animator(puppet, retarget, Timings(), None, badge)
            with tqdm(total=take.count, unit="picture", desc=job.out.name, disable=None, leave=False) as bar:
                number = count(1)  # the bar does not count where it is not shown

                def on_picture() -> None:
                    bar.update()
                    self._tell(next(number) / take.count)

                into: list[Output] = [video, sheet] if sheet else [video]
                play_offline(take.expressions(), animator, into, on_picture)
        if sheet:
            sheet.close()
        return video


def _glob(name: str) -> list[str]:
    """The files that a name with * or ? in it means, where the shell has left it as it is (Windows)."""
    if not re.search(r"[*?]", name) or Path(name).exists():
        return [name]
    return sorted(glob(name)) or [name]


def _path(
    pattern: str, photo: Path, take: str, several_takes: bool, usual_suffix: str, suffixes: set[str]
) -> Path:
    """Where one video or sheet goes. Raises OutputError."""
    names = {"photo": photo.stem, "take": Path(parse_part(take).path).stem}
    for named in re.findall(r"\{(.*?)\}", pattern):
        if named not in names:
            raise OutputError(f"{pattern}: {{{named}}} stands for nothing; known are {{photo}} and {{take}}.")
    path = Path(re.sub(r"\{(.*?)\}", lambda found: names[found[1]], pattern))
    if pattern.endswith(("/", "\\")) or path.is_dir() or not path.suffix:
        path = path / (f"{names['photo']}-{names['take']}" if several_takes else names["photo"])
        return path.with_name(path.name + usual_suffix)
    if path.suffix.lower() not in suffixes:
        raise OutputError(
            f"{pattern} is none of {', '.join(sorted(suffixes))}: name one of these last, or a folder with a "
            "/ at its end."
        )
    return path


def _check(jobs: Sequence[Job], over: Sequence[str]) -> None:
    """Raises OutputError where a file would be written twice, or over what is read."""
    overlays = [parse_part(one).path for one in over]
    named = [name for job in jobs for name in (str(job.photo), parse_part(job.take).path)]
    read = {Path(name).resolve() for name in [*named, *overlays]}
    taken: dict[Path, Job] = {}
    for job in jobs:
        for path in (job.out, job.sheet):
            if path is None:
                continue
            if path.resolve() in read:
                raise OutputError(f"{path} would be written over what is read: choose another name.")
            if other := taken.setdefault(path.resolve(), job):
                if other is not job:
                    both = f"{other.photo} with {other.take} and {job.photo} with {job.take}"
                    raise OutputError(
                        f"{path} would be written twice, for {both}: name a folder, or put {{photo}} and "
                        "{take} in the name."
                    )


def _make_folders(jobs: Sequence[Job]) -> None:
    """Folders for what is written; raises OutputError now for a file that could not be written later."""
    for job in jobs:
        for path in filter(None, (job.out, job.sheet)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(
                    f"The folder {path.parent} cannot be made ({error.strerror}): choose another place."
                ) from error
            check_writable(path, "place")
