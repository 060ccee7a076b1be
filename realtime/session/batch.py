"""Videos by the dozen: which there are to be, and drawing them one after another. One that fails is told, and the others go on."""

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from glob import glob
from itertools import groupby
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from engines.errors import CurveError, OutputError, PuppetError, SourceError
from engines.runtime.failover import load_live
from engines.runtime.load import LoadOptions
from realtime.messages import DriverExpression
from realtime.output.contact_sheet import SHEET_SUFFIXES, ContactSheet
from realtime.output.outputs import VIDEO_SUFFIXES, VideoFile
from realtime.overlay import Badge
from realtime.partial_file import check_writable
from realtime.performance.driver_spec import is_curve, load_driver_spec, parse_part, parse_parts
from realtime.process.log import LOG, say
from realtime.process.shutdown import STOPPED, ShutdownHandler
from realtime.puppet.animator import Animator
from realtime.puppet.canvas import parse_size
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.offline import count_pictures, perform_curve, play_offline
from realtime.session.photo_switcher import photos
from realtime.timing import Timings

FPS = 30.0


@dataclass(frozen=True)
class Job:
    """One video to draw."""

    photo: Path
    take: str  # as it is written
    out: Path
    sheet: Path | None


def plan(names: Sequence[str], sheet: str | None = None, over: Sequence[str] = ()) -> list[Job]:
    """Takes, photos and where to, as they are written -> every take by every photo, photo after photo. over: what else is read. Raises PuppetError."""
    *things, out = names
    things = [found for thing in things for found in _spread(thing)]
    takes = [thing for thing in things if is_curve(thing)]
    pictures = [path for thing in things if not is_curve(thing) for path in photos(thing)]
    if not takes:
        raise CurveError(
            "No take is named: name a curve (FILE.csv or FILE.json) before the photos and the video."
        )
    if not pictures:
        raise SourceError("No photo is named: name one or more between the takes and the video.")
    jobs = [
        Job(
            photo,
            take,
            _place(out, photo, take, len(takes) > 1, ".mp4", VIDEO_SUFFIXES),
            _place(sheet, photo, take, len(takes) > 1, ".png", SHEET_SUFFIXES) if sheet else None,
        )
        for photo in pictures
        for take in takes
    ]
    _check(jobs, over)
    return jobs


def draw_all(jobs: Sequence[Job], options: argparse.Namespace, ending: ShutdownHandler) -> int:
    """Draws them; returns the exit status. Raises PuppetError where nothing can be drawn at all."""
    started_s = time.perf_counter()
    fps, size = options.fps or FPS, parse_size(options.size) if options.size else None
    takes = {
        take: load_driver_spec(parse_parts([take, *options.over])).performance
        for take in dict.fromkeys(job.take for job in jobs)
    }
    counts = {take: count_pictures(performance, fps, options.seconds) for take, performance in takes.items()}
    _make_room(jobs)
    pictures: dict[Path, int] = {}  # of finished videos
    missing: dict[Path, PuppetError] = {}
    with ExitStack() as stack:
        stack.enter_context(logging_redirect_tqdm([LOG]))
        engine = load_live(options.engine, options.device, LoadOptions(notify=say), wait=True)
        stack.callback(engine.close)
        overall = stack.enter_context(
            tqdm(total=len(jobs), unit="video", desc="all", disable=None if len(jobs) > 1 else True)
        )
        stack.callback(ending.close)
        try:
            for photo, own in groupby(jobs, key=lambda job: job.photo):
                try:
                    puppet = Puppet.from_file(photo, engine, size, options.fit, say)
                except SourceError as error:
                    say(f"{error} Going on with the others.")
                    missing |= dict.fromkeys((job.out for job in own), error)
                    overall.update(len(missing) + len(pictures) - overall.n)
                    continue
                for job in own:
                    try:
                        video = _draw(
                            job,
                            puppet,
                            perform_curve(takes[job.take], fps, counts[job.take]),
                            counts[job.take],
                            fps,
                            options,
                        )
                    except OutputError as error:
                        say(f"{error} Going on without {job.out}.")
                        missing[job.out] = error
                    else:
                        pictures[job.out] = video.frames
                        say(f"wrote {video.written}")
                    overall.update()
        except KeyboardInterrupt:
            say(f"stopped: {len(pictures)} of {len(jobs)} videos are finished")
            return STOPPED
    say(
        f"{len(pictures)} of {len(jobs)} videos, {sum(pictures.values())} pictures in {time.perf_counter() - started_s:.1f} s"
    )
    if missing:
        say(f"missing: {', '.join(map(str, missing))}")
    return next(iter(missing.values())).exit_status if missing else 0


def _draw(
    job: Job,
    puppet: Puppet,
    words: Iterator[DriverExpression],
    count: int,
    fps: float,
    options: argparse.Namespace,
) -> VideoFile:
    """One video of `count` pictures, closed. Whatever happens, what stands at its name is whole. Raises OutputError."""
    video = VideoFile(job.out, puppet.size, fps)
    try:  # before any other call: a Ctrl-C that came meanwhile is raised by the next one
        sheet = ContactSheet(job.sheet, count) if job.sheet else None
        badge = Badge(puppet.size) if options.badge else None
        stage = Animator(
            puppet, Retarget(puppet.bundle, puppet.own_aus, options.settings), Timings(), None, badge
        )
        with tqdm(total=count, unit="picture", desc=job.out.name, disable=None, leave=False) as bar:
            play_offline(words, stage, [video, sheet] if sheet else [video], bar.update)
    except BaseException:  # Ctrl-C, too
        video.discard()
        raise
    finally:
        video.close()
    if sheet:
        sheet.close()
    return video


def _spread(name: str) -> list[str]:
    """The files that a name with * or ? in it means, where the shell has left it as it is (Windows)."""
    if not re.search(r"[*?]", name) or Path(name).exists():
        return [name]
    return sorted(glob(name)) or [name]


def _place(out: str, photo: Path, take: str, several_takes: bool, usual: str, suffixes: set[str]) -> Path:
    """Where one video or sheet goes. Raises OutputError."""
    names = {"photo": photo.stem, "take": Path(parse_part(take).path).stem}
    for named in re.findall(r"\{(.*?)\}", out):
        if named not in names:
            raise OutputError(f"{out}: {{{named}}} stands for nothing; known are {{photo}} and {{take}}.")
    path = Path(re.sub(r"\{(.*?)\}", lambda found: names[found[1]], out))
    if out.endswith(("/", "\\")) or path.is_dir() or not path.suffix:
        path = path / (f"{names['photo']}-{names['take']}" if several_takes else names["photo"])
        return path.with_name(path.name + usual)
    if path.suffix.lower() not in suffixes:
        raise OutputError(
            f"{out} is none of {', '.join(sorted(suffixes))}: name one of these last, or a folder with a / at its end."
        )
    return path


def _check(jobs: Sequence[Job], over: Sequence[str]) -> None:
    """Raises OutputError where a file would be written twice, or over what is read."""
    read = {
        Path(name).resolve()
        for job in jobs
        for name in (job.photo, parse_part(job.take).path, *(parse_part(one).path for one in over))
    }
    taken: dict[Path, Job] = {}
    for job in jobs:
        for path in (job.out, job.sheet):
            if path is None:
                continue
            if path.resolve() in read:
                raise OutputError(f"{path} would be written over what is read: choose another name.")
            if other := taken.setdefault(path.resolve(), job):
                if other is not job:
                    one, two = f"{other.photo} with {other.take}", f"{job.photo} with {job.take}"
                    raise OutputError(
                        f"{path} would be written twice, for {one} and {two}: name a folder, or put {{photo}} and {{take}} in the name."
                    )


def _make_room(jobs: Sequence[Job]) -> None:
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
