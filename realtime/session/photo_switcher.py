"""Several photos to choose from in a call: the next one is prepared aside, and takes over between two pictures."""

import threading
from collections.abc import Callable
from pathlib import Path

from engines.errors import SourceError
from realtime.puppet.puppet import Puppet
from realtime.sources.clip import PICTURE_SUFFIXES

LEAVE_S = 1.0  # a photo of fifty megapixels takes as long to be prepared


def photos(source: str) -> list[Path]:
    """The photo that --source names, or those of the folder it names, by name. Raises SourceError."""
    if not Path(source).is_dir():
        return [Path(source)]
    try:
        found = sorted(path for path in Path(source).iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    except OSError as error:
        raise SourceError(
            f"The folder {source} cannot be read ({error.strerror}): check its permissions."
        ) from error
    if not found:
        raise SourceError(
            f"There is no photo in the folder {source}: put one there, or name a photo with --source."
        )
    return found


class PhotoSwitcher:
    """Photos in a row. `next` is for one thread; a photo that cannot be used is told and passed over."""

    def __init__(
        self,
        paths: list[Path],
        prepare: Callable[[Path], Puppet],
        show: Callable[[Puppet], None],
        say: Callable[[str], None],
    ):
        """paths: the first of them is shown already; prepare: a photo -> its puppet, raises SourceError; show: takes it over."""
        self._paths, self._prepare, self._show, self._say = paths, prepare, show, say
        self._number = 0
        self._thread: threading.Thread | None = None

    def next(self) -> None:
        """Prepares the photo after this one; says so when there is none, and does nothing while one is being prepared."""
        if len(self._paths) == 1:
            return self._say("There is no other photo: name a folder with --source.")
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._turn, name="album", daemon=True)
            self._thread.start()

    def close(self) -> None:
        if self._thread:
            self._thread.join(LEAVE_S)

    def _turn(self) -> None:
        for _ in self._paths[1:]:
            self._number = (self._number + 1) % len(self._paths)
            path = self._paths[self._number]
            try:
                self._show(self._prepare(path))
            except SourceError as error:
                self._say(f"{error} It is passed over.")
                continue
            return self._say(f"The photo is {path} now.")
