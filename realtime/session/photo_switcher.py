"""Several photos to choose from in a call.

The next one is prepared in the background, and takes over between two pictures.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import SourceError
from engines.face.picture_file import is_called_picture, is_litter, is_picture
from engines.sentences import some_of
from realtime.process.worker import Worker
from realtime.puppet.puppet import Puppet

LEAVE_S = 1.0  # for a photo that is being prepared: one of fifty megapixels takes as long
WAKE_S = 0.5  # how often the background thread looks whether it is to end


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
        notify(f"Left out of {source}, as no photos: {some_of(others)}.")
    if not found:
        raise SourceError(
            f"There is no photo in the folder {source}: put one there, or name a photo with --source."
        )
    return found


def _is_photo(path: Path) -> bool:
    return not path.is_dir() and (is_picture(path) or is_called_picture(path))


@dataclass(eq=False)
class ShelfPhoto:
    """A photo to choose."""

    number: int  # for good: what is removed leaves a gap
    path: Path
    face: str | None = None  # of several, as puppet.face_choice reads it; None: as the run's config says
    answered: bool = True  # whether it is known who is in it: only then it can be shown
    fault: str = ""  # why it cannot be used, a sentence


class PhotoSwitcher:
    """Photos in a row, of which one is shown. One that cannot be used is reported and skipped.

    Photos are prepared in the background. `ready` of them are kept, so that they can be shown at once: a
    puppet takes 40 MB.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        prepare: Callable[[Path, str | None], Puppet],
        show: Callable[[Puppet], None],
        say: Callable[[str], None],
        ready: int = 0,
        unanswered: Collection[Path] = (),
        puppet: Puppet | None = None,
    ):
        """
        Args:
            paths: of the photos; the first is shown already.
            prepare: a photo, and which of its faces -> its puppet. Called in a background thread. Raises
                SourceError.
            show: takes the puppet over. For any thread.
            say: called with a sentence about every change.
            ready: how many photos are prepared before they are chosen.
            unanswered: photos of which it is not known who is in them; not the first.
            puppet: of the first photo.
        """
        self._prepare = prepare
        self._show = show
        self._say = say
        self._most_ready = ready
        self._lock = threading.Condition()
        self.photos = tuple(
            ShelfPhoto(number, path, answered=path not in unanswered) for number, path in enumerate(paths, 1)
        )
        self.shown = self.photos[0]
        self._count = len(self.photos)  # that were ever there
        self._wanted: list[ShelfPhoto] = []  # to be shown: the first of them that can be used
        self._ready: OrderedDict[ShelfPhoto, tuple[str | None, Puppet]] = OrderedDict()  # latest use last
        self._worker = Worker(self._work, "photo switcher")
        if ready:
            if puppet:
                self._ready[self.shown] = None, puppet
            self._worker.start()

    def is_ready(self, photo: ShelfPhoto) -> bool:
        """Whether it can be shown at once."""
        return photo in self._ready

    @property
    def busy(self) -> bool:
        """Whether a photo that was chosen is being prepared."""
        return bool(self._wanted)

    def next(self) -> None:
        """Shows the photo after this one; does nothing while one is being prepared."""
        if len(self.photos) == 1:
            return self._say("There is no other photo: name a folder with --source.")
        with self._lock:
            if self._wanted:
                return
            at = self.photos.index(self.shown)
            others = (*self.photos[at + 1 :], *self.photos[:at])
            self._wanted = [photo for photo in others if photo.answered]
        self._wake()

    def choose(self, number: int, face: str | None = None) -> None:
        """Shows a photo: at once where it is ready, else when it is prepared.

        Args:
            number: of the photo.
            face: of several; None: the one that was chosen before.

        Raises: SourceError where it is not there any more, or it is not known who is in it.
        """
        photo = self.photo(number)
        if not photo.answered:
            raise SourceError(f"It was not said who is in {photo.path.name}", "say it first")
        with self._lock:
            if face is not None and face != photo.face:
                photo.face = face
                self._ready.pop(photo, None)
            photo.fault = ""
            known = self._ready.get(photo)
            self._wanted = [] if known else [photo]
        if known:
            self._show_now(photo, known[1])
        else:
            self._wake()

    def photo(self, number: int) -> ShelfPhoto:
        """Raises SourceError where it is not there any more."""
        for photo in self.photos:
            if photo.number == number:
                return photo
        raise SourceError("That photo is not on the shelf any more", "choose another one")

    def add(self, path: Path, answered: bool) -> ShelfPhoto:
        """Another photo, the first in the row, or the same as before; it is prepared, not shown.

        Args:
            answered: whether it is known who is in it.
        """
        with self._lock:
            for photo in self.photos:
                if photo.path == path:
                    return photo
            self._count += 1
            photo = ShelfPhoto(self._count, path, answered=answered)
            self.photos = (photo, *self.photos)
        self._wake()
        return photo

    def remove(self, number: int) -> ShelfPhoto:
        """Takes a photo out of the row; the next one is shown where it was this one.

        Raises SourceError for the last one.
        """
        photo = self.photo(number)
        if len(self.photos) == 1:
            raise SourceError("That is the only photo", "add another one first")
        if photo is self.shown:
            others = [each for each in self.photos if each is not photo and each.answered]
            if not others:
                raise SourceError("That is the only photo that can be shown", "add another one first")
            self.choose(others[0].number)
        with self._lock:
            self.photos = tuple(each for each in self.photos if each is not photo)
            self._ready.pop(photo, None)
        return photo

    def close(self) -> None:
        self._worker.stop()
        with self._lock:
            self._lock.notify_all()
        self._worker.join(LEAVE_S)

    def _wake(self) -> None:
        with self._lock:
            self._worker.start()
            self._lock.notify_all()

    def _work(self) -> None:
        while not self._worker.stopping:
            with self._lock:
                wanted = self._wanted
                photo = wanted[0] if wanted else self._unprepared()
                if photo is None:
                    self._lock.wait(WAKE_S)
                    continue
                face = photo.face
            try:
                puppet = self._prepare(photo.path, face)
            except SourceError as error:
                self._failed(photo, wanted, str(error))
                continue
            self._prepared(photo, face, puppet, wanted)

    def _unprepared(self) -> ShelfPhoto | None:
        """A photo that is to be ready before it is chosen: of the first in the row, as many as are kept."""
        for photo in self.photos[: self._most_ready]:
            if photo not in self._ready and not photo.fault:
                return photo
        return None

    def _failed(self, photo: ShelfPhoto, wanted: list[ShelfPhoto], sentence: str) -> None:
        photo.fault = sentence
        with self._lock:
            was_chosen = wanted is self._wanted and bool(wanted)
            if was_chosen:
                wanted.pop(0)
        if was_chosen:
            self._say(f"{sentence} It is skipped.")

    def _prepared(
        self, photo: ShelfPhoto, face: str | None, puppet: Puppet, wanted: list[ShelfPhoto]
    ) -> None:
        with self._lock:
            is_current = face == photo.face and photo in self.photos
            was_chosen = is_current and wanted is self._wanted and bool(wanted)
            if is_current and self._most_ready:
                self._keep(photo, face, puppet)
            if was_chosen:
                self._wanted = []
        if was_chosen:
            self._show_now(photo, puppet)

    def _keep(self, photo: ShelfPhoto, face: str | None, puppet: Puppet) -> None:
        self._ready[photo] = face, puppet
        self._ready.move_to_end(photo)
        first = self.photos[: self._most_ready]
        while len(self._ready) > self._most_ready:
            spare = next((each for each in self._ready if each not in first), next(iter(self._ready)))
            del self._ready[spare]

    def _show_now(self, photo: ShelfPhoto, puppet: Puppet) -> None:
        self._show(puppet)
        self.shown = photo
        self._say(f"The photo is {photo.path} now.")
