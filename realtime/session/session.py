"""One run: from its config to a photo that is animated, live or frame by frame."""

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from engines.errors import OutputError
from realtime.output.outputs import VIDEO_SUFFIXES
from realtime.output.window import has_screen
from realtime.performance.driver_spec import DriverSpec, load_driver_spec, parse_parts
from realtime.process.log import say
from realtime.process.shutdown import ShutdownHandler
from realtime.session.config import SessionConfig
from realtime.session.consent import settle
from realtime.session.live_driver import check_driver, is_live_driver
from realtime.session.live_run import RunPage
from realtime.session.live_session import run_live, run_with_page
from realtime.session.offline_session import run_offline
from realtime.session.photo_switcher import photos
from realtime.session.result import finish
from realtime.tracking import driver_profile


def run_session(config: SessionConfig, shutdown: ShutdownHandler, page: RunPage | None = None) -> int:
    """Animates the photo; returns the exit status.

    Args:
        page: shows the run and acts on it, which is live then; neither photo nor driver need to be named.

    Raises:
        PuppetError: what the user can mend.
        KeyboardInterrupt: before there is anything to finish.
    """
    started_s = time.perf_counter()
    parts = parse_parts(config.drivers) if config.drivers or not page else []
    paths = photos(config.source, say) if config.source else []
    check_paths(config, paths, (part.path for part in parts))
    profile = driver_profile.load(config.profile) if config.profile else None
    if page:
        return run_with_page(config, paths, shutdown, page)
    spec = load_driver_spec(parts)
    check_driver(config.drivers, config.profile, profile, spec)
    if not settle(paths, config.consent):
        config = replace(config, badge=True)
    names = config.outputs or default_outputs()
    live = is_live(spec, names)
    with ExitStack() as stack:
        run = run_live if live else run_offline
        result = run(config, spec, paths, names, profile, stack, shutdown)
    finish(config, result, shutdown)
    if not live:
        say(f"{result.pictures} pictures in {time.perf_counter() - started_s:.1f} s")
    return result.status


def check_paths(config: SessionConfig, photo_paths: Iterable[Path], reads: Iterable[str]) -> None:
    """Raises OutputError when a file would be written twice, or over a photo or one of `reads`."""
    others = [name for name in (config.record, config.sheet) if name]
    written = [*config.outputs, *others]
    paths = [Path(name).resolve() for name in written]
    read = {Path(name).resolve() for name in [*map(str, photo_paths), *reads]}
    for number, (name, path) in enumerate(zip(written, paths, strict=True)):
        if path in read:
            raise OutputError(f"{name} would be written over what is read: choose another name.")
        if path in paths[:number]:
            raise OutputError(f"{name} is named twice: give every output a name of its own.")


def default_outputs() -> tuple[str, ...]:
    """Without --output: the virtual camera, and a preview where there is a screen."""
    return ("vcam", "window") if has_screen() else ("vcam",)


def is_live(spec: DriverSpec, outputs: Iterable[str]) -> bool:
    """Whether it runs by the clock; a file driver into files is drawn frame by frame."""
    into_files = all(name == "none" or Path(name).suffix.lower() in VIDEO_SUFFIXES for name in outputs)
    return is_live_driver(spec) or not into_files
