"""Several photos to choose from in a call.

The next one is prepared in the background, and takes over between two pictures.
"""

from collections.abc import Callable
from pathlib import Path

from engines.errors import SourceError
from engines.face.picture_file import is_called_picture, is_litter, is_picture
from realtime.process.worker import Worker
from realtime.puppet.puppet import Puppet

LEAVE_S = 1.0  # for a photo that is being prepared: one of fifty megapixels takes as long
MAX_NAMED = 5  # files of a folder that are left out


def photos(source: str, notify: Callable[[str], None] = lambda _sentence: None) -> list[Path]:
    """The photo that --source names, or those of the folder it names, by name.

    Args:
        notify: called with a sentence about what else is in the folder, but what systems put there.

    Raises: SourceError.
    """
    if not Path(source).is_dir():
        return [Path(source)]
    try:
        entries = sorted(path for path in Path(source).iterdir() if not is_litter(path.name))
    except OSError as error:
        raise SourceError(
            f"The folder {source} cannot be read ({error.strerror}): check its permissions."
        ) from error
    found = [path for path in entries if _is_photo(path)]
    if others := [path.name for path in entries if path not in set(found)]:
        more = f" and {len(others) - MAX_NAMED} more" if len(others) > MAX_NAMED else ""
        notify(f"Left out of {source}, as no photos: {', '.join(others[:MAX_NAMED])}{more}.")
    if not found:
        raise SourceError(
            f"There is no photo in the folder {source}: put one there, or name a photo with --source."
        )
    return found


def _is_photo(path: Path) -> bool:
    return not path.is_dir() and (is_picture(path) or is_called_picture(path))


class PhotoSwitcher:
    """Photos in a row. `next` is for one thread; a photo that cannot be used is reported and skipped."""

    def __init__(
        self,
        paths: list[Path],
        prepare: Callable[[Path], Puppet],
        show: Callable[[Puppet], None],
        say: Callable[[str], None],
    ):
        """
        Args:
            paths: of the photos; the first is shown already.
            prepare: a photo -> its puppet. Called in a background thread. Raises SourceError.
            show: takes the puppet over.
            say: called with a sentence about every change.
        """
        self._paths = paths
        self._prepare = prepare
        self._show = show
        self._say = say
        self._number = 0  # of the photo that is shown
        self._worker = Worker(self._show_next, "photo switcher")

    def next(self) -> None:
        """Prepares the photo after this one; does nothing while one is being prepared."""
        if len(self._paths) == 1:
            return self._say("There is no other photo: name a folder with --source.")
        self._worker.start()

    def close(self) -> None:
        self._worker.close(LEAVE_S)

    def _show_next(self) -> None:
        for _ in self._paths[1:]:
            self._number = (self._number + 1) % len(self._paths)
            path = self._paths[self._number]
            try:
                self._show(self._prepare(path))
            except SourceError as error:
                self._say(f"{error} It is skipped.")
                continue
            return self._say(f"The photo is {path} now.")
